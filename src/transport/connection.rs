//! Making, using and closing one connection.

use std::error::Error as StdError;
use std::time::Duration;

use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::task::JoinHandle;
use tower_service::Service;

use crate::model::{Endpoint, Failure, FailureKind};
use crate::transport::body::{BodyFate, OutgoingBody};

/// How long the kernel may wait for an acknowledgement before it gives the connection up. A line
/// that is down for minutes comes back; libraries set 30 s here and kill uploads that would have
/// finished. It only ends connections whose peer is gone for good.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(600);

/// Silence after which the kernel asks whether the peer is still there: below the 60 s after which
/// common NATs and balancers forget an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(45);

/// Head start of the first address family over the second (RFC 8305 recommends 250 ms).
const HAPPY_EYEBALLS: Duration = Duration::from_millis(250);

/// How long a connection may take to be ready again after an answer was read whole. It is a matter
/// of the task's next turn; a connection that needs longer is not worth keeping.
const READY_WAIT: Duration = Duration::from_secs(1);

/// Makes connections.
pub(crate) struct Connector {
    http: HttpConnector,
    https: Result<HttpsConnector<HttpConnector>, Failure>,
    timeout: Duration,
}

impl Connector {
    /// `timeout` is for TCP, and again for TLS.
    pub(crate) fn new(tls: Result<rustls::ClientConfig, Failure>, timeout: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        // Shared out among a host's addresses, so that a dead one leaves time for the next.
        http.set_connect_timeout(Some(timeout));
        http.set_happy_eyeballs_timeout(Some(HAPPY_EYEBALLS));
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
        let https = tls.map(|config| {
            HttpsConnectorBuilder::new()
                .with_tls_config(config)
                .https_or_http()
                .enable_http1()
                .wrap_connector(http.clone())
        });
        Self {
            http,
            https,
            timeout,
        }
    }

    /// A new connection to `endpoint`.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Failure> {
        let uri: Uri = format!("{endpoint}/")
            .parse()
            .map_err(|error| Failure::new(FailureKind::Connect, format!("{endpoint}: {error}")))?;
        if endpoint.is_https() {
            let mut https = self.https.clone()?;
            let stream = self.in_time(endpoint, https.call(uri)).await?;
            Connection::over(endpoint, stream).await
        } else {
            let mut http = self.http.clone();
            let stream = self.in_time(endpoint, http.call(uri)).await?;
            Connection::over(endpoint, stream).await
        }
    }

    /// `connecting`, unless it takes too long.
    async fn in_time<T, E: Into<Box<dyn StdError + Send + Sync>>>(
        &self,
        endpoint: &Endpoint,
        connecting: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let limit = if endpoint.is_https() {
            self.timeout * 2
        } else {
            self.timeout
        };
        let Ok(result) = tokio::time::timeout(limit, connecting).await else {
            let limit = limit.as_secs_f64();
            return Err(Failure::new(
                FailureKind::Connect,
                format!("{endpoint} did not accept a connection within {limit} s"),
            ));
        };
        result.map_err(|error| no_connection(endpoint, error.into().as_ref()))
    }
}

/// One connection and the task that drives it. Dropped, it closes at once.
pub(crate) struct Connection {
    sender: http1::SendRequest<OutgoingBody>,
    driver: JoinHandle<()>,
}

/// A connection that broke before anything of an answer came.
pub(crate) struct NoAnswer {
    pub(crate) failure: Failure,
    /// It was over before anything of the request was sent.
    pub(crate) unsent: bool,
}

impl Connection {
    async fn over<S>(endpoint: &Endpoint, stream: S) -> Result<Self, Failure>
    where
        S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(stream)
            .await
            .map_err(|error| no_connection(endpoint, &error))?;
        let driver = tokio::spawn(async move {
            // Its errors also reach whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    /// Sends `request`; the answer's body is still to be read.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<OutgoingBody>,
        fate: &BodyFate,
    ) -> Result<http::Response<Incoming>, NoAnswer> {
        let sent = self.sender.try_send_request(request).await;
        sent.map_err(|error| {
            let doing = if fate.is_complete() {
                "waiting for the answer"
            } else {
                "sending"
            };
            NoAnswer {
                unsent: error.message().is_some(),
                failure: broken(doing, error.error()),
            }
        })
    }

    /// Whether it can take another request now.
    pub(crate) async fn is_reusable(&mut self) -> bool {
        let ready = tokio::time::timeout(READY_WAIT, self.sender.ready()).await;
        matches!(ready, Ok(Ok(())))
    }
}

impl Drop for Connection {
    /// Ends the task and with it the socket: a request that nobody waits for must not go on using
    /// the line.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The failure of a connection that broke while `doing`.
pub(crate) fn broken(doing: &str, error: &(dyn StdError + 'static)) -> Failure {
    let message = format!("the connection broke while {doing}: {}", chain(error));
    Failure::new(FailureKind::Broken, message)
}

/// The failure of a connection that was never made.
fn no_connection(endpoint: &Endpoint, error: &(dyn StdError + 'static)) -> Failure {
    let kind = if is_tls(error) {
        FailureKind::Tls
    } else {
        FailureKind::Connect
    };
    Failure::new(
        kind,
        format!("no connection to {endpoint}: {}", chain(error)),
    )
}

/// Whether a TLS error is behind `error`. An `io::Error` hides what it wraps from `source`.
fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        let wrapped = error
            .downcast_ref::<std::io::Error>()
            .and_then(|io| io.get_ref());
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

/// An error and its causes on one line, without repeating what a cause says again.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
