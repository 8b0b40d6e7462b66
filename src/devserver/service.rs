//! The service side: one request in, one reply out.
//!
//! [`Service::answer`] is the whole seam to the network side. It never fails: whatever is wrong with
//! a request becomes a reply in Kodo's shape. A reply may come before the body has been read to its
//! end; the network side then decides whether to drain it or to close.

use http::request::Parts;

use crate::devserver::exchange::{BodyStream, Overrides, Reply};
use crate::devserver::route::Call;
use crate::model::Bucket;

/// The Kodo behind the wire. Shared by all connections; holds no lock of its own.
pub(crate) struct Service {
    /// Buckets that exist; `None`: any.
    pub(crate) buckets: Option<Vec<Bucket>>,
    /// `host:port` names that the region query hands out, in order of preference.
    pub(crate) hosts: Vec<String>,
}

impl Service {
    /// Answers one request. `head` is its head as it came, `call` what [`parse`] made of it.
    ///
    /// [`parse`]: crate::devserver::route::parse
    pub(crate) async fn answer(
        &self,
        call: Call,
        head: &Parts,
        body: BodyStream,
        overrides: Overrides,
    ) -> Reply {
        let _ = (head, body, overrides);
        match call {
            Call::Malformed { message, .. } => Reply::error(400, message),
            Call::WrongMethod { .. } => Reply::error(405, "method not allowed"),
            _ => Reply::error(404, "no such path"),
        }
    }

    /// Whether the bucket exists.
    pub(crate) fn has_bucket(&self, bucket: &str) -> bool {
        match &self.buckets {
            None => Bucket::new(bucket).is_ok(),
            Some(buckets) => buckets.iter().any(|known| known.as_str() == bucket),
        }
    }
}
