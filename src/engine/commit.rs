//! The commit: sent once, and never believed lost before someone looked.

use crate::engine::doubt::acted;
use crate::engine::event::{AttemptId, Effect, Found, Moment, Notice, Outcome, RecordId};
use crate::engine::plan::{Layout, Protocol, SEGMENT_LEN_MIN};
use crate::engine::record::Record;
use crate::engine::retry::{MISMATCHES_MAX, may_have_happened, may_pass};
use crate::engine::{Engine, Phase, Work, WorkKind};
use crate::model::{Failure, FailureKind};

/// Largest object that a failing form upload keeps trying with: a larger one loses less in lanes.
/// Source: the design, section 3, "Threshold".
const FORM_KEEPS_TRYING_LEN: u64 = 1024 * 1024;

/// How many broken connections a form keeps trying after, whatever its size: one more than make a
/// limit of the way's. Something may cut bodies as long as this one, and lanes are shorter.
const FORM_BREAKS_MAX: u32 = 4;

/// How often stat may be refused before nobody can tell whether the object is there. More than once,
/// since a refusal may be a clock that is learned meanwhile.
const STAT_REFUSALS_MAX: u32 = 3;

/// Making the object out of what was acknowledged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commit {
    not_before: Moment,
    failures: u32,
    mismatches: u32,
    /// Connections that broke.
    breaks: u32,
    /// How often stat was refused.
    refusals: u32,
    /// From when on, by the service's clock, its object is put.
    put_from: u64,
    step: Step,
    /// What follows when stat does not find our object.
    not_found: NotFound,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Idle,
    /// The record that a commit may be sent is not yet durable.
    Recording(RecordId),
    /// It is durable: the commit may be sent, again and again.
    Ready,
    /// A commit is on the wire.
    Sending,
    /// Someone has to look whether the object is there.
    Unclear,
    /// Someone is looking.
    Stating,
}

#[derive(Clone, Debug, Default)]
enum NotFound {
    /// The commit is sent again.
    #[default]
    Again,
    /// Nothing is left to commit: all lanes are sent again.
    StartOver(Failure),
    /// What the service said stands.
    GiveUp(Failure),
}

/// What a commit's failure leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitVerdict {
    Again,
    NextHost,
    SlowDown,
    Resend,
    /// Look; send again if it is not there.
    Look,
    /// Look; start over if it is not there.
    LookElseStartOver,
    /// Look; what the service said stands if it is not ours.
    LookElseGiveUp,
    StoredWithoutCallback,
    RestartLane(u64),
    /// A part is not what it was: the list tells which.
    List,
    StartOver,
    InLanes,
    RenewToken,
    Unknown,
    GiveUp,
}

/// What is known when a commit fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    pub(crate) protocol: Protocol,
    pub(crate) can_stat: bool,
    pub(crate) repeat_shows: bool,
    pub(crate) repeat_acts: bool,
    /// An earlier commit, or this one, may have taken effect.
    pub(crate) unclear: bool,
}

/// The design's rules for a commit whose answer is no success.
pub(crate) fn commit_verdict(failure: &Failure, at: Circumstances) -> CommitVerdict {
    use CommitVerdict as V;
    use FailureKind as K;
    let repeatable = match at.protocol {
        Protocol::Blocks | Protocol::Form => !at.repeat_shows,
        Protocol::Parts => false,
    };
    match failure.kind {
        K::CallbackFailed => V::StoredWithoutCallback,
        K::Unauthorized => V::RenewToken,
        K::Connect | K::Tls => V::NextHost,
        K::Throttled => V::SlowDown,
        K::ChecksumRefused => V::Resend,
        K::BodyLimit if at.protocol == Protocol::Form => V::InLanes,
        K::InvalidContext => match failure.refused_block {
            Some(block) => V::RestartLane(u64::from(block)),
            None => V::StartOver,
        },
        K::NoSuchUpload | K::NoSuchObject if at.protocol == Protocol::Parts => {
            match (at.unclear, at.can_stat) {
                (false, _) => V::StartOver,
                (true, true) => V::LookElseStartOver,
                (true, false) => V::Unknown,
            }
        }
        K::Exists if at.unclear => match at.can_stat {
            true => V::LookElseGiveUp,
            false => V::Unknown,
        },
        K::Mismatch => V::StartOver,
        // A part is gone, or is another one.
        K::BadRequest if at.protocol == Protocol::Parts => V::List,
        _ if may_have_happened(failure) => match (at.protocol, at.can_stat) {
            (Protocol::Blocks, _) if repeatable => V::Again,
            (_, true) => V::Look,
            // A second complete tells: it succeeds, or the upload id is gone.
            (Protocol::Parts, false) => V::Again,
            // So does a second commit of the others: it replaces the same by the same, or is refused
            // since the object is there. Unless it does something else besides.
            (_, false) if !at.repeat_acts => V::Again,
            (_, false) => V::Unknown,
        },
        _ => V::GiveUp,
    }
}

impl Commit {
    pub(crate) fn due(&self) -> Option<Moment> {
        matches!(self.step, Step::Idle | Step::Ready | Step::Unclear).then_some(self.not_before)
    }

