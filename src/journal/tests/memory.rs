//! A journal's file system in memory, which loses in a crash what was not synced.
//!
//! The model: each file is what was synced, and a list of changes that were not; so is the
//! directory. A crash keeps any prefix of each list, of the last kept bytes any part. Files and
//! directory do not wait for one another: only syncs make an order.

use std::io;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::journal::file::JournalFile;

#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryFile(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    files: Vec<Contents>,
    names: Names,
    durable_names: Names,
    /// The names after each change since the last sync.
    pending_names: Vec<Names>,
    calls: u32,
    /// From this call on, everything fails.
    fuse: Option<u32>,
    /// How often the journal was synced.
    syncs: u32,
    /// Told of each sync as it begins; then it waits to be let through.
    gate: Option<(Sender<()>, Receiver<()>)>,
}

/// Which file stands behind each name.
#[derive(Clone, Copy, Debug, Default)]
struct Names {
    journal: Option<usize>,
    draft: Option<usize>,
}

#[derive(Debug, Default)]
struct Contents {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Append(Vec<u8>),
    Cut(usize),
}

impl MemoryFile {
    /// A disk with this journal on it.
    pub(crate) fn with(journal: Vec<u8>) -> Self {
        let this = Self::default();
        let mut disk = this.disk();
        disk.files.push(Contents {
            durable: journal,
            pending: Vec::new(),
        });
        disk.names.journal = Some(0);
        disk.durable_names = disk.names;
        drop(disk);
        this
    }

    /// Everything fails from call number `fuse` on, counted from now.
    pub(crate) fn fail_from(&self, fuse: u32) {
        let mut disk = self.disk();
        disk.fuse = Some(disk.calls + fuse);
    }

    /// Each sync reports to `begun` and goes on when `go` says so.
    pub(crate) fn gate(&self, begun: Sender<()>, go: Receiver<()>) {
        self.disk().gate = Some((begun, go));
    }

    pub(crate) fn syncs(&self) -> u32 {
        self.disk().syncs
    }

    pub(crate) fn calls(&self) -> u32 {
        self.disk().calls
    }

    /// What is in the journal, synced or not.
    pub(crate) fn journal(&self) -> Option<Vec<u8>> {
        let disk = self.disk();
        let index = disk.names.journal?;
        Some(disk.files[index].at(usize::MAX, usize::MAX))
    }

    /// The disk after a power cut. `pick(n)` chooses from 0 to n how much of a list is kept.
    pub(crate) fn crash(&self, mut pick: impl FnMut(usize) -> usize) -> Self {
        let disk = self.disk();
        let kept = pick(disk.pending_names.len());
        let names = match kept {
            0 => disk.durable_names,
            kept => disk.pending_names[kept - 1],
        };
        let Some(index) = names.journal else {
            return Self::default();
        };
        let file = &disk.files[index];
        let whole = pick(file.pending.len());
        let part = match file.pending.get(whole) {
            Some(Change::Append(bytes)) => pick(bytes.len()),
            _ => 0,
        };
        Self::with(file.at(whole, part))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }
}

impl Contents {
    /// The bytes after `whole` pending changes and `part` bytes of the next.
    fn at(&self, whole: usize, part: usize) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (index, change) in self.pending.iter().enumerate() {
            match change {
                Change::Append(more) if index < whole => bytes.extend(more),
                Change::Append(more) if index == whole => bytes.extend(&more[..part]),
                Change::Cut(len) if index < whole => bytes.truncate(*len),
                _ => {}
            }
        }
        bytes
    }

    fn sync(&mut self) {
        self.durable = self.at(usize::MAX, 0);
        self.pending.clear();
    }
}

impl Disk {
    /// Counts a call; after the fuse it fails, having done or not done its work, as disks do.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.fuse {
            Some(fuse) if self.calls > fuse => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn file(&mut self, index: Option<usize>) -> io::Result<&mut Contents> {
        let index = index.ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.files[index])
    }

    fn rename(&mut self, names: Names) {
        self.names = names;
        self.pending_names.push(names);
    }
}

impl JournalFile for MemoryFile {
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.disk().call()?;
        Ok(self.journal())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let result = disk.call();
        let journal = disk.names.journal;
        // A write that fails may have written: the crash decides how much.
        let file = disk.file(journal)?;
        file.pending.push(Change::Append(bytes.to_vec()));
        result
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        let journal = disk.names.journal;
        let len = usize::try_from(len).unwrap();
        disk.file(journal)?.pending.push(Change::Cut(len));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        // Out of the disk while we wait, so that the test can look at the disk meanwhile.
        let gate = self.disk().gate.take();
        if let Some((begun, go)) = &gate {
            begun.send(()).unwrap();
            go.recv().unwrap();
        }
        self.disk().gate = gate;
        let mut disk = self.disk();
        disk.call()?;
        disk.syncs += 1;
        let journal = disk.names.journal;
        disk.file(journal)?.sync();
        Ok(())
    }

    fn draft(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        disk.files.push(Contents {
            durable: Vec::new(),
            pending: vec![Change::Append(bytes.to_vec())],
        });
        let draft = Some(disk.files.len() - 1);
        let names = Names {
            draft,
            ..disk.names
        };
        disk.rename(names);
        Ok(())
    }

    fn sync_draft(&mut self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        let draft = disk.names.draft;
        disk.file(draft)?.sync();
        Ok(())
    }

    fn adopt(&mut self) -> io::Result<()> {
        let mut disk = self.disk();
        let result = disk.call();
        let journal = disk.names.draft;
        disk.file(journal)?;
        let draft = None;
        disk.rename(Names { journal, draft });
        result
    }

    fn unlink(&mut self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        let names = Names {
            journal: None,
            ..disk.names
        };
        disk.rename(names);
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        disk.durable_names = disk.names;
        disk.pending_names.clear();
        Ok(())
    }
}
