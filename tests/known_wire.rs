//! Requests and answers of the Kodo dialect against the examples of the protocol, to the byte.
//!
//! The examples are in `fixtures/kodo/`: what the vendor's SDKs were seen to send.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use haul::engine::plan;
use haul::kodo::multipart::{self, initiate};
use haul::kodo::{AccessKey, AnswerForm, Boundary, ChunkReply, Commit, Context, Credentials, Etag};
use haul::kodo::{Initiated, PartNumber, PartReply, PartsPage, PutPolicy, Regions, Scope};
use haul::kodo::{SecretKey, SentChunk, Stored, Upload, UploadToken, blocks, encode, form, region};
use haul::model::{Answer, Body, Bucket, ByteSpan, Endpoint, ObjectKey, Request};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn fixture(text: &str) -> Value {
    serde_json::from_str(text).expect("a fixture is JSON")
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name]
        .as_str()
        .unwrap_or_else(|| panic!("{row} has no {name}"))
}

fn number(row: &Value, name: &str) -> u64 {
    row[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{row} has no {name}"))
}

fn bucket() -> Bucket {
    Bucket::new("my-bucket").expect("a fine name")
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("a short key")
}

fn token() -> UploadToken {
    let keys = Credentials::new(
        AccessKey::new("MY_ACCESS_KEY").expect("a fine key"),
        SecretKey::new("MY_SECRET_KEY").expect("a fine key"),
    );
    UploadToken::sign(
        &keys,
        &PutPolicy::new(Scope::Bucket(bucket()), 1_893_456_000),
    )
}

/// The object that the examples upload.
fn commit(file_name: &str) -> Commit {
    Commit::new(Some(key("k.txt")))
        .file_name(file_name)
        .mime_type("text/plain")
        .and_then(|commit| commit.var("x:foo", "bar"))
        .and_then(|commit| commit.metadata_entry("x-qn-meta-color", "red"))
        .expect("a fine commit")
}

fn answer(body: &Value) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("x-reqid", HeaderValue::from_static("r"));
    Answer {
        status: StatusCode::OK,
        headers,
        body: Bytes::from(body.to_string()),
    }
}

/// Pattern S of the reference: bytes from `from` on.
fn pattern_s(from: u64, len: u64) -> Vec<u8> {
    (from..from + len).map(|at| (at % 256) as u8).collect()
}

/// A request as it would go out, given the source it is read from.
fn sent_body(request: &Request, source: &[u8]) -> Vec<u8> {
    match &request.body {
        Body::Empty => Vec::new(),
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::Source {
            before,
            span,
            after,
        } => {
            let span = &source[span.offset as usize..span.end() as usize];
            [before.as_ref(), span, after.as_ref()].concat()
        }
    }
}

/// A form's body is the Python SDK's, byte for byte.
#[test]
fn form_body() {
    let example = fixture(include_str!("../fixtures/kodo/form.json"));
    let body = include_str!("../fixtures/kodo/form-body.txt");
    let token = token();
    let body = body
        .replace("\r\n", "\n")
        .replace('\n', "\r\n")
        .replace("<AK:sign:policy>", token.expose());
    let content = text(&example, "content").as_bytes();
    let crc32 = crc32fast::hash(content);
    assert_eq!(u64::from(crc32), number(&example, "crc32"));
    assert_eq!(Etag::of(content).to_string(), text(&example, "etag"));
    assert_eq!(
        encode::b64u(Etag::of(content).digest()),
        text(&example, "sha1_b64u")
    );
    let boundary = Boundary::parse(text(&example, "boundary")).expect("a fine boundary");
    let span = ByteSpan::new(0, content.len() as u64);
    let request = form::request(
        &token,
        &commit(text(&example, "file_name")),
        Some(crc32),
        span,
        &boundary,
    );
    let request = request.expect("no field holds the boundary");
    assert_eq!(String::from_utf8_lossy(&sent_body(&request, content)), body);
    assert_eq!(request.body.len(), body.len() as u64);
    assert_eq!(
        (request.method, request.target.as_str()),
        (Method::POST, "/")
    );
    assert_eq!(
        request.headers["content-type"],
        "multipart/form-data; boundary=B"
    );
    assert!(!request.headers.contains_key("authorization"));
}

