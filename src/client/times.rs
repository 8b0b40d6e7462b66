//! How short a limit of time may be: a smaller one is a slip of the unit, or a wish for no upload.

use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Shortest stall timeout: below, the pauses of a healthy line would end every attempt.
pub(crate) const STALL_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Shortest of the other limits: less than a round trip on any line but a loopback device, so that
/// nothing would ever be done in time. Smaller values are slips of the unit.
pub(crate) const TIME_LIMIT_MIN: Duration = Duration::from_millis(10);

/// Refuses what is shorter than its least: name, value if one was set, least.
pub(super) fn check<const N: usize>(
    limits: [(&str, Option<Duration>, Duration); N],
) -> Result<(), Error> {
    for (name, limit, least) in limits {
        if let Some(limit) = limit.filter(|limit| *limit < least) {
            let what = format!("a {name} of {limit:?} is too short: it must be at least {least:?}");
            return Err(Error::new(ErrorKind::Config, what));
        }
    }
    Ok(())
}
