//! The line: one rate and one round-trip time, shared by all connections of the server.
//!
//! A connection on such a line is a socket, an in-memory pipe, and two pumps between them. Each
//! direction carries its bytes one after the other, whosever they are, as a real line does; then they
//! are under way for half a round trip. Without rate and latency there is no pipe and no cost.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};

use crate::clock;
use crate::devserver::rate::{Pace, Rate};

/// How much of the line's time one piece takes: the grain in which connections take turns.
const GRAIN: Duration = Duration::from_millis(10);

/// Bounds of a piece in bytes: below the first, timers cost more than the line; the second keeps
/// turns fair on fast lines.
const PIECE_LEN: (u64, u64) = (512, 16 * 1024);

/// How much of the line's time the buffers at its ends hold. A client judges a line by what the
/// server's kernel has taken, so that must be close to what has passed.
const BUFFERED: Duration = Duration::from_millis(250);

/// Bounds of such a buffer in bytes. Kernels round smaller ones up; larger ones gain nothing.
const BUFFER_LEN: (u64, u64) = (4 * 1024, 256 * 1024);

/// Most bytes under way in one direction of one connection on a line with latency but no rate.
const UNDER_WAY_LEN_MAX: u64 = 4 * 1024 * 1024;

/// The line all connections share.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Per direction; none = as fast as the machine.
    rate: Option<Rate>,
    /// A round trip; half of it each way.
    latency: Duration,
    /// Towards the server.
    up: Mutex<Pace>,
    /// Towards the client.
    down: Mutex<Pace>,
}

impl Line {
    /// A line of `rate` per direction and `latency` per round trip.
    pub(crate) fn new(rate: Option<Rate>, latency: Duration) -> Self {
        Self {
            rate,
            latency,
            ..Self::default()
        }
    }

    /// Whether connections need no pumps.
    pub(crate) fn is_plain(&self) -> bool {
        self.rate.is_none() && self.latency.is_zero()
    }

    /// How much the receive buffer of an accepted socket, and the pipe behind it, should hold.
    /// `None`: whatever the kernel likes.
    pub(crate) fn buffer_len(&self) -> Option<usize> {
        let (min, max) = BUFFER_LEN;
        let len = self.rate?.bytes_in(BUFFERED).clamp(min, max);
        usize::try_from(len).ok()
    }

    /// Carries bytes between a socket's halves and a pipe's until the pipe's side is done and all of
    /// its bytes are with the socket, or the socket fails.
    pub(crate) async fn carry(
        &self,
        socket: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
        pipe: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        // A handshake would have cost the client one round trip before its first byte; the kernel's
        // took nothing, so the first bytes come that much later.
        let inbound = self.pump(&self.up, socket.0, pipe.1, self.latency);
        let outbound = self.pump(&self.down, pipe.0, socket.1, Duration::ZERO);
        tokio::pin!(inbound, outbound);
        tokio::select! {
            ended = &mut outbound => return ended,
            ended = &mut inbound => match ended {
                // The client has sent all it will, or the server reads no more: answers still go out.
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) => return Err(error),
            },
        }
        outbound.await
    }

    /// One direction: at the line's pace, then under way for half a round trip.
    async fn pump(
        &self,
        pace: &Mutex<Pace>,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
        silence: Duration,
    ) -> io::Result<()> {
        let (sender, under_way) = mpsc::channel(self.pieces_under_way());
        let enter = async {
            sleep(silence).await;
            self.enter(pace, from, sender).await
        };
        tokio::try_join!(enter, leave(under_way, to)).map(|_| ())
    }

    /// Takes bytes as fast as the line does. Ends, and drops `sender`, at the end of `from`.
    async fn enter(
        &self,
        pace: &Mutex<Pace>,
        mut from: impl AsyncRead + Unpin,
        sender: mpsc::Sender<Piece>,
    ) -> io::Result<()> {
        let piece_len = self.piece_len();
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(piece_len);
            let mut next = (&mut from).take(piece_len as u64);
            if next.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            let bytes = buffer.split().freeze();
            let passed = self.pass(pace, clock::instant(), bytes.len() as u64);
            sleep_until(passed.into()).await;
            let due = passed + self.latency / 2;
            if sender.send(Piece { due, bytes }).await.is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    }

    /// When `len` bytes that come at `now` have passed.
    fn pass(&self, pace: &Mutex<Pace>, now: Instant, len: u64) -> Instant {
        match self.rate {
            None => now,
            // The arithmetic cannot panic half-way, so a poisoned lock holds a sound value.
            Some(rate) => pace
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pass(rate, now, len),
        }
    }

    fn piece_len(&self) -> usize {
        let (min, max) = PIECE_LEN;
        let len = self
            .rate
            .map_or(max, |rate| rate.bytes_in(GRAIN).clamp(min, max));
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    /// Enough pieces to fill half a round trip, and a few more so that the line never starves.
    fn pieces_under_way(&self) -> usize {
        let bytes = self
            .rate
            .map_or(UNDER_WAY_LEN_MAX, |rate| rate.bytes_in(self.latency / 2));
        let pieces = bytes.min(UNDER_WAY_LEN_MAX) / self.piece_len() as u64;
        usize::try_from(pieces).unwrap_or(usize::MAX) + 4
    }
}

/// Bytes under way.
struct Piece {
    /// When they arrive.
    due: Instant,
    bytes: Bytes,
}

/// Hands bytes over as they arrive, then the end.
async fn leave(
    mut under_way: mpsc::Receiver<Piece>,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(piece) = under_way.recv().await {
        sleep_until(piece.due.into()).await;
        to.write_all(&piece.bytes).await?;
        to.flush().await?;
    }
    to.shutdown().await
}
