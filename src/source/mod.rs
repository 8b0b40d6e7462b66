//! What is uploaded: a local file, opened once and watched for change, bytes in memory, or a stream.
//!
//! One open descriptor is the source from the first byte to the commit, so a rename changes
//! nothing. A file that changes under the reader is noticed before anything is committed.

mod file;
mod identity;
mod pool;
mod span;
mod spool;
mod stream;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;

pub(crate) use file::FileSource;
pub(crate) use span::SpanReader;
pub(crate) use spool::{SpoolFile, is_spool_name, sweep};
pub(crate) use stream::{Budget, Fetched, StreamSource, Supply};

use crate::model::{ByteSpan, Failure};
use crate::source::identity::Change;

/// The bytes of one object, to be read from any position, as often as needed.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A regular file.
    File(FileSource),
    /// Bytes in memory: they never change, and die with the process.
    Bytes(Bytes),
    /// Bytes that come by and by, and only once.
    Stream(StreamSource),
}

impl Source {
    /// Opens the file at `path`; follows symbolic links. Anything that is no regular file is
    /// refused, and never waited for.
    pub(crate) async fn open(path: &Path) -> Result<Self, Failure> {
        FileSource::open(path).await.map(Self::File)
    }

    /// Its size at the beginning, in bytes; of a stream, what of it has come.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream(stream) => stream.len(),
        }
    }

    /// When it was last changed, if it is a file.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        match self {
            Self::File(file) => file.modified(),
            Self::Bytes(_) | Self::Stream(_) => None,
        }
    }

    /// A reader of `span`, which must lie within the source.
    pub(crate) fn read(&self, span: ByteSpan) -> SpanReader {
        assert!(span.end() <= self.len(), "a span beyond the source's end");
        SpanReader::new(self.clone(), span)
    }

    /// How it differs from when it was opened or last accepted; None if nobody touched it.
    pub(crate) async fn change(&self) -> Result<Option<Change>, Failure> {
        match self {
            Self::File(file) => file.change().await,
            Self::Bytes(_) | Self::Stream(_) => Ok(None),
        }
    }

    /// Fails if anyone touched it since it was opened.
    #[cfg(feature = "cli")]
    pub(crate) async fn check_unchanged(&self) -> Result<(), Failure> {
        match self.change().await? {
            None => Ok(()),
            Some(change) => Err(self.changed(&change.how)),
        }
    }

    /// The same source, with `change` as the state to compare with from now on. Its size must be
    /// the same.
    #[must_use]
    pub(crate) fn accept(self, change: Change) -> Self {
        match self {
            Self::File(file) => Self::File(file.accept(change)),
            Self::Bytes(_) | Self::Stream(_) => self,
        }
    }

    /// The failure of a source that changed.
    pub(crate) fn changed(&self, how: &str) -> Failure {
        match self {
            Self::File(file) => file.changed(how),
            Self::Bytes(_) => file::changed(how, "bytes in memory"),
            Self::Stream(_) => file::changed(how, "a stream"),
        }
    }

    /// How its path leads elsewhere by now, in words; None if it does not.
    pub(crate) async fn displaced(&self) -> Option<&'static str> {
        match self {
            Self::File(file) => file.displaced().await,
            Self::Bytes(_) | Self::Stream(_) => None,
        }
    }

    /// Where it is, if it is a file.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file.path()),
            Self::Bytes(_) | Self::Stream(_) => None,
        }
    }

    /// The stream, if it is one.
    pub(crate) fn stream(&self) -> Option<&StreamSource> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::File(_) | Self::Bytes(_) => None,
        }
    }

    /// How long it will be, in bytes; none where nobody can tell yet.
    pub(crate) fn expected_len(&self) -> Option<u64> {
        match self {
            Self::Stream(stream) if !stream.has_ended() => stream.expected(),
            _ => Some(self.len()),
        }
    }
}
