//! The seam for bytes: immutable once finished, named by a random id.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::clock;
use crate::devserver::store::disk::{Disk, if_there};
use crate::devserver::store::error::StoreError;
use crate::devserver::store::layout;
use crate::devserver::store::record::Extent;

/// Where bytes are.
#[derive(Debug)]
pub(crate) enum Blobs {
    /// One file each.
    Disk(Arc<Disk>),
    /// In memory.
    Memory(Mutex<HashMap<String, MemoryBlob>>),
    /// Nowhere: for measuring everything but the disk.
    Discard,
}

/// A blob in memory.
#[derive(Debug)]
pub(crate) struct MemoryBlob {
    /// Its bytes in pieces as they came.
    pub(crate) pieces: Arc<[Bytes]>,
    /// When a record was last about to refer to it.
    pub(crate) touched: SystemTime,
}

impl Blobs {
    /// Fails unless every extent's blob is there with its full length.
    pub(crate) fn check(&self, data: &[Extent]) -> Result<(), StoreError> {
        if matches!(self, Self::Discard) {
            return Ok(());
        }
        filled(data).try_for_each(|extent| {
            let found = self.look(&extent.blob)?;
            let found = found.map(|(len, _)| len);
            expect_len(extent, found)
        })
    }

    /// [`check`](Self::check), and makes the blobs young again: a record is about to refer to them.
    pub(crate) fn touch(&self, data: &[Extent]) -> Result<(), StoreError> {
        self.check(data)?;
        let now = clock::wall();
        match self {
            Self::Disk(disk) => filled(data).try_for_each(|extent| {
                let path = disk.path(&blob_name(&extent.blob)?);
                let touched = File::options()
                    .write(true)
                    .open(&path)
                    .and_then(|file| file.set_modified(now));
                touched.map_err(StoreError::io("touch", &path))
            }),
            Self::Memory(blobs) => {
                let mut blobs = lock(blobs);
                for extent in data {
                    if let Some(blob) = blobs.get_mut(&extent.blob) {
                        blob.touched = now;
                    }
                }
                Ok(())
            }
            Self::Discard => Ok(()),
        }
    }

    /// A blob's length, and when it was last written or touched.
    pub(crate) fn look(&self, id: &str) -> Result<Option<(u64, SystemTime)>, StoreError> {
        match self {
            Self::Disk(disk) => disk.look(&blob_name(id)?),
            Self::Memory(blobs) => {
                let blobs = lock(blobs);
                Ok(blobs.get(id).map(|blob| {
                    let len = blob.pieces.iter().map(|piece| piece.len() as u64).sum();
                    (len, blob.touched)
                }))
            }
            Self::Discard => Ok(None),
        }
    }

    /// Forgets a blob.
    pub(crate) fn remove(&self, id: &str) -> Result<(), StoreError> {
        match self {
            Self::Disk(disk) => disk.remove(&blob_name(id)?).map(|_| ()),
            Self::Memory(blobs) => {
                lock(blobs).remove(id);
                Ok(())
            }
            Self::Discard => Ok(()),
        }
    }

    /// The ids of all blobs.
    pub(crate) fn ids(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Disk(disk) => {
                let names = disk.files(layout::BLOBS)?;
                let ids = names.iter().filter_map(|name| name.rsplit('/').next());
                Ok(ids
                    .filter(|id| layout::is_id(id))
                    .map(str::to_owned)
                    .collect())
            }
            Self::Memory(blobs) => Ok(lock(blobs).keys().cloned().collect()),
            Self::Discard => Ok(Vec::new()),
        }
    }
}

impl Blobs {
    /// Opens an extent's blob for reading.
    pub(crate) fn open(&self, extent: &Extent) -> Result<OpenBlob, StoreError> {
        match self {
            Self::Disk(disk) => {
                let path = disk.path(&blob_name(&extent.blob)?);
                let opened = if_there(File::open(&path));
                let opened = opened.map_err(StoreError::io("open", &path))?;
                let file = opened.ok_or_else(|| missing(extent))?;
                let metadata = file.metadata().map_err(StoreError::io("look at", &path))?;
                expect_len(extent, Some(metadata.len()))?;
                Ok(OpenBlob::File(file))
            }
            Self::Memory(blobs) => {
                let pieces = lock(blobs)
                    .get(&extent.blob)
                    .map(|blob| Arc::clone(&blob.pieces));
                pieces.map(OpenBlob::Memory).ok_or_else(|| missing(extent))
            }
            Self::Discard => Err(StoreError::Discarded),
        }
    }
}

/// A blob that is being read. It stays readable when a sweep removes it.
#[derive(Debug)]
pub(crate) enum OpenBlob {
    /// A file.
    File(File),
    /// Pieces of memory.
    Memory(Arc<[Bytes]>),
}

/// The name of a blob's file. An id in a record that is no id is damage.
pub(crate) fn blob_name(id: &str) -> Result<String, StoreError> {
    layout::blob(id).ok_or_else(|| StoreError::Missing {
        blob: id.to_owned(),
    })
}

/// The map of a memory store; a panic elsewhere does not make it unusable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those extents that have a blob.
fn filled(data: &[Extent]) -> impl Iterator<Item = &Extent> {
    data.iter().filter(|extent| extent.len > 0)
}

fn expect_len(extent: &Extent, found: Option<u64>) -> Result<(), StoreError> {
    match found {
        None => Err(missing(extent)),
        Some(found) if found != extent.len => Err(StoreError::Damaged {
            blob: extent.blob.clone(),
            expected: extent.len,
            found,
        }),
        Some(_) => Ok(()),
    }
}

fn missing(extent: &Extent) -> StoreError {
    StoreError::Missing {
        blob: extent.blob.clone(),
    }
}
