//! What is remembered of an upload: its name, and what it says of the object.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::client::Uploader;
use crate::client::memory::Errand;
use crate::client::put::{Put, What};
use crate::client::shutdown::Task;
use crate::client::unfinished::{Home, SourceState};
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::journal::header::ResumeId;
use crate::journal::index::Unfinished;
use crate::journal::said::Said;
use crate::stop::Stops;
use crate::uploader::Orphans;

impl Put {
    /// Names the upload, so that it is found again by that name: the id of a backend's own job, of 1 to
    /// 256 bytes of text without control characters; anything else is [`ErrorKind::Usage`].
    ///
    /// With it, what an earlier run had stored is found by service, access key, bucket, key and this
    /// name, whatever the file's path: the job may come back with its file elsewhere. The bytes are
    /// compared as ever. Without it, an upload is named by its bucket and key, and one without a key
    /// by its file's path. Two uploads to one key under two names are two: neither knows of the other.
    ///
    /// It needs a state directory ([`UploaderBuilder::state_dir`](crate::UploaderBuilder::state_dir)),
    /// and changes nothing for data and streams in memory, which are not remembered. It is no secret: it stands in
    /// the state directory, and in what [`Uploader::unfinished`] tells.
    pub fn resume_id(mut self, id: impl Into<String>) -> Self {
        self.resume_id = Some(id.into());
        self
    }

    /// What goes on with the upload that is remembered as `id`.
    pub(in crate::client) fn unfinished(uploader: Uploader, id: String) -> Self {
        let nothing = What::File(PathBuf::new());
        let mut put = Self::new(uploader, String::new(), String::new(), nothing);
        put.unfinished = Some(id);
        put
    }

    /// The name that was given, if it is one.
    pub(super) fn named(&self) -> Result<Option<ResumeId>, Error> {
        let named = self.resume_id.as_deref().map(ResumeId::new).transpose();
        named.map_err(|no| Error::new(ErrorKind::Usage, no.to_string()))
    }

    /// The upload as it is told of while it is under way.
    pub(super) fn task(&self) -> Task {
        let source = match &self.what {
            // As the state directory would have it.
            What::File(path) => Some(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            What::Data(_) | What::Stream(_) => None,
        };
        Task {
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            resume_id: self.resume_id.clone(),
            source,
            size: 0,
            begun: clock::wall(),
            identity: None,
        }
    }

    /// Who may stop it.
    pub(super) fn stops(&self) -> Stops {
        Stops {
            own: self.stop.clone(),
            all: self.uploader.inner.duty.all.clone(),
        }
    }

    /// Whether something other than the uploader's own right decides what becomes of the object.
    fn has_own_right(&self) -> bool {
        self.policy.is_some() || self.token.is_some()
    }

    /// What is kept of what is said of the object.
    pub(super) fn says(&self) -> Option<Said> {
        let said = Said {
            file_name: self.file_name.clone(),
            mime_type: self.mime_type.clone(),
            metadata: self.metadata.clone(),
            vars: self.vars.clone(),
            insert_only: self.insert_only,
            keep_last_modified: self.keep_last_modified,
            has_own_right: self.has_own_right(),
            is_cut: false,
            are_texts_cut: false,
        };
        said.kept()
    }

    /// Where this upload is remembered: it may have hosts and a token of its own.
    async fn home(&self) -> Result<Home, Error> {
        let hosts = self.hosts.with_endpoints(self.own_endpoints()?);
        self.uploader.home_at(&self.access().await?, &hosts)
    }

    /// The same upload with what the state directory knows of it, where it goes on with one. What the
    /// caller says goes before what an earlier run said.
    pub(super) async fn recalled(mut self) -> Result<Self, Error> {
        let Some(id) = self.unfinished.take() else {
            return Ok(self);
        };
        let home = self.home().await?;
        let Unfinished { header, .. } = self.uploader.remembered(&id, home).await?;
        let path = header.source.path.to_path();
        let no_path = || Error::new(ErrorKind::Source, "this system has no such path");
        let path = path.ok_or_else(no_path)?;
        let is_spooled = self.uploader.inner.is_spooled(&path);
        if is_spooled && SourceState::of(&header.source) == SourceState::Resized {
            return Err(damaged(&path));
        }
        self.what = What::File(path);
        self.bucket = header.target.bucket.as_str().to_owned();
        self.key = header.target.key.map(|key| key.as_str().to_owned());
        self.resume_id = header.target.resume_id.map(String::from);
        let said = header.says.unwrap_or_default();
        self.covers(&said)?;
        self.file_name = self.file_name.or(said.file_name);
        self.mime_type = self.mime_type.or(said.mime_type);
        if self.metadata.is_empty() {
            self.metadata = said.metadata;
        }
        if self.vars.is_empty() {
            self.vars = said.vars;
        }
        self.insert_only |= said.insert_only;
        self.keep_last_modified |= said.keep_last_modified;
        Ok(self)
    }

    /// Fails where something was said then that nobody remembers and that is not said now: the object
    /// would be another than was asked for.
    fn covers(&self, said: &Said) -> Result<(), Error> {
        let usage = |what: &str, next: &str| Err(Error::new(ErrorKind::Usage, what).next(next));
        if said.has_own_right && !self.has_own_right() {
            return usage(
                "this upload was begun with a put policy or a token of its own, which is not remembered",
                "give a policy or a token to this one, too",
            );
        }
        if said.is_cut && self.vars.is_empty() {
            return usage(
                "the variables of this upload were too long to be remembered",
                "give them again",
            );
        }
        if said.are_texts_cut && (self.file_name.is_none() || self.mime_type.is_none()) {
            return usage(
                "file name and type of this upload were too long to be remembered",
                "give both again",
            );
        }
        Ok(())
    }
}

/// The error of a spool file that is not what was written: nobody but haul has any business there, and the
/// stream was another.
fn damaged(path: &Path) -> Error {
    let path = path.display();
    let what = format!("{path} is not as long as the stream that was written there");
    let next = "upload the stream again, or give this upload up";
    Error::new(ErrorKind::Source, what).next(next)
}

impl Uploader {
    /// Where the orphans of `errand` are noted; they are looked after beside the next upload.
    pub(super) fn orphans(&self, errand: &Errand<'_>) -> Orphans {
        let memory = &self.inner.memory;
        Orphans {
            state_dir: memory.state_dir.clone(),
            target: memory.target(errand, &self.inner.hosts),
            is_fresh: Arc::clone(&self.inner.rounds.is_fresh),
        }
    }
}
