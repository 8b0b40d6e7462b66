//! Counts an upload's bytes and tells whoever listens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;

use crate::error::Error;
use crate::events::{Event, Listener};
use crate::kodo::{Etag, Stored};
use crate::transport::SourceStream;

/// The counts of one upload.
#[derive(Debug)]
pub(crate) struct Meter {
    size: u64,
    listener: Listener,
    /// Acknowledged and recorded.
    safe: AtomicU64,
    /// Handed to connections by attempts that are still under way.
    on_the_way: AtomicU64,
    /// Handed to connections in this run, whatever became of it.
    sent: AtomicU64,
    finished: Mutex<Option<Finished>>,
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

/// What an attempt has handed over; taken off when it ends.
struct OnTheWay {
    meter: Arc<Meter>,
    len: u64,
}

impl Meter {
    pub(crate) fn new(size: u64, listener: Listener) -> Self {
        Self {
            size,
            listener,
            safe: AtomicU64::new(0),
            on_the_way: AtomicU64::new(0),
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
        self.tell_progress();
    }

    /// Bytes that are acknowledged and recorded.
    pub(crate) fn safe_bytes(&self) -> u64 {
        self.safe.load(Ordering::Relaxed)
    }

    /// Bytes of the source that went to connections in this run.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Counts what passes through `stream`.
    pub(crate) fn count(self: &Arc<Self>, stream: SourceStream) -> SourceStream {
        let mut on_the_way = OnTheWay {
            meter: Arc::clone(self),
            len: 0,
        };
        let counted = stream.inspect(move |piece| {
            if let Ok(bytes) = piece {
                on_the_way.add(bytes.len() as u64);
            }
        });
        counted.boxed()
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
        let acknowledged = self.safe_bytes();
        let on_the_way = self.on_the_way.load(Ordering::Relaxed);
        self.listener.tell(&Event::Progress {
            safe_bytes: acknowledged,
            acknowledged_bytes: acknowledged.saturating_add(on_the_way).min(self.size),
            size: self.size,
        });
    }
}

impl OnTheWay {
    fn add(&mut self, len: u64) {
        self.len += len;
        self.meter.on_the_way.fetch_add(len, Ordering::Relaxed);
        self.meter.sent.fetch_add(len, Ordering::Relaxed);
        self.meter.tell_progress();
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        self.meter.on_the_way.fetch_sub(self.len, Ordering::Relaxed);
    }
}
