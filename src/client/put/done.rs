//! What comes of an upload.

use bytes::Bytes;

use crate::client::put::Put;
use crate::uploader::Outcome;

/// A finished upload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Done {
    /// Where the object is.
    pub bucket: String,
    /// Its key: the one asked for, or the one that the service chose. None where the service chose
    /// and a shaped answer does not say.
    pub key: Option<String>,
    /// Its hash (etag).
    pub hash: String,
    /// Its size, in bytes.
    pub size: u64,
    /// How much of it is proven.
    pub verified: Verified,
    /// The body of the service's answer: arbitrary where the put policy has a `returnBody` or a
    /// callback. None when that answer was lost and a look told that the object is there.
    pub answer: Option<Bytes>,
    /// `X-Reqid` of that answer: what the service's support asks for.
    pub request_id: Option<String>,
    /// Bytes that an earlier run had stored.
    pub resumed_bytes: u64,
    /// Bytes of the source that were sent in this run.
    pub sent_bytes: u64,
    /// Those of them that had been sent before.
    pub resent_bytes: u64,
}

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(super) fn done(self, outcome: Outcome, size: u64) -> Done {
        let verified = if outcome.hash_confirmed {
            Verified::Object
        } else {
            Verified::Parts
        };
        let stored = outcome.stored;
        Done {
            bucket: self.bucket,
            key: stored
                .as_ref()
                .and_then(|stored| stored.key.clone())
                .or(self.key),
            hash: outcome.hash.to_string(),
            size,
            verified,
            request_id: stored.as_ref().and_then(|stored| stored.request_id.clone()),
            answer: stored.map(|stored| stored.raw),
            resumed_bytes: outcome.resumed_bytes,
            sent_bytes: outcome.sent_bytes,
            resent_bytes: outcome.resent_bytes,
        }
    }
}
