//! Answers that are late, different, cut, altered, or not Kodo's at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use haul::devserver::{
    AnswerField, CannedAnswer, DevServer, Expire, Fault, FaultPlan, Moment, Operation,
};

use crate::client::{Answer, Raw, Seen, form, head, mkblk, server_with, start, stored};

/// What every answer of a Kodo has, each request id once; and one connection carries them all.
#[tokio::test]
async fn every_answer_is_complete() {
    let server = start(DevServer::builder()).await;
    let mut raw = Raw::to(server.url()).await;
    let mut ids = BTreeSet::new();
    let rows = [
        (mkblk(&server, 1), &b"x"[..], 200),
        (head(&server, "POST /mkblk/0"), b"", 400),
        (head(&server, "GET /no/such/path"), b"", 404),
        ("POST /mkblk/1 HTTP/1.1\r\n".to_owned(), b"x", 401),
    ];
    for (head, body, status) in rows {
        let answer = raw.answer(&head, body).await;
        assert_eq!(answer.status(), status, "{head}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{head}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{head}");
        assert!(
            answer
                .header("date")
                .is_some_and(|date| date.ends_with(" GMT")),
            "{head}"
        );
        assert!(
            answer.header("x-log").is_some_and(|log| !log.is_empty()),
            "{head}"
        );
        let id = answer.header("x-reqid").unwrap_or_default();
        assert!(id.len() == 16 && ids.insert(id.to_owned()), "{head}: {id}");
    }
    assert_eq!(server.requests().connections, 1);
    server.stop().await;
}

/// The answer of a plan comes as written, Kodo's own codes in a real status line, and nothing else
/// happens.
#[tokio::test]
async fn canned_answers() {
    let moments = [
        Moment::BeforeBody,
        Moment::AfterBodyBytes(2),
        Moment::AfterBody,
    ];
    for (status, at) in [503, 573, 579, 612, 701]
        .into_iter()
        .zip(moments.into_iter().cycle())
    {
        let answer = CannedAnswer {
            headers: BTreeMap::from([("Retry-After".to_owned(), "7".to_owned())]),
            at: Some(at),
            ..CannedAnswer::status(status)
        };
        let fault = Fault {
            operation: vec![Operation::Form],
            answer: Some(answer),
            ..Fault::default()
        };
        let server = server_with([fault]).await;
        let (head, body) = form(&server, "k", b"hello");
        let mut raw = Raw::to(server.url()).await;
        let answer = raw.answer(&head, &body).await;
        assert!(
            answer
                .status_line
                .starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer:?}"
        );
        assert_eq!(answer.header("retry-after"), Some("7"));
        assert_eq!(answer.body, br#"{"error":"fault plan"}"#);
        assert!(answer.header("x-reqid").is_some());
        assert_eq!(stored(&server, "k").await, None);
        // The rest of the body was dropped: the connection goes on.
        let second = raw.answer(&mkblk(&server, 1), b"x").await;
        assert_eq!(second.status(), 200, "after {status} {at:?}");
        server.stop().await;
    }
}

/// An answer before a long body ends the connection, says so, and arrives whole although the client
/// is still sending.
#[tokio::test]
async fn early_answers_to_long_bodies() {
    let answer = CannedAnswer {
        at: Some(Moment::BeforeBody),
        ..CannedAnswer::status(413)
    };
    let server = server_with([Fault {
        answer: Some(answer),
        ..Fault::default()
    }])
    .await;
    let mut raw = Raw::to(server.url()).await;
    let len = 3_000_000;
    let seen = raw.ask(&mkblk(&server, len), &vec![0; len]).await;
    let Seen::Answer(answer) = seen else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (answer.status(), answer.header("connection")),
        (413, Some("close"))
    );
    assert_eq!(raw.look().await, Seen::Closed { bytes: Vec::new() });
    server.stop().await;
}

/// A client that asks first whether it should send its body is told to; refused, it is told that the
/// connection ends, since nobody knows whether the body will come.
#[tokio::test]
async fn clients_that_ask_first() {
    let answer = CannedAnswer {
        at: Some(Moment::BeforeBody),
        ..CannedAnswer::status(413)
    };
    let refuse = Fault {
        nth: vec![2],
        answer: Some(answer),
        ..Fault::default()
    };
    let server = server_with([refuse]).await;
    let head = format!(
        "{}Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        mkblk(&server, 1)
    );
    let mut raw = Raw::to(server.url()).await;
    raw.0.write_all(head.as_bytes()).await.expect("a head");
    let mut interim = [0; 25];
    raw.0
        .read_exact(&mut interim)
        .await
        .expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    raw.0.write_all(b"x").await.expect("a body");
    let seen = raw.look().await;
    assert!(
        matches!(&seen, Seen::Answer(answer) if answer.status() == 200),
        "{seen:?}"
    );

    raw.0.write_all(head.as_bytes()).await.expect("a head");
    let Seen::Answer(answer) = raw.look().await else {
        panic!("the refusal comes at once");
    };
    assert_eq!(
        (answer.status(), answer.header("connection")),
        (413, Some("close"))
    );
    assert_eq!(raw.look().await, Seen::Closed { bytes: Vec::new() });
    server.stop().await;
}

