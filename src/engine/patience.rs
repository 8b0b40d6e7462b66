//! Deadlines: which attempts have had their time. Slow is not dead.
//!
//! The driver tells a few times a second how each attempt is getting on (`Event::Pulse`); here is
//! decided whether it is given up. There is no deadline for the whole of anything: what is measured
//! is silence, and pace against the pace of the line.
//!
//! *Time counts only while it is observed*: the gap between two pulses counts one second at most. A
//! process that was stopped, or a machine that slept, has seen nothing and concludes nothing. Nor does
//! it count while everything is acknowledged and the source has not given more: a disk that hangs is
//! no fault of the line's. That is said, and waited for; nobody but a person can mend it.
//!
//! *Our own limit is nobody's fault.* Time in which an attempt waits for its turn under the bandwidth
//! limit counts for nothing, except that bytes which are out and not acknowledged meanwhile are silence
//! as ever: a dead connection is found however small the limit is.
//!
//! *Why no slow line is killed.* Silence ends an attempt after [`Limits::stall_timeout`], which is
//! longer than the honest silences of the slowest lines. Being slow ends it only by comparison: every
//! byte that is acknowledged to any attempt of the upload counts as one even share for each attempt
//! that is sending. All shares together are all that was acknowledged, so however slow the line is or
//! becomes, attempts that divide it evenly get what they are due: an attempt is overdue when its
//! shares come to eight times its body, that is, when the line has carried eight such bodies for
//! each attempt while this one did not get one across. At a constant pace this is eight times the
//! time that the pace explains; when the pace falls, the shares fall with it, and when it rises, the
//! slow time before it is not held against anyone. One attempt alone gets all shares itself and is
//! never overdue. The rate floor is the one rule without comparison, and it looks at the line as a
//! whole: many lanes may each be below it.

use std::time::Duration;

use crate::engine::event::{AttemptId, Effect, Moment, Notice, Pulse};
use crate::engine::watch::GAP_MAX;
use crate::engine::{Engine, Work, WorkKind};
use crate::model::{Failure, Stage};

/// How long a source may give nothing before that is said: longer than a disk that was asleep takes to
/// wake, shorter than a person's patience with a bar that stands still.
const SOURCE_HANGS: Duration = Duration::from_secs(10);

/// Limits of the engine's patience, each a setting.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Lanes in flight, at least 1; [`Event::Window`](crate::engine::event::Event::Window) changes it.
    pub window: usize,
    /// The window is a setting: neither the line nor the object makes it smaller.
    pub is_window_fixed: bool,
    /// Failed attempts in a row that one segment may have; 0 for no such limit.
    pub part_attempts: u32,
    /// How long to go on without any acknowledgement.
    pub retry_budget: Duration,
    /// How long nothing may be acknowledged while bytes of an attempt are outstanding.
    pub stall_timeout: Duration,
    /// How long an answer may take once everything of its request is acknowledged.
    pub response_timeout: Duration,
    /// The same for commits: the service joins what it has.
    pub commit_timeout: Duration,
    /// Slowest pace that is still one, in bytes a second; 0 for no such limit.
    pub min_rate_bytes_per_s: u64,
    /// Longest time of one attempt at a segment, from its connection on. None for what the line's
    /// pace explains; see [the module](crate::engine::patience).
    pub part_timeout: Option<Duration>,
    /// Whether an outage is waited out, however long it is: while nobody can be reached, no budget
    /// ends the upload.
    pub wait_online: bool,
}

impl Default for Limits {
    /// The design's table of deadlines. Two lanes: one waits for its answer while the other sends,
    /// and a crash on a thin line loses little.
    fn default() -> Self {
        Self {
            window: 2,
            is_window_fixed: false,
            part_attempts: 0,
            retry_budget: Duration::from_secs(15 * 60),
            stall_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(60),
            commit_timeout: Duration::from_secs(300),
            min_rate_bytes_per_s: 256,
            part_timeout: None,
            wait_online: false,
        }
    }
}

