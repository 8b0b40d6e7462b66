//! An object's bytes: `GET|HEAD /.haul/objects/<bucket>/<key>`, the key percent-encoded.
//!
//! Kodo serves objects from a bucket's own domain, so its paths are free for us to choose; these
//! cannot meet one of its API. *Anybody who reaches the dev server may read*: it is for developers,
//! and a Kodo domain is public, too, unless one makes it private.

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::devserver::exchange::{Reply, ReplyBody};
use crate::devserver::manage::Manage;
use crate::devserver::route::number;
use crate::devserver::store::ObjectRecord;
use crate::model::{Bucket, ByteSpan, ObjectKey};

/// Headers that an object's metadata may set (`x-qn-meta-!<Header>`, protocol reference, 5.4). Not
/// those that frame the answer.
const METADATA_HEADERS: [HeaderName; 7] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::EXPIRES,
    header::LAST_MODIFIED,
];

/// The last second of the year 9999: no HTTP date is later.
const LAST_HTTP_SECS: u64 = 253_402_300_799;

impl Manage<'_> {
    /// Answers a download. `is_head`: everything but the bytes is wanted.
    pub(crate) async fn download(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        request: &HeaderMap,
        is_head: bool,
    ) -> Reply {
        if !self.has_bucket(bucket) {
            return Reply::error(631, "no such bucket");
        }
        let object = match self.store.object(bucket, key).await {
            Ok(Some(object)) => object,
            Ok(None) => return Reply::error(404, "Document not found"),
            Err(error) => return error.into(),
        };
        if object.disabled {
            return Reply::error(403, "the object is disabled");
        }
        let Ok(asked) = asked_span(request, &object) else {
            let mut reply = Reply::error(416, "the range is beyond the object's end");
            let range = format!("bytes */{}", object.size);
            insert(&mut reply.headers, header::CONTENT_RANGE, &range);
            return reply;
        };
        let mut headers = headers(&object);
        if let Some(span) = asked {
            let last = span.end().saturating_sub(1);
            let range = format!("bytes {}-{last}/{}", span.offset, object.size);
            insert(&mut headers, header::CONTENT_RANGE, &range);
        }
        let status = if asked.is_some() { 206 } else { 200 };
        let span = asked.unwrap_or(ByteSpan::new(0, object.size));
        // Even a store that discards its bytes can answer a HEAD.
        let wanted = if is_head { ByteSpan::new(0, 0) } else { span };
        match self.store.read(&object.data, wanted).await {
            Ok(stream) => Reply {
                status,
                headers,
                body: ReplyBody::Stream {
                    len: span.len,
                    stream,
                },
            },
            Err(error) => error.into(),
        }
    }
}

/// The range is well-formed, and beyond the object.
#[derive(Debug, PartialEq, Eq)]
struct NotSatisfiable;

/// Which bytes the request asks for; `None`: all. A range that we do not understand, of several
/// pieces, or of another version of the object (`If-Range`) counts as not given (RFC 9110, 14.2).
fn asked_span(
    request: &HeaderMap,
    object: &ObjectRecord,
) -> Result<Option<ByteSpan>, NotSatisfiable> {
    let text = |name| request.get(name).and_then(|value| value.to_str().ok());
    let of_another = text(header::IF_RANGE).is_some_and(|tag| tag != etag(object));
    let Some(range) = text(header::RANGE).filter(|_| !of_another) else {
        return Ok(None);
    };
    let Some(range) = parse_range(range) else {
        return Ok(None);
    };
    let (first, last) = match range {
        Range::From(first) => (first, u64::MAX),
        Range::Within(range) => range.into_inner(),
        Range::Last(0) => return Err(NotSatisfiable),
        Range::Last(len) => (object.size.saturating_sub(len), u64::MAX),
    };
    if first >= object.size {
        return Err(NotSatisfiable);
    }
    let last = last.min(object.size - 1);
    Ok(Some(ByteSpan::new(first, last - first + 1)))
}

/// What stands behind `bytes=`.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// `5-`.
    From(u64),
    /// `5-9`.
    Within(RangeInclusive<u64>),
    /// `-9`: the last nine bytes.
    Last(u64),
}

fn parse_range(text: &str) -> Option<Range> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    match (first, last) {
        ("", last) => number(last).map(Range::Last),
        (first, "") => number(first).map(Range::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Range::Within(first..=last))
        }
    }
}

/// What describes the object, without its length.
fn headers(object: &ObjectRecord) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(
        &mut headers,
        header::CONTENT_TYPE,
        "application/octet-stream",
    );
    insert(&mut headers, header::CONTENT_TYPE, &object.mime_type);
    insert(&mut headers, header::ACCEPT_RANGES, "bytes");
    insert(&mut headers, header::ETAG, &etag(object));
    insert(&mut headers, header::LAST_MODIFIED, &last_modified(object));
    for (name, value) in &object.metadata {
        let header = match name.strip_prefix('!') {
            Some(name) => HeaderName::from_bytes(name.as_bytes())
                .ok()
                .filter(|name| METADATA_HEADERS.contains(name)),
            None => HeaderName::from_bytes(format!("x-qn-meta-{name}").as_bytes()).ok(),
        };
        if let Some(header) = header {
            insert(&mut headers, header, value);
        }
    }
    headers
}

/// Sets a header, unless its value is empty or cannot stand in one.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Some(value) = HeaderValue::from_bytes(value.as_bytes())
        .ok()
        .filter(|value| !value.is_empty())
    {
        headers.insert(name, value);
    }
}

fn etag(object: &ObjectRecord) -> String {
    format!("\"{}\"", object.hash)
}

fn last_modified(object: &ObjectRecord) -> String {
    let seconds = (object.put_time / 10_000_000).min(LAST_HTTP_SECS);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
