//! Resumable v1: blocks of 4 MiB, each sent in chunks, joined by mkfile.
//!
//! Source: protocol reference, section 4.

use std::fmt::Write as _;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use serde::Deserialize;

use crate::kodo::commit::Commit;
use crate::kodo::encode::b64u;
use crate::kodo::failure::{mismatch, not_kodo, read_json, request_id};
use crate::kodo::token::UploadToken;
use crate::model::{Answer, Body, ByteSpan, Endpoint, Failure, Request};

/// Longest context taken from an answer, in bytes. Real ones have a few hundred; all of an upload's
/// stand in one body, and each in a path.
const CONTEXT_LEN_MAX: usize = 4096;

/// The service's state of one block so far (`ctx`). Opaque; safe as a path segment and in mkfile's
/// list, which was checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Context(String);

impl Context {
    /// Checks `text`; `None` where it could not stand in a path or in mkfile's list.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=.~!$'()*+:;@&".contains(&byte);
        let is_dots = text == "." || text == "..";
        let has_length = (1..=CONTEXT_LEN_MAX).contains(&text.len());
        (has_length && !is_dots && text.bytes().all(fine)).then_some(Self(text))
    }

    /// The context as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `POST /mkblk/<block_len>`: begins a block of `block_len` bytes with its first chunk.
pub fn mkblk(token: &UploadToken, block_len: u64, chunk: ByteSpan) -> Request {
    send(token, format!("/mkblk/{block_len}"), chunk)
}

/// `POST /bput/<ctx>/<offset>`: the next chunk of a block, of which `offset` bytes are there.
pub fn bput(token: &UploadToken, context: &Context, offset: u64, chunk: ByteSpan) -> Request {
    send(token, format!("/bput/{}/{offset}", context.as_str()), chunk)
}

/// `POST /mkfile/<len>/…`: the commit. `contexts` are the last ones of all blocks, in order.
///
/// May be repeated with the same contexts. With a scope of a bucket only and no `insertOnly` it
/// replaces an object that is there, which form and v2 do not.
pub fn mkfile<'a>(
    token: &UploadToken,
    len: u64,
    commit: &Commit,
    contexts: impl IntoIterator<Item = &'a Context>,
) -> Request {
    let mut target = format!("/mkfile/{len}");
    let mut pair = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = write!(target, "/{name}/{}", b64u(value));
    };
    if let Some(mime_type) = commit.declared_type() {
        pair("mimeType", mime_type);
    }
    if let Some(key) = commit.key() {
        pair("key", key.as_str());
    }
    if let Some(name) = commit.original_name() {
        pair("fname", name);
    }
    for (name, value) in commit.vars().iter().chain(commit.metadata()) {
        pair(name, value);
    }
    let contexts: Vec<&str> = contexts.into_iter().map(Context::as_str).collect();
    Request::new(Method::POST, target)
        .authorization(&token.authorization())
        .header(CONTENT_TYPE, "text/plain")
        .body(Body::Bytes(Bytes::from(contexts.join(","))))
}

fn send(token: &UploadToken, target: String, chunk: ByteSpan) -> Request {
    Request::new(Method::POST, target)
        .authorization(&token.authorization())
        .header(CONTENT_TYPE, "application/octet-stream")
        .body(Body::source(chunk))
}

/// What mkblk and bput answer. Believe it after [`verify`](Self::verify) only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkReply {
    /// For the next bput of this block, or for mkfile.
    pub context: Context,
    /// The service's digest of the block so far; opaque.
    pub checksum: Option<String>,
    /// CRC-32 of the chunk, or of the block so far: sources disagree.
    pub crc32: u32,
    /// How many bytes of the block are there.
    pub offset: u64,
    /// Where the following calls of this block should go.
    pub host: Option<Endpoint>,
    /// When the context dies, Unix seconds.
    pub expires: Option<u64>,
    /// `X-Reqid` of the answer.
    pub request_id: Option<String>,
}

/// What was sent, for comparing the answer with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentChunk {
    /// Bytes of the block up to and with this chunk.
    pub block_offset: u64,
    /// CRC-32 of this chunk.
    pub chunk_crc32: u32,
    /// CRC-32 of the block up to and with this chunk.
    pub block_crc32: u32,
}

impl ChunkReply {
    /// Reads the answer to mkblk or bput.
    pub fn read(answer: &Answer, now: SystemTime) -> Result<Self, Failure> {
        let wire: ChunkWire = read_json(answer, now)?;
        let context = Context::new(wire.ctx)
            .ok_or_else(|| not_kodo(answer, now, "a context that cannot stand in a path"))?;
        Ok(Self {
            context,
            checksum: wire.checksum,
            crc32: wire.crc32,
            offset: wire.offset,
            // The service gives it with its scheme. One that is none is no reason to fail.
            host: wire.host.and_then(|host| Endpoint::parse(&host, true).ok()),
            expires: wire.expired_at,
            request_id: request_id(answer),
        })
    }

    /// Whether the service has what was sent: offset and CRC-32 are those of the chunk's end.
    ///
    /// The CRC-32 may be the chunk's or the block's; each is as hard to hit by chance.
    pub fn verify(&self, sent: &SentChunk) -> Result<(), Failure> {
        let what = if self.offset != sent.block_offset {
            format!(
                "the service has {} bytes of a block of which {} were sent",
                self.offset, sent.block_offset
            )
        } else if self.crc32 != sent.chunk_crc32 && self.crc32 != sent.block_crc32 {
            format!(
                "the service has other bytes than were sent: crc32 {} instead of {}",
                self.crc32, sent.chunk_crc32
            )
        } else {
            return Ok(());
        };
        Err(mismatch(what, self.request_id.as_deref()))
    }
}

/// As on the wire. Only what an upload needs is required.
#[derive(Deserialize)]
struct ChunkWire {
    ctx: String,
    checksum: Option<String>,
    crc32: u32,
    offset: u64,
    host: Option<String>,
    expired_at: Option<u64>,
}

#[cfg(test)]
mod tests;
