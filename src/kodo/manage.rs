//! Management calls next to uploading: stat, delete, list, batch.
//!
//! Builders give unsigned requests, since the signature covers the host; [`signed`] adds it last.
//! Source: protocol reference, section 9.

mod batch;
mod list;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http::header::CONTENT_TYPE;
use http::{HeaderName, Method};
use serde::Deserialize;

pub use crate::kodo::manage::batch::{BATCH_LEN_MAX, BatchItem, BatchReply, batch};
pub use crate::kodo::manage::list::{ListItem, ListPage, ListQuery, PAGE_LEN_MAX};

use crate::kodo::credentials::Credentials;
use crate::kodo::encode::entry;
use crate::kodo::etag::Etag;
use crate::kodo::failure::{check, read_json};
use crate::kodo::signature::{self, FORM, Signable};
use crate::model::{Answer, Body, Bucket, Endpoint, Failure, ObjectKey, Request};

/// Header that dates a request, so that a signature cannot be used again later.
const DATE: HeaderName = HeaderName::from_static("x-qiniu-date");

/// Signs `request` for `endpoint`, whose [`authority`](Endpoint::authority) must be sent as `Host`.
///
/// With a time, the service refuses the request 15 minutes before or after it, by its own clock.
pub fn signed(
    mut request: Request,
    credentials: &Credentials,
    endpoint: &Endpoint,
    at: Option<SystemTime>,
) -> Request {
    if let Some(at) = at {
        request = request.header(DATE, &signature::date(at));
    }
    let content_type = request.headers.get(CONTENT_TYPE);
    let authorization = signature::qiniu(
        credentials,
        &Signable {
            method: request.method.as_str(),
            target: &request.target,
            host: endpoint.authority(),
            content_type: content_type.and_then(|value| value.to_str().ok()),
            headers: &request.headers,
            body: match &request.body {
                Body::Bytes(bytes) => bytes,
                Body::Empty | Body::Source { .. } => &[],
            },
        },
    );
    request.authorization(&authorization)
}

/// `GET /stat/<entry>`: one object's properties, with the lengths of its parts if asked for.
pub fn stat(bucket: &Bucket, key: &ObjectKey, with_parts: bool) -> Request {
    let query = if with_parts { "?needparts=true" } else { "" };
    let target = format!("/stat/{}{query}", entry(bucket, Some(key)));
    Request::new(Method::GET, target)
}

/// `POST /delete/<entry>`: removes one object.
pub fn delete(bucket: &Bucket, key: &ObjectKey) -> Request {
    let target = format!("/delete/{}", entry(bucket, Some(key)));
    Request::new(Method::POST, target).header(CONTENT_TYPE, FORM)
}

/// Reads the answer to a delete, which has no body to speak of.
pub fn deleted(answer: &Answer, now: SystemTime) -> Result<(), Failure> {
    check(answer, now)
}

/// What stat tells of an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectInfo {
    /// Length in bytes.
    #[serde(rename = "fsize")]
    pub size: u64,
    /// Its hash, as the service gives it.
    pub hash: String,
    /// Its type.
    #[serde(default)]
    pub mime_type: String,
    /// When it was stored, in units of 100 ns since 1970.
    #[serde(default)]
    pub put_time: u64,
    /// Storage class: 0 is the standard one.
    #[serde(rename = "type", default)]
    pub file_type: u8,
    /// Tag of the owner, from the put policy.
    pub end_user: Option<String>,
    /// 1: disabled.
    #[serde(default)]
    pub status: u8,
    /// State of a restore from the archive.
    pub restore_status: Option<u8>,
    /// MD5 in hex; promised for form uploads only.
    pub md5: Option<String>,
    /// When it will be deleted, Unix seconds.
    pub expiration: Option<u64>,
    /// When it moves to infrequent access, Unix seconds.
    #[serde(rename = "transitionToIA")]
    pub transition_to_ia: Option<u64>,
    /// When it moves to the archive, Unix seconds.
    #[serde(rename = "transitionToARCHIVE")]
    pub transition_to_archive: Option<u64>,
    /// When it moves to the deep archive, Unix seconds.
    pub transition_to_deep_archive: Option<u64>,
    /// When it moves to the archive that can be read directly, Unix seconds.
    #[serde(rename = "transitionToArchiveIR")]
    pub transition_to_archive_ir: Option<u64>,
    /// Metadata, names without their prefix.
    #[serde(rename = "x-qn-meta", default)]
    pub metadata: BTreeMap<String, String>,
    /// Lengths of its parts in bytes; only where asked for, and of v2 objects.
    pub parts: Option<Vec<u64>>,
}

impl ObjectInfo {
    /// Reads the answer to a stat.
    pub fn read(answer: &Answer, now: SystemTime) -> Result<Self, Failure> {
        read_json(answer, now)
    }

    /// The hash, where it is one of this dialect's.
    pub fn etag(&self) -> Option<Etag> {
        Etag::parse(&self.hash)
    }

    /// When it was stored.
    pub fn stored_at(&self) -> SystemTime {
        ticks(self.put_time)
    }
}

/// A time in the service's unit of 100 ns since 1970.
fn ticks(ticks: u64) -> SystemTime {
    const PER_SECOND: u64 = 10_000_000;
    let nanos = u32::try_from(ticks % PER_SECOND).unwrap_or_default() * 100;
    let since = Duration::new(ticks / PER_SECOND, nanos);
    // Some platforms count to the year 30828 only; no object is that new.
    let time = SystemTime::UNIX_EPOCH.checked_add(since);
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}
