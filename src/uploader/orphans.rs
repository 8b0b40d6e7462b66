//! Upload ids that nobody goes on with: given back, and remembered until they are.
//!
//! What the service holds for one costs its owner money until it expires. One that cannot be given back
//! now (the line is down, the upload is dropped) is noted in the state directory, for a later upload of
//! the same account to try again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use tokio::runtime::Handle;

use crate::blocking;
use crate::clock;
use crate::engine::event::HostIndex;
use crate::journal::header::Target;
use crate::journal::orphans::{self, Orphan};
use crate::kodo::multipart;
use crate::model::{Endpoint, FailureKind};
use crate::uploader::calls::{Call, Flying, Repeat};
use crate::uploader::effects::Executor;

/// Where the orphans of one upload are noted.
#[derive(Clone, Debug)]
pub(crate) struct Orphans {
    /// None where nothing is kept.
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) target: Target,
    /// Set when there is a new one.
    pub(crate) is_fresh: Arc<AtomicBool>,
}

/// An upload id on its way back. Dropped before it is there, it is an orphan.
#[derive(Debug)]
#[must_use = "dropped, the upload id counts as lost"]
pub(crate) struct Lost(Option<Note>);

#[derive(Debug)]
struct Note {
    state_dir: PathBuf,
    orphan: Orphan,
    runtime: Handle,
    is_fresh: Arc<AtomicBool>,
}

impl Orphans {
    /// Takes `upload_id`, which is to be given back to `host`, into care. Must be called within a Tokio
    /// runtime for the note to be written.
    pub(crate) fn lost(&self, upload_id: &str, host: Option<&Endpoint>) -> Lost {
        let (Some(state_dir), Ok(runtime)) = (self.state_dir.clone(), Handle::try_current()) else {
            return Lost(None);
        };
        let orphan = Orphan {
            target: self.target.clone(),
            upload_id: upload_id.to_owned(),
            host: host.map(ToString::to_string),
            since: clock::unix_seconds(clock::wall()),
        };
        Lost(Some(Note {
            state_dir,
            orphan,
            runtime,
            is_fresh: Arc::clone(&self.is_fresh),
        }))
    }
}

impl Lost {
    /// The service has it back.
    pub(crate) fn given_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        let Some(note) = self.0.take() else { return };
        let Note {
            state_dir,
            orphan,
            runtime,
            is_fresh,
        } = note;
        // Nobody waits: lost again, it expires by itself.
        drop(blocking::spawn_on(&runtime, move || {
            match orphans::keep(&state_dir, &orphan) {
                Ok(()) => is_fresh.store(true, Ordering::Relaxed),
                Err(error) => {
                    tracing::info!(%error, "an upload id that was not given back is not remembered");
                }
            }
        }));
    }
}

impl Executor {
    /// Takes `upload_id` into care.
    pub(super) fn lost(&self, host: HostIndex, upload_id: &str) -> Lost {
        self.orphans.lost(upload_id, self.hosts.get(host))
    }

    /// Bears in mind that nobody will go on with `upload_id` after this run: no journal keeps it.
    pub(super) fn bear(&self, host: HostIndex, upload_id: &str) {
        let mut borne = self.borne.lock().unwrap_or_else(PoisonError::into_inner);
        borne.push(self.lost(host, upload_id));
    }

    /// The object is there, or may be: no upload id is lost.
    pub(super) fn put_down(&self) {
        let mut borne = self.borne.lock().unwrap_or_else(PoisonError::into_inner);
        borne.drain(..).for_each(Lost::given_back);
    }

    /// Gives an upload id back.
    pub(super) async fn abandon(&self, host: HostIndex, upload_id: &str, lost: Lost) {
        let Ok(upload) = self.upload(upload_id) else {
            return;
        };
        let call = Call {
            host,
            request: upload.abort(&self.permit.token(clock::wall())),
            repeat: Repeat::Never,
            flying: &Flying::beside("abort"),
        };
        let answer = self.call(call, || None).await;
        let aborted = answer.and_then(|answer| multipart::aborted(&answer, clock::wall()));
        match aborted {
            Err(failure) if failure.kind != FailureKind::NoSuchUpload => {
                tracing::debug!(%failure, "an upload id was not given back");
            }
            _ => lost.given_back(),
        }
    }
}
