//! What the known answers leave open: headers, rare types, dates, and garbage.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::kodo::{AccessKey, SecretKey};

fn keys(secret: &str) -> Credentials {
    Credentials::new(
        AccessKey::new("ak").expect("a fine key"),
        SecretKey::new(secret).expect("a fine key"),
    )
}

fn signable<'a>(headers: &'a HeaderMap, content_type: Option<&'a str>) -> Signable<'a> {
    Signable {
        method: "POST",
        target: "/a?b=1",
        host: "h:81",
        content_type,
        headers,
        body: b"body",
    }
}

/// Only `X-Qiniu-…` headers count, in canonical spelling and order, however they came in.
#[test]
fn headers_are_canonical() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-qiniu-zz-ab", "3"),
        ("x-qiniu-_", "2"),
        ("x-qiniu-date", "1"),
        ("x-qiniu-", "too short"),
        ("x-other", "no"),
    ] {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        headers.append(name, HeaderValue::from_static(value));
    }
    headers.append("x-qiniu-date", HeaderValue::from_static("later"));
    let text = qiniu_text(&signable(&headers, None), false);
    let expected = "POST /a?b=1\nHost: h:81\nX-Qiniu-Date: 1\nX-Qiniu-Zz-Ab: 3\nX-Qiniu-_: 2\n\n";
    assert_eq!(String::from_utf8_lossy(&text), expected);
}

/// Which bodies are signed depends on scheme and type; rare types verify either way.
#[test]
fn bodies_by_type() {
    let headers = HeaderMap::new();
    let rows = [
        (None, false, false),
        (Some(FORM), true, true),
        (Some("application/json"), false, true),
        (Some("application/octet-stream"), false, false),
        (Some("text/plain"), false, false),
    ];
    for (content_type, in_qbox, in_qiniu) in rows {
        let request = signable(&headers, content_type);
        let has_body = |text: Vec<u8>| text.ends_with(b"body");
        assert_eq!(has_body(qbox_text(&request)), in_qbox, "{content_type:?}");
        let signed = is_body_signed_by_all(&request);
        assert_eq!(
            has_body(qiniu_text(&request, signed)),
            in_qiniu,
            "{content_type:?}"
        );
    }
    let plain = signable(&headers, Some("text/plain"));
    for with_body in [true, false] {
        let value = authorization("Qiniu", &keys("s"), &qiniu_text(&plain, with_body));
        assert!(verify(&keys("s"), &value, &plain), "{with_body}");
    }
    let octets = signable(&headers, Some("application/octet-stream"));
    let value = authorization("Qiniu", &keys("s"), &qiniu_text(&octets, true));
    assert!(!verify(&keys("s"), &value, &octets));
}

/// Each row differs from a good signature in one thing.
#[test]
fn refuses_what_is_no_signature() {
    let headers = HeaderMap::new();
    let request = signable(&headers, Some(FORM));
    let (old, new) = (qbox(&keys("s"), &request), qiniu(&keys("s"), &request));
    assert!(verify(&keys("s"), &old, &request) && verify(&keys("s"), &new, &request));
    for bad in [
        String::new(),
        "Qiniu".to_owned(),
        "Qiniu ak".to_owned(),
        new.replace("Qiniu", "QBox"),
        old.replace("QBox", "Qiniu"),
        new.replace("ak:", "other:"),
        new.replace("Qiniu ", "Qiniu  "),
        qiniu(&keys("other"), &request),
        format!("{new}x"),
    ] {
        assert!(!verify(&keys("s"), &bad, &request), "{bad}");
    }
    let plain = signable(&headers, Some("text/plain"));
    let other = qiniu(&keys("other"), &plain);
    assert!(
        !verify(&keys("s"), &other, &plain),
        "that a body may be signed or not excuses no signature"
    );
    let elsewhere = Signable {
        host: "h",
        ..request
    };
    assert!(
        !verify(&keys("s"), &new, &elsewhere),
        "Qiniu covers the host"
    );
    assert!(verify(&keys("s"), &old, &elsewhere), "QBox does not");
}

/// Dates both ways, at the edges of the calendar; and what is no date.
#[test]
fn dates() {
    for (seconds, text) in [
        (0, "19700101T000000Z"),
        (951_782_400, "20000229T000000Z"),
        (1_709_164_799, "20240228T235959Z"),
        (1_893_456_000, "20300101T000000Z"),
        (4_107_542_400, "21000301T000000Z"),
    ] {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(date(at), text);
        assert_eq!(parse_date(text), Some(at));
    }
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(date(before), "19700101T000000Z");
    for bad in [
        "",
        "20300101T000000",
        "20300101 000000Z",
        "20301301T000000Z",
        "20300001T000000Z",
        "20300132T000000Z",
        "21000229T000000Z",
        "19691231T235959Z",
        "20300101T240000Z",
        "20300101T006000Z",
        "20300101T000060Z",
        "+2030101T000000Z",
        "2030010éT00000Z",
    ] {
        assert_eq!(parse_date(bad), None, "{bad}");
    }
}

proptest! {
    /// What is signed verifies, and garbage neither verifies nor panics.
    #[test]
    fn sign_and_verify(target: String, body: Vec<u8>, garbage: String, seconds in 0..1_u64 << 37) {
        let headers = HeaderMap::new();
        let request = Signable {
            target: &target,
            body: &body,
            ..signable(&headers, Some(FORM))
        };
        for value in [qbox(&keys("s"), &request), qiniu(&keys("s"), &request)] {
            prop_assert!(verify(&keys("s"), &value, &request));
            prop_assert!(!verify(&keys("t"), &value, &request));
        }
        prop_assert!(!verify(&keys("s"), &garbage, &request));
        let guess = format!("Qiniu ak:{garbage}");
        prop_assert!(!verify(&keys("s"), &guess, &request));
        let _ = parse_date(&garbage);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        prop_assert_eq!(parse_date(&date(at)), Some(at));
    }
}