/// Pages and cut answers take effect; what the client sees is no answer of Kodo's.
#[tokio::test]
async fn pages_and_cuts() {
    let page = "<html>sign in</html>";
    let rows = [
        (
            Fault {
                answer_html: Some(page.into()),
                ..Fault::default()
            },
            "text/html; charset=utf-8",
        ),
        (
            Fault {
                answer_text: Some(page.into()),
                ..Fault::default()
            },
            "text/plain; charset=utf-8",
        ),
    ];
    for (fault, content_type) in rows {
        let server = server_with([Fault {
            operation: vec![Operation::Form],
            ..fault
        }])
        .await;
        let (head, body) = form(&server, "k", b"hello");
        let answer = Raw::to(server.url()).await.answer(&head, &body).await;
        assert_eq!(
            (answer.status(), answer.header("content-type")),
            (200, Some(content_type))
        );
        assert_eq!(answer.body, page.as_bytes());
        assert_eq!(stored(&server, "k").await.as_deref(), Some(&b"hello"[..]));
        server.stop().await;
    }
    for cut in [0, 1, 10] {
        let fault = Fault {
            operation: vec![Operation::Form],
            cut_answer: Some(cut),
            ..Fault::default()
        };
        let server = server_with([fault]).await;
        let (head, body) = form(&server, "k", b"hello");
        let seen = Raw::to(server.url()).await.ask(&head, &body).await;
        let Seen::Closed { bytes } = seen else {
            panic!("cut after {cut}: {seen:?}");
        };
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        assert!(
            head.to_ascii_lowercase().contains("content-length: "),
            "{head}"
        );
        assert_eq!(body.len() as u64, cut, "{text}");
        assert!(stored(&server, "k").await.is_some());
        server.stop().await;
    }
}

/// A download is cut at its byte as well, however it is stored and sent.
#[tokio::test]
async fn cut_downloads() {
    let cut = 200_001;
    let fault = Fault {
        operation: vec![Operation::Get],
        cut_answer: Some(cut),
        ..Fault::default()
    };
    let server = server_with([fault]).await;
    let (head, body) = form(&server, "k", &[7; 300_000]);
    let mut raw = Raw::to(server.url()).await;
    assert_eq!(raw.answer(&head, &body).await.status(), 200);
    let seen = raw.ask("GET /.haul/objects/b/k HTTP/1.1\r\n", b"").await;
    let Seen::Closed { bytes } = seen else {
        panic!("{seen:?}");
    };
    let head_len = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    assert_eq!(
        head_len.map(|len| (bytes.len() - len - 4) as u64),
        Some(cut)
    );
    server.stop().await;
}

/// No request id on an answer that is otherwise as ever.
#[tokio::test]
async fn missing_request_ids() {
    let server = server_with([Fault {
        omit_reqid: true,
        ..Fault::default()
    }])
    .await;
    let answer = Raw::to(server.url())
        .await
        .answer(&mkblk(&server, 1), b"x")
        .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        (answer.header("x-reqid"), answer.header("x-log")),
        (None, None)
    );
    assert!(answer.json()["ctx"].is_string());
    server.stop().await;
}

/// One field is another than without the fault, the others are the same.
#[tokio::test]
async fn wrong_fields() {
    let rows = [
        (AnswerField::Crc32, "crc32", "mkblk"),
        (AnswerField::Checksum, "checksum", "mkblk"),
        (AnswerField::Etag, "etag", "part"),
        (AnswerField::Md5, "md5", "part"),
        (AnswerField::Hash, "hash", "form"),
        (AnswerField::Key, "key", "form"),
    ];
    for (field, name, call) in rows {
        let server = server_with([Fault {
            wrong: Some(field),
            nth: vec![2],
            ..fault_on(call)
        }])
        .await;
        let right = ask(&server, call).await.json();
        let wrong = ask(&server, call).await.json();
        assert_ne!(right[name], wrong[name], "{name}");
        for (other, value) in right.as_object().expect("an object") {
            if other != name && other != "ctx" {
                assert_eq!(*value, wrong[other], "{other} while {name} is wrong");
            }
        }
        server.stop().await;
    }
}

