//! Control calls: a test that runs the server as a process steers it by them.

use haul::devserver::{Fault, Operation};

use crate::client::{Raw, Seen, mkblk, server_with};

async fn control(url: &str, call: &str, body: &str) -> (u16, serde_json::Value) {
    let head = call.replacen(' ', " /.haul/control/", 1) + " HTTP/1.1\r\n";
    let answer = Raw::to(url).await.answer(&head, body.as_bytes()).await;
    (answer.status(), answer.json())
}

/// An answer is held until released; the work is done meanwhile; both can be waited for.
#[tokio::test]
async fn holds() {
    let hold = Fault {
        hold: Some("the gate".to_owned()),
        ..Fault::default()
    };
    let server = server_with([hold]).await;
    let url = server.url();
    assert_eq!(control(url, "GET held/the%20gate", "").await.0, 408);
    assert_eq!(
        control(url, "GET held/the%20gate?wait=20ms", "").await.0,
        408
    );
    assert_eq!(
        control(url, "GET held/the%20gate?wait=soon", "").await.0,
        400
    );

    let mut raw = Raw::to(url).await;
    raw.send(&mkblk(&server, 1), b"x").await;
    let (status, held) = control(url, "GET held/the%20gate?wait=30s", "").await;
    assert_eq!((status, &held["held"]), (200, &1.into()));
    assert_eq!(raw.look_in_vain().await, Seen::Silence);

    let (status, released) = control(url, "POST release/the%20gate", "").await;
    assert_eq!((status, &released["released"]), (200, &1.into()));
    let seen = raw.look().await;
    assert!(
        matches!(&seen, Seen::Answer(answer) if answer.status() == 200),
        "{seen:?}"
    );
    server.stop().await;
}

/// Counts are of requests and of body bytes, per operation, control calls not among them.
#[tokio::test]
async fn requests() {
    let server = server_with([]).await;
    for len in [10, 20] {
        Raw::to(server.url())
            .await
            .answer(&mkblk(&server, len), &vec![0; len])
            .await;
    }
    let (status, seen) = control(server.url(), "GET requests", "").await;
    assert_eq!(status, 200);
    let expected = serde_json::json!({"mkblk": {"requests": 2, "body_bytes": 30}});
    assert_eq!(
        (&seen["operations"], &seen["connections"]),
        (&expected, &3.into())
    );
    let own = server.requests();
    assert_eq!(
        (own.of(Operation::Mkblk).requests, own.body_bytes()),
        (2, 30)
    );
    server.stop().await;
}

/// A plan is replaced as a whole, from the next request on; a wrong one changes nothing and is told.
#[tokio::test]
async fn plans_are_replaced() {
    let server = server_with([]).await;
    let url = server.url();
    let plan = "[[fault]]\noperation = 'mkblk'\nanswer = { status = 599 }\n";
    assert_eq!(control(url, "PUT faults", plan).await.0, 200);
    let mut raw = Raw::to(url).await;
    assert_eq!(raw.answer(&mkblk(&server, 1), b"x").await.status(), 599);

    let (status, why) = control(url, "PUT faults", "[[fault]]\noperation = 'mkbl'\n").await;
    let text = why["error"].as_str().unwrap_or_default();
    assert!(
        status == 400 && text.contains("mkbl") && text.contains("line 2"),
        "{text}"
    );
    assert_eq!(raw.answer(&mkblk(&server, 1), b"x").await.status(), 599);

    assert_eq!(control(url, "PUT faults", "").await.0, 200);
    assert_eq!(raw.answer(&mkblk(&server, 1), b"x").await.status(), 200);
    server.stop().await;
}

/// What is no control call is told so.
#[tokio::test]
async fn unknown_calls() {
    let server = server_with([]).await;
    for (call, status) in [
        ("GET nothing", 404),
        ("DELETE requests", 405),
        ("GET release/x", 405),
    ] {
        assert_eq!(control(server.url(), call, "").await.0, status, "{call}");
    }
    server.stop().await;
}
