//! What an upload tells while it runs.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::engine::expiry::Grant;
use crate::model::{Failure, Stage, Trace};

/// A moment of an upload, told to whoever asked for events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The source is open and the first request is about to go.
    Started {
        /// Size of the source, in bytes; none for a stream whose length was not said.
        size: Option<u64>,
        /// `form`, `v1` or `v2`.
        protocol: &'static str,
        /// Bytes that an earlier run had stored. They are compared with the source beside the upload.
        resumed_bytes: u64,
    },
    /// Bytes moved. Told a few times a second while they do.
    Progress {
        /// Bytes of the source in segments that the service has acknowledged and that are recorded:
        /// what the next run need not send again. Falls only when the service loses what it had.
        safe_bytes: u64,
        /// Those, and what the other end has acknowledged of the segments under way. Never falls:
        /// when a segment has to be sent again it stands still.
        acknowledged_bytes: u64,
        /// Those of them that are not acknowledged at this moment: their attempt broke and they go
        /// again, or, for an instant, their segment is acknowledged and not yet recorded.
        lost_bytes: u64,
        /// Size of the source, in bytes; none for a stream whose length was not said.
        size: Option<u64>,
        /// What is waited for: `Sending` while any request has bytes that are not acknowledged,
        /// `Answering` when all that is under way is, `Reading` when it waits for the source,
        /// `Connecting` before there is a connection.
        stage: Stage,
    },
    /// An attempt failed; another follows.
    Retrying {
        /// What it met.
        failure: Failure,
        /// How long it waits first.
        wait: Duration,
        /// How many attempts at this have failed in a row.
        attempts: u32,
    },
    /// What was chosen for the line, as it is now. Told at the beginning and when it changes.
    Pace {
        /// Lanes in flight at most, over all uploads of the uploader where the window is automatic.
        lanes: usize,
        /// Length of the next segment at most, in bytes; a v2 part is as long as it is.
        segment_bytes: u64,
        /// What the line carries, over all uploads of the uploader, in bytes a second; none before that
        /// is known.
        bytes_per_s: Option<u64>,
    },
    /// Nothing passes any more and no connection opens: everything is kept, and a connection is tried
    /// every two seconds.
    LineDown {
        /// For how long nothing has passed.
        silence: Duration,
    },
    /// The line is back.
    LineUp {
        /// For how long nothing passed.
        silence: Duration,
    },
    /// At its present pace the upload takes longer than something lives that the service gave for a time:
    /// a ready token, a v1 context, a v2 upload id. Told once of each, before anything is sent or while it
    /// runs. Of tokens that are renewed (own keys, a provider) only when there will be no other.
    ///
    /// Nothing ends by it: the line may become faster. A token that has ended ends the upload, with
    /// what is stored kept; what a context or an upload id stood for goes again.
    Expiring {
        /// Which.
        what: Grant,
        /// How long it still lives, by the service's clock.
        left: Duration,
        /// How long the upload still takes at its present pace.
        needed: Duration,
    },
    /// A request to an upload host ended, well or not. Many of them make an upload.
    Attempt(Attempt),
    /// Something worth knowing that is no error, in words for people.
    Notice(String),
    /// The same of the upload's journal: it goes on without one, and the next run will have to send
    /// everything again, whatever is called safe.
    NotResumable(String),
}

/// One request to an upload host, when it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// What it was for: `mkblk`, `bput`, `mkfile`, `initiate`, `part`, `complete`, `form` …
    pub operation: &'static str,
    /// The way it took, and for how long.
    pub trace: Trace,
    /// Status of the answer, if one came.
    pub status: Option<u16>,
    /// `X-Reqid` of the answer.
    pub request_id: Option<String>,
    /// What it met, if it failed.
    pub failure: Option<Failure>,
    /// It met a connection that had been closed, and went out again at once on a new one: it counts
    /// as no attempt.
    pub is_repeated: bool,
}

/// What is called with every event.
type Hear = dyn Fn(&Event) + Send + Sync;

/// Who is told. It must not block: the upload waits for it. One that panics is told no more.
#[derive(Clone, Default)]
pub(crate) struct Listener(Option<Arc<Ear>>);

struct Ear {
    hear: Box<Hear>,
    has_panicked: AtomicBool,
}

impl Listener {
    /// A listener that calls `hear`.
    pub(crate) fn new(hear: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Ear {
            hear: Box::new(hear),
            has_panicked: AtomicBool::new(false),
        })))
    }

    /// Tells `event`. A panic of whoever hears it is his own: what he says of it may be secret, and the
    /// upload goes on.
    pub(crate) fn tell(&self, event: &Event) {
        let Some(ear) = &self.0 else { return };
        if ear.has_panicked.load(Ordering::Relaxed) {
            return;
        }
        let heard = panic::catch_unwind(AssertUnwindSafe(|| (ear.hear)(event)));
        if heard.is_err() && !ear.has_panicked.swap(true, Ordering::Relaxed) {
            tracing::warn!("whoever hears an upload's events panicked, and is told no more");
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "Listener"
        } else {
            "no listener"
        })
    }
}
