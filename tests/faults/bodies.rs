//! Bodies that are read slowly, not at all for a while, or damaged; and faults that need to know whose
//! body it is.

use std::time::Duration;

use tokio::time::Instant;

use haul::devserver::{CannedAnswer, DevServer, Fault, Moment, Operation, StopReading};
use haul::kodo::Etag;

use crate::client::{Raw, Seen, form, head, mkblk, server_with, stored};

/// A slow reader takes the time its rate says; a pause lasts.
#[tokio::test]
async fn slow_and_stopped_reading() {
    let pause = Duration::from_millis(400);
    let rows = [
        // 20 kB at 40 kB/s
        (
            Fault {
                slow_read: Some("40kb".parse().expect("a rate")),
                ..Fault::default()
            },
            450,
        ),
        (
            Fault {
                stop_reading: Some(StopReading {
                    after_bytes: 5_000,
                    pause,
                }),
                ..Fault::default()
            },
            400,
        ),
        (
            Fault {
                stop_reading: Some(StopReading {
                    after_bytes: 0,
                    pause,
                }),
                ..Fault::default()
            },
            400,
        ),
    ];
    for (fault, least_ms) in rows {
        let story = format!("{fault:?}");
        let server = server_with([fault]).await;
        let started = Instant::now();
        let answer = Raw::to(server.url())
            .await
            .answer(&mkblk(&server, 20_000), &[7; 20_000])
            .await;
        assert_eq!(answer.status(), 200, "{story}");
        assert!(
            started.elapsed() >= Duration::from_millis(least_ms),
            "{story}"
        );
        assert_eq!(server.requests().of(Operation::Mkblk).body_bytes, 20_000);
        server.stop().await;
    }
}

/// One bit of the object is another than the client's, and the answer's hash says so.
#[tokio::test]
async fn flipped_bytes() {
    for offset in [0, 1, 99_999] {
        let server = server_with([Fault {
            flip_byte: Some(offset),
            ..Fault::default()
        }])
        .await;
        let mut damaged = vec![7; 100_000];
        damaged[usize::try_from(offset).expect("small")] ^= 1;

        let (head, body) = form(&server, "k", &[7; 100_000]);
        let answer = Raw::to(server.url()).await.answer(&head, &body).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.json()["hash"],
            Etag::of(&damaged).to_string(),
            "byte {offset} of a form"
        );
        assert!(
            stored(&server, "k")
                .await
                .is_some_and(|bytes| bytes == damaged)
        );

        let head = mkblk(&server, 100_000);
        let block = Raw::to(server.url())
            .await
            .answer(&head, &[7; 100_000])
            .await
            .json();
        assert_eq!(
            block["crc32"],
            crc32fast::hash(&damaged),
            "byte {offset} of a chunk"
        );
        server.stop().await;
    }
}

/// A fault finds its key in a path, in a form's fields or in a token, and touches no other.
#[tokio::test]
async fn faults_know_whose_body_it_is() {
    let teapot = |fault: Fault| Fault {
        answer: Some(CannedAnswer::status(418)),
        ..fault
    };
    let rows = [
        (
            teapot(Fault {
                key: Some("k".into()),
                ..Fault::default()
            }),
            true,
        ),
        (
            teapot(Fault {
                key: Some("k*".into()),
                bucket: Some("b".into()),
                ..Fault::default()
            }),
            true,
        ),
        (
            teapot(Fault {
                key: Some("other".into()),
                ..Fault::default()
            }),
            false,
        ),
        (
            teapot(Fault {
                bucket: Some("other".into()),
                ..Fault::default()
            }),
            false,
        ),
    ];
    for (fault, hits) in rows {
        let story = format!("{fault:?}");
        let server = server_with([fault]).await;
        for (head, body) in calls_about_k(&server) {
            let answer = Raw::to(server.url()).await.answer(&head, &body).await;
            assert_eq!(
                answer.status() == 418,
                hits,
                "{story}: {head} {:?}",
                answer.status_line
            );
        }
        server.stop().await;
    }
}

