//! What a program calls: [`Uploader`], its builder, and the builders of its uploads.

mod abort;
mod builder;
mod course;
mod hosts;
mod kept;
mod line_book;
mod memory;
mod policy;
mod put;
mod secret;
mod settings;
mod shutdown;
mod spool;
mod stream;
#[cfg(test)]
#[cfg(feature = "devserver")]
mod tests;
mod times;
mod unfinished;
mod vigil;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;

pub use abort::Aborted;
#[cfg(feature = "cli")]
pub(crate) use abort::forget;
pub use builder::UploaderBuilder;
pub use policy::{FileType, PutPolicy};
pub use put::{Done, Put, Report, Verified};
#[cfg(feature = "cli")]
pub(crate) use times::{STALL_TIMEOUT_MIN, TIME_LIMIT_MIN};
#[cfg(feature = "cli")]
pub(crate) use unfinished::look;
pub use unfinished::{SourceState, Unfinished};

use crate::api::Api;
use crate::client::abort::Rounds;
use crate::client::hosts::{BucketHosts, HostBook, Inquiry, Persistence};
use crate::client::line_book::LineBook;
use crate::client::memory::Memory;
use crate::client::put::What;
use crate::client::settings::Settings;
use crate::client::shutdown::Duty;
use crate::clock;
use crate::engine::retry;
use crate::error::{Error, ErrorKind};
use crate::events::Listener;
use crate::kodo::manage::{self, ListPage, ListQuery, ObjectInfo, PAGE_LEN_MAX};
use crate::kodo::{Credentials, UploadToken};
use crate::model::{Answer, Bucket, Endpoint, Failure, FailureKind, ObjectKey, Request};
use crate::source::Budget;
use crate::transport::{CongestionControl, Transport};
use crate::uploader::asking::{self, Turn};
use crate::uploader::{Access, Held, Line, TokenProvider};

/// Uploads files into Kodo, and asks about what is there.
///
/// Cheap to clone; clones share connections, memory, the line and the end ([`shutdown`](Self::shutdown)). It
/// needs a Tokio runtime around its calls, and makes none. Uploads are `Send + 'static`; the futures of
/// the other calls borrow the uploader, and are `Send`: move a clone into the task with them. All may be
/// dropped at any time, which stops their work.
///
/// ```no_run
/// # async fn example() -> Result<(), haul::Error> {
/// let uploader = haul::Uploader::builder()
///     .credentials("access key", "secret key")
///     .build()?;
/// let done = uploader
///     .put_file("my-bucket", "2026/report.pdf", "report.pdf")
///     .mime_type("application/pdf")
///     .await?;
/// println!("{} {}", done.hash, done.size);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Uploader {
    inner: Arc<Inner>,
}

/// What clones share.
#[derive(Debug)]
struct Inner {
    credentials: Option<Credentials>,
    token: Option<UploadToken>,
    provider: Option<TokenProvider>,
    transport: Transport,
    line: Line,
    line_book: LineBook,
    api: Api,
    hosts: Arc<HostBook>,
    settings: Settings,
    congestion_control: CongestionControl,
    stream_memory: Budget,
    /// Where streams are written first, if anywhere.
    spool_dir: Option<PathBuf>,
    memory: Memory,
    duty: Arc<Duty>,
    rounds: Rounds,
    /// Seed of all chance, where a test must be repeatable.
    #[cfg(test)]
    seed: Option<u64>,
}

impl Uploader {
    /// An uploader to be set up.
    pub fn builder() -> UploaderBuilder {
        UploaderBuilder::default()
    }

    /// Uploads the file at `path` to `bucket` under `key`. Await the builder to run it.
    ///
    /// A regular file of any size, an empty one too; symbolic links are followed. The key has at most
    /// 750 bytes and is taken literally; [`Put::no_key`] leaves it to the service. An object that is there is
    /// replaced, unless [`Put::insert_only`] forbids it.
    ///
    /// The file is opened once, and watched: one that changes makes no object
    /// ([`ErrorKind::SourceChanged`]); one that is not there, cannot be read or is no regular file is
    /// [`ErrorKind::Source`]. With a [`state_dir`](UploaderBuilder::state_dir) the same call goes on where
    /// an earlier one stopped.
    pub fn put_file(
        &self,
        bucket: impl Into<String>,
        key: impl Into<String>,
        path: impl Into<PathBuf>,
    ) -> Put {
        Put::new(
            self.clone(),
            bucket.into(),
            key.into(),
            What::File(path.into()),
        )
    }

