//! Connections between two requests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
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

/// A connection whose pace is less than this share of the best of late is not kept: another one may be
/// served better. TCP's own unfairness stays below.
const SLOW_SHARE: u64 = 8;

/// How long the best pace is remembered: lines change.
const BEST_HOLDS: Duration = Duration::from_secs(10);

/// The connections that wait for a request.
#[derive(Default)]
pub(crate) struct Idle(Mutex<HashMap<Endpoint, Kept>>);

/// Those to one endpoint.
#[derive(Default)]
struct Kept {
    connections: Vec<Connection>,
    /// The best pace of late, in bytes a second, and when that was.
    best: Option<(u64, Instant)>,
}

impl Kept {
    fn push(&mut self, mut connection: Connection) {
        if self.connections.len() < IDLE_MAX {
            connection.set_resting(true);
            self.connections.push(connection);
        }
    }

    /// Whether `connection` is far slower than others were of late.
    fn is_slow(&mut self, connection: &Connection) -> bool {
        let (pace, now) = (connection.pace_bytes_per_s(), clock::instant());
        let best = self.best.filter(|(_, at)| {
            let ago = now.saturating_duration_since(*at);
            ago <= BEST_HOLDS
        });
        let best_pace = best.map_or(0, |(best, _)| best);
        if pace >= best_pace {
            self.best = Some((pace, now));
        }
        connection.took_its_time() && pace.saturating_mul(SLOW_SHARE) < best_pace
    }
}

impl Idle {
    /// A connection that an earlier request left, if one still stands.
    pub(crate) async fn take(&self, endpoint: &Endpoint, reuse: Reuse) -> Option<Connection> {
        let rest_max = match reuse {
            Reuse::Any => IDLE_TIME_MAX,
            Reuse::JustNow => JUST_NOW,
            Reuse::Never => return None,
        };
        loop {
            let mut connection = best(&mut self.lock().get_mut(endpoint)?.connections)?;
            connection.set_resting(false);
            let rested = connection.idle().unwrap_or_default();
            if rested > IDLE_TIME_MAX {
                continue;
            }
            if rested > rest_max {
                self.lock()
                    .entry(endpoint.clone())
                    .or_default()
                    .push(connection);
                return None;
            }
            if connection.is_reusable().await {
                return Some(connection);
            }
        }
    }

    /// Keeps `connection`, which was just answered, for the next request: unless it is far slower than
    /// others.
    pub(crate) fn put(&self, endpoint: &Endpoint, connection: Connection) {
        let mut idle = self.lock();
        for kept in idle.values_mut() {
            let is_young = |it: &Connection| it.idle().unwrap_or_default() <= IDLE_TIME_MAX;
            kept.connections.retain(is_young);
        }
        let kept = idle.entry(endpoint.clone()).or_default();
        if !kept.is_slow(&connection) {
            kept.push(connection);
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
        let idle = self.lock();
        idle.values().map(|kept| kept.connections.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Endpoint, Kept>> {
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
