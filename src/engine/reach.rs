//! Is the line down, or only a connection dead? Told by a fresh connection.
//!
//! An attempt is *suspect* when it has been silent for far longer than this line ever was. While others
//! move, the line is up and the connection is to blame: its segment is *raced*, sent a second time on
//! a fresh connection, and the first answer counts. When nothing moves at all, a *probe* is made, a
//! connection and nothing more: as long as none opens the line is down, everything is kept, nobody
//! is blamed, and a probe goes out every two seconds; when one opens, what was waiting for a connection
//! goes on at once, and what is still silent a moment later is raced. So a black hole costs seconds, and
//! a line that comes and goes costs no segment each time.

use std::time::Duration;

use crate::engine::event::{AttemptId, Effect, HostIndex, Lesson, Moment, Notice};
use crate::engine::lane::Step;
use crate::engine::watch::{SILENCE_MIN, Seen};
use crate::engine::{Engine, Rival, Work, WorkKind};
use crate::model::{Failure, FailureKind, Stage};

/// From one probe to the next: whoever waits for the line loses no more than this when it is back.
/// Source: the design's table of deadlines.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// How long a connection may take before another host has its turn, or the line is doubted. Source:
/// the same table.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// How many times the longest of its kind that this line has shown a silence, an answer or a new
/// connection must take to be suspect. Queues fill and empty: twice is chance.
const SUSPECT_FACTOR: u32 = 3;

/// Movements to have seen before a silence can be called long. Source: the design's table.
const SAMPLES_MIN: u32 = 3;

/// How long connections may take to wake when the line is back before their segments are raced: a
/// second between retransmissions where the kernel allows that, and a round trip.
const GRACE: Duration = Duration::from_millis(1500);

/// How long an opened probe speaks for the line.
const OPENED_HOLDS: Duration = Duration::from_secs(10);

/// What is known of the line and of new connections over it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    probe: Option<(AttemptId, Moment)>,
    next_probe: Moment,
    /// Probes in a row that did not open.
    missed_probes: usize,
    next_host: HostIndex,
    /// Bytes were acknowledged or an answer came, to anyone.
    last_move: Moment,
    /// A probe opened.
    opened: Option<Moment>,
    /// No probe opens since then.
    down_since: Option<Moment>,
    /// Hosts cannot be reached, and something waits because of that.
    unreached: bool,
    /// A look whether the object is there was not answered. Looks go to another kind of host: that
    /// alone says nothing of the line, but asks.
    is_doubted: bool,
    /// Movements seen.
    samples: u32,
    /// The longest silence that ended well, answer that came, and connection that was made.
    longest_silence: Duration,
    longest_answer: Duration,
    longest_connect: Duration,
}

impl Reach {
    /// Whether the line is down, as far as anyone can tell.
    pub(crate) fn is_down(&self) -> bool {
        self.down_since.is_some()
    }

    /// A host was not reached, and no other may be.
    pub(crate) fn miss(&mut self) {
        self.unreached = true;
    }

    /// A look was not answered.
    pub(crate) fn miss_look(&mut self) {
        self.is_doubted = true;
    }

    /// Whether a probe has to tell of the line, without any attempt that waits for it.
    fn is_asked(&self) -> bool {
        self.unreached || self.is_doubted
    }

    /// When the line was last known to be up.
    fn told(&self) -> Moment {
        self.last_move.max(self.opened.unwrap_or_default())
    }

    /// An answer took so long.
    fn answered_after(&mut self, time: Duration) {
        self.longest_answer = self.longest_answer.max(time);
    }
}

impl Engine {
    /// Whether it went on without progress for too long. While nothing can pass that is no reason
    /// for those who wait for the line.
    pub(crate) fn is_spent(&self, now: Moment) -> bool {
        self.budget.is_spent(now) && !self.waits_online()
    }

    /// Whether it waits for the line as long as that takes.
    pub(crate) fn waits_online(&self) -> bool {
        self.limits.wait_online && (self.reach.is_down() || self.reach.unreached)
    }

    /// An attempt showed this.
    pub(crate) fn saw(&mut self, now: Moment, attempt: AttemptId, seen: Seen) {
        let reach = &mut self.reach;
        let connect = seen.connected_after.unwrap_or_default();
        reach.longest_connect = reach.longest_connect.max(connect);
        let silence = seen.silence_ended.unwrap_or_default();
        reach.longest_silence = reach.longest_silence.max(silence);
        if seen.connected_after.is_some() {
            self.somebody_is_there(now);
        }
        let reach = &mut self.reach;
        if seen.rise > 0 {
            reach.samples = reach.samples.saturating_add(1);
            self.line_moves(now);
            self.settle_race(attempt);
        }
    }

    /// A connection was made, or an answer of whatever kind came: the line is up.
    pub(crate) fn somebody_is_there(&mut self, now: Moment) {
        self.line_is_up(now);
        self.reach.unreached = false;
    }

