//! The JSON lines on stdout, version 1. Fields keep the order in which they stand here.

use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::model::{Stage, Trace};

/// Version of the lines. A field may be added without a new one.
const VERSION: u8 = 1;

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// An upload begins.
    Started {
        bucket: &'a str,
        key: Option<&'a str>,
        /// Null for a stream whose length nobody knows yet; the same below.
        size: Option<u64>,
        protocol: &'a str,
        resumed_bytes: u64,
    },
    /// An upload moves, or is still there: at most one a second.
    Progress {
        safe_bytes: u64,
        acknowledged_bytes: u64,
        size: Option<u64>,
        /// Smoothed; null while unknown.
        bytes_per_s: Option<u64>,
        /// Null while unknown.
        left_ms: Option<u64>,
    },
    /// Nothing was acknowledged, or everything and no answer came, for a while: once, until
    /// something moves again.
    Stalled { silence_ms: u64, limit_ms: u64 },
    /// What was chosen for the line, as it is now.
    Pace {
        lanes: usize,
        segment_bytes: u64,
        bytes_per_s: Option<u64>,
    },
    /// Nothing passes any more, and no connection opens.
    LineDown { silence_ms: u64 },
    /// The line is back.
    LineUp { silence_ms: u64 },
    /// What the service gave for a time ends before the upload does, at its present pace; once of each.
    Expiring {
        what: &'a str,
        left_ms: u64,
        needed_ms: u64,
    },
    /// An attempt failed; another follows.
    Retrying {
        message: &'a str,
        wait_ms: u64,
        attempts: u32,
        way: Option<Way>,
    },
    /// A request to an upload host is over.
    Attempt(Box<AttemptEvent<'a>>),
    /// Something worth knowing.
    Notice { message: &'a str },
    /// An upload is done: the last line of a file.
    Done {
        bucket: &'a str,
        key: Option<&'a str>,
        hash: &'a str,
        size: u64,
        resumed_bytes: u64,
        sent_bytes: u64,
        resent_bytes: u64,
        verified: &'a str,
    },
    /// The command failed: its last line.
    Failed(Box<FailedEvent<'a>>),
    /// What `demo` showed: its last line.
    Demo {
        size: u64,
        cut: bool,
        killed: bool,
        resumed_bytes: u64,
        sent_bytes: u64,
        resent_bytes: u64,
        stored_hash: &'a str,
        local_hash: &'a str,
    },
    /// An unfinished upload, of `uploads`.
    Upload(Box<UploadEvent>),
    /// Something among the journals that is none, or none of ours.
    OddJournal { state: &'a str, message: &'a str },
    /// An upload was given up. What the service was told: `told`, `not_told`, or `expires` where
    /// there is nothing to tell.
    Aborted { id: &'a str, service: &'a str },
    /// Upload ids that nobody goes on with were given back to the service, or could not be.
    Cleaned { given_back: usize, left: usize },
    /// An object, of `stat` or `ls`.
    Object {
        bucket: &'a str,
        key: &'a str,
        hash: &'a str,
        size: u64,
        mime_type: &'a str,
        /// Unix time in units of 100 ns, as the service counts.
        put_time: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        end_user: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<serde_json::Value>,
    },
    /// An object was removed.
    Removed { bucket: &'a str, key: &'a str },
    /// A file's hash.
    Etag {
        file: &'a str,
        hash: &'a str,
        size: u64,
    },
    /// An upload token.
    Token {
        upload_token: &'a str,
        deadline: u64,
    },
    /// A setting of `config show`.
    Setting {
        name: &'a str,
        value: Option<serde_json::Value>,
        origin: &'a str,
        source: Option<String>,
    },
    /// The dev server is up. The secret key is only shown when the server made it.
    Listening {
        url: &'a str,
        access_key: &'a str,
        secret_key: Option<&'a str>,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        other_urls: &'a [String],
    },
}

/// The way of one attempt.
#[derive(Debug, Serialize)]
pub(crate) struct Way {
    host: String,
    address: Option<String>,
    proxy: Option<String>,
    reused: bool,
    /// Its connection was told to use BBR, whatever the system uses.
    bbr: bool,
    /// How far it came: `waiting`, `connecting`, `sending` or `answering`.
    phase: &'static str,
    acknowledged_bytes: u64,
    body_bytes: u64,
    connecting_ms: u64,
    sending_ms: u64,
    answering_ms: u64,
}

/// One request that is over.
#[derive(Debug, Serialize)]
pub(crate) struct AttemptEvent<'a> {
    pub(crate) operation: &'a str,
    #[serde(flatten)]
    pub(crate) way: Way,
    pub(crate) status: Option<u16>,
    pub(crate) request_id: Option<&'a str>,
    /// What it met, if it failed.
    pub(crate) message: Option<String>,
    /// It went out again at once, and counts as no attempt.
    pub(crate) repeated: bool,
}

/// Why a command failed.
#[derive(Debug, Serialize)]
pub(crate) struct FailedEvent<'a> {
    kind: &'a str,
    exit: u8,
    message: String,
    safe_bytes: u64,
    next: Option<&'a str>,
    status: Option<u16>,
    request_id: Option<&'a str>,
    /// Requests that failed in a row at the end, of an upload.
    attempts: u32,
    /// How long the upload had run.
    elapsed_ms: u64,
    /// The way of the last attempt, if there was one.
    way: Option<Way>,
}

