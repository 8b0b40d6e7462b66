//! All uploads of a state directory: list, find, remove.
//!
//! Reading takes no lock: a journal is a valid prefix at every moment. Everything here blocks;
//! within a runtime, call it through `spawn_blocking`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::record::Checkpoint;
use crate::journal::file::{
    DiskFile, JournalFile, journal_path, lock_path, read_journal, uploads_dir,
};
use crate::journal::frame::{self, Recovery};
use crate::journal::header::{Header, Identity};
use crate::journal::lock::{Lock, Owner};
use crate::journal::{OpenError, Unavailable};

/// One file of the state directory's uploads.
#[derive(Debug)]
pub(crate) enum Entry {
    /// An unfinished upload.
    Upload(Box<Unfinished>),
    /// A journal whose first line is spoilt. Running the upload again begins it anew; it may also
    /// be removed.
    Damaged {
        /// Its identity, by its name.
        identity: Identity,
    },
    /// A newer haul's journal. It is left alone.
    Newer {
        /// Where.
        path: PathBuf,
        /// Its format version.
        version: u32,
    },
    /// Something that is no journal, or one under another's name. It is left alone.
    Foreign {
        /// Where.
        path: PathBuf,
    },
    /// It could not be read.
    Unreadable(Unavailable),
}

/// An unfinished upload.
#[derive(Debug)]
pub(crate) struct Unfinished {
    /// Its identity.
    pub(crate) identity: Identity,
    /// Its target, its source and its birthday.
    pub(crate) header: Header,
    /// How far it came, when it was last recorded.
    pub(crate) checkpoint: Checkpoint,
    /// Bytes at the journal's end that do not count. While it is held they are a record in the
    /// writing.
    #[cfg(feature = "cli")]
    pub(crate) torn_bytes: u64,
    /// Who is at it: none if nobody, the inner none if his name is not known.
    pub(crate) holder: Option<Option<Owner>>,
}

impl Entry {
    /// What is wrong with one that is no upload: a word, and words for people. None for an upload.
    pub(crate) fn oddity(&self) -> Option<(&'static str, String)> {
        Some(match self {
            Self::Upload(_) => return None,
            Self::Damaged { identity } => (
                "damaged",
                format!("{identity}: the journal is damaged; the upload would begin anew"),
            ),
            Self::Newer { path, version } => {
                let path = path.display();
                let what = format!("{path}: a newer haul's journal (format {version}), left alone");
                ("newer", what)
            }
            Self::Foreign { path } => (
                "foreign",
                format!("{}: no journal of an upload, left alone", path.display()),
            ),
            Self::Unreadable(why) => ("unreadable", why.to_string()),
        })
    }
}

/// Why an identity was not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    /// No upload's identity begins like that.
    #[error("no unfinished upload's identity begins with `{prefix}`")]
    None {
        /// What was looked for.
        prefix: String,
    },
    /// Several do.
    #[error("{} unfinished uploads' identities begin with `{prefix}`; give more digits", found.len())]
    Several {
        /// What was looked for.
        prefix: String,
        /// Those that begin with it.
        found: Vec<Identity>,
    },
    /// The directory could not be read.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// All uploads of `state_dir`, oldest first, then whatever else lies among them.
pub(crate) fn list(state_dir: &Path) -> Result<Vec<Entry>, Unavailable> {
    let dir = uploads_dir(state_dir);
    let mut entries = Vec::new();
    for name in names(&dir)? {
        match name {
            Name::Journal(identity) => entries.extend(read(&dir, identity)),
            Name::Beside(_) => {}
            Name::Other(path) => entries.push(Entry::Foreign { path }),
        }
    }
    entries.sort_by_key(|entry| match entry {
        Entry::Upload(upload) => (upload.header.created, Some(upload.identity)),
        _ => (u64::MAX, None),
    });
    Ok(entries)
}

/// The one upload whose identity begins with `prefix` (hexadecimal digits, at least one).
pub(crate) fn find(state_dir: &Path, prefix: &str) -> Result<Identity, FindError> {
    let prefix = prefix.to_ascii_lowercase();
    let mut found = Vec::new();
    for name in names(&uploads_dir(state_dir))? {
        match name {
            Name::Journal(identity) if identity.to_string().starts_with(&prefix) => {
                found.push(identity);
            }
            _ => {}
        }
    }
    found.sort();
    match found.as_slice() {
        [only] if !prefix.is_empty() => Ok(*only),
        [] => Err(FindError::None { prefix }),
        _ => Err(FindError::Several { prefix, found }),
    }
}

