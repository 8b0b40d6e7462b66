//! The three ways to upload, by the book, request by request.
//!
//! How a request is sent is the caller's affair: once, again and again, or with a crash before it.

use serde_json::json;

use crate::support::content::{self, BLOCK, MIB, b64u};
use crate::support::http::{Answer, Request};
use crate::support::server::Listening;
use crate::support::sign;

/// Chunks of a v1 block: two and a rest make a block, so that `bput` is used as well.
const CHUNK: usize = 3 * BLOCK / 8;

/// Parts of v2: the smallest that Kodo takes, so that the hash is v2's own.
const PART: usize = MIB;

/// Boundary of forms; no content of these tests contains it.
const BOUNDARY: &str = "boundary-of-the-outside-tests";

/// A way to upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Form,
    V1,
    V2,
}

/// All of them.
pub(crate) const WAYS: [Way; 3] = [Way::Form, Way::V1, Way::V2];

impl Way {
    /// The hash of an object with these bytes that came this way.
    pub(crate) fn hash(self, bytes: &[u8]) -> String {
        match self {
            Self::Form | Self::V1 => content::etag(bytes),
            Self::V2 => content::etag_of_parts(bytes, PART),
        }
    }
}

/// Uploads `bytes` and gives the last answer: the one to the form, mkfile or complete.
///
/// `send` sends a request and gives an answer of status 200; only for the last request may it be
/// another one.
pub(crate) fn upload(
    way: Way,
    server: &Listening,
    bucket: &str,
    key: &str,
    bytes: &[u8],
    send: &mut dyn FnMut(Request) -> Answer,
) -> Answer {
    let token = sign::up_token(server, &format!("{bucket}:{key}"));
    match way {
        Way::Form => send(form(&token, key, bytes)),
        Way::V1 => v1(&token, key, bytes, send),
        Way::V2 => v2(&token, bucket, key, bytes, send),
    }
}

/// One request that carries it all.
fn form(token: &str, key: &str, bytes: &[u8]) -> Request {
    let mut body = Vec::with_capacity(bytes.len() + 1024);
    for (name, value) in [("token", token), ("key", key)] {
        let part = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(bytes);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    Request {
        method: "POST",
        target: "/".to_owned(),
        headers: vec![("Content-Type", content_type)],
        body,
    }
}

/// A call with an upload token.
fn with_token(method: &'static str, target: String, token: &str, body: &[u8]) -> Request {
    Request {
        method,
        target,
        headers: vec![
            ("Authorization", format!("UpToken {token}")),
            ("Content-Type", "application/octet-stream".to_owned()),
        ],
        body: body.to_vec(),
    }
}

/// mkblk and bput for every block, then mkfile.
fn v1(token: &str, key: &str, bytes: &[u8], send: &mut dyn FnMut(Request) -> Answer) -> Answer {
    let mut contexts = Vec::new();
    for block in bytes.chunks(BLOCK) {
        let mut context = String::new();
        for (index, chunk) in block.chunks(CHUNK).enumerate() {
            let target = match index {
                0 => format!("/mkblk/{}", block.len()),
                _ => format!("/bput/{context}/{}", index * CHUNK),
            };
            let answer = send(with_token("POST", target, token, chunk)).json();
            assert_eq!(answer["offset"], index * CHUNK + chunk.len(), "{answer}");
            assert_eq!(answer["crc32"], crc32fast::hash(chunk), "{answer}");
            context = answer["ctx"].as_str().expect("a ctx").to_owned();
        }
        contexts.push(context);
    }
    let target = format!("/mkfile/{}/key/{}", bytes.len(), b64u(key));
    let list = contexts.join(",");
    send(with_token("POST", target, token, list.as_bytes()))
}

/// Initiate, the parts, complete.
fn v2(
    token: &str,
    bucket: &str,
    key: &str,
    bytes: &[u8],
    send: &mut dyn FnMut(Request) -> Answer,
) -> Answer {
    let uploads = format!("/buckets/{bucket}/objects/{}/uploads", b64u(key));
    let answer = send(with_token("POST", uploads.clone(), token, &[])).json();
    let id = answer["uploadId"]
        .as_str()
        .expect("an upload id")
        .to_owned();
    let mut parts = Vec::new();
    for (index, part) in bytes.chunks(PART).enumerate() {
        let number = index + 1;
        let target = format!("{uploads}/{id}/{number}");
        let answer = send(with_token("PUT", target, token, part)).json();
        assert_eq!(answer["etag"], content::etag(part), "{answer}");
        parts.push(json!({"partNumber": number, "etag": answer["etag"]}));
    }
    let body = json!({ "parts": parts }).to_string();
    send(with_token(
        "POST",
        format!("{uploads}/{id}"),
        token,
        body.as_bytes(),
    ))
}