    /// Uploads `data` to `bucket` under `key`. Await the builder to run it.
    ///
    /// Any number of bytes, none too. They are held until the upload ends; clones of [`Bytes`] cost
    /// nothing. Unlike a file, data is not remembered in the state directory: it would not be there after a
    /// crash.
    pub fn put_data(
        &self,
        bucket: impl Into<String>,
        key: impl Into<String>,
        data: impl Into<Bytes>,
    ) -> Put {
        Put::new(
            self.clone(),
            bucket.into(),
            key.into(),
            What::Data(data.into()),
        )
    }

    /// Sets the most bytes that all uploads of this uploader and its clones send in a second, all lanes
    /// together; None for no limit. It holds at once, also for what is under way.
    ///
    /// What counts are the requests to upload hosts, heads and bodies; TLS and TCP add a few per cent of
    /// their own. Any limit from 1 byte a second on is kept evenly, in pieces of a few packets at most,
    /// and waiting for it never counts for a timeout. 0 is an error, of kind [`ErrorKind::Config`],
    /// and changes nothing: one that was computed should neither stop everything nor let it loose.
    pub fn set_limit_rate(&self, bytes_per_s: Option<u64>) -> Result<(), Error> {
        if bytes_per_s == Some(0) {
            let message = "a limit of 0 bytes a second would stop everything";
            return Err(Error::new(ErrorKind::Config, message).next("leave it out for no limit"));
        }
        let limiter = self.inner.transport.limiter();
        limiter.set_rate(bytes_per_s, clock::instant());
        Ok(())
    }

    /// The limit that [`set_limit_rate`](Self::set_limit_rate) sets, in bytes a second; None for none.
    #[must_use]
    pub fn limit_rate(&self) -> Option<u64> {
        self.inner.transport.limiter().rate()
    }

    /// What the service tells of an object. Needs the keys ([`ErrorKind::Config`] without them).
    ///
    /// Without such an object it fails with [`ErrorKind::NoSuchObject`]. Every management host is
    /// asked before it fails.
    pub async fn stat(
        &self,
        bucket: impl Into<String>,
        key: impl Into<String>,
    ) -> Result<ObjectInfo, Error> {
        let (bucket, key) = (Bucket::new(bucket)?, ObjectKey::new(key)?);
        let doing = format!("stat `{key}` in `{bucket}`");
        let call = Call {
            request: manage::stat(&bucket, &key, false),
            turn: Turn::Beside,
            doing: &doing,
        };
        let hosts = self.managers(&bucket, &doing).await?.rs;
        self.manage(&hosts, call, ObjectInfo::read).await
    }

    /// Removes an object. Needs the keys.
    ///
    /// Without such an object it fails with [`ErrorKind::NoSuchObject`]. Where a call was broken off, or
    /// a gateway answered it, the next host is asked; when that one has no such object, it is
    /// removed: by the first call, or it was not there. In both cases it is not there now. A host that
    /// takes the call and is silent is waited for, as long as the settings say.
    pub async fn delete(
        &self,
        bucket: impl Into<String>,
        key: impl Into<String>,
    ) -> Result<(), Error> {
        let (bucket, key) = (Bucket::new(bucket)?, ObjectKey::new(key)?);
        let doing = format!("remove `{key}` from `{bucket}`");
        let call = Call {
            request: manage::delete(&bucket, &key),
            // A call that waits somewhere could remove an object that is put there meanwhile.
            turn: Turn::After,
            doing: &doing,
        };
        let may_be_done = AtomicBool::new(false);
        let read = |answer: &Answer, now| match manage::deleted(answer, now) {
            Err(failure)
                if failure.kind == FailureKind::NoSuchObject
                    && may_be_done.load(Ordering::Relaxed) =>
            {
                Ok(())
            }
            other => other,
        };
        let hosts = self.managers(&bucket, &doing).await?.rs;
        let note = |failure: &Failure| {
            let may_be = retry::may_have_happened(failure);
            may_be_done.fetch_or(may_be, Ordering::Relaxed);
        };
        self.manage_noting(&hosts, call, read, note).await
    }

