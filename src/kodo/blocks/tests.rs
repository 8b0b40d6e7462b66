//! Requests and answers of v1.

use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::kodo::{AccessKey, Credentials, PutPolicy, Scope, SecretKey};
use crate::model::{Bucket, FailureKind, ObjectKey};

fn token() -> UploadToken {
    let keys = Credentials::new(
        AccessKey::new("ak").expect("a fine key"),
        SecretKey::new("sk").expect("a fine key"),
    );
    let bucket = Bucket::new("b").expect("a fine name");
    UploadToken::sign(&keys, &PutPolicy::new(Scope::Bucket(bucket), 9))
}

fn answer(body: &str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("x-reqid", HeaderValue::from_static("r"));
    Answer {
        status: StatusCode::OK,
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

/// No key is no segment; the empty key and empty values are empty segments.
#[test]
fn mkfile_paths() {
    let rows: [(Option<&str>, &str); 3] = [
        (None, "/mkfile/0/x:e/"),
        (Some(""), "/mkfile/0/key//x:e/"),
        (Some("k.txt"), "/mkfile/0/key/ay50eHQ=/x:e/"),
    ];
    for (key, expected) in rows {
        let key = key.map(|key| ObjectKey::new(key).expect("a short key"));
        let commit = Commit::new(key).var("e", "").expect("a fine variable");
        assert_eq!(mkfile(&token(), 0, &commit, []).target, expected);
    }
}

/// Contexts that would break a path or mkfile's list are never used.
#[test]
fn contexts() {
    assert!(Context::new("aB3-_=").is_some());
    let long = "c".repeat(CONTEXT_LEN_MAX + 1);
    for bad in [
        "", "a,b", "a/b", "a?b", "a#b", "a%2Fb", "a b", "..", "é", &long,
    ] {
        assert!(Context::new(bad).is_none(), "{bad}");
        let body = serde_json::json!({"ctx": bad, "crc32": 1, "offset": 1}).to_string();
        let failure = ChunkReply::read(&answer(&body), SystemTime::UNIX_EPOCH).expect_err(bad);
        assert_eq!(failure.kind, FailureKind::NotKodo);
    }
}

/// An answer counts when it shows the bytes that were sent: crc32 of the chunk or of the block.
#[test]
fn verification() {
    let sent = SentChunk {
        block_offset: 10,
        chunk_crc32: 1,
        block_crc32: 2,
    };
    for (offset, crc32, is_fine) in [
        (10, 1, true),
        (10, 2, true),
        (10, 3, false),
        (9, 1, false),
        (11, 2, false),
    ] {
        let body = format!(r#"{{"ctx":"c","crc32":{crc32},"offset":{offset}}}"#);
        let reply = ChunkReply::read(&answer(&body), SystemTime::UNIX_EPOCH).expect("readable");
        match reply.verify(&sent) {
            Ok(()) => assert!(is_fine, "{body}"),
            Err(failure) => {
                assert!(!is_fine, "{body}");
                assert_eq!(failure.kind, FailureKind::Mismatch);
                assert_eq!(failure.request_id.as_deref(), Some("r"));
            }
        }
    }
}

/// The optional fields are taken where they are usable.
#[test]
fn optional_fields() {
    let read = |body| ChunkReply::read(&answer(body), SystemTime::UNIX_EPOCH).expect("readable");
    let full = read(
        r#"{"ctx":"c","checksum":"s","crc32":1,"offset":5,"host":"http://up-z0.qiniup.com","expired_at":1893456000,"new":1}"#,
    );
    assert_eq!(full.checksum.as_deref(), Some("s"));
    assert_eq!(full.expires, Some(1_893_456_000));
    let host = full.host.expect("a fine host").to_string();
    assert_eq!(host, "http://up-z0.qiniup.com");
    let bare = read(r#"{"ctx":"c","crc32":1,"offset":5,"host":"not a host","checksum":null}"#);
    assert_eq!((bare.host, bare.checksum, bare.expires), (None, None, None));
}

proptest! {
    /// Answers of any bytes are read or refused.
    #[test]
    fn reading_never_panics(body: String, ctx: String, crc32: i64, offset: i64) {
        let json = serde_json::json!({"ctx": ctx, "crc32": crc32, "offset": offset}).to_string();
        let cut: String = json.chars().take(40).collect();
        for body in [body, json, cut] {
            let _ = ChunkReply::read(&answer(&body), SystemTime::UNIX_EPOCH);
        }
    }
}
