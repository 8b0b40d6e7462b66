//! Who waits for a turn on the line, and who has waited too long.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock;

/// How long an upload may have no turn at all before it has one beyond what the line is worth: a person who
/// sees nothing happen for half a minute takes it for a hang. On a thin line files of one request each would
/// have others wait for as long as all before them take.
pub(super) const STARVES_AFTER: Duration = Duration::from_secs(10);

/// A time in which nothing is acknowledged to anybody that may be an outage: more lanes would only be more
/// that break. The same that makes the engine doubt a connection. One that is no longer than what an upload
/// may wait is forgiven afterwards: many small bodies at once have all their answers at once.
pub(super) const OUTAGE: Duration = Duration::from_secs(3);

/// How often it is looked who starves: everybody looks several times a second, and thousands may wait.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The turns that an upload has, lent ones as well.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<Turns>>);

#[derive(Debug, Default)]
struct Turns {
    count: usize,
    /// When the last one ended.
    ended: Option<Instant>,
    /// When it asked for the first time since then. Who asks again has not begun to wait anew.
    asked: Option<Instant>,
}

/// Those who wait, the first first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Asking>,
    /// Since when the line has carried something without an outage, and when it did last.
    carries: Option<(Instant, Instant)>,
    /// When it was looked last who starves.
    checked: Option<Instant>,
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
        let mut turns = self.turns();
        turns.count += 1;
        turns.asked = None;
    }

    /// It has one less.
    pub(super) fn lose(&self) {
        let mut turns = self.turns();
        turns.count -= 1;
        turns.ended = Some(clock::instant());
    }

    fn ask(&self, now: Instant) {
        let mut turns = self.turns();
        if turns.count == 0 {
            turns.asked.get_or_insert(now);
        }
    }

    /// Since when the upload waits without any turn, of which an attempt asked at `asked`; none while it has
    /// one.
    fn waits_since(&self, asked: Instant) -> Option<Instant> {
        let turns = self.turns();
        let ended = turns.ended.map_or(asked, |ended| ended.max(asked));
        (turns.count == 0).then(|| turns.asked.unwrap_or(ended))
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let since = clock::instant();
        held.ask(since);
        self.waiting.push_back(Asking {
            call,
            since,
            held: held.clone(),
        });
        called
    }

    /// The line has carried something.
    pub(super) fn carried(&mut self) {
        let now = clock::instant();
        let is_on = |last: Instant| now.saturating_duration_since(last) < STARVES_AFTER;
        let since = match self.carries {
            Some((since, last)) if is_on(last) => since,
            _ => now,
        };
        self.carries = Some((since, now));
    }

    /// Calls the first one who still waits: its upload has a turn from here on. False if nobody does.
    pub(super) fn call_next(&mut self) -> bool {
        while !self.waiting.is_empty() {
            if self.call(0) {
                return true;
            }
        }
        false
    }

    /// Calls up to `most` whose uploads have had no turn at all for too long, while others had theirs.
    pub(super) fn call_starving(&mut self, most: usize) -> usize {
        let now = clock::instant();
        let is_early = |last| now.saturating_duration_since(last) < CHECK_EVERY;
        let Some(carries_since) = self.carries_since(now) else {
            return 0;
        };
        if self.checked.is_some_and(is_early) {
            return 0;
        }
        self.checked = Some(now);
        let starves = |asking: &Asking| {
            let waits_since = asking.held.waits_since(asking.since);
            waits_since.is_some_and(|since| {
                now.saturating_duration_since(since.max(carries_since)) >= STARVES_AFTER
            })
        };
        let (mut called, mut place) = (0, 0);
        while called < most
            && let Some(asking) = self.waiting.get(place)
        {
            match starves(asking) {
                true => called += usize::from(self.call(place)),
                false => place += 1,
            }
        }
        called
    }

    /// Since when the line has carried something, if it does now.
    fn carries_since(&self, now: Instant) -> Option<Instant> {
        let (since, last) = self.carries?;
        (now.saturating_duration_since(last) < OUTAGE).then_some(since)
    }

    /// Calls the one at this place. False if it does not wait any more.
    fn call(&mut self, place: usize) -> bool {
        let Some(asking) = self.waiting.remove(place) else {
            return false;
        };
        if asking.call.is_closed() {
            return false;
        }
        // Before it is called: it may be over at once.
        asking.held.gain();
        let is_there = asking.call.send(()).is_ok();
        if !is_there {
            asking.held.lose();
        }
        is_there
    }
}
