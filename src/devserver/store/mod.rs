//! What the dev server remembers: objects, and uploads that are under way.
//!
//! One logic over two small seams: *blobs* (`blobs.rs`: immutable bytes) and *records*
//! (`records.rs`: small documents replaced atomically), each on disk or in memory. An object is a
//! list of extents, each a whole blob, so that mkfile, complete, copy and move never copy a byte,
//! and one blob may be part of several objects.
//!
//! # On disk
//!
//! ```text
//! format                                   the marker; another format is refused untouched
//! blobs/<hh>/<id>                          bytes
//! objects/<bucket>/<hh>/<hash>.json        an object, its key inside
//! contexts/<hh>/<ctx>.json                 v1: a block so far
//! uploads/<id>/record.json, parts/<n>.json v2: an upload, its parts
//! incoming/<id>                            what is being written; locked by its process
//! locks/…                                  256 stripes, `references`, `sweep`, `keys`
//! keys.json, swept.json                    the key pair; when the last sweep began
//! ```
//!
//! # What holds
//!
//! 1. *Old or new, never between.* Every file is written under `incoming/` and renamed. A process
//!    killed at any point leaves a leftover there, or a blob that nothing refers to; the sweep takes
//!    both. Nobody ever sees half of either.
//! 2. *The disk is the truth.* Nothing is cached, since several processes may serve one directory.
//!    Reading a record in order to replace it happens under an OS lock on its name (`locks.rs`).
//! 3. *A record that refers to bytes implies the bytes.* They are checked before it is written, and
//!    the sweep (`sweep.rs`) cannot come in between.
//! 4. *Nothing torn is served.* A record carries a check, a blob is compared with the length in its
//!    record, before the first byte is answered.
//!
//! Nothing is synced: a killed process loses nothing that it wrote. A power cut may lose what was
//! stored in the half minute before, and may leave a record or blob cut short or zeroed; the checks
//! find the first two, and zeroes within a blob of the right length are not found. Who wants more
//! than a dev server gives should use the service itself.
//!
//! Absent on purpose: hashing, tokens, policies, HTTP. The handlers beside this folder have them.

mod blobs;
mod disk;
mod error;
mod keys;
mod layout;
mod locks;
mod objects;
mod read;
mod record;
mod records;
mod sweep;
mod uploads;
mod write;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

pub(crate) use error::StoreError;
pub(crate) use keys::{KeyPair, key_pair};
pub(crate) use objects::{Listed, PageQuery};
pub(crate) use record::{
    ContextRecord, Extent, ObjectRecord, Overwrite, PartRecord, PutOutcome, UploadRecord,
};
pub(crate) use write::BlobWriter;

use crate::devserver::exchange::BodyStream;
use crate::devserver::store::blobs::Blobs;
use crate::devserver::store::disk::Disk;
use crate::devserver::store::locks::Locks;
use crate::devserver::store::records::Records;
use crate::model::ByteSpan;

/// Where a dev server keeps what it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this directory, which is made if need be: it outlives the server, and several servers may
    /// use it at once. Only new, empty or earlier store directories are taken.
    Disk(PathBuf),
    /// In memory, until the server stops.
    Memory,
    /// Nowhere: objects are known with their sizes and hashes, their bytes are gone, and reading
    /// them fails. For measuring.
    Discard,
}

/// The store. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: Arc<Inner>,
    /// A sweep stops early when the last clone of this is gone, so that a program may end.
    alive: Arc<()>,
}

/// The store's two seams and their locks.
#[derive(Debug)]
pub(crate) struct Inner {
    records: Records,
    blobs: Blobs,
    locks: Locks,
    /// When the next sweep is due, Unix seconds.
    sweep_due: AtomicU64,
    /// Bytes that this process has probably made unreferenced since the last sweep.
    garbage_len: AtomicU64,
}

impl Inner {
    /// Whether calls may block.
    fn is_disk(&self) -> bool {
        matches!(self.records, Records::Disk(_))
    }
}

impl Store {
    /// Opens the store at `place`.
    ///
    /// Leftovers of earlier processes are swept in the background, if that is due and this is
    /// called within a Tokio runtime.
    pub(crate) fn open(place: &Place, now: SystemTime) -> Result<Self, StoreError> {
        let in_memory = || Records::Memory(Mutex::default());
        let (records, blobs, locks) = match place {
            Place::Disk(root) => {
                let disk = Arc::new(Disk::open(root)?);
                (
                    Records::Disk(Arc::clone(&disk)),
                    Blobs::Disk(Arc::clone(&disk)),
                    Locks::Disk(disk),
                )
            }
            Place::Memory => (
                in_memory(),
                Blobs::Memory(Mutex::default()),
                Locks::Memory(Mutex::default()),
            ),
            Place::Discard => (in_memory(), Blobs::Discard, Locks::Memory(Mutex::default())),
        };
        let store = Self {
            inner: Arc::new(Inner {
                records,
                blobs,
                locks,
                sweep_due: AtomicU64::new(0),
                garbage_len: AtomicU64::new(0),
            }),
            alive: Arc::new(()),
        };
        store.sweep_if_due(now);
        Ok(store)
    }

    /// A new blob, to be written and finished. It becomes part of something by a record's extents.
    pub(crate) async fn blob(&self) -> Result<BlobWriter, StoreError> {
        BlobWriter::new(Arc::clone(&self.inner))
    }

    /// The bytes `span` of what `data` makes up, in pieces of at most 256 KiB.
    ///
    /// Before the first one, every blob of `data` is found to be there with its full length.
    pub(crate) async fn read(
        &self,
        data: &[Extent],
        span: ByteSpan,
    ) -> Result<BodyStream, StoreError> {
        if matches!(self.inner.blobs, Blobs::Discard) && !span.is_empty() {
            return Err(StoreError::Discarded);
        }
        let checked = data.to_vec();
        self.run(move |inner| inner.blobs.check(&checked)).await?;
        Ok(read::stream(Arc::clone(&self.inner), data, span))
    }

    /// Runs `work` where it may block, if it does block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !self.inner.is_disk() {
            return work(&self.inner);
        }
        let inner = Arc::clone(&self.inner);
        write::blocking(move || work(&inner)).await
    }
}
