//! A regular file as a source.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{ByteSpan, Failure, FailureKind};
use crate::source::identity::{Change, Facts, Identity};

/// Bytes per read: large enough that system calls cost nothing beside hashing, small enough that
/// memory stays small whatever a segment's size.
const READ_LEN: u64 = 256 * 1024;

/// A regular file, open from the first byte to the commit. Cloning shares the descriptor.
#[derive(Clone, Debug)]
pub(crate) struct FileSource {
    file: Arc<File>,
    path: PathBuf,
    identity: Identity,
}

impl FileSource {
    /// Opens the file at `path`; follows symbolic links. Anything that is no regular file is
    /// refused, and never waited for.
    pub(crate) async fn open(path: &Path) -> Result<Self, Failure> {
        let path = path.to_owned();
        blocking(move || Self::open_now(path)).await
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
        let metadata = file.metadata().map_err(|error| refuse(told(&error)))?;
        if let Some(why) = no_regular_file(&metadata) {
            return Err(refuse(why.to_owned()));
        }
        Ok(Self {
            identity: Identity::of(&metadata),
            file: Arc::new(file),
            path,
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

    /// Where it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A reader of `span`, which must lie within the source.
    pub(crate) fn read(&self, span: ByteSpan) -> SpanReader {
        assert!(span.end() <= self.len(), "a span beyond the source's end");
        SpanReader {
            source: self.clone(),
            rest: span,
        }
    }

    /// How the file differs from when it was opened; None if nobody touched it.
    ///
    /// To be asked before a commit: a source that changed must not become an object.
    pub(crate) async fn change(&self) -> Result<Option<Change>, Failure> {
        let source = self.clone();
        blocking(move || {
            let metadata = source.file.metadata();
            let metadata = metadata.map_err(|error| failure(&source.path, &told(&error)))?;
            Ok(source.identity.change_to(Identity::of(&metadata)))
        })
        .await
    }

    /// Fails if anyone touched the file since it was opened.
    #[cfg(feature = "cli")]
    pub(crate) async fn check_unchanged(&self) -> Result<(), Failure> {
        match self.change().await? {
            None => Ok(()),
            Some(change) => Err(self.changed(&change.how)),
        }
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
        let path = self.path.display();
        Failure::new(
            FailureKind::Source,
            format!("the file changed while it was being uploaded: {how}: {path}"),
        )
    }

    /// Reads up to [`READ_LEN`] bytes of `span` from its start.
    fn read_now(&self, span: ByteSpan) -> Result<Bytes, Failure> {
        // At most READ_LEN, so it fits any usize.
        let wanted = span.len.min(READ_LEN) as usize;
        let mut buffer = vec![0; wanted];
        let mut filled = 0;
        while filled < wanted {
            match read_at(
                &self.file,
                &mut buffer[filled..],
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
        Ok(Bytes::from(buffer))
    }
}

/// Reads one span piece by piece.
#[derive(Debug)]
pub(crate) struct SpanReader {
    source: FileSource,
    rest: ByteSpan,
}

impl SpanReader {
    /// The next piece, at most 256 KiB; None at the span's end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        if self.rest.is_empty() {
            return None;
        }
        let (source, span) = (self.source.clone(), self.rest);
        let read = blocking(move || source.read_now(span)).await;
        if let Ok(bytes) = &read {
            let len = bytes.len() as u64;
            self.rest = ByteSpan::new(span.offset + len, span.len - len);
        }
        Some(read)
    }
}

/// Runs `work` where blocking is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
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
