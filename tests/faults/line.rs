//! The line: what it cannot do faster, and who shares it. Only lower bounds: machines may be slow.

use std::time::Duration;

use tokio::time::Instant;

use haul::devserver::{DevServer, Fault, Operation};

use crate::client::{Raw, Seen, form, mkblk, start, stored};

/// 100 kB at 1 Mbit/s are 0.8 s, whether one connection carries them or two share the line, and
/// in both directions; the bytes are the same.
#[tokio::test]
async fn the_rate_is_shared_and_kept() {
    let rate = "1mbit".parse().expect("a rate");
    let server = start(DevServer::builder().rate(rate)).await;
    let least = Duration::from_millis(600);
    let data: Vec<u8> = (0..100_000_u32).map(|index| (index % 251) as u8).collect();

    let started = Instant::now();
    let (head, body) = form(&server, "k", &data);
    assert_eq!(
        Raw::to(server.url())
            .await
            .answer(&head, &body)
            .await
            .status(),
        200
    );
    assert!(
        started.elapsed() >= least,
        "one connection: {:?}",
        started.elapsed()
    );

    let started = Instant::now();
    let half = async {
        let mut raw = Raw::to(server.url()).await;
        raw.answer(&mkblk(&server, 50_000), &data[..50_000])
            .await
            .status()
    };
    let other_half = async {
        let mut raw = Raw::to(server.url()).await;
        raw.answer(&mkblk(&server, 50_000), &data[50_000..])
            .await
            .status()
    };
    assert_eq!(tokio::join!(half, other_half), (200, 200));
    assert!(
        started.elapsed() >= least,
        "two connections: {:?}",
        started.elapsed()
    );

    let started = Instant::now();
    assert!(
        stored(&server, "k")
            .await
            .is_some_and(|bytes| bytes == data)
    );
    assert!(started.elapsed() >= least, "down: {:?}", started.elapsed());
    server.stop().await;
}

/// A client's writes go no faster than the line: what the server's side has taken is what has passed,
/// but for a fraction of a second.
#[tokio::test]
async fn the_client_feels_the_line() {
    let rate = "8mbit".parse().expect("a rate");
    let server = start(DevServer::builder().rate(rate)).await;
    let mut raw = Raw::to(server.url()).await;
    socket2::SockRef::from(&raw.0)
        .set_send_buffer_size(32 * 1024)
        .expect("a small buffer");
    let started = Instant::now();
    // 2 MB at 1 MB/s; the buffers of both ends hold at most 1 s of it.
    let len = 2_000_000;
    let head = format!(
        "{}Host: d\r\nContent-Length: {len}\r\n\r\n",
        mkblk(&server, len)
    );
    let write = async {
        use tokio::io::AsyncWriteExt as _;
        raw.0.write_all(head.as_bytes()).await.expect("the head");
        raw.0.write_all(&vec![0; len]).await.expect("the body");
    };
    write.await;
    assert!(
        started.elapsed() >= Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    server.stop().await;
}

/// A round trip is the least that a request takes.
#[tokio::test]
async fn latency() {
    let latency = Duration::from_millis(200);
    let server = start(DevServer::builder().latency(latency)).await;
    let mut raw = Raw::to(server.url()).await;
    for _ in 0..2 {
        let started = Instant::now();
        assert_eq!(raw.answer(&mkblk(&server, 1), b"x").await.status(), 200);
        assert!(started.elapsed() >= latency);
    }
    server.stop().await;
}

/// Faults look the same at the end of a line: RST, FIN, and every byte before a cut.
#[tokio::test]
async fn faults_on_the_line() {
    let rate = "8mbit".parse().expect("a rate");
    let latency = Duration::from_millis(20);
    let plan = r#"
        [[fault]]
        operation = "mkblk"
        nth = 1
        reset = { after_body_bytes = 5000 }

        [[fault]]
        operation = "mkblk"
        nth = 2
        lose_answer = "close"

        [[fault]]
        operation = "form"
        cut_answer = 3
    "#;
    let plan = plan.parse().expect("a plan");
    let server = start(
        DevServer::builder()
            .rate(rate)
            .latency(latency)
            .faults(plan),
    )
    .await;
    let head = mkblk(&server, 10_000);
    let body = vec![1; 10_000];
    assert_eq!(
        Raw::to(server.url()).await.ask(&head, &body).await,
        Seen::Reset
    );
    let closed = Raw::to(server.url()).await.ask(&head, &body).await;
    assert_eq!(closed, Seen::Closed { bytes: Vec::new() });
    let (head, body) = form(&server, "k", b"hello");
    let Seen::Closed { bytes } = Raw::to(server.url()).await.ask(&head, &body).await else {
        panic!("a cut answer ends the connection");
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!(
        text.split_once("\r\n\r\n").map(|(_, body)| body.len()),
        Some(3),
        "{text}"
    );
    server.stop().await;
}

/// A fault that stops reading is felt through the line's pipe as well.
#[tokio::test]
async fn reading_stops_on_the_line() {
    let pause = Duration::from_millis(300);
    let fault = Fault {
        stop_reading: Some(haul::devserver::StopReading {
            after_bytes: 100,
            pause,
        }),
        ..Fault::default()
    };
    let plan = haul::devserver::FaultPlan {
        faults: vec![fault],
        ..Default::default()
    };
    let rate = "8mbit".parse().expect("a rate");
    let server = start(DevServer::builder().rate(rate).faults(plan)).await;
    let started = Instant::now();
    let answer = Raw::to(server.url())
        .await
        .answer(&mkblk(&server, 9_000), &[1; 9_000])
        .await;
    assert_eq!(answer.status(), 200);
    assert!(started.elapsed() >= pause);
    assert_eq!(server.requests().of(Operation::Mkblk).body_bytes, 9_000);
    server.stop().await;
}