/// The three calls of the v1 example, and the answers to them.
#[test]
fn v1_example() {
    let example = fixture(include_str!("../fixtures/kodo/v1.json"));
    let source = pattern_s(0, number(&example, "bytes"));
    let mut contexts = Vec::new();
    for (index, block) in example["blocks"]
        .as_array()
        .expect("blocks")
        .iter()
        .enumerate()
    {
        let span = ByteSpan::new(number(block, "from"), number(block, "bytes"));
        let request = blocks::mkblk(&token(), span.len, span);
        assert_eq!(request.target, text(block, "target"));
        assert_eq!(request.method, Method::POST);
        let authorization = format!("UpToken {}", token().expose());
        assert_eq!(request.headers["authorization"], authorization);
        let content = sent_body(&request, &source);
        let crc32 = crc32fast::hash(&content);
        assert_eq!(u64::from(crc32), number(block, "crc32"));
        assert_eq!(
            encode::b64u(Etag::of(&content).digest()),
            text(block, "checksum")
        );
        let mut reply = example["reply"].clone();
        reply["ctx"] = format!("ctx{}", index + 1).into();
        reply["crc32"] = block["crc32"].clone();
        reply["offset"] = block["offset"].clone();
        let reply = ChunkReply::read(&answer(&reply), NOW).expect("the example's reply");
        let sent = SentChunk {
            block_offset: span.len,
            chunk_crc32: crc32,
            block_crc32: crc32,
        };
        assert_eq!(reply.verify(&sent), Ok(()));
        let host = reply.host.map(|host| host.to_string());
        assert_eq!(host.as_deref(), Some("http://up-z0.qiniup.com"));
        assert_eq!(reply.expires, Some(1_893_456_000));
        contexts.push(reply.context);
    }
    let expected = &example["mkfile"];
    let len = source.len() as u64;
    let request = blocks::mkfile(&token(), len, &commit("big.bin"), &contexts);
    assert_eq!(request.target, text(expected, "target"));
    let body = text(expected, "body").replace(['<', '>'], "");
    assert_eq!(sent_body(&request, &source), body.as_bytes());
    let stored = Stored::read(&answer(expected), AnswerForm::HashAndKey, NOW).expect("stored");
    assert_eq!(stored.hash, Some(Etag::of(&source)));
    assert_eq!(stored.key.as_deref(), Some("k.txt"));
}

/// bput's answer may have the chunk's crc32 or the block's, with the reference's numbers.
#[test]
fn v1_crc32_of_chunk_or_block() {
    let example = fixture(include_str!("../fixtures/kodo/v1.json"));
    for row in example["crc32"].as_array().expect("rows") {
        let content = pattern_s(number(row, "from"), number(row, "bytes"));
        assert_eq!(
            u64::from(crc32fast::hash(&content)),
            number(row, "crc32"),
            "{row}"
        );
    }
    let sent = SentChunk {
        block_offset: 2_097_152,
        chunk_crc32: 80_798_773,
        block_crc32: 4_071_163_044,
    };
    let context = Context::new("ctx1").expect("a fine context");
    let chunk = ByteSpan::new(1_048_576, 1_048_576);
    let request = blocks::bput(&token(), &context, 1_048_576, chunk);
    assert_eq!(request.target, "/bput/ctx1/1048576");
    for (crc32, is_fine) in [
        (80_798_773_u32, true),
        (4_071_163_044, true),
        (3_251_921_443, false),
    ] {
        let mut reply = example["reply"].clone();
        reply["crc32"] = Value::from(crc32);
        reply["offset"] = Value::from(2_097_152);
        let reply = ChunkReply::read(&answer(&reply), NOW).expect("readable");
        assert_eq!(reply.verify(&sent).is_ok(), is_fine, "{crc32}");
    }
}

/// The calls of the v2 example from initiate to complete, and the answers to them.
#[test]
fn v2_example() {
    let example = fixture(include_str!("../fixtures/kodo/v2.json"));
    let source = pattern_s(0, number(&example, "bytes"));
    let object = key(text(&example, "key"));
    let request = initiate(&token(), &bucket(), Some(&object));
    assert_eq!(request.target, text(&example["initiate"], "target"));
    assert!(request.body.is_empty());
    let begun = Initiated::read(&answer(&example["initiate"]["reply"]), NOW).expect("begun");
    assert_eq!(begun.expires, Some(1_893_456_000));
    let upload = Upload::new(&bucket(), Some(&object), &begun.upload_id);
    let whole = ByteSpan::new(0, source.len() as u64);
    let mut sent: Vec<(u64, Etag)> = Vec::new();
    let spans = whole.pieces(number(&example, "part_bytes"));
    for ((span, part), index) in spans
        .zip(example["parts"].as_array().expect("parts"))
        .zip(1..)
    {
        let part_number = PartNumber::new(index).expect("in range");
        let request = upload.part(&token(), part_number, span, Some(text(part, "md5")));
        assert_eq!(
            (request.target.as_str(), &request.method),
            (text(part, "target"), &Method::PUT)
        );
        assert_eq!(request.headers["content-md5"], text(part, "md5"));
        let ours = Etag::of(&sent_body(&request, &source));
        let reply = PartReply::read(&answer(part), NOW).expect("the example's reply");
        assert_eq!(reply.verify(&ours), Ok(()));
        assert_eq!(reply.md5.as_deref(), part["md5"].as_str());
        sent.push((span.len, ours));
    }
    assert_eq!(sent.len(), 4);
    let complete = &example["complete"];
    let stored = multipart::completed(&answer(&complete["reply"]), AnswerForm::HashAndKey, NOW);
    let stored = stored.expect("stored");
    assert_eq!(stored.hash, Some(Etag::of_parts(&sent)));
    assert_eq!(stored.key.as_deref(), Some("k.txt"));
    let target = text(complete, "target");
    assert_eq!(upload.complete(&token(), &commit("k"), []).target, target);
    assert_eq!(upload.abort(&token()).target, target);
    assert_eq!(upload.abort(&token()).method, Method::DELETE);
}

