//! Bytes on their way from a body into the store, hashed as they pass.
//!
//! No body is ever held: a piece is written, hashed and dropped. Whatever stops an [`Intake`] before
//! [`finish`](Intake::finish) leaves nothing in the store.

use bytes::Bytes;
use futures_util::StreamExt as _;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use tokio::task::JoinHandle;

use crate::blocking;
use crate::devserver::exchange::BodyStream;
use crate::devserver::finish::Content;
use crate::devserver::mime::HEAD_LEN;
use crate::devserver::refusal::Refusal;
use crate::devserver::service::Service;
use crate::devserver::store::{BlobWriter, Extent};
use crate::kodo::encode::hex;
use crate::kodo::{Etag, EtagHasher};

/// Bytes gathered before they are given to another thread for their MD5. A hop costs some 10 µs, MD5
/// of this much half a millisecond; two batches per running body are held at most.
const MD5_BATCH_LEN: usize = 256 * 1024;

/// Longest object that came as a whole whose MD5 is kept. MD5 takes three times as long as SHA-1
/// with the processor's help, and nobody who sends more by form should wait for a number that only
/// stat shows.
const OBJECT_MD5_LEN_MAX: u64 = 64 * 1024 * 1024;

/// What is computed over the bytes beside their CRC-32.
pub(crate) trait Hashing: Send {
    /// Takes the next piece.
    fn push(&mut self, piece: &Bytes) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// A body on its way in.
pub(crate) struct Intake<H> {
    blob: BlobWriter,
    len: u64,
    len_max: u64,
    too_long: Refusal,
    head: Vec<u8>,
    crc32: crc32fast::Hasher,
    hashing: H,
}

/// What has come in, whole.
pub(crate) struct Taken<H> {
    /// Where the bytes are.
    pub(crate) extent: Extent,
    /// The first of them, at most [`HEAD_LEN`].
    pub(crate) head: Vec<u8>,
    /// Their CRC-32.
    pub(crate) crc32: u32,
    /// Has seen them all.
    pub(crate) hashing: H,
}

impl<H: Hashing> Intake<H> {
    /// Takes in at most `len_max` bytes; refuses with `too_long` as soon as more have come.
    pub(crate) async fn new(
        service: &Service,
        hashing: H,
        len_max: u64,
        too_long: Refusal,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            blob: service.store.blob().await?,
            len: 0,
            len_max,
            too_long,
            head: Vec::new(),
            crc32: crc32fast::Hasher::new(),
            hashing,
        })
    }

    /// Takes the next piece.
    pub(crate) async fn push(&mut self, piece: Bytes) -> Result<(), Refusal> {
        self.len += piece.len() as u64;
        if self.len > self.len_max {
            return Err(self.too_long.clone());
        }
        let room = HEAD_LEN.saturating_sub(self.head.len());
        self.head.extend_from_slice(&piece[..room.min(piece.len())]);
        self.crc32.update(&piece);
        // The write only hands the bytes over, so that the disk works while we hash.
        self.blob.write(&piece).await?;
        self.hashing.push(&piece).await
    }

    /// Takes a whole body.
    pub(crate) async fn push_all(&mut self, body: &mut BodyStream) -> Result<(), Refusal> {
        while let Some(piece) = body.next().await {
            self.push(piece?).await?;
        }
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// CRC-32 of the bytes so far.
    pub(crate) fn crc32(&self) -> u32 {
        self.crc32.clone().finalize()
    }

    /// What the hashing has seen so far: for judging the bytes before they become a blob.
    pub(crate) fn hashing(&mut self) -> H
    where
        H: Default,
    {
        std::mem::take(&mut self.hashing)
    }

    /// The bytes are all there: they become a blob.
    pub(crate) async fn finish(self) -> Result<Taken<H>, Refusal> {
        Ok(Taken {
            extent: self.blob.finish().await?,
            head: self.head,
            crc32: self.crc32.finalize(),
            hashing: self.hashing,
        })
    }
}

/// The SHA-1 of a v1 block, carried on from chunk to chunk.
impl Hashing for Sha1 {
    async fn push(&mut self, piece: &Bytes) -> Result<(), Refusal> {
        self.update(piece);
        Ok(())
    }
}

