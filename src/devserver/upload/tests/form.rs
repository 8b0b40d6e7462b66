//! Form uploads, and putb64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::devserver::upload::tests::{Call, MIB, Told, World, pattern};

const FORM: &str = "multipart/form-data; boundary=B";
/// A file part that holds `hello`.
const HELLO: &str = "name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nhello";

/// A form of parts, each from its disposition's parameters on.
pub(super) fn form(parts: &[String]) -> Vec<u8> {
    let mut body = String::new();
    for part in parts {
        body += "--B\r\nContent-Disposition: form-data; ";
        body += part;
        body += "\r\n";
    }
    (body + "--B--\r\n").into_bytes()
}

pub(super) fn field(name: &str, value: &str) -> String {
    format!("name=\"{name}\"\r\n\r\n{value}")
}

impl World {
    /// Uploads a form whose parts are these and the token, which comes first.
    pub(super) async fn form(&self, policy: &str, parts: &[String]) -> Told {
        let mut all = vec![field("token", &self.token(policy))];
        all.extend_from_slice(parts);
        self.raw_form(form(&all)).await
    }

    async fn raw_form(&self, body: Vec<u8>) -> Told {
        let call = Call::new("POST", "/").header("content-type", FORM);
        self.call(call.body(body)).await
    }
}

