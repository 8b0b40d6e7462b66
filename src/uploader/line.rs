//! The line, as all uploads of a process share it: whose turn it is, what it carries, and what one
//! upload learnt for the others.

mod queue;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock;
use crate::engine::event::{Lesson, Moment};
use crate::engine::pace::{LANES_MAX, Look, Pace};
use crate::engine::plan::Known;
use crate::model::Endpoint;
use crate::telemetry;
use crate::uploader::line::queue::{Held, Queue};

/// Lessons that are kept for uploads which have not heard them yet.
const LESSONS_MAX: usize = 256;

/// Lanes in flight over all uploads when their number per upload is fixed by a setting: then nothing is
/// measured, and this only bounds connections. Source: the design, "shared budgets of connections".
const FIXED_LANES_MAX: usize = 64;

/// Lanes in flight at most when uploads that starve have turns beyond what the line is worth: as many as one
/// upload may have by a setting. Beyond it each would crawl, and a kill would cost all of them.
const STARVING_LANES_MAX: usize = 16;

/// How long every look finds an attempt waiting for its source before its turn is lent: longer than a
/// disk needs to find a place, shorter than anybody who waits for a turn takes for a hang.
const LEND_AFTER: Duration = Duration::from_millis(500);

/// The line. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    shared: Arc<Mutex<State>>,
    /// The turns of the upload that has this one.
    held: Held,
    /// Whoever holds this one has a number of lanes of its own.
    is_own: bool,
}

#[derive(Debug)]
struct State {
    began: Instant,
    pace: Pace,
    /// The number of lanes is a setting.
    is_fixed: bool,
    in_use: usize,
    queue: Queue,
    lessons: VecDeque<Told>,
    told: u64,
    /// When each host comes back that was set aside.
    frozen: HashMap<Endpoint, Instant>,
    quiet_until: Option<Instant>,
    body_limit: Option<u64>,
}

/// A lesson, and from whom.
#[derive(Clone, Debug)]
struct Told {
    number: u64,
    by: u64,
    host: Option<Endpoint>,
    lesson: Lesson,
    at: Instant,
}

/// One upload among those that share the line, and how far it has listened to the others.
#[derive(Debug)]
pub(crate) struct Pupil {
    id: u64,
    heard: u64,
}

/// A turn on the line; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    line: Line,
    /// Others use it meanwhile.
    is_lent: bool,
}

/// Where an attempt keeps its turn, for whoever watches the attempt. Clones are the same one.
///
/// While the attempt waits for its own source it uses nothing of the line: its turn is lent to those who
/// wait. It has it back without waiting, so that nobody ever waits for a turn and is waited for: then
/// there is one more on the line than it is worth, until the next one ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seat(Arc<Mutex<Seated>>);

#[derive(Debug, Default)]
struct Seated {
    turn: Option<Turn>,
    /// Since when every look found it waiting for its source.
    waits_since: Option<Instant>,
}

/// An attempt has its turn; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken(Seat);

impl Seat {
    /// Waits for a turn on `line`.
    pub(crate) async fn take(&self, line: &Line) -> Taken {
        let turn = line.turn().await;
        self.seated().turn = Some(turn);
        Taken(self.clone())
    }

    /// Somebody looked whether the attempt waits for its source.
    pub(crate) fn look(&self, waits_for_source: bool) {
        let mut seated = self.seated();
        let now = clock::instant();
        let since = waits_for_source.then(|| seated.waits_since.unwrap_or(now));
        seated.waits_since = since;
        let waited = since.map(|since| now.saturating_duration_since(since));
        if let Some(turn) = &mut seated.turn {
            turn.lend(waited.is_some_and(|waited| waited >= LEND_AFTER));
        }
    }

    fn seated(&self) -> MutexGuard<'_, Seated> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.seated().turn = None;
    }
}

impl Turn {
    fn new(line: Line) -> Self {
        Self {
            line,
            is_lent: false,
        }
    }

