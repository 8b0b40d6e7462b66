//! Bytes on their way in: from the network's small pieces to few large writes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::clock;
use crate::devserver::store::blobs::{Blobs, MemoryBlob, blob_name, lock};
use crate::devserver::store::disk::{Disk, Incoming};
use crate::devserver::store::error::StoreError;
use crate::devserver::store::record::Extent;
use crate::devserver::store::{Inner, layout};

/// What is gathered before one write, in bytes. A hop to a blocking thread costs some 10 µs, which
/// 256 KiB make small; two of them per arriving body keep 32 bodies within 16 MiB.
const GATHERED_LEN: usize = 256 * 1024;

/// A blob that grows. Dropped before [`finish`](Self::finish), it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    inner: Arc<Inner>,
    id: String,
    len: u64,
    gathered: Vec<u8>,
    sink: Sink,
}

/// Where the gathered bytes go.
#[derive(Debug)]
enum Sink {
    /// A file, made with the first write; none while `writing` has it.
    Disk {
        disk: Arc<Disk>,
        idle: Option<Incoming>,
        writing: Option<JoinHandle<Result<Written, StoreError>>>,
    },
    Memory(Vec<Bytes>),
    Discard,
}

/// The file and the buffer of a write that is over.
#[derive(Debug)]
struct Written {
    file: Incoming,
    buffer: Vec<u8>,
}

impl BlobWriter {
    /// An empty one. Touches no disk yet.
    pub(crate) fn new(inner: Arc<Inner>) -> Result<Self, StoreError> {
        let sink = match &inner.blobs {
            Blobs::Disk(disk) => Sink::Disk {
                disk: Arc::clone(disk),
                idle: None,
                writing: None,
            },
            Blobs::Memory(_) => Sink::Memory(Vec::new()),
            Blobs::Discard => Sink::Discard,
        };
        Ok(Self {
            id: layout::new_id()?,
            inner,
            len: 0,
            gathered: Vec::new(),
            sink,
        })
    }

    /// Adds `bytes` at the end. Waits only when the disk is slower than the network.
    pub(crate) async fn write(&mut self, bytes: &Bytes) -> Result<(), StoreError> {
        self.len += bytes.len() as u64;
        if matches!(self.sink, Sink::Discard) {
            return Ok(());
        }
        let mut rest: &[u8] = bytes;
        while !rest.is_empty() {
            let room = GATHERED_LEN - self.gathered.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.gathered.extend_from_slice(now);
            rest = later;
            if self.gathered.len() == GATHERED_LEN {
                self.pass_on().await?;
            }
        }
        Ok(())
    }

    /// The bytes so far become a blob, whole. Nothing refers to it yet: the sweep removes it unless
    /// a record does so soon.
    pub(crate) async fn finish(mut self) -> Result<Extent, StoreError> {
        let extent = Extent {
            blob: self.id.clone(),
            len: self.len,
        };
        self.wait().await?;
        if extent.len == 0 {
            return Ok(extent);
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        match &mut self.sink {
            Sink::Disk { disk, idle, .. } => {
                let (disk, idle) = (Arc::clone(disk), idle.take());
                let name = blob_name(&self.id)?;
                blocking(move || {
                    let mut file = idle.map_or_else(|| disk.incoming(), Ok)?;
                    file.append(&gathered)?;
                    file.install(&disk.path(&name))
                })
                .await?;
            }
            Sink::Memory(pieces) => {
                gathered.shrink_to_fit();
                pieces.push(gathered.into());
                let pieces = std::mem::take(pieces).into();
                self.keep(pieces);
            }
            Sink::Discard => {}
        }
        Ok(extent)
    }

    /// Hands the gathered bytes over and goes on gathering while they are written.
    async fn pass_on(&mut self) -> Result<(), StoreError> {
        let spare = self.wait().await?;
        let mut buffer = std::mem::replace(&mut self.gathered, spare);
        match &mut self.sink {
            Sink::Disk {
                disk,
                idle,
                writing,
            } => {
                let (disk, idle) = (Arc::clone(disk), idle.take());
                *writing = Some(tokio::task::spawn_blocking(move || {
                    let mut file = idle.map_or_else(|| disk.incoming(), Ok)?;
                    file.append(&buffer)?;
                    buffer.clear();
                    Ok(Written { file, buffer })
                }));
            }
            Sink::Memory(pieces) => pieces.push(buffer.into()),
            Sink::Discard => {}
        }
        Ok(())
    }

    /// Waits for the write that is under way; gives its buffer back, empty.
    async fn wait(&mut self) -> Result<Vec<u8>, StoreError> {
        let Sink::Disk { idle, writing, .. } = &mut self.sink else {
            return Ok(Vec::new());
        };
        let Some(task) = writing else {
            return Ok(Vec::new());
        };
        let written = task.await;
        *writing = None;
        let written = written.map_err(|_| StoreError::Stopped)??;
        *idle = Some(written.file);
        Ok(written.buffer)
    }

    fn keep(&self, pieces: Arc<[Bytes]>) {
        if let Blobs::Memory(blobs) = &self.inner.blobs {
            let blob = MemoryBlob {
                pieces,
                touched: clock::wall(),
            };
            lock(blobs).insert(self.id.clone(), blob);
        }
    }
}

/// Runs `work` where blocking is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Stopped),
    }
}
