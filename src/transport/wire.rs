//! The seam to whatever carries bytes to a host: a socket, or a pipe within the process.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::model::{Endpoint, Failure};
use crate::network::Proxy;

/// A byte stream to a host.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What can be known of a connection beside its bytes, and done to it.
pub(crate) trait Gauge: fmt::Debug + Send + Sync {
    /// Bytes handed to the connection below any encryption, since it was made.
    fn written(&self) -> u64;

    /// How many of them the other end has acknowledged; as good a guess as there is where that
    /// cannot be known. Never more than [`written`](Self::written).
    fn acknowledged(&self) -> u64;

    /// Whether the other end takes bytes: false while its receive window is closed.
    fn peer_reads(&self) -> bool;

    /// The shortest time that an acknowledgement took, where the system tells.
    fn round_trip(&self) -> Option<Duration>;

    /// Whether it was told to use BBR, whatever the system uses.
    fn uses_bbr(&self) -> bool {
        false
    }

    /// Ends the connection at once: what is queued does not go out any more, and whoever reads or
    /// writes it gets an error.
    fn kill(&self);
}

/// A connection that was just made.
pub(crate) struct Wire {
    /// The bytes as HTTP sees them: above any encryption.
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) gauge: Arc<dyn Gauge>,
    /// Address and port of the other end.
    pub(crate) address: String,
    /// The proxy it goes through, without credentials.
    pub(crate) proxy: Option<String>,
    /// The proxy, when it forwards requests instead of bytes: plain HTTP through an HTTP proxy. The
    /// request line then names the whole URL, and the proxy's authorization goes with each request.
    pub(crate) plain_proxy: Option<Proxy>,
}

/// What [`Dial::dial`] answers.
pub(crate) type Dialing<'a> = Pin<Box<dyn Future<Output = Result<Wire, Failure>> + Send + 'a>>;

/// Makes connections.
pub(crate) trait Dial: Send + Sync {
    /// A new connection to `endpoint`. A failure is of kind `Connect` or `Tls`.
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> Dialing<'a>;

    /// The way to `endpoint` in words, without credentials: what lies on it may bear on everything sent.
    fn way(&self, endpoint: &Endpoint) -> String {
        endpoint.to_string()
    }
}
