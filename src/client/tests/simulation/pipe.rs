//! The pipe behaves like TCP where an uploader could tell the difference.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::client::tests::simulation::flow::Flow;
use crate::client::tests::simulation::line::{Line, Way};
use crate::client::tests::simulation::link::{ClientEnd, Link, PipeGauge, ServerEnd};
use crate::clock;
use crate::devserver::socket::Socket;
use crate::transport::wire::Gauge;

const MS: Duration = Duration::from_millis(1);

/// A connection in the hands of both sides.
struct Pair {
    client: ClientEnd,
    server: Socket,
    gauge: PipeGauge,
    line: Arc<Mutex<Line>>,
}

/// A line of 8 Mbit/s, a byte per microsecond, with 100 ms for a round trip; buffers of 10 and 20 kB.
fn pair(adjust: impl Fn(&mut Flow)) -> Pair {
    let line = Arc::new(Mutex::new(Line::new(8_000_000, 100 * MS)));
    let link = Link::new(&line, |way| {
        let mut flow = Flow::new(way, 10_000, 20_000);
        adjust(&mut flow);
        flow
    });
    Pair {
        client: ClientEnd(Arc::clone(&link)),
        server: Socket::over(Arc::new(ServerEnd(Arc::clone(&link)))),
        gauge: PipeGauge(link),
        line,
    }
}

/// Bytes go both ways at the line's pace, in order, with half a round trip on the way, and each side
/// can say its last word on its own.
#[tokio::test(start_paused = true)]
async fn carries_both_ways() {
    let Pair {
        mut client,
        mut server,
        gauge,
        ..
    } = pair(|flow| {
        flow.unacknowledged_max = 1 << 20;
        flow.unread_max = 1 << 20;
    });
    let began = clock::instant();
    let sent: Vec<u8> = (0..100_000_u32).map(|index| (index % 251) as u8).collect();
    let client_side = async {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let server_side = async {
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        received
    };
    let (answer, received) = tokio::join!(client_side, server_side);
    assert_eq!(answer, b"answer");
    assert!(received == sent, "the line changed the bytes");
    // 100 ms of sending and a round trip for the answer.
    let took = clock::instant() - began;
    assert!(took >= 200 * MS && took < 250 * MS, "{took:?}");
    assert_eq!((gauge.written(), gauge.acknowledged()), (100_000, 100_000));
}

/// A sender holds what is not acknowledged, and no more than its buffer; an acknowledgement takes a
/// round trip.
#[tokio::test(start_paused = true)]
async fn acknowledges_after_a_round_trip() {
    let Pair {
        mut client,
        mut server,
        gauge,
        ..
    } = pair(|_| {});
    assert_eq!(client.write(&[0; 15_000]).await.unwrap(), 10_000);
    let more = timeout(50 * MS, client.write(&[0; 1])).await;
    assert!(more.is_err(), "the buffer is full");
    assert_eq!((gauge.written(), gauge.acknowledged()), (10_000, 0));
    sleep(100 * MS).await;
    assert_eq!(gauge.acknowledged(), 10_000);
    assert!(gauge.peer_reads());
    assert_eq!(client.write(&[0; 15_000]).await.unwrap(), 10_000);
    sleep(200 * MS).await;
    // Taken by the other kernel, read by nobody: its window is closed.
    assert_eq!(gauge.acknowledged(), 20_000);
    assert!(!gauge.peer_reads());
    assert_eq!(client.write(&[0; 15_000]).await.unwrap(), 10_000);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(gauge.acknowledged(), 20_000);
    server.read_exact(&mut [0; 30_000]).await.unwrap();
    sleep(200 * MS).await;
    assert_eq!(gauge.acknowledged(), 30_000);
}

/// A reset is seen by the other side half a round trip later, with or without what it had not read;
/// then nothing can be written.
#[tokio::test(start_paused = true)]
async fn resets() {
    for drops in [false, true] {
        let Pair {
            mut client,
            mut server,
            ..
        } = pair(|flow| flow.reset_drops_unread = drops);
        server.write_all(b"answer").await.unwrap();
        sleep(200 * MS).await;
        server.reset_on_close();
        drop(server);
        client.write_all(b"more").await.unwrap();
        sleep(60 * MS).await;
        let written = client.write_all(b"more").await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let mut answer = Vec::new();
        let read = client.read_to_end(&mut answer).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let expected: &[u8] = if drops { b"" } else { b"answer" };
        assert_eq!(answer, expected);
    }
}

/// Who writes to a side that has closed is told by a reset, after the answer that was already there.
#[tokio::test(start_paused = true)]
async fn writing_to_the_closed() {
    let Pair {
        mut client,
        mut server,
        ..
    } = pair(|_| {});
    server.write_all(b"no").await.unwrap();
    drop(server);
    sleep(100 * MS).await;
    client.write_all(b"more").await.unwrap();
    sleep(200 * MS).await;
    assert_eq!(
        client.write(b"x").await.unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
    let mut two = [0; 2];
    client.read_exact(&mut two).await.unwrap();
    assert_eq!(&two, b"no");
}

/// From a moment on nothing arrives any more; the buffer still fills, and nobody is told.
#[tokio::test(start_paused = true)]
async fn black_holes() {
    for (up, down) in [(true, false), (false, true), (true, true)] {
        let Pair {
            mut client,
            mut server,
            gauge,
            ..
        } = pair(|flow| {
            let holed = match flow.way() {
                Way::Up => up,
                Way::Down => down,
            };
            flow.hole_at = holed.then_some(0);
        });
        client.write_all(&[0; 10_000]).await.unwrap();
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(gauge.acknowledged(), 0, "up {up}, down {down}");
        let full = timeout(MS, client.write(b"x")).await;
        assert!(full.is_err(), "up {up}, down {down}");
        let mut piece = [0; 10_000];
        let read = timeout(MS, server.read_exact(&mut piece)).await;
        assert_eq!(read.is_ok(), !up);
        drop(client);
        let end = timeout(Duration::from_secs(3600), server.read(&mut piece)).await;
        assert_eq!(end.is_ok(), !up, "a goodbye is swallowed too");
    }
}

/// The line stands still for a while; what was under way and what waits arrive afterwards.
#[tokio::test(start_paused = true)]
async fn outages() {
    let Pair {
        mut client,
        mut server,
        line,
        ..
    } = pair(|_| {});
    let began = clock::instant();
    line.lock().unwrap().outages = vec![(began + 20 * MS, began + 5000 * MS)];
    client.write_all(b"early").await.unwrap();
    sleep(30 * MS).await;
    client.write_all(b"late").await.unwrap();
    let mut received = [0; 9];
    server.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"earlylate");
    let took = clock::instant() - began;
    assert!(took >= 5000 * MS && took < 5200 * MS, "{took:?}");
}

/// A killed connection is over for its holder at once and for the other side soon; what was queued
/// does not go out.
#[tokio::test(start_paused = true)]
async fn kills() {
    let Pair {
        mut client,
        mut server,
        gauge,
        ..
    } = pair(|_| {});
    client.write_all(&[0; 10_000]).await.unwrap();
    gauge.kill();
    assert!(client.write(b"x").await.is_err());
    assert!(client.read(&mut [0; 1]).await.is_err());
    let read = server.read(&mut [0; 10_000]).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// Somebody who does not read hears that the other side is gone.
#[tokio::test(start_paused = true)]
async fn hears_of_the_end_without_reading() {
    let Pair { client, server, .. } = pair(|_| {});
    let early = timeout(Duration::from_secs(3600), server.gone()).await;
    assert!(early.is_err());
    drop(client);
    server.gone().await;
}
