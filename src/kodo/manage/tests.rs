//! Requests and answers of the management calls.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::kodo::{AccessKey, SecretKey};
use crate::model::FailureKind;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn keys() -> Credentials {
    Credentials::new(
        AccessKey::new("MY_ACCESS_KEY").expect("a fine key"),
        SecretKey::new("MY_SECRET_KEY").expect("a fine key"),
    )
}

fn bucket() -> Bucket {
    Bucket::new("my-bucket").expect("a fine name")
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("a short key")
}

fn answer(status: u16, body: &str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("x-reqid", HeaderValue::from_static("r"));
    Answer {
        status: StatusCode::from_u16(status).expect("three digits"),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// The requests that the reference signs come out as it signs them.
#[test]
fn signed_requests() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    let (one, empty) = (key("a.txt"), key(""));
    let calls = [stat(&bucket(), &one, false), delete(&bucket(), &one)];
    let both = batch(&calls).expect("two calls");
    let query = ListQuery {
        prefix: "a/",
        limit: 100,
        ..ListQuery::default()
    };
    let endpoint = |host| Endpoint::parse(host, true).expect("a fine host");
    let (rs, rsf) = (endpoint("rs.qiniuapi.com"), endpoint("rsf.qiniuapi.com"));
    let rows = [
        (
            stat(&bucket(), &one, false),
            "/stat/bXktYnVja2V0OmEudHh0",
            &rs,
            None,
            Some("8hiDVWA3xikAUw4EvDYLfUPRUAc="),
        ),
        (
            delete(&bucket(), &one),
            "/delete/bXktYnVja2V0OmEudHh0",
            &rs,
            None,
            Some("zL_yhd3V19D8tAnet9tmulTfQho="),
        ),
        (
            both.clone(),
            "/batch",
            &rs,
            None,
            Some("izi-fUXuo3CRcLdohXYBWLJhxEU="),
        ),
        (
            both,
            "/batch",
            &rs,
            Some(at),
            Some("pDooeICZ1tCi6WY-GdxVRAYUVWk="),
        ),
        (
            query.request(&bucket()).header(CONTENT_TYPE, FORM),
            "/list?bucket=my-bucket&limit=100&prefix=a%2F",
            &rsf,
            None,
            Some("p2wpMzMmTY316JFhsSqld03FfMY="),
        ),
        (
            stat(&bucket(), &empty, true),
            "/stat/bXktYnVja2V0Og==?needparts=true",
            &rs,
            None,
            None,
        ),
    ];
    for (request, target, endpoint, at, sign) in rows {
        assert_eq!(request.target, target);
        let request = signed(request, &keys(), endpoint, at);
        let value = request.headers.get(AUTHORIZATION).expect("signed");
        assert!(value.is_sensitive(), "not shown by Debug");
        if let Some(sign) = sign {
            assert_eq!(value, &format!("Qiniu MY_ACCESS_KEY:{sign}"), "{target}");
        }
    }
}

/// Everything that a list can be asked, escaped where it must be.
#[test]
fn list_requests() {
    let all = ListQuery::default().request(&bucket());
    assert_eq!(all.target, "/list?bucket=my-bucket&limit=1000");
    let query = ListQuery {
        prefix: "目/?&",
        delimiter: "/",
        marker: "eyJj=",
        limit: 5000,
        with_parts: true,
    };
    assert_eq!(
        query.request(&bucket()).target,
        "/list?bucket=my-bucket&limit=1000&prefix=%E7%9B%AE%2F%3F%26&delimiter=%2F&marker=eyJj%3D&needparts=true"
    );
}

/// A stat with every field of the reference, and one with the least.
#[test]
fn stat_answers() {
    let full = json!({
        "fsize": 5, "hash": "Fqr0xh3cxeii2r7eDztILNmuqUNN", "mimeType": "text/plain", "type": 1,
        "putTime": 17_000_000_001_234_567_u64, "endUser": "u", "status": 1, "restoreStatus": 2,
        "md5": "5d41402abc4b2a76b9719d911017c592", "expiration": 1, "transitionToIA": 2,
        "transitionToARCHIVE": 3, "transitionToDeepArchive": 4, "transitionToArchiveIR": 5,
        "x-qn-meta": {"color": "red"}, "parts": [3, 2], "something": "new",
    });
    let info = ObjectInfo::read(&answer(200, &full.to_string()), NOW).expect("all fields");
    assert_eq!(info.etag(), Some(Etag::of(b"hello")));
    let since = info.stored_at().duration_since(NOW).expect("after 1970");
    assert_eq!(since, Duration::from_nanos(1_700_000_000_123_456_700));
    assert_eq!(info.metadata["color"], "red");
    assert_eq!(info.parts, Some(vec![3, 2]));
    assert_eq!(
        (info.file_type, info.status, info.restore_status),
        (1, 1, Some(2))
    );
    assert_eq!((info.expiration, info.transition_to_ia), (Some(1), Some(2)));
    assert_eq!(info.transition_to_archive, Some(3));
    assert_eq!(info.transition_to_deep_archive, Some(4));
    assert_eq!(info.transition_to_archive_ir, Some(5));
    let least = ObjectInfo::read(&answer(200, r#"{"fsize":0,"hash":"?"}"#), NOW);
    assert_eq!(least.expect("the least").etag(), None);
    let gone = answer(612, r#"{"error":"no such file or directory"}"#);
    for failure in [ObjectInfo::read(&gone, NOW).map(drop), deleted(&gone, NOW)] {
        let kind = failure.expect_err("612").kind;
        assert_eq!(kind, FailureKind::NoSuchObject);
    }
    assert_eq!(deleted(&answer(200, ""), NOW), Ok(()));
}

/// Pages end with an empty marker, not with an empty page; `null` is an empty list.
#[test]
fn list_answers() {
    let rows = [
        (
            r#"{"marker":"m","items":null,"commonPrefixes":["a/"]}"#,
            Some("m"),
            0,
        ),
        (
            r#"{"items":[{"key":"k","hash":"h","fsize":1,"putTime":1}]}"#,
            None,
            1,
        ),
        (r#"{"marker":null}"#, None, 0),
        (r#"{"marker":""}"#, None, 0),
    ];
    for (body, next, len) in rows {
        let page = ListPage::read(&answer(200, body), NOW).expect("a page");
        assert_eq!((page.next(), page.items.len()), (next, len), "{body}");
    }
    let hello = json!({"items": [
        {"key": "k", "hash": "Fqr0xh3cxeii2r7eDztILNmuqUNN", "fsize": 5, "putTime": 1}
    ]});
    let page = ListPage::read(&answer(200, &hello.to_string()), NOW).expect("a page");
    assert_eq!(page.items[0].etag(), Some(Etag::of(b"hello")));
    let failure = ListPage::read(&answer(640, "{}"), NOW).expect_err("640");
    assert_eq!(failure.kind, FailureKind::BadMarker);
}

/// A batch tells of each call on its own; it must answer all of them.
#[test]
fn batches() {
    let body = r#"[{"code":200,"data":{"fsize":1,"hash":"h"}},{"code":200},
        {"code":612,"data":{"error":"no such file or directory"}},{"code":631,"data":null}]"#;
    for status in [200, 298] {
        let reply = BatchReply::read(&answer(status, body), 4, NOW).expect("four items");
        assert_eq!(reply.data::<ObjectInfo>(0).expect("an object").size, 1);
        assert_eq!(reply.items()[2].code, 612);
        assert_eq!(reply.done(1), Ok(()));
        let gone = reply.done(2).expect_err("612");
        assert_eq!(gone.kind, FailureKind::NoSuchObject);
        let kinds: Vec<FailureKind> = (1..5)
            .filter_map(|index| reply.data::<ObjectInfo>(index).err())
            .map(|failure| failure.kind)
            .collect();
        let expected = [
            FailureKind::NotKodo,
            FailureKind::NoSuchObject,
            FailureKind::NoSuchBucket,
            FailureKind::NotKodo,
        ];
        assert_eq!(kinds, expected);
    }
    let short = BatchReply::read(&answer(200, "[]"), 1, NOW).expect_err("too few");
    assert_eq!(short.kind, FailureKind::NotKodo);
    assert!(batch(&[]).is_none());
    let many = vec![delete(&bucket(), &key("k")); BATCH_LEN_MAX + 1];
    assert!(batch(&many).is_none() && batch(&many[1..]).is_some());
}

proptest! {
    /// Answers of any bytes are read or refused.
    #[test]
    fn reading_never_panics(body: String, text: String, number: i64) {
        let json = json!({"fsize": number, "hash": text, "putTime": number, "marker": text,
            "items": [{"key": text, "hash": text, "fsize": number}]});
        let list = json!([{"code": number, "data": json}]);
        for body in [body, json.to_string(), list.to_string()] {
            let answer = answer(200, &body);
            if let Ok(info) = ObjectInfo::read(&answer, NOW) {
                let _ = info.stored_at();
            }
            let _ = ListPage::read(&answer, NOW);
            if let Ok(reply) = BatchReply::read(&answer, 1, NOW) {
                let _ = reply.data::<ObjectInfo>(0);
            }
        }
    }
}