impl Engine {
    /// Takes a pulse in, and gives its attempt up, or doubts it, if that has had its time.
    pub(crate) fn pulse(&mut self, now: Moment, attempt: AttemptId, pulse: Pulse) {
        let is_down = self.reach.is_down() && !self.is_spent(now);
        let Some(work) = self.attempts.get_mut(&attempt) else {
            return;
        };
        // Looks go another way, where their time is kept; probes are nothing but a connection.
        if matches!(work.kind, WorkKind::Stat | WorkKind::Probe) {
            return;
        }
        let before = work.watch.last.map_or(work.begun, |(at, _)| at);
        let rested = work.watch.last.is_some_and(|(_, last)| last.rests());
        let quiet = work.watch.quiet;
        let seen = work.watch.see(now, pulse, is_down);
        if pulse.stage == Stage::Waiting {
            // Its turn has not come: nothing is late yet.
            work.begun = now;
            // Unless others of its upload are tried meanwhile.
            if self.attempts.values().all(|work| work.watch.is_waiting()) {
                self.budget.stand_by(before, now);
            }
            return;
        }
        match seen.rise {
            0 if rested => self.budget.excuse(before, now),
            0 if now.since(before) > GAP_MAX => self.budget.excuse(before.after(GAP_MAX), now),
            0 => {}
            // What was on its way is there: the silence before was none of a dead line's.
            _ => self
                .budget
                .excuse(Moment(before.0.saturating_sub(quiet)), now),
        }
        let known = [self.shortest_round_trip, pulse.round_trip];
        self.shortest_round_trip = known.into_iter().flatten().min();
        self.share_out(Some(attempt), seen.rise);
        self.saw(now, attempt, seen);
        self.judge(now, attempt, is_down);
    }

    fn judge(&mut self, now: Moment, attempt: AttemptId, is_down: bool) {
        self.tell_hang(attempt);
        let line = self.line_bytes;
        let Some(work) = self.attempts.get_mut(&attempt) else {
            return;
        };
        if work.watch.is_given_up {
            return;
        }
        let over = work.watch.over(&self.limits, work.kind, line, is_down);
        let host = work.host;
        let connecting = work.watch.connecting;
        let is_connecting = work.watch.stage() == Stage::Connecting;
        let over = over.or_else(|| {
            let why = self.other_host_due(now, host, connecting);
            why.filter(|_| is_connecting)
        });
        match over {
            Some(why) => self.break_off(attempt, why),
            None => self.doubt(now, attempt),
        }
    }

    fn break_off(&mut self, attempt: AttemptId, why: Failure) {
        if let Some(work) = self.attempts.get_mut(&attempt) {
            work.watch.is_given_up = true;
            self.effects.push_back(Effect::GiveUp { attempt, why });
        }
    }

    /// Says that the source hangs, once for all attempts that wait for it.
    fn tell_hang(&mut self, attempt: AttemptId) {
        let is_said = self.attempts.values().any(|work| work.watch.hang_is_said);
        let Some(work) = self.attempts.get_mut(&attempt) else {
            return;
        };
        let waited = work.watch.hanging;
        if waited >= SOURCE_HANGS && !is_said {
            work.watch.hang_is_said = true;
            let notice = Notice::SourceHangs { waited };
            self.effects.push_back(Effect::Notice(notice));
        }
    }

    /// An attempt that carried `len` bytes was answered: what no pulse had told yet was acknowledged
    /// too.
    pub(crate) fn share_rest(&mut self, work: &Work, len: u64) {
        self.share_out(None, len.saturating_sub(work.watch.acknowledged()));
    }

    /// Counts `rise` bytes as acknowledged: an even share for each attempt that is sending, and for
    /// the one whose bytes they are, which may be over already.
    fn share_out(&mut self, whose: Option<AttemptId>, rise: u64) {
        if rise == 0 {
            return;
        }
        self.line_bytes += rise;
        self.sizer.carried(rise);
        let sends = |id: &AttemptId, work: &Work| whose != Some(*id) && work.watch.is_sending();
        let others = self.attempts.iter().filter(|(id, work)| sends(id, work));
        let share = rise / (others.count() as u64 + 1);
        for (id, work) in &mut self.attempts {
            if whose == Some(*id) || sends(id, work) {
                work.watch.share += share;
            }
        }
    }
}