    /// An attempt was answered.
    pub(crate) fn heard_answer(&mut self, now: Moment, work: &Work) {
        if work.kind != WorkKind::Commit {
            self.reach.answered_after(work.watch.answering());
        }
        self.line_moves(now);
    }

    /// Something passes.
    fn line_moves(&mut self, now: Moment) {
        self.line_is_up(now);
        self.reach.last_move = now;
        self.reach.unreached = false;
        self.reach.is_doubted = false;
    }

    /// The line is up, whoever found that out.
    fn line_is_up(&mut self, now: Moment) {
        self.reach.missed_probes = 0;
        if self.limits.wait_online && (self.reach.is_down() || self.reach.unreached) {
            // Waiting was what was asked for: it used nothing up.
            self.budget.begin_anew(now);
        }
        if self.reach.down_since.take().is_some() {
            let silence = now.since(self.reach.last_move);
            self.effects
                .push_back(Effect::Notice(Notice::LineUp { silence }));
        }
    }

    fn line_is_down(&mut self, now: Moment) {
        if self.reach.down_since.is_none() {
            self.reach.down_since = Some(now);
            let silence = now.since(self.reach.last_move);
            self.effects
                .push_back(Effect::Notice(Notice::LineDown { silence }));
        }
    }

    /// Why an attempt that has no connection to `host` yet is to leave it to another host, if it is.
    pub(crate) fn other_host_due(
        &self,
        now: Moment,
        host: HostIndex,
        connecting: Duration,
    ) -> Option<Failure> {
        let is_due = connecting >= self.connect_patience() && self.hosts.has_other(now, host);
        is_due.then(|| {
            let what = format!("no connection for {} s", connecting.as_secs());
            Failure::new(FailureKind::Connect, what)
        })
    }

    fn connect_patience(&self) -> Duration {
        CONNECT_PATIENCE.max(self.reach.longest_connect * SUSPECT_FACTOR)
    }

    /// Has the segment of a suspect or lagging attempt raced, if it is time.
    pub(crate) fn doubt(&mut self, now: Moment, attempt: AttemptId) {
        // An upload that ends begins nothing new.
        if self.ending.is_some() || self.twin(attempt).is_some() {
            return;
        }
        let Some(work) = self.attempts.get_mut(&attempt) else {
            return;
        };
        let WorkKind::Segment { lane, len } = work.kind else {
            return;
        };
        let lags = work.watch.lags(len);
        let is_suspect = self
            .attempts
            .get(&attempt)
            .is_some_and(|it| self.is_suspect(it));
        if lags {
            let why = "its connection is far slower than the line";
            self.race(now, attempt, lane, Rival::Lag, why);
        } else if is_suspect && self.line_is_not_to_blame(now) {
            let why = "its connection is silent";
            self.race(now, attempt, lane, Rival::Silence, why);
        }
    }

    /// Whether an attempt has been silent for far longer than any was on this line. A server that does
    /// not read is there: how long to wait for it is the stall limit's to say.
    fn is_suspect(&self, work: &Work) -> bool {
        let longest = match work.watch.stage() {
            Stage::Sending if work.watch.was_closed() => return false,
            Stage::Sending => self.reach.longest_silence,
            Stage::Answering => self.reach.longest_answer,
            Stage::Waiting | Stage::Connecting | Stage::Reading => return false,
        };
        let knows_line = self.has_acknowledged && self.reach.samples >= SAMPLES_MIN;
        let limit = SILENCE_MIN.max(longest * SUSPECT_FACTOR);
        let is_segment = matches!(work.kind, WorkKind::Segment { .. });
        is_segment && knows_line && work.watch.silence >= limit
    }

    fn line_is_not_to_blame(&self, now: Moment) -> bool {
        let moves = now.since(self.reach.last_move) < SILENCE_MIN;
        let opened = self.reach.opened.map(|at| now.since(at));
        moves || opened.is_some_and(|ago| (GRACE..OPENED_HOLDS).contains(&ago))
    }

    /// Keeps a probe under way as long as nobody knows whether the line is up.
    pub(crate) fn probe_if_due(&mut self, now: Moment) {
        if !self.needs_probe(now) {
            self.drop_probe();
            return;
        }
        if let Some((_, begun)) = self.reach.probe {
            if now.since(begun) < PROBE_EVERY {
                return;
            }
            self.drop_probe();
            self.probe_missed(now);
        } else if self.reach.next_probe > now {
            return;
        }
        let host = self.reach.next_host % self.job.hosts.len();
        self.reach.next_host = host + 1;
        let attempt = self.attempt(now, WorkKind::Probe, host);
        self.effects.push_back(Effect::Probe { attempt, host });
        self.reach.probe = Some((attempt, now));
        self.reach.next_probe = now.after(PROBE_EVERY);
    }