/// What a proxy with a limit does: a body above it is refused at once or cut at one place, a shorter
/// one passes, and the service hears of no other.
#[tokio::test]
async fn proxies_with_a_limit() {
    let limit: usize = 100_000;
    let longer = || Fault {
        longer_than: Some(limit as u64),
        ..Fault::default()
    };
    let refused = Fault {
        answer: Some(CannedAnswer {
            at: Some(Moment::BeforeBody),
            ..CannedAnswer::status(413)
        }),
        omit_reqid: true,
        ..longer()
    };
    let cut = |moment| Fault {
        reset: Some(moment),
        ..longer()
    };
    let rows = [
        (refused, Some(413)),
        (cut(Moment::AfterBodyBytes(limit as u64)), None),
        (cut(Moment::BeforeBody), None),
    ];
    for (fault, status) in rows {
        let story = format!("{fault:?}");
        let server = server_with([fault]).await;
        let bytes = vec![7; limit + 1];
        let seen = Raw::to(server.url())
            .await
            .ask(&mkblk(&server, limit + 1), &bytes)
            .await;
        match (seen, status) {
            (Seen::Answer(answer), Some(status)) => {
                assert_eq!(answer.status(), status, "{story}");
                assert_eq!(answer.header("x-reqid"), None, "{story}");
            }
            (Seen::Reset, None) => {}
            (seen, _) => panic!("{story}: {seen:?}"),
        }
        let answer = Raw::to(server.url())
            .await
            .answer(&mkblk(&server, limit), &bytes[..limit])
            .await;
        assert_eq!(answer.status(), 200, "{story}");
        // The framing of a form counts: what the proxy sees is the body.
        let (head, body) = form(&server, "k", &bytes[..limit]);
        let seen = Raw::to(server.url()).await.ask(&head, &body).await;
        let passes = matches!(&seen, Seen::Answer(answer) if answer.status() == 200);
        assert!(!passes, "{story}: {seen:?}");
        assert_eq!(stored(&server, "k").await, None, "{story}");
        server.stop().await;
    }
}

/// One connection in three is hit, from the second on; the others never.
#[tokio::test]
async fn some_connections_only() {
    let server = server_with([Fault {
        connection: Some(2),
        connection_every: Some(3),
        answer: Some(CannedAnswer::status(503)),
        ..Fault::default()
    }])
    .await;
    let mut hit = Vec::new();
    for number in 1..=8 {
        let mut raw = Raw::to(server.url()).await;
        for _ in 0..2 {
            let answer = raw.answer(&mkblk(&server, 1), b"x").await;
            hit.extend((answer.status() == 503).then_some(number));
        }
    }
    assert_eq!(hit, [2, 2, 5, 5, 8, 8]);
    server.stop().await;
}

/// Requests about key `k` of bucket `b` that say so in different places.
fn calls_about_k(server: &DevServer) -> Vec<(String, Vec<u8>)> {
    vec![
        form(server, "k", b"hello"),
        (mkblk(server, 5), b"hello".to_vec()),
        (head(server, "POST /mkfile/0/key/aw=="), Vec::new()),
        (
            head(server, "POST /buckets/b/objects/aw==/uploads"),
            Vec::new(),
        ),
    ]
}

/// A form whose fields had to be read ahead is stored as if they had not been.
#[tokio::test]
async fn reading_ahead_loses_nothing() {
    let fault = Fault {
        key: Some("other".into()),
        omit_reqid: true,
        ..Fault::default()
    };
    let server = server_with([fault]).await;
    for len in [0, 1, 65_000, 66_000, 300_000] {
        let data: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
        let (head, body) = form(&server, "k", &data);
        let answer = Raw::to(server.url()).await.answer(&head, &body).await;
        assert_eq!(answer.status(), 200, "{len}");
        assert!(
            stored(&server, "k")
                .await
                .is_some_and(|bytes| bytes == data),
            "{len}"
        );
    }
    server.stop().await;
}
