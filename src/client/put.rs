//! One upload, as a program asks for it.

mod remembered;

use std::future::IntoFuture;
use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;

use crate::client::Uploader;
use crate::client::course::Course;
use crate::client::hosts::{Inquiry, Persistence};
use crate::client::memory::Errand;
use crate::client::shutdown::AtWork;
use crate::clock;
use crate::engine::retry::CONTACT_BUDGET;
use crate::error::{Error, ErrorKind};
use crate::events::{Event, Listener};
use crate::journal::header::ResumeId;
use crate::journal::said::Said;
use crate::kodo::{AccessKey, Commit, CommitError};
use crate::model::{Bucket, ObjectKey};
use crate::source::Source;
use crate::stop::{Stop, Stops};
use crate::uploader::{self, Access, Job, Outcome, Permit, UploadHosts, random_bytes};

/// An upload that is about to be made: `.await` it.
#[derive(Clone, Debug)]
#[must_use = "an upload only happens when it is awaited"]
pub struct Put {
    uploader: Uploader,
    bucket: String,
    key: Option<String>,
    what: What,
    file_name: Option<String>,
    mime_type: Option<String>,
    metadata: Vec<(String, String)>,
    vars: Vec<(String, String)>,
    insert_only: bool,
    resume_id: Option<String>,
    /// The unfinished upload that it goes on with.
    unfinished: Option<String>,
    listener: Listener,
    stop: Stop,
}

/// What is uploaded.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// The file at this path.
    File(PathBuf),
    /// These bytes.
    Data(Bytes),
}

/// A finished upload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Done {
    /// Where the object is.
    pub bucket: String,
    /// Its key: the one asked for, or the one that the service chose. None where the service chose
    /// and a shaped answer does not say.
    pub key: Option<String>,
    /// Its hash (etag).
    pub hash: String,
    /// Its size, in bytes.
    pub size: u64,
    /// How much of it is proven.
    pub verified: Verified,
    /// The body of the service's answer: arbitrary where the put policy has a `returnBody` or a
    /// callback. None when that answer was lost and a look told that the object is there.
    pub answer: Option<Bytes>,
    /// `X-Reqid` of that answer: what the service's support asks for.
    pub request_id: Option<String>,
    /// Bytes that an earlier run had stored.
    pub resumed_bytes: u64,
    /// Bytes of the source that were sent in this run.
    pub sent_bytes: u64,
    /// Those of them that had been sent before.
    pub resent_bytes: u64,
}

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verified {
    /// The service's hash of the whole object is that of the bytes sent.
    Object,
    /// Every segment's answer matched the bytes sent; the last answer carried no hash.
    Parts,
}

impl Verified {
    /// The word that JSON events carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Parts => "parts",
        }
    }
}

impl Put {
    pub(super) fn new(uploader: Uploader, bucket: String, key: String, what: What) -> Self {
        Self {
            uploader,
            bucket,
            key: Some(key),
            what,
            file_name: None,
            mime_type: None,
            metadata: Vec::new(),
            vars: Vec::new(),
            insert_only: false,
            resume_id: None,
            unfinished: None,
            listener: Listener::default(),
            stop: Stop::default(),
        }
    }

    /// Lets the service name the object: by the policy's `saveKey`, else by its hash.
    pub fn no_key(mut self) -> Self {
        self.key = None;
        self
    }

    /// The object's type. Without it the service finds out itself.
    pub fn mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// The original name told to the service (`$(fname)`), in place of the file's own.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Metadata kept with the object. The name may be given with `x-qn-meta-` or without; all
    /// names and values together have at most 1024 bytes.
    pub fn meta(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((name.into(), value.into()));
        self
    }

    /// A custom variable for `returnBody` and callbacks. The name may be given with `x:` or without.
    ///
    /// With a state directory it stands there, for the owner's eyes only, until the upload is done:
    /// [`Uploader::resume`] says it again. Secrets have no place in one.
    pub fn var(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.vars.push((name.into(), value.into()));
        self
    }

    /// Never replaces an object of other content: fails with [`ErrorKind::Exists`].
    ///
    /// Acts on tokens that the keys sign; a ready token says itself what it permits.
    pub fn insert_only(mut self) -> Self {
        self.insert_only = true;
        self
    }

