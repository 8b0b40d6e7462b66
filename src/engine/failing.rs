//! A failed attempt: what it says about its host and the way there, and whose turn it is then.

use std::time::Duration;

use crate::engine::event::{AttemptId, Effect, HostIndex, Lesson, Moment, Notice};
use crate::engine::watch::seconds;
use crate::engine::{Engine, Work, WorkKind, retry};
use crate::model::{Failure, FailureKind};

/// An attempt that ended after so long had a connection that took its bytes: on a line of 64 kbit/s
/// the first answer takes a minute. Longer than any connection may take to be made.
const SLOW_NOT_DEAD: Duration = Duration::from_secs(20);

impl Engine {
    /// An attempt failed.
    pub(crate) fn failed(&mut self, now: Moment, attempt: AttemptId, failure: Failure) {
        let Some(work) = self.attempts.remove(&attempt) else {
            return;
        };
        if work.kind == WorkKind::Probe {
            self.probe_failed(now, &failure);
            return;
        }
        // A look goes to another kind of host.
        if work.kind != WorkKind::Stat {
            self.judge_host(now, &work, &failure);
        } else if is_unanswered(&failure) {
            self.reach.miss_look();
        }
        self.budget.miss(failure.remedy.is_none());
        if is_the_services(&failure) {
            self.budget.hear();
        }
        if failure.status.is_some() && work.kind != WorkKind::Stat {
            self.somebody_is_there(now);
        }
        if self.has_no_contact(now, &work, &failure) {
            self.give_up(now, failure, true);
            return;
        }
        match work.kind {
            WorkKind::Initiate => self.initiate_failed(now, &work, failure),
            WorkKind::Segment { lane, .. } if self.other_goes_on(lane, &failure) => {
                self.learn_length(now, &work, &failure);
            }
            WorkKind::Segment { lane, len } => self.segment_failed(now, &work, lane, len, failure),
            WorkKind::Commit => self.commit_failed(now, &work, failure),
            WorkKind::Stat => self.stat_failed(now, failure),
            WorkKind::List => self.list_failed(now, &work, failure),
            WorkKind::Probe => {}
        }
    }

    /// The service asks too much of itself: nothing is begun for a while, by any upload.
    pub(crate) fn slow_down(
        &mut self,
        now: Moment,
        failure: Failure,
        failures: u32,
        lane: Option<u64>,
    ) {
        let until = self.wait_after(now, failure, failures, lane, false);
        self.quiet_until = self.quiet_until.max(until);
        let time = self.quiet_until.since(now);
        self.effects
            .push_back(Effect::Teach(Lesson::SlowDown { time }));
    }

    /// Another upload of this process learnt this.
    pub(crate) fn heard(&mut self, now: Moment, lesson: Lesson) {
        match lesson {
            Lesson::Frozen { host, time } => {
                self.hosts.freeze(now, host, time);
                self.leave_queue_of(now, host);
            }
            Lesson::Thawed { host } => self.hosts.thaw(host),
            Lesson::SlowDown { time } => {
                self.quiet_until = self.quiet_until.max(now.after(time));
            }
            Lesson::BodyLimit { len } => self.sizer.limit_to(len),
        }
    }

    /// Where the next attempt goes.
    pub(crate) fn best_host(&self, now: Moment) -> HostIndex {
        let is_busy = |host| self.attempts.values().any(|work| work.host == host);
        self.hosts.choose(now, is_busy)
    }

    /// How long to wait after a failure, said to whoever listens. The end instead, where the service
    /// asks for more patience than there is.
    pub(crate) fn wait_after(
        &mut self,
        now: Moment,
        failure: Failure,
        failures: u32,
        lane: Option<u64>,
        skip: bool,
    ) -> Moment {
        let mut wait = if skip {
            Duration::ZERO
        } else {
            let troubled = self.budget.since_progress(now);
            self.backoff.wait(failures, &failure, troubled)
        };
        let left = self.budget.left(now);
        if let Some(asked) = failure.retry_after.filter(|_| !skip && wait > left) {
            // What may have happened is looked for to the end: then only the wait is cut.
            if self.unclear.is_none() {
                self.give_up(now, asks_too_much(failure, asked, left), true);
                return now.after(wait);
            }
            wait = left;
        }
        let notice = Notice::Retrying {
            failure,
            lane,
            wait,
            attempts: failures,
        };
        self.effects.push_back(Effect::Notice(notice));
        now.after(wait)
    }

    fn judge_host(&mut self, now: Moment, work: &Work, failure: &Failure) {
        use FailureKind as K;
        let unreached = matches!(failure.kind, K::Connect | K::Tls);
        if unreached || retry::may_have_happened(failure) {
            let silent = retry::was_connected(failure) && failure.kind != K::Broken;
            let frozen = self.hosts.failed(now, work.host, unreached, silent);
            if let Some(time) = frozen {
                let host = work.host;
                let lesson = Lesson::Frozen { host, time };
                self.effects.push_back(Effect::Teach(lesson));
                self.leave_queue_of(now, host);
            }
            let may_open = failure.kind == K::Connect && failure.remedy.is_none();
            if may_open && !self.hosts.has_other(now, work.host) {
                self.reach.miss();
            }
        } else if !failure.kind.is_of_the_source() {
            self.host_answered(work.host);
        }
    }

    /// This host serves.
    pub(crate) fn host_answered(&mut self, host: HostIndex) {
        if self.hosts.answered(host) {
            let lesson = Lesson::Thawed { host };
            self.effects.push_back(Effect::Teach(lesson));
        }
    }

    /// Whether every host was tried for long enough and nothing of the service's was ever heard: a
    /// mistyped name, a portal in the way, no network at all.
    fn has_no_contact(&mut self, now: Moment, work: &Work, failure: &Failure) -> bool {
        // A connection that never took a byte is none.
        let took_bytes = failure.kind != FailureKind::Stalled || work.watch.acknowledged() > 0;
        let is_slow =
            retry::was_connected(failure) && took_bytes && now.since(work.begun) >= SLOW_NOT_DEAD;
        if is_slow {
            self.budget.meet(now);
        }
        !failure.kind.is_of_the_source()
            && !is_slow
            && !self.waits_online()
            && self.budget.has_no_contact(now)
            && (work.kind == WorkKind::Stat || self.hosts.all_failed())
    }
}

/// `failure` with what stands against waiting for as long as the service asks.
fn asks_too_much(mut failure: Failure, asked: Duration, left: Duration) -> Failure {
    let (asked, left) = (seconds(asked), seconds(left));
    let said = &failure.message;
    failure.message = format!(
        "{said}; the service asks to wait {asked}, longer than what is left of the retry_budget \
         ({left})"
    );
    failure
}

/// Whether nobody was there, or fell silent: the line may be down.
fn is_unanswered(failure: &Failure) -> bool {
    let is_unreached = failure.kind == FailureKind::Connect && failure.remedy.is_none();
    is_unreached || retry::was_connected(failure)
}

/// Whether the service itself said this. A genuine answer names its request; one that knows no such
/// call may be the service's, but is no upload host's.
fn is_the_services(failure: &Failure) -> bool {
    use FailureKind as K;
    let is_elsewhere = matches!(failure.kind, K::NotKodo | K::NotFound | K::MethodNotAllowed);
    failure.request_id.is_some() && !is_elsewhere
}
