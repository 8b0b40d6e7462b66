//! A stream as a source: read once, from its first byte on, and kept in memory for as long as its bytes
//! may have to be sent again.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::{ByteSpan, Failure, FailureKind, Remedy};

/// Whatever a stream of the user's fails with.
pub(crate) type StreamError = Box<dyn Error + Send + Sync>;

/// Bytes that somebody else supplies.
pub(crate) enum Supply {
    /// Read into a buffer of ours.
    Reader(Pin<Box<dyn AsyncRead + Send>>),
    /// Handed over in pieces of any length.
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, StreamError>> + Send>>),
}

/// Memory that all streams of a process share, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    total: u32,
}

/// What [`StreamSource::fetch`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) len: u64,
    pub(crate) is_last: bool,
}

/// A stream. Cloning shares it.
#[derive(Clone)]
pub(crate) struct StreamSource {
    budget: Budget,
    expected: Option<u64>,
    held: Arc<Mutex<Held>>,
    intake: Arc<tokio::sync::Mutex<Intake>>,
}

/// What has come.
#[derive(Debug, Default)]
struct Held {
    /// By the offset of their first byte; what was let go is missing.
    blocks: BTreeMap<u64, HeldBlock>,
    len: u64,
    has_ended: bool,
}

/// A block that has come.
#[derive(Debug)]
struct HeldBlock {
    bytes: Bytes,
    /// How many of them are not needed any more.
    let_go: u64,
}

/// What comes, and the block that it goes into: that one survives a fetch that is given up.
struct Intake {
    supply: Supply,
    /// What the stream gave beyond the block before.
    rest: Bytes,
    filling: Option<Block>,
}

/// A block, and the memory that it was granted.
struct Block {
    bytes: BytesMut,
    /// Given back when the last who holds the bytes is gone.
    grant: OwnedSemaphorePermit,
}

impl Block {
    /// Gives back what the stream's end left empty.
    fn give_back(&mut self) {
        let surplus = self.grant.num_permits().saturating_sub(self.bytes.len());
        drop(self.grant.split(surplus));
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Budget {
    /// A budget of `bytes`, which is cut at 4 GiB.
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            // A semaphore holds more than any u32.
            free: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }

    /// The whole of it, in bytes.
    pub(crate) fn total(&self) -> u64 {
        u64::from(self.total)
    }

    /// Waits for `bytes` of it, a block at most. Those who came first are served first.
    async fn grant(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Failure> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.total);
        let free = Arc::clone(&self.free);
        let granted = free.acquire_many_owned(bytes).await;
        // Nobody closes it.
        granted.map_err(|_| failure("the program is shutting down".to_owned()))
    }
}

impl StreamSource {
    /// A stream of which nothing was read; `expected` is its length, where that is known.
    pub(crate) fn new(supply: Supply, expected: Option<u64>, budget: Budget) -> Self {
        Self {
            budget,
            expected,
            held: Arc::default(),
            intake: Arc::new(tokio::sync::Mutex::new(Intake {
                supply,
                rest: Bytes::new(),
                filling: None,
            })),
        }
    }

