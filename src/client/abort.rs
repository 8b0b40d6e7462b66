//! Giving up an upload that an earlier run began, and what could not be given back before.

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::blocking;
use crate::client::Uploader;
use crate::client::hosts::{Inquiry, Persistence};
use crate::client::put::account;
use crate::client::unfinished::local;
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::events::Listener;
use crate::journal::OpenError;
use crate::journal::header::{Identity, Target};
use crate::journal::index;
use crate::journal::orphans::{self, Orphan};
use crate::kodo::multipart::{self, Upload, UploadId};
use crate::model::{Endpoint, Failure, FailureKind};
use crate::transport::{Flight, Reuse};
use crate::uploader::{Access, Orphans, Permit};

/// How long the answer may take: the service only forgets something.
const LIMIT: Duration = Duration::from_secs(30);

/// How long orphans are looked after when uploads are listed: a few round trips on a slow line.
const BESIDE_LISTING: Duration = Duration::from_secs(5);

/// How long an upload that is over waits for the orphan that is being given back beside it. A round trip
/// or two; only the rare upload that has one to look after waits at all.
const LINGER: Duration = Duration::from_secs(1);

/// Pause between two looks for orphans beside uploads. Those of the last hour are no hurry: they live a
/// week.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);

/// What became of an upload that was given up. Here, it is forgotten in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Aborted {
    /// The service has dropped what it had, or had dropped it before.
    Dropped,
    /// The service could not be told: it is told again beside a later upload, for at most 7 days; then
    /// it drops what it has by itself.
    Later,
    /// There was nothing to tell: what the service has, if anything, expires by itself.
    Expires,
}

impl Aborted {
    /// The word that JSON events carry for what the service was told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dropped => "told",
            Self::Later => "not_told",
            Self::Expires => "expires",
        }
    }
}

/// When orphans are looked for again.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    next: Mutex<Option<Instant>>,
    /// There is a new one.
    pub(super) is_fresh: Arc<AtomicBool>,
}

impl Rounds {
    /// Whether it is time at `now`; the next time is later then.
    fn is_due(&self, now: Instant) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = self.is_fresh.swap(false, Ordering::Relaxed);
        let is_due = is_fresh || next.is_none_or(|next| next <= now);
        if is_due {
            *next = Some(now + LOOK_EVERY);
        }
        is_due
    }
}

impl Uploader {
    /// Gives up the unfinished upload `id`, or the only one whose id begins so: here, so that the same
    /// call begins anew, and, for a v2 upload, at the service, which drops the parts it has.
    ///
    /// Fails with [`ErrorKind::Usage`] where this uploader's service and access key have no such upload,
    /// with [`ErrorKind::Held`] while it is under way, with [`ErrorKind::Local`] where the state
    /// directory cannot be written: then nothing was given up. That the service cannot be told is no
    /// error ([`Aborted::Later`]). Takes at most about half a minute.
    pub async fn abort(&self, id: impl Into<String>) -> Result<Aborted, Error> {
        let upload = self.remembered(&id.into(), self.home().await?).await?;
        let Some(state_dir) = self.inner.memory.state_dir.clone() else {
            return Err(Error::bug("an upload is remembered nowhere"));
        };
        let path = upload.header.source.path.to_path();
        let (identity, target) = (upload.identity, upload.header.target);
        let forgetting = blocking::spawn({
            let state_dir = state_dir.clone();
            move || forget(&state_dir, identity)
        });
        forgetting.await.map_err(|why| local(why.to_string()))??;
        if let Some(path) = path
            && let Some(spool) = self.inner.adopt(&path).await
        {
            spool.remove().await;
        }
        let Some(upload_id) = upload.checkpoint.upload_id else {
            return Ok(Aborted::Expires);
        };
        // After the journal is gone: what is remembered as an orphan is nobody's.
        let orphans = Orphans {
            state_dir: Some(state_dir),
            target: target.clone(),
            is_fresh: Arc::clone(&self.inner.rounds.is_fresh),
        };
        let lost = orphans.lost(&upload_id, None);
        let told = async {
            let access = self.access(&Listener::default()).await?;
            self.abort_at(&access, &target, &upload_id, None).await
        };
        match told.await {
            Ok(()) => {
                lost.given_back();
                Ok(Aborted::Dropped)
            }
            Err(error) => {
                tracing::info!("an upload id is given back later: {error}");
                Ok(Aborted::Later)
            }
        }
    }

