//! The seam to the file system: one journal, one draft beside it, one directory.
//!
//! Two things implement it: [`DiskFile`] here, and the tests' file in memory, which loses what was
//! not synced. Every order of writes and syncs that matters is decided on this side of the seam.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::journal::frame::{self, Recovery};
use crate::journal::header::Identity;
use crate::journal::lock::{Lock, LockError, Owner, private};
use crate::journal::{OpenError, Unavailable};

/// One journal's file system. Nothing is durable before the sync that its text names.
pub(crate) trait JournalFile: Send {
    /// All bytes of the journal; none if there is no such file. A file that cannot be one of ours
    /// need not be read to its end.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>>;
    /// Adds to the end of the journal. Durable after [`sync`](Self::sync).
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the journal's tail off. Durable after [`sync`](Self::sync).
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// Brings the journal's bytes to the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Makes a new draft of these bytes. Durable after [`sync_draft`](Self::sync_draft).
    fn draft(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Brings the draft's bytes to the disk.
    fn sync_draft(&mut self) -> io::Result<()>;
    /// Renames the draft to be the journal. Durable after [`sync_names`](Self::sync_names).
    fn adopt(&mut self) -> io::Result<()>;
    /// Removes the journal. Durable after [`sync_names`](Self::sync_names).
    fn unlink(&mut self) -> io::Result<()>;
    /// Brings renames and removals to the disk.
    fn sync_names(&mut self) -> io::Result<()>;
}

/// Puts `bytes` in the journal's place. A crash on the way leaves the old one or the new one whole.
pub(crate) fn replace(file: &mut dyn JournalFile, bytes: &[u8]) -> io::Result<()> {
    file.draft(bytes)?;
    file.sync_draft()?;
    file.adopt()?;
    file.sync_names()
}

/// The real thing, under its lock.
#[derive(Debug)]
pub(crate) struct DiskFile {
    path: PathBuf,
    draft_path: PathBuf,
    file: Option<File>,
    draft: Option<File>,
    lock: Lock,
}

/// Where the journals of a state directory lie.
pub(crate) fn uploads_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("uploads")
}

/// Where the journal of `identity` lies in the directory `dir`.
pub(crate) fn journal_path(dir: &Path, identity: Identity) -> PathBuf {
    dir.join(format!("{identity}.journal"))
}

/// Where its lock lies.
pub(crate) fn lock_path(dir: &Path, identity: Identity) -> PathBuf {
    dir.join(format!("{identity}.lock"))
}

/// Makes `dir` for its owner only, with what is missing above it.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(dir)?;
        // Also the names of the new directories must outlive a power cut. Some of these belong to
        // others and may not be opened; they were there before.
        for above in dir.ancestors().skip(1).take(2) {
            sync_dir(above).ok();
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if fs::metadata(dir)?.permissions().mode() & 0o077 != 0 {
            // A directory that belongs to another stays as it is; the files in it are private.
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).ok();
        }
    }
    Ok(())
}

impl DiskFile {
    /// Takes the lock of `identity` in the directory `dir`, which must be there, and opens the
    /// journal if there is one. A draft that a crash left is removed.
    pub(crate) fn open(dir: &Path, identity: Identity, owner: &Owner) -> Result<Self, OpenError> {
        let lock_path = lock_path(dir, identity);
        let lock = Lock::take(&lock_path, owner).map_err(|error| match error {
            LockError::Held(owner) => OpenError::Held { owner },
            LockError::Io(error) => Unavailable::io("lock", &lock_path, error).into(),
        })?;
        let path = journal_path(dir, identity);
        let mut this = Self {
            draft_path: path.with_extension("draft"),
            path,
            file: None,
            draft: None,
            lock,
        };
        let refused = |doing, path: &Path, error| Unavailable::io(doing, path, error);
        remove_if_there(&this.draft_path)
            .map_err(|error| refused("remove", &this.draft_path, error))?;
        match fs::symlink_metadata(&this.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refused("look at", &this.path, error).into()),
            // A pipe would keep us waiting for its other end.
            Ok(found) if !found.is_file() => {
                return Err(Unavailable::Foreign {
                    path: this.path.clone(),
                }
                .into());
            }
            Ok(_) => {
                let file = OpenOptions::new().read(true).append(true).open(&this.path);
                this.file = Some(file.map_err(|error| refused("open", &this.path, error))?);
            }
        }
        Ok(this)
    }

    /// Where the journal lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl JournalFile for DiskFile {
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.file.as_mut().map(read_journal).transpose()
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        present(&mut self.file)?.write_all(bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        present(&mut self.file)?.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        present(&mut self.file)?.sync_data()
    }

    fn draft(&mut self, bytes: &[u8]) -> io::Result<()> {
        remove_if_there(&self.draft_path)?;
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        let mut draft = private(&mut options).open(&self.draft_path)?;
        draft.write_all(bytes)?;
        self.draft = Some(draft);
        Ok(())
    }

    fn sync_draft(&mut self) -> io::Result<()> {
        present(&mut self.draft)?.sync_all()
    }

    fn adopt(&mut self) -> io::Result<()> {
        fs::rename(&self.draft_path, &self.path)?;
        self.file = self.draft.take();
        Ok(())
    }

    fn unlink(&mut self) -> io::Result<()> {
        self.file = None;
        remove_if_there(&self.path)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), sync_dir)
    }
}

impl Drop for DiskFile {
    /// An upload without a journal leaves no lock file either.
    fn drop(&mut self) {
        if self.draft.is_some() {
            fs::remove_file(&self.draft_path).ok();
        }
        let gone = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        if fs::symlink_metadata(&self.path).is_err_and(gone) {
            self.lock.remove_file();
        }
    }
}

/// Reads all of a journal; of anything else, only as much as shows that it is none.
pub(crate) fn read_journal(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(frame::LINE_LEN_MAX as u64)
        .read_to_end(&mut bytes)?;
    if matches!(frame::recover(&bytes), Recovery::Ours(_)) {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn present(file: &mut Option<File>) -> io::Result<&mut File> {
    file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Brings a directory's names to the disk. Windows does so by itself and cannot be asked.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(dir)?.sync_all() {
        // File systems that cannot sync a directory say so in these two ways.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}