/// What lies under one identity, if anything does.
pub(crate) fn look(state_dir: &Path, identity: Identity) -> Option<Entry> {
    read(&uploads_dir(state_dir), identity)
}

/// Removes one upload's journal, durably. False if there is none.
///
/// Refused while it is held, and for what is not ours or newer than we are. `now` is the present
/// time in seconds since 1970, for whoever asks meanwhile who holds it.
pub(crate) fn remove(state_dir: &Path, identity: Identity, now: u64) -> Result<bool, OpenError> {
    let dir = uploads_dir(state_dir);
    if !dir.is_dir() {
        return Ok(false);
    }
    let mut file = DiskFile::open(&dir, identity, &Owner::this_process(now))?;
    let path = file.path().to_owned();
    let explain = |doing, error| Unavailable::io(doing, &path, error);
    let Some(bytes) = file.read().map_err(|error| explain("read", error))? else {
        return Ok(false);
    };
    match frame::recover(&bytes) {
        Recovery::Ours(_) | Recovery::Damaged => {}
        Recovery::Newer { version } => return Err(Unavailable::Newer { path, version }.into()),
        Recovery::Foreign => return Err(Unavailable::Foreign { path }.into()),
    }
    let removed = file.unlink().and_then(|()| file.sync_names());
    removed.map_err(|error| explain("remove", error))?;
    Ok(true)
}

/// Removes what crashes left beside no journal: lock files and drafts. Those in use stay.
pub(crate) fn sweep(state_dir: &Path, now: u64) -> Result<(), Unavailable> {
    let dir = uploads_dir(state_dir);
    let beside: BTreeSet<Identity> = names(&dir)?
        .into_iter()
        .filter_map(|name| match name {
            Name::Beside(identity) if !journal_path(&dir, identity).exists() => Some(identity),
            _ => None,
        })
        .collect();
    for identity in beside {
        // Opened without a journal and dropped, it takes its leftovers along. One that is held is
        // none of our business.
        drop(DiskFile::open(&dir, identity, &Owner::this_process(now)));
    }
    Ok(())
}

/// What a file's name says.
enum Name {
    Journal(Identity),
    /// A lock or a draft.
    Beside(Identity),
    Other(PathBuf),
}

/// What lies in the directory; nothing if there is none.
fn names(dir: &Path) -> Result<Vec<Name>, Unavailable> {
    let explain = |error| Unavailable::io("list", dir, error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(explain)?,
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        let path = entry.map_err(explain)?.path();
        Ok(classify(&path).unwrap_or(Name::Other(path)))
    };
    entries.map(name).collect()
}

fn classify(path: &Path) -> Option<Name> {
    let (stem, kind) = path.file_name()?.to_str()?.split_once('.')?;
    let identity = Identity::parse(stem)?;
    match kind {
        "journal" => Some(Name::Journal(identity)),
        "lock" | "draft" => Some(Name::Beside(identity)),
        _ => None,
    }
}

fn read(dir: &Path, identity: Identity) -> Option<Entry> {
    let path = journal_path(dir, identity);
    let bytes = match read_bytes(&path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Some(Entry::Foreign { path }),
        // Finished since its name was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Entry::Unreadable(Unavailable::io("read", &path, error))),
    };
    Some(match frame::recover(&bytes) {
        Recovery::Ours(found) if found.header.identity() == identity => {
            let (checkpoint, _) = Checkpoint::replay(&found.records, found.header.source.size);
            Entry::Upload(Box::new(Unfinished {
                identity,
                header: found.header,
                checkpoint,
                #[cfg(feature = "cli")]
                torn_bytes: (bytes.len() - found.valid_len) as u64,
                holder: Lock::holder(&lock_path(dir, identity)),
            }))
        }
        Recovery::Ours(_) | Recovery::Foreign => Entry::Foreign { path },
        Recovery::Newer { version } => Entry::Newer { path, version },
        Recovery::Damaged => Entry::Damaged { identity },
    })
}

/// All bytes of a journal; none for what is no regular file (a pipe would keep us waiting).
fn read_bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    read_journal(&mut File::open(path)?).map(Some)
}

#[cfg(test)]
mod tests;
