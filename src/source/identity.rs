//! What tells one state of a file from another.

use std::fs::Metadata;
use std::time::{Duration, SystemTime};

/// Step of the clock that stamps files: two writes within one look like one. Linux before 6.13 and
/// file systems without fine stamps go by the timer, which ticks every 1 to 10 ms.
const STAMP_STEP: Duration = Duration::from_millis(10);

/// Size, times and identity of a file at one moment. Two equal ones mean that nobody wrote between:
/// on Unix the change time cannot be set back. Two different ones need not mean other bytes: a
/// rename changes the change time, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) len: u64,
    stamps: Stamps,
}

/// Seconds and nanoseconds of mtime and ctime; device and inode.
#[cfg(unix)]
type Stamps = [i64; 6];

/// Elsewhere the modification time alone.
#[cfg(not(unix))]
type Stamps = Option<SystemTime>;

impl Identity {
    /// The state that `metadata` shows.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            stamps: stamps(metadata),
        }
    }

    /// The same in the terms of a journal.
    pub(crate) fn facts(&self) -> Facts {
        facts(&self.stamps)
    }

    /// How long, as of `now`, another write may still leave the same stamps; None if each would show.
    pub(crate) fn unsettled_for(&self, now: SystemTime) -> Option<Duration> {
        let facts = self.facts();
        let stamp = u64::try_from(facts.ctime_ns.max(facts.mtime_ns)).ok()?;
        let settled = SystemTime::UNIX_EPOCH + Duration::from_nanos(stamp) + STAMP_STEP;
        let wait = settled.duration_since(now).ok()?;
        // A stamp of the future is another machine's clock: waiting would prove nothing.
        (!wait.is_zero() && wait <= STAMP_STEP).then_some(wait)
    }

    /// How `now` differs; None if it does not.
    pub(crate) fn change_to(&self, now: Self) -> Option<Change> {
        let resized = self.len != now.len;
        let how = match () {
            () if resized => format!("its size went from {} to {} bytes", self.len, now.len),
            () if self.stamps != now.stamps => "it was written to, renamed or linked".to_owned(),
            () => return None,
        };
        Some(Change { how, resized, now })
    }
}

/// A file's times and numbers, for people and for doubt; 0 where not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Last change of the contents, in nanoseconds since 1970.
    pub(crate) mtime_ns: i64,
    /// Last change of contents or attributes, in nanoseconds since 1970.
    pub(crate) ctime_ns: i64,
    /// Number of the device.
    pub(crate) device: u64,
    /// Number of the file on its device.
    pub(crate) inode: u64,
}

/// A difference between two states of a file.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// In words.
    pub(crate) how: String,
    /// Whether its size differs, so that its bytes must.
    pub(crate) resized: bool,
    pub(super) now: Identity,
}

#[cfg(unix)]
fn stamps(metadata: &Metadata) -> Stamps {
    use std::os::unix::fs::MetadataExt;
    [
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.dev().cast_signed(),
        metadata.ino().cast_signed(),
    ]
}

#[cfg(not(unix))]
fn stamps(metadata: &Metadata) -> Stamps {
    metadata.modified().ok()
}

#[cfg(unix)]
fn facts(stamps: &Stamps) -> Facts {
    const NS_PER_S: i64 = 1_000_000_000;
    let [mtime, mtime_ns, ctime, ctime_ns, device, inode] = *stamps;
    let joined = |seconds: i64, ns: i64| seconds.saturating_mul(NS_PER_S).saturating_add(ns);
    Facts {
        mtime_ns: joined(mtime, mtime_ns),
        ctime_ns: joined(ctime, ctime_ns),
        device: device.cast_unsigned(),
        inode: inode.cast_unsigned(),
    }
}

#[cfg(not(unix))]
fn facts(stamps: &Stamps) -> Facts {
    let since = stamps.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let mtime_ns = since.and_then(|since| i64::try_from(since.as_nanos()).ok());
    Facts {
        mtime_ns: mtime_ns.unwrap_or_default(),
        ..Facts::default()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use crate::source::identity::*;

    /// A write at second 100: from which moments on another one would show.
    #[test]
    fn settles() {
        let ms = Duration::from_millis;
        let rows = [
            (ms(99_989), None),
            (ms(100_000), Some(ms(10))),
            (ms(100_004), Some(ms(6))),
            (ms(100_010), None),
            (ms(200_000), None),
        ];
        let identity = Identity {
            len: 1,
            stamps: [50, 0, 100, 0, 1, 1],
        };
        for (now, expected) in rows {
            let wait = identity.unsettled_for(SystemTime::UNIX_EPOCH + now);
            assert_eq!(wait, expected, "{now:?}");
        }
    }
}