fn fault_on(call: &str) -> Fault {
    let operation = match call {
        "mkblk" => Operation::Mkblk,
        "part" => Operation::Part,
        _ => Operation::Form,
    };
    Fault {
        operation: vec![operation],
        ..Fault::default()
    }
}

/// One call of that kind with the bytes `hello`.
async fn ask(server: &DevServer, call: &str) -> Answer {
    let mut raw = Raw::to(server.url()).await;
    match call {
        "mkblk" => raw.answer(&mkblk(server, 5), b"hello").await,
        "part" => {
            let uploads = "/buckets/b/objects/aw==/uploads";
            let initiated = raw
                .answer(&head(server, &format!("POST {uploads}")), b"")
                .await
                .json();
            let id = initiated["uploadId"]
                .as_str()
                .expect("an upload id")
                .to_owned();
            raw.answer(&head(server, &format!("PUT {uploads}/{id}/1")), b"hello")
                .await
        }
        _ => {
            let (head, body) = form(server, "k", b"hello");
            raw.answer(&head, &body).await
        }
    }
}

/// What the plan declares expired is refused with the code that says so.
#[tokio::test]
async fn expiries() {
    let rows = [
        (Expire::Token, "mkblk", 401),
        (Expire::Token, "form", 401),
        (Expire::UploadId, "part", 612),
    ];
    for (expire, call, status) in rows {
        let server = server_with([Fault {
            expire: Some(expire),
            ..fault_on(call)
        }])
        .await;
        assert_eq!(ask(&server, call).await.status(), status, "{expire:?}");
        server.stop().await;
    }
}

/// A ctx counts as expired, or as used up when it is used again; after that it stays so.
#[tokio::test]
async fn contexts_are_refused() {
    let bput = |fault: Fault| Fault {
        operation: vec![Operation::Bput],
        ..fault
    };
    let rows = [
        (
            bput(Fault {
                expire: Some(Expire::Ctx),
                times: Some(1),
                ..Fault::default()
            }),
            [701, 701],
        ),
        (
            bput(Fault {
                refuse_replayed_ctx: true,
                ..Fault::default()
            }),
            [200, 701],
        ),
        (
            bput(Fault {
                delay: Some(Duration::ZERO),
                ..Fault::default()
            }),
            [200, 200],
        ),
    ];
    for (fault, statuses) in rows {
        let story = format!("{fault:?}");
        let server = server_with([fault]).await;
        let mut raw = Raw::to(server.url()).await;
        let block = raw.answer(&mkblk(&server, 2), b"x").await.json();
        let ctx = block["ctx"].as_str().expect("a ctx").to_owned();
        for status in statuses {
            let head = head(&server, &format!("POST /bput/{ctx}/1"));
            assert_eq!(raw.answer(&head, b"y").await.status(), status, "{story}");
        }
        server.stop().await;
    }
}

/// A delay comes before everything else, and only then.
#[tokio::test]
async fn delays() {
    let delay = Duration::from_millis(300);
    let server = server_with([Fault {
        delay: Some(delay),
        nth: vec![1],
        ..Fault::default()
    }])
    .await;
    let started = Instant::now();
    let answer = Raw::to(server.url())
        .await
        .answer(&mkblk(&server, 1), b"x")
        .await;
    assert_eq!(answer.status(), 200);
    assert!(started.elapsed() >= delay);
    server.stop().await;
}

/// One seed, one sequence of answers, on the wire; another seed, another one.
#[tokio::test]
async fn seeded_plans_repeat() {
    let mut sequences = Vec::new();
    for seed in [1, 1, 2] {
        let fault = Fault {
            probability: Some(0.5),
            answer: Some(CannedAnswer::status(503)),
            ..Fault::default()
        };
        let plan = FaultPlan {
            seed,
            faults: vec![fault],
            ..FaultPlan::default()
        };
        let server = start(DevServer::builder().faults(plan)).await;
        let mut raw = Raw::to(server.url()).await;
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(raw.answer(&mkblk(&server, 1), b"x").await.status());
        }
        server.stop().await;
        sequences.push(statuses);
    }
    assert_eq!(sequences[0], sequences[1]);
    assert_ne!(sequences[0], sequences[2]);
    assert!(sequences[0].contains(&200) && sequences[0].contains(&503));
}
