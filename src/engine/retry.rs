//! From a failure to a verdict: the one place that decides what an attempt's failure means.

use std::time::Duration;

use crate::engine::event::Moment;
use crate::model::{Failure, FailureKind};

/// First wait between attempts. Source: the design's table of deadlines.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);

/// Longest wait between attempts. Source: the same table.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Nothing went well for so long: it is no single segment's trouble.
const TROUBLE_MIN: Duration = Duration::from_secs(2);

/// Then a wait is at most this share of that time: who comes back after a short trouble finds nobody
/// asleep.
const TROUBLE_SHARE: u32 = 4;

/// What a wait may be in any case, by its doublings.
const BACKOFF_SHORT: Duration = Duration::from_secs(1);

/// Longest `Retry-After` that is honoured; a longer one is a mistake or an attack. One that is longer
/// than what is left of the budget ends the upload: to ask earlier would be refused, and to wait
/// longer is not allowed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// How long to go on while nothing of the service's was ever heard. Long enough for a line that is
/// being set up and a host that restarts; a mistyped name must not hang for the whole budget.
pub(crate) const CONTACT_BUDGET: Duration = Duration::from_secs(60);

/// How many attempts that takes at least: one that is never answered may use the time up alone.
const CONTACT_ATTEMPTS_MIN: u32 = 3;

/// How often the same bytes may be acknowledged with the wrong hash before the way there is called
/// broken. A flipped bit is an accident once.
pub(crate) const MISMATCHES_MAX: u32 = 5;

/// What the engine does about a failed segment or initiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same again, somewhere: after a wait.
    Again,
    /// The host was not reached or fails: the next one, if there is one, at once.
    NextHost,
    /// The whole process asks too much: everything waits.
    SlowDown,
    /// The bytes arrived wrong: send them again, a limited number of times.
    Resend,
    /// The lane's receipts are void.
    RestartLane,
    /// The upload id is void.
    StartOver,
    /// The token is refused.
    RenewToken,
    /// A shorter body may pass.
    Shorten,
    /// The source cannot be read.
    SourceGone,
    /// No attempt can help; running it again later may (`again`).
    GiveUp {
        /// Whether the same call may succeed later without a change.
        again: bool,
    },
}

/// What a failed attempt that carries no commit means.
pub(crate) fn verdict(failure: &Failure) -> Verdict {
    use FailureKind as K;
    match failure.kind {
        K::Connect | K::Tls => Verdict::NextHost,
        K::Broken | K::Stalled | K::NotReading | K::Trickle | K::TimedOut => Verdict::Again,
        K::Server | K::NotKodo | K::NotFound | K::MethodNotAllowed => Verdict::Again,
        K::Throttled => Verdict::SlowDown,
        K::Mismatch | K::ChecksumRefused => Verdict::Resend,
        K::InvalidContext => Verdict::RestartLane,
        K::NoSuchUpload => Verdict::StartOver,
        K::Unauthorized => Verdict::RenewToken,
        K::BodyLimit => Verdict::Shorten,
        K::Source | K::SourceChanged => Verdict::SourceGone,
        _ => Verdict::GiveUp { again: false },
    }
}

/// Whether a commit that met this failure may have taken effect all the same.
pub(crate) fn may_have_happened(failure: &Failure) -> bool {
    use FailureKind as K;
    was_connected(failure) || matches!(failure.kind, K::Server | K::NotKodo)
}

/// Whether there was a connection, which ended without an answer or had to be given up.
pub(crate) fn was_connected(failure: &Failure) -> bool {
    use FailureKind as K;
    matches!(
        failure.kind,
        K::Broken | K::Stalled | K::NotReading | K::Trickle | K::TimedOut
    )
}

/// Whether the way to whoever was asked is to blame, so that asking again may help.
pub(crate) fn may_pass(failure: &Failure) -> bool {
    use FailureKind as K;
    may_have_happened(failure) || matches!(failure.kind, K::Connect | K::Tls | K::Throttled)
}