/// The bytes of the reference, section 3.3, and the same with its parts in other orders.
#[tokio::test]
async fn parts_in_any_order() {
    let world = World::new();
    let mut parts = vec![
        field("token", &world.token(r#"{"scope":"b"}"#)),
        field("key", "k.txt"),
        field("crc32", "907060870"),
        field("x:foo", "bar"),
        field("x-qn-meta-color", "red"),
        HELLO.to_owned(),
    ];
    for turn in 0..parts.len() {
        let told = world.raw_form(form(&parts)).await;
        assert_eq!(
            told.text, r#"{"hash":"Fqr0xh3cxeii2r7eDztILNmuqUNN","key":"k.txt"}"#,
            "turn {turn}"
        );
        parts.rotate_left(1);
    }
    let object = world.object("k.txt").await.unwrap();
    assert_eq!(
        object.md5.as_deref(),
        Some("5d41402abc4b2a76b9719d911017c592")
    );
    assert_eq!((object.mime_type.as_str(), object.size), ("text/plain", 5));
    assert_eq!(object.metadata["color"], "red");
    assert_eq!(world.bytes("k.txt").await, b"hello");
}

/// No key, the empty key, and file names in every spelling.
#[tokio::test]
async fn keys_and_names() {
    let world = World::new();
    let named = |name: &str| format!("name=\"file\"; filename=\"{name}\"\r\n\r\nhello");
    let policy = r#"{"scope":"b","returnBody":"$(key)|$(fname)|$(mimeType)|$(x:a)"}"#;
    let hash = "Fqr0xh3cxeii2r7eDztILNmuqUNN";
    let rows = [
        (
            vec![named("a.txt")],
            format!("\"{hash}\"|\"a.txt\"|\"text/plain\"|null"),
        ),
        (
            vec![field("key", ""), named("空.png")],
            "\"\"|\"空.png\"|\"image/png\"|null".to_owned(),
        ),
        (
            vec![field("key", "目\"录"), named("a%22b"), field("x:a", "\"")],
            "\"目\\\"录\"|\"a\\\"b\"|\"text/plain\"|\"\\\"\"".to_owned(),
        ),
        (
            vec![field("key", "k.pdf"), named("a\\\"b")],
            "\"k.pdf\"|\"a\\\"b\"|\"application/pdf\"|null".to_owned(),
        ),
        (
            vec![field("key", "r\r\n?&r=1k"), field("file", "hello")],
            "\"r\\r\\n?&r=1k\"|null|\"text/plain\"|null".to_owned(),
        ),
    ];
    for (parts, expected) in rows {
        let told = world.form(policy, &parts).await;
        assert_eq!((told.status, told.text), (200, expected), "{parts:?}");
    }
}

/// What a form is refused for, the token aside.
#[tokio::test]
async fn refusals() {
    let world = World::new();
    let hello = || HELLO.to_owned();
    let long = || field("x:a", &"v".repeat(2 * MIB));
    let too_long = "400 invalid multipart format: multipart: message too large";
    let rows = [
        (vec![], "400 file is not specified in multipart"),
        (
            vec![field("crc32", "907060871"), hello()],
            "406 crc32 check error",
        ),
        (vec![hello(), field("crc32", "1")], "406 crc32 check error"),
        (vec![field("crc32", "x"), hello()], "400 invalid crc32"),
        (vec![field("crc32", ""), hello()], "400 invalid crc32"),
        (
            vec![field("crc32", "4294967296"), hello()],
            "400 invalid crc32",
        ),
        (
            vec![hello(), hello()],
            "400 invalid multipart format: more than one file",
        ),
        (
            vec![field("key", &"k".repeat(751)), hello()],
            "400 key is too long",
        ),
        (vec![long(), hello()], too_long),
        (vec![hello(), long()], too_long),
    ];
    for (parts, expected) in rows {
        let told = world.form(r#"{"scope":"b"}"#, &parts).await;
        assert_eq!(told.error(), expected, "{} parts", parts.len());
    }
    let stored = world.object("Fqr0xh3cxeii2r7eDztILNmuqUNN").await;
    assert!(stored.is_none(), "nothing was stored");
}

/// What a form's token refuses, whether it comes before or after the file.
#[tokio::test]
async fn tokens() {
    let world = World::new();
    let out_of_scope = "403 key doesn't match with scope";
    let other_key = || field("key", "x");
    let rows = [
        (
            r#"{"scope":"b","fsizeLimit":4}"#,
            None,
            "413 exceed FsizeLimit",
        ),
        (r#"{"scope":"b:k"}"#, None, out_of_scope),
        (r#"{"scope":"b:k"}"#, Some(other_key()), out_of_scope),
        (r#"{"scope":"no"}"#, None, "631 no such bucket"),
        (r#"{"scope":"b","deadline":1}"#, None, "401 expired token"),
    ];
    for (policy, key, expected) in rows {
        let mut parts = vec![HELLO.to_owned()];
        parts.extend(key);
        assert_eq!(
            world.form(policy, &parts).await.error(),
            expected,
            "{policy}"
        );
        parts.push(field("token", &world.token(policy)));
        assert_eq!(
            world.raw_form(form(&parts)).await.error(),
            expected,
            "late {policy}"
        );
    }
    let rows = [
        (vec![HELLO.to_owned()], "401 token not specified"),
        (
            vec![field("token", ""), HELLO.to_owned()],
            "401 token not specified",
        ),
        (
            vec![field("token", "a:b:c"), HELLO.to_owned()],
            "401 bad token",
        ),
    ];
    for (parts, expected) in rows {
        assert_eq!(world.raw_form(form(&parts)).await.error(), expected);
    }
}

/// A large file streams through; a form that is cut anywhere stores nothing.
#[tokio::test]
async fn streams_and_cuts() {
    let world = World::new();
    let data = pattern(9 * MIB);
    let token = field("token", &world.token(r#"{"scope":"b"}"#));
    let head = form(&[
        token,
        field("key", "big"),
        "name=\"file\"\r\n\r\n".to_owned(),
    ]);
    let mut body = head[..head.len() - "\r\n--B--\r\n".len()].to_vec();
    body.extend_from_slice(&data);
    body.extend_from_slice(b"\r\n--B--\r\n");
    let cut_at = [
        0,
        1,
        40,
        300,
        body.len() / 2,
        body.len() - 9,
        body.len() - 3,
    ];
    for len in cut_at {
        let call = Call::new("POST", "/")
            .header("content-type", FORM)
            .body(&body[..len]);
        assert_eq!(world.call(call.cut()).await.status, 400, "cut at {len}");
        assert_eq!(
            world.raw_form(body[..len].to_vec()).await.status,
            400,
            "ends at {len}"
        );
        assert!(world.object("big").await.is_none(), "cut at {len}");
    }
    let told = world.raw_form(body).await;
    assert_eq!(told.json["hash"], "ljlanhukeOaPUVX4zvhETyfDHcT4");
    assert_eq!(world.bytes("big").await, data);
}

/// Standard headers and the answer's type can be asked for by fields.
#[tokio::test]
async fn further_fields() {
    let world = World::new();
    let parts = [
        field("key", "k"),
        field("accept", "text/plain"),
        field("cacheControl", "no-cache"),
        field("X-QN-Meta-!Content-Type", "a/b"),
        field("nobody-knows", "x"),
        HELLO.to_owned(),
    ];
    let told = world.form(r#"{"scope":"b"}"#, &parts).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.headers["content-type"], "text/plain");
    let object = world.object("k").await.unwrap();
    assert_eq!(object.metadata["!cache-control"], "no-cache");
    assert_eq!(object.mime_type, "a/b");
    let told = world.call(Call::new("POST", "/").body("x")).await;
    assert_eq!(told.status, 400, "no form at all");
}

/// putb64: any cut of the text into pieces, and what it is refused for.
#[tokio::test]
async fn put_base64() {
    let world = World::new();
    let data = pattern(200_000);
    let text = STANDARD.encode(&data);
    let rows = [
        ("200000/key/aw==", text.as_str(), "200 -"),
        (
            "-1/key/aw==/crc32/1",
            text.as_str(),
            "406 crc32 check error",
        ),
        (
            "199999",
            text.as_str(),
            "400 file size doesn't match the body",
        ),
        ("-1/key/aw==/mimeType/YS9i", text.as_str(), "200 -"),
        ("0/key/ZQ==", "", "200 -"),
        ("-1", "YQ==YQ==", "400 invalid base64 data"),
        ("-1", "YQ=", "400 invalid base64 data"),
        ("-1", "Y_-=", "400 invalid base64 data"),
        ("x", "", "400 invalid file size"),
        ("-1/crc32/x", "", "400 invalid crc32"),
    ];
    for (rest, text, expected) in rows {
        let target = format!("/putb64/{rest}");
        let call = Call::new("POST", &target).token(&world.token(r#"{"scope":"b"}"#));
        assert_eq!(
            world.call(call.body(text)).await.error(),
            expected,
            "{rest}"
        );
    }
    assert_eq!(world.bytes("k").await, data);
    assert_eq!(world.object("k").await.unwrap().mime_type, "a/b");
}
