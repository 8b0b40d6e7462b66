//! The beginning: taking up a checkpoint, or choosing the layout and getting an upload id.

use std::time::Duration;

use crate::engine::doubt::acted;
use crate::engine::event::{AttemptId, Effect, Moment, Outcome, RecordId};
use crate::engine::lane::Lane;
use crate::engine::plan::Protocol;
use crate::engine::record::{Checkpoint, Record};
use crate::engine::retry::{Verdict, verdict};
use crate::engine::{Engine, Phase, Work, WorkKind};
use crate::model::Failure;

/// What an earlier process was given must live this long still, in seconds: less would end under the
/// running upload. An hour is what the token lives at least.
const LIFE_LEFT_MIN_S: u64 = 3600;

/// Getting to the point where lanes can be sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Begin {
    not_before: Moment,
    failures: u32,
    step: Step,
}

#[derive(Clone, Debug, Default)]
enum Step {
    #[default]
    Idle,
    Initiating,
    Recording(RecordId),
}

impl Begin {
    pub(crate) fn due(&self) -> Option<Moment> {
        matches!(self.step, Step::Idle).then_some(self.not_before)
    }

    pub(crate) fn is_recording(&self, id: RecordId) -> bool {
        matches!(self.step, Step::Recording(recording) if recording == id)
    }
}

impl Engine {
    /// Takes up what an earlier process recorded, as far as it still lives.
    pub(crate) fn resume(&mut self, checkpoint: Checkpoint) {
        let needed_until = self.job.unix_now.saturating_add(LIFE_LEFT_MIN_S);
        let lives = |expires: Option<u64>| expires.is_none_or(|end| end > needed_until);
        let Some(layout) = checkpoint.layout else {
            return;
        };
        self.take_up_commit(checkpoint.committing);
        if layout.protocol == Protocol::Parts && !lives(checkpoint.expires) {
            return;
        }
        self.layout = layout;
        self.upload_id = checkpoint.upload_id;
        self.upload_id_ends = checkpoint.expires;
        for (index, (seals, receipt)) in checkpoint.lanes {
            let Some(span) = layout.lane(index, self.job.size) else {
                continue;
            };
            let expired = !lives(receipt.expires);
            let lane = Lane::resumed(seals, receipt);
            self.safe_bytes += lane.done;
            self.unchecked.insert(index);
            if lane.done < span.len {
                self.open.insert(index);
            } else {
                self.complete += 1;
            }
            self.lanes.insert(index, lane);
            if expired {
                self.void_lane(index, "what the service gave for it has expired");
            }
        }
        if !self.lanes.is_empty() || self.upload_id.is_some() {
            self.budget.remember();
        }
        self.skip_touched();
        self.list_what_is_left();
        self.phase = Phase::Sending;
    }

    /// Begins the upload when it is time.
    pub(crate) fn begin_if_due(&mut self, now: Moment) {
        let Phase::Beginning(begin) = &self.phase else {
            return;
        };
        if begin.due().is_none_or(|due| due > now) {
            return;
        }
        if self.may_have_acted() {
            self.finish(Outcome::Unknown(acted()));
        } else if self.layout.protocol == Protocol::Parts {
            let host = self.best_host(now);
            let attempt = self.attempt(now, WorkKind::Initiate, host);
            self.effects.push_back(Effect::Initiate { attempt, host });
            self.set_begin_step(Step::Initiating);
        } else {
            self.record_begun(None);
        }
    }

    pub(crate) fn initiated(
        &mut self,
        now: Moment,
        attempt: AttemptId,
        upload_id: String,
        expires: Option<u64>,
    ) {
        let Some(work) = self.attempts.remove(&attempt) else {
            return;
        };
        self.answered(now, &work);
        self.upload_id = Some(upload_id);
        self.upload_id_ends = expires;
        self.record_begun(expires);
    }

    pub(crate) fn initiate_failed(&mut self, now: Moment, work: &Work, failure: Failure) {
        let Phase::Beginning(mut begin) = self.phase.clone() else {
            return;
        };
        begin.failures += 1;
        begin.step = Step::Idle;
        let spent = self.is_spent(now);
        match verdict(&failure) {
            Verdict::RenewToken => self.token_refused(now, work, failure),
            Verdict::GiveUp { again } => self.give_up(now, failure, again),
            Verdict::StartOver | Verdict::RestartLane | Verdict::Shorten | Verdict::SourceGone => {
                self.give_up(now, failure, false);
            }
            _ if spent => self.give_up(now, failure, true),
            Verdict::SlowDown => {
                self.slow_down(now, failure, begin.failures, None);
            }
            Verdict::NextHost => {
                let skip = self.hosts.has_other(now, work.host);
                begin.not_before = self.wait_after(now, failure, begin.failures, None, skip);
            }
            Verdict::Again | Verdict::Resend => {
                begin.not_before = self.wait_after(now, failure, begin.failures, None, false);
            }
        }
        self.phase = Phase::Beginning(begin);
    }

    /// The attempt at an upload id was taken back.
    pub(crate) fn initiate_again(&mut self) {
        self.set_begin_step(Step::Idle);
    }

    /// What kept the beginning waiting is over.
    pub(crate) fn begin_waits_no_more(&mut self, now: Moment) {
        if let Phase::Beginning(begin) = &mut self.phase {
            begin.not_before = begin.not_before.min(now);
        }
    }

    /// Makes layout and upload id durable; lanes follow when they are.
    fn record_begun(&mut self, expires: Option<u64>) {
        let record = Record::Begun {
            layout: self.layout,
            upload_id: self.upload_id.clone(),
            expires,
        };
        let id = self.record(record);
        self.record_unclear();
        self.set_begin_step(Step::Recording(id));
    }

    fn set_begin_step(&mut self, step: Step) {
        if let Phase::Beginning(begin) = &mut self.phase {
            begin.step = step;
        }
    }

    /// Moves the mark of untouched lanes past those that an earlier process touched.
    pub(crate) fn skip_touched(&mut self) {
        while self.lanes.contains_key(&self.untouched) {
            self.untouched += 1;
        }
    }

    /// How long an attempt took.
    pub(crate) fn took(now: Moment, work: &Work) -> Duration {
        now.since(work.begun)
    }
}