/// All that is known of an unfinished upload.
#[derive(Debug, Serialize)]
pub(crate) struct UploadEvent {
    pub(crate) id: String,
    pub(crate) destination: String,
    pub(crate) store: String,
    pub(crate) access_key: String,
    pub(crate) bucket: String,
    pub(crate) key: Option<String>,
    /// What the program that began it calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resume_id: Option<String>,
    pub(crate) source: String,
    /// `unchanged`, `touched`, `resized` or `missing`.
    pub(crate) source_state: &'static str,
    pub(crate) protocol: Option<&'static str>,
    pub(crate) size: u64,
    pub(crate) safe_bytes: u64,
    /// Unix time.
    pub(crate) created: u64,
    /// Unix time.
    pub(crate) expires: Option<u64>,
    pub(crate) held: bool,
    pub(crate) holder: Option<String>,
    /// A commit was sent, and what became of it is not known.
    pub(crate) commit_unclear: bool,
}

impl Way {
    pub(crate) fn new(trace: &Trace) -> Self {
        Self {
            host: trace.endpoint.to_string(),
            address: trace.address.clone(),
            proxy: trace.proxy.clone(),
            reused: trace.is_reused,
            bbr: trace.uses_bbr,
            phase: match trace.stage {
                Stage::Waiting => "waiting",
                Stage::Connecting => "connecting",
                Stage::Reading | Stage::Sending => "sending",
                Stage::Answering => "answering",
            },
            acknowledged_bytes: trace.acknowledged_bytes,
            body_bytes: trace.body_len,
            connecting_ms: millis(trace.connecting),
            sending_ms: millis(trace.sending),
            answering_ms: millis(trace.answering),
        }
    }
}

impl<'a> FailedEvent<'a> {
    /// The last line of what failed with `error`.
    pub(crate) fn new(error: &'a Error, exit: u8) -> Self {
        let failure = error.failure();
        Self {
            kind: error.kind().as_str(),
            exit,
            message: error.message().to_owned(),
            safe_bytes: error.safe_bytes(),
            next: error.next_step(),
            status: failure.and_then(|failure| failure.status),
            request_id: failure.and_then(|failure| failure.request_id.as_deref()),
            attempts: error.attempts(),
            elapsed_ms: millis(error.elapsed()),
            way: error.trace().map(Way::new),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Event<'_> {
    /// The event as one line of JSON.
    pub(crate) fn line(&self) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            v: u8,
            #[serde(flatten)]
            event: &'a Event<'a>,
        }
        let line = Line {
            v: VERSION,
            event: self,
        };
        serde_json::to_string(&line)
            .unwrap_or_else(|_| unreachable!("events hold text and numbers only"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// The last line of a file, to the letter of the design.
    #[test]
    fn lines_keep_their_shape() {
        let done = Event::Done {
            bucket: "b",
            key: Some("k"),
            hash: "F",
            size: 1,
            resumed_bytes: 0,
            sent_bytes: 1,
            resent_bytes: 0,
            verified: "object",
        };
        assert_eq!(
            done.line(),
            r#"{"v":1,"event":"done","bucket":"b","key":"k","hash":"F","size":1,"resumed_bytes":0,"sent_bytes":1,"resent_bytes":0,"verified":"object"}"#
        );
        let expiring = Event::Expiring {
            what: "token",
            left_ms: 1,
            needed_ms: 2,
        };
        assert_eq!(
            expiring.line(),
            r#"{"v":1,"event":"expiring","what":"token","left_ms":1,"needed_ms":2}"#
        );
        let error = Error::new(ErrorKind::Source, "m");
        let failed = Event::Failed(Box::new(FailedEvent::new(&error, 5)));
        assert_eq!(
            failed.line(),
            r#"{"v":1,"event":"failed","kind":"source","exit":5,"message":"m","safe_bytes":0,"next":null,"status":null,"request_id":null,"attempts":0,"elapsed_ms":0,"way":null}"#
        );
    }
}
