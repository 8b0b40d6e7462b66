//! Counts how an upload's attempts go: what its error tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::clock;
use crate::error::Run;
use crate::events::{Event, Listener};
use crate::model::Failure;

/// The count of one upload.
#[derive(Debug)]
pub(crate) struct Tally {
    began: Instant,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Attempts that failed since something was made safe.
    failed: AtomicU32,
    safe: AtomicU64,
}

impl Tally {
    /// A tally of what is told to `listener`, and the listener to tell in its place.
    pub(crate) fn beside(listener: Listener) -> (Self, Listener) {
        let tally = Self {
            began: clock::instant(),
            counts: Arc::default(),
        };
        let counts = Arc::clone(&tally.counts);
        let both = move |event: &Event| {
            counts.hear(event);
            listener.tell(event);
        };
        (tally, Listener::new(both))
    }

    /// What is known by now of the upload of `size` bytes, which `last` ends: an attempt that is
    /// counted too, if it was one.
    pub(crate) fn run(&self, size: u64, last: Option<&Failure>) -> Run {
        let was_attempt = |last: &Failure| last.trace.is_some() || last.status.is_some();
        let failed = self.counts.failed.load(Ordering::Relaxed);
        Run {
            size,
            attempts: failed.saturating_add(u32::from(last.is_some_and(was_attempt))),
            elapsed: clock::instant().saturating_duration_since(self.began),
        }
    }
}

impl Counts {
    fn hear(&self, event: &Event) {
        match event {
            Event::Retrying { .. } => _ = self.failed.fetch_add(1, Ordering::Relaxed),
            Event::Progress { safe_bytes, .. } => {
                let before = self.safe.fetch_max(*safe_bytes, Ordering::Relaxed);
                if before < *safe_bytes {
                    self.failed.store(0, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
}
