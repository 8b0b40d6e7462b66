//! The bandwidth limit: its arithmetic, with time as a number; and streams under it, in virtual time.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{sleep, timeout};

use super::{OK, listen, read_request, send, source, transport, upload};
use crate::clock;
use crate::transport::limit::{Bucket, Limited, Limiter};
use crate::transport::{Flight, Reuse};

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// More than any row gets.
const ENDLESS: u64 = 1 << 40;

fn bucket(rate_bytes_per_s: u64, now: Instant) -> Bucket {
    let mut bucket = Bucket::default();
    bucket.set_rate(rate_bytes_per_s, now);
    bucket
}

fn take(bucket: &mut Bucket, ticket: u64, wanted: u64, now: Instant) -> Result<u64, Instant> {
    bucket.take(ticket, wanted, now, Waker::noop())
}

/// What each of `count` writers got in a minute, and the longest that one waited for its turn. Each
/// asks again when it was told to, `late` at that.
fn a_minute(
    bucket: &mut Bucket,
    count: u64,
    from: Instant,
    late: Duration,
) -> (Vec<u64>, Duration) {
    let mut taken = vec![0; usize::try_from(count).unwrap()];
    let mut asks: BTreeMap<(Instant, u64), Instant> =
        (0..count).map(|ticket| ((from, ticket), from)).collect();
    let mut longest = Duration::ZERO;
    while let Some(((now, ticket), since)) = asks.pop_first() {
        if now >= from + MINUTE {
            break;
        }
        match take(bucket, ticket, ENDLESS, now) {
            Ok(len) => {
                taken[usize::try_from(ticket).unwrap()] += len;
                longest = longest.max(now - since);
                // It asks again at once, after all who ask in the same moment.
                let now = now + Duration::from_nanos(1);
                asks.insert((now, ticket), now);
            }
            Err(at) => {
                assert!(at > now);
                asks.insert((at + late, ticket), since);
            }
        }
    }
    (taken, longest)
}

/// At every rate a minute brings a minute's bytes, within a piece; timers that are a little late cost
/// nothing.
#[test]
fn keeps_the_rate() {
    let now = clock::instant();
    let rows = [
        (1, 256),
        (100, 256),
        (1_000, 256),
        (4_000, 1_000),
        (8_000, 1_400),
        (100_000, 5_000),
        (50_000_000, 256 * 1024),
    ];
    for (rate, piece) in rows {
        for late in [Duration::ZERO, MS, 20 * MS] {
            for count in [1, 3] {
                let mut bucket = bucket(rate, now);
                let (taken, _) = a_minute(&mut bucket, count, now, late);
                let taken: u64 = taken.iter().sum();
                // What was saved up when it began, and what the last timers did not bring any more.
                let slack = count * piece + rate / 20 + rate * late.as_millis() as u64 / 1000;
                assert!(
                    taken.abs_diff(rate * 60) <= slack,
                    "{taken} bytes at {rate} by {count}, {late:?} late"
                );
            }
        }
    }
}

/// Sixteen lanes at 8 KB/s all get the same, and nobody waits for more than a piece of each other.
#[test]
fn nobody_starves() {
    let now = clock::instant();
    let mut bucket = bucket(8_000, now);
    let (taken, longest) = a_minute(&mut bucket, 16, now, MS);
    let (least, most) = (taken.iter().min().unwrap(), taken.iter().max().unwrap());
    assert!(most - least <= 1_400, "{taken:?}");
    // 16 pieces of 1400 bytes at 8 bytes a millisecond.
    assert!(longest <= 16 * 175 * MS + 20 * MS, "{longest:?}");
    // A head that comes now waits for them too, and no longer.
    let now = now + MINUTE + MS;
    let at = take(&mut bucket, 99, 300, now).unwrap_err();
    assert!(at <= now + 16 * 175 * MS, "{:?}", at - now);
}

/// Nobody gets more than it wants or than a piece; what is saved up in idle time is one piece.
#[test]
fn no_more_than_asked_for() {
    let now = clock::instant();
    let rows = [
        // The rate, what is wanted, what is given at once, what at once again.
        (8_000, 300, Some(300), Some(300)),
        (8_000, ENDLESS, Some(1_400), None),
        (8_000, 1_400, Some(1_400), None),
        (100, ENDLESS, Some(256), None),
        // A twentieth of a second in pieces.
        (1_000_000_000, ENDLESS, Some(256 * 1024), Some(256 * 1024)),
    ];
    for (rate, wanted, first, second) in rows {
        for idle in [Duration::ZERO, Duration::from_secs(3600)] {
            let mut bucket = bucket(rate, now);
            // An hour's worth is not saved up.
            take(&mut bucket, 1, 1, now).unwrap();
            let now = now + idle + 10 * MS;
            bucket.give_back(1);
            let row = format!("{rate} {wanted} after {idle:?}");
            assert_eq!(take(&mut bucket, 1, wanted, now).ok(), first, "{row}");
            assert_eq!(take(&mut bucket, 2, wanted, now).ok(), second, "{row}");
        }
    }
}

