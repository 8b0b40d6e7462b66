//! Appending with joined syncs: all records that wait while one sync runs share the next.
//!
//! At most one blocking task per journal writes, and only while there is something to write; no
//! thread is kept.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::blocking;
use crate::engine::record::Record;
use crate::journal::Unavailable;
use crate::journal::file::{JournalFile, replace};
use crate::journal::frame::{Chain, TooLong};
use crate::journal::header::Header;

/// An open journal: the only one of its upload, in all processes of the machine.
///
/// Dropped, it finishes writing what was appended and then gives the lock back.
pub(crate) struct Journal {
    shared: Arc<Shared>,
}

/// Resolves when its record is durable, or cannot become so. Dropping it takes nothing back.
#[derive(Debug)]
#[must_use = "a record counts only when its ticket has resolved"]
pub(crate) struct Ticket(oneshot::Receiver<Result<(), Unavailable>>);

/// Where appending begins.
#[derive(Debug)]
pub(crate) struct Start {
    /// The first line of every file that is begun from here on.
    pub(crate) header: Header,
    /// The end of the present file; none while there is nothing to append to.
    pub(crate) chain: Option<Chain>,
    /// Why nothing can be written, if so.
    pub(crate) broken: Option<Unavailable>,
}

struct Shared {
    path: PathBuf,
    runtime: Handle,
    queue: Mutex<Queue>,
    /// Locked by the one task that writes, for as long as it writes.
    target: Mutex<Target>,
}

struct Target {
    /// None after the end.
    file: Option<Box<dyn JournalFile>>,
    /// The first write that failed: the last one, too.
    failed: Option<Unavailable>,
}

/// What is to be written. Locked for moments only, never across a write.
struct Queue {
    header: Header,
    /// The chain after all that was appended; none while there is no file to append to.
    chain: Option<Chain>,
    batch: Batch,
    /// Whether a task writes.
    writing: bool,
    /// Why nothing is taken any more, other than a write that failed.
    broken: Option<Unavailable>,
}

/// What one write and one sync bring to the disk.
#[derive(Default)]
struct Batch {
    /// The bytes are a whole journal and replace the old one.
    whole: bool,
    bytes: Vec<u8>,
    waiting: Vec<oneshot::Sender<Result<(), Unavailable>>>,
    end: Option<End>,
}

/// How a journal ends.
enum End {
    Close,
    Remove,
}

