//! The JSON lines on stdout, version 1. Fields keep the order in which they stand here.

use serde::Serialize;

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
        size: u64,
        protocol: &'a str,
        resumed_bytes: u64,
    },
    /// An upload moves, or is still there.
    Progress {
        acknowledged_bytes: u64,
        handed_over_bytes: u64,
        size: u64,
    },
    /// An attempt failed; another follows.
    Retrying {
        message: &'a str,
        wait_ms: u64,
        attempts: u32,
    },
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
    Failed {
        kind: &'a str,
        exit: u8,
        message: &'a str,
        safe_bytes: u64,
        next: Option<&'a str>,
    },
    /// What `demo` showed: its last line.
    Demo {
        size: u64,
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

/// All that is known of an unfinished upload.
#[derive(Debug, Serialize)]
pub(crate) struct UploadEvent {
    pub(crate) id: String,
    pub(crate) destination: String,
    pub(crate) store: String,
    pub(crate) access_key: String,
    pub(crate) bucket: String,
    pub(crate) key: Option<String>,
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
        let failed = Event::Failed {
            kind: "source",
            exit: 5,
            message: "m",
            safe_bytes: 0,
            next: None,
        };
        assert_eq!(
            failed.line(),
            r#"{"v":1,"event":"failed","kind":"source","exit":5,"message":"m","safe_bytes":0,"next":null}"#
        );
    }
}