/// What was not written after all goes to whoever is next.
#[test]
fn what_was_not_written_is_given_back() {
    let now = clock::instant();
    let mut bucket = bucket(8_000, now);
    assert_eq!(take(&mut bucket, 1, ENDLESS, now), Ok(1_400));
    bucket.give_back(1_000);
    assert_eq!(take(&mut bucket, 2, 1_000, now), Ok(1_000));
    assert_eq!(take(&mut bucket, 2, 8, now), Err(now + MS));
}

/// One that waits and never comes keeps its piece from the others, once; they get the whole rate.
#[test]
fn who_never_comes_holds_nobody_up() {
    let now = clock::instant();
    let mut bucket = bucket(8_000, now);
    assert_eq!(take(&mut bucket, 1, ENDLESS, now), Ok(1_400));
    assert!(take(&mut bucket, 77, ENDLESS, now).is_err());
    let (taken, _) = a_minute(&mut bucket, 2, now, MS);
    let taken: u64 = taken.iter().sum();
    assert!(taken.abs_diff(480_000) <= 4 * 1_400, "{taken}");
}

/// Counts how often it was woken.
#[derive(Default)]
struct Counter(AtomicU64);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whoever waits when the rate changes, or when somebody before it leaves, is told to ask again, and
/// stands where it stood.
#[test]
fn changes_reach_those_who_wait() {
    let start = clock::instant();
    let counters: [Arc<Counter>; 3] = Default::default();
    let wakers = counters.clone().map(Waker::from);
    let woken = || {
        counters
            .each_ref()
            .map(|it| it.0.swap(0, Ordering::Relaxed))
    };
    let wake_all = |wakers: Vec<Waker>| wakers.into_iter().for_each(Waker::wake);
    let mut bucket = bucket(100, start);
    take(&mut bucket, 9, ENDLESS, start).unwrap();
    let ask = |bucket: &mut Bucket, now: Instant| {
        let asked = wakers.iter().zip(0..);
        let asked = asked.map(|(waker, ticket)| bucket.take(ticket, ENDLESS, now, waker));
        asked
            .map(|turn| turn.map_err(|at| (at - start).as_millis()))
            .collect::<Vec<_>>()
    };
    let waits = |millis: [u128; 3]| millis.map(Err).to_vec();
    assert_eq!(ask(&mut bucket, start), waits([2_560, 5_120, 7_680]));
    // Eighty times as fast: pieces are larger, and what came in a second stays.
    let second = start + 1_000 * MS;
    wake_all(bucket.set_rate(8_000, second));
    assert_eq!(woken(), [1, 1, 1]);
    let waits_longer = ask(&mut bucket, second);
    assert_eq!(waits_longer, waits([1_162, 1_337, 1_512]));
    // The second one leaves: the third one's turn comes earlier.
    wake_all(bucket.leave(1));
    assert_eq!(woken(), [0, 0, 1]);
    assert_eq!(
        take(&mut bucket, 2, ENDLESS, second),
        Err(start + Duration::from_micros(1_337_500))
    );
    assert!(bucket.leave(1).is_empty(), "it has left");
    // As slow as before: from now on.
    wake_all(bucket.set_rate(100, second));
    assert_eq!(
        take(&mut bucket, 0, ENDLESS, second),
        Err(start + 2_560 * MS)
    );
}

/// What was written to it, and when the last of it; full while it is told to be.
#[derive(Clone, Default)]
struct Sink {
    written: Arc<Mutex<Vec<u8>>>,
    is_full: Arc<AtomicBool>,
}