    /// How much of it has come, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.held().len
    }

    /// How long it will be, where that is known.
    pub(crate) fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Whether all of it has come.
    pub(crate) fn has_ended(&self) -> bool {
        self.held().has_ended
    }

    /// All of it, where it has ended and is one block at most.
    pub(crate) fn whole(&self) -> Option<Bytes> {
        let held = self.held();
        match (held.has_ended, held.blocks.len()) {
            (true, 0) => Some(Bytes::new()),
            (true, 1) => held.blocks.get(&0).map(|block| block.bytes.clone()),
            _ => None,
        }
    }

    /// Gets `len` bytes more, fewer only where the stream ends. Waits for memory first, then for the
    /// stream. What was read is not lost when this is given up.
    ///
    /// Fails where the stream fails, panics, or has another length than was said.
    pub(crate) async fn fetch(&self, len: u64) -> Result<Fetched, Failure> {
        let mut intake = self.intake.lock().await;
        if self.has_ended() {
            return Ok(Fetched {
                len: 0,
                is_last: true,
            });
        }
        let begins = self.len();
        let left = self.expected.map(|all| all.saturating_sub(begins));
        // One byte more than is expected shows that there is more.
        let wanted = left.map_or(len, |left| len.min(left.saturating_add(1)));
        if intake.filling.is_none() {
            let grant = self.budget.grant(wanted).await?;
            intake.filling = Some(Block {
                // Pages that nothing is written to cost nothing.
                bytes: BytesMut::with_capacity(usize::try_from(wanted).unwrap_or(0)),
                grant,
            });
        }
        let filled = intake.fill(begins, wanted).await;
        let has_ended = filled.inspect_err(|_| intake.filling = None)?;
        let Some(mut block) = intake.filling.take() else {
            return Err(failure(
                "haul made a mistake: a block is missing".to_owned(),
            ));
        };
        let fetched = Fetched {
            len: block.bytes.len() as u64,
            is_last: has_ended,
        };
        self.check_length(begins + fetched.len, has_ended)?;
        block.give_back();
        self.keep(begins, block, has_ended);
        Ok(fetched)
    }

    /// The bytes from `span` on, as far as they are there in one piece, and `span.len` at most.
    pub(super) fn read(&self, span: ByteSpan) -> Result<Bytes, Failure> {
        let held = self.held();
        let block = held.blocks.range(..=span.offset).next_back();
        let found = block.and_then(|(begins, HeldBlock { bytes, .. })| {
            let from = usize::try_from(span.offset - begins).ok()?;
            let to = from.saturating_add(usize::try_from(span.len).ok()?);
            (from < bytes.len()).then(|| bytes.slice(from..to.min(bytes.len())))
        });
        found.ok_or_else(gone)
    }

    /// The bytes of `span` are not needed any more; to be said once of each byte.
    pub(crate) fn let_go(&self, span: ByteSpan) {
        let mut held = self.held();
        held.blocks.retain(|begins, block| {
            let len = block.bytes.len() as u64;
            let from = span.offset.max(*begins);
            block.let_go += span.end().min(begins + len).saturating_sub(from);
            block.let_go < len
        });
    }

    fn keep(&self, begins: u64, block: Block, has_ended: bool) {
        let len = block.bytes.len() as u64;
        let mut held = self.held();
        held.len = begins + len;
        held.has_ended = has_ended;
        if len > 0 {
            let bytes = Bytes::from_owner(block);
            held.blocks.insert(begins, HeldBlock { bytes, let_go: 0 });
        }
    }

    /// Fails if `len` bytes, with or without more to come, are not as many as were said.
    fn check_length(&self, len: u64, has_ended: bool) -> Result<(), Failure> {
        match self.expected {
            Some(expected) if len > expected => Err(failure(format!(
                "the stream is longer than the {expected} bytes that it was said to have"
            ))),
            Some(expected) if has_ended && len < expected => Err(failure(format!(
                "the stream ended after {len} bytes, and was said to have {expected}"
            ))),
            _ => Ok(()),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.held();
        f.debug_struct("StreamSource")
            .field("expected", &self.expected)
            .field("len", &held.len)
            .field("has_ended", &held.has_ended)
            .finish_non_exhaustive()
    }
}

impl Intake {
    /// Fills the block up to `wanted` bytes; whether the stream has ended.
    async fn fill(&mut self, begins: u64, wanted: u64) -> Result<bool, Failure> {
        let Some(block) = &mut self.filling else {
            return Ok(false);
        };
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        loop {
            let room = wanted.saturating_sub(block.bytes.len());
            if room == 0 {
                return Ok(false);
            }
            let taken = room.min(self.rest.len());
            block.bytes.extend_from_slice(&self.rest[..taken]);
            self.rest.advance(taken);
            if taken > 0 {
                continue;
            }
            let more = AssertUnwindSafe(self.supply.more(&mut block.bytes, room));
            let came = match more.catch_unwind().await {
                Ok(came) => came,
                Err(_) => Err("it panicked".into()),
            };
            match came {
                Ok(More::Read) => {}
                Ok(More::Rest(bytes)) => self.rest = bytes,
                Ok(More::End) => return Ok(true),
                Err(why) => {
                    let at = begins + block.bytes.len() as u64;
                    return Err(failure(format!(
                        "the stream failed after {at} bytes: {why}"
                    )));
                }
            }
        }
    }
}

/// What a supply gave.
enum More {
    /// Bytes, read into the buffer.
    Read,
    /// Bytes, still to be put there.
    Rest(Bytes),
    /// Nothing more.
    End,
}

impl Supply {
    /// Gets more: into `buffer`, `room` bytes at most, or in a piece of its own.
    async fn more(&mut self, buffer: &mut BytesMut, room: usize) -> Result<More, StreamError> {
        match self {
            Self::Reader(reader) => {
                let mut limited = bytes::BufMut::limit(buffer, room);
                let read = reader.read_buf(&mut limited).await?;
                Ok(if read == 0 { More::End } else { More::Read })
            }
            Self::Stream(stream) => match stream.next().await {
                None => Ok(More::End),
                Some(bytes) => Ok(More::Rest(bytes?)),
            },
        }
    }
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reader(_) => "a reader",
            Self::Stream(_) => "a stream",
        })
    }
}

/// The failure of bytes that are needed a second time.
fn gone() -> Failure {
    failure(
        "the service lost what it had acknowledged, and the stream cannot give it again: from a file, \
         or with a spool directory, it could"
            .to_owned(),
    )
}

fn failure(what: String) -> Failure {
    let mut failure = Failure::new(FailureKind::Source, what);
    failure.remedy = Some(Remedy::StreamAgain);
    failure
}

#[cfg(test)]
mod tests;
