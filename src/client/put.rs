//! One upload, as a program asks for it: what is wished in [`wishes`] and [`travel`], what comes of it in [`done`].

mod done;
mod report;
mod travel;
mod wishes;

mod remembered;

use std::future::IntoFuture;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument;

use crate::client::course::Course;
use crate::client::hosts::{BucketHosts, HostBook, Inquiry, Persistence};
use crate::client::memory::Errand;
use crate::client::policy::PutPolicy;
use crate::client::secret::Secret;
use crate::client::settings::Settings;
use crate::client::shutdown::AtWork;
use crate::client::stream::OneStream;
use crate::client::{Uploader, no_keys};
use crate::clock;
use crate::engine::retry::CONTACT_BUDGET;
use crate::error::{Error, ErrorKind};
use crate::events::Listener;
use crate::journal::header::ResumeId;
use crate::journal::said::Said;
use crate::kodo::{AccessKey, Commit, UploadToken};
use crate::model::{Bucket, ObjectKey};
use crate::source::{Source, SpoolFile};
use crate::stop::{Stop, Stops};
use crate::telemetry::{self, Awaited};
use crate::uploader::{self, Access, Job, Outcome, Permit, Unfinished, UploadHosts, random_bytes};

use crate::client::put::report::Log;

pub use done::{Done, Verified};
pub use report::Report;

/// An upload whose source is open.
struct Prepared<'a> {
    bucket: Bucket,
    key: Option<ObjectKey>,
    source: Source,
    commit: Commit,
    resume_id: Option<&'a ResumeId>,
    says: Option<&'a Said>,
    at_work: &'a AtWork,
}

/// Longest name in a span, in characters: a key may have 750 bytes.
const SPAN_NAME_MAX: usize = 100;

/// An upload that is about to be made: `.await` it.
///
/// What is said here counts for this upload alone and goes before what its [`Uploader`] is set to; it is
/// checked when the upload begins, before anything is sent. Connections are shared by all uploads, and so
/// are `connect_timeout`, proxies, TLS and `limit_rate`; so is the state directory.
///
/// ```no_run
/// # async fn example(uploader: &haul::Uploader) -> Result<(), haul::Error> {
/// use std::time::Duration;
/// use haul::{Protocol, PutPolicy};
///
/// let key = "users/42/film.mp4";
/// let done = uploader
///     .put_file("my-bucket", key, "/srv/incoming/film.mp4")
///     .policy(
///         PutPolicy::for_key("my-bucket", key)
///             .insert_only()
///             .mime_limit("video/*")
///             .callback_url("https://example.com/stored")
///             .callback_body("key=$(key)&hash=$(etag)&user=$(x:user)"),
///     )
///     .var("user", "42")
///     .keep_last_modified()
///     .protocol(Protocol::V2)
///     .part_size(16 << 20)
///     .retry_budget(Duration::from_secs(3600))
///     .await?;
/// assert_eq!(done.report.hash_of_lanes(done.size), done.hash);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "an upload only happens when it is awaited"]
pub struct Put {
    pub(super) uploader: Uploader,
    pub(super) bucket: String,
    pub(super) key: Option<String>,
    what: What,
    file_name: Option<String>,
    mime_type: Option<String>,
    metadata: Vec<(String, String)>,
    vars: Vec<(String, String)>,
    insert_only: bool,
    policy: Option<PutPolicy>,
    keep_last_modified: bool,
    /// In place of the uploader's right.
    token: Option<Secret>,
    /// Hosts of its own.
    endpoints: Vec<String>,
    pub(super) settings: Settings,
    /// The window is this call's alone.
    has_own_window: bool,
    hosts: Arc<HostBook>,
    pub(super) resume_id: Option<String>,
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
    /// These bytes, which can be read once.
    Stream(OneStream),
}

impl Put {
    pub(super) fn new(uploader: Uploader, bucket: String, key: String, what: What) -> Self {
        Self {
            hosts: Arc::clone(&uploader.inner.hosts),
            uploader,
            bucket,
            key: Some(key),
            what,
            file_name: None,
            mime_type: None,
            metadata: Vec::new(),
            vars: Vec::new(),
            insert_only: false,
            policy: None,
            keep_last_modified: false,
            token: None,
            endpoints: Vec::new(),
            settings: Settings::default(),
            has_own_window: false,
            resume_id: None,
            unfinished: None,
            listener: Listener::default(),
            stop: Stop::default(),
        }
    }

    /// Runs it where operators see it.
    async fn observed(self) -> Result<Done, Error> {
        let awaited = Awaited::begin();
        let key = self.key.as_deref().map(shortened);
        let span = tracing::info_span!("upload", bucket = shortened(&self.bucket), key);
        let result = self.run().instrument(span).await;
        match &result {
            Ok(done) => {
                telemetry::resent(done.resent_bytes);
                awaited.ended("done", done.size);
            }
            Err(error) => awaited.ended(error.kind().as_str(), 0),
        }
        result
    }

