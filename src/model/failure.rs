//! What one attempt met. The first of the three error layers: failure → verdict → error.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::model::Trace;

/// Longest stretch of a server's words kept for people, in bytes: a line or two. More would be a
/// page of HTML.
const MESSAGE_LEN_MAX: usize = 300;

/// Why one attempt did not succeed: a fact, without a decision.
///
/// Whoever saw it sets the kind; nobody reads the text to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// In words for people: the server's own where it said something. Holds no secret.
    pub message: String,
    /// HTTP status, when an answer came.
    pub status: Option<u16>,
    /// `X-Reqid` of the answer: what the service's support asks for.
    pub request_id: Option<Box<str>>,
    /// How long the server asked us to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The server's clock (`Date`), for telling a wrong local clock.
    pub server_time: Option<SystemTime>,
    /// Which block a v1 commit was refused for, from 0: the others' contexts may still be good.
    pub refused_block: Option<u32>,
    /// What a person has to do before another attempt can succeed; none where time may mend it.
    pub remedy: Option<Remedy>,
    /// Where the attempt was, if there was one. Boxed: failures travel through many returns.
    pub trace: Option<Box<Trace>>,
}

impl Failure {
    /// A failure without an answer.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: shorten(message.into()),
            status: None,
            request_id: None,
            retry_after: None,
            server_time: None,
            refused_block: None,
            remedy: None,
            trace: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (self.status, self.request_id.as_deref()) {
            (Some(status), Some(id)) => write!(f, " (status {status}, request id {id})"),
            (Some(status), None) => write!(f, " (status {status})"),
            (None, _) => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// What only a person can do about a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Give the proxy the right user name and password.
    ProxyUser,
    /// Set this machine's clock, or replace a certificate whose time is not now.
    Clock,
    /// Call the right host: this one has a certificate of another name.
    Name,
    /// Trust the authority that issued the certificate, or go around whoever put it in the way.
    Authority,
    /// Replace the server's certificate.
    Certificate,
    /// Let both ends speak a version of TLS.
    TlsVersion,
    /// Call it by another scheme or port: it does not speak TLS there.
    Scheme,
    /// Upload the stream from its beginning: what it gave cannot be had again.
    StreamAgain,
}

/// Kinds of [`Failure`], for a program to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    // ----- no answer
    /// No connection: name not found, refused, unreachable, no answer in time.
    Connect,
    /// The TLS handshake failed: certificate, name, version.
    Tls,
    /// The connection broke after it had been made: reset, closed, cut.
    Broken,
    /// Bytes were outstanding, and the other end acknowledged none of them for too long.
    Stalled,
    /// The same while the other end's window was closed: it is there, and does not read.
    NotReading,
    /// Bytes were acknowledged, but far too slowly for any line.
    Trickle,
    /// The time allowed is over: everything was acknowledged and no answer came, or one segment took
    /// too long.
    TimedOut,
    /// The source could not give the bytes: see the message.
    Source,
    /// The source has other bytes than at the beginning, or than were sent.
    SourceChanged,

    // ----- an answer, but not one to believe
    /// Something that is no Kodo answered: no `X-Reqid`, an HTML page, cut JSON.
    NotKodo,
    /// Kodo's answer shows other bytes than were sent: a crc32, etag or hash differs.
    Mismatch,

    // ----- an answer that refuses
    /// 400: the request is malformed, or a part list wrong.
    BadRequest,
    /// 400 `incorrect region`: the hosts the answer names, bare, possibly none.
    WrongRegion {
        /// Host names as the answer gave them.
        hosts: Vec<String>,
    },
    /// 400: transfer acceleration is not configured on this bucket.
    AccelerationOff,
    /// 401: the token or signature is missing, malformed, wrong or expired.
    Unauthorized,
    /// 403: the policy forbids it, or the account does.
    Forbidden,
    /// 403 `request time too skewed`: the local clock is wrong.
    ClockSkew,
    /// 404: no such path.
    NotFound,
    /// 405: wrong method for this path.
    MethodNotAllowed,
    /// 406: the bytes do not match the checksum sent with them.
    ChecksumRefused,
    /// 413 by Kodo: the policy's `fsizeLimit`.
    TooLarge,
    /// 413 by something on the way: a limit of one body, not of the object.
    BodyLimit,
    /// 419: the account is frozen.
    AccountFrozen,
    /// 429, 509, 573: too many requests.
    Throttled,
    /// 5xx and 599: the server or a gateway failed.
    Server,
    /// 579: the object is stored; the callback after it failed.
    CallbackFailed,
    /// 608, 613: the object changed meanwhile, or a condition was not met.
    Changed,
    /// 612: no such object.
    NoSuchObject,
    /// 612 `no such uploadId`: expired, aborted, completed or never begun.
    NoSuchUpload,
    /// 614: an object is there and may not be replaced.
    Exists,
    /// 630: the account has too many buckets.
    BucketLimit,
    /// 631: no such bucket.
    NoSuchBucket,
    /// 640: a list marker is not valid.
    BadMarker,
    /// 701: a v1 context is invalid, expired, or of another host.
    InvalidContext,
    /// Any other answer that is no success; the status says which.
    Refused,
}

impl FailureKind {
    /// Whether the source is to blame, and nobody on the way.
    pub fn is_of_the_source(&self) -> bool {
        matches!(self, Self::Source | Self::SourceChanged)
    }
}

/// `text` on one line, without control characters and without the numbers that the standard library
/// adds to the system's words, at most [`MESSAGE_LEN_MAX`] bytes.
fn shorten(text: String) -> String {
    let flat: String = without_numbers(&text)
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    let flat = flat.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat
        .char_indices()
        .find(|(at, char)| at + char.len_utf8() > MESSAGE_LEN_MAX)
    {
        None => flat,
        Some((cut, _)) => format!("{}…", &flat[..cut]),
    }
}

/// `text` without every ` (os error 104)`: the words before it say the same.
fn without_numbers(text: &str) -> String {
    let mut pieces = text.split(" (os error ");
    let mut kept = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let behind = piece.trim_start_matches(|char: char| char.is_ascii_digit());
        match behind.strip_prefix(')') {
            Some(rest) => kept.push_str(rest),
            None => kept.push_str(&format!(" (os error {piece}")),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The system's words stand for themselves.
    #[test]
    fn no_numbers_of_the_system() {
        let rows = [
            ("reset (os error 104)", "reset"),
            ("x: a (os error 1): b (os error 22) c", "x: a: b c"),
            ("plain (os error x)", "plain (os error x)"),
        ];
        for (text, expected) in rows {
            let failure = Failure::new(FailureKind::Broken, text);
            assert_eq!(failure.message, expected);
        }
    }

    /// A server's words reach a terminal as one short line, whatever they were.
    #[test]
    fn messages_are_short_and_flat() {
        let page = format!("<html>\r\n\x1b[2J{}", "é".repeat(400));
        let failure = Failure::new(FailureKind::NotKodo, page);
        assert!(failure.message.len() <= MESSAGE_LEN_MAX + '…'.len_utf8());
        assert!(!failure.message.contains(char::is_control));
        assert!(failure.message.ends_with('…'));
    }
}
