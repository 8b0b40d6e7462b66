//! What this machine has begun and not finished: told, and gone on with.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::blocking;
use crate::client::hosts::HostBook;
use crate::client::put::account;
use crate::client::{Put, Uploader};
use crate::error::{Error, ErrorKind};
use crate::events::Listener;
use crate::journal::header::{self, Target};
use crate::journal::index::{self, Entry};
use crate::uploader::Access;

/// An upload that was begun and not finished.
///
/// From [`Uploader::unfinished`], and from [`Uploader::shutdown`] for what was under way. What an
/// older haul began has no more in it than that haul knew.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// What [`Uploader::resume`] and [`Uploader::abort`] find it by: 40 hexadecimal digits, of which
    /// `haul uploads list` shows the first ones. None for one that is not remembered (data, a stream in
    /// memory, no state directory, nothing stored yet): it can only be made again.
    pub id: Option<String>,
    /// What [`Put::resume_id`] named it.
    pub resume_id: Option<String>,
    /// Where the object goes.
    pub bucket: String,
    /// Its key; none where the service names the object.
    pub key: Option<String>,
    /// The file it comes from, as an absolute path; of a spooled stream its file in the spool directory.
    /// None for data and for a stream in memory.
    pub source: Option<PathBuf>,
    /// Whether that file is still what it was.
    pub source_state: SourceState,
    /// Size of the source, in bytes; 0 for one that was not open yet, or whose length nobody said.
    pub size: u64,
    /// Bytes that need not be sent again, as far as the service still has them.
    pub safe_bytes: u64,
    /// When it was begun, to the second.
    pub begun: SystemTime,
    /// When the service drops the first of what it has. None where that is not known.
    pub expires: Option<SystemTime>,
    /// It is under way at this moment: here, in another task, or in another process. Only known of what
    /// is remembered.
    pub is_held: bool,
}

/// What a look at the source of an unfinished upload tells. Its bytes decide when it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceState {
    /// Size and time of the last change are those of then. So are bytes in memory.
    Unchanged,
    /// The size is that of then, the time is not.
    Touched,
    /// It has another size. What was stored of the same stretches may still be used.
    Resized,
    /// It is not there, or cannot be looked at.
    Missing,
}

impl SourceState {
    /// The word that JSON events carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Touched => "touched",
            Self::Resized => "resized",
            Self::Missing => "missing",
        }
    }

    /// Looks at the file that `source` tells of.
    pub(crate) fn of(source: &header::Source) -> Self {
        let path = source.path.to_path();
        let Some(Ok(metadata)) = path.map(std::fs::metadata) else {
            return Self::Missing;
        };
        if metadata.len() != source.size {
            return Self::Resized;
        }
        let mtime = metadata.modified().ok();
        let since = mtime.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let known = u64::try_from(source.mtime_ns).ok();
        match since == known.map(Duration::from_nanos) {
            true => Self::Unchanged,
            false => Self::Touched,
        }
    }
}

impl Unfinished {
    /// What a journal tells, and its source.
    pub(super) fn of(upload: &index::Unfinished) -> Self {
        let header = &upload.header;
        let target = &header.target;
        Self {
            id: Some(upload.identity.to_string()),
            resume_id: target.resume_id.clone().map(String::from),
            bucket: target.bucket.as_str().to_owned(),
            key: target.key.as_ref().map(|key| key.as_str().to_owned()),
            source: header.source.path.to_path(),
            source_state: SourceState::of(&header.source),
            size: header.source.size,
            safe_bytes: upload.checkpoint.safe_bytes(),
            begun: since_1970(header.created),
            expires: upload.checkpoint.first_expiry().map(since_1970),
            is_held: upload.holder.is_some(),
        }
    }
}

impl Uploader {
    /// The uploads of this uploader's service and access key that the state directory remembers, oldest
    /// first: what is under way now, too. A token provider is asked whose uploads these are.
    ///
    /// Empty without a state directory. What is there and cannot be read is passed over, which
    /// `haul uploads list` tells. Fails with [`ErrorKind::Local`] where the directory cannot be read.
    ///
    /// Orphans, upload ids that could not be given back, are given back on the way: the only requests
    /// that it sends, for 5 s at most. Files of the spool directory that nobody needs any more are removed.
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, Error> {
        let Some(state_dir) = self.inner.memory.state_dir.clone() else {
            return Ok(Vec::new());
        };
        let access = self.access(&Listener::default()).await?;
        self.give_back_for_a_while(&access).await;
        let home = self.home_of(&access)?;
        let spool_dir = self.inner.spool_dir.clone();
        let listing = blocking::spawn(move || {
            let entries = index::list(&state_dir).map_err(|why| local(why.to_string()))?;
            Self::sweep_spool(spool_dir, &entries);
            let ours = |entry: &Entry| match entry {
                Entry::Upload(upload) => {
                    let is_ours = home.is_of(&upload.header.target);
                    is_ours.then(|| Unfinished::of(upload))
                }
                odd => {
                    let what = odd.oddity().map(|(_, what)| what);
                    tracing::info!("passed over: {}", what.unwrap_or_default());
                    None
                }
            };
            Ok(entries.iter().filter_map(ours).collect())
        });
        listing.await.map_err(|why| local(why.to_string()))?
    }