    /// Tells `hear` how the upload goes. The upload waits for it, so it must not block. When it
    /// panics, it is told no more, which `tracing` warns of; the upload goes on, unless the program is
    /// built to abort on panics.
    pub fn on_event(mut self, hear: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(hear);
        self
    }

    /// Ends the upload when `stop` says so: nothing new is begun, and what is recorded is safe. It
    /// then fails with [`ErrorKind::Interrupted`]. Dropping the future stops it as well, without a
    /// word.
    pub fn stop_on(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }

    async fn run(self) -> Result<Done, Error> {
        let this = self.recalled().await?;
        let (resume_id, says) = (this.named()?, this.says());
        let at_work = this.uploader.inner.duty.begin(this.task())?;
        let running = this.run_as(resume_id.as_ref(), says.as_ref(), &at_work);
        let result = running.await;
        at_work.ended(result.as_ref().err());
        result
    }

    /// The upload, under this name, and with what is kept of what it says.
    async fn run_as(
        self,
        resume_id: Option<&ResumeId>,
        says: Option<&Said>,
        at_work: &AtWork,
    ) -> Result<Done, Error> {
        let bucket = Bucket::new(self.bucket.as_str())?;
        let key = self.key.as_ref().map(ObjectKey::new).transpose()?;
        let commit = self
            .commit(key.clone())
            .map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))?;
        let source = match &self.what {
            What::File(path) => Source::open(path).await,
            What::Data(bytes) => Ok(Source::Bytes(bytes.clone())),
        };
        let source = source.map_err(|failure| Error::from_failure("open the file", failure))?;
        let size = source.len();
        at_work.learn(|task| task.size = size);
        let stops = self.stops();
        let stopped = interrupted("stopped before anything was sent");
        let access = self.uploader.access(&self.listener);
        let access = or_stopped(&stops, stopped, access).await?;
        let access_key = account(&access)?;
        // Before anything is asked of anybody: a token that does not cover this is refused here.
        self.permit(&access, &bucket, key.as_ref(), size)?;
        let inquiry = Inquiry {
            api: &self.uploader.inner.api,
            access_key: &access_key,
            bucket: &bucket,
            persistence: self.persistence(),
            listener: &self.listener,
            seed: self.seed()?,
        };
        let course = Course::begin(&self.uploader.inner.hosts, inquiry);
        let stopped = interrupted("stopped before the upload had begun");
        let mut course = or_stopped(&stops, stopped, course).await?;
        let errand = Errand {
            access_key: &access_key,
            bucket: &bucket,
            key: key.as_ref(),
            source: &source,
            resume_id,
            says,
            at_work,
        };
        course.orphans = Some(self.uploader.orphans(&errand));
        loop {
            let permit = self.permit(&access, &bucket, key.as_ref(), size)?;
            let job = self.job(&errand, &commit, permit, &mut course).await?;
            let way = self.way(&course);
            let inner = &self.uploader.inner;
            inner.line.recall(&inner.line_book.known(&way).await);
            let upload = uploader::upload(job);
            let ended = self.uploader.beside_orphans(&access, upload).await;
            inner.line_book.keep(&way, &inner.line.known()).await;
            let unfinished = match ended {
                Ok(outcome) => return Ok(self.done(outcome, size)),
                Err(unfinished) if !unfinished.has_failed => return Err(unfinished.error),
                Err(unfinished) => unfinished,
            };
            let safe_bytes = unfinished.safe_bytes;
            let stopped = format!("stopped with {safe_bytes} of {size} bytes safe");
            let stopped = interrupted(&stopped).safe(safe_bytes);
            let permit = self.permit(&access, &bucket, key.as_ref(), size)?;
            let going_on = course.go_on(unfinished, &permit, key.as_ref());
            or_stopped(&stops, stopped, going_on).await?;
        }
    }

    /// The way to where its course leads now: what the line on it carried is remembered.
    fn way(&self, course: &Course<'_>) -> String {
        let first = course.hosts.up.first();
        first.map_or_else(String::new, |host| self.uploader.inner.transport.way(host))
    }

    /// One run of the upload, to the hosts where its course leads now.
    async fn job(
        &self,
        errand: &Errand<'_>,
        commit: &Commit,
        permit: Permit,
        course: &mut Course<'_>,
    ) -> Result<Job, Error> {
        let inner = &self.uploader.inner;
        let opened = inner.memory.open(errand, &inner.hosts, &self.listener);
        let (recorder, checkpoint) = opened.await?;
        let checkpoint = course.take_up(checkpoint);
        let management = match &inner.credentials {
            Some(_) => course.hosts.rs.clone(),
            None => Vec::new(),
        };
        Ok(Job {
            bucket: errand.bucket.clone(),
            commit: commit.clone(),
            source: errand.source.clone(),
            permit,
            protocol: inner.protocol,
            threshold: inner.threshold,
            part_len: inner.part_len,
            limits: inner.limits,
            hosts: UploadHosts {
                endpoints: course.hosts.up.clone(),
            },
            management,
            sent_elsewhere: course.sent_elsewhere,
            transport: inner.transport.clone(),
            line: inner.line.clone(),
            api: inner.api.clone(),
            recorder,
            checkpoint,
            seed: self.seed()?,
            listener: self.listener.clone(),
            stops: self.stops(),
            orphans: self.uploader.orphans(errand),
        })
    }

    fn permit(
        &self,
        access: &Access,
        bucket: &Bucket,
        key: Option<&ObjectKey>,
        size: u64,
    ) -> Result<Permit, Error> {
        let (access, now) = (access.clone(), clock::wall());
        Permit::new(access, bucket, key, self.insert_only, size, now)
    }

    /// How long to ask where the bucket lives: as long as an upload tries to reach anybody.
    fn persistence(&self) -> Persistence {
        let limits = &self.uploader.inner.limits;
        match limits.wait_online {
            true => Persistence::ForEver,
            false => Persistence::For(CONTACT_BUDGET.min(limits.retry_budget)),
        }
    }

    /// Seed of the jitter.
    fn seed(&self) -> Result<u64, Error> {
        #[cfg(test)]
        if let Some(seed) = self.uploader.inner.seed {
            return Ok(seed);
        }
        let seed = random_bytes().map_err(|failure| Error::from_failure("begin", failure))?;
        Ok(u64::from_be_bytes(seed))
    }

    /// What is said about the object.
    fn commit(&self, key: Option<ObjectKey>) -> Result<Commit, CommitError> {
        let own_name = match &self.what {
            What::File(path) => path.file_name().and_then(|name| name.to_str()),
            What::Data(_) => None,
        };
        let mut commit = Commit::new(key);
        // A name that is no UTF-8 cannot be told; the object does without.
        if let Some(name) = self.file_name.as_deref().or(own_name) {
            commit = commit.file_name(name);
        }
        if let Some(mime_type) = &self.mime_type {
            commit = commit.mime_type(mime_type)?;
        }
        for (name, value) in &self.vars {
            commit = commit.var(name, value)?;
        }
        for (name, value) in &self.metadata {
            commit = commit.metadata_entry(name, value)?;
        }
        Ok(commit)
    }

    fn done(self, outcome: Outcome, size: u64) -> Done {
        let verified = if outcome.hash_confirmed {
            Verified::Object
        } else {
            Verified::Parts
        };
        let stored = outcome.stored;
        Done {
            bucket: self.bucket,
            key: stored
                .as_ref()
                .and_then(|stored| stored.key.clone())
                .or(self.key),
            hash: outcome.hash.to_string(),
            size,
            verified,
            request_id: stored.as_ref().and_then(|stored| stored.request_id.clone()),
            answer: stored.map(|stored| stored.raw),
            resumed_bytes: outcome.resumed_bytes,
            sent_bytes: outcome.sent_bytes,
            resent_bytes: outcome.resent_bytes,
        }
    }
}

impl IntoFuture for Put {
    type Output = Result<Done, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// What `work` comes to, unless the upload is stopped before.
async fn or_stopped<T>(
    stops: &Stops,
    stopped: Error,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = stops.stopped() => Err(stopped),
        done = work => done,
    }
}

/// The error of an upload that was asked to stop.
fn interrupted(what: &str) -> Error {
    Error::new(ErrorKind::Interrupted, what).next("run the same line again to go on")
}

/// The access key that the bucket query names.
pub(super) fn account(access: &Access) -> Result<AccessKey, Error> {
    match access {
        Access::Keys(credentials) => Ok(credentials.access_key.clone()),
        Access::Token(token) | Access::Provider(_, token) => AccessKey::new(token.access_key())
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string())),
    }
}
