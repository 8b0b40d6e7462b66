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
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
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

/// Most bytes under way in one direction of one connection, so that many connections over a long
/// line stay affordable. 1 Gbit/s over 250 ms there and back fills it.
const UNDER_WAY_LEN_MAX: u64 = 16 * 1024 * 1024;

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
            biased;
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
        let room = Semaphore::new(self.under_way_len());
        // Bounded by the room.
        let (sender, under_way) = mpsc::unbounded_channel();
        let enter = async {
            sleep(silence).await;
            self.enter(pace, from, (&room, sender)).await
        };
        tokio::try_join!(enter, leave(under_way, to)).map(|_| ())
    }

    /// Takes bytes as fast as the line does, and as there is room for under way. Ends, and drops the
    /// sender, at the end of `from`.
    async fn enter<'a>(
        &self,
        pace: &Mutex<Pace>,
        mut from: impl AsyncRead + Unpin,
        (room, sender): (&'a Semaphore, mpsc::UnboundedSender<Piece<'a>>),
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
            until(passed).await;
            let due = passed + self.latency / 2;
            // Pieces are small; the semaphore is never closed.
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let place = room.acquire_many(len).await.map_err(io::Error::other)?;
            let piece = Piece { due, bytes, place };
            if sender.send(piece).is_err() {
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

    /// Enough to fill half a round trip, and a few pieces more so that the line never starves.
    fn under_way_len(&self) -> usize {
        let bytes = match self.rate {
            Some(rate) => rate.bytes_in(self.latency / 2).min(UNDER_WAY_LEN_MAX),
            None => UNDER_WAY_LEN_MAX,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX) + 4 * self.piece_len()
    }
}

/// Bytes under way.
struct Piece<'a> {
    /// When they arrive.
    due: Instant,
    bytes: Bytes,
    /// Their share of the room under way.
    place: SemaphorePermit<'a>,
}

/// Hands bytes over as they arrive, then the end.
async fn leave(
    mut under_way: mpsc::UnboundedReceiver<Piece<'_>>,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(piece) = under_way.recv().await {
        until(piece.due).await;
        to.write_all(&piece.bytes).await?;
        to.flush().await?;
        drop(piece.place);
    }
    to.shutdown().await
}

/// Waits for a moment. Not at all when it has come: Tokio's timer would round up to a millisecond, and
/// that for every piece.
async fn until(moment: Instant) {
    if moment > clock::instant() {
        sleep_until(moment.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex, split};

    use super::*;

    /// Both ends of a connection over `line`: the client's, and the server's behind the line.
    fn connect(line: &std::sync::Arc<Line>) -> (DuplexStream, DuplexStream) {
        let (client, socket) = duplex(4 * 1024);
        let (near, far) = duplex(4 * 1024);
        let line = std::sync::Arc::clone(line);
        tokio::spawn(async move { line.carry(split(socket), split(far)).await });
        (client, near)
    }

    /// How long it takes until `count` connections have each carried `len` bytes to the server.
    async fn duration_of(line: Line, count: usize, len: usize) -> Duration {
        let line = std::sync::Arc::new(line);
        let started = clock::instant();
        let carried = (0..count).map(|_| async {
            let (mut client, mut server) = connect(&line);
            let sent: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
            let send = async {
                client.write_all(&sent).await.expect("a line that carries");
                client.shutdown().await.expect("an end");
            };
            let mut received = Vec::new();
            let (read, ()) = tokio::join!(server.read_to_end(&mut received), send);
            read.expect("a line that carries");
            assert!(received == sent, "the line changed the bytes");
        });
        futures_util::future::join_all(carried).await;
        clock::instant() - started
    }

    /// In virtual time: the line takes what its rate and latency say, neither more nor less, and
    /// connections share it.
    #[tokio::test(start_paused = true)]
    async fn carries_at_its_pace() {
        let ms = Duration::from_millis;
        let rows = [
            // rate, round trip, connections, bytes of each, expected
            ("1mbit", ms(0), 1, 125_000, ms(1_000)),
            ("1mbit", ms(0), 4, 125_000, ms(4_000)),
            ("64kbit", ms(0), 1, 8_000, ms(1_000)),
            // A round trip for the handshake, and half of one under way.
            ("1mbit", ms(400), 1, 125_000, ms(1_600)),
            ("100mbit", ms(100), 1, 12_500_000, ms(1_150)),
        ];
        for (rate, latency, count, len, expected) in rows {
            let line = Line::new(rate.parse().ok(), latency);
            let took = duration_of(line, count, len).await;
            let story = format!("{count} x {len} bytes at {rate}, {latency:?}: {took:?}");
            assert!(
                took >= expected - ms(25) && took <= expected + ms(75),
                "{story}"
            );
        }
    }

    /// The server's answer goes out although the client has said its last word, and a client that is
    /// gone ends the line.
    #[tokio::test(start_paused = true)]
    async fn ends() {
        let line = std::sync::Arc::new(Line::new("1mbit".parse().ok(), Duration::from_millis(100)));
        let (mut client, mut server) = connect(&line);
        client.shutdown().await.expect("an end");
        assert_eq!(server.read(&mut [0; 8]).await.expect("an end"), 0);
        server
            .write_all(b"answer")
            .await
            .expect("a line that carries");
        drop(server);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("an answer");
        assert_eq!(answer, b"answer");
    }
}