    /// Goes on with the unfinished upload `id`, or the only one whose id begins so, from the file that it
    /// was begun with. Await the builder to run it.
    ///
    /// Type, file name, metadata, variables, [`Put::insert_only`] and [`Put::keep_last_modified`] are what
    /// they were, as far as the builder does not say otherwise: what is given once replaces all that was
    /// given of its kind. How it was to travel (hosts, protocol, window, deadlines) is not remembered: say it
    /// again. Nor are a [policy](Put::policy) or [token](Put::upload_token) of the upload's own, and
    /// variables with which names and values came to more than 5 KiB (where they do without them, file
    /// name and type): these must be given again, else it fails with [`ErrorKind::Usage`], and makes no
    /// object that is another than was asked for.
    ///
    /// A token provider is asked once more than by another upload: whose uploads these are.
    ///
    /// Fails with [`ErrorKind::Config`] without a state directory, with [`ErrorKind::Usage`] where this
    /// uploader's service and access key have no such upload,
    /// with [`ErrorKind::Held`] while it is under way, with [`ErrorKind::Source`] when the file is gone, and
    /// like any upload. A file that has other bytes by now is uploaded as it is now: what was stored is
    /// compared, and sent anew where it differs; [`Unfinished::source_state`] tells before.
    pub fn resume(&self, id: impl Into<String>) -> Put {
        Put::unfinished(self.clone(), id.into())
    }

    /// What the state directory has of the upload whose id begins with `id`; an error where that is none of
    /// ours.
    pub(super) async fn remembered(
        &self,
        id: &str,
        home: Home,
    ) -> Result<index::Unfinished, Error> {
        let usage = |what: String| Error::new(ErrorKind::Usage, what);
        let Some(state_dir) = self.inner.memory.state_dir.clone() else {
            return Err(
                Error::new(ErrorKind::Config, "there is no state directory").next("name one")
            );
        };
        let prefix = id.to_owned();
        let looking = blocking::spawn(move || look(&state_dir, &prefix));
        let found = looking.await.map_err(|why| local(why.to_string()))?;
        match found.map_err(usage)? {
            Entry::Upload(upload) if home.is_of(&upload.header.target) => Ok(*upload),
            Entry::Upload(_) => {
                let what = format!("{id} goes to another service or account");
                let next = "use the endpoint and the keys that it was begun with";
                Err(usage(what).next(next))
            }
            odd => Err(usage(
                odd.oddity().map(|(_, what)| what).unwrap_or_default(),
            )),
        }
    }

    /// Where this uploader's uploads go, by service and by account.
    pub(super) async fn home(&self) -> Result<Home, Error> {
        self.home_of(&self.access(&Listener::default()).await?)
    }

    /// The same for who has this access.
    pub(super) fn home_of(&self, access: &Access) -> Result<Home, Error> {
        self.home_at(access, &self.inner.hosts)
    }

    /// The same for uploads to other hosts.
    pub(super) fn home_at(&self, access: &Access, hosts: &HostBook) -> Result<Home, Error> {
        let access_key = account(access)?;
        Ok(Home {
            store: self.inner.memory.store(hosts),
            access_key: access_key.as_str().to_owned(),
        })
    }
}

/// A service and an account there.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) store: String,
    pub(super) access_key: String,
}

impl Home {
    /// Whether `target` is there.
    pub(super) fn is_of(&self, target: &Target) -> bool {
        self.store == target.store && self.access_key == target.access_key
    }
}

/// The one entry whose identity begins with `prefix`.
pub(crate) fn look(state_dir: &Path, prefix: &str) -> Result<Entry, String> {
    let identity = index::find(state_dir, prefix).map_err(|why| why.to_string())?;
    let entry = index::look(state_dir, identity);
    entry.ok_or_else(|| format!("{identity} has just been finished"))
}

/// A moment of whole seconds; the last one there is for what no clock can show.
fn since_1970(seconds: u64) -> SystemTime {
    let since = Duration::from_secs(seconds.min(u64::from(u32::MAX)));
    UNIX_EPOCH + since
}

/// The error of this machine's own trouble.
pub(super) fn local(message: String) -> Error {
    Error::new(ErrorKind::Local, message)
}