/// Waits between attempts: doubling, with full jitter.
///
/// The random numbers come from a seed, so that a run can be repeated.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    state: u64,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// How long to wait after `failures` failures in a row (from 1), or as long as the server asked.
    /// `troubled`: for how long nothing at all went well.
    pub(crate) fn wait(
        &mut self,
        failures: u32,
        failure: &Failure,
        troubled: Duration,
    ) -> Duration {
        if let Some(asked) = failure.retry_after {
            return asked.min(RETRY_AFTER_MAX);
        }
        let doublings = failures.saturating_sub(1).min(16);
        let ceiling =
            BACKOFF_FIRST
                .saturating_mul(1 << doublings)
                .min(match troubled < TROUBLE_MIN {
                    true => BACKOFF_MAX,
                    false => (troubled / TROUBLE_SHARE).clamp(BACKOFF_SHORT, BACKOFF_MAX),
                });
        // Full jitter: anywhere between nothing and the ceiling, so that many clients spread out.
        let share = self.next() >> 11;
        ceiling.mul_f64(share as f64 / (1u64 << 53) as f64)
    }

    /// SplitMix64: one step of a small generator that any seed suits.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// How long the engine goes on without progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    allowed: Duration,
    last_progress: Moment,
    /// Since when nobody took a byte.
    alone_since: Moment,
    /// Something of the service's was heard.
    heard: bool,
    /// The same in an earlier process.
    was_heard: bool,
    /// Until when time was excused.
    excused_until: Moment,
    /// Attempts that failed since somebody took a byte.
    failures: u32,
    /// One of them failed in a way that time may mend.
    may_mend: bool,
}

impl Budget {
    pub(crate) fn new(allowed: Duration) -> Self {
        Self {
            allowed,
            last_progress: Moment::default(),
            excused_until: Moment::default(),
            alone_since: Moment::default(),
            heard: false,
            was_heard: false,
            failures: 0,
            may_mend: false,
        }
    }

    /// Something was acknowledged.
    pub(crate) fn progress(&mut self, now: Moment) {
        self.last_progress = now;
        self.heard = true;
    }

    /// The time from `since` on was none without progress: bytes were acknowledged, or nobody was
    /// there to see any. Waits between attempts still count, so that a line which takes bytes and
    /// never brings them home is given up in the end.
    pub(crate) fn excuse(&mut self, since: Moment, now: Moment) {
        let since = since.max(self.excused_until).max(self.last_progress);
        let excused = now.since(since);
        self.last_progress = self.last_progress.after(excused).min(now);
        self.excused_until = now;
    }

    /// For how long nothing went well.
    pub(crate) fn since_progress(&self, now: Moment) -> Duration {
        now.since(self.last_progress)
    }

    /// Its turn had not come since `since`: nobody was asked, so nobody could be heard.
    pub(crate) fn stand_by(&mut self, since: Moment, now: Moment) {
        let alone = since.max(self.excused_until).max(self.alone_since);
        self.alone_since = self.alone_since.after(now.since(alone)).min(now);
        self.excuse(since, now);
    }

    /// All of it is there again.
    pub(crate) fn begin_anew(&mut self, now: Moment) {
        self.last_progress = now;
        self.alone_since = now;
        self.excused_until = now;
    }

    /// The service is there, whatever it said.
    pub(crate) fn hear(&mut self) {
        self.heard = true;
    }

    /// The service was there for an earlier process.
    pub(crate) fn remember(&mut self) {
        self.was_heard = true;
    }

    /// An attempt failed; whether time may mend that.
    pub(crate) fn miss(&mut self, may_mend: bool) {
        self.failures = self.failures.saturating_add(1);
        self.may_mend |= may_mend;
    }

    /// Somebody is there and takes bytes, though nothing was heard yet: the time for a first word
    /// begins anew. A line that needs minutes for its first segment must survive a short break.
    pub(crate) fn meet(&mut self, now: Moment) {
        self.alone_since = now;
        self.failures = 0;
        self.may_mend = false;
    }

    /// Whether it took too long to hear anything of the service's. A wrong certificate or password
    /// that met every attempt of this process is not waited for: only a person mends it.
    pub(crate) fn has_no_contact(&self, now: Moment) -> bool {
        let is_over = now.since(self.alone_since) >= CONTACT_BUDGET.min(self.allowed);
        let waits_in_vain = !self.may_mend || (is_over && !self.was_heard);
        !self.heard && self.failures >= CONTACT_ATTEMPTS_MIN && waits_in_vain
    }

    /// What is left of it.
    pub(crate) fn left(&self, now: Moment) -> Duration {
        self.allowed.saturating_sub(now.since(self.last_progress))
    }

    /// Whether it is used up.
    pub(crate) fn is_spent(&self, now: Moment) -> bool {
        now.since(self.last_progress) >= self.allowed
    }
}