    pub(crate) fn is_recording(&self, id: RecordId) -> bool {
        self.step == Step::Recording(id)
    }

    /// Whether it is announced, and none is in flight.
    pub(crate) fn is_ready(&self) -> bool {
        self.step == Step::Ready
    }
}

impl Engine {
    /// Takes the commit's next step when it is time.
    pub(crate) fn commit_if_due(&mut self, now: Moment) {
        let Phase::Committing(commit) = &self.phase else {
            return;
        };
        if commit.due().is_none_or(|due| due > now) {
            return;
        }
        match commit.step {
            // A second complete finds no upload id: it does nothing.
            Step::Idle if self.may_have_acted() && self.layout.protocol != Protocol::Parts => {
                self.finish(Outcome::Unknown(acted()));
            }
            Step::Idle if self.unclear.is_some() && self.must_look_first() => {
                self.set_commit_step(Step::Unclear);
                self.send_stat(now);
            }
            Step::Idle => {
                let put_from = self.unclear.unwrap_or(self.put_from());
                let id = self.record(Record::Committing(self.announced(put_from)));
                self.with_commit(|commit| commit.put_from = put_from);
                self.set_commit_step(Step::Recording(id));
            }
            Step::Ready => self.send_commit(now),
            Step::Unclear => self.send_stat(now),
            Step::Recording(_) | Step::Sending | Step::Stating => {}
        }
    }

    pub(crate) fn commit_recorded(&mut self) {
        self.set_commit_step(Step::Ready);
    }

    pub(crate) fn committed(&mut self, attempt: AttemptId) {
        if self.attempts.remove(&attempt).is_some() {
            self.finish(Outcome::Done);
        }
    }

    pub(crate) fn commit_failed(&mut self, now: Moment, work: &Work, failure: Failure) {
        let Phase::Committing(mut commit) = self.phase.clone() else {
            return;
        };
        commit.failures += 1;
        commit.step = Step::Ready;
        commit.mismatches += u32::from(failure.kind == FailureKind::ChecksumRefused);
        commit.breaks += u32::from(failure.kind == FailureKind::Broken);
        if may_have_happened(&failure) && self.unclear.is_none() {
            self.unclear = Some(commit.put_from);
        }
        let at = Circumstances {
            protocol: self.layout.protocol,
            can_stat: self.job.can_stat,
            repeat_shows: self.job.repeat_shows,
            repeat_acts: self.job.repeat_acts,
            unclear: self.unclear.is_some(),
        };
        let verdict = commit_verdict(&failure, at);
        self.phase = Phase::Committing(commit);
        self.carry_out(now, work, failure, verdict);
    }

    fn carry_out(&mut self, now: Moment, work: &Work, failure: Failure, verdict: CommitVerdict) {
        use CommitVerdict as V;
        let Phase::Committing(commit) = &self.phase else {
            return;
        };
        let (failures, mismatches) = (commit.failures, commit.mismatches);
        match verdict {
            V::StoredWithoutCallback => self.finish(Outcome::CallbackFailed(failure)),
            V::Unknown => self.finish(Outcome::Unknown(failure)),
            V::GiveUp => self.give_up(now, failure, false),
            V::RenewToken => self.token_refused(now, work, failure),
            V::RestartLane(lane) if !self.lanes.contains_key(&lane) => {
                self.start_over(now, failure, "the service names a block that is none");
            }
            V::RestartLane(lane) => {
                self.phase = Phase::Sending;
                self.restart_lane(now, lane, failure);
            }
            V::List => self.list_after(failure),
            V::StartOver => {
                self.start_over(
                    now,
                    failure,
                    "the service cannot make the object of what it has",
                );
            }
            V::InLanes if self.job.size == 0 => self.give_up(now, failure, false),
            V::InLanes => {
                self.sizer.refused(self.job.size);
                self.form_in_lanes();
            }
            // What may have happened is looked for, however long it took; a look has its own end.
            V::Look if self.is_spent(now) => {
                self.look(now, failure.clone(), NotFound::GiveUp(failure));
            }
            V::Look => self.look(now, failure, NotFound::Again),
            V::LookElseStartOver => self.look_else_start_over(now, failure),
            V::LookElseGiveUp => self.look(now, failure.clone(), NotFound::GiveUp(failure)),
            _ if self.is_spent(now) => self.give_up(now, failure, true),
            V::Resend if mismatches >= MISMATCHES_MAX => self.give_up(now, failure, true),
            V::Again | V::NextHost | V::Resend if self.form_should_go_in_lanes() => {
                self.form_in_lanes();
            }
            V::SlowDown => {
                self.slow_down(now, failure, failures, None);
            }
            V::Again | V::NextHost | V::Resend => {
                let skip = verdict == V::NextHost && self.hosts.has_other(now, work.host);
                let until = self.wait_after(now, failure, failures, None, skip);
                self.with_commit(|commit| commit.not_before = until);
            }
        }
    }

