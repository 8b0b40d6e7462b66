//! What operators see of all uploads of a process: numbers on the facade of the `metrics` crate, with the
//! feature `metrics`. Without it, everything here is empty and costs nothing.
//!
//! Names, units and labels stand in [`guide::metrics`](crate::guide::metrics). Labels have few values:
//! none holds a bucket, a key, a host or anything that comes from outside.

use std::time::Duration;

use crate::model::FailureKind;

/// Adds one while something lasts, and takes it away when dropped.
#[derive(Debug)]
pub(crate) struct Lasting(&'static str);

impl Lasting {
    /// A connection that is open.
    pub(crate) fn open_connection() -> Self {
        Self::begin("haul_connections_open")
    }

    /// A connection that waits for a request.
    pub(crate) fn idle_connection() -> Self {
        Self::begin("haul_connections_idle")
    }

    fn begin(name: &'static str) -> Self {
        #[cfg(feature = "metrics")]
        metrics::gauge!(name).increment(1.0);
        Self(name)
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        metrics::gauge!(self.0).decrement(1.0);
        // Read in any case: the name is all there is without the feature.
        let _ = self.0;
    }
}

/// An upload that is awaited. One that is dropped before it has ended is counted as `dropped`.
#[derive(Debug)]
pub(crate) struct Awaited {
    _running: Lasting,
    has_ended: bool,
}

impl Awaited {
    /// It begins.
    pub(crate) fn begin() -> Self {
        Self {
            _running: Lasting::begin("haul_uploads_running"),
            has_ended: false,
        }
    }

    /// It ended: `done`, or the word of its error's kind.
    pub(crate) fn ended(mut self, outcome: &'static str, object_bytes: u64) {
        self.has_ended = true;
        upload(outcome);
        count("haul_bytes_stored_total", object_bytes);
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if !self.has_ended {
            upload("dropped");
        }
    }
}

/// A request to an upload host, when it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended<'a> {
    /// The service's word for it: one of ten or so.
    pub(crate) operation: &'static str,
    /// Status of its answer, if one came.
    pub(crate) status: Option<u16>,
    /// What it met, if no answer came.
    pub(crate) failure: Option<&'a FailureKind>,
    /// From its connection to its end.
    pub(crate) took: Duration,
}

/// A request to an upload host is over.
pub(crate) fn attempt(ended: &Ended<'_>) {
    let outcome = outcome(ended.status, ended.failure);
    count_two(
        "haul_attempts_total",
        [("operation", ended.operation), ("outcome", outcome)],
    );
    if outcome == "stalled" {
        count("haul_stalls_total", 1);
    }
    let histogram = match ended.operation {
        "mkblk" | "bput" | "part" => "haul_segment_seconds",
        "form" | "mkfile" | "complete" => "haul_commit_seconds",
        _ => return,
    };
    if outcome == "done" {
        observe(histogram, ended.took);
    }
}

/// Bytes were handed to a connection, heads included.
pub(crate) fn sent(bytes: u64) {
    count("haul_bytes_sent_total", bytes);
}

/// Bytes of a source were acknowledged, whatever becomes of them.
pub(crate) fn acknowledged(bytes: u64) {
    count("haul_bytes_acknowledged_total", bytes);
}

/// Bytes of a source that were acknowledged came to nothing.
pub(crate) fn resent(bytes: u64) {
    count("haul_bytes_resent_total", bytes);
}

fn upload(outcome: &'static str) {
    count_one("haul_uploads_total", ("outcome", outcome));
}

/// The line, as it is now: lanes that it is worth, bytes a second that it carries, hosts set aside.
pub(crate) fn line(lanes: usize, bytes_per_s: Option<u64>, frozen_hosts: usize) {
    set("haul_window_lanes", lanes as f64);
    set("haul_hosts_frozen", frozen_hosts as f64);
    if let Some(pace) = bytes_per_s {
        set("haul_pace_bytes_per_second", pace as f64);
    }
}

/// The end of an attempt in one of a dozen words.
fn outcome(status: Option<u16>, failure: Option<&FailureKind>) -> &'static str {
    use FailureKind as F;
    match (failure, status) {
        (Some(F::Connect), _) => "not_connected",
        (Some(F::Tls), _) => "tls",
        (Some(F::Broken), _) => "broken",
        (Some(F::Stalled | F::NotReading | F::Trickle), _) => "stalled",
        (Some(F::TimedOut), _) => "timed_out",
        (Some(F::Source), _) => "source",
        (Some(F::NotKodo), _) => "not_kodo",
        (None, Some(200..=299)) => "done",
        (_, Some(401)) => "unauthorized",
        (_, Some(429 | 509 | 573)) => "throttled",
        (_, Some(500..=599)) => "server",
        _ => "refused",
    }
}

#[cfg(feature = "metrics")]
mod facade {
    use std::time::Duration;

    pub(super) fn count(name: &'static str, by: u64) {
        metrics::counter!(name).increment(by);
    }

    pub(super) fn count_one(name: &'static str, label: (&'static str, &'static str)) {
        metrics::counter!(name, label.0 => label.1).increment(1);
    }

    pub(super) fn count_two(name: &'static str, labels: [(&'static str, &'static str); 2]) {
        let [first, second] = labels;
        metrics::counter!(name, first.0 => first.1, second.0 => second.1).increment(1);
    }

    pub(super) fn set(name: &'static str, value: f64) {
        metrics::gauge!(name).set(value);
    }

    pub(super) fn observe(name: &'static str, time: Duration) {
        metrics::histogram!(name).record(time);
    }
}

#[cfg(not(feature = "metrics"))]
mod facade {
    use std::time::Duration;

    pub(super) fn count(_: &'static str, _: u64) {}
    pub(super) fn count_one(_: &'static str, _: (&'static str, &'static str)) {}
    pub(super) fn count_two(_: &'static str, _: [(&'static str, &'static str); 2]) {}
    pub(super) fn set(_: &'static str, _: f64) {}
    pub(super) fn observe(_: &'static str, _: Duration) {}
}

use facade::{count, count_one, count_two, observe, set};