impl AsyncRead for Sink {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Sink {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_full.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        self.written.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = self.written.lock().unwrap();
        pieces
            .iter()
            .for_each(|piece| written.extend_from_slice(piece));
        Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn limiter(rate_bytes_per_s: u64) -> Arc<Limiter> {
    let limiter = Arc::new(Limiter::default());
    limiter.set_rate(Some(rate_bytes_per_s), clock::instant());
    limiter
}

/// A stream under `limiter`, and where its bytes go.
fn limited(limiter: &Arc<Limiter>) -> (Limited, Sink) {
    let sink = Sink::default();
    (Limited::new(Box::new(sink.clone()), limiter), sink)
}

/// Four streams at 8 KB/s write 480 KB in a minute, in order, each its share; as one piece or as many.
#[tokio::test(start_paused = true)]
async fn streams_share_the_rate() {
    for is_vectored in [false, true] {
        let limiter = limiter(8_000);
        let began = clock::instant();
        let streams = (0..4).map(|_| {
            let (mut stream, sink) = limited(&limiter);
            tokio::spawn(async move {
                let bytes: Vec<u8> = (0..120_000_u32).map(|at| (at % 251) as u8).collect();
                if is_vectored {
                    let mut done = 0;
                    while done < bytes.len() {
                        let (head, body) =
                            bytes[done..].split_at(bytes.len().min(done + 500) - done);
                        let pieces = [IoSlice::new(head), IoSlice::new(body)];
                        done += stream.write_vectored(&pieces).await.unwrap();
                    }
                } else {
                    stream.write_all(&bytes).await.unwrap();
                }
                assert!(*sink.written.lock().unwrap() == bytes, "other bytes");
                clock::instant() - began
            })
        });
        for stream in streams.collect::<Vec<_>>() {
            let took = stream.await.unwrap();
            let percent = took.as_millis() / 600;
            assert!(
                (98..=100).contains(&percent),
                "{took:?}, vectored: {is_vectored}"
            );
        }
    }
}

/// A limit that changes holds at once, also for who waits under the old one; without one nobody waits.
#[tokio::test(start_paused = true)]
async fn a_limit_changes_under_way() {
    let limiter = limiter(1);
    let (mut stream, _) = limited(&limiter);
    let waits = stream.waits();
    let began = clock::instant();
    let writing = tokio::spawn(async move {
        stream.write_all(&[0; 100_000]).await.unwrap();
        clock::instant() - began
    });
    sleep(10 * MS).await;
    assert!(waits.load(Ordering::Relaxed));
    limiter.set_rate(Some(10_000), clock::instant());
    sleep(5_000 * MS).await;
    assert!(waits.load(Ordering::Relaxed));
    limiter.set_rate(None, clock::instant());
    let took = writing.await.unwrap();
    assert!(took < 5_020 * MS, "{took:?}");
    assert!(!waits.load(Ordering::Relaxed));
}

/// An early answer, while most of the body waits for its turn in our own buffers: that was not sent, and
/// the next request does not wait behind it.
#[tokio::test]
async fn an_early_answer_leaves_nothing_behind() {
    let (listener, endpoint) = listen().await;
    let peer = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        first.read_exact(&mut [0; 200]).await.unwrap();
        first.write_all(OK).await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        read_request(&mut second).await;
        second.write_all(OK).await.unwrap();
    });
    let transport = transport();
    // A piece of 256 bytes at once, and another in an hour.
    transport.limiter().set_rate(Some(1), clock::instant());
    let flight = Flight::new();
    let sent = transport.send(
        &endpoint,
        upload(200_000),
        Some(source(200_000)),
        Reuse::Any,
        &flight,
    );
    sent.await.unwrap();
    assert!(flight.sample().acknowledged_bytes < 256);
    transport.limiter().set_rate(None, clock::instant());
    send(&transport, &endpoint, 0).await.unwrap();
    peer.await.unwrap();
}

/// Who is dropped while it waits leaves its place to the next; a stream that takes nothing does not
/// wait for the limit, and uses none of it.
#[tokio::test(start_paused = true)]
async fn who_cannot_write_uses_nothing() {
    let limiter = limiter(100);
    let (mut full, sink) = limited(&limiter);
    sink.is_full.store(true, Ordering::Relaxed);
    assert!(timeout(60_000 * MS, full.write(&[0; 1_000])).await.is_err());
    assert!(
        !full.waits().load(Ordering::Relaxed),
        "it waits for its sink"
    );
    let began = clock::instant();
    let (mut stream, _) = limited(&limiter);
    assert_eq!(stream.write(&[0; 1_000]).await.unwrap(), 256);
    assert_eq!(clock::instant(), began);
    let (mut gone, _) = limited(&limiter);
    assert!(timeout(MS, gone.write(&[0; 1_000])).await.is_err());
    drop(gone);
    assert_eq!(stream.write(&[0; 1_000]).await.unwrap(), 256);
    let took = clock::instant() - began;
    assert!(took <= 2_562 * MS, "{took:?}");
}
