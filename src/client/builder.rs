//! Setting up an [`Uploader`].

pub(super) mod network;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::api::{Api, CallLimits};
use crate::client::abort::Rounds;
use crate::client::hosts::{HostBook, HostSettings};
use crate::client::line_book::LineBook;
use crate::client::memory::Memory;
use crate::client::secret::Secret;
use crate::client::settings::Settings;
use crate::client::spool::without_state;
use crate::client::stream::{STREAM_MEMORY, STREAM_MEMORY_MAX, STREAM_MEMORY_MIN};
use crate::client::times::{TIME_LIMIT_MIN, check};
use crate::client::{Inner, Uploader};
use crate::error::{Error, ErrorKind};
use crate::kodo::region::QUERY_HOSTS;
use crate::kodo::{AccessKey, Credentials, SecretKey};
use crate::model::Endpoint;
#[cfg(feature = "cli")]
use crate::network::Proxies;
use crate::network::TlsSetup;
use crate::source::Budget;
use crate::transport::{CongestionControl, Internet, Transport};
use crate::uploader::{Line, Protocol, TokenProvider};

/// How long a host may take to accept a connection, unless set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sets up an [`Uploader`]. Values are checked by [`build`](Self::build).
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is made before build()"]
pub struct UploaderBuilder {
    access_key: Option<String>,
    secret_key: Option<Secret>,
    token: Option<Secret>,
    provider: Option<TokenProvider>,
    endpoints: Vec<String>,
    rs_url: Option<String>,
    uc_urls: Vec<String>,
    stream_memory: Option<u64>,
    spool_dir: Option<PathBuf>,
    limit_rate: Option<u64>,
    connect_timeout: Option<Duration>,
    settings: Settings,
    proxy: Option<Secret>,
    no_proxy: Option<String>,
    proxy_variables: Vec<(OsString, Secret)>,
    /// Those that the caller has worked out already.
    #[cfg(feature = "cli")]
    proxies: Option<Proxies>,
    tls: TlsSetup,
    congestion_control: CongestionControl,
    state_dir: Option<PathBuf>,
    store_name: Option<String>,
    require_resume: bool,
    #[cfg(test)]
    pub(super) seed: Option<u64>,
}

impl UploaderBuilder {
    /// The account's keys: they sign a fresh upload token for every request. A token lives an hour, or
    /// three times what the upload needs at 64 kbit/s, unless its put policy says otherwise. One that
    /// cannot be a key is an error of [`build`](Self::build), which does not repeat it.
    pub fn credentials(
        mut self,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
    ) -> Self {
        self.access_key = Some(access_key.into());
        self.secret_key = Some(Secret::new(secret_key));
        self
    }

