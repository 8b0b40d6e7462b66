//! Streams that are written to the disk first: they can be resumed, as files can.

use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use crate::blocking;
use crate::client::put::Put;
use crate::client::{Inner, Uploader};
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::journal::index::Entry;
use crate::model::Failure;
use crate::source::{self, Source, SpoolFile, StreamSource};

impl Inner {
    /// The spool file at `path`, if it is one of ours and nobody else has it. Whoever has it may remove it:
    /// a file of the user's that lies beside those is none.
    pub(super) async fn adopt(&self, path: &Path) -> Option<SpoolFile> {
        if !self.is_spooled(path) {
            return None;
        }
        let path = path.to_owned();
        blocking::spawn(move || SpoolFile::adopt(&path))
            .await
            .ok()?
    }

    /// Whether `path` lies in the spool directory, and is called as we call files there.
    pub(super) fn is_spooled(&self, path: &Path) -> bool {
        if !source::is_spool_name(path) {
            return false;
        }
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let spool_dir = self.spool_dir.as_deref().and_then(real);
        spool_dir.is_some() && path.parent().and_then(real) == spool_dir
    }
}

impl Put {
    /// Writes all of `stream` to the spool directory, and reads it from there. Another upload of the same
    /// name is found out before the stream is read to its end for nothing.
    pub(super) async fn spool(
        &self,
        stream: &StreamSource,
        dir: &Path,
    ) -> Result<(Source, SpoolFile), Error> {
        let random = self.seed()?;
        let name = self.spool_name(random);
        if SpoolFile::is_in_use(dir, &name).await {
            return Err(in_use());
        }
        let written = SpoolFile::write(stream, dir, (&name, random)).await;
        let spool = written.map_err(not_spooled)?;
        let opened = spool.source().await;
        let source = opened.map_err(|failure| Error::from_failure("open the stream", failure))?;
        Ok((source, spool))
    }

    /// What the stream's file is called: the same for the same upload, so that a new one of it takes the
    /// place of the old one.
    fn spool_name(&self, random: u64) -> String {
        let mut name = Sha1::new();
        let inner = &self.uploader.inner;
        let store = inner.memory.store(&inner.hosts);
        // What is not said has another mark than what is empty: journals tell them apart, too.
        for part in [
            Some(store.as_str()),
            Some(self.bucket.as_str()),
            self.key.as_deref(),
            self.resume_id.as_deref(),
        ] {
            let mark = part.map_or(u64::MAX, |part| part.len() as u64);
            name.update(mark.to_be_bytes());
            name.update(part.unwrap_or_default().as_bytes());
        }
        if self.key.is_none() && self.resume_id.is_none() {
            name.update(random.to_be_bytes());
        }
        name.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl Uploader {
    /// Removes what nobody needs any more of the spool directory, given all that is remembered.
    pub(super) fn sweep_spool(spool_dir: Option<PathBuf>, entries: &[Entry]) {
        let Some(spool_dir) = spool_dir else { return };
        // A journal that cannot be read may need any file.
        if entries.iter().any(|entry| entry.oddity().is_some()) {
            return;
        }
        let is_needed = |path: &Path| {
            let path = std::fs::canonicalize(path).ok();
            entries.iter().any(|entry| match entry {
                Entry::Upload(upload) => upload.header.source.path.to_path() == path,
                _ => true,
            })
        };
        source::sweep(&spool_dir, clock::wall(), is_needed);
    }
}

/// The error of a stream that did not come to the disk: the stream's own, or the disk's.
fn not_spooled(failure: Failure) -> Error {
    // Streams have a remedy: to be given again.
    if failure.remedy.is_some() {
        return Error::from_failure("write the stream", failure);
    }
    let next = "see that `spool_dir` has room and may be written, then upload the stream again";
    let message = failure.message.clone();
    Error::new(ErrorKind::Local, message)
        .next(next)
        .because(failure)
}

/// The error of a second upload of one name.
fn in_use() -> Error {
    let what = "the stream of another upload to this key is being written, or sent";
    Error::new(ErrorKind::Held, what).next("wait for it, or name this one with another resume_id")
}

/// The error of a spool directory that helps nobody.
pub(super) fn without_state() -> Error {
    let what = "`spool_dir` is set, and no `state_dir`: streams could not be resumed from it";
    Error::new(ErrorKind::Config, what).next("set `state_dir`, or leave `spool_dir` out")
}
