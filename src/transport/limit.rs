//! The bandwidth limit: so many bytes a second, shared by all connections of a transport.
//!
//! A token bucket that is drawn from in turns. Who wants to write stands in a queue and may take a
//! small piece when the bucket holds its own piece and those of all before it; then it stands at the
//! end again. So a request's head waits for one piece of each other connection at most, and sixteen
//! lanes get the same. Everybody knows the moment of its own turn and needs no one to be called:
//! one that never comes (its runtime stands still) keeps its piece from the others, but no more.
//!
//! The bytes are those that HTTP writes, heads and bodies; what TLS, TCP and IP put around them comes
//! on top. Reading is not limited.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use crate::clock;
use crate::transport::wire::Stream;

/// One piece is what the rate carries in this time, within the bounds below: often enough that
/// progress, which is looked at four times a second, seems even. As much may be saved up while nobody
/// writes, or while timers are late.
const PIECE_TIME: Duration = Duration::from_millis(50);

/// A piece that fills a packet, in bytes: just below what Ethernet leaves to TCP with its timestamps
/// and to a record of TLS. Smaller ones would spend a thin line on headers: with 400 bytes, 64 kbit/s
/// carry a tenth less.
const PACKET_LEN: u64 = 1400;

/// Unless a packet takes longer than this, the time between two looks at the progress.
const PACKET_TIME: Duration = Duration::from_millis(250);

/// Smallest piece, in bytes: with less, headers would outweigh what they carry.
const PIECE_LEN_MIN: u64 = 256;

/// Largest piece, in bytes: a write of so many costs the processor no more per byte than a longer one,
/// which would only let one connection get ahead of the others.
const PIECE_LEN_MAX: u64 = 256 * 1024;

/// The bucket counts in billionths of a byte: a whole number in every nanosecond, at every rate.
const NANO: u128 = 1_000_000_000;

/// A limit that may change at any time. Shared by everyone it is for.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// Bytes a second; 0 for no limit. Beside the lock: without a limit nobody takes that.
    rate: AtomicU64,
    bucket: Mutex<Bucket>,
    tickets: AtomicU64,
}

impl Limiter {
    /// Bytes a second; None for no limit.
    pub(crate) fn rate(&self) -> Option<u64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }

    /// Another rate from `now` on, also for those who wait. A rate of 0 is no limit.
    pub(crate) fn set_rate(&self, rate_bytes_per_s: Option<u64>, now: Instant) {
        let rate = rate_bytes_per_s.unwrap_or(0);
        let mut bucket = self.bucket();
        self.rate.store(rate, Ordering::Relaxed);
        let woken = bucket.set_rate(rate, now);
        drop(bucket);
        woken.into_iter().for_each(Waker::wake);
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The arithmetic. Time is an argument.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    rate_bytes_per_s: u64,
    /// What may be taken, in billionths of a byte, at the moment `filled`.
    level: u128,
    filled: Option<Instant>,
    /// Those who wait, in the order in which they came.
    queue: VecDeque<Waiting>,
}

/// Somebody who waits for a piece.
#[derive(Debug)]
struct Waiting {
    ticket: u64,
    len: u64,
    waker: Option<Waker>,
}

impl Bucket {
    /// Another rate; those who must ask again because of it. What was saved up stays, as far as the
    /// new rate may have it.
    pub(crate) fn set_rate(&mut self, rate_bytes_per_s: u64, now: Instant) -> Vec<Waker> {
        self.fill(now);
        if self.rate_bytes_per_s == 0 {
            // It begins with what would have been saved up.
            self.filled = None;
        }
        self.rate_bytes_per_s = rate_bytes_per_s;
        // Who asks again stands where it stood, with a piece of the new length.
        let piece_len = self.piece_len();
        for waiting in &mut self.queue {
            waiting.len = waiting.len.min(piece_len);
        }
        self.fill(now);
        self.queue
            .iter_mut()
            .filter_map(|it| it.waker.take())
            .collect()
    }

