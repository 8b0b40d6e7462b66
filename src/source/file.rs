//! A regular file as a source.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::blocking;
use crate::clock;
use crate::model::{ByteSpan, Failure, FailureKind};
use crate::source::identity::{Change, Facts, Identity};
use crate::source::pool::Pool;
use crate::source::span::PIECE_LEN;

/// How often a file that was just written is looked at again before it is read.
const SETTLE_ATTEMPTS: u32 = 4;

/// A regular file, open from the first byte to the commit. Cloning shares the descriptor.
#[derive(Clone, Debug)]
pub(crate) struct FileSource {
    file: Arc<File>,
    path: PathBuf,
    identity: Identity,
    pool: Pool,
}

impl FileSource {
    /// Opens the file at `path`; see [`Source::open`](crate::source::Source::open).
    pub(crate) async fn open(path: &Path) -> Result<Self, Failure> {
        let path = path.to_owned();
        let mut source = run_blocking(move || Self::open_now(path)).await?;
        source.identity = source.settled().await?;
        Ok(source)
    }

    /// The same for `file`, which is open already: wherever its path leads by now.
    pub(crate) async fn over(file: Arc<File>, path: &Path) -> Result<Self, Failure> {
        let path = path.to_owned();
        let mut source = run_blocking(move || Self::over_now(file, path)).await?;
        source.identity = source.settled().await?;
        Ok(source)
    }

    fn open_now(path: PathBuf) -> Result<Self, Failure> {
        let refuse = |why: String| failure(&path, &why);
        // Looked at before, since opening some devices does something, and after, since it may have
        // been swapped meanwhile.
        let before = std::fs::metadata(&path).map_err(|error| refuse(told(&error)))?;
        if let Some(why) = no_regular_file(&before) {
            return Err(refuse(why.to_owned()));
        }
        let file = open_without_waiting(&path).map_err(|error| refuse(told(&error)))?;
        Self::over_now(Arc::new(file), path)
    }

    fn over_now(file: Arc<File>, path: PathBuf) -> Result<Self, Failure> {
        let refuse = |why: String| failure(&path, &why);
        let metadata = file.metadata().map_err(|error| refuse(told(&error)))?;
        if let Some(why) = no_regular_file(&metadata) {
            return Err(refuse(why.to_owned()));
        }
        Ok(Self {
            identity: Identity::of(&metadata),
            file,
            path,
            pool: Pool::default(),
        })
    }

    /// Its size when it was opened, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.identity.len
    }

    /// Its times and numbers when it was opened.
    pub(crate) fn facts(&self) -> Facts {
        self.identity.facts()
    }

    /// When it was last changed before it was opened; none before 1970, which no HTTP date can say.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        let since = u64::try_from(self.identity.facts().mtime_ns).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(since))
    }

    /// Where it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How the file differs from when it was opened; None if nobody touched it.
    ///
    /// To be asked before a commit: a source that changed must not become an object.
    pub(crate) async fn change(&self) -> Result<Option<Change>, Failure> {
        match self.identity.change_to(self.look().await?) {
            None => Ok(None),
            // Its bytes are going to be read again.
            Some(_) => Ok(self.identity.change_to(self.settled().await?)),
        }
    }

    /// What the file looks like now.
    async fn look(&self) -> Result<Identity, Failure> {
        let source = self.clone();
        run_blocking(move || {
            let metadata = source.file.metadata();
            let metadata = metadata.map_err(|error| failure(&source.path, &told(&error)))?;
            Ok(Identity::of(&metadata))
        })
        .await
    }

    /// The same at a moment from which on every write shows: a file that was written a moment ago
    /// is left alone until its clock has moved on.
    async fn settled(&self) -> Result<Identity, Failure> {
        for _ in 0..SETTLE_ATTEMPTS {
            let identity = self.look().await?;
            match identity.unsettled_for(clock::wall()) {
                None => return Ok(identity),
                Some(wait) => tokio::time::sleep(wait).await,
            }
        }
        // Someone is writing all the time; that will be seen.
        self.look().await
    }

    /// How its path leads elsewhere by now, in words; None if it still leads to this file, or where
    /// nobody can tell.
    pub(crate) async fn displaced(&self) -> Option<&'static str> {
        let source = self.clone();
        let look = move || Ok(source.displaced_now());
        run_blocking(look).await.ok().flatten()
    }

    fn displaced_now(&self) -> Option<&'static str> {
        let there = match std::fs::metadata(&self.path) {
            Ok(metadata) => Identity::of(&metadata).facts(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some("there is no such file any more");
            }
            Err(_) => return None,
        };
        let place = |facts: Facts| (facts.device, facts.inode);
        (place(there) != place(self.facts())).then_some("another file has taken its place")
    }

    /// The same descriptor, with `change` as the state to compare with from now on. Its size must be
    /// the same.
    #[must_use]
    pub(crate) fn accept(mut self, change: Change) -> Self {
        assert!(
            !change.resized,
            "a source of another size is another source"
        );
        self.identity = change.now;
        self
    }

    /// The failure of a source that changed.
    pub(crate) fn changed(&self, how: &str) -> Failure {
        changed(how, &self.path.display().to_string())
    }

    /// The bytes of `span`, which lies within the file and is a piece long at most.
    pub(super) async fn read_piece(&self, span: ByteSpan) -> Result<Bytes, Failure> {
        let source = self.clone();
        run_blocking(move || source.read_now(span)).await
    }

    /// Reads all of `span`, or notices that the file ends before it does.
    fn read_now(&self, span: ByteSpan) -> Result<Bytes, Failure> {
        // At most a piece, so it fits any usize.
        let wanted = span.len.min(PIECE_LEN) as usize;
        let mut buffer = self.pool.take(wanted);
        let mut filled = 0;
        while filled < wanted {
            match read_at(
                &self.file,
                &mut buffer.as_mut()[filled..],
                span.offset + filled as u64,
            ) {
                Ok(0) => {
                    let end = span.offset + filled as u64;
                    return Err(self.changed(&format!("it ends at byte {end} now")));
                }
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(&self.path, &told(&error))),
            }
        }
        Ok(buffer.freeze())
    }
}

/// The failure of a source, a file or not, that changed.
pub(super) fn changed(how: &str, what: &str) -> Failure {
    Failure::new(
        FailureKind::SourceChanged,
        format!("the file changed while it was being uploaded: {how}: {what}"),
    )
}

/// Runs `work` where blocking is allowed.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match blocking::spawn(work).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(
            FailureKind::Source,
            "the program is shutting down",
        )),
    }
}

/// What the file is, when it is no regular one.
fn no_regular_file(metadata: &std::fs::Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("it is a directory"),
        () => Some("it is no regular file but a device, pipe or socket"),
    }
}

/// Opens for reading; returns at once even if a FIFO has taken the path meanwhile.
#[cfg(unix)]
fn open_without_waiting(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

#[cfg(not(unix))]
fn open_without_waiting(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

/// `seek_read` moves the descriptor's position, which nobody here uses.
#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// An I/O error in words.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// A source's failure with its path.
fn failure(path: &Path, why: &str) -> Failure {
    Failure::new(
        FailureKind::Source,
        format!("cannot read the source: {why}: {}", path.display()),
    )
}
