//! Endings: starting over, giving up, stopping, done.

use std::time::Duration;

use crate::engine::begin::Begin;
use crate::engine::event::{AttemptId, Effect, Moment, Notice, Outcome};
use crate::engine::{Engine, Phase, Work};
use crate::model::{Failure, FailureKind, Stage};

/// How often an upload may start over with all lanes. Once is an accident of the service; more would
/// be a loop that sends the file for ever.
const START_OVERS_MAX: u32 = 1;

/// How long segments in flight may still be acknowledged after the upload has failed elsewhere.
const DRAIN: Duration = Duration::from_secs(10);

impl Engine {
    /// Whether a segment was acknowledged in this process: then the hosts do serve the bucket.
    pub fn has_acknowledged(&self) -> bool {
        self.has_acknowledged
    }

    /// Whether the upload could be made elsewhere instead: each of its hosts fails, and no commit may
    /// have taken effect.
    pub fn may_move(&self) -> bool {
        self.hosts.all_failed() && !self.is_unclear()
    }

    /// Whether a commit may have taken effect that nobody has told of yet.
    pub fn is_unclear(&self) -> bool {
        self.unclear.is_some() || self.other_commit.is_some()
    }

    /// Voids all that the service has acknowledged and begins again, once.
    pub(crate) fn start_over(&mut self, now: Moment, failure: Failure, why: &'static str) {
        if self.may_have_acted() {
            self.finish(Outcome::Unknown(failure));
            return;
        }
        self.start_overs += 1;
        if self.start_overs > START_OVERS_MAX {
            // What the service has may still do, unless it says that it is gone or other bytes.
            if failure.kind != FailureKind::BadRequest {
                self.forget_lanes();
            }
            self.give_up(now, failure, true);
            return;
        }
        self.effects
            .push_back(Effect::Notice(Notice::StartedOver { why }));
        let gone = [FailureKind::NoSuchUpload, FailureKind::NoSuchObject];
        if gone.contains(&failure.kind) {
            self.upload_id = None;
        }
        self.forget_lanes();
        self.phase = Phase::Beginning(Begin::default());
    }

    /// Everything that was sent is void.
    pub(crate) fn forget_lanes(&mut self) {
        for attempt in std::mem::take(&mut self.attempts).into_keys() {
            self.effects.push_back(Effect::Cancel { attempt });
        }
        self.forget_probe();
        if let Some(upload_id) = self.upload_id.take() {
            let host = self.best_host(Moment::default());
            self.effects.push_back(Effect::Abandon { host, upload_id });
        }
        self.lanes.clear();
        self.open.clear();
        self.unchecked.clear();
        self.rechecking = None;
        self.listing = None;
        self.untouched = 0;
        self.complete = 0;
        self.safe_bytes = 0;
    }

    /// The upload fails; what is in flight elsewhere may still be acknowledged for a while.
    pub(crate) fn give_up(&mut self, now: Moment, failure: Failure, again: bool) {
        self.end_at(now.after(DRAIN), Outcome::Failed { failure, again });
    }

    /// Decides the end, unless it is decided already.
    pub(crate) fn end_at(&mut self, until: Moment, outcome: Outcome) {
        if self.ending.is_none() {
            self.take_commit_back();
            self.ending = Some((outcome, until));
        }
    }

    /// Someone wants it to end by `until`, however it ends.
    pub(crate) fn stop(&mut self, until: Moment) {
        self.end_at(until, Outcome::Stopped);
        if let Some((_, end)) = &mut self.ending {
            *end = until.min(*end);
        }
    }

    /// On the way to a decided end: waits for segments in flight, then for records. Who stops waits for
    /// a commit in flight too: its answer tells whether there is anything left to do.
    pub(crate) fn drain(&mut self, now: Moment) {
        let Some((outcome, until)) = &self.ending else {
            return;
        };
        if matches!(self.phase, Phase::Finished) {
            // A commit in flight has ended it before.
            return;
        }
        let (outcome, until) = (outcome.clone(), *until);
        let is_stopped = outcome == Outcome::Stopped;
        let counts = |work: &Work| work.is_segment() || (is_stopped && work.is_commit());
        let in_flight = self.attempts.values().any(counts);
        if in_flight && now < until {
            return;
        }
        for attempt in std::mem::take(&mut self.attempts).into_keys() {
            self.effects.push_back(Effect::Cancel { attempt });
        }
        if self.recording.is_empty() {
            self.finish(outcome);
        }
    }

    /// A segment that is seen to wait for its turn after a stop has not begun: it need not begin any
    /// more. What was seen before the stop is too old to tell.
    pub(crate) fn leave_queue(&mut self, attempt: AttemptId, stage: Stage) {
        let is_stopped = matches!(self.ending, Some((Outcome::Stopped, _)));
        if !is_stopped || stage != Stage::Waiting {
            return;
        }
        if self.attempts.get(&attempt).is_some_and(Work::is_segment) {
            self.attempts.remove(&attempt);
            self.effects.push_back(Effect::Cancel { attempt });
        }
    }

    pub(crate) fn finish(&mut self, outcome: Outcome) {
        assert!(
            outcome != Outcome::Done || self.complete == self.layout.lane_count(self.job.size),
            "success without every lane"
        );
        self.phase = Phase::Finished;
        self.effects.push_back(Effect::Finish(outcome));
    }
}
