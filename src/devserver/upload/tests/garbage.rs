//! Whatever comes, a reply in Kodo's shape goes out: no panic, no other body.

use proptest::prelude::*;
use serde_json::json;

use crate::devserver::upload::tests::form::{field, form};
use crate::devserver::upload::tests::{Call, Told, World};

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// An error answer, and nothing but one.
fn check_refused(told: &Told) {
    assert!(
        (400..700).contains(&told.status) || told.status == 701,
        "{told:?}"
    );
    assert!(told.json["error"].is_string(), "{told:?}");
    assert_eq!(told.headers["content-type"], "application/json", "{told:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Paths and methods.
    #[test]
    fn paths(method in "GET|POST|PUT|DELETE|X", path in "[a-z0-9/~=%:?&._-]{0,60}", with_token: bool) {
        let Ok(_) = format!("/{path}").parse::<http::Uri>() else {
            return Ok(());
        };
        run(async {
            let world = World::new();
            let target = format!("/{path}");
            let mut call = Call::new(&method, &target).body("x");
            if with_token {
                call = call.token(&world.token(r#"{"scope":"b"}"#));
            }
            check_refused(&world.call(call).await);
        });
    }

    /// Tokens: any text, and a real one with a character changed.
    #[test]
    fn tokens(text in "[ -~]{0,80}", at: prop::sample::Index, change in "[a-zA-Z0-9:=_-]") {
        run(async {
            let world = World::new();
            let good = world.token(r#"{"scope":"b"}"#);
            let at = at.index(good.len());
            let changed = format!("{}{change}{}", &good[..at], &good[at + 1..]);
            for token in [text, changed] {
                let call = Call::new("POST", "/mkblk/1").token(&token).body("x");
                let told = world.call(call).await;
                if token == good {
                    assert_eq!(told.status, 200);
                } else {
                    check_refused(&told);
                    assert_eq!(told.status, 401);
                }
            }
        });
    }

    /// Forms: any bytes, and a good form with some of its bytes replaced.
    #[test]
    fn forms(bytes: Vec<u8>, at: prop::sample::Index, keep: prop::sample::Index) {
        run(async {
            let world = World::new();
            let token = field("token", &world.token(r#"{"scope":"b"}"#));
            let file = "name=\"file\"; filename=\"a\"\r\n\r\nhello".to_owned();
            let mut changed = form(&[token, field("crc32", "907060870"), file]);
            let at = at.index(changed.len());
            let end = (at + keep.index(20)).min(changed.len());
            changed.splice(at..end, bytes.iter().copied());
            for body in [bytes, changed] {
                let call = Call::new("POST", "/").header("content-type", "multipart/form-data; boundary=B");
                let told = world.call(call.body(body)).await;
                if told.status != 200 {
                    check_refused(&told);
                }
            }
        });
    }

    /// Bodies of complete: any bytes, and JSON of the right names with the wrong values.
    #[test]
    fn completions(bytes: Vec<u8>, number: i64, etag in ".{0,30}", kind in 0..6) {
        run(async {
            let world = World::new();
            let token = world.token(r#"{"scope":"b"}"#);
            let front = "/buckets/b/objects/~/uploads";
            let told = world.call(Call::new("POST", front).token(&token)).await;
            let target = format!("{front}/{}", told.text_of("uploadId"));
            let part = json!({ "partNumber": number, "etag": etag });
            let json = match kind {
                0 => json!({ "parts": part }),
                1 => json!({ "parts": [part], "metadata": number }),
                2 => json!({ "parts": [part, etag] }),
                3 => json!({ "parts": [part], "customVars": { "x:a": number } }),
                4 => json!({ "parts": { "0": part }, "fname": [] }),
                _ => json!([part]),
            };
            for body in [bytes, json.to_string().into_bytes()] {
                let call = Call::new("POST", &target).token(&token);
                check_refused(&world.call(call.body(body)).await);
            }
        });
    }
}
