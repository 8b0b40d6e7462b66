//! The server as a whole: built, started, watched, stopped.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rand::Rng as _;
#[cfg(test)]
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::blocking;
use crate::clock;
use crate::devserver::accept::{Door, attend};
use crate::devserver::counters::{Counters, Requests};
use crate::devserver::exchange::Operation;
use crate::devserver::faults::effects::holds_bodies_up;
use crate::devserver::faults::{FaultPlan, FaultPlanError, Faults, HostState};
use crate::devserver::link::Line;
use crate::devserver::pipeline::RequestId;
use crate::devserver::rate::Rate;
use crate::devserver::service::Service;
use crate::devserver::socket::SMALL_BUFFER_LEN;
#[cfg(test)]
use crate::devserver::socket::Socket;
use crate::devserver::store::{KeyPair, Place, Store, key_pair};
#[cfg(test)]
use crate::devserver::within;
use crate::kodo::encode::b64u;
use crate::kodo::{AccessKey, Credentials, SecretKey};
use crate::model::Bucket;

/// How long requests under way may take to end when the server stops: enough for an answer that is
/// being sent. Who stops a dev server does not want to wait for uploads, and the store survives worse.
const GRACE: Duration = Duration::from_secs(1);

/// Where a server listens if it is not told: this machine only, any free port.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running Kodo-compatible server.
///
/// It serves on the caller's Tokio runtime until [`stop`](Self::stop) or until it is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use haul::devserver::{DevServer, Fault, FaultPlan, Moment, Operation};
///
/// let server = DevServer::builder()
///     .faults(FaultPlan {
///         faults: vec![Fault {
///             operation: vec![Operation::Part],
///             nth: vec![2],
///             reset: Some(Moment::AfterBodyBytes(100_000)),
///             ..Fault::default()
///         }],
///         ..FaultPlan::default()
///     })
///     .start()
///     .await?;
/// assert!(server.url().starts_with("http://127.0.0.1:"));
/// // … upload to it …
/// assert_eq!(server.requests().of(Operation::Part).requests, 0);
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct DevServer {
    pub(crate) shared: Arc<Shared>,
    /// One task per listen address; dropping them drops everything they serve.
    hosts: JoinSet<()>,
    urls: Vec<String>,
    credentials: Credentials,
    /// Ways in from within the process, one per host.
    #[cfg(test)]
    pub(crate) ways_in: Vec<mpsc::UnboundedSender<Socket>>,
}

/// How a [`DevServer`] is to be.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct DevServerBuilder {
    place: Option<Place>,
    listen: Vec<SocketAddr>,
    credentials: Option<Credentials>,
    buckets: Option<Vec<Bucket>>,
    rate: Option<Rate>,
    latency: Duration,
    faults: FaultPlan,
    #[cfg(test)]
    pub(crate) within: Vec<String>,
    #[cfg(test)]
    pub(crate) store: Option<Store>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) service: Service,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
    pub(crate) line: Line,
    request_ids: RequestIds,
    stopping: watch::Sender<bool>,
    #[cfg(test)]
    pub(crate) log: within::Log,
}

impl DevServer {
    /// A server in memory on a free port of this machine, with keys of its own, any bucket, no faults.
    pub fn builder() -> DevServerBuilder {
        DevServerBuilder::default()
    }

    /// The first listen address as `http://host:port`.
    pub fn url(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }

    /// All listen addresses, in the order they were given: the hosts that the region query names.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The only key pair it knows.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The fault plan it follows, and the answers it holds.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What it has seen so far.
    pub fn requests(&self) -> Requests {
        self.shared.counters.seen()
    }

    /// Lets no one in, lets requests under way end for up to 1 s, closes everything.
    ///
    /// Answers that are held or that will never come are given up at once.
    pub async fn stop(mut self) {
        self.shared.stopping.send_replace(true);
        let all = async { while self.hosts.join_next().await.is_some() {} };
        if timeout(GRACE, all).await.is_err() {
            tracing::warn!("requests were still under way after {GRACE:?}; they are cut off");
        }
    }
}