/// complete's body is the Python SDK's, as JSON; the part list is read as documented.
#[test]
fn v2_bodies() {
    let example = fixture(include_str!("../fixtures/kodo/v2.json"));
    let id = haul::kodo::UploadId::new("U").expect("a fine id");
    let upload = Upload::new(&bucket(), Some(&key("k.txt")), &id);
    let part = |number| PartNumber::new(number).expect("in range");
    let parts = [(part(1), "E3"), (part(2), "E2")];
    let request = upload.complete(&token(), &commit("big.bin"), parts);
    let body: Value = serde_json::from_slice(&sent_body(&request, &[])).expect("JSON");
    assert_eq!(body, example["complete_body"]);
    assert_eq!(request.headers["content-type"], "application/json");
    let page = PartsPage::read(&answer(&example["list_parts"]), None, NOW).expect("a page");
    assert_eq!((page.next, page.expires), (None, Some(1_893_456_000)));
    let [info] = &page.parts[..] else {
        panic!("one part, not {:?}", page.parts);
    };
    assert_eq!((info.part_number.get(), info.size), (1, 1_048_576));
    assert_eq!(info.put_time, Some(1_700_000_000));
    assert_eq!(info.etag, "Fuz8job92DgR-cyb9QCZO2MGmSO-");
}

/// Engine and dialect never meet; each has the documented limits, and they are the same ones.
#[test]
fn limits() {
    const MIB: u64 = 1 << 20;
    let rows = [
        (4 * MIB, plan::BLOCK_LEN, haul::kodo::BLOCK_LEN),
        (MIB, plan::PART_LEN_MIN, multipart::PART_LEN_MIN),
        (1024 * MIB, plan::PART_LEN_MAX, multipart::PART_LEN_MAX),
        (10_000, plan::PARTS_MAX, multipart::PART_COUNT_MAX.into()),
    ];
    for (documented, in_engine, in_dialect) in rows {
        assert_eq!((in_engine, in_dialect), (documented, documented));
    }
}

/// The bucket query and its documented answer.
#[test]
fn region_example() {
    let example = fixture(include_str!("../fixtures/kodo/region.json"));
    let access_key = AccessKey::new(text(&example, "access_key")).expect("a fine key");
    let request = region::query(&access_key, &bucket());
    assert_eq!(request.target, text(&example, "target"));
    assert!(request.headers.is_empty(), "nothing is signed");
    let names = |list: &[Endpoint]| list.iter().map(Endpoint::to_string).collect::<Vec<_>>();
    let regions = Regions::read(&answer(&example["reply"]), true, NOW).expect("regions");
    let home = regions.home();
    assert_eq!(
        (home.id.as_str(), home.ttl),
        ("z0", Duration::from_secs(86_400))
    );
    assert_eq!(
        names(&home.up),
        ["https://upload.qiniup.com", "https://up.qiniup.com"]
    );
    assert_eq!(
        names(&home.up_old),
        ["https://upload.qbox.me", "https://up.qbox.me"]
    );
    assert_eq!(
        names(&home.up_accelerated),
        ["https://my-bucket.kodo-accelerate.example"]
    );
    assert_eq!(names(&home.rs), ["https://rs-z0.qiniuapi.com"]);
    assert_eq!(names(&home.rsf), ["https://rsf-z0.qiniuapi.com"]);
    let plain = Regions::read(&answer(&example["reply"]), false, NOW).expect("regions");
    assert_eq!(names(&plain.home().up)[0], "http://upload.qiniup.com");
}

/// A success by redirect carries the answer in its address.
#[test]
fn redirect_example() {
    let example = fixture(include_str!("../fixtures/kodo/redirect.json"));
    let (url, ret) = (text(&example, "return_url"), text(&example, "upload_ret"));
    assert_eq!(encode::b64u(text(&example, "body")), ret);
    let mut redirect = answer(&Value::Null);
    redirect.status = StatusCode::SEE_OTHER;
    let location = format!("{url}?upload_ret={ret}");
    let location = HeaderValue::from_str(&location).expect("a fine header");
    redirect.headers.insert("location", location);
    let mut policy = PutPolicy::new(Scope::Bucket(bucket()), 9);
    policy.return_url = Some(url.to_owned());
    let stored = Stored::read(&redirect, AnswerForm::of(&policy), NOW).expect("stored");
    assert_eq!(stored.raw, text(&example, "body").as_bytes());
    assert_eq!(stored.hash, Some(Etag::of(b"hello")));
    assert_eq!(stored.key.as_deref(), Some("hello.txt"));
}