    /// One page of a bucket's objects whose keys begin with `prefix`, in the byte order of the keys.
    /// Needs the keys.
    ///
    /// `marker` is where to go on: None for the first page, then [`ListPage::next`] of the one
    /// before. A page has at most 1000 objects, and may be empty without being the last.
    pub async fn list(
        &self,
        bucket: impl Into<String>,
        prefix: &str,
        marker: Option<&str>,
    ) -> Result<ListPage, Error> {
        let bucket = Bucket::new(bucket)?;
        let query = ListQuery {
            prefix,
            delimiter: "",
            marker: marker.unwrap_or_default(),
            limit: PAGE_LEN_MAX,
            with_parts: false,
        };
        let doing = format!("list `{bucket}`");
        let call = Call {
            request: query.request(&bucket),
            turn: Turn::Beside,
            doing: &doing,
        };
        let hosts = self.managers(&bucket, &doing).await?.rsf;
        self.manage(&hosts, call, ListPage::read).await
    }

    /// By what right an upload is made: a provider goes before a ready token, and that before keys.
    /// A provider that has to be asked again is told to `listener`.
    async fn access(&self, listener: &Listener) -> Result<Access, Error> {
        let inner = &self.inner;
        if let Some(provider) = &inner.provider {
            let first = provider.token(|event| listener.tell(event)).await?;
            let held = Held::new(first, clock::unix_seconds(clock::wall()));
            return Ok(Access::Provider(provider.clone(), Arc::new(held)));
        }
        match (&inner.token, &inner.credentials) {
            (Some(token), _) => Ok(Access::Token(Box::new(token.clone()))),
            (None, Some(credentials)) => Ok(Access::Keys(credentials.clone())),
            (None, None) => Err(no_keys("upload")),
        }
    }

    /// The hosts that manage the objects of `bucket`.
    async fn managers(&self, bucket: &Bucket, doing: &str) -> Result<BucketHosts, Error> {
        let inner = &self.inner;
        let Some(credentials) = &inner.credentials else {
            return Err(no_keys(doing));
        };
        let inquiry = Inquiry {
            api: &inner.api,
            access_key: &credentials.access_key,
            bucket,
            persistence: Persistence::Once,
            listener: &Listener::default(),
            seed: 0,
        };
        inner.hosts.find_management(&inquiry).await
    }

    /// Signs a call and sends it to one of `hosts`; `read` makes sense of an answer.
    async fn manage<T>(
        &self,
        hosts: &[Endpoint],
        call: Call<'_>,
        read: impl Fn(&Answer, SystemTime) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        self.manage_noting(hosts, call, read, |_| ()).await
    }

    /// The same; `note` sees the failure of every host.
    async fn manage_noting<T>(
        &self,
        hosts: &[Endpoint],
        call: Call<'_>,
        read: impl Fn(&Answer, SystemTime) -> Result<T, Failure>,
        note: impl Fn(&Failure),
    ) -> Result<T, Error> {
        let inner = &self.inner;
        let Some(credentials) = &inner.credentials else {
            return Err(no_keys(call.doing));
        };
        if hosts.is_empty() {
            let what = format!("could not {}: no management host is known", call.doing);
            return Err(Error::new(ErrorKind::Config, what).next("set rs_url"));
        }
        let one = async |host: &Endpoint| {
            // Without a time in the signature: a wrong clock here is far more common than somebody
            // who repeats a call from inside its TLS connection.
            let signed = manage::signed(call.request.clone(), credentials, host, None);
            let answer = inner.api.send(host, signed).await;
            let read = answer.and_then(|answer| read(&answer, clock::wall()));
            read.inspect_err(&note)
        };
        let answer = asking::ask(hosts, call.turn, one).await;
        answer.map_err(|failure| Error::from_failure(call.doing, failure))
    }
}

/// A management call.
struct Call<'a> {
    request: Request,
    turn: Turn,
    /// Completes "could not …".
    doing: &'a str,
}

/// The error of a call that needs keys where there are none.
fn no_keys(doing: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("could not {doing}: there are no keys"),
    )
    .next("set an access key and a secret key (HAUL_ACCESS_KEY, HAUL_SECRET_KEY)")
}
