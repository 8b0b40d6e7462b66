//! The one place that tells what an answer means: status, headers and body to a typed [`Failure`].
//!
//! A success counts only with an `X-Reqid` and a body of the due form, since captive portals and
//! proxies like to answer 200. A refusal counts as Kodo's when anything about it is. Source: protocol
//! reference, sections 2.2, 7 and 8.

mod words;

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

use crate::kodo::failure::words::{Words, redact};
use crate::model::{Answer, Failure, FailureKind};

/// The header that every genuine answer has. Its value is what the service's support asks for.
pub const REQUEST_ID: &str = "x-reqid";

/// The other header that every genuine answer has: which machines saw the request.
const LOG: &str = "x-log";

/// Longest `Retry-After` believed. More is no advice but an outage, or a typing error.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest request id kept, in bytes. Real ones have 16; two joined ones 33.
const REQUEST_ID_LEN_MAX: usize = 100;

/// Checks that `answer` is a success of Kodo's, of whatever body.
///
/// `now` is the local clock: `Retry-After` may be a date.
pub fn check(answer: &Answer, now: SystemTime) -> Result<(), Failure> {
    if !answer.status.is_success() {
        return Err(refusal(answer, now));
    }
    if request_id(answer).is_none() {
        let words = Words::of(&answer.body);
        let what = words
            .page
            .unwrap_or_else(|| "an answer without X-Reqid".to_owned());
        return Err(not_kodo(answer, now, &what));
    }
    Ok(())
}

/// Reads a success whose body must be JSON of this form.
pub fn read_json<T: DeserializeOwned>(answer: &Answer, now: SystemTime) -> Result<T, Failure> {
    check(answer, now)?;
    serde_json::from_slice(&answer.body).map_err(|error| {
        let words = Words::of(&answer.body);
        if let Some(page) = words.page {
            return not_kodo(answer, now, &page);
        }
        // Kodo says errors with their status; who wraps one in a 200 is something in between.
        if let Some(said) = words.error {
            return not_kodo(answer, now, &format!("a success that says: {said}"));
        }
        let why = match error.classify() {
            serde_json::error::Category::Eof => "JSON that is cut off".to_owned(),
            serde_json::error::Category::Data => format!("JSON of another form ({error})"),
            _ => "no JSON".to_owned(),
        };
        not_kodo(answer, now, &why)
    })
}

/// An answer that something else than Kodo must have made. `what` says what was found instead.
pub fn not_kodo(answer: &Answer, now: SystemTime, what: &str) -> Failure {
    let message = format!("something that is no Kodo answered: {}", redact(what));
    failure(FailureKind::NotKodo, message, answer, now)
}

/// An answer that is no success: who refused, and why.
pub fn refusal(answer: &Answer, now: SystemTime) -> Failure {
    let words = Words::of(&answer.body);
    let status = answer.status.as_u16();
    let genuine = request_id(answer).is_some() || answer.header(LOG).is_some();
    if !genuine && words.error.is_none() && !may_come_from_a_gateway(status) {
        let what = match (words.page, status) {
            (Some(page), _) => page,
            (None, 407) => "a proxy that wants a name and a password".to_owned(),
            (None, 300..=399) => "a redirect to elsewhere".to_owned(),
            (None, _) => "a refusal without X-Reqid".to_owned(),
        };
        return not_kodo(answer, now, &what);
    }
    let said = words.error.or(words.page).or(words.text);
    let said = said.unwrap_or_default();
    let mut found = failure(
        kind(status, &said),
        explain(status, said.clone()),
        answer,
        now,
    );
    if found.kind == FailureKind::InvalidContext {
        found.refused_block = words::block_index(&said);
    }
    found
}

/// A refusal inside of an answer that is itself a success: one item of a batch.
pub fn of_item(status: u16, said: &str, answer: &Answer, now: SystemTime) -> Failure {
    let message = explain(status, redact(said));
    let mut found = failure(kind(status, said), message, answer, now);
    found.status = Some(status);
    found
}

/// A call on an upload id names no object: whatever its 612 says, the upload id is what is missing.
pub(crate) fn on_upload_id(mut failure: Failure) -> Failure {
    if failure.kind == FailureKind::NoSuchObject {
        failure.kind = FailureKind::NoSuchUpload;
    }
    failure
}