    async fn run(self) -> Result<Done, Error> {
        let mut this = self.recalled().await?;
        this.choose_way()?;
        let (resume_id, says) = (this.named()?, this.says());
        let at_work = this.uploader.inner.duty.begin(this.task())?;
        let running = this.run_as(resume_id.as_ref(), says.as_ref(), &at_work);
        let result = running.await;
        at_work.ended(result.as_ref().err());
        result
    }

    /// The upload, under this name, and with what is kept of what it says.
    async fn run_as(
        mut self,
        resume_id: Option<&ResumeId>,
        says: Option<&Said>,
        at_work: &AtWork,
    ) -> Result<Done, Error> {
        let (log, listener) = Log::beside(std::mem::take(&mut self.listener));
        self.listener = listener;
        let bucket = Bucket::new(self.bucket.as_str())?;
        let key = self.key.as_ref().map(ObjectKey::new).transpose()?;
        // What cannot be said is refused before a file is opened.
        self.commit(key.clone(), None)?;
        let stops = self.stops();
        let stopped = interrupted("stopped before anything was sent");
        let (source, spool) = or_stopped(&stops, stopped, self.source()).await?;
        let modified = source.modified().filter(|_| spool.is_none());
        let commit = self.commit(key.clone(), modified)?;
        at_work.learn(|task| task.size = source.expected_len().unwrap_or_default());
        let prepared = Prepared {
            bucket,
            key,
            source,
            commit,
            resume_id,
            says,
            at_work,
        };
        let result = self.go(&prepared, &log).await;
        // What can be gone on with needs its file.
        let is_over = result.is_ok() || !at_work.is_remembered();
        let spool = match &self.what {
            // At the beginning a run that had just been dropped may still have been reading it.
            What::File(path) if is_over && spool.is_none() => self.uploader.inner.adopt(path).await,
            _ => spool,
        };
        if let Some(spool) = spool.filter(|_| is_over) {
            spool.remove().await;
        }
        result
    }

    /// Finds out whereto, and sends it.
    async fn go(&self, prepared: &Prepared<'_>, log: &Log) -> Result<Done, Error> {
        let Prepared {
            bucket,
            key,
            source,
            commit,
            resume_id,
            says,
            at_work,
        } = prepared;
        let (stops, key) = (self.stops(), key.as_ref());
        let size = source.expected_len().unwrap_or_default();
        let stopped = interrupted("stopped before anything was sent");
        let access = or_stopped(&stops, stopped, self.access()).await?;
        let access_key = account(&access)?;
        // Before anything is asked of anybody: a token that does not cover this is refused here.
        self.permit(&access, bucket, key, size)?;
        let inquiry = Inquiry {
            api: &self.uploader.inner.api,
            access_key: &access_key,
            bucket,
            persistence: self.persistence(),
            listener: &self.listener,
            seed: self.seed()?,
        };
        let course = Course::begin(&self.hosts, inquiry);
        let stopped = interrupted("stopped before the upload had begun");
        let mut course = or_stopped(&stops, stopped, course).await?;
        let errand = Errand {
            access_key: &access_key,
            bucket,
            key,
            source,
            resume_id: *resume_id,
            says: *says,
            at_work,
        };
        course.orphans = Some(self.uploader.orphans(&errand));
        loop {
            let permit = self.permit(&access, bucket, key, size)?;
            let job = self.job(&errand, commit, permit, &mut course).await?;
            let (ended, moved) = {
                let upload = pin!(self.upload(job, &course));
                self.on_line(&access, &course, upload).await
            };
            if let (Err(unfinished), Some(hosts)) = (&ended, moved)
                && unfinished.error.kind() == ErrorKind::Interrupted
            {
                course.move_to(hosts, unfinished);
                continue;
            }
            let unfinished = match ended {
                Ok(outcome) => return Ok(self.done(outcome, source.len(), log)),
                Err(unfinished) if !unfinished.has_failed => return Err(unfinished.error),
                Err(unfinished) => unfinished,
            };
            let safe_bytes = unfinished.safe_bytes;
            let stopped = format!("stopped with {safe_bytes} of {size} bytes safe");
            let stopped = interrupted(&stopped).safe(safe_bytes);
            // A right that is over is what it failed for.
            let Ok(permit) = self.permit(&access, bucket, key, size) else {
                return Err(unfinished.error);
            };
            let going_on = course.go_on(unfinished, &permit, key);
            or_stopped(&stops, stopped, going_on).await?;
        }
    }

    /// What is uploaded, open.
    async fn source(&self) -> Result<(Source, Option<SpoolFile>), Error> {
        match &self.what {
            What::File(path) => {
                let opened = Source::open(path).await;
                let opened = opened.map_err(|why| Error::from_failure("open the file", why))?;
                Ok((opened, self.uploader.inner.adopt(path).await))
            }
            What::Data(bytes) => Ok((Source::Bytes(bytes.clone()), None)),
            What::Stream(stream) => self.begin_stream(stream).await,
        }
    }

