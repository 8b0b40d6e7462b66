//! The transport against a peer that is written out by hand, byte by byte.

mod endings;
mod limit;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::model::{Answer, Body, ByteSpan, Endpoint, Failure, FailureKind, Request};
use crate::network::{Proxies, TlsSetup};
use crate::transport::{
    ANSWER_LEN_MAX, CongestionControl, Flight, Internet, Reuse, SourceStream, Stale, Transport,
    Unanswered,
};

/// Longest wait for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

async fn listen() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, Endpoint::parse(&url, false).unwrap())
}

fn transport() -> Transport {
    let tls = TlsSetup::default().client_config().unwrap();
    let internet = Internet::new(
        Arc::new(tls),
        Proxies::default(),
        PATIENCE,
        PATIENCE,
        CongestionControl::Auto,
    );
    Transport::new(Arc::new(internet))
}

/// A request whose body is `len` bytes of a source.
fn upload(len: u64) -> Request {
    let body = Body::Source {
        before: Bytes::from_static(b"<"),
        span: ByteSpan::new(0, len),
        after: Bytes::from_static(b">"),
    };
    Request::new(Method::POST, "/a//b?c=d=").body(body)
}

/// `len` bytes in pieces of 100 000.
fn source(len: u64) -> SourceStream {
    let pieces = ByteSpan::new(0, len).pieces(100_000);
    let pieces: Vec<_> = pieces
        .map(|piece| Ok(Bytes::from(vec![b'x'; piece.len as usize])))
        .collect();
    Box::pin(stream::iter(pieces))
}

/// Reads one request: its head, and a body of `Content-Length`.
async fn read_request(peer: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let head_len = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        assert_ne!(peer.read_buf(&mut bytes).await.unwrap(), 0, "a whole head");
    };
    let head = String::from_utf8(bytes[..head_len].to_vec()).unwrap();
    let lower = head.to_lowercase();
    let len = lower.split("content-length: ").nth(1).unwrap();
    let len: usize = len.lines().next().unwrap().parse().unwrap();
    while bytes.len() < head_len + len {
        assert_ne!(peer.read_buf(&mut bytes).await.unwrap(), 0, "a whole body");
    }
    (head, bytes.split_off(head_len))
}

async fn send(transport: &Transport, endpoint: &Endpoint, len: u64) -> Result<Answer, Failure> {
    let ended = send_from(transport, endpoint, len, source(len)).await;
    ended.map_err(|unanswered| unanswered.failure)
}

async fn send_from(
    transport: &Transport,
    endpoint: &Endpoint,
    len: u64,
    source: SourceStream,
) -> Result<Answer, Unanswered> {
    let flight = Flight::new();
    let sent = transport.send(endpoint, upload(len), Some(source), Reuse::Any, &flight);
    tokio::time::timeout(PATIENCE, sent).await.expect("an end")
}

/// The target goes out as it is, the length is exact, and one connection carries two requests.
#[tokio::test]
async fn sends_exactly_and_keeps_the_connection() {
    let (listener, endpoint) = listen().await;
    let peer = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        for len in [300_001, 0] {
            let (head, body) = read_request(&mut peer).await;
            assert!(head.starts_with("POST /a//b?c=d= HTTP/1.1\r\n"), "{head}");
            assert_eq!(
                head.to_lowercase().matches("host: 127.0.0.1:").count(),
                1,
                "{head}"
            );
            assert_eq!(body.len(), len + 2);
            assert_eq!((body[0], body[len + 1]), (b'<', b'>'));
            peer.write_all(OK).await.unwrap();
        }
    });
    let transport = transport();
    for len in [300_001, 0] {
        let answer = send(&transport, &endpoint, len).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (200, &b"hi"[..])
        );
    }
    peer.await.unwrap();
}

/// A connection that the peer has closed meanwhile is not used again.
#[tokio::test]
async fn a_closed_connection_is_replaced() {
    let (listener, endpoint) = listen().await;
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    let peer = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        read_request(&mut first).await;
        first.write_all(OK).await.unwrap();
        drop(first);
        closed.send(()).unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        read_request(&mut second).await;
        second.write_all(OK).await.unwrap();
    });
    let transport = transport();
    send(&transport, &endpoint, 5).await.unwrap();
    is_closed.await.unwrap();
    // The end has been sent; it is seen when the runtime next polls the connection.
    let idle = &transport.idle;
    while idle.count() > 0 && idle.take(&endpoint, Reuse::Any).await.is_some() {
        tokio::task::yield_now().await;
    }
    send(&transport, &endpoint, 5).await.unwrap();
    peer.await.unwrap();
}

/// A connection that served before and breaks without an answer is called stale, a new one is not.
#[tokio::test]
async fn stale_connections_are_told() {
    let (listener, endpoint) = listen().await;
    let peer = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        read_request(&mut first).await;
        first.write_all(OK).await.unwrap();
        read_request(&mut first).await;
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        read_request(&mut second).await;
    });
    let transport = transport();
    send(&transport, &endpoint, 5).await.unwrap();
    for expected in [Stale::Sent, Stale::No] {
        let sent = send_from(&transport, &endpoint, 5, source(5)).await;
        let unanswered = sent.unwrap_err();
        assert_eq!(unanswered.stale, expected, "{}", unanswered.failure);
        assert_eq!(unanswered.failure.kind, FailureKind::Broken);
    }
    peer.await.unwrap();
}

