//! What comes of an upload.

use bytes::Bytes;
use serde::Serialize;

use crate::client::put::Put;
use crate::client::put::report::{Cut, Log, Report};
use crate::kodo::Etag;
use crate::uploader::Outcome;

/// A finished upload.
///
/// Serialised it is all of this but the answer, which is whatever the policy makes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Done {
    /// Where the object is.
    pub bucket: String,
    /// Its key: the one asked for, or the one that the service chose. None where the service chose
    /// and a shaped answer does not say.
    pub key: Option<String>,
    /// Its hash, computed from the bytes that were sent; the service's own, where
    /// [`verified`](Self::verified) says so.
    pub hash: Etag,
    /// Its size, in bytes.
    pub size: u64,
    /// How much of it is proven.
    pub verified: Verified,
    /// The body of the service's answer: arbitrary where the put policy has a `returnBody` or a
    /// callback. None when that answer was lost and a look told that the object is there.
    #[serde(skip)]
    pub answer: Option<Bytes>,
    /// `X-Reqid` of that answer: what the service's support asks for.
    pub request_id: Option<String>,
    /// Bytes that an earlier run had stored, as it was known at the beginning. Those of them that were not
    /// the source's any more, or that the service had lost, are in `sent_bytes`, too.
    pub resumed_bytes: u64,
    /// Bytes of the source that were sent in this run, the same ones as often as they were.
    pub sent_bytes: u64,
    /// Those of them that had been sent before.
    pub resent_bytes: u64,
    /// How it went, and how the object is cut.
    pub report: Report,
}

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verified {
    /// The service's hash of the whole object is that of the bytes sent.
    Object,
    /// Every segment's answer matched the bytes sent; the last answer carried no hash.
    Parts,
}

impl Verified {
    /// The word that JSON events carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Parts => "parts",
        }
    }
}

impl Put {
    pub(super) fn done(&self, outcome: Outcome, size: u64, log: &Log) -> Done {
        let cut = Cut {
            protocol: outcome.protocol,
            lane_len: outcome.lane_len,
            lanes: outcome.lanes,
        };
        let report = log.report(cut, outcome.sent_bytes);
        let verified = if outcome.hash_confirmed {
            Verified::Object
        } else {
            Verified::Parts
        };
        let stored = outcome.stored;
        Done {
            bucket: self.bucket.clone(),
            key: stored
                .as_ref()
                .and_then(|stored| stored.key.clone())
                .or_else(|| self.key.clone()),
            hash: outcome.hash,
            size,
            verified,
            request_id: stored.as_ref().and_then(|stored| stored.request_id.clone()),
            answer: stored.map(|stored| stored.raw),
            resumed_bytes: outcome.resumed_bytes,
            sent_bytes: outcome.sent_bytes,
            resent_bytes: outcome.resent_bytes,
            report,
        }
    }
}
