//! Counts an upload's bytes and tells whoever listens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::events::{Event, Listener};
use crate::kodo::{Etag, Stored};
use crate::model::Stage;
use crate::telemetry;

/// The counts of one upload.
#[derive(Debug)]
pub(crate) struct Meter {
    /// How long the object is; `u64::MAX` where nobody knows yet.
    size: AtomicU64,
    listener: Listener,
    /// Acknowledged and recorded.
    safe: AtomicU64,
    /// Acknowledged, in segments that are safe or may become so. Never falls.
    acknowledged: AtomicU64,
    /// What the attempts in flight have, as last heard.
    in_flight: Mutex<InFlight>,
    /// Acknowledged in attempts that ended in this run, whatever became of them.
    sent: AtomicU64,
    finished: Mutex<Option<Finished>>,
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InFlight {
    source_bytes: u64,
    stage: Stage,
}

/// A finished upload.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// The service's answer; none when a look told that the object is there.
    pub(crate) stored: Option<Stored>,
    /// The hash of the bytes that were sent.
    pub(crate) hash: Etag,
    /// Whether the service showed that hash for the whole object.
    pub(crate) hash_confirmed: bool,
}

impl Meter {
    pub(crate) fn new(size: Option<u64>, listener: Listener) -> Self {
        Self {
            size: AtomicU64::new(size.unwrap_or(u64::MAX)),
            listener,
            safe: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            in_flight: Mutex::new(InFlight {
                source_bytes: 0,
                stage: Stage::Connecting,
            }),
            sent: AtomicU64::new(0),
            finished: Mutex::new(None),
        }
    }

    /// Tells the listener.
    pub(crate) fn tell(&self, event: &Event) {
        self.listener.tell(event);
    }

    /// So many bytes are safe by now.
    pub(crate) fn safe(&self, bytes: u64) {
        self.safe.store(bytes, Ordering::Relaxed);
        self.acknowledged.fetch_max(bytes, Ordering::Relaxed);
        self.tell_progress();
    }

    /// Bytes that are acknowledged and recorded.
    pub(crate) fn safe_bytes(&self) -> u64 {
        self.safe.load(Ordering::Relaxed)
    }

    /// Bytes that are acknowledged, in segments that are safe or may become so.
    pub(crate) fn acknowledged_bytes(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Bytes of the source that were acknowledged in this run, whatever became of them.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// An attempt ended after `source_bytes` of the source were acknowledged.
    pub(crate) fn sent(&self, source_bytes: u64) {
        self.sent.fetch_add(source_bytes, Ordering::Relaxed);
        telemetry::acknowledged(source_bytes);
    }

    /// So many bytes of the source are acknowledged in segments that are not yet safe, and this is
    /// what is waited for.
    pub(crate) fn under_way(&self, source_bytes: u64, stage: Stage) {
        let acknowledged = self.safe_bytes().saturating_add(source_bytes);
        let acknowledged = acknowledged.min(self.size.load(Ordering::Relaxed));
        self.acknowledged.fetch_max(acknowledged, Ordering::Relaxed);
        let now = InFlight {
            source_bytes,
            stage,
        };
        if std::mem::replace(&mut *self.in_flight(), now) != now {
            self.tell_progress();
        }
    }

    /// All of the source is there: so long it is.
    pub(crate) fn learn_size(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }

    /// The same call had so many bytes acknowledged before, at other hosts.
    pub(crate) fn sent_before(&self, source_bytes: u64) {
        self.sent.fetch_add(source_bytes, Ordering::Relaxed);
    }

    /// Keeps what the commit came to.
    pub(crate) fn finish(&self, finished: Finished) {
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = Some(finished);
    }

    /// What the commit came to.
    pub(crate) fn take_finished(&self) -> Result<Finished, Error> {
        let mut slot = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
            .ok_or_else(|| Error::bug("an upload ended without its object"))
    }

    fn tell_progress(&self) {
        let InFlight {
            source_bytes,
            stage,
        } = *self.in_flight();
        let safe_bytes = self.safe_bytes();
        let acknowledged_bytes = self.acknowledged.load(Ordering::Relaxed);
        self.listener.tell(&Event::Progress {
            safe_bytes,
            acknowledged_bytes,
            lost_bytes: acknowledged_bytes.saturating_sub(safe_bytes.saturating_add(source_bytes)),
            size: Some(self.size.load(Ordering::Relaxed)).filter(|size| *size < u64::MAX),
            stage,
        });
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
