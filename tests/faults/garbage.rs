//! Garbage from the wire: whatever comes as a request is answered as Kodo would, never with a panic,
//! which a client would see as a connection closed without a word.

use haul::devserver::{DevServer, FaultPlan, Rate};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Answer, Raw, head, start};

/// Requests per property; the seed of a failing one is printed.
const CASES: u32 = 300;

/// Runs `property` on a server; it gets a strategy's value per case and says what is wrong.
fn on_a_server<S: Strategy>(
    strategy: S,
    property: impl Fn(&tokio::runtime::Runtime, &DevServer, S::Value),
) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(start(DevServer::builder()));
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let ran = runner.run(&strategy, |value| {
        property(&runtime, &server, value);
        Ok(())
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(server.stop());
}

/// Sends one request; the answer must be a success or an error in Kodo's shape.
fn ask(runtime: &tokio::runtime::Runtime, server: &DevServer, head: &str, body: &[u8]) -> Answer {
    let answer = runtime.block_on(async {
        let mut raw = Raw::to(server.url()).await;
        raw.answer(head, body).await
    });
    assert!(answer.header("x-reqid").is_some(), "{head:?}: {answer:?}");
    if answer.status() >= 400 {
        let json: serde_json::Value =
            serde_json::from_slice(&answer.body).expect("an error in JSON");
        assert!(json["error"].is_string(), "{head:?}: {answer:?}");
    }
    answer
}

/// Parts of targets: what routes look for, what base64 and percent-encoding look like, and noise.
fn segment() -> impl Strategy<Value = String> {
    let known = [
        "",
        "mkblk",
        "bput",
        "mkfile",
        "key",
        "mimeType",
        "fname",
        "crc32",
        "putb64",
        "buckets",
        "b",
        "objects",
        "uploads",
        "~",
        "stat",
        "delete",
        "move",
        "copy",
        "force",
        "chgm",
        "batch",
        "list",
        "v2",
        "v4",
        "query",
        "lifecycle",
        "chtype",
        "type",
        "4194304",
        "0",
        "-1",
        "99999999999999999999",
        "aw==",
        "Yjpr",
        "YjrDqQ==",
        "____",
        "%3D",
        "%zz",
        "%ff",
        "%",
        "..",
        ".haul",
        "control",
        "held",
        "?",
        "?bucket=b&limit=x",
        "?max-parts=0",
        "&",
        "=",
    ];
    prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "[a-zA-Z0-9%=~?&:+._-]{0,12}",
    ]
}

#[test]
fn targets() {
    let methods = prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH"]);
    on_a_server(
        (methods, vec(segment(), 0..8)),
        |runtime, server, (method, segments)| {
            let line = format!("{method} /{}", segments.join("/"));
            ask(runtime, server, &head(server, &line), b"{}");
        },
    );
}

#[test]
fn authorizations() {
    let scheme = prop::sample::select(vec!["UpToken ", "QBox ", "Qiniu ", "uptoken ", ""]);
    let call = prop::sample::select(vec!["POST /mkblk/1", "GET /stat/Yjpr", "POST /batch"]);
    let text = "[ -~]{0,60}(:[ -~]{0,30}){0,3}";
    on_a_server(
        (call, scheme, text),
        |runtime, server, (call, scheme, text)| {
            let head = format!("{call} HTTP/1.1\r\nAuthorization: {scheme}{text}\r\n");
            let answer = ask(runtime, server, &head, b"x");
            assert!(
                [400, 401, 403].contains(&answer.status()),
                "{head}: {answer:?}"
            );
        },
    );
}

#[test]
fn forms() {
    let piece = prop::sample::select(vec![
        "--B",
        "--B--",
        "\r\n",
        "\r\n\r\n",
        "Content-Disposition: form-data; name=",
        "\"token\"",
        "\"key\"",
        "\"file\"",
        "; filename=\"a\"",
        "\"crc32\"",
        "\"x:a\"",
        "12",
        "\0",
        "é",
        "\"",
    ]);
    on_a_server(vec(piece, 0..40), |runtime, server, pieces| {
        let head = "POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=B\r\n";
        let answer = ask(runtime, server, head, pieces.concat().as_bytes());
        assert!(
            [400, 401].contains(&answer.status()),
            "{pieces:?}: {answer:?}"
        );
    });
}

#[test]
fn json_bodies() {
    let value = prop::sample::select(vec![
        "null",
        "1",
        "-1",
        "1e99",
        "\"x\"",
        "[]",
        "{}",
        "[null]",
        "[{\"partNumber\":0}]",
        "[{\"partNumber\":1,\"etag\":\"\"}]",
        "{\"x-qn-meta-\":1}",
        "\"\\ud800\"",
        "[",
        "",
    ]);
    let names = [
        "parts",
        "fname",
        "mimeType",
        "metadata",
        "customVars",
        "other",
    ];
    let fields = vec((prop::sample::select(names.to_vec()), value), 0..5);
    on_a_server(fields, |runtime, server, fields| {
        let uploads = "/buckets/b/objects/aw==/uploads";
        let initiated = ask(
            runtime,
            server,
            &head(server, &format!("POST {uploads}")),
            b"",
        )
        .json();
        let id = initiated["uploadId"]
            .as_str()
            .expect("an upload id")
            .to_owned();
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        let body = format!("{{{}}}", fields.join(","));
        let complete = head(server, &format!("POST {uploads}/{id}"));
        let answer = ask(runtime, server, &complete, body.as_bytes());
        assert_eq!(answer.status(), 400, "{body}: {answer:?}");
    });
}

/// Bytes that are no HTTP end their connection and nothing else.
#[test]
fn no_http_at_all() {
    on_a_server(vec(any::<u8>(), 0..200), |runtime, server, mut bytes| {
        // Whatever came before, this is the end of no head.
        bytes.extend_from_slice(b"\r\n\r\n");
        runtime.block_on(async {
            let mut raw = Raw::to(server.url()).await;
            let _ = raw.0.write_all(&bytes).await;
            let _ = raw.0.shutdown().await;
            let mut rest = Vec::new();
            let _ = raw.0.read_to_end(&mut rest).await;
            assert!(
                rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"),
                "{rest:?}"
            );
        });
        ask(runtime, server, &head(server, "POST /mkblk/1"), b"x");
    });
}

proptest! {
    /// Plans and rates are read from files that people write.
    #[test]
    fn plans_and_rates(text in "[a-z0-9\\[\\]\"'={}\\n .#-]{0,80}", rate in "\\PC{0,20}") {
        let _ = text.parse::<FaultPlan>();
        let _ = rate.parse::<Rate>();
    }
}