    fn lend(&mut self, is_lent: bool) {
        match (std::mem::replace(&mut self.is_lent, is_lent), is_lent) {
            (false, true) => self.line.make_room(),
            (true, false) => self.line.state().in_use += 1,
            _ => {}
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.line.held.lose();
        if !self.is_lent {
            self.line.make_room();
        }
    }
}

impl Line {
    /// A line of which nothing is known. `is_fixed`: how many lanes an upload has is a setting.
    pub(crate) fn new(is_fixed: bool) -> Self {
        let shared = Arc::new(Mutex::new(State {
            began: clock::instant(),
            pace: Pace::new(),
            is_fixed,
            in_use: 0,
            queue: Queue::default(),
            lessons: VecDeque::new(),
            told: 0,
            frozen: HashMap::new(),
            quiet_until: None,
            body_limit: None,
        }));
        Self {
            shared,
            held: Held::default(),
            is_own: false,
        }
    }

    /// The same line, for one more upload. `is_own`: it says how many lanes it has.
    pub(crate) fn for_upload(&self, is_own: bool) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            held: Held::default(),
            is_own,
        }
    }

    /// Waits for a turn. Those who came first go first; uploads with a number of lanes of their own do not wait
    /// as long as there are not too many.
    pub(crate) async fn turn(&self) -> Turn {
        let waiting = {
            let mut state = self.state();
            let is_free = state.in_use < state.lanes() && state.queue.is_empty();
            if is_free || (self.is_own && state.in_use < FIXED_LANES_MAX) {
                state.in_use += 1;
                self.held.gain();
                return Turn::new(self.clone());
            }
            let called = state.queue.ask(&self.held);
            Waiting {
                line: self.clone(),
                called: Some(called),
            }
        };
        waiting.called().await
    }

    /// How many lanes the line is worth now; none where a setting says it.
    pub(crate) fn window(&self) -> Option<usize> {
        let state = self.state();
        (!state.is_fixed && !self.is_own).then(|| state.pace.lanes())
    }

    /// What it was last time, for as long as nothing better is known.
    pub(crate) fn recall(&self, known: &Known) {
        let mut state = self.state();
        state.pace.recall(known);
        let limits = [state.body_limit, known.body_limit];
        state.body_limit = limits.into_iter().flatten().min();
        state.admit();
    }

    /// What is known of it.
    pub(crate) fn known(&self) -> Known {
        let state = self.state();
        Known {
            pace_bytes_per_s: state.pace.bytes_per_s(),
            lanes: (!state.is_fixed && !self.is_own).then(|| state.pace.lanes()),
            body_limit: state.body_limit,
        }
    }

    /// An upload had `bytes` more acknowledged.
    pub(crate) fn look(&self, bytes: u64, round_trip: Option<Duration>) {
        let mut state = self.state();
        let now = Moment(clock::instant().saturating_duration_since(state.began));
        let in_use = state.in_use;
        state.pace.look(
            now,
            &Look {
                bytes,
                in_use,
                round_trip,
            },
        );
        if bytes > 0 {
            state.queue.carried();
        }
        state.admit();
        state.admit_starving();
        state.show();
    }

    /// A new upload, and what it should know at its beginning of `hosts`.
    pub(crate) fn join(&self, hosts: &[Endpoint]) -> (Pupil, Vec<Lesson>) {
        let mut state = self.state();
        state.told += 1;
        let now = clock::instant();
        let mut lessons = Vec::new();
        for (host, endpoint) in hosts.iter().enumerate() {
            let until = state.frozen.get(endpoint);
            let time = until.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            if !time.is_zero() {
                lessons.push(Lesson::Frozen { host, time });
            }
        }
        let quiet = state.quiet_until;
        let time = quiet.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        if !time.is_zero() {
            lessons.push(Lesson::SlowDown { time });
        }
        let pupil = Pupil {
            id: state.told,
            heard: state.told,
        };
        (pupil, lessons)
    }

    /// What `pupil` learnt.
    pub(crate) fn teach(&self, pupil: &Pupil, lesson: Lesson, hosts: &[Endpoint]) {
        let mut state = self.state();
        let at = clock::instant();
        let host = match lesson {
            Lesson::Frozen { host, .. } | Lesson::Thawed { host } => hosts.get(host).cloned(),
            Lesson::SlowDown { .. } | Lesson::BodyLimit { .. } => None,
        };
        match (lesson, &host) {
            (Lesson::Frozen { time, .. }, Some(host)) => {
                let until = state.frozen.entry(host.clone()).or_insert(at);
                *until = (at + time).max(*until);
            }
            (Lesson::Thawed { .. }, Some(host)) => {
                state.frozen.remove(host);
            }
            (Lesson::SlowDown { time }, _) => {
                state.quiet_until = state.quiet_until.max(Some(at + time));
            }
            (Lesson::BodyLimit { len }, _) => {
                state.body_limit = Some(state.body_limit.map_or(len, |known| known.min(len)));
            }
            _ => {}
        }
        state.told += 1;
        let told = Told {
            number: state.told,
            by: pupil.id,
            host,
            lesson,
            at,
        };
        state.lessons.push_back(told);
        if state.lessons.len() > LESSONS_MAX {
            state.lessons.pop_front();
        }
    }

    /// What others have learnt since `pupil` asked last.
    pub(crate) fn news(&self, pupil: &mut Pupil, hosts: &[Endpoint]) -> Vec<Lesson> {
        let state = self.state();
        if pupil.heard == state.told {
            return Vec::new();
        }
        let now = clock::instant();
        let fresh = state.lessons.iter();
        let fresh = fresh.filter(|told| told.number > pupil.heard && told.by != pupil.id);
        let news = fresh
            .filter_map(|told| told.for_hosts(hosts, now))
            .collect();
        pupil.heard = state.told;
        news
    }

    /// One lane less is in flight.
    fn make_room(&self) {
        let mut state = self.state();
        state.in_use -= 1;
        state.admit();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lanes(&self) -> usize {
        match self.is_fixed {
            true => FIXED_LANES_MAX,
            false => self.pace.lanes().min(LANES_MAX),
        }
    }

    /// Shows operators how it is.
    fn show(&self) {
        let now = clock::instant();
        let frozen = self.frozen.values().filter(|until| **until > now);
        telemetry::line(self.lanes(), self.pace.bytes_per_s(), frozen.count());
    }

    /// Gives turns to those who wait, as many as there are.
    fn admit(&mut self) {
        while self.in_use < self.lanes() && self.queue.call_next() {
            self.in_use += 1;
        }
    }

    /// Gives a turn beyond what the line is worth to each upload that has waited too long without any.
    fn admit_starving(&mut self) {
        let most = STARVING_LANES_MAX.saturating_sub(self.in_use);
        self.in_use += self.queue.call_starving(most);
    }
}

