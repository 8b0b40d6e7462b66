//! Opening a journal: lock it, read it, recover what is certain, mend the rest.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::blocking;
use crate::engine::record::{Checkpoint, Record};
use crate::journal::compact::in_force;
use crate::journal::file::{DiskFile, JournalFile, make_dir, replace, uploads_dir};
use crate::journal::frame::{self, Chain, Recovered, Recovery};
use crate::journal::header::{Header, Identity, Source};
use crate::journal::lock::Owner;
use crate::journal::queue::{Journal, Start};
use crate::journal::{OpenError, Unavailable};

/// Records that are no longer in force are kept until they are this many and more than the others:
/// most journals are never rewritten, and none grows without end.
const VOID_RECORDS_MAX: usize = 64;

/// Pause between two looks at a lock that is held.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Looks at a lock that another process holds: listing the uploads takes each lock for an instant.
const LOCK_LOOKS: u32 = 5;

/// Looks at a lock that this very process holds, 2 s: an upload that was just dropped still brings
/// its last records to the disk.
const LOCK_LOOKS_OWN: u32 = 100;

/// An upload's journal, and what it knew.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Where records go from now on.
    pub(crate) journal: Journal,
    /// What the records replay to; empty for a new upload.
    pub(crate) checkpoint: Checkpoint,
    /// What a person may want to know.
    pub(crate) notes: Vec<Note>,
}

/// Something noticed while opening.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// The end of the journal was torn or spoilt: so many bytes were cut off.
    TailCut {
        /// Length of what was cut, in bytes.
        bytes: u64,
    },
    /// The journal's first line was spoilt: nothing of it can be used, the upload begins anew.
    Damaged,
    /// The last so many records contradict those before; they were dropped.
    Senseless {
        /// How many.
        records: usize,
    },
    /// The source has another size than last time. Lanes of the same stretch were kept.
    Resized {
        /// Its size then, in bytes.
        was: u64,
        /// Its size now, in bytes.
        now: u64,
        /// Bytes that were recorded then, and that still are.
        safe_bytes: (u64, u64),
    },
    /// Path, times or number of the source differ from last time. Its bytes will tell.
    Touched {
        /// The source as it was.
        was: Source,
    },
    /// What was known is used, but nothing more can be recorded.
    Unavailable(Unavailable),
}

/// What [`mend`] makes of a journal's bytes.
#[derive(Debug)]
pub(crate) struct Mended {
    /// Where appending goes on, under the header that holds from now on: the new source, the old
    /// birthday.
    pub(crate) start: Start,
    /// What the records replay to.
    pub(crate) checkpoint: Checkpoint,
    /// What was noticed.
    pub(crate) notes: Vec<Note>,
}