/// Etag and MD5 of a v2 part: its answer must have both.
#[derive(Debug, Default)]
pub(crate) struct PartHashing {
    etag: EtagHasher,
    md5: Md5Beside,
}

impl Hashing for PartHashing {
    async fn push(&mut self, piece: &Bytes) -> Result<(), Refusal> {
        self.md5.push(piece.clone()).await?;
        self.etag.update(piece);
        Ok(())
    }
}

impl PartHashing {
    /// The etag, and the MD5 in lower-case hex.
    pub(crate) async fn finish(self) -> Result<(Etag, String), Refusal> {
        Ok((self.etag.finish(), self.md5.finish().await?))
    }
}

/// Etag of an object that comes as a whole, and its MD5, which only stat shows: as long as the
/// object is no longer than [`OBJECT_MD5_LEN_MAX`].
#[derive(Debug)]
pub(crate) struct ObjectHashing {
    etag: EtagHasher,
    md5: Option<Md5Beside>,
    len: u64,
}

impl Default for ObjectHashing {
    fn default() -> Self {
        Self {
            etag: EtagHasher::new(),
            md5: Some(Md5Beside::default()),
            len: 0,
        }
    }
}

impl Hashing for ObjectHashing {
    async fn push(&mut self, piece: &Bytes) -> Result<(), Refusal> {
        self.len += piece.len() as u64;
        match &mut self.md5 {
            Some(md5) if self.len <= OBJECT_MD5_LEN_MAX => md5.push(piece.clone()).await?,
            _ => self.md5 = None,
        }
        self.etag.update(piece);
        Ok(())
    }
}

impl Intake<ObjectHashing> {
    /// The bytes are all there.
    pub(crate) async fn into_content(mut self) -> Result<Content, Refusal> {
        let hashing = std::mem::take(&mut self.hashing);
        let md5 = match hashing.md5 {
            Some(md5) => Some(md5.finish().await?),
            None => None,
        };
        let taken = self.finish().await?;
        Ok(Content {
            etag: hashing.etag.finish(),
            size: taken.extent.len,
            data: vec![taken.extent],
            head: taken.head,
            part_lens: None,
            md5,
        })
    }
}

/// An MD5 computed beside everything else: it is slower than SHA-1 is with the processor's help, and
/// one after the other they would halve the rate. Small bodies never leave their thread, and no
/// thread waits for a network.
#[derive(Debug)]
pub(crate) struct Md5Beside {
    batch: Vec<Bytes>,
    batch_len: usize,
    state: Md5State,
}

#[derive(Debug)]
enum Md5State {
    Here(Md5),
    /// On another thread, with the batch before.
    There(JoinHandle<Md5>),
}

impl Default for Md5Beside {
    fn default() -> Self {
        Self {
            batch: Vec::new(),
            batch_len: 0,
            state: Md5State::Here(Md5::new()),
        }
    }
}

impl Md5Beside {
    async fn push(&mut self, piece: Bytes) -> Result<(), Refusal> {
        self.batch_len += piece.len();
        self.batch.push(piece);
        if self.batch_len < MD5_BATCH_LEN {
            return Ok(());
        }
        let md5 = self.come_back().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batch_len = 0;
        self.state = Md5State::There(blocking::spawn(move || add(md5, &batch)));
        Ok(())
    }

    async fn finish(mut self) -> Result<String, Refusal> {
        let md5 = self.come_back().await?;
        Ok(hex(&add(md5, &self.batch).finalize()))
    }

    /// The hasher, once the batch before is in it.
    async fn come_back(&mut self) -> Result<Md5, Refusal> {
        match std::mem::replace(&mut self.state, Md5State::Here(Md5::new())) {
            Md5State::Here(md5) => Ok(md5),
            Md5State::There(task) => {
                let stopped = |_| Refusal::new(599, "the server is shutting down");
                task.await.map_err(stopped)
            }
        }
    }
}

fn add(mut md5: Md5, batch: &[Bytes]) -> Md5 {
    for piece in batch {
        md5.update(piece);
    }
    md5
}

/// A body that is small by nature, whole: words about an object, not its bytes.
pub(crate) async fn read_whole(body: &mut BodyStream, len_max: usize) -> Result<Bytes, Refusal> {
    let mut whole = bytes::BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if whole.len() + piece.len() > len_max {
            return Err(Refusal::new(413, "request body is too large"));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}