impl Told {
    /// The lesson in the words of an upload with these hosts; none if it is not about them.
    fn for_hosts(&self, hosts: &[Endpoint], now: Instant) -> Option<Lesson> {
        let index = || {
            let host = self.host.as_ref()?;
            hosts.iter().position(|other| other == host)
        };
        let left = |time: Duration| (self.at + time).saturating_duration_since(now);
        Some(match self.lesson {
            Lesson::Frozen { time, .. } => Lesson::Frozen {
                host: index()?,
                time: left(time),
            },
            Lesson::Thawed { .. } => Lesson::Thawed { host: index()? },
            Lesson::SlowDown { time } => Lesson::SlowDown { time: left(time) },
            Lesson::BodyLimit { len } => Lesson::BodyLimit { len },
        })
    }
}

/// Somebody who waits for a turn. Dropped after it was called, it passes the turn on.
struct Waiting {
    line: Line,
    called: Option<oneshot::Receiver<()>>,
}

impl Waiting {
    async fn called(mut self) -> Turn {
        if let Some(called) = &mut self.called {
            // The other half lives in the line, which this holds.
            let _ = called.await;
        }
        self.called = None;
        Turn::new(self.line.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(called) = &mut self.called
            && {
                // From here on nobody can call any more.
                called.close();
                called.try_recv().is_ok()
            }
        {
            self.line.held.lose();
            self.line.make_room();
        }
    }
}

#[cfg(test)]
mod tests;