impl Journal {
    /// Opens the journal of the upload that `header` describes, or prepares a new one.
    ///
    /// `header.created` is the present time: a journal that is there keeps its own, and the lock's
    /// owner record says it. A new journal's file is made with its first record. A lock that is
    /// held is looked at again for 0.1 s, and for 2 s when this process holds it.
    ///
    /// Must be called within a Tokio runtime with its timers on.
    pub(crate) async fn open(state_dir: &Path, header: Header) -> Result<Opened, OpenError> {
        let runtime = Handle::try_current().map_err(|_| Unavailable::Stopped)?;
        let mut looks = 1;
        loop {
            let (dir, header) = (uploads_dir(state_dir), header.clone());
            let opening = blocking::spawn_on(&runtime, move || open_blocking(&dir, header));
            match opening.await.map_err(|_| Unavailable::Stopped)? {
                Ok((file, path, mended)) => {
                    return Ok(Opened {
                        journal: Journal::new(Box::new(file), path, mended.start, runtime),
                        checkpoint: mended.checkpoint,
                        notes: mended.notes,
                    });
                }
                Err(OpenError::Held { owner }) if looks < patience(owner.as_ref()) => {
                    looks += 1;
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn patience(owner: Option<&Owner>) -> u32 {
    match owner {
        Some(owner) if owner.is_this_process() => LOCK_LOOKS_OWN,
        _ => LOCK_LOOKS,
    }
}

fn open_blocking(dir: &Path, header: Header) -> Result<(DiskFile, PathBuf, Mended), OpenError> {
    make_dir(dir).map_err(|error| Unavailable::io("make", dir, error))?;
    let owner = Owner::this_process(header.created);
    let mut file = DiskFile::open(dir, header.identity(), &owner)?;
    let path = file.path().to_owned();
    let mended = mend(&mut file, &path, header)?;
    Ok((file, path, mended))
}

/// Reads the journal in `file` and brings it into a state that records can be appended to: its
/// valid prefix, durable, for the source as it is now.
///
/// What is read is synced even if nothing is to be mended, its name too: it may have been written
/// by a process that died before its own sync.
pub(crate) fn mend(
    file: &mut dyn JournalFile,
    path: &Path,
    header: Header,
) -> Result<Mended, Unavailable> {
    let read = file.read();
    let bytes = read.map_err(|error| Unavailable::io("read", path, error))?;
    let found = found(
        bytes.as_deref().unwrap_or_default(),
        path,
        header.identity(),
    )?;
    let Some(found) = found else {
        let damaged = bytes.is_some_and(|bytes| !bytes.is_empty());
        return Ok(Mended {
            start: Start {
                header,
                chain: None,
                broken: None,
            },
            checkpoint: Checkpoint::default(),
            notes: damaged.then_some(Note::Damaged).into_iter().collect(),
        });
    };
    let file_len = bytes.map_or(0, |bytes| bytes.len());
    Ok(take_over(file, path, header, found, file_len))
}

/// The upload's journal, if `bytes` are one; an error for what must be left alone.
fn found(bytes: &[u8], path: &Path, identity: Identity) -> Result<Option<Recovered>, Unavailable> {
    let path = || path.to_owned();
    match frame::recover(bytes) {
        Recovery::Ours(found) if found.header.identity() == identity => Ok(Some(*found)),
        // Someone copied a journal to another's name.
        Recovery::Ours(_) | Recovery::Foreign => Err(Unavailable::Foreign { path: path() }),
        Recovery::Newer { version } => Err(Unavailable::Newer {
            path: path(),
            version,
        }),
        Recovery::Damaged => Ok(None),
    }
}

fn take_over(
    file: &mut dyn JournalFile,
    path: &Path,
    mut header: Header,
    found: Recovered,
    file_len: usize,
) -> Mended {
    header.created = found.header.created;
    let is_same = found.header == header;
    let was = found.header.source;
    let (before, sensible) = Checkpoint::replay(&found.records, was.size);
    let kept = in_force(&found.records[..sensible], was.size, header.source.size);
    let (checkpoint, _) = Checkpoint::replay(&kept, header.source.size);
    let void = found.records.len() - kept.len();
    let notes = vec![
        (file_len > found.valid_len).then(|| Note::TailCut {
            bytes: (file_len - found.valid_len) as u64,
        }),
        (found.records.len() > sensible).then(|| Note::Senseless {
            records: found.records.len() - sensible,
        }),
        source_note(&was, &header.source, &before, &checkpoint),
    ];
    let rewrite =
        !is_same || sensible < found.records.len() || void > VOID_RECORDS_MAX.max(kept.len());
    let mended = if rewrite {
        rewritten(file, path, &header, &kept)
    } else {
        let cut = (file_len > found.valid_len).then_some(found.valid_len as u64);
        explain(settle(file, cut), "write", path).map(|()| found.chain)
    };
    let broken = mended.as_ref().err().cloned();
    let unavailable = broken.clone().map(Note::Unavailable);
    Mended {
        start: Start {
            header,
            chain: mended.ok(),
            broken,
        },
        checkpoint,
        notes: notes.into_iter().flatten().chain(unavailable).collect(),
    }
}

fn source_note(
    was: &Source,
    now: &Source,
    before: &Checkpoint,
    after: &Checkpoint,
) -> Option<Note> {
    if was.size != now.size {
        return Some(Note::Resized {
            was: was.size,
            now: now.size,
            safe_bytes: (before.safe_bytes(), after.safe_bytes()),
        });
    }
    (was != now).then(|| Note::Touched { was: was.clone() })
}

/// Cuts the journal to the length `cut`, if there is one, and syncs all that is there.
fn settle(file: &mut dyn JournalFile, cut: Option<u64>) -> io::Result<()> {
    if let Some(len) = cut {
        file.cut(len)?;
    }
    file.sync()?;
    file.sync_names()
}

/// Puts a journal of just these records in the old one's place.
fn rewritten(
    file: &mut dyn JournalFile,
    path: &Path,
    header: &Header,
    records: &[Record],
) -> Result<Chain, Unavailable> {
    let mut bytes = Vec::new();
    let mut chain = Chain::begin(header, &mut bytes).map_err(|_| Unavailable::TooLong)?;
    for record in records {
        let pushed = chain.push(record, &mut bytes);
        pushed.map_err(|_| Unavailable::TooLong)?;
    }
    explain(replace(file, &bytes), "rewrite", path)?;
    Ok(chain)
}

fn explain(result: io::Result<()>, doing: &'static str, path: &Path) -> Result<(), Unavailable> {
    result.map_err(|error| Unavailable::io(doing, path, error))
}

#[cfg(test)]
mod tests;