impl Journal {
    /// Goes on with what opening made of `file`.
    pub(crate) fn new(
        file: Box<dyn JournalFile>,
        path: PathBuf,
        start: Start,
        runtime: Handle,
    ) -> Self {
        let queue = Queue {
            header: start.header,
            chain: start.chain,
            batch: Batch::default(),
            writing: false,
            broken: None,
        };
        let target = Target {
            file: Some(file),
            failed: start.broken,
        };
        let shared = Shared {
            path,
            runtime,
            queue: Mutex::new(queue),
            target: Mutex::new(target),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Appends `record` after all that were appended before. Returns at once.
    ///
    /// A crash before the ticket resolves leaves the journal with or without it; afterwards, with
    /// it. `Begun` voids all before it and so begins a new file, which takes the old one's place in
    /// one step. After the first error every ticket resolves to that error.
    pub(crate) fn append(&self, record: &Record) -> Ticket {
        let (answer, ticket) = oneshot::channel();
        let mut queue = lock(&self.shared.queue);
        if queue.broken.is_none() && queue.push(record).is_err() {
            queue.broken = Some(Unavailable::TooLong);
        }
        match &queue.broken {
            Some(why) => {
                answer.send(Err(why.clone())).ok();
            }
            None => queue.batch.waiting.push(answer),
        }
        self.shared.wake(queue);
        Ticket(ticket)
    }

    /// Waits until all that was appended is written, and gives the lock back.
    pub(crate) async fn close(self) -> Result<(), Unavailable> {
        self.end(End::Close).await
    }

    /// Removes the journal, durably: the upload is done, or nobody wants it any more.
    ///
    /// A crash on the way may leave it; the next run then finds the object committed.
    pub(crate) async fn remove(self) -> Result<(), Unavailable> {
        self.end(End::Remove).await
    }

    fn end(&self, end: End) -> Ticket {
        let (answer, ticket) = oneshot::channel();
        let mut queue = lock(&self.shared.queue);
        queue.batch.end = Some(end);
        queue.batch.waiting.push(answer);
        self.shared.wake(queue);
        Ticket(ticket)
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Journal").field(&self.shared.path).finish()
    }
}

impl Future for Ticket {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(answer.unwrap_or(Err(Unavailable::Stopped)))
    }
}

impl Queue {
    fn push(&mut self, record: &Record) -> Result<(), TooLong> {
        if let (Some(chain), false) = (&mut self.chain, matches!(record, Record::Begun { .. })) {
            return chain.push(record, &mut self.batch.bytes);
        }
        let mut bytes = Vec::new();
        let mut chain = Chain::begin(&self.header, &mut bytes)?;
        chain.push(record, &mut bytes)?;
        // What waits in the batch is void by this record: its tickets resolve with this one's.
        self.batch.bytes = bytes;
        self.batch.whole = true;
        self.chain = Some(chain);
        Ok(())
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn write(&self, file: &mut dyn JournalFile) -> io::Result<()> {
        if self.whole {
            return replace(file, &self.bytes);
        }
        if self.bytes.is_empty() {
            return Ok(());
        }
        file.append(&self.bytes)?;
        file.sync()
    }
}

impl Shared {
    /// Sees to it that a task writes what `queue` holds.
    fn wake(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        if queue.writing || queue.batch.is_empty() {
            return;
        }
        queue.writing = true;
        drop(queue);
        let task = Task {
            shared: Arc::clone(self),
            finished: false,
        };
        blocking::spawn_on(&self.runtime, move || task.run());
    }

    fn write(&self, batch: Batch) {
        let mut target = lock(&self.target);
        let result = target.write(&batch, &self.path);
        for waiting in batch.waiting {
            // Who dropped his ticket does not want to know.
            waiting.send(result.clone()).ok();
        }
    }
}

impl Target {
    fn write(&mut self, batch: &Batch, path: &Path) -> Result<(), Unavailable> {
        let Some(file) = self.file.as_mut() else {
            return Err(Unavailable::Stopped);
        };
        if self.failed.is_none() {
            let written = batch.write(&mut **file);
            self.failed = written
                .map_err(|error| Unavailable::io("write", path, error))
                .err();
        }
        let mut result = self.failed.clone().map_or(Ok(()), Err);
        if let Some(End::Remove) = batch.end {
            // Also a journal that could not be written can be removed.
            let removed = file.unlink().and_then(|()| file.sync_names());
            result = removed.map_err(|error| Unavailable::io("remove", path, error));
        }
        if batch.end.is_some() {
            // Gives the lock back, before the ticket says so.
            self.file = None;
        }
        result
    }
}

/// The task that writes. The runtime may drop it without having run it, when it shuts down.
struct Task {
    shared: Arc<Shared>,
    finished: bool,
}

impl Task {
    fn run(mut self) {
        loop {
            let batch = {
                let mut queue = lock(&self.shared.queue);
                if queue.batch.is_empty() {
                    queue.writing = false;
                    self.finished = true;
                    return;
                }
                std::mem::take(&mut queue.batch)
            };
            self.shared.write(batch);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.finished {
            let mut queue = lock(&self.shared.queue);
            // What was appended is lost, and what came after it would follow a gap.
            queue.broken = Some(Unavailable::Stopped);
            // Answers all who wait: their senders go.
            queue.batch = Batch::default();
            queue.writing = false;
        }
    }
}

/// No code here panics while it holds a lock, and if it did, the data would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
