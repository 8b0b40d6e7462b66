//! How an upload went: kept while it runs, given back with its success.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Serialize, Serializer};

use crate::clock;
use crate::events::{Attempt, Event, Listener};
use crate::kodo::Etag;

/// How an upload went, and how its object is cut: with it the object can be proven from the source, or the
/// source from the object, months later.
///
/// Serialised, times are `began_unix_s` in seconds since 1970 and `duration_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// `form`, `v1` or `v2`.
    pub protocol: &'static str,
    /// Length of every lane but the last, in bytes: of a v1 block, of a v2 part, or of the whole object
    /// for a form.
    pub lane_bytes: u64,
    /// The hash of every lane, in order: that of its bytes alone. A form is one lane.
    /// [`hash_of_lanes`](Self::hash_of_lanes) joins them.
    pub lane_hashes: Vec<Etag>,
    /// Upload hosts that requests went to, as URLs, in the order of their first one. Looks at the object
    /// and the bucket query are not counted, here and below.
    pub hosts: Vec<String>,
    /// Requests to them that this call made, all together.
    pub attempts: u32,
    /// Those of them that got no answer, or one that refused. One that met a connection which was over
    /// already and went out again at once is none of either.
    pub failed_attempts: u32,
    /// When the call began, by this machine's clock.
    #[serde(rename = "began_unix_s", serialize_with = "unix_s")]
    pub began: SystemTime,
    /// From there to its end: hashing, waiting and looking included.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// Bytes of the source that were sent, by the time of the call; 0 where nothing was sent.
    pub bytes_per_s: u64,
}

impl Report {
    /// The hash of the whole object of `size` bytes, made of those of its lanes: what the service shows
    /// of it (stat), as long as it is the one that was uploaded.
    pub fn hash_of_lanes(&self, size: u64) -> Etag {
        if let ("form", [whole]) = (self.protocol, &self.lane_hashes[..]) {
            return *whole;
        }
        let mut rest = size;
        let with_len = |etag: &Etag| {
            let len = rest.min(self.lane_bytes);
            rest -= len;
            (len, *etag)
        };
        let parts: Vec<(u64, Etag)> = self.lane_hashes.iter().map(with_len).collect();
        Etag::of_parts(&parts)
    }
}

fn unix_s<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(clock::unix_seconds(*time))
}

fn millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Takes down how an upload goes, over all hosts and regions that it goes to.
#[derive(Debug)]
pub(super) struct Log {
    began: SystemTime,
    since: Instant,
    seen: Arc<Mutex<Seen>>,
}

/// What the log keeps.
#[derive(Debug, Default)]
struct Seen {
    hosts: Vec<String>,
    attempts: u32,
    failed: u32,
}

impl Log {
    /// A log of what is told to `listener`, and the listener to tell in its place.
    pub(super) fn beside(listener: Listener) -> (Self, Listener) {
        let log = Self {
            began: clock::wall(),
            since: clock::instant(),
            seen: Arc::default(),
        };
        let seen = Arc::clone(&log.seen);
        let both = move |event: &Event| {
            if let Event::Attempt(attempt) = event {
                locked(&seen).see(attempt);
            }
            listener.tell(event);
        };
        (log, Listener::new(both))
    }

    /// The report of the upload, which ends now.
    pub(super) fn report(&self, cut: Cut, sent_bytes: u64) -> Report {
        let duration = clock::instant().saturating_duration_since(self.since);
        let seen = locked(&self.seen);
        Report {
            protocol: cut.protocol,
            lane_bytes: cut.lane_len,
            lane_hashes: cut.lanes,
            hosts: seen.hosts.clone(),
            attempts: seen.attempts,
            failed_attempts: seen.failed,
            began: self.began,
            duration,
            bytes_per_s: pace(sent_bytes, duration),
        }
    }
}

/// How an object was cut.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) protocol: &'static str,
    pub(super) lane_len: u64,
    pub(super) lanes: Vec<Etag>,
}

impl Seen {
    fn see(&mut self, attempt: &Attempt) {
        if attempt.is_repeated {
            return;
        }
        let host = attempt.trace.endpoint.to_string();
        if !self.hosts.contains(&host) {
            self.hosts.push(host);
        }
        let refused = attempt.status.is_some_and(|status| status >= 400);
        let has_failed = attempt.failure.is_some() || refused;
        self.attempts = self.attempts.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(has_failed));
    }
}

/// Bytes a second; a time of nothing counts as a millisecond.
fn pace(bytes: u64, time: Duration) -> u64 {
    let ms = time.as_millis().max(1);
    u64::try_from(u128::from(bytes) * 1000 / ms).unwrap_or(u64::MAX)
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Endpoint, Failure, FailureKind, Stage, Trace};

    fn attempt(host: &str, status: Option<u16>, broke: bool, is_repeated: bool) -> Event {
        let failure = broke.then(|| Failure::new(FailureKind::Broken, "it broke"));
        Event::Attempt(Attempt {
            operation: "mkblk",
            trace: Trace {
                endpoint: Endpoint::parse(host, true).unwrap(),
                address: None,
                proxy: None,
                is_reused: false,
                uses_bbr: false,
                stage: Stage::Answering,
                acknowledged_bytes: 0,
                body_len: 0,
                connecting: Duration::ZERO,
                sending: Duration::ZERO,
                answering: Duration::ZERO,
                before: None,
            },
            status,
            request_id: None,
            failure,
            is_repeated,
        })
    }

    /// Requests by host and outcome, and the whole as it is kept.
    #[tokio::test(start_paused = true)]
    async fn what_is_kept() {
        let (log, listener) = Log::beside(Listener::default());
        for event in [
            attempt("https://a", Some(200), false, false),
            attempt("https://b", None, true, false),
            attempt("https://b", None, true, true),
            attempt("https://a", Some(503), false, false),
            attempt("https://a", Some(303), false, false),
            Event::Notice("nothing to count".to_owned()),
        ] {
            listener.tell(&event);
        }
        tokio::time::advance(Duration::from_millis(2_500)).await;
        let hash = Etag::of(b"lane");
        let cut = Cut {
            protocol: "v1",
            lane_len: 4 << 20,
            lanes: vec![hash],
        };
        let mut report = log.report(cut, 1000);
        report.began = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            json!({
                "protocol": "v1", "lane_bytes": 4 << 20, "lane_hashes": [hash.to_string()],
                "hosts": ["https://a", "https://b"], "attempts": 4, "failed_attempts": 2,
                "began_unix_s": 9, "duration_ms": 2500, "bytes_per_s": 400,
            })
        );
    }
}
