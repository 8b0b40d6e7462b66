//! The end of an uploader's work: nothing new, what is in flight, and what is left.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::blocking;
use crate::client::Uploader;
use crate::client::unfinished::{SourceState, Unfinished};
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::journal::header::Identity;
use crate::journal::index::{self, Entry};
use crate::stop::{Stop, When};

/// How much of the time for a shutdown is kept for what follows the last answer: records reach the disk
/// in milliseconds. A quarter, where that is shorter.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// How long the state directory is read at the end. One that hangs is not waited for: what is left is
/// told without it.
const LOOK: Duration = Duration::from_secs(1);

/// What an uploader and its clones have under way.
#[derive(Debug, Default)]
pub(super) struct Duty {
    /// Heard by all uploads.
    pub(super) all: Stop,
    state: Mutex<State>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    /// No more work is taken.
    is_closed: bool,
    last_number: u64,
    under_way: BTreeMap<u64, Task>,
    /// What ended after that without its object, and could have come to it.
    left: Vec<Task>,
}

/// An upload that is under way, as it is told of.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) bucket: String,
    pub(super) key: Option<String>,
    pub(super) resume_id: Option<String>,
    pub(super) source: Option<PathBuf>,
    /// In bytes; 0 while the source is not open.
    pub(super) size: u64,
    pub(super) begun: SystemTime,
    /// Its journal, once that is open.
    pub(super) identity: Option<Identity>,
}

/// An upload's place among those under way. Dropped with the upload's future, it is given up.
#[derive(Debug)]
pub(super) struct AtWork {
    duty: Arc<Duty>,
    number: u64,
    is_settled: bool,
}

impl Duty {
    /// Takes `task` among those under way; an error once the uploader was shut down.
    pub(super) fn begin(self: &Arc<Self>, task: Task) -> Result<AtWork, Error> {
        let mut state = self.state();
        if state.is_closed {
            let what = "the uploader was shut down: it takes no more uploads";
            return Err(Error::new(ErrorKind::ShutDown, what).next("use another one"));
        }
        state.last_number += 1;
        let number = state.last_number;
        state.under_way.insert(number, task);
        self.count.send_replace(state.under_way.len());
        Ok(AtWork {
            duty: Arc::clone(self),
            number,
            is_settled: false,
        })
    }

    /// Takes nothing more.
    fn close(&self, when: When) {
        self.state().is_closed = true;
        self.all.ask(when);
    }

    /// What is not finished by now, in the order in which it was begun.
    fn left(&self) -> Vec<Task> {
        let state = self.state();
        let left = state.left.iter().chain(state.under_way.values());
        let mut left: Vec<Task> = left.cloned().collect();
        left.sort_by_key(|task| task.begun);
        left
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AtWork {
    /// What is known of the upload by now.
    pub(super) fn learn(&self, learn: impl FnOnce(&mut Task)) {
        if let Some(task) = self.duty.state().under_way.get_mut(&self.number) {
            learn(task);
        }
    }

    /// Whether the upload has a journal.
    pub(super) fn is_remembered(&self) -> bool {
        let state = self.duty.state();
        let task = state.under_way.get(&self.number);
        task.is_some_and(|task| task.identity.is_some())
    }

    /// The upload has ended, with this error if it has no object.
    pub(super) fn ended(mut self, error: Option<&Error>) {
        self.is_settled = !error.is_some_and(|error| could_go_on(error.kind()));
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut state = self.duty.state();
        let task = state.under_way.remove(&self.number);
        if state.is_closed && !self.is_settled {
            state.left.extend(task);
        }
        self.duty.count.send_replace(state.under_way.len());
    }
}

/// Whether the same upload could still come to its object.
fn could_go_on(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Interrupted
            | ErrorKind::Unfinished
            | ErrorKind::NoConnection
            | ErrorKind::NotKodo
            | ErrorKind::OutcomeUnknown
    )
}

impl Uploader {
    /// Ends the work of this uploader and its clones within about `deadline`: takes no more uploads, lets
    /// what is in flight be acknowledged, then ends each upload with what is recorded safe. What is
    /// unfinished then, oldest first.
    ///
    /// New uploads fail at once with [`ErrorKind::ShutDown`]; those under way end with
    /// [`ErrorKind::Interrupted`], or well, if only their last request was under way. Those with an
    /// [`id`](Unfinished::id) go on with [`resume`](Self::resume), in this process with another uploader
    /// or in the next one; the others are named with their bucket and key. Left out are those that could not
    /// have gone on (refused by the service, without their source): their own error tells.
    ///
    /// Segments have three quarters of `deadline`, or all of it but a second; the rest is for the last
    /// records. With less than some 100 ms nothing is waited for, and what is in flight goes again. It
    /// returns when the last upload has ended or been dropped, and at the deadline also when some have not,
    /// because nobody polls them; such an upload is told of too, as [held](Unfinished::is_held) if it is
    /// remembered, and ends when it is polled or dropped. Calls next to uploading (stat, list …) go on working.
    ///
    /// A later call may only shorten an earlier one's deadline, and tells of the same uploads.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<Unfinished> {
        let duty = &self.inner.duty;
        let kept = LAST_RECORDS.min(deadline / 4);
        let now = clock::instant();
        // A deadline beyond all clocks is none.
        let far = now + Duration::from_secs(u64::from(u32::MAX));
        let end = now.checked_add(deadline).map_or(far, |end| end.min(far));
        duty.close(When::By(end - kept));
        let mut count = duty.count.subscribe();
        let none_left = count.wait_for(|count| *count == 0);
        tokio::time::timeout_at(end.into(), none_left).await.ok();
        self.look_at(duty.left()).await
    }

    /// What the state directory has of `tasks`; what is known here of those it has not.
    async fn look_at(&self, tasks: Vec<Task>) -> Vec<Unfinished> {
        let plain = || tasks.iter().map(Task::plain).collect();
        let Some(state_dir) = self.inner.memory.state_dir.clone() else {
            return plain();
        };
        let looking = blocking::spawn({
            let tasks = tasks.clone();
            move || {
                let look = |task: &Task| match index::look(&state_dir, task.identity?) {
                    Some(Entry::Upload(upload)) => Some(Unfinished::of(&upload)),
                    _ => None,
                };
                let told = tasks
                    .iter()
                    .map(|task| look(task).unwrap_or_else(|| task.plain()));
                told.collect()
            }
        });
        match tokio::time::timeout(LOOK, looking).await {
            Ok(Ok(told)) => told,
            _ => plain(),
        }
    }
}

impl Task {
    /// As it is told of where it is not remembered.
    fn plain(&self) -> Unfinished {
        Unfinished {
            id: None,
            resume_id: self.resume_id.clone(),
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            source: self.source.clone(),
            source_state: SourceState::Unchanged,
            size: self.size,
            safe_bytes: 0,
            begun: self.begun,
            expires: None,
            is_held: false,
        }
    }
}