/// An answer that comes before the body has been sent is the answer: the body is broken off.
#[tokio::test]
async fn an_early_answer_counts() {
    let (listener, endpoint) = listen().await;
    let peer = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        // Until the client goes away: it must not send all of it.
        let mut read = 0;
        let mut buffer = vec![0; 1 << 16];
        while let Ok(len @ 1..) = peer.read(&mut buffer).await {
            read += len as u64;
        }
        read
    });
    let len = 1 << 30;
    let transport = transport();
    let endless = Box::pin(stream::repeat_with(|| Ok(Bytes::from(vec![0; 1 << 18]))));
    let answer = send_from(&transport, &endpoint, len, endless).await;
    assert_eq!(answer.unwrap().status.as_u16(), 413);
    assert!(
        peer.await.unwrap() < len,
        "the rest of the body was not sent"
    );
}

/// Dropping the future closes the connection.
#[tokio::test]
async fn dropping_closes() {
    let (listener, endpoint) = listen().await;
    let transport = transport();
    let mut peer = {
        let sending = send_from(&transport, &endpoint, 5, source(5));
        tokio::select! {
            _ = sending => panic!("nobody answers"),
            peer = async {
                let (mut peer, _) = listener.accept().await.unwrap();
                read_request(&mut peer).await;
                peer
            } => peer,
        }
    };
    let end = tokio::time::timeout(PATIENCE, peer.read(&mut [0; 1])).await;
    assert!(matches!(end.expect("it ends"), Ok(0) | Err(_)));
}

/// Each way in which an exchange breaks, and what it is called.
#[tokio::test]
async fn what_breaks_is_told_apart() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        ANSWER_LEN_MAX + 1
    );
    let long = [long.into_bytes(), vec![b' '; ANSWER_LEN_MAX + 1]].concat();
    let rows: [(&str, Vec<u8>, FailureKind); 4] = [
        ("closed without an answer", Vec::new(), FailureKind::Broken),
        (
            "closed inside the answer",
            OK[..OK.len() - 1].to_vec(),
            FailureKind::Broken,
        ),
        (
            "no HTTP at all",
            b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(),
            FailureKind::Broken,
        ),
        ("an endless answer", long, FailureKind::NotKodo),
    ];
    for (story, answer, expected) in rows {
        let (listener, endpoint) = listen().await;
        let peer = tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            read_request(&mut peer).await;
            let _ = peer.write_all(&answer).await;
        });
        let failure = send(&transport(), &endpoint, 5).await.unwrap_err();
        assert_eq!(failure.kind, expected, "{story}: {failure}");
        peer.await.unwrap();
    }
}

/// A source that fails, or has another length than it said, is the source's failure.
#[tokio::test]
async fn the_sources_failures_are_its_own() {
    let broken = Failure::new(FailureKind::Source, "the disk is gone");
    let rows: [(&str, Vec<Result<Bytes, Failure>>); 3] = [
        (
            "the disk is gone",
            vec![Ok(Bytes::from_static(b"ab")), Err(broken)],
        ),
        (
            "another number of bytes",
            vec![Ok(Bytes::from_static(b"ab"))],
        ),
        (
            "another number of bytes",
            vec![Ok(Bytes::from_static(b"abcdef"))],
        ),
    ];
    for (expected, pieces) in rows {
        let (listener, endpoint) = listen().await;
        let source = Box::pin(stream::iter(pieces));
        let failure = send_from(&transport(), &endpoint, 5, source).await;
        let failure = failure.unwrap_err().failure;
        assert_eq!(failure.kind, FailureKind::Source, "{failure}");
        assert!(failure.message.contains(expected), "{failure}");
        drop(listener);
    }
}

/// A request shows when it waits for its source: not while the other end has yet to acknowledge what
/// it was given, and again once an answer is there.
#[tokio::test]
async fn waits_for_the_source_are_shown() {
    let (listener, endpoint) = listen().await;
    const LEN: u64 = 100_000;
    let (more, gate) = tokio::sync::oneshot::channel::<()>();
    let hanging = stream::once(async {
        gate.await.unwrap();
        Ok(Bytes::from_static(b"cde"))
    });
    let first = stream::once(async { Ok(Bytes::from(vec![b'x'; LEN as usize])) });
    let source: SourceStream = Box::pin(first.chain(hanging));
    let flight = Flight::new();
    let transport = transport();
    let sending = transport.send(
        &endpoint,
        upload(LEN + 3),
        Some(source),
        Reuse::Any,
        &flight,
    );
    let watching = async {
        let (mut peer, _) = listener.accept().await.unwrap();
        while !flight.sample().waits_for_source {
            tokio::task::yield_now().await;
        }
        assert!(flight.sample().source_bytes >= LEN);
        more.send(()).unwrap();
        read_request(&mut peer).await;
        assert!(
            !flight.sample().waits_for_source,
            "the answer is the peer's"
        );
        peer.write_all(OK).await.unwrap();
    };
    let both = async { tokio::join!(sending, watching) };
    let (sent, ()) = tokio::time::timeout(PATIENCE, both).await.expect("an end");
    assert_eq!(sent.unwrap().status.as_u16(), 200);
    assert!(flight.sample().waits_for_source, "what follows is ours");
}

/// Nobody there, and TLS where there is none: both say that nothing was sent.
#[tokio::test]
async fn no_connection() {
    let (listener, endpoint) = listen().await;
    drop(listener);
    let failure = send(&transport(), &endpoint, 5).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Connect, "{failure}");
    assert!(failure.message.contains(&endpoint.to_string()), "{failure}");
    let (listener, endpoint) = listen().await;
    let peer = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.read_u8().await.unwrap();
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
    });
    let https = Endpoint::parse(endpoint.authority(), true).unwrap();
    let failure = send(&transport(), &https, 5).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Tls, "{failure}");
    assert!(failure.message.contains("does not speak TLS"), "{failure}");
    peer.await.unwrap().unwrap();
}
