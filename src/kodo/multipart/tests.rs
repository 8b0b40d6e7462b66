//! Requests and answers of v2.

use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::kodo::{AccessKey, Credentials, PutPolicy, Scope, SecretKey};
use crate::model::FailureKind;

fn bucket() -> Bucket {
    Bucket::new("my-bucket").expect("a fine name")
}

fn token() -> UploadToken {
    let keys = Credentials::new(
        AccessKey::new("ak").expect("a fine key"),
        SecretKey::new("sk").expect("a fine key"),
    );
    UploadToken::sign(&keys, &PutPolicy::new(Scope::Bucket(bucket()), 9))
}

fn upload() -> Upload {
    let key = ObjectKey::new("k.txt").expect("a short key");
    let id = UploadId::new("U").expect("a fine id");
    Upload::new(&bucket(), Some(&key), &id)
}

fn number(number: u32) -> PartNumber {
    PartNumber::new(number).expect("in range")
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

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// No key is `~`, the empty key an empty segment, and a key named `~` is neither.
#[test]
fn objects_in_paths() {
    for (key, expected) in [
        (None, "/buckets/my-bucket/objects/~/uploads"),
        (Some(""), "/buckets/my-bucket/objects//uploads"),
        (Some("~"), "/buckets/my-bucket/objects/fg==/uploads"),
        (Some("k.txt"), "/buckets/my-bucket/objects/ay50eHQ=/uploads"),
    ] {
        let key = key.map(|key| ObjectKey::new(key).expect("a short key"));
        let request = initiate(&token(), &bucket(), key.as_ref());
        assert_eq!(
            (request.method, request.target.as_str()),
            (Method::POST, expected)
        );
        assert!(request.body.is_empty());
        let id = UploadId::new("U").expect("a fine id");
        let target = Upload::new(&bucket(), key.as_ref(), &id)
            .abort(&token())
            .target;
        assert_eq!(target, format!("{expected}/U"));
    }
}

/// Part lists ask with both spellings of the marker, and only where there is one.
#[test]
fn part_list_requests() {
    const PATH: &str = "/buckets/my-bucket/objects/ay50eHQ=/uploads/U?max-parts=1000";
    assert_eq!(upload().list_parts(&token(), None).target, PATH);
    assert_eq!(
        upload().list_parts(&token(), Some(number(7))).target,
        format!("{PATH}&part-number-marker=7&part-number_marker=7")
    );
}

/// The commit lists parts by number, whatever order they came in, and leaves out what is not said.
#[test]
fn complete_is_in_order() {
    let parts = [(number(10), "E10"), (number(2), "E2"), (number(1), "E1")];
    let request = upload().complete(&token(), &Commit::new(None), parts);
    let Body::Bytes(body) = &request.body else {
        panic!("{request:?}");
    };
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let expected = json!({"parts": [
        {"partNumber": 1, "etag": "E1"}, {"partNumber": 2, "etag": "E2"},
        {"partNumber": 10, "etag": "E10"},
    ]});
    assert_eq!(body, expected);
}

/// Upload ids that would leave their path segment are never used.
#[test]
fn upload_ids() {
    for bad in ["", "a/b", "a?b", "a#b", "a%b", "a b", ".", "..", "é"] {
        assert!(UploadId::new(bad).is_none(), "{bad}");
        let body = json!({"uploadId": bad, "expireAt": 9}).to_string();
        let failure = Initiated::read(&answer(200, &body), NOW).expect_err(bad);
        assert_eq!(failure.kind, FailureKind::NotKodo);
    }
    let good = Initiated::read(&answer(200, r#"{"uploadId":"5f:a-_="}"#), NOW);
    assert_eq!(good.expect("a fine id").upload_id.as_str(), "5f:a-_=");
}

/// A part counts when the service's hash of it is ours.
#[test]
fn part_replies() {
    let ours = Etag::of(b"hello");
    let read = |body: &str| PartReply::read(&answer(200, body), NOW);
    let good = read(r#"{"etag":"Fqr0xh3cxeii2r7eDztILNmuqUNN","md5":"m"}"#).expect("readable");
    assert_eq!(good.verify(&ours), Ok(()));
    for bad in ["FlupPJ2wz_k_UrUh10IOQ_btonhP", "", "no hash"] {
        let reply = read(&json!({ "etag": bad }).to_string()).expect("readable");
        let failure = reply.verify(&ours).expect_err(bad);
        assert_eq!(failure.kind, FailureKind::Mismatch);
        assert_eq!(failure.request_id.as_deref(), Some("r"));
    }
    assert_eq!(read("{}").expect_err("no etag").kind, FailureKind::NotKodo);
}

/// On an upload id, 612 means the upload id, whatever the text says about files.
#[test]
fn lost_uploads() {
    let gone = answer(612, r#"{"error":"no such file or directory"}"#);
    let failures = [
        PartReply::read(&gone, NOW).map(drop),
        PartsPage::read(&gone, None, NOW).map(drop),
        completed(&gone, AnswerForm::HashAndKey, NOW).map(drop),
        aborted(&gone, NOW),
    ];
    for failure in failures {
        assert_eq!(failure.expect_err("612").kind, FailureKind::NoSuchUpload);
    }
    assert_eq!(aborted(&answer(200, ""), NOW), Ok(()));
}

/// Pages go on from the marker in order, or are refused: an endless list would never end.
#[test]
fn part_pages() {
    let body = |numbers: &[u32], marker: u32| {
        let parts: Vec<Value> = numbers
            .iter()
            .map(|number| json!({"partNumber": number, "etag": "E", "size": 1, "putTime": 9}))
            .collect();
        json!({"uploadId": "U", "expireAt": 9, "partNumberMarker": marker, "parts": parts})
    };
    // After, numbers, marker; then the next marker, or none where the page is refused.
    let rows: [(u32, &[u32], u32, Option<u32>); 11] = [
        (0, &[], 0, Some(0)),
        (0, &[1, 5], 0, Some(0)),
        (0, &[1, 5], 5, Some(5)),
        (5, &[6], 0, Some(0)),
        (5, &[], 6, Some(6)),
        (5, &[], 5, None),
        (5, &[5], 0, None),
        (0, &[2, 1], 0, None),
        (0, &[1, 1], 0, None),
        (0, &[1, 5], 4, None),
        (0, &[10_001], 0, None),
    ];
    for (after, numbers, marker, expected) in rows {
        let body = body(numbers, marker);
        let page = PartsPage::read(&answer(200, &body.to_string()), PartNumber::new(after), NOW);
        match (page, expected) {
            (Ok(page), Some(next)) => {
                assert_eq!(page.next.map_or(0, PartNumber::get), next, "{body}");
                assert_eq!(page.parts.len(), numbers.len());
            }
            (Err(failure), None) => assert_eq!(failure.kind, FailureKind::NotKodo),
            (page, _) => panic!("{body} after {after}: {page:?}"),
        }
    }
}

proptest! {
    /// Answers of any bytes are read or refused.
    #[test]
    fn reading_never_panics(body: String, text: String, numbers: Vec<i64>, marker: i64) {
        let parts: Vec<Value> = numbers
            .iter()
            .map(|number| json!({"partNumber": number, "etag": text, "size": number}))
            .collect();
        let json = json!({"uploadId": text, "etag": text, "hash": text, "key": text,
            "parts": parts, "partNumberMarker": marker, "expireAt": marker});
        for body in [body, json.to_string()] {
            let answer = answer(200, &body);
            let _ = Initiated::read(&answer, NOW);
            let _ = PartReply::read(&answer, NOW);
            let _ = PartsPage::read(&answer, None, NOW);
            let _ = completed(&answer, AnswerForm::HashAndKey, NOW);
        }
    }
}
