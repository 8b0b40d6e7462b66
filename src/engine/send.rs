//! Sending lanes: which one next, what an acknowledgement means, and what a failure.

use std::cmp::Reverse;
use std::time::Duration;

use crate::engine::event::{AttemptId, Effect, HostIndex, Lesson, Moment, Notice, RecordId};
use crate::engine::lane::{Acknowledged, Lane, Step};
use crate::engine::plan::{LANES_START, Layout, Protocol, Took, Wishes};
use crate::engine::record::{Digest, Receipt, Record, Seal};
use crate::engine::retry::{MISMATCHES_MAX, Verdict, verdict};
use crate::engine::{Engine, Phase, Work, WorkKind};
use crate::model::{ByteSpan, Failure, FailureKind};

/// How often one lane may start again from its first byte without getting further than before. More
/// would be a service that forgets what it acknowledges, and a loop that sends for ever.
pub(crate) const LANE_RESTARTS_MAX: u32 = 3;

/// Most lanes that one upload has in flight. Source: the design's table of deadlines, "window".
const LANES_MAX: usize = 16;

/// A shorter round trip leaves nothing for further lanes to hide, which cost memory all the same.
const NEAR: Duration = Duration::from_millis(2);

/// At most one lane in so many is in flight at a time: among so many there is always one with bytes left
/// for a connection that is free, until all end. A lane that kept its connection to its end would leave
/// the fast ones idle for as long as the slowest needs for the last.
const LANES_SHARE: usize = 4;

/// Failures in a row after which a lane no longer follows the endpoint that its receipt names.
const NAMED_HOST_FAILURES_MAX: u32 = 2;

/// Lanes that begin before anything is acknowledged: those of v1 share what a single one would risk.
pub(crate) fn first_lanes(layout: &Layout, size: u64, window: usize) -> usize {
    match layout.protocol {
        Protocol::Blocks => LANES_START.min(most_lanes(layout, size)).min(window),
        Protocol::Parts | Protocol::Form => 1,
    }
}

/// Few enough lanes that the last ones of an object end together.
fn most_lanes(layout: &Layout, size: u64) -> usize {
    let count = usize::try_from(layout.lane_count(size)).unwrap_or(usize::MAX);
    (count / LANES_SHARE).clamp(2, LANES_MAX).min(count.max(1))
}

impl Engine {
    /// Begins segments until the window is full or no lane is due.
    pub(crate) fn fill_window(&mut self, now: Moment) {
        if !matches!(self.phase, Phase::Sending) || self.listing.is_some() {
            return;
        }
        while self.lanes_in_flight() < self.window_now() {
            let Some(index) = self.next_lane(now) else {
                return;
            };
            self.send_segment(now, index);
        }
    }

    /// How many lanes may be in flight now: few until this process has had something acknowledged.
    ///
    /// A process that is killed again and again then still gets a whole segment across each time,
    /// where many lanes side by side would all be lost half-sent.
    fn window_now(&self) -> usize {
        if self.has_acknowledged || self.attempts.values().any(Work::is_soon_over) {
            self.window()
        } else {
            first_lanes(&self.layout, self.expected_size(), self.limits.window)
        }
    }

    /// Lanes in flight at most: as many as a setting says, else as the line is worth, and few enough that
    /// the last ones end together.
    pub fn window(&self) -> usize {
        if self.limits.is_window_fixed {
            return self.limits.window;
        }
        let most = most_lanes(&self.layout, self.expected_size());
        let is_near = self.shortest_round_trip.is_some_and(|time| time < NEAR);
        let most = if is_near { most.min(LANES_START) } else { most };
        self.limits.window.min(most)
    }

    /// When the next lane could be begun, as far as that depends on time.
    pub(crate) fn lane_due(&self) -> Option<Moment> {
        if self.lanes_in_flight() >= self.window_now() {
            return None;
        }
        let due = |index: &u64| match self.lanes.get(index)?.step {
            Step::Idle(not_before) if !self.unchecked.contains(index) => Some(not_before),
            _ => None,
        };
        // One that nobody has begun is due at any time, unless it has to wait behind others.
        let may_begin = self.lanes_waiting(Moment::default()) <= self.window_now();
        let fresh = (may_begin && self.has_untouched()).then(Moment::default);
        self.open.iter().filter_map(due).chain(fresh).min()
    }

