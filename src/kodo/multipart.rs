//! Resumable v2: an upload id, parts sent in any order, and a commit that lists them.
//!
//! Source: protocol reference, section 5.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, Method};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::kodo::commit::Commit;
use crate::kodo::encode::b64u;
use crate::kodo::etag::Etag;
use crate::kodo::failure::{check, mismatch, not_kodo, on_upload_id, read_json, request_id};
use crate::kodo::stored::{AnswerForm, Stored};
use crate::kodo::token::UploadToken;
use crate::model::{Answer, Body, Bucket, ByteSpan, Failure, ObjectKey, Request};

#[cfg(test)]
mod tests;

/// Most parts of one upload. Source: protocol reference, section 5.7.
pub const PART_COUNT_MAX: u32 = 10_000;

/// Shortest part but the last, in bytes: 1 MiB. The service checks it at complete. Source: as above.
pub const PART_LEN_MIN: u64 = 1024 * 1024;

/// Longest part, in bytes: 1 GiB. Source: as above.
pub const PART_LEN_MAX: u64 = 1024 * 1024 * 1024;

/// Parts per page of a part list; the service's maximum and default. Source: section 5.6.
const PAGE_LEN_MAX: u32 = 1000;

/// Longest upload id taken from an answer, in bytes. Real ones have about 30.
const UPLOAD_ID_LEN_MAX: usize = 1024;

/// Number of a part within its upload: 1 to [`PART_COUNT_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartNumber(u32);

impl PartNumber {
    /// `None` outside of 1 to [`PART_COUNT_MAX`].
    pub fn new(number: u32) -> Option<Self> {
        (1..=PART_COUNT_MAX)
            .contains(&number)
            .then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// The service's handle of one upload. Safe as a path segment, which was checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(String);

impl UploadId {
    /// Checks `text`; `None` where it could not stand in a path.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=.~!$'()*+,:;@&".contains(&byte);
        let is_dots = text == "." || text == "..";
        let has_length = (1..=UPLOAD_ID_LEN_MAX).contains(&text.len());
        (has_length && !is_dots && text.bytes().all(fine)).then_some(Self(text))
    }

    /// The upload id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The object in a path of v2: its key in base64, `~` for no key, and nothing for the empty key.
/// Every call of one upload must use the same.
pub fn object_segment(key: Option<&ObjectKey>) -> String {
    match key {
        Some(key) => b64u(key.as_str()),
        None => "~".to_owned(),
    }
}

/// `POST …/uploads`: begins an upload under `key`. Not idempotent: each success is a new upload,
/// which the service forgets after some days.
pub fn initiate(token: &UploadToken, bucket: &Bucket, key: Option<&ObjectKey>) -> Request {
    Request::new(Method::POST, uploads(bucket, key)).authorization(&token.authorization())
}

fn uploads(bucket: &Bucket, key: Option<&ObjectKey>) -> String {
    let object = object_segment(key);
    format!("/buckets/{bucket}/objects/{object}/uploads")
}

/// The answer to initiate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiated {
    /// For all further calls.
    pub upload_id: UploadId,
    /// When the upload dies, Unix seconds; seven days ahead.
    pub expires: Option<u64>,
}

impl Initiated {
    /// Reads the answer to initiate.
    pub fn read(answer: &Answer, now: SystemTime) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            upload_id: String,
            expire_at: Option<u64>,
        }
        let wire: Wire = read_json(answer, now)?;
        let upload_id = UploadId::new(wire.upload_id)
            .ok_or_else(|| not_kodo(answer, now, "an upload id that cannot stand in a path"))?;
        Ok(Self {
            upload_id,
            expires: wire.expire_at,
        })
    }
}

/// One upload that was begun: builds all further calls on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Path of the upload id.
    path: String,
}

impl Upload {
    /// The upload `id`, begun for this bucket and key.
    pub fn new(bucket: &Bucket, key: Option<&ObjectKey>, id: &UploadId) -> Self {
        let path = format!("{}/{}", uploads(bucket, key), id.as_str());
        Self { path }
    }

    /// `PUT …/<number>`: one part. The same number again replaces it. `md5`, in lower-case hex, lets
    /// the service refuse other bytes; the answer's etag tells the same without it.
    pub fn part(
        &self,
        token: &UploadToken,
        number: PartNumber,
        span: ByteSpan,
        md5: Option<&str>,
    ) -> Request {
        const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
        let request = Request::new(Method::PUT, format!("{}/{}", self.path, number.get()))
            .authorization(&token.authorization())
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(Body::source(span));
        match md5 {
            Some(md5) => request.header(CONTENT_MD5, md5),
            None => request,
        }
    }

    /// `GET …`: the parts with a number above `after`, in order, up to 1000 at once.
    ///
    /// The marker goes out in both of its spellings, documentation's and specification's, since
    /// nobody knows which of them the service reads.
    pub fn list_parts(&self, token: &UploadToken, after: Option<PartNumber>) -> Request {
        let mut target = format!("{}?max-parts={PAGE_LEN_MAX}", self.path);
        if let Some(PartNumber(after)) = after {
            target += &format!("&part-number-marker={after}&part-number_marker={after}");
        }
        Request::new(Method::GET, target).authorization(&token.authorization())
    }