/// The answer's request id; the first one where middle layers added theirs.
pub fn request_id(answer: &Answer) -> Option<String> {
    let values = answer.headers.get_all(REQUEST_ID).iter();
    let mut ids = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_LEN_MAX);
    ids.next().map(str::to_owned)
}

/// The server's clock, as the answer tells it.
pub fn server_time(answer: &Answer) -> Option<SystemTime> {
    httpdate::parse_http_date(answer.header("date")?).ok()
}

/// Bytes that came back show other content than was sent.
pub(crate) fn mismatch(message: impl Into<String>, request_id: Option<&str>) -> Failure {
    let mut failure = Failure::new(FailureKind::Mismatch, message);
    failure.request_id = request_id.map(Into::into);
    failure
}

fn failure(kind: FailureKind, message: String, answer: &Answer, now: SystemTime) -> Failure {
    let mut failure = Failure::new(kind, message);
    failure.status = Some(answer.status.as_u16());
    failure.request_id = request_id(answer).map(Into::into);
    failure.retry_after = retry_after(answer, now);
    failure.server_time = server_time(answer);
    failure
}

/// Codes that a gateway in front of the service answers by itself, without the service's headers.
fn may_come_from_a_gateway(status: u16) -> bool {
    matches!(status, 408 | 413 | 429 | 500..=599)
}

/// The table of section 8.1, with the texts that split a code.
fn kind(status: u16, said: &str) -> FailureKind {
    let said = said.to_ascii_lowercase();
    let says = |text| said.contains(text);
    match status {
        400 if says("incorrect region") || says("incorrect zone") => FailureKind::WrongRegion {
            hosts: words::hosts(&said),
        },
        400 if says("transfer acceleration is not configured") => FailureKind::AccelerationOff,
        400 => FailureKind::BadRequest,
        401 => FailureKind::Unauthorized,
        403 if says("request time too skewed") => FailureKind::ClockSkew,
        403 => FailureKind::Forbidden,
        404 => FailureKind::NotFound,
        405 => FailureKind::MethodNotAllowed,
        406 => FailureKind::ChecksumRefused,
        408 => FailureKind::TimedOut,
        413 if says("fsizelimit") => FailureKind::TooLarge,
        413 => FailureKind::BodyLimit,
        419 => FailureKind::AccountFrozen,
        429 | 509 | 573 => FailureKind::Throttled,
        501 => FailureKind::Refused,
        579 => FailureKind::CallbackFailed,
        // 571 is in no published table; every SDK treats it as any other 5xx.
        500..=599 => FailureKind::Server,
        608 | 613 => FailureKind::Changed,
        612 if says("uploadid") => FailureKind::NoSuchUpload,
        612 => FailureKind::NoSuchObject,
        614 => FailureKind::Exists,
        630 => FailureKind::BucketLimit,
        631 => FailureKind::NoSuchBucket,
        640 => FailureKind::BadMarker,
        701 => FailureKind::InvalidContext,
        _ => FailureKind::Refused,
    }
}

/// The server's words, or ours where it said nothing.
fn explain(status: u16, said: String) -> String {
    let ours = match status {
        579 if said.is_empty() => "the object is stored, but the callback failed",
        579 => return format!("the object is stored, but the callback failed: {said}"),
        _ if !said.is_empty() => return said,
        400 => "the request is malformed",
        401 => "the token or signature is not accepted",
        403 => "forbidden",
        404 => "no such path",
        405 => "wrong method for this path",
        406 => "the bytes do not match their checksum",
        408 => "the server waited too long for the request",
        413 => "the body is too large",
        419 => "the account is frozen",
        429 | 509 | 573 => "too many requests",
        500..=599 => "the server or a gateway failed",
        608 => "the object changed meanwhile",
        612 => "no such object or upload",
        613 => "a condition is not met",
        614 => "an object is there and may not be replaced",
        630 => "the account has too many buckets",
        631 => "no such bucket",
        640 => "the list marker is not valid",
        701 => "a context is not valid any more",
        _ => "refused without a reason",
    };
    ours.to_owned()
}

/// `Retry-After` in either of its forms: seconds, or a date.
fn retry_after(answer: &Answer, now: SystemTime) -> Option<Duration> {
    let value = answer.header("retry-after")?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}