    pub(crate) fn stated(&mut self, now: Moment, attempt: AttemptId, found: Found) {
        if self.attempts.remove(&attempt).is_none() {
            return;
        }
        // No progress: a service that answers looks and fails commits must not be asked for ever.
        self.budget.hear();
        let Phase::Committing(commit) = &self.phase else {
            return;
        };
        match (found, commit.not_found.clone()) {
            (Found::Ours, _) => self.finish(Outcome::Done),
            (_, NotFound::StartOver(failure)) => {
                self.start_over(now, failure, "the service no longer knows the upload id");
            }
            (_, NotFound::GiveUp(failure)) => {
                let again = may_pass(&failure);
                self.give_up(now, failure, again);
            }
            (_, NotFound::Again) if self.form_should_go_in_lanes() => self.form_in_lanes(),
            (_, NotFound::Again) => self.with_commit(|commit| commit.step = Step::Ready),
        }
    }

    pub(crate) fn stat_failed(&mut self, now: Moment, failure: Failure) {
        let refused = !may_pass(&failure);
        self.with_commit(|commit| {
            commit.failures += 1;
            commit.refusals += u32::from(refused);
            commit.step = Step::Unclear;
        });
        let Phase::Committing(commit) = &self.phase else {
            return;
        };
        if commit.refusals >= STAT_REFUSALS_MAX || self.is_spent(now) {
            // The object may be there, and nobody is allowed to look.
            self.finish(Outcome::Unknown(failure));
            return;
        }
        let failures = commit.failures;
        let until = self.wait_after(now, failure, failures, None, false);
        self.with_commit(|commit| commit.not_before = until);
    }

    fn look(&mut self, now: Moment, failure: Failure, not_found: NotFound) {
        let failures = self.commit_failures();
        let until = self.wait_after(now, failure, failures, None, false);
        self.with_commit(|commit| {
            commit.step = Step::Unclear;
            commit.not_before = until;
            commit.not_found = not_found;
        });
    }

    /// The upload id is gone: because the commit took effect, or all of it goes again.
    pub(crate) fn look_else_start_over(&mut self, now: Moment, failure: Failure) {
        self.look(now, failure.clone(), NotFound::StartOver(failure));
    }

    fn send_commit(&mut self, now: Moment) {
        // v1: the host that the last block named knows its contexts best.
        let last = self.lanes.values().next_back();
        let last = last.and_then(|lane| lane.receipt.clone());
        let host = self.host_for(now, last.as_ref(), self.commit_failures());
        let attempt = self.attempt(now, WorkKind::Commit, host);
        let receipts = self
            .lanes
            .values()
            .filter_map(|lane| lane.receipt.clone())
            .collect();
        self.effects.push_back(Effect::Commit {
            attempt,
            host,
            protocol: self.layout.protocol,
            upload_id: self.upload_id.clone(),
            receipts,
        });
        self.set_commit_step(Step::Sending);
    }

    fn send_stat(&mut self, now: Moment) {
        let not_before = self.unclear.unwrap_or(self.put_from());
        let attempt = self.attempt(now, WorkKind::Stat, 0);
        let layout = self.layout;
        self.effects.push_back(Effect::Stat {
            attempt,
            not_before,
            layout,
        });
        self.set_commit_step(Step::Stating);
    }

    /// After a crash between commit and answer: v1 simply commits again, where that does not show.
    fn must_look_first(&self) -> bool {
        let repeatable = self.layout.protocol == Protocol::Blocks && !self.job.repeat_shows;
        self.job.can_stat && !repeatable
    }

    fn form_should_go_in_lanes(&self) -> bool {
        let is_long = self.job.size > FORM_KEEPS_TRYING_LEN;
        self.layout.protocol == Protocol::Form && (is_long || self.form_is_cut())
    }

    /// Whether a form broke so often that its length may be why, and lanes can be shorter.
    fn form_is_cut(&self) -> bool {
        let breaks = match &self.phase {
            Phase::Committing(commit) => commit.breaks,
            _ => 0,
        };
        breaks >= FORM_BREAKS_MAX && self.job.size > SEGMENT_LEN_MIN
    }

    /// A form upload that fails goes on in lanes, which lose less.
    fn form_in_lanes(&mut self) {
        if self.job.size == 0 {
            return;
        }
        if self.form_is_cut() {
            self.sizer.limit_to(self.job.size / 2);
        }
        self.effects.push_back(Effect::Notice(Notice::FormGivenUp));
        self.forget_lanes();
        self.layout = Layout::without_form(self.job.size, &self.job.wishes);
        self.phase = Phase::Beginning(Default::default());
    }

    /// What kept the commit waiting is over.
    pub(crate) fn commit_waits_no_more(&mut self, now: Moment) {
        self.with_commit(|commit| commit.not_before = commit.not_before.min(now));
    }

    fn commit_failures(&self) -> u32 {
        match &self.phase {
            Phase::Committing(commit) => commit.failures,
            _ => 0,
        }
    }

    fn set_commit_step(&mut self, step: Step) {
        self.with_commit(|commit| commit.step = step);
    }

    fn with_commit(&mut self, change: impl FnOnce(&mut Commit)) {
        if let Phase::Committing(commit) = &mut self.phase {
            change(commit);
        }
    }
}
