//! The journal: what a crash must not take from an upload.
//!
//! One append-only file per unfinished upload, `uploads/<identity>.journal` in the state directory,
//! of one line per record. Who opens it: the driver, once per upload; the `uploads` command reads
//! and removes through [`index`].
//!
//! | room | what it is |
//! | --- | --- |
//! | [`frame`] | pure: records ↔ checksummed lines, total recovery |
//! | [`header`] | pure: whose upload a journal is, and the identity that its name is made of |
//! | [`said`] | pure: what an upload says about its object |
//! | [`compact`] | pure: which records are still in force |
//! | [`mod@file`] | the seam: one journal's file system, and the real one |
//! | [`lock`] | one process at a time, and who it is |
//! | [`disk`] | opening: lock, read, recover, mend |
//! | [`queue`] | appending: joined syncs |
//! | [`index`] | all uploads of a state directory |
//! | [`orphans`] | upload ids that could not be given back |
//!
//! # Invariants
//!
//! 1. A ticket resolves with success only when its record, and every record appended before it, is
//!    durable. What a crash leaves is a prefix of what was appended, never less than what was
//!    acknowledged.
//! 2. A file never holds a record that was not read back, in the place where it was written.
//! 3. What is not ours, or is newer than we are, is never changed.
//! 4. After one failed write or sync nothing more is written: the kernel may have dropped what it
//!    could not write, so a later sync that succeeds proves nothing.
//! 5. Nothing secret is written.

pub(crate) mod compact;
pub(crate) mod disk;
pub(crate) mod file;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod index;
pub(crate) mod lock;
pub(crate) mod orphans;
pub(crate) mod queue;
pub(crate) mod said;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::journal::lock::Owner;

/// Why an upload has to do without a journal, or go on without one.
///
/// None of these is a reason to fail: the caller says it once and uploads without resume, unless
/// resume was required.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    /// The file system refused: full, read-only, no permission, no locks.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// Something else lies where the journal would be. It was left alone.
    #[error("{} is not this upload's journal; it was left alone", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
    },
    /// A newer haul wrote it. It was left alone.
    #[error(
        "{} has journal format {version}, and this haul knows {}; it was left alone: use the newer haul",
        path.display(),
        frame::VERSION
    )]
    Newer {
        /// Where.
        path: PathBuf,
        /// Its format version.
        version: u32,
    },
    /// A record is longer than a line may be.
    #[error(
        "the service gave a receipt too long for the journal (a line holds {} bytes)",
        frame::LINE_LEN_MAX
    )]
    TooLong,
    /// The runtime that should write was shut down.
    #[error("the journal was stopped with its runtime")]
    Stopped,
}

impl Unavailable {
    fn io(doing: &'static str, path: &Path, error: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            error: Arc::new(error),
        }
    }
}

/// Why a journal was not opened.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Another process, or another upload of this one, is at it.
    #[error("{}", held_text(owner.as_ref()))]
    Held {
        /// Who, if it has written its name already.
        owner: Option<Owner>,
    },
    /// There can be no journal.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

fn held_text(owner: Option<&Owner>) -> String {
    let who = owner.map_or_else(|| "another process".to_owned(), ToString::to_string);
    format!("this upload is held by {who}")
}
