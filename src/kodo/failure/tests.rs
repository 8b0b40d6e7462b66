//! The table of section 8 of the protocol reference, row by row, and answers of no known shape.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;
use FailureKind as K;

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    Answer {
        status: StatusCode::from_u16(status).expect("three digits"),
        headers: map,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn genuine(status: u16, body: &str) -> Answer {
    answer(status, &[("x-reqid", "r1")], body)
}

fn said(error: &str) -> String {
    serde_json::json!({ "error": error }).to_string()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Every code of section 8.1, with every text that splits one; wrong regions have their own table.
const CODES: &[(u16, &str, FailureKind)] = &[
    (303, "", K::Refused),
    (400, "invalid argument", K::BadRequest),
    (400, "file is not specified in multipart", K::BadRequest),
    (400, "parts param can't be empty", K::BadRequest),
    (400, "callbackbodynotspecified", K::BadRequest),
    (
        400,
        "transfer acceleration is not configured on this bucket",
        K::AccelerationOff,
    ),
    (401, "token not specified", K::Unauthorized),
    (401, "bad token", K::Unauthorized),
    (401, "expired token", K::Unauthorized),
    (401, "token out of date", K::Unauthorized),
    (401, "token expired 25201 seconds ago", K::Unauthorized),
    (403, "key doesn't match with scope", K::Forbidden),
    (403, "limited mimeType: ...", K::Forbidden),
    (403, "not allowed", K::Forbidden),
    (403, "request time too skewed", K::ClockSkew),
    (404, "", K::NotFound),
    (405, "", K::MethodNotAllowed),
    (406, "crc32 check error", K::ChecksumRefused),
    (408, "", K::TimedOut),
    (413, "exceed FsizeLimit", K::TooLarge),
    (413, "request entity too large", K::BodyLimit),
    (413, "", K::BodyLimit),
    (419, "", K::AccountFrozen),
    (429, "", K::Throttled),
    (478, "", K::Refused),
    (500, "", K::Server),
    (501, "", K::Refused),
    (502, "", K::Server),
    (503, "", K::Server),
    (504, "", K::Server),
    (509, "", K::Throttled),
    (571, "", K::Server),
    (573, "", K::Throttled),
    (579, "", K::CallbackFailed),
    (599, "", K::Server),
    (608, "", K::Changed),
    (612, "no such file or directory", K::NoSuchObject),
    (612, "no such uploadId", K::NoSuchUpload),
    (613, "cond not match", K::Changed),
    (614, "file exists", K::Exists),
    (616, "", K::Refused),
    (618, "", K::Refused),
    (630, "", K::BucketLimit),
    (631, "no such bucket", K::NoSuchBucket),
    (632, "", K::Refused),
    (640, "", K::BadMarker),
    (701, "invalid context", K::InvalidContext),
    (701, "block 0: invalid context", K::InvalidContext),
    (799, "", K::Refused),
];

/// Each row of the table becomes its kind, with the server's words where it has any.
#[test]
fn every_code() {
    for (status, text, kind) in CODES {
        let failure = check(&genuine(*status, &said(text)), now()).expect_err("a refusal");
        assert_eq!(failure.kind, *kind, "{status} {text}");
        assert_eq!(failure.status, Some(*status));
        assert_eq!(failure.request_id.as_deref(), Some("r1"));
        assert!(!failure.message.is_empty(), "{status}");
        assert!(
            failure.message.ends_with(text),
            "{status} {text}: {failure}"
        );
    }
    for status in [200, 298] {
        assert_eq!(check(&genuine(status, "[]"), now()), Ok(()));
    }
}

/// A refusal that says nothing is explained all the same, and each reason in its own words.
#[test]
fn every_reason_without_words() {
    let ours = |status| refusal(&genuine(status, ""), now()).message;
    let without_reason = ours(499);
    let statuses = [
        400, 401, 403, 404, 405, 406, 408, 413, 419, 429, 500, 579, 608, 612, 613, 614, 630, 631,
        640, 701,
    ];
    for (index, status) in statuses.into_iter().enumerate() {
        let message = ours(status);
        assert_ne!(message, without_reason, "{status}");
        assert!(message.ends_with(char::is_alphabetic), "{message}");
        for other in &statuses[..index] {
            assert_ne!(message, ours(*other), "{status} and {other}");
        }
    }
    for (status, same_as) in [(509, 429), (573, 429), (502, 500), (599, 500)] {
        assert_eq!(ours(status), ours(same_as), "{status}");
    }
}

/// 400 for another region's host names the right ones, as bare names, in whatever spelling.
#[test]
fn wrong_regions() {
    let rows: [(&str, &[&str]); 6] = [
        (
            "incorrect region, please use up-z2.qiniup.com",
            &["up-z2.qiniup.com"],
        ),
        (
            "incorrect zone, please use up-z1.qiniup.com",
            &["up-z1.qiniup.com"],
        ),
        (
            "Incorrect Region, please use up-z2.qiniup.com,upload-z2.qiniup.com, http://a.b:81.",
            &["up-z2.qiniup.com", "upload-z2.qiniup.com", "a.b:81"],
        ),
        (
            "incorrect region, please use your own, or a.b or a.b",
            &["a.b"],
        ),
        ("incorrect region", &[]),
        ("incorrect region, please use", &[]),
    ];
    for (text, expected) in rows {
        let hosts = expected.iter().map(|host| (*host).to_owned()).collect();
        let failure = refusal(&genuine(400, &said(text)), now());
        assert_eq!(failure.kind, K::WrongRegion { hosts }, "{text}");
    }
    let many: Vec<String> = (0..9).map(|index| format!("h{index}.b")).collect();
    let text = format!("incorrect region, please use {}", many.join(","));
    let hosts = many[..8].to_vec();
    let failure = refusal(&genuine(400, &said(&text)), now());
    assert_eq!(failure.kind, K::WrongRegion { hosts }, "no page of hosts");
}

/// A commit's 701 may name the block, so that the others need not be sent again.
#[test]
fn refused_blocks() {
    for (text, expected) in [
        ("block 0: invalid context", Some(0)),
        ("block 12: invalid context", Some(12)),
        ("invalid context", None),
        ("block x", None),
        ("block 99999999999999999999999", None),
    ] {
        let failure = refusal(&genuine(701, &said(text)), now());
        assert_eq!(failure.refused_block, expected, "{text}");
    }
}

/// A success that lacks what every success of Kodo's has is somebody else's.
#[test]
fn successes_of_others() {
    const PAGE: &str = "\n<!doctype html><html><head><TITLE> Log in </TITLE></head></html>";
    let rows = [
        (answer(200, &[], "{}"), "without X-Reqid"),
        (answer(200, &[("x-reqid", "")], "{}"), "without X-Reqid"),
        (answer(200, &[("x-log", "UP")], "{}"), "without X-Reqid"),
        (answer(200, &[], PAGE), "an HTML page, \"Log in\""),
        (genuine(200, PAGE), "an HTML page, \"Log in\""),
        (genuine(200, "{\"hash\":\"Fq"), "cut off"),
        (genuine(200, ""), "cut off"),
        (genuine(200, "fine"), "no JSON"),
        (genuine(200, "[1]"), "another form"),
    ];
    for (answer, expected) in rows {
        let failure =
            read_json::<serde_json::Map<_, _>>(&answer, now()).expect_err("not believable");
        assert_eq!(failure.kind, K::NotKodo, "{answer:?}");
        assert!(failure.message.contains(expected), "{failure}");
        assert_eq!(failure.status, Some(200));
    }
}

/// Refusals by something on the way are not taken for Kodo's, except where a gateway may speak.
#[test]
fn refusals_of_others() {
    let rows = [
        (302, "", K::NotKodo),
        (403, "<html><title>Blocked</title>", K::NotKodo),
        (401, "", K::NotKodo),
        (407, "", K::NotKodo),
        (404, "404 page not found", K::NotKodo),
        (408, "", K::TimedOut),
        (
            413,
            "<html><h1>413 Request Entity Too Large</h1>",
            K::BodyLimit,
        ),
        (429, "", K::Throttled),
        (502, "<html><title>502 Bad Gateway</title>", K::Server),
        (599, "", K::Server),
        (401, "{\"error\":\"bad token\"}", K::Unauthorized),
    ];
    for (status, body, kind) in rows {
        let failure = refusal(&answer(status, &[], body), now());
        assert_eq!(failure.kind, kind, "{status} {body}");
    }
    let logged = answer(403, &[("x-log", "UP")], "");
    assert_eq!(refusal(&logged, now()).kind, K::Forbidden);
}

/// As long as a signature, and none.
const LONG_WORD: &str = "no region abcdefghij-klmnopqrst-uvwxyz";

/// The shapes that error bodies come in, and what a person is told.
#[test]
fn shapes_of_errors() {
    let nested = serde_json::json!({
        "callback_url": "http://c", "callback_body": "a=1", "token": "secret-token",
        "err_code": 502, "error": "callback status 502", "hash": "Fq", "key": "k",
    });
    let rows = [
        (400, r#"{"error":"why","code":400}"#.to_owned(), "why"),
        (400, r#"{"error_code":"BadThing"}"#.to_owned(), "BadThing"),
        (400, r#"{"key":"ErrKey","errno":7}"#.to_owned(), "ErrKey"),
        (400, r#"{"errno":7}"#.to_owned(), "error 7"),
        (400, r#"{"err":"why"}"#.to_owned(), "why"),
        (400, r#"{"error":{"message":"why"}}"#.to_owned(), "why"),
        (400, "plain words".to_owned(), "plain words"),
        (400, said(LONG_WORD), LONG_WORD),
        (
            400,
            r#"{"error":"cut"#.to_owned(),
            "the request is malformed",
        ),
        (400, String::new(), "the request is malformed"),
        (
            579,
            said(&nested.to_string()),
            "the object is stored, but the callback failed: callback status 502 (callback http://c)",
        ),
        (
            579,
            said("{cut"),
            "the object is stored, but the callback failed: no readable reason",
        ),
    ];
    for (status, body, expected) in rows {
        let failure = refusal(&genuine(status, &body), now());
        assert_eq!(failure.message, expected, "{body}");
    }
    // An error wrapped in a success is not believed, but said.
    let wrapped = read_json::<Vec<u8>>(&genuine(200, &said("why")), now()).expect_err("an error");
    assert_eq!(wrapped.kind, K::NotKodo);
    assert!(
        wrapped.message.ends_with("a success that says: why"),
        "{wrapped}"
    );
}

/// Whatever a server repeats, no token or signature reaches a message.
#[test]
fn messages_hold_no_secret() {
    let token = "AK:hh3KuZ1pa1WZDR1_6bXXqkq4wzY=:eyJzY29wZSI6ImIifQ==";
    for body in [
        said(&format!("bad token: {token}")),
        said(&format!("bad sign \"QBox {}\"", &token[..31])),
        said(&format!("sign={}&x=1", &token[3..31])),
        said(&format!("token={token}")),
        format!("no json UpToken {token} here"),
        format!("<html><title>{token}</title>"),
        said(&serde_json::json!({ "error": token, "token": token }).to_string()),
    ] {
        let failure = refusal(&genuine(401, &body), now());
        let text = format!("{failure} {failure:?}");
        assert!(!text.contains("hh3KuZ1") && !text.contains("eyJ"), "{text}");
    }
    let wrong_type = genuine(200, &serde_json::json!({ "ctx": token }).to_string());
    let failure = read_json::<u8>(&wrong_type, now()).expect_err("no number");
    assert!(!failure.message.contains("hh3KuZ1"), "{failure}");
    let answer = genuine(401, &said(token));
    assert!(
        !format!("{answer:?}").contains("hh3KuZ1"),
        "answers print without their body"
    );
}

/// `Retry-After` as seconds and as a date; `Date` as the server's clock; a doubled request id.
#[test]
fn headers_of_a_failure() {
    let rows = [
        ("7", Some(7)),
        (" 0 ", Some(0)),
        ("Tue, 14 Nov 2023 22:13:30 GMT", Some(10)),
        ("Tue, 14 Nov 2023 22:13:10 GMT", Some(0)),
        ("18446744073709551615", Some(86_400)),
        ("soon", None),
        ("-1", None),
    ];
    for (value, seconds) in rows {
        let answer = answer(503, &[("retry-after", value)], "");
        let expected = seconds.map(Duration::from_secs);
        assert_eq!(refusal(&answer, now()).retry_after, expected, "{value}");
    }
    let headers = [
        ("x-reqid", "first, second"),
        ("x-reqid", "third"),
        ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ];
    let failure = refusal(&answer(503, &headers, ""), now());
    assert_eq!(failure.request_id.as_deref(), Some("first"));
    assert_eq!(failure.server_time, Some(now()));
}

proptest! {
    /// No body, status or header makes the reader panic, and a refusal always says something.
    #[test]
    fn never_panics(status in 100_u16..1000, body: Vec<u8>, text: String, reqid: bool) {
        for body in [body, said(&text).into_bytes(), format!("<title>{text}").into_bytes()] {
            let mut answer = answer(status, if reqid { &[("x-reqid", "r")] } else { &[] }, "");
            answer.body = Bytes::from(body);
            if let Ok(value) = HeaderValue::from_str(&text) {
                answer.headers.insert("retry-after", value);
            }
            let _ = read_json::<serde_json::Value>(&answer, now());
            if !answer.status.is_success() {
                prop_assert!(!refusal(&answer, now()).message.is_empty());
            }
        }
    }
}