    /// When the next probe is due, as far as nothing else wakes the engine before.
    pub(crate) fn probe_due(&self) -> Option<Moment> {
        match self.reach.probe {
            Some((_, begun)) => Some(begun.after(PROBE_EVERY)),
            None => self.reach.is_asked().then(|| {
                let told = self.reach.told().after(CONNECT_PATIENCE);
                self.reach.next_probe.max(told)
            }),
        }
    }

    fn needs_probe(&self, now: Moment) -> bool {
        if now.since(self.reach.told()) < CONNECT_PATIENCE {
            return false;
        }
        let patience = self.connect_patience();
        let is_stuck = |work: &Work| match work.kind {
            WorkKind::Stat | WorkKind::Probe => false,
            _ if work.watch.is_given_up => false,
            _ if work.watch.stage() == Stage::Connecting => work.watch.connecting >= patience,
            _ => self.is_suspect(work),
        };
        self.reach.is_asked() || self.attempts.values().any(is_stuck)
    }

    fn drop_probe(&mut self) {
        if let Some((attempt, _)) = self.reach.probe.take()
            && self.attempts.remove(&attempt).is_some()
        {
            self.effects.push_back(Effect::Cancel { attempt });
        }
    }

    /// A probe opened: the line is up.
    pub(crate) fn probed(&mut self, now: Moment, attempt: AttemptId) {
        let Some(work) = self.attempts.remove(&attempt) else {
            return;
        };
        self.reach.probe = None;
        self.reach.opened = Some(now);
        self.hosts.thaw(work.host);
        let lesson = Lesson::Thawed { host: work.host };
        self.effects.push_back(Effect::Teach(lesson));
        let was_waiting = self.reach.is_down() || self.reach.unreached;
        self.line_is_up(now);
        self.reach.unreached = false;
        self.reach.is_doubted = false;
        self.release(now);
        if was_waiting {
            self.wait_no_more(now);
        }
    }

    /// A probe came to nothing. Whoever has something against our certificates is there.
    pub(crate) fn probe_failed(&mut self, now: Moment, failure: &Failure) {
        self.reach.probe = None;
        match failure.kind {
            FailureKind::Connect if failure.remedy.is_none() => self.probe_missed(now),
            _ => {
                self.reach.opened = Some(now);
                self.reach.is_doubted = false;
                self.somebody_is_there(now);
            }
        }
    }

    /// A probe did not open. One host may be dead: the line is down when none of them opens.
    fn probe_missed(&mut self, now: Moment) {
        self.reach.missed_probes = self.reach.missed_probes.saturating_add(1);
        if self.reach.missed_probes >= self.job.hosts.len() {
            self.line_is_down(now);
        }
    }

    /// Nothing is under way any more.
    pub(crate) fn forget_probe(&mut self) {
        self.reach.probe = None;
    }

    /// What waits for a connection takes the one that is there. Not a commit: it may have gone out
    /// in the moment since it was last seen.
    fn release(&mut self, now: Moment) {
        let waits = |work: &Work| {
            work.watch.stage() == Stage::Connecting
                && work.watch.connecting >= CONNECT_PATIENCE
                && work.kind != WorkKind::Commit
        };
        let waiting = self.attempts.iter().filter(|(_, work)| waits(work));
        let waiting: Vec<AttemptId> = waiting.map(|(id, _)| *id).collect();
        self.take_back(now, waiting);
    }

    fn take_back(&mut self, now: Moment, attempts: Vec<AttemptId>) {
        for attempt in attempts {
            if let Some(work) = self.attempts.remove(&attempt) {
                self.effects.push_back(Effect::Cancel { attempt });
                self.begin_again(now, work.kind);
            }
        }
    }

    /// Segments that wait for their turn at a host that does not serve go to another one.
    pub(crate) fn leave_queue_of(&mut self, now: Moment, host: HostIndex) {
        if !self.hosts.has_other(now, host) {
            return;
        }
        let queues =
            |work: &Work| work.host == host && work.is_segment() && work.watch.is_waiting();
        let queuing = self.attempts.iter().filter(|(_, work)| queues(work));
        let queuing: Vec<AttemptId> = queuing.map(|(id, _)| *id).collect();
        self.take_back(now, queuing);
    }

    /// An attempt was taken back before it had begun.
    fn begin_again(&mut self, now: Moment, kind: WorkKind) {
        match kind {
            WorkKind::Segment { lane, .. } if self.attempt_at(lane).is_none() => {
                self.set_step(lane, Step::Idle(now));
            }
            WorkKind::Initiate => self.initiate_again(),
            WorkKind::List => self.list_again(),
            _ => {}
        }
    }

    /// Waits that were due to the line are over.
    fn wait_no_more(&mut self, now: Moment) {
        for index in &self.open {
            if let Some(lane) = self.lanes.get_mut(index)
                && let Step::Idle(not_before) = &mut lane.step
            {
                *not_before = now.min(*not_before);
            }
        }
        self.commit_waits_no_more(now);
        self.begin_waits_no_more(now);
    }
}
