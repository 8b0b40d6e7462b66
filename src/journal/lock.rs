//! One process at a time at an upload, and who it is.
//!
//! The lock lies on a file of its own, `<identity>.lock`, because the journal's own file is
//! replaced by rename. It is the operating system's: a process that dies holds nothing. The file
//! also says who holds it, for the one that is refused.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// How often a lock file may vanish between opening and locking it: each time, another process has
/// finished the same upload in between.
const VANISHED_MAX: u32 = 16;

/// Longest owner record that is read, in bytes: a process id, a time and a host name.
const OWNER_LEN_MAX: u64 = 4096;

/// The year 9999 ends, in seconds since 1970: dates beyond it cannot be written.
const DATE_MAX: u64 = 253_402_300_800;

/// Who holds an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Owner {
    /// Process id.
    pub(crate) pid: u32,
    /// Since when, in seconds since 1970.
    pub(crate) since: u64,
    /// Name of its machine, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) host: Option<String>,
}

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    // Never read: closing it is what gives the lock back.
    _file: File,
    path: PathBuf,
}

/// Why a lock was not got.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Someone has it.
    Held(Option<Owner>),
    /// The file system refused.
    Io(io::Error),
}

impl Owner {
    /// This process, from the moment `since` (seconds since 1970).
    pub(crate) fn this_process(since: u64) -> Self {
        Self {
            pid: std::process::id(),
            since,
            host: host_name(),
        }
    }

    /// Whether that is this process.
    pub(crate) fn is_this_process(&self) -> bool {
        self.pid == std::process::id() && self.host == host_name()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if let Some(host) = &self.host {
            write!(f, " on {host}")?;
        }
        if self.since < DATE_MAX {
            let since = SystemTime::UNIX_EPOCH + Duration::from_secs(self.since);
            write!(f, " since {}", httpdate::fmt_http_date(since))?;
        }
        Ok(())
    }
}

impl Lock {
    /// Takes the lock file at `path`, making it if need be, and writes `owner` into it.
    pub(crate) fn take(path: &Path, owner: &Owner) -> Result<Self, LockError> {
        for _ in 0..VANISHED_MAX {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = private(&mut options).open(path).map_err(LockError::Io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::Held(read(&mut file))),
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
            // Its last holder removes the file; a lock on a removed file keeps nobody out.
            if is_at(&file, path) {
                write(&mut file, owner).map_err(LockError::Io)?;
                let path = path.to_owned();
                return Ok(Self { _file: file, path });
            }
        }
        Err(LockError::Held(None))
    }

    /// Who holds the lock file at `path`, without taking it: none if nobody does, the inner none if
    /// somebody who has not written his name yet.
    pub(crate) fn holder(path: &Path) -> Option<Option<Owner>> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read(&mut file)),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// Removes the lock file, while the lock is held: for when the journal is gone.
    pub(crate) fn remove_file(&self) {
        // Elsewhere a lock on a removed file could not be told from one that counts.
        if cfg!(unix) {
            // Left behind, it is 60 bytes that the next upload takes over.
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Adds to `options` that a new file is for its owner only.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn write(file: &mut File, owner: &Owner) -> io::Result<()> {
    let mut line = serde_json::to_vec(owner)?;
    line.push(b'\n');
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&line)
}

/// The owner record, if it is whole: its writer may be at it right now.
fn read(file: &mut File) -> Option<Owner> {
    let mut text = Vec::new();
    file.rewind().ok()?;
    file.take(OWNER_LEN_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => place(ours) == place(there),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

/// Linux only: the standard library does not know the name, and it is a nicety.
fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

#[cfg(test)]
mod tests;