    fn has_untouched(&self) -> bool {
        let mut untouched = self.untouched..self.lanes_there();
        untouched.any(|index| !self.lanes.contains_key(&index))
    }

    pub(crate) fn sent(
        &mut self,
        now: Moment,
        attempt: AttemptId,
        receipt: Receipt,
        digest: Digest,
    ) {
        let Some(work) = self.attempts.remove(&attempt) else {
            return;
        };
        let WorkKind::Segment { lane: index, len } = work.kind else {
            return;
        };
        self.cancel_attempt_at(index);
        self.answered(now, &work);
        self.share_rest(&work, len);
        self.cuts.passed(len);
        self.has_acknowledged = true;
        let Some(lane) = self.lanes.get(&index) else {
            return;
        };
        let record = Record::Segment {
            lane: index,
            offset: lane.done,
            len,
            digest,
            receipt: receipt.clone(),
        };
        let id = self.record(record);
        let acknowledged = Acknowledged {
            seal: Seal { len, digest },
            receipt,
            epoch: work.epoch,
            took: Took {
                time: Self::took(now, &work),
                lanes: self.lanes_in_flight(),
                round_trip: work.watch.round_trip(),
            },
        };
        self.set_step(index, Step::Recording(id, acknowledged));
    }

    /// A lane's record is durable: only now it counts.
    pub(crate) fn lane_recorded(&mut self, now: Moment, id: RecordId) {
        let waits = |lane: &Lane| match &lane.step {
            Step::Recording(waiting, _) | Step::Resetting(waiting) => *waiting == id,
            _ => false,
        };
        let open = self.open.iter().copied();
        let Some(index) = open
            .into_iter()
            .find(|index| self.lanes.get(index).is_some_and(waits))
        else {
            return;
        };
        let epoch = self.epoch;
        let Some(lane) = self.lanes.get_mut(&index) else {
            return;
        };
        match std::mem::replace(&mut lane.step, Step::Idle(now)) {
            Step::Recording(_, segment) => self.segment_safe(index, segment),
            Step::Resetting(_) => {
                let lost = lane.done;
                lane.reset(epoch);
                self.safe_bytes -= lost;
                self.unchecked.remove(&index);
            }
            _ => {}
        }
    }

    pub(crate) fn segment_failed(
        &mut self,
        now: Moment,
        work: &Work,
        index: u64,
        len: u64,
        failure: Failure,
    ) {
        let Some(lane) = self.lanes.get_mut(&index) else {
            return;
        };
        lane.failures += 1;
        let mismatch = matches!(
            failure.kind,
            FailureKind::Mismatch | FailureKind::ChecksumRefused
        );
        lane.mismatches += u32::from(mismatch);
        let (failures, mismatches) = (lane.failures, lane.mismatches);
        lane.step = Step::Idle(now);
        let passes = self.cut_short(now, work, len, &failure).unwrap_or_default();
        let attempts_spent = (1..=failures).contains(&self.limits.part_attempts);
        match verdict(&failure) {
            Verdict::RenewToken => self.token_refused(now, work, failure),
            Verdict::StartOver => {
                self.start_over(now, failure, "the service no longer knows the upload id")
            }
            Verdict::RestartLane => self.restart_lane(now, index, failure),
            Verdict::SourceGone => self.give_up(now, failure, false),
            Verdict::GiveUp { again } => self.give_up(now, failure, again),
            _ if attempts_spent || self.is_spent(now) => self.give_up(now, failure, true),
            Verdict::Resend if mismatches >= MISMATCHES_MAX => self.give_up(now, failure, true),
            Verdict::Shorten => self.shorten(now, index, len, failure),
            // Half of what is handed over is what may pass.
            Verdict::Again if passes > 0 => self.shorten(now, index, passes * 2, failure),
            Verdict::SlowDown => {
                self.slow_down(now, failure, failures, Some(index));
            }
            other => {
                self.learn_length(now, work, &failure);
                let skip = match other {
                    Verdict::NextHost => self.hosts.has_other(now, work.host),
                    Verdict::Resend => true,
                    _ => false,
                };
                let until = self.wait_after(now, failure, failures, Some(index), skip);
                self.set_step(index, Step::Idle(until));
            }
        }
    }