    /// Does `work`, and gives orphans back beside it when it is time for that.
    pub(super) async fn beside_orphans<T>(
        &self,
        access: &Access,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> T {
        if !self.inner.rounds.is_due(clock::instant()) {
            return work.await;
        }
        // On the heap, since it is rare: thousands of uploads that wait would each keep room for it.
        let mut giving = Box::pin(self.give_back(access));
        let done = tokio::select! {
            biased;
            done = &mut work => done,
            _ = &mut giving => return work.await,
        };
        // Whatever is not given back by then stays an orphan.
        tokio::time::timeout(LINGER, giving).await.ok();
        done
    }

    /// Gives orphans back for as long as a listing may take.
    pub(super) async fn give_back_for_a_while(&self, access: &Access) {
        let giving = self.give_back(access);
        tokio::time::timeout(BESIDE_LISTING, giving).await.ok();
    }

    /// Gives this service's and account's orphans back, one after the other; how many are back and how
    /// many are left.
    async fn give_back(&self, access: &Access) -> (usize, usize) {
        let (Some(state_dir), Ok(home)) = (&self.inner.memory.state_dir, self.home_of(access))
        else {
            return (0, 0);
        };
        let (dir, now) = (state_dir.clone(), clock::unix_seconds(clock::wall()));
        let listing = blocking::spawn(move || orphans::list(&dir, now)).await;
        let orphans = match listing {
            Ok(Ok(orphans)) => orphans,
            Ok(Err(error)) => {
                tracing::info!(%error, "orphans cannot be listed");
                return (0, 0);
            }
            Err(_) => return (0, 0),
        };
        let (mut back, mut left) = (0, 0);
        for orphan in orphans.into_iter().filter(|it| home.is_of(&it.target)) {
            match self.give_one_back(access, orphan, state_dir).await {
                true => back += 1,
                false => left += 1,
            }
        }
        (back, left)
    }

    /// Whether `target` is where this uploader's uploads go, by service and account.
    #[cfg(feature = "cli")]
    pub(crate) async fn is_home_of(&self, target: &Target) -> bool {
        self.home().await.is_ok_and(|home| home.is_of(target))
    }

    /// Gives all orphans back that can be; how many.
    #[cfg(feature = "cli")]
    pub(crate) async fn clean(&self) -> usize {
        match self.access(&Listener::default()).await {
            Ok(access) => self.give_back(&access).await.0,
            Err(_) => 0,
        }
    }

    async fn give_one_back(&self, access: &Access, orphan: Orphan, state_dir: &Path) -> bool {
        // Where the service's address changes from run to run, the old one leads nowhere.
        let has_moved = self.inner.memory.store_name.is_some();
        let host = orphan.host.as_deref().filter(|_| !has_moved);
        let host = host.and_then(|host| Endpoint::parse(host, true).ok());
        let told = self.abort_at(access, &orphan.target, &orphan.upload_id, host);
        if let Err(error) = told.await {
            tracing::debug!("an orphan stays: {error}");
            return false;
        }
        let dir = state_dir.to_owned();
        let forgotten = blocking::spawn(move || orphans::forget(&dir, &orphan)).await;
        matches!(forgotten, Ok(Ok(())))
    }

    /// Tells the service to drop the parts of a v2 upload. One that it does not know is dropped
    /// already. `host` is whom to tell; none for the bucket's first.
    async fn abort_at(
        &self,
        access: &Access,
        target: &Target,
        upload_id: &str,
        host: Option<Endpoint>,
    ) -> Result<(), Error> {
        let inner = &self.inner;
        let (bucket, key) = (&target.bucket, target.key.as_ref());
        let now = clock::wall();
        let permit = Permit::new(access.clone(), bucket, key, None, 0, now)?;
        let host = match host {
            Some(host) => host,
            None => {
                let inquiry = Inquiry {
                    api: &inner.api,
                    access_key: &account(access)?,
                    bucket,
                    persistence: Persistence::Once,
                    listener: &Listener::default(),
                    seed: 0,
                };
                let up = inner.hosts.find(&inquiry).await?.up;
                let none = || Error::new(ErrorKind::Config, "no upload host is known");
                up.into_iter().next().ok_or_else(none)?
            }
        };
        let id = UploadId::new(upload_id)
            .ok_or_else(|| Error::new(ErrorKind::Local, "the recorded upload id is none"))?;
        let request = Upload::new(bucket, key, &id).abort(&permit.token(now));
        let flight = Flight::new();
        let transport = &inner.transport;
        let send = transport.send(&host, request, None, Reuse::Any, &flight);
        let answer = match tokio::time::timeout(LIMIT, send).await {
            Ok(answer) => answer.map_err(|unanswered| unanswered.failure),
            Err(_) => {
                let what = format!("{host} gave no answer for {} s", LIMIT.as_secs());
                Err(Failure::new(FailureKind::TimedOut, what))
            }
        };
        match answer.and_then(|answer| multipart::aborted(&answer, clock::wall())) {
            Err(failure) if failure.kind != FailureKind::NoSuchUpload => {
                Err(Error::from_failure("drop the parts", failure))
            }
            _ => Ok(()),
        }
    }
}

/// Removes the journal of `identity`, and what crashes left beside journals. Blocks.
pub(crate) fn forget(state_dir: &Path, identity: Identity) -> Result<(), Error> {
    let now = clock::unix_seconds(clock::wall());
    let removed = index::remove(state_dir, identity, now);
    // Whatever stays is a few bytes.
    index::sweep(state_dir, now).ok();
    match removed {
        Ok(true) => Ok(()),
        Ok(false) => Err(local("another process has just finished it".to_owned())),
        Err(held @ OpenError::Held { .. }) => {
            let error = Error::new(ErrorKind::Held, held.to_string());
            Err(error.next("stop that process first"))
        }
        Err(why) => Err(local(why.to_string())),
    }
}
