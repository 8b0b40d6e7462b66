//! Using and closing one connection.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use crate::clock;
use crate::model::{Endpoint, Failure, FailureKind, cause, chain};
use crate::network::Proxy;
use crate::telemetry::Lasting;
use crate::transport::body::OutgoingBody;
use crate::transport::flight::Boarding;
use crate::transport::limit::{Limited, Limiter};
use crate::transport::metered::Metered;
use crate::transport::wire::{Gauge, Wire};

/// How long a connection may take to be ready again after an answer was read whole. It is a matter
/// of the task's next turn; a connection that needs longer is not worth keeping.
const READY_WAIT: Duration = Duration::from_secs(1);

/// Shorter requests than this, in bytes, tell nothing of a connection's pace: they take a round trip.
const TELLING_LEN: u64 = 64 * 1024;

/// A request that took less time was not slow, whatever its pace.
const SLOW_TIME: Duration = Duration::from_secs(1);

/// One connection and the task that drives it. Dropped in mid-request it is killed: what nobody waits
/// for must not go on using the line. Dropped between requests it says goodbye.
pub(crate) struct Connection {
    sender: http1::SendRequest<OutgoingBody>,
    _open: Lasting,
    /// While it waits for a request.
    resting: Option<Lasting>,
    driver: JoinHandle<()>,
    gauge: Arc<dyn Gauge>,
    written: Arc<AtomicU64>,
    waits: Arc<AtomicBool>,
    address: String,
    proxy: Option<String>,
    plain_proxy: Option<Proxy>,
    /// Since the last answer, if there was one.
    idle_since: Option<Instant>,
    in_flight: bool,
    /// Of its last request of some length; 0 before there was one.
    pace_bytes_per_s: u64,
    /// How long that took.
    carried_for: Duration,
}

/// A connection that broke before anything of an answer came.
pub(crate) struct NoAnswer {
    pub(crate) failure: Failure,
    /// It was over before anything of the request was sent.
    pub(crate) unsent: bool,
}

impl Connection {
    /// HTTP over `wire`, as fast as `limiter` lets it.
    pub(crate) async fn over(
        endpoint: &Endpoint,
        wire: Wire,
        limiter: &Arc<Limiter>,
    ) -> Result<Self, Failure> {
        let stream = Limited::new(wire.stream, limiter);
        let waits = stream.waits();
        let (stream, written) = Metered::new(stream);
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| {
            let message = format!("no connection to {endpoint}: {}", chain(&error));
            Failure::new(FailureKind::Connect, message)
        })?;
        let driver = tokio::spawn(async move {
            // Its errors also reach whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            _open: Lasting::open_connection(),
            resting: None,
            driver,
            gauge: wire.gauge,
            written,
            waits,
            address: wire.address,
            proxy: wire.proxy,
            plain_proxy: wire.plain_proxy,
            idle_since: None,
            in_flight: false,
            pace_bytes_per_s: 0,
            carried_for: Duration::ZERO,
        })
    }

    /// It waits for a request, or does not any more.
    pub(crate) fn set_resting(&mut self, rests: bool) {
        self.resting = rests.then(Lasting::idle_connection);
    }

    /// What a request that takes it is told of it.
    pub(crate) fn boarding(&self, head_len: u64) -> Boarding {
        Boarding {
            address: self.address.clone(),
            proxy: self.proxy.clone(),
            is_reused: self.idle_since.is_some(),
            gauge: Arc::clone(&self.gauge),
            written: Arc::clone(&self.written),
            waits: Arc::clone(&self.waits),
            head_len,
        }
    }

    /// The proxy that reads its requests, if there is one.
    pub(crate) fn plain_proxy(&self) -> Option<&Proxy> {
        self.plain_proxy.as_ref()
    }

    /// How long it has been idle; none for one that has served nobody.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let since = self.idle_since?;
        Some(clock::instant().saturating_duration_since(since))
    }

    /// Sends `request`; the answer's body is still to be read.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<OutgoingBody>,
    ) -> Result<http::Response<Incoming>, NoAnswer> {
        self.in_flight = true;
        let sent = self.sender.try_send_request(request).await;
        sent.map_err(|error| NoAnswer {
            unsent: error.message().is_some(),
            failure: broken(error.error()),
        })
    }

    /// A whole answer to a whole request: it may serve another one.
    pub(crate) fn rest(&mut self) {
        self.in_flight = false;
        self.idle_since = Some(clock::instant());
    }

    /// Its last request had `len` bytes and took so long, from its first byte to its answer.
    pub(crate) fn carried(&mut self, len: u64, time: Duration) {
        if len >= TELLING_LEN {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
            self.pace_bytes_per_s = len.saturating_mul(1000) / millis;
            self.carried_for = time;
        }
    }

    /// How fast its last request of some length was, in bytes a second; 0 before there was one.
    pub(crate) fn pace_bytes_per_s(&self) -> u64 {
        self.pace_bytes_per_s
    }

    /// Whether its last request of some length took so long that more than round trips made it slow.
    pub(crate) fn took_its_time(&self) -> bool {
        self.carried_for >= SLOW_TIME
    }

    /// Whether it can take another request now.
    pub(crate) async fn is_reusable(&mut self) -> bool {
        let ready = tokio::time::timeout(READY_WAIT, self.sender.ready()).await;
        matches!(ready, Ok(Ok(())))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.in_flight {
            self.gauge.kill();
        }
        self.driver.abort();
    }
}

/// The failure of a connection that broke. How far it had come is its trace's to say.
pub(crate) fn broken(error: &(dyn StdError + 'static)) -> Failure {
    // What the system says is behind what HTTP makes of it.
    let words = match cause::<std::io::Error>(error) {
        Some(system) => chain(system),
        None => chain(error),
    };
    let message = format!("the connection broke: {words}");
    Failure::new(FailureKind::Broken, message)
}
