//! The end of an upload: from the engine's outcome to what the user is told.

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::event;
use crate::engine::plan::{Layout, Protocol};
use crate::error::{Error, ErrorKind, RUN_AGAIN};
use crate::events::Event;
use crate::kodo::{Etag, Stored};
use crate::model::Failure;
use crate::uploader::effects::Executor;
use crate::uploader::name;
use crate::uploader::recorder::Recorder;
use crate::uploader::tally::Tally;

/// What to do when the same call goes on where it was.
const AGAIN: &str = "run the same line again to go on";

/// A finished upload.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The service's answer to the commit; none when a look told that the object is there.
    pub(crate) stored: Option<Stored>,
    /// The object's hash, computed from the bytes that were sent.
    pub(crate) hash: Etag,
    /// How the object was cut: `form`, `v1` or `v2`.
    pub(crate) protocol: &'static str,
    /// Length of every lane but the last.
    pub(crate) lane_len: u64,
    /// The hash of every lane, in order; of all of it for a form.
    pub(crate) lanes: Vec<Etag>,
    /// Whether the service showed the same hash.
    pub(crate) hash_confirmed: bool,
    /// Bytes that an earlier run had stored.
    pub(crate) resumed_bytes: u64,
    /// Bytes of the source handed to the network in this run.
    pub(crate) sent_bytes: u64,
    /// Those of them that had been handed over before.
    pub(crate) resent_bytes: u64,
}

/// An upload that did not come to its object, for whoever may try it elsewhere.
#[derive(Debug)]
pub(crate) struct Unfinished {
    /// What the user is told if nobody does.
    pub(crate) error: Error,
    /// It failed: it was not stopped, the source is the same, and there is no doubt about the object.
    pub(crate) has_failed: bool,
    /// Segments were acknowledged in this run.
    pub(crate) has_acknowledged: bool,
    /// All of its hosts fail, and no commit can have taken effect.
    pub(crate) may_move: bool,
    /// A commit may have taken effect.
    pub(crate) is_unclear: bool,
    /// Bytes that the next run need not send again.
    pub(crate) safe_bytes: u64,
    /// Bytes of the source handed to the network by this call so far.
    pub(crate) sent_bytes: u64,
}

/// Ends the journal as `ended` asks for and says what happened.
pub(crate) async fn settle(
    ended: event::Outcome,
    engine: &Engine,
    executor: Arc<Executor>,
    resumed_bytes: u64,
    tally: &Tally,
) -> Result<Outcome, Unfinished> {
    let meter = Arc::clone(&executor.meter);
    let source = executor.source.source();
    let (size, all) = (source.len(), source.expected_len());
    let changed = source.changed("it has other bytes than were sent");
    let can_go_on = executor.recorder.is_kept();
    // Without a record the next run sends everything again, whatever the service has.
    let safe_bytes = if can_go_on { engine.safe_bytes() } else { 0 };
    let doubt = match ended {
        event::Outcome::Unknown(ref why) if !executor.will_look_again(why) => {
            executor.how_to_tell(engine.layout()).await
        }
        _ => String::new(),
    };
    let layout = engine.layout();
    let lanes = executor.hashes.of_object(layout.lane_count(size));
    let stored = matches!(
        ended,
        event::Outcome::Done | event::Outcome::CallbackFailed(_)
    );
    if stored || matches!(ended, event::Outcome::Unknown(_)) {
        executor.put_down();
    }
    // All requests ended with the driver, so this is the last one who holds it.
    let recorder = Arc::into_inner(executor).map(|executor| executor.recorder);
    if let Some(why) = end(recorder, stored).await {
        meter.tell(&Event::Notice(why));
    }
    let next = if can_go_on { AGAIN } else { RUN_AGAIN };
    let has_failed = matches!(ended, event::Outcome::Failed { .. });
    let sent_bytes = meter.sent_bytes();
    let error = match (ended, meter.take_finished()) {
        (event::Outcome::Done, Ok(finished)) => {
            return Ok(Outcome {
                stored: finished.stored,
                hash: finished.hash,
                protocol: name(layout.protocol),
                lane_len: layout.lane_len,
                lanes: lane_hashes(layout, lanes, finished.hash),
                hash_confirmed: finished.hash_confirmed,
                resumed_bytes,
                sent_bytes,
                resent_bytes: sent_bytes.saturating_sub(size.saturating_sub(resumed_bytes)),
            });
        }
        (event::Outcome::Done, Err(bug)) => bug,
        (ended, _) => {
            let next = if doubt.is_empty() { next } else { &doubt };
            let error = error(ended, changed, next, safe_bytes, all).safe(safe_bytes);
            let run = tally.run(size, error.failure());
            error.of_run(run)
        }
    };
    Err(Unfinished {
        error,
        has_failed,
        has_acknowledged: engine.has_acknowledged(),
        may_move: engine.may_move(),
        is_unclear: engine.is_unclear(),
        safe_bytes,
        sent_bytes,
    })
}

/// The hashes of the lanes of an object with this `hash`.
fn lane_hashes(layout: Layout, lanes: Option<Vec<(u64, Etag)>>, hash: Etag) -> Vec<Etag> {
    match layout.protocol {
        Protocol::Form => vec![hash],
        Protocol::Blocks | Protocol::Parts => {
            let lanes = lanes.unwrap_or_default();
            lanes.into_iter().map(|(_, etag)| etag).collect()
        }
    }
}

/// What an upload without success comes to.
fn error(
    ended: event::Outcome,
    changed: Failure,
    next: &str,
    safe_bytes: u64,
    all: Option<u64>,
) -> Error {
    const DOING: &str = "finish the upload";
    match ended {
        event::Outcome::Done => Error::bug("a success is no error"),
        event::Outcome::CallbackFailed(failure) => Error::from_failure(DOING, failure),
        event::Outcome::Stopped => {
            let all = all.map_or_else(String::new, |all| format!(" of {all}"));
            let what = format!("stopped with {safe_bytes}{all} bytes safe");
            Error::new(ErrorKind::Interrupted, what).next(next)
        }
        event::Outcome::SourceChanged => Error::from_failure(DOING, changed),
        event::Outcome::Unknown(failure) => unknown(failure, next),
        event::Outcome::Failed { failure, again } => {
            failed(Error::from_failure(DOING, failure), again, next)
        }
    }
}

/// Removes or closes the journal; says what went wrong with that.
async fn end(recorder: Option<Recorder>, stored: bool) -> Option<String> {
    let recorder = recorder?;
    let ended = if stored {
        recorder.remove().await
    } else {
        recorder.close().await
    };
    ended
        .err()
        .map(|why| format!("the upload's journal: {why}"))
}

/// `error` with what to do now.
fn failed(error: Error, again: bool, next: &str) -> Error {
    if !again {
        return error;
    }
    // What stands in the way comes first, where the failure says so.
    let first = error.next_step().filter(|step| *step != RUN_AGAIN);
    let next = match first {
        Some(first) => format!("{first}; then {next}"),
        None => next.to_owned(),
    };
    error.next(next)
}

/// The commit may or may not have taken effect.
fn unknown(failure: Failure, next: &str) -> Error {
    let what = format!("the object may be stored, and nobody can tell: {failure}");
    Error::new(ErrorKind::OutcomeUnknown, what)
        .because(failure)
        .next(next)
}
