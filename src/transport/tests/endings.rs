//! How connections end: answers of rude servers, and sockets that are really closed.

use bytes::Bytes;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PATIENCE, listen, send_from, source, transport};
use crate::model::{Failure, FailureKind};
use crate::transport::{SourceStream, Unanswered};

/// More than all buffers between two ends hold.
const MORE_THAN_BUFFERS: u64 = 1 << 30;

/// A source that always has more, up to [`MORE_THAN_BUFFERS`].
fn endless() -> SourceStream {
    let piece = Bytes::from(vec![0; 1 << 18]);
    Box::pin(stream::repeat_with(move || Ok(piece.clone())))
}

/// A server that answers without reading the body and closes at once resets the connection under the
/// writer's hands. Its answer is told all the same, every time: the rows are repeated, since it is a
/// race.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rude_early_answers() {
    for status in [403, 413, 614].repeat(10) {
        let (listener, endpoint) = listen().await;
        let peer = tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            peer.read_exact(&mut [0; 100]).await.unwrap();
            let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno");
            peer.write_all(answer.as_bytes()).await.unwrap();
            // Unread bytes turn the close into a reset.
        });
        let answer = send_from(&transport(), &endpoint, MORE_THAN_BUFFERS, endless()).await;
        let answer = answer.unwrap_or_else(|Unanswered { failure, .. }| panic!("{failure}"));
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (status, &b"no"[..])
        );
        peer.await.unwrap();
    }
}

/// The same without a length, or with a longer one than comes: the reset ends the answer. A refusal
/// is told by its head, with the words that came; a success that breaks off stays a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_a_reset_ends() {
    const WORDS: &str = "{\"error\":\"no\"}";
    let rows = [
        ("403 No", "", Some(403)),
        ("413 No", "", Some(413)),
        ("614 No", "", Some(614)),
        ("503 No", "", Some(503)),
        ("403 No", "Content-Length: 99\r\n", Some(403)),
        ("403 No", "Transfer-Encoding: chunked\r\n", Some(403)),
        ("200 OK", "", None),
        ("200 OK", "Content-Length: 99\r\n", None),
    ];
    for (status, length, expected) in rows.repeat(5) {
        let (listener, endpoint) = listen().await;
        let peer = tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            peer.read_exact(&mut [0; 100]).await.unwrap();
            let words = match length.starts_with("Transfer") {
                true => format!("{:x}\r\n{WORDS}\r\n", WORDS.len()),
                false => WORDS.to_owned(),
            };
            let answer = format!("HTTP/1.1 {status}\r\n{length}\r\n{words}");
            peer.write_all(answer.as_bytes()).await.unwrap();
            let socket = socket2::SockRef::from(&peer);
            socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        });
        let sent = send_from(&transport(), &endpoint, MORE_THAN_BUFFERS, endless()).await;
        let story = format!("{status} {length}");
        match (sent, expected) {
            (Ok(answer), Some(expected)) => {
                let told = (answer.status.as_u16(), &answer.body[..]);
                assert_eq!(told, (expected, WORDS.as_bytes()), "{story}");
            }
            (Err(Unanswered { failure, .. }), None) => {
                assert_eq!(failure.kind, FailureKind::Broken, "{story}: {failure}");
            }
            (sent, _) => panic!("{story}: {sent:?}"),
        }
        peer.await.unwrap();
    }
}

/// A connection that is reset in mid-body without an answer says so, and how far it was.
#[tokio::test]
async fn resets_are_told() {
    let (listener, endpoint) = listen().await;
    let peer = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.read_exact(&mut vec![0; 300_000]).await.unwrap();
        socket2::SockRef::from(&peer)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    });
    let sent = send_from(&transport(), &endpoint, MORE_THAN_BUFFERS, endless()).await;
    let failure: Failure = sent.unwrap_err().failure;
    assert_eq!(failure.kind, FailureKind::Broken, "{failure}");
    let told = failure.message.to_lowercase();
    assert!(
        told.contains("reset") || told.contains("broken pipe"),
        "{failure}"
    );
    let trace = failure.trace.unwrap();
    assert!(!trace.is_reused);
    assert_eq!(trace.address.as_deref(), Some(endpoint.authority()));
    // Not all that the peer read may have been acknowledged when the reset came; most was.
    assert!(trace.acknowledged_bytes > 100_000, "{trace:?}");
    assert!(trace.acknowledged_bytes < MORE_THAN_BUFFERS, "{trace:?}");
    peer.await.unwrap();
}

/// An upload that is given up while its peer does not read leaves no socket behind: not even in the
/// kernel, which held megabytes for it.
#[tokio::test]
async fn given_up_sockets_are_gone() {
    let (listener, endpoint) = listen().await;
    let transport = transport();
    let mut peer: TcpStream = {
        let sending = send_from(&transport, &endpoint, MORE_THAN_BUFFERS, endless());
        tokio::select! {
            _ = sending => panic!("nobody answers"),
            peer = async {
                let (mut peer, _) = listener.accept().await.unwrap();
                peer.read_exact(&mut [0; 1000]).await.unwrap();
                peer
            } => peer,
        }
    };
    let client = peer.peer_addr().unwrap().port();
    let gone = async {
        while sockets_of(client) > 0 {
            tokio::task::yield_now().await;
        }
        // The peer learns of it at once, not behind what was queued.
        let mut read = Vec::new();
        let end = peer.read_to_end(&mut read).await;
        assert!(end.is_err() || (read.len() as u64) < MORE_THAN_BUFFERS);
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("it is gone");
}

/// How many sockets the kernel still has whose own port is `port`; 0 where it does not tell.
fn sockets_of(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap_or_default();
    let local = format!(":{port:04X}");
    let is_ours = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields
            .next()
            .is_some_and(|address| address.ends_with(&local))
    };
    table.lines().filter(is_ours).count()
}

/// A request that was answered leaves a connection that is closed politely.
#[tokio::test]
async fn idle_connections_say_goodbye() {
    let (listener, endpoint) = listen().await;
    let transport = transport();
    let peer = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        super::read_request(&mut peer).await;
        peer.write_all(super::OK).await.unwrap();
        peer.read(&mut [0; 1]).await
    });
    send_from(&transport, &endpoint, 5, source(5))
        .await
        .unwrap();
    drop(transport);
    let end = tokio::time::timeout(PATIENCE, peer).await.expect("an end");
    assert_eq!(end.unwrap().unwrap(), 0, "no reset");
}