    /// By what right it is made: its own token or policy, else what the uploader has.
    pub(super) async fn access(&self) -> Result<Access, Error> {
        match (&self.token, &self.policy) {
            (Some(token), _) => token.as_token().map(|token| Access::Token(Box::new(token))),
            (None, Some(_)) => match &self.uploader.inner.credentials {
                Some(credentials) => Ok(Access::Keys(credentials.clone())),
                None => Err(no_keys("sign the upload's put policy")),
            },
            (None, None) => self.uploader.access(&self.listener).await,
        }
    }

    /// Awaits one run of the upload, beside what else is due; it has what is known of the line, and what it
    /// learns of it is kept. Taken pinned: by value there would be room for it twice.
    async fn on_line<T>(
        &self,
        access: &Access,
        course: &Course<'_>,
        upload: Pin<&mut impl Future<Output = T>>,
    ) -> T {
        let (inner, way) = (&self.uploader.inner, self.way(course));
        inner.line.recall(&inner.line_book.known(&way).await);
        let ended = self.uploader.beside_orphans(access, upload).await;
        inner.line_book.keep(&way, &inner.line.known()).await;
        ended
    }

    /// One run of the upload; with where the bucket lives by now, if it was stopped because of that.
    async fn upload(
        &self,
        mut job: Job,
        course: &Course<'_>,
    ) -> (Result<Outcome, Unfinished>, Option<BucketHosts>) {
        let stop = Stop::default();
        let vigil = course.vigil(&job.listener, self.patience());
        let vigil = vigil.map(|(vigil, listener)| {
            (job.listener, job.stops.own) = (listener, stop.clone());
            vigil
        });
        let mut upload = pin!(uploader::upload(job));
        let Some(vigil) = vigil else {
            return (upload.await, None);
        };
        let moved = tokio::select! {
            biased;
            ended = &mut upload => return (ended, None),
            () = self.stop.stopped() => None,
            hosts = course.moved(&vigil) => Some(hosts),
        };
        stop.stop();
        (upload.await, moved)
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
        let opened = inner.memory.open(errand, &self.hosts, &self.listener);
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
            protocol: self.settings.protocol(),
            threshold: self.settings.threshold,
            part_len: self.settings.part_len(),
            limits: self.settings.limits(),
            hosts: UploadHosts {
                endpoints: course.hosts.up.clone(),
            },
            management,
            sent_elsewhere: course.sent_elsewhere,
            transport: inner.transport.clone(),
            line: inner.line.for_upload(self.has_own_window),
            api: inner.api.clone(),
            recorder,
            checkpoint,
            seed: self.seed()?,
            listener: self.listener.clone(),
            stops: self.stops(),
            orphans: self.uploader.orphans(errand),
        })
    }

    pub(super) fn permit(
        &self,
        access: &Access,
        bucket: &Bucket,
        key: Option<&ObjectKey>,
        size: u64,
    ) -> Result<Permit, Error> {
        let (access, now) = (access.clone(), clock::wall());
        let own = match &self.policy {
            Some(policy) => Some(policy.own(clock::unix_seconds(now))?),
            None => None,
        };
        let permit = Permit::new(access, bucket, key, own, size, now)?;
        Ok(permit.insert_only(self.insert_only))
    }

    /// How long to ask where the bucket lives: as long as an upload tries to reach anybody.
    fn persistence(&self) -> Persistence {
        match self.settings.limits().wait_online {
            true => Persistence::ForEver,
            false => Persistence::For(self.patience()),
        }
    }

    /// How long to try to reach anybody before hosts may be the wrong ones.
    fn patience(&self) -> Duration {
        CONTACT_BUDGET.min(self.settings.limits().retry_budget)
    }

    /// Seed of the jitter.
    pub(super) fn seed(&self) -> Result<u64, Error> {
        #[cfg(test)]
        if let Some(seed) = self.uploader.inner.seed {
            return Ok(seed);
        }
        let seed = random_bytes().map_err(|failure| Error::from_failure("begin", failure))?;
        Ok(u64::from_be_bytes(seed))
    }
}

impl IntoFuture for Put {
    type Output = Result<Done, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.observed())
    }
}

/// The beginning of `name`: what a log line can bear.
fn shortened(name: &str) -> &str {
    let end = name.char_indices().nth(SPAN_NAME_MAX);
    end.map_or(name, |(end, _)| &name[..end])
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
    let of_token = |token: &UploadToken| {
        AccessKey::new(token.access_key())
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string()))
    };
    match access {
        Access::Keys(credentials) => Ok(credentials.access_key.clone()),
        Access::Token(token) => of_token(token),
        Access::Provider(_, held) => of_token(&held.token()),
    }
}