    /// `POST …`: the commit. `parts` are the numbers and etags that make the object, in any order;
    /// parts that were sent and are not in it are dropped.
    ///
    /// Not repeatable: after a success the upload id is gone, and a repeat is a 612.
    pub fn complete<'a>(
        &self,
        token: &UploadToken,
        commit: &Commit,
        parts: impl IntoIterator<Item = (PartNumber, &'a str)>,
    ) -> Request {
        let mut parts: Vec<(PartNumber, &str)> = parts.into_iter().collect();
        parts.sort_unstable();
        let parts: Vec<Value> = parts
            .iter()
            .map(|(number, etag)| json!({"partNumber": number.get(), "etag": etag}))
            .collect();
        let mut body = json!({ "parts": parts });
        if let Some(name) = commit.original_name() {
            body["fname"] = json!(name);
        }
        if let Some(mime_type) = commit.declared_type() {
            body["mimeType"] = json!(mime_type);
        }
        for (field, pairs) in [
            ("metadata", commit.metadata()),
            ("customVars", commit.vars()),
        ] {
            if !pairs.is_empty() {
                let pairs = pairs
                    .iter()
                    .map(|(name, value)| (name.clone(), json!(value)));
                body[field] = Value::Object(pairs.collect::<Map<String, Value>>());
            }
        }
        Request::new(Method::POST, self.path.clone())
            .authorization(&token.authorization())
            .header(CONTENT_TYPE, "application/json")
            .body(Body::Bytes(Bytes::from(body.to_string())))
    }

    /// `DELETE …`: forgets the upload and its parts.
    pub fn abort(&self, token: &UploadToken) -> Request {
        Request::new(Method::DELETE, self.path.clone()).authorization(&token.authorization())
    }
}

/// Reads the answer to complete. A 612 is the upload id's, whatever its text.
pub fn completed(answer: &Answer, form: AnswerForm, now: SystemTime) -> Result<Stored, Failure> {
    Stored::read(answer, form, now).map_err(on_upload_id)
}

/// Reads the answer to abort, which has no body to speak of.
pub fn aborted(answer: &Answer, now: SystemTime) -> Result<(), Failure> {
    check(answer, now).map_err(on_upload_id)
}

/// What a part is answered with. Believe it after [`verify`](Self::verify) only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartReply {
    /// The service's hash of the part, to be repeated in complete.
    pub etag: String,
    /// The service's md5 of the part, in hex.
    pub md5: Option<String>,
    /// `X-Reqid` of the answer.
    pub request_id: Option<String>,
}

impl PartReply {
    /// Reads the answer to a part.
    pub fn read(answer: &Answer, now: SystemTime) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Wire {
            etag: String,
            md5: Option<String>,
        }
        let wire: Wire = read_json(answer, now).map_err(on_upload_id)?;
        Ok(Self {
            etag: wire.etag,
            md5: wire.md5,
            request_id: request_id(answer),
        })
    }

    /// Whether the service has what was sent: its hash is ours.
    pub fn verify(&self, ours: &Etag) -> Result<(), Failure> {
        if Etag::parse(&self.etag).as_ref() == Some(ours) {
            return Ok(());
        }
        // What it says instead is not repeated: it may be anything.
        let what = format!("the service has other bytes than were sent: its hash is not {ours}");
        Err(mismatch(what, self.request_id.as_deref()))
    }
}

/// One part as the service knows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartInfo {
    /// Its number.
    #[serde(deserialize_with = "part_number")]
    pub part_number: PartNumber,
    /// Its hash.
    pub etag: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was stored, Unix seconds.
    pub put_time: Option<u64>,
}

/// One page of a part list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartsPage {
    /// Parts in order of their numbers.
    pub parts: Vec<PartInfo>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<PartNumber>,
    /// When the upload dies, Unix seconds.
    pub expires: Option<u64>,
}

impl PartsPage {
    /// Reads the answer to a part list that began after `after`. A page that does not go on from
    /// there is refused: believing it could go on forever.
    pub fn read(
        answer: &Answer,
        after: Option<PartNumber>,
        now: SystemTime,
    ) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            parts: Option<Vec<PartInfo>>,
            part_number_marker: Option<u32>,
            expire_at: Option<u64>,
        }
        let wire: Wire = read_json(answer, now).map_err(on_upload_id)?;
        let parts = wire.parts.unwrap_or_default();
        let start = after.map_or(0, PartNumber::get);
        let numbers: Vec<u32> = parts.iter().map(|part| part.part_number.get()).collect();
        let is_ascending = numbers.windows(2).all(|pair| pair[0] < pair[1]);
        let next = wire.part_number_marker.filter(|next| *next != 0);
        let last = numbers.last().copied().unwrap_or(start);
        // The marker is at least the last part listed, and beyond where this page began.
        let goes_on = next.is_none_or(|next| next >= last && next > start);
        if !is_ascending || numbers.first().is_some_and(|first| *first <= start) || !goes_on {
            return Err(not_kodo(answer, now, "a part list that is not in order"));
        }
        Ok(Self {
            parts,
            // A marker at the highest number there is has nothing behind it.
            next: next.and_then(PartNumber::new),
            expires: wire.expire_at,
        })
    }
}

fn part_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PartNumber, D::Error> {
    let number = u32::deserialize(deserializer)?;
    PartNumber::new(number).ok_or_else(|| serde::de::Error::custom("a part number out of range"))
}
