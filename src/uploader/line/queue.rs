//! Who waits for a turn on the line, and who has waited too long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock;

/// How long an upload may have no turn at all before it has one beyond what the line is worth: a person who
/// sees nothing happen for half a minute takes it for a hang. On a thin line files of one request each would
/// have others wait for as long as all before them take.
pub(super) const STARVES_AFTER: Duration = Duration::from_secs(10);

/// A longer time in which nothing is acknowledged to anybody is an outage: nobody starves for others then,
/// and more lanes would only be more that break. The same that makes the engine doubt a connection.
pub(super) const OUTAGE: Duration = Duration::from_secs(3);

/// How many turns an upload has; changed by whoever has the line.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

/// Those who wait, the first first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Asking>,
    /// Since when the line has carried something without an outage, and when it did last.
    carries: Option<(Instant, Instant)>,
}

/// An attempt that asks for a turn.
#[derive(Debug)]
struct Asking {
    call: oneshot::Sender<()>,
    since: Instant,
    /// Of its upload.
    held: Held,
}

impl Held {
    /// The upload has one more turn.
    pub(super) fn gain(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// It has one less.
    pub(super) fn lose(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Queue {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// An attempt of the upload that holds so many asks for a turn; it is called when it has one.
    pub(super) fn ask(&mut self, held: &Held) -> oneshot::Receiver<()> {
        let (call, called) = oneshot::channel();
        self.waiting.push_back(Asking {
            call,
            since: clock::instant(),
            held: held.clone(),
        });
        called
    }

    /// The line has carried something.
    pub(super) fn carried(&mut self) {
        let now = clock::instant();
        let is_on = |last: Instant| now.saturating_duration_since(last) < OUTAGE;
        let since = match self.carries {
            Some((since, last)) if is_on(last) => since,
            _ => now,
        };
        self.carries = Some((since, now));
    }

    /// Calls the first one who still waits; the upload it is of.
    pub(super) fn call_next(&mut self) -> Option<Held> {
        while !self.waiting.is_empty() {
            if let Some(held) = self.call(0) {
                return Some(held);
            }
        }
        None
    }

    /// Calls the first one whose upload has had no turn at all for too long, while others had theirs.
    pub(super) fn call_starving(&mut self) -> Option<Held> {
        let now = clock::instant();
        let (since, last) = self.carries?;
        if now.saturating_duration_since(last) >= OUTAGE {
            return None;
        }
        let waits_long = |asking: &&Asking| {
            now.saturating_duration_since(asking.since.max(since)) >= STARVES_AFTER
        };
        loop {
            // Those behind have not waited longer.
            let mut long = self.waiting.iter().take_while(waits_long);
            let place = long.position(|asking| asking.held.is_none())?;
            if let Some(held) = self.call(place) {
                return Some(held);
            }
        }
    }

    /// Calls the one at this place; none if it does not wait any more.
    fn call(&mut self, place: usize) -> Option<Held> {
        let asking = self.waiting.remove(place)?;
        asking.call.send(()).is_ok().then_some(asking.held)
    }
}
