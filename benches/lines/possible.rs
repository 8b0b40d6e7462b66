//! What a perfect uploader could reach on a line that is not always what it seems.

use std::time::Duration;

use crate::fate::LineFault;

/// The shortest wall for bytes that need `raw` on the line without its fault: what a dead or flapping
/// line takes away comes on top. A fault that breaks connections takes nothing from the line itself,
/// and a falling rate is not here: the plain socket goes through it and is the measure.
pub(crate) fn possible(raw: Duration, fault: Option<LineFault>) -> Duration {
    match fault {
        Some(LineFault::Dead { ms, .. }) => raw + Duration::from_millis(ms),
        Some(LineFault::Flapping { up_ms, down_ms }) => {
            // It ends with its last byte, not with the pause after it.
            let pauses = (raw.as_millis() as u64).saturating_sub(1) / up_ms.max(1);
            raw + Duration::from_millis(pauses * down_ms)
        }
        Some(
            LineFault::BlackHole { .. }
            | LineFault::Resets { .. }
            | LineFault::CutOff { .. }
            | LineFault::RateFalls { .. }
            | LineFault::Swallows { .. },
        )
        | None => raw,
    }
}
