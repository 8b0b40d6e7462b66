//! Connections between two requests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::Endpoint;
use crate::transport::connection::Connection;

/// Idle connections kept per endpoint: as many lanes as one upload ever has in flight.
const IDLE_MAX: usize = 16;

/// Longest rest after which a connection is used again: half of the 60 s after which common balancers
/// and NATs forget one without a word, which would cost a whole stall.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Rest after which a request that must not go out twice takes a new connection instead: a server
/// closes connections after seconds at the least, so one that just answered stands.
const JUST_NOW: Duration = Duration::from_secs(1);

/// Which connections a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Any that stands.
    Any,
    /// One that answered just now, else a new one.
    JustNow,
    /// A new one.
    Never,
}

/// The connections that wait for a request.
#[derive(Default)]
pub(crate) struct Idle(Mutex<HashMap<Endpoint, Vec<Connection>>>);

impl Idle {
    /// A connection that an earlier request left, if one still stands.
    pub(crate) async fn take(&self, endpoint: &Endpoint, reuse: Reuse) -> Option<Connection> {
        let rest_max = match reuse {
            Reuse::Any => IDLE_TIME_MAX,
            Reuse::JustNow => JUST_NOW,
            Reuse::Never => return None,
        };
        loop {
            let mut connection = best(self.lock().get_mut(endpoint)?)?;
            let rested = connection.idle().unwrap_or_default();
            if rested > IDLE_TIME_MAX {
                continue;
            }
            if rested > rest_max {
                self.put(endpoint, connection);
                return None;
            }
            if connection.is_reusable().await {
                return Some(connection);
            }
        }
    }

    /// Keeps `connection` for the next request.
    pub(crate) fn put(&self, endpoint: &Endpoint, connection: Connection) {
        let mut idle = self.lock();
        for connections in idle.values_mut() {
            connections.retain(|kept| kept.idle().unwrap_or_default() <= IDLE_TIME_MAX);
        }
        let connections = idle.entry(endpoint.clone()).or_default();
        if connections.len() < IDLE_MAX {
            connections.push(connection);
        }
    }

    /// Closes those to `endpoint`.
    pub(crate) fn forget(&self, endpoint: &Endpoint) {
        let forgotten = self.lock().remove(endpoint);
        // Outside of the lock: closing takes the kernel a moment each.
        drop(forgotten);
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Endpoint, Vec<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fastest of the connections that answered just now: on a long way connections keep the pace they
/// found at their beginning. Without one, the one that rested shortest: the others may be let go.
fn best(connections: &mut Vec<Connection>) -> Option<Connection> {
    let is_warm = |connection: &Connection| connection.idle().unwrap_or_default() <= JUST_NOW;
    let warm = connections.iter().enumerate();
    let warm = warm.filter(|(_, connection)| is_warm(connection));
    let fastest = warm.max_by_key(|(_, connection)| connection.pace_bytes_per_s());
    match fastest.map(|(index, _)| index) {
        Some(index) => Some(connections.remove(index)),
        None => connections.pop(),
    }
}
