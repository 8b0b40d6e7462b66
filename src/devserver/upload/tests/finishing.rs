//! What a finished upload means: names, rules, answers, callbacks.

use http::header::LOCATION;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::devserver::upload::tests::form::field;
use crate::devserver::upload::tests::{World, credentials};
use crate::kodo::signature::{Signable, qbox};

fn file(text: &str) -> String {
    format!("name=\"file\"; filename=\"a.txt\"\r\n\r\n{text}")
}

/// Section 7.2's table for forms: first `one` is stored under `k`, then the policy's try.
#[tokio::test]
async fn overwrite_rules() {
    let rows = [
        (r#"{"scope":"b"}"#, "200 -", "614 file exists"),
        (r#"{"scope":"b:k"}"#, "200 -", "200 -"),
        (
            r#"{"scope":"b:","isPrefixalScope":1}"#,
            "200 -",
            "614 file exists",
        ),
        (
            r#"{"scope":"b:k","insertOnly":1}"#,
            "200 -",
            "614 file exists",
        ),
        (
            r#"{"scope":"b:k","exclusive":1}"#,
            "200 -",
            "614 file exists",
        ),
        (
            r#"{"scope":"b:k","forceInsertOnly":true}"#,
            "614 file exists",
            "614 file exists",
        ),
        (
            r#"{"scope":"b:k","insertOnly":1,"forceInsertOnly":true}"#,
            "614 file exists",
            "614 file exists",
        ),
    ];
    for (policy, same, other) in rows {
        let world = World::new();
        for (data, expected) in [("one", "200 -"), ("one", same), ("two", other)] {
            let policy = if expected == "200 -" && world.object("k").await.is_none() {
                r#"{"scope":"b"}"#
            } else {
                policy
            };
            let told = world.form(policy, &[field("key", "k"), file(data)]).await;
            assert_eq!(told.error(), expected, "{policy} {data}");
        }
        let stored = if other == "200 -" { "two" } else { "one" };
        assert_eq!(world.bytes("k").await, stored.as_bytes(), "{policy}");
    }
}

/// Section 7.4: who names the object.
#[tokio::test]
async fn names() {
    let world = World::new();
    let hash = "Fqr0xh3cxeii2r7eDztILNmuqUNN";
    let rows = [
        (r#"{"scope":"b"}"#, Some("k"), "k"),
        (r#"{"scope":"b"}"#, Some(""), ""),
        (r#"{"scope":"b"}"#, None, hash),
        (r#"{"scope":"b","saveKey":"s/$(fname)"}"#, Some("k"), "k"),
        (
            r#"{"scope":"b","saveKey":"s/$(fname)$(nothing)"}"#,
            None,
            "s/a.txt",
        ),
        (
            r#"{"scope":"b","saveKey":"$(etag)$(ext)"}"#,
            None,
            "Fqr0xh3cxeii2r7eDztILNmuqUNN.txt",
        ),
        (
            r#"{"scope":"b","saveKey":"$(x:v)","forceSaveKey":true}"#,
            Some("k"),
            "w",
        ),
        (r#"{"scope":"b:F","isPrefixalScope":1}"#, None, hash),
    ];
    for (policy, key, expected) in rows {
        let mut parts = vec![field("x:v", "w"), file("hello")];
        parts.extend(key.map(|key| field("key", key)));
        let told = world.form(policy, &parts).await;
        assert_eq!(told.text_of("key"), expected, "{policy} {key:?}");
    }
    let rows = [
        (
            r#"{"scope":"b:G","isPrefixalScope":1}"#,
            "403 key doesn't match with scope",
        ),
        (
            r#"{"scope":"b:k","saveKey":"x"}"#,
            "403 key doesn't match with scope",
        ),
        (
            r#"{"scope":"b","keylimit":["k"]}"#,
            "403 key doesn't match with scope",
        ),
        (
            r#"{"scope":"b","forceSaveKey":true}"#,
            "400 put policy: `forceSaveKey` needs a `saveKey`",
        ),
    ];
    for (policy, expected) in rows {
        let told = world.form(policy, &[file("hello")]).await;
        assert_eq!(told.error(), expected, "{policy}");
    }
}

/// Size, type and metadata limits, and what the policy puts into the record.
#[tokio::test]
async fn limits() {
    let world = World::new();
    let rows = [
        (r#"{"scope":"b","fsizeLimit":5}"#, "200 -"),
        (r#"{"scope":"b","fsizeLimit":4}"#, "413 exceed FsizeLimit"),
        (r#"{"scope":"b","fsizeMin":5}"#, "200 -"),
        (
            r#"{"scope":"b","fsizeMin":6}"#,
            "403 the file is smaller than fsizeMin",
        ),
        (r#"{"scope":"b","mimeLimit":"text/*"}"#, "200 -"),
        (
            r#"{"scope":"b","mimeLimit":"!text/plain"}"#,
            "403 limited mimeType: this file type (text/plain) is forbidden to upload",
        ),
        (
            r#"{"scope":"b","callbackUrl":"http://x"}"#,
            "400 callbackbodynotspecified",
        ),
        (
            r#"{"scope":"b","trafficLimit":1}"#,
            "400 put policy: `trafficLimit` must be 819200 to 838860800 bit/s",
        ),
    ];
    for (policy, expected) in rows {
        let told = world
            .form(policy, &[field("key", "k"), file("hello")])
            .await;
        assert_eq!(told.error(), expected, "{policy}");
    }
    let policy = r#"{"scope":"b:k","endUser":"me","fileType":1,"deleteAfterDays":1}"#;
    world
        .form(policy, &[field("key", "k"), file("hello")])
        .await;
    let object = world.object("k").await.unwrap();
    assert_eq!(
        (object.end_user.as_deref(), object.file_type),
        (Some("me"), 1)
    );
    assert!(
        object
            .expiration
            .is_some_and(|end| end % 86_400 == 16 * 3600),
        "midnight in China"
    );
}

/// Names and values of metadata that an object may not have.
#[tokio::test]
async fn metadata_limits() {
    let world = World::new();
    let rows = [
        ("x-qn-meta-ok_-1", "v".to_owned(), "200 -"),
        (
            "x-qn-meta-",
            "v".to_owned(),
            "400 invalid x-qn-meta name or value",
        ),
        (
            "x-qn-meta-a.b",
            "v".to_owned(),
            "400 invalid x-qn-meta name or value",
        ),
        (
            "x-qn-meta-!bad header",
            "v".to_owned(),
            "400 invalid x-qn-meta name or value",
        ),
        (
            "x-qn-meta-a",
            "v".repeat(1024),
            "400 x-qn-meta is too large",
        ),
    ];
    for (name, value, expected) in rows {
        let told = world
            .form(r#"{"scope":"b"}"#, &[field(name, &value), file("hello")])
            .await;
        assert_eq!(told.error(), expected, "{name}");
    }
}

/// Bodies that the policy shapes, and the redirect.
#[tokio::test]
async fn answers() {
    let world = World::new();
    let rows = [
        (r#"{"scope":"b","returnBody":" "}"#, " "),
        (
            r#"{"scope":"b","returnBody":"{\"k\":$(key),\"s\":$(fsize),\"h\":\"$(etag)\",\"w\":$(imageInfo.width),\"u\":$(endUser),\"b\":$(bucket)}"}"#,
            r#"{"k":"k","s":5,"h":"Fqr0xh3cxeii2r7eDztILNmuqUNN","w":null,"u":null,"b":"b"}"#,
        ),
    ];
    for (policy, expected) in rows {
        let told = world
            .form(policy, &[field("key", "k"), file("hello")])
            .await;
        assert_eq!((told.status, told.text.as_str()), (200, expected));
    }
    let policy = r#"{"scope":"b","persistentOps":"avthumb/mp4"}"#;
    let told = world
        .form(policy, &[field("key", "k"), file("hello")])
        .await;
    assert!(!told.text_of("persistentId").is_empty());
    let policy = r#"{"scope":"b","returnUrl":"http://a/back"}"#;
    let told = world
        .form(policy, &[field("key", "hello.txt"), file("hello")])
        .await;
    assert_eq!(told.status, 303);
    assert_eq!(
        told.headers[LOCATION],
        "http://a/back?upload_ret=eyJoYXNoIjoiRnFyMHhoM2N4ZWlpMnI3ZUR6dElMTm11cVVOTiIsImtleSI6Imhl\
         bGxvLnR4dCJ9"
    );
}

/// A backend for one callback, with its answer; gives the request it got.
async fn backend(content_type: &str, body: &str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let url = format!("http://{}/notify?a=1", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let len = socket.read(&mut buffer).await.unwrap();
            request.extend_from_slice(&buffer[..len]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .find_map(|it| it.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                socket.write_all(answer.as_bytes()).await.unwrap();
                return text;
            }
        }
    });
    (url, task)
}

const JSON: &str = "application/json";
const TAKEN: &str = "{\"ok\": 1}";

/// The callback is signed, its answer passed through, and the next URL tried when one fails.
#[tokio::test]
async fn callbacks() {
    let world = World::new();
    let (bad, _first) = backend("text/html", "ok").await;
    let (good, request) = backend(JSON, TAKEN).await;
    let policy = format!(
        r#"{{"scope":"b","callbackUrl":"ftp://x;{bad};{good}","callbackHost":"cb.example",
            "callbackBody":"key=$(key)&hash=$(etag)&t=$(x:t)"}}"#
    );
    let parts = [field("key", "a b"), field("x:t", "&"), file("hello")];
    let told = world.form(&policy, &parts).await;
    assert_eq!((told.status, told.text.as_str()), (200, "{\"ok\": 1}"));
    let request = request.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "key=a%20b&hash=Fqr0xh3cxeii2r7eDztILNmuqUNN&t=%26");
    let sign = qbox(
        &credentials("ak", "sk"),
        &Signable {
            method: "POST",
            target: "/notify?a=1",
            host: "cb.example",
            content_type: Some("application/x-www-form-urlencoded"),
            headers: &http::HeaderMap::new(),
            body: body.as_bytes(),
        },
    );
    assert!(
        head.contains(&format!("authorization: {sign}\r\n")),
        "{head}"
    );
    assert!(head.contains("host: cb.example\r\n"), "{head}");
}

/// Nobody takes the callback: 579 with a document in the error, and the object is stored.
#[tokio::test]
async fn failed_callbacks() {
    let world = World::new();
    let (url, _task) = backend("text/html", "ok").await;
    let policy = format!(
        r#"{{"scope":"b","callbackUrl":"{url}","callbackBody":"{{\"k\":$(key)}}",
            "callbackBodyType":"application/json"}}"#
    );
    let told = world
        .form(&policy, &[field("key", "k"), file("hello")])
        .await;
    assert_eq!(told.status, 579);
    let inner: serde_json::Value = serde_json::from_str(told.text_of("error")).unwrap();
    assert_eq!(inner["callback_url"], url);
    assert_eq!(inner["callback_bodyType"], "application/json");
    assert_eq!(inner["callback_body"], r#"{"k":"k"}"#);
    assert_eq!(inner["err_code"], 200);
    assert_eq!(
        (&inner["key"], &inner["hash"]),
        (&"k".into(), &"Fqr0xh3cxeii2r7eDztILNmuqUNN".into())
    );
    assert_eq!(world.bytes("k").await, b"hello");
}

/// A backend that is not there: the 579 says so in the system's words.
#[tokio::test]
async fn callbacks_to_nobody() {
    let world = World::new();
    let (url, task) = backend("text/html", "ok").await;
    task.abort();
    let _ = task.await;
    let policy = format!(r#"{{"scope":"b","callbackUrl":"{url}","callbackBody":"k"}}"#);
    let told = world.form(&policy, &[file("hello")]).await;
    assert_eq!(told.status, 579);
    assert!(told.text.contains("refused"), "{told:?}");
}

/// `callbackFetchKey`: the backend names the object, and the client gets its payload.
#[tokio::test]
async fn fetched_keys() {
    let world = World::new();
    let (url, _task) = backend(JSON, r#"{"key":"named","payload":{"p":1}}"#).await;
    let policy = format!(
        r#"{{"scope":"b","callbackUrl":"{url}","callbackBody":"h=$(etag)","callbackFetchKey":1}}"#
    );
    let told = world
        .form(&policy, &[field("key", "k"), file("hello")])
        .await;
    assert_eq!((told.status, told.text.as_str()), (200, r#"{"p":1}"#));
    assert!(world.object("k").await.is_none());
    assert_eq!(world.bytes("named").await, b"hello");
    let (url, _task) = backend(JSON, TAKEN).await;
    let policy = format!(
        r#"{{"scope":"b","callbackUrl":"{url}","callbackBody":"h=$(etag)","callbackFetchKey":1}}"#
    );
    let told = world.form(&policy, &[file("hello")]).await;
    assert_eq!(told.status, 579, "no key in the answer");
}
