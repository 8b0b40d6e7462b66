//! What tells one state of a file from another.

use std::fs::Metadata;

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
type Stamps = Option<std::time::SystemTime>;

impl Identity {
    /// The state that `metadata` shows.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            stamps: stamps(metadata),
        }
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
