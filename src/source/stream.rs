//! A stream as a source: read once, from its first byte on, and kept in memory for as long as its bytes
//! may have to be sent again.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::coop::consume_budget;

use crate::model::{ByteSpan, Failure, FailureKind, Remedy};
use crate::source::pool::{Buffer, Pool};
use crate::source::span::PIECE_LEN;

/// Whatever a stream of the user's fails with.
pub(crate) type StreamError = Box<dyn Error + Send + Sync>;

/// [`PIECE_LEN`] as a length in memory; it fits any.
const PIECE: usize = PIECE_LEN as usize;

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
    /// Keeps all that it ever grants: what a service needed once, it needs again.
    pool: Pool,
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
    /// All but the last are [`PIECE_LEN`] bytes long.
    pieces: Vec<Bytes>,
    len: u64,
    /// How many of its bytes are not needed any more.
    let_go: u64,
}

/// What comes, and the block that it goes into: that one survives a fetch that is given up.
struct Intake {
    supply: Supply,
    /// What the stream gave beyond the block before.
    rest: Bytes,
    filling: Option<Block>,
}

/// A block that is being read, and the memory that it was granted.
struct Block {
    pieces: Vec<Buffer>,
    /// Bytes in it; all pieces but the last are full.
    len: usize,
    grant: OwnedSemaphorePermit,
}

/// A piece, and its part in the grant: given back when the last who holds the block's bytes is gone.
struct Piece {
    buffer: Buffer,
    _grant: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

impl Block {
    /// Where the next bytes go: `most` of them at most.
    fn room(&mut self, most: usize, pool: &Pool) -> &mut [u8] {
        let filled = self.len % PIECE;
        if self.len == self.pieces.len() * PIECE {
            self.pieces.push(pool.take(PIECE));
        }
        let room = self.pieces.last_mut().map(Buffer::as_mut);
        let room = room
            .unwrap_or_default()
            .get_mut(filled..)
            .unwrap_or_default();
        let len = room.len().min(most);
        &mut room[..len]
    }

    /// Its pieces, shared. What the stream's end left empty is given back.
    fn freeze(mut self) -> HeldBlock {
        self.pieces.truncate(self.len.div_ceil(PIECE));
        let needed = self.pieces.len() * PIECE;
        drop(
            self.grant
                .split(self.grant.num_permits().saturating_sub(needed)),
        );
        if let Some(last) = self.pieces.last_mut()
            && !self.len.is_multiple_of(PIECE)
        {
            last.truncate(self.len % PIECE);
        }
        let grant = Arc::new(self.grant);
        let share = |buffer| {
            Bytes::from_owner(Piece {
                buffer,
                _grant: Arc::clone(&grant),
            })
        };
        HeldBlock {
            pieces: self.pieces.into_iter().map(share).collect(),
            len: self.len as u64,
            let_go: 0,
        }
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
            pool: Pool::keeping(usize::try_from(bytes / PIECE_LEN).unwrap_or(usize::MAX)),
        }
    }

    /// The whole of it, in bytes.
    pub(crate) fn total(&self) -> u64 {
        u64::from(self.total)
    }

    /// Waits for `bytes` of it, a block at most, in whole pieces. Those who came first are served first.
    async fn grant(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Failure> {
        let bytes = bytes.next_multiple_of(PIECE_LEN);
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

    /// Whether bytes of it are gone.
    pub(crate) fn has_let_go(&self) -> bool {
        let held = self.held();
        let there: u64 = held.blocks.values().map(|block| block.len).sum();
        there < held.len
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
                pieces: Vec::new(),
                len: 0,
                grant,
            });
        }
        let filled = intake.fill(begins, wanted, &self.budget.pool).await;
        let has_ended = filled.inspect_err(|_| intake.filling = None)?;
        let Some(block) = intake.filling.take() else {
            return Err(failure(
                "haul made a mistake: a block is missing".to_owned(),
            ));
        };
        let fetched = Fetched {
            len: block.len as u64,
            is_last: has_ended,
        };
        self.check_length(begins + fetched.len, has_ended)?;
        self.keep(begins, block.freeze(), has_ended);
        Ok(fetched)
    }

    /// The bytes from `span` on, as far as they are there in one piece, and `span.len` at most.
    pub(super) fn read(&self, span: ByteSpan) -> Result<Bytes, Failure> {
        let held = self.held();
        let block = held.blocks.range(..=span.offset).next_back();
        let found = block.and_then(|(begins, block)| {
            let at = usize::try_from(span.offset - begins).ok()?;
            let piece = block.pieces.get(at / PIECE)?;
            let from = at % PIECE;
            let to = from.saturating_add(usize::try_from(span.len).ok()?);
            (from < piece.len()).then(|| piece.slice(from..to.min(piece.len())))
        });
        found.ok_or_else(gone)
    }

    /// The bytes of `span` are not needed any more; to be said once of each byte.
    pub(crate) fn let_go(&self, span: ByteSpan) {
        let mut held = self.held();
        held.blocks.retain(|begins, block| {
            let len = block.len;
            let from = span.offset.max(*begins);
            block.let_go += span.end().min(begins + len).saturating_sub(from);
            block.let_go < len
        });
    }

    fn keep(&self, begins: u64, block: HeldBlock, has_ended: bool) {
        let mut held = self.held();
        held.len = begins + block.len;
        held.has_ended = has_ended;
        if block.len > 0 {
            held.blocks.insert(begins, block);
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
    async fn fill(&mut self, begins: u64, wanted: u64, pool: &Pool) -> Result<bool, Failure> {
        let Some(block) = &mut self.filling else {
            return Ok(false);
        };
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        while block.len < wanted {
            let room = block.room(wanted - block.len, pool);
            let taken = room.len().min(self.rest.len());
            if taken > 0 {
                room[..taken].copy_from_slice(&self.rest.split_to(taken));
                block.len += taken;
                continue;
            }
            // A stream that is always ready, with empty pieces for ever, must not keep the thread.
            consume_budget().await;
            let more = AssertUnwindSafe(self.supply.more(room)).catch_unwind();
            let came = more.await.unwrap_or_else(|_| Err("it panicked".into()));
            match came {
                Ok(More::Read(len)) => block.len += len,
                Ok(More::Rest(bytes)) => self.rest = bytes,
                Ok(More::End) => return Ok(true),
                Err(why) => {
                    let at = begins + block.len as u64;
                    return Err(failure(format!(
                        "the stream failed after {at} bytes: {why}"
                    )));
                }
            }
        }
        Ok(false)
    }
}

/// What a supply gave.
enum More {
    /// So many bytes, read into the room.
    Read(usize),
    /// Bytes, still to be put there.
    Rest(Bytes),
    /// Nothing more.
    End,
}

impl Supply {
    /// Gets more: into `room`, which is not empty, or in a piece of its own.
    async fn more(&mut self, room: &mut [u8]) -> Result<More, StreamError> {
        match self {
            Self::Reader(reader) => match reader.read(room).await? {
                0 => Ok(More::End),
                len => Ok(More::Read(len)),
            },
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
