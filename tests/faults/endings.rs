//! Connections that end, or never say a word: when, and how it looks.

use std::time::Duration;

use haul::devserver::{DevServer, Fault, Loss, Moment, Operation};
use tokio::io::AsyncWriteExt;

use crate::client::{Raw, Seen, form, mkblk, server_with, start, stored};

const LEN: usize = 100_000;

/// What comes, with the patience that the expected calls for.
async fn end(raw: &mut Raw, expected: &Seen) -> Seen {
    match expected {
        Seen::Silence => raw.look_in_vain().await,
        _ => raw.look().await,
    }
}

/// RST, FIN and silence, each before the body, in its middle and after it: the client sees exactly
/// that, whatever it has sent, and another connection is served as if nothing had been.
#[tokio::test]
async fn before_the_service_sees_the_request() {
    let moments = [
        Moment::BeforeBody,
        Moment::AfterBodyBytes(50_000),
        Moment::AfterBodyBytes(10_000_000),
        Moment::AfterBody,
    ];
    let closed = || Seen::Closed { bytes: Vec::new() };
    for at in moments {
        let at = Some(at);
        let rows = [
            (
                Fault {
                    reset: at,
                    ..Fault::default()
                },
                Seen::Reset,
            ),
            (
                Fault {
                    close: at,
                    ..Fault::default()
                },
                closed(),
            ),
            (
                Fault {
                    hang: at,
                    ..Fault::default()
                },
                Seen::Silence,
            ),
        ];
        for (fault, expected) in rows {
            let story = format!("{fault:?}");
            let server = server_with([Fault {
                times: Some(1),
                ..fault
            }])
            .await;
            let head = mkblk(&server, LEN);
            let mut raw = Raw::to(server.url()).await;
            raw.send(&head, &vec![7; LEN]).await;
            assert_eq!(end(&mut raw, &expected).await, expected, "{story}");
            let mut second = Raw::to(server.url()).await;
            assert_eq!(
                second.answer(&head, &vec![7; LEN]).await.status(),
                200,
                "{story}"
            );
            server.stop().await;
        }
    }
}

/// Nothing takes effect when the connection ends before the service saw the request; all of it does
/// when only the answer is lost.
#[tokio::test]
async fn lost_answers_have_effect_and_lost_requests_have_none() {
    let closed = || Seen::Closed { bytes: Vec::new() };
    let lose = |loss| Fault {
        lose_answer: Some(loss),
        ..Fault::default()
    };
    let rows = [
        (lose(Loss::Reset), Seen::Reset, true),
        (lose(Loss::Close), closed(), true),
        (lose(Loss::Hang), Seen::Silence, true),
        (
            Fault {
                reset: Some(Moment::AfterBody),
                ..Fault::default()
            },
            Seen::Reset,
            false,
        ),
        (
            Fault {
                close: Some(Moment::AfterBody),
                ..Fault::default()
            },
            closed(),
            false,
        ),
    ];
    for (fault, expected, takes_effect) in rows {
        let story = format!("{fault:?}");
        let fault = Fault {
            operation: vec![Operation::Form],
            ..fault
        };
        let server = server_with([fault]).await;
        let (head, body) = form(&server, "k", b"hello");
        let mut raw = Raw::to(server.url()).await;
        raw.send(&head, &body).await;
        assert_eq!(end(&mut raw, &expected).await, expected, "{story}");
        let stored = stored(&server, "k").await;
        assert_eq!(stored.is_some(), takes_effect, "{story}");
        server.stop().await;
    }
}

/// A server that does not read takes only what its kernel takes: the client's writing stands still.
#[tokio::test]
async fn a_body_that_is_not_read_stands_still() {
    let hang = Fault {
        hang: Some(Moment::BeforeBody),
        ..Fault::default()
    };
    let server = server_with([hang]).await;
    let len = 64_000_000;
    let mut raw = Raw::to(server.url()).await;
    socket2::SockRef::from(&raw.0)
        .set_send_buffer_size(64 * 1024)
        .expect("a small buffer");
    let head = format!("{}Content-Length: {len}\r\n\r\n", mkblk(&server, len));
    raw.0.write_all(head.as_bytes()).await.expect("the head");
    let chunk = vec![0; 64 * 1024];
    let mut taken = 0;
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), raw.0.write(&chunk)).await
    {
        taken += written.expect("an open connection");
        assert!(taken < len / 2, "{taken} bytes were taken");
    }
    assert_eq!(server.requests().of(Operation::Mkblk).body_bytes, 0);
    server.stop().await;
}

/// The server forgets a client that leaves while its request hangs or its answer is held.
#[tokio::test]
async fn clients_may_leave() {
    let hold = Fault {
        hold: Some("h".to_owned()),
        ..Fault::default()
    };
    let server = server_with([hold]).await;
    let mut raw = Raw::to(server.url()).await;
    raw.send(&mkblk(&server, 1), b"x").await;
    server.faults().until_held("h").await;
    drop(raw);
    while server.faults().held("h") > 0 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

/// A client that has closed its sending side after the request still gets its answer.
#[tokio::test]
async fn half_closed_connections_are_answered() {
    let server = start(DevServer::builder()).await;
    let mut raw = Raw::to(server.url()).await;
    raw.send(&mkblk(&server, 1), b"x").await;
    raw.0.shutdown().await.expect("a half-closed connection");
    let seen = raw.look().await;
    assert!(
        matches!(&seen, Seen::Answer(answer) if answer.status() == 200),
        "{seen:?}"
    );
    server.stop().await;
}

/// Stopping ends whatever hangs, and frees the port.
#[tokio::test]
async fn stopping_waits_for_nobody_who_hangs() {
    let hang = Fault {
        hang: Some(Moment::AfterBody),
        ..Fault::default()
    };
    let server = server_with([hang]).await;
    let url = server.url().to_owned();
    let mut raw = Raw::to(&url).await;
    raw.send(&mkblk(&server, 1), b"x").await;
    assert_eq!(raw.look_in_vain().await, Seen::Silence);
    server.stop().await;
    assert_eq!(raw.look().await, Seen::Closed { bytes: Vec::new() });
    let again = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await;
    let refused = again.map(|_| ()).map_err(|error| error.kind());
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
}
