//! The only place that reads a clock. Everything else is handed the time.

use std::time::{Instant, SystemTime};

/// Wall-clock time: for token deadlines, expiries and `Date` headers.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place the lint points to"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// `time` as whole seconds since 1970; 0 for a clock set before that.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Monotonic time, for waits and pace. It stands still and jumps with Tokio's paused clock, so that
/// tests in virtual time see one time only.
pub(crate) fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}