    /// Up to `wanted` bytes for `ticket`, at least one; or when to ask again. Then `waker` is woken
    /// if it is worth asking before.
    pub(crate) fn take(
        &mut self,
        ticket: u64,
        wanted: u64,
        now: Instant,
        waker: &Waker,
    ) -> Result<u64, Instant> {
        // Before it stands in the queue: idle time saves nothing up for who comes after it.
        self.fill(now);
        let len = wanted.min(self.piece_len());
        let place = self.queue.iter().position(|it| it.ticket == ticket);
        let place = place.unwrap_or_else(|| {
            self.queue.push_back(Waiting {
                ticket,
                len,
                waker: None,
            });
            self.queue.len() - 1
        });
        self.queue[place].len = len;
        let due = self.queue.iter().take(place + 1).map(|it| it.len);
        let due = u128::from(due.sum::<u64>()) * NANO;
        if self.level >= due {
            self.queue.remove(place);
            self.level -= u128::from(len) * NANO;
            return Ok(len);
        }
        self.queue[place].waker = Some(waker.clone());
        let nanos = (due - self.level).div_ceil(u128::from(self.rate_bytes_per_s.max(1)));
        Err(now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// `len` bytes that were taken were not written after all.
    pub(crate) fn give_back(&mut self, len: u64) {
        self.level += u128::from(len) * NANO;
    }

    /// `ticket` wants no more; those whose turn comes earlier because of it.
    pub(crate) fn leave(&mut self, ticket: u64) -> Vec<Waker> {
        let Some(place) = self.queue.iter().position(|it| it.ticket == ticket) else {
            return Vec::new();
        };
        self.queue.remove(place);
        let behind = self.queue.iter_mut().skip(place);
        behind.filter_map(|it| it.waker.take()).collect()
    }

    /// What one turn brings, in bytes.
    fn piece_len(&self) -> u64 {
        let in_packet_time = share(self.rate_bytes_per_s, PACKET_TIME);
        let least = PACKET_LEN.min(in_packet_time).max(PIECE_LEN_MIN);
        self.in_piece_time().clamp(least, PIECE_LEN_MAX)
    }

    fn in_piece_time(&self) -> u64 {
        share(self.rate_bytes_per_s, PIECE_TIME)
    }

    /// Everything that came in up to `now`. The bucket holds what those who wait are due, and no more
    /// than one piece, or its time, beyond.
    fn fill(&mut self, now: Instant) {
        let waited_for: u64 = self.queue.iter().map(|it| it.len).sum();
        let saved = self.piece_len().max(self.in_piece_time());
        let full = u128::from(waited_for + saved) * NANO;
        let Some(filled) = self.filled.replace(now.max(self.filled.unwrap_or(now))) else {
            self.level = full;
            return;
        };
        let passed = now.saturating_duration_since(filled).as_nanos();
        let come = passed.saturating_mul(u128::from(self.rate_bytes_per_s));
        self.level = self.level.saturating_add(come).min(full);
    }
}

/// What `rate_bytes_per_s` carries in `time`.
fn share(rate_bytes_per_s: u64, time: Duration) -> u64 {
    let share = u128::from(rate_bytes_per_s) * time.as_nanos() / NANO;
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// A stream whose writes keep to a limit.
pub(crate) struct Limited {
    stream: Box<dyn Stream>,
    limiter: Arc<Limiter>,
    ticket: u64,
    /// Whether it waits for its turn. Others see it.
    waits: Arc<AtomicBool>,
    /// When the turn comes; kept for the next wait.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Limited {
    /// `stream` under `limiter`.
    pub(crate) fn new(stream: Box<dyn Stream>, limiter: &Arc<Limiter>) -> Self {
        Self {
            stream,
            limiter: Arc::clone(limiter),
            ticket: limiter.tickets.fetch_add(1, Ordering::Relaxed),
            waits: Arc::default(),
            timer: None,
        }
    }

    /// Whether the stream waits for its turn, for whoever watches it.
    pub(crate) fn waits(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.waits)
    }

    /// How many of `wanted` bytes may be written now. Without a limit: all.
    fn poll_turn(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        if self.limiter.rate().is_none() || wanted == 0 {
            self.rest();
            return Poll::Ready(wanted);
        }
        loop {
            let now = clock::instant();
            let mut bucket = self.limiter.bucket();
            let turn = bucket.take(self.ticket, wanted as u64, now, context.waker());
            drop(bucket);
            let at = match turn {
                Ok(len) => {
                    self.waits.store(false, Ordering::Relaxed);
                    return Poll::Ready(usize::try_from(len).unwrap_or(wanted));
                }
                Err(at) => at.into(),
            };
            self.waits.store(true, Ordering::Relaxed);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            timer.as_mut().reset(at);
            ready!(timer.as_mut().poll(context));
        }
    }

    /// It wants to write nothing more for now.
    fn rest(&self) {
        if !self.waits.swap(false, Ordering::Relaxed) {
            return;
        }
        let woken = self.limiter.bucket().leave(self.ticket);
        woken.into_iter().for_each(Waker::wake);
    }

    /// What may be written and was not is there for others.
    fn settle(&self, len: usize, written: &Poll<io::Result<usize>>) {
        let used = match written {
            Poll::Ready(Ok(used)) => *used,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        if used < len && self.limiter.rate().is_some() {
            self.limiter.bucket().give_back((len - used) as u64);
        }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.rest();
    }
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let len = ready!(self.poll_turn(context, bytes.len()));
        let written = Pin::new(&mut self.stream).poll_write(context, &bytes[..len]);
        self.settle(len, &written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = pieces.iter().map(|piece| piece.len()).sum();
        let len = ready!(self.poll_turn(context, wanted));
        let stream = Pin::new(&mut self.stream);
        let written = match len < wanted {
            true => stream.poll_write_vectored(context, &first(pieces, len)),
            false => stream.poll_write_vectored(context, pieces),
        };
        self.settle(len, &written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.rest();
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The first `len` bytes of `pieces`.
fn first<'a>(pieces: &'a [IoSlice<'_>], mut len: usize) -> Vec<IoSlice<'a>> {
    let mut taken = Vec::new();
    for piece in pieces {
        let part = &piece[..piece.len().min(len)];
        len -= part.len();
        taken.push(IoSlice::new(part));
        if len == 0 {
            break;
        }
    }
    taken
}