    /// What a lost attempt says about the length of segments: nothing where no host was reached.
    pub(crate) fn learn_length(&mut self, now: Moment, work: &Work, failure: &Failure) {
        if verdict(failure) != Verdict::NextHost {
            self.sizer.lost(Self::took(now, work));
        }
        if failure.kind == FailureKind::Broken {
            self.sizer.broke();
        }
    }

    /// Voids one lane. The record comes first: a crash must not find receipts that no longer hold.
    pub(crate) fn restart_lane(&mut self, now: Moment, index: u64, failure: Failure) {
        let Some(lane) = self.lanes.get(&index) else {
            return;
        };
        let (done, failures, restarts) = (lane.done, lane.failures, lane.restarts);
        if restarts >= LANE_RESTARTS_MAX {
            if done > 0 {
                // Nothing of it is safe.
                self.void_lane(index, "the service no longer knows what it acknowledged");
            }
            self.give_up(now, failure, true);
        } else if done == 0 {
            // Nothing to void: the service refused a first segment. Wait before the next attempt.
            if self.is_spent(now) {
                self.give_up(now, failure, true);
                return;
            }
            let until = self.wait_after(now, failure, failures, Some(index), false);
            self.set_step(index, Step::Idle(until));
        } else {
            self.void_lane(index, "the service no longer knows what it acknowledged");
        }
    }

    /// Records that a lane starts again; it does when the record is durable.
    pub(crate) fn void_lane(&mut self, index: u64, why: &'static str) {
        self.effects
            .push_back(Effect::Notice(Notice::LaneRestarted { lane: index, why }));
        let id = self.record(Record::LaneReset { lane: index });
        self.record_unclear();
        if !self.open.contains(&index) {
            self.open.insert(index);
            self.complete -= 1;
        }
        self.unchecked.remove(&index);
        self.set_step(index, Step::Resetting(id));
    }

    pub(crate) fn set_step(&mut self, index: u64, step: Step) {
        if let Some(lane) = self.lanes.get_mut(&index) {
            lane.step = step;
        }
    }

    fn segment_safe(&mut self, index: u64, segment: Acknowledged) {
        let Some(span) = self.layout.lane(index, self.job.size) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(&index) else {
            return;
        };
        self.safe_bytes += segment.seal.len;
        self.sizer.acknowledged(segment.seal.len, &segment.took);
        lane.advance(segment);
        assert!(
            lane.done <= span.len,
            "a lane acknowledged more than it is long"
        );
        if lane.epoch < self.epoch {
            self.unchecked.insert(index);
        }
        if lane.done == span.len {
            self.open.remove(&index);
            self.complete += 1;
            self.let_go(span);
        }
        let progress = Notice::Progress {
            safe_bytes: self.safe_bytes,
        };
        self.effects.push_back(Effect::Notice(progress));
    }

    /// The next lane: one that is begun before one that is not, so that few stand half-done. Near the end
    /// of the object the one with most bytes left, so that all end together, whichever connections are
    /// slow. None is begun while more than a window of them wait after failures: a service that is away
    /// would see every lane of the object at once.
    fn next_lane(&mut self, now: Moment) -> Option<u64> {
        self.skip_touched();
        let count = self.lanes_there();
        let window = self.window_now();
        let may_begin = self.untouched < count && self.lanes_waiting(now) <= window;
        let fresh = may_begin.then_some(self.untouched);
        let ready = |index: &u64| {
            !self.unchecked.contains(index)
                && self.lanes.get(index).is_some_and(|lane| lane.is_due(now))
        };
        let mut begun = self.open.iter().copied().filter(ready);
        let lanes_left = usize::try_from(count.saturating_sub(self.complete)).unwrap_or(usize::MAX);
        // Of a stream nobody knows where it ends.
        let ends = !self.is_open() && lanes_left <= window.saturating_mul(LANES_SHARE);
        let next = match ends {
            false => begun.next().or(fresh)?,
            true => begun
                .chain(fresh)
                .max_by_key(|index| (self.left_of(*index), Reverse(*index)))?,
        };
        if fresh == Some(next) {
            self.lanes.insert(next, Lane::fresh(self.epoch));
            self.open.insert(next);
        }
        Some(next)
    }