impl DevServerBuilder {
    /// Keeps what it is sent there. Default: [`Place::Memory`].
    pub fn place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Listens there too; port 0 is any free one. Several addresses act as several hosts of one
    /// region. Default: one free port of `127.0.0.1`.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen.push(address);
        self
    }

    /// Listens on `count` free ports of `127.0.0.1`, beside the addresses given.
    pub fn hosts(mut self, count: usize) -> Self {
        self.listen
            .extend(std::iter::repeat_n(LISTEN_DEFAULT, count));
        self
    }

    /// Knows this key pair instead of one of its own, which is made once and kept under the root of a
    /// [`Place::Disk`], and made anew for each server elsewhere.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Has these buckets only; any other is 631. Default: any bucket exists.
    pub fn buckets(mut self, buckets: impl IntoIterator<Item = Bucket>) -> Self {
        self.buckets = Some(buckets.into_iter().collect());
        self
    }

    /// Stands behind a line of this rate, in each direction, for all connections together.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Stands at the end of a line with this round-trip time.
    pub fn latency(mut self, round_trip: Duration) -> Self {
        self.latency = round_trip;
        self
    }

    /// Follows this plan from the start.
    pub fn faults(mut self, plan: FaultPlan) -> Self {
        self.faults = plan;
        self
    }

    /// Binds its addresses and serves.
    ///
    /// Must be called within a Tokio runtime with I/O and time.
    pub async fn start(self) -> Result<DevServer, DevServerError> {
        self.faults.check()?;
        let line = Line::new(self.rate, self.latency);
        // A buffer made small later does not take back what the kernel has promised to take by then.
        let unread_max = holds_bodies_up(&self.faults).then_some(SMALL_BUFFER_LEN);
        let doors = self.doors(line.buffer_len().or(unread_max))?;
        let hosts: Vec<String> = doors.iter().map(|door| authority(door.address())).collect();
        #[cfg(test)]
        let (doors, hosts, ways_in) = within::doors(doors, hosts, &self.within);
        let place = self.place.unwrap_or(Place::Memory);
        let (store, credentials) = open(place, self.credentials).await?;
        #[cfg(test)]
        let store = self.store.unwrap_or(store);
        let shared = Arc::new(Shared {
            service: Service::new(store, credentials.clone(), self.buckets, hosts.clone()),
            faults: Faults::new(self.faults, hosts.len()),
            counters: Counters::default(),
            line,
            request_ids: RequestIds::default(),
            stopping: watch::Sender::new(false),
            #[cfg(test)]
            log: within::Log::default(),
        });
        let mut tasks = JoinSet::new();
        for (host, door) in doors.into_iter().enumerate() {
            tasks.spawn(attend(Arc::clone(&shared), host, door));
        }
        Ok(DevServer {
            shared,
            hosts: tasks,
            urls: hosts.iter().map(|host| format!("http://{host}")).collect(),
            credentials,
            #[cfg(test)]
            ways_in,
        })
    }

    /// All ports bound, and those that are not dead open: who has the URL can connect.
    fn doors(&self, buffer_len: Option<usize>) -> Result<Vec<Door>, DevServerError> {
        #[cfg(test)]
        if !self.within.is_empty() {
            self.faults.check_hosts(self.within.len())?;
            return Ok(Vec::new());
        }
        let addresses = match self.listen.as_slice() {
            [] => &[LISTEN_DEFAULT],
            given => given,
        };
        self.faults.check_hosts(addresses.len())?;
        let open = |(host, address): (usize, &SocketAddr)| {
            let mut door = Door::new(*address, buffer_len)?;
            if self.faults.host_state(host) != HostState::Dead {
                door.open()?;
            }
            Ok(door)
        };
        let named = |(host, address)| {
            open((host, address)).map_err(|source| DevServerError::Listen {
                address: *address,
                source,
            })
        };
        addresses.iter().enumerate().map(named).collect()
    }
}

impl Shared {
    /// Waits until the server stops.
    pub(crate) async fn until_stopping(&self) {
        // The sender lives as long as `self`.
        let _ = self
            .stopping
            .subscribe()
            .wait_for(|stopping| *stopping)
            .await;
    }

    /// A new identity for a request.
    pub(crate) fn request_id(&self, operation: Operation) -> RequestId {
        self.request_ids.next(operation)
    }
}

/// Gives each request a number nobody else has.
struct RequestIds {
    /// Tells this server from others and from itself after a restart.
    server: u64,
    next: AtomicU32,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self {
            server: rand::rng().random(),
            next: AtomicU32::new(0),
        }
    }
}

impl RequestIds {
    fn next(&self, operation: Operation) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.server.to_be_bytes());
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        RequestId {
            // 16 characters of base64, like Kodo's own.
            id: b64u(bytes),
            log: format!("HAUL-DEV;{operation:?}:{number}"),
        }
    }
}

/// The store, and the key pair to use with it. Disks block, so not on the runtime's own threads.
async fn open(
    place: Place,
    given: Option<Credentials>,
) -> Result<(Store, Credentials), DevServerError> {
    let opened = blocking::spawn(move || {
        let store = Store::open(&place, clock::wall()).map_err(unusable)?;
        let credentials = match (given, &place) {
            (Some(given), _) => given,
            (None, Place::Disk(root)) => credentials(key_pair(root).map_err(unusable)?)?,
            (None, _) => credentials(KeyPair::generate().map_err(unusable)?)?,
        };
        Ok((store, credentials))
    });
    opened.await.map_err(unusable)?
}

fn credentials(pair: KeyPair) -> Result<Credentials, DevServerError> {
    let access_key = AccessKey::new(pair.access_key).map_err(unusable)?;
    let secret_key = SecretKey::new(pair.secret_key).map_err(unusable)?;
    Ok(Credentials::new(access_key, secret_key))
}

fn unusable(why: impl Error + Send + Sync + 'static) -> DevServerError {
    DevServerError::Store(why.into())
}

/// What goes into a URL for this address. A server that listens everywhere is named by loopback.
fn authority(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port()).to_string()
}

/// Why a dev server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevServerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As given.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The place to keep things, or the key pair kept there, cannot be used.
    #[error("cannot use the store: {0}")]
    Store(#[source] Box<dyn Error + Send + Sync>),
    /// The fault plan contradicts itself, or names a host that is not there.
    #[error(transparent)]
    Faults(#[from] FaultPlanError),
}