    /// A ready upload token, in place of keys. With both, uploads use the token and the other calls
    /// the keys.
    pub fn upload_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret::new(token));
        self
    }

    /// Somebody who signs upload tokens when asked, in place of keys: the secret key may live on
    /// another machine.
    ///
    /// Asked once for each upload; again five minutes before its token ends, or at half of a shorter life,
    /// while what is under way goes on; and when the service refuses a token. All of an upload's tokens
    /// must be for the same bucket and policy. [`Uploader::unfinished`], [`Uploader::resume`] and
    /// [`Uploader::abort`] ask it whose uploads these are. Each answer may take as long as the
    /// [`response_timeout`](Self::response_timeout); one that does not come, is an error, panics or is
    /// no token is asked for again, five times in all over some seconds, within the
    /// [`retry_budget`](Self::retry_budget). An error's text reaches events and the upload's error, so
    /// it must hold nothing secret. It must not block its thread.
    pub fn token_provider<F, Answer, Failed>(mut self, ask: F) -> Self
    where
        F: Fn() -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Result<String, Failed>> + Send + 'static,
        Failed: std::fmt::Display,
    {
        self.provider = Some(TokenProvider::new(move || {
            let answer = ask();
            Box::pin(async move { answer.await.map_err(|failed| failed.to_string()) })
        }));
        self
    }

    /// An upload host, in place of the bucket's own: `https://host`, `http://host:port`. Several
    /// calls name several, tried in this order when one cannot be reached.
    ///
    /// Management calls then go to them too and nowhere else, unless [`rs_url`](Self::rs_url) is set.
    /// When one of them says that the bucket lives elsewhere, the upload goes there, and says so.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoints.push(url.into());
        self
    }

    /// The management host, in place of the bucket's own.
    pub fn rs_url(mut self, url: impl Into<String>) -> Self {
        self.rs_url = Some(url.into());
        self
    }

    /// A host that says where a bucket lives, in place of the public ones. Several calls name
    /// several, asked in this order. Bare host names they answer with inherit the first one's scheme.
    pub fn uc_url(mut self, url: impl Into<String>) -> Self {
        self.uc_urls.push(url.into());
        self
    }

    /// How files above the threshold travel.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.settings.protocol = Some(protocol);
        self
    }

    /// Largest file that goes in one request, in bytes. Without this: 1 MiB, on a line that is known what
    /// it carries in 10 s, at most 8 MiB.
    pub fn threshold(mut self, len: u64) -> Self {
        self.settings.threshold = Some(len);
        self
    }

    /// Size of the parts of a v2 upload, in bytes: 1 MiB to 1 GiB, 4 MiB unless set. Raised when
    /// 10 000 parts would not hold the file.
    pub fn part_size(mut self, len: u64) -> Self {
        self.settings.part_len = Some(len);
        self
    }

    /// Most bytes that all uploads of this uploader and its clones send in a second, at least 1; no limit
    /// unless set. [`Uploader::set_limit_rate`] changes it at any time, and says what is counted.
    pub fn limit_rate(mut self, bytes_per_s: u64) -> Self {
        self.limit_rate = Some(bytes_per_s);
        self
    }

    /// How long a host may take to accept a connection, and again for TLS; 10 s unless set, at least
    /// 10 ms.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// How long the other end may acknowledge nothing while bytes are on their way; 30 s unless set,
    /// at least 1 s. Then the connection is closed and the segment goes again on a fresh one.
    ///
    /// Honest silences of 18 s were measured on a line of 64 kbit/s: less than 20 s is for fast lines.
    pub fn stall_timeout(mut self, limit: Duration) -> Self {
        self.settings.stall_timeout = Some(limit);
        self
    }

    /// The slowest pace that is still one, in bytes a second over a minute; 256 unless set, and 0 for
    /// none. It ends a connection that trickles while no silence is long enough for the stall timeout.
    pub fn min_rate(mut self, bytes_per_s: u64) -> Self {
        self.settings.min_rate = Some(bytes_per_s);
        self
    }

    /// How long an answer may take once its request was acknowledged whole; 60 s unless set, at least
    /// 10 ms. Calls next to uploading (stat, list, delete, the bucket query) take it too; their
    /// connection's time is added.
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.settings.response_timeout = Some(limit);
        self
    }

    /// The same for the last request of an upload; 300 s unless set, at least 10 ms.
    pub fn commit_timeout(mut self, limit: Duration) -> Self {
        self.settings.commit_timeout = Some(limit);
        self
    }

    /// Lanes that each upload has in flight at once, 1 to 16. Without this as many as the line is worth,
    /// over all uploads of this uploader and its clones, which have their turns in order.
    pub fn window(mut self, lanes: usize) -> Self {
        self.settings.window = Some(lanes);
        self
    }

    /// Memory for the bytes of all streams of this uploader and its clones together, in bytes; 128 MiB
    /// unless set, at least 8 MiB and less than 4 GiB. Streams wait for it, block by block, the first one
    /// first. It must hold two blocks of v1 (4 MiB), or two parts: else streams are refused
    /// ([`ErrorKind::Config`]). What was used once is kept for later streams; see
    /// [`guide::guarantees`](crate::guide::guarantees#memory).
    pub fn stream_memory(mut self, bytes: u64) -> Self {
        self.stream_memory = Some(bytes);
        self
    }

    /// Where streams ([`Uploader::put_stream`], [`Uploader::put_reader`]) are written before they are sent:
    /// then they can be resumed like files, and need no memory but for what is being written. Needs
    /// [`state_dir`](Self::state_dir), and room for all streams at once.
    ///
    /// Sending begins when a stream has been written whole; one of at most 256 KiB is not written. Its
    /// file is removed when the upload is done, given up, or was never remembered;
    /// [`Uploader::unfinished`] also removes what nobody needs any more. A second stream to the same key, with
    /// the same [`resume_id`](crate::Put::resume_id), is refused while the first is under way
    /// ([`ErrorKind::Held`]). The directory is made for its
    /// owner only, and is not to be shared with other uploaders or other files.
    pub fn spool_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spool_dir = Some(dir.into());
        self
    }

    /// Failed attempts in a row that one segment may have; 0, the default, counts none.
    pub fn part_attempts(mut self, attempts: u32) -> Self {
        self.settings.part_attempts = Some(attempts);
        self
    }

    /// A hard limit for one attempt at a segment, from its connection on. Slow is not dead: a limit
    /// that is too short for the line ends every attempt. At least 10 ms.
    ///
    /// Without it, an attempt ends when the line has carried eight times its bytes for each connection
    /// while this one did not get them across, and not before a minute.
    pub fn part_timeout(mut self, limit: Duration) -> Self {
        self.settings.part_timeout = Some(limit);
        self
    }

    /// How long to go on without anything being acknowledged; 15 min unless set, at least 10 ms. A
    /// service that asks for a longer wait than is left of it (`Retry-After`) ends the upload at once.
    pub fn retry_budget(mut self, limit: Duration) -> Self {
        self.settings.retry_budget = Some(limit);
        self
    }

    /// Where unfinished uploads are remembered: with it, the same call after a crash goes on where
    /// it was. Without it, nothing is kept. So are the hosts of buckets, what the line carried, and upload
    /// ids to give back. Several processes may share it; an upload is one's at a time
    /// ([`ErrorKind::Held`]).
    ///
    /// Made if it is not there, for its owner only. Nothing secret is ever written there.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// What the state directory calls the service, where its address changes from run to run. Without
    /// it: the first endpoint, else the host that says where buckets live.
    pub fn store_name(mut self, name: impl Into<String>) -> Self {
        self.store_name = Some(name.into());
        self
    }

    /// Fails before anything is sent when the upload could not be resumed: no state directory
    /// ([`ErrorKind::Config`]), one that cannot be written ([`ErrorKind::Local`]), or a stream without a
    /// [`spool_dir`](Self::spool_dir) that does not end with its first block ([`ErrorKind::Config`]).
    /// Without this it is said, and the upload goes on. Data ([`Uploader::put_data`]) is never
    /// remembered, and not refused.
    pub fn require_resume(mut self) -> Self {
        self.require_resume = true;
        self
    }

    /// Waits out outages of any length: while nobody can be reached, an upload goes on trying, however
    /// long that takes, also before its first byte. Then no other region stands in for the bucket's own,
    /// and a mistyped host's name is waited for as well. Stopping works at any time.
    pub fn wait_online(mut self) -> Self {
        self.settings.wait_online = Some(true);
        self
    }

    /// Checks everything and makes the uploader. Sends nothing, and writes nothing. A value that cannot be
    /// is an error of kind [`ErrorKind::Config`]; so is a CA file that cannot be read.
    pub fn build(self) -> Result<Uploader, Error> {
        self.check_spool()?;
        let connect_timeout = self.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        check([("connect_timeout", Some(connect_timeout), TIME_LIMIT_MIN)])?;
        self.settings.check()?;
        let proxies = self.chosen_proxies()?;
        let tls = self.tls.client_config();
        let tls = tls.map_err(|failure| config(failure.message))?;
        let patience = self.settings.limits();
        let transport = Transport::new(Arc::new(Internet::new(
            Arc::new(tls.clone()),
            proxies.clone(),
            connect_timeout,
            patience.stall_timeout,
            self.congestion_control,
        )));
        let limits = CallLimits {
            connect_timeout,
            response_timeout: patience.response_timeout,
        };
        self.over(transport, Api::new(tls, proxies, limits))
    }

    /// The uploader over these two planes.
    pub(super) fn over(self, transport: Transport, api: Api) -> Result<Uploader, Error> {
        self.settings.check()?;
        let token = self.token.as_ref().map(Secret::as_token).transpose()?;
        let limits = self.settings.limits();
        let uploader = Uploader {
            inner: Arc::new(Inner {
                memory: Memory {
                    state_dir: self.state_dir.clone(),
                    store_name: self.store_name.clone(),
                    required: self.require_resume,
                },
                duty: Arc::default(),
                rounds: Rounds::default(),
                credentials: self.keys()?,
                token,
                provider: self.provider.clone().map(|it| it.within(&limits)),
                transport,
                line: Line::new(self.settings.window.is_some()),
                line_book: LineBook::new(self.state_dir.as_deref()),
                api,
                hosts: Arc::new(self.host_book()?),
                settings: self.settings.clone(),
                congestion_control: self.congestion_control,
                stream_memory: self.stream_budget()?,
                spool_dir: self.spool_dir.clone(),
                #[cfg(test)]
                seed: self.seed,
            }),
        };
        uploader.set_limit_rate(self.limit_rate)?;
        Ok(uploader)
    }

    fn keys(&self) -> Result<Option<Credentials>, Error> {
        let (Some(access_key), Some(Secret(secret_key))) = (&self.access_key, &self.secret_key)
        else {
            return Ok(None);
        };
        let access_key = AccessKey::new(access_key.as_str()).map_err(wrong)?;
        let secret_key = SecretKey::new(secret_key.as_str()).map_err(wrong)?;
        Ok(Some(Credentials::new(access_key, secret_key)))
    }

    fn check_spool(&self) -> Result<(), Error> {
        match (&self.spool_dir, &self.state_dir) {
            (Some(_), None) => Err(without_state()),
            _ => Ok(()),
        }
    }

    fn stream_budget(&self) -> Result<Budget, Error> {
        let bytes = self.stream_memory.unwrap_or(STREAM_MEMORY);
        if !(STREAM_MEMORY_MIN..=STREAM_MEMORY_MAX).contains(&bytes) {
            return Err(config(format!(
                "a stream memory of {bytes} bytes is not from {STREAM_MEMORY_MIN} to {STREAM_MEMORY_MAX}"
            )));
        }
        Ok(Budget::new(bytes))
    }

    fn host_book(&self) -> Result<HostBook, Error> {
        let parse = |url: &String| Endpoint::parse(url, true);
        let endpoints = self
            .endpoints
            .iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        let mut uc_urls = self
            .uc_urls
            .iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        if uc_urls.is_empty() {
            let public = QUERY_HOSTS.iter().map(|host| Endpoint::parse(host, true));
            uc_urls = public.collect::<Result<Vec<_>, _>>()?;
        }
        let rs_url = self.rs_url.as_ref().map(parse).transpose()?;
        let settings = HostSettings {
            endpoints,
            rs_url,
            uc_urls,
            state_dir: self.state_dir.clone(),
        };
        Ok(HostBook::new(settings))
    }
}

/// The error of a value that cannot be.
fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

/// The same, from the value's own error.
fn wrong(error: impl std::fmt::Display) -> Error {
    config(error.to_string())
}

#[cfg(test)]
mod tests;