    /// Bytes of a lane that are not acknowledged.
    fn left_of(&self, index: u64) -> u64 {
        let span = self.layout.lane(index, self.job.size);
        let done = self.lanes.get(&index).map_or(0, |lane| lane.done);
        span.map_or(0, |span| span.len - done)
    }

    /// Lanes that may not go on yet.
    fn lanes_waiting(&self, now: Moment) -> usize {
        let waits = |lane: &Lane| matches!(lane.step, Step::Idle(until) if until > now);
        let waits = |index: &&u64| self.lanes.get(index).is_some_and(waits);
        self.open.iter().filter(waits).count()
    }

    fn send_segment(&mut self, now: Moment, index: u64) {
        let size = self.job.size;
        let (Some(lane_span), Some(lane)) = (self.layout.lane(index, size), self.lanes.get(&index))
        else {
            return;
        };
        let (done, after, failures) = (lane.done, lane.receipt.clone(), lane.failures);
        let left = self.left_for_each_lane();
        let len = self
            .sizer
            .segment_len(self.layout.protocol, lane_span.len, done, left);
        assert!(len > 0, "an empty segment");
        let host = self.host_for(now, after.as_ref(), failures);
        let attempt = self.attempt(now, WorkKind::Segment { lane: index, len }, host);
        self.effects.push_back(Effect::Send {
            attempt,
            host,
            lane: index,
            lane_span,
            span: ByteSpan::new(lane_span.offset + done, len),
            after,
            upload_id: self.upload_id.clone(),
            is_second: false,
        });
        self.set_step(index, Step::Sending);
    }

    /// Bytes that are left of the object for each lane that can be in flight; no end where there is
    /// but one, which nobody waits for.
    fn left_for_each_lane(&self) -> u64 {
        let size = self.expected_size();
        let lanes = self.layout.lane_count(size).saturating_sub(self.complete);
        let window = u64::try_from(self.window_now()).unwrap_or(1);
        match lanes.min(window) {
            0 | 1 => u64::MAX,
            lanes => size.saturating_sub(self.safe_bytes) / lanes,
        }
    }

    /// The host that `receipt` names, while it serves; else the best one.
    pub(crate) fn host_for(
        &self,
        now: Moment,
        receipt: Option<&Receipt>,
        failures: u32,
    ) -> HostIndex {
        let named = receipt.and_then(|receipt| receipt.host.as_deref());
        let named = named.and_then(|name| self.job.hosts.iter().position(|host| host == name));
        match named {
            Some(host)
                if failures < NAMED_HOST_FAILURES_MAX && !self.hosts.is_frozen(now, host) =>
            {
                host
            }
            _ => self.best_host(now),
        }
    }

    /// Something on the way refuses bodies of `len` bytes: the next ones are shorter, if they can be.
    fn shorten(&mut self, now: Moment, index: u64, len: u64, failure: Failure) {
        if self.layout.protocol == Protocol::Parts {
            let wishes = Wishes {
                protocol: Some(Protocol::Parts),
                threshold: Some(0),
                part_len: len / 2,
                ..self.job.wishes
            };
            let shorter = Layout::in_lanes(self.expected_size(), &wishes);
            if shorter.lane_len >= self.layout.lane_len {
                self.give_up(now, failure, false);
                return;
            }
            let why = "something on the way refuses bodies as long as its parts were";
            self.effects
                .push_back(Effect::Notice(Notice::StartedOver { why }));
            self.forget_lanes();
            self.layout = shorter;
            self.phase = Phase::Beginning(Default::default());
        } else if self.sizer.refused(len) {
            let len = self.sizer.limit();
            self.effects
                .push_back(Effect::Teach(Lesson::BodyLimit { len }));
            let failures = self.lanes.get(&index).map_or(1, |lane| lane.failures);
            let until = self.wait_after(now, failure, failures, Some(index), true);
            self.set_step(index, Step::Idle(until));
        } else {
            self.give_up(now, failure, false);
        }
    }

    /// Lanes with a segment on the wire or on its way to the disk.
    fn lanes_in_flight(&self) -> usize {
        let busy = |index: &&u64| {
            let step = self.lanes.get(index).map(|lane| &lane.step);
            matches!(step, Some(Step::Sending | Step::Recording(..)))
        };
        self.open.iter().filter(busy).count()
    }
}
