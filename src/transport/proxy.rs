//! Speaking to a proxy: what has to be said on a connection to it before it carries bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioIo;
use tower_service::Service;

use crate::model::{Remedy, chain};
use crate::network::Proxy;
use crate::transport::wire::Stream;

/// Why a proxy carries nothing.
#[derive(Debug)]
pub(crate) struct Refused {
    /// In words for people.
    pub(crate) text: String,
    /// What a person has to do about it; none where time may mend it.
    pub(crate) remedy: Option<Remedy>,
}

impl From<String> for Refused {
    fn from(text: String) -> Self {
        let remedy = None;
        Self { text, remedy }
    }
}

/// What the library says of a SOCKS proxy that does not accept whoever asks. It keeps its errors'
/// types for itself.
const SOCKS_REFUSALS: [&str; 2] = [
    "server does not support user/pass authentication",
    "credentials not accepted",
];

/// Whom a proxy is asked to connect to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Name or address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Has an HTTP proxy carry bytes to `target` (`CONNECT`). The error says what it answered.
pub(crate) async fn tunnel(
    stream: Box<dyn Stream>,
    target: &Target,
    proxy: &Proxy,
) -> Result<Box<dyn Stream>, Refused> {
    let authority = target.to_string();
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(&authority)
        .header(header::HOST, &authority);
    if let Some(authorization) = proxy.authorization() {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(broken)?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        match answer.status() {
            status if status.is_success() => {
                Ok(hyper::upgrade::on(answer).await.map_err(broken)?)
            }
            status => Err(Refused {
                text: proxy.refusal(status),
                remedy: Proxy::remedy(status),
            }),
        }
    };
    // By its own type the compiler cannot prove that it may move between threads.
    let driving: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(connection.with_upgrades());
    Ok(bytes_of(driven(asking, driving).await?)?)
}

/// What is said of a proxy whose connection broke.
fn broken(error: hyper::Error) -> String {
    format!("it broke off: {}", chain(&error))
}

/// Drives `connection` until `asking` has its answer.
async fn driven<T>(asking: impl Future<Output = T>, connection: impl Future) -> T {
    tokio::pin!(asking, connection);
    let mut is_over = false;
    loop {
        tokio::select! {
            answer = &mut asking => return answer,
            // Its errors reach `asking` too.
            _ = &mut connection, if !is_over => is_over = true,
        }
    }
}

/// The stream below HTTP, once the proxy is out of the way.
fn bytes_of(upgraded: Upgraded) -> Result<Box<dyn Stream>, String> {
    let parts = upgraded
        .downcast::<TokioIo<Box<dyn Stream>>>()
        .map_err(|_| "its stream was lost".to_owned())?;
    // Neither TLS nor HTTP lets a server speak first.
    if !parts.read_buf.is_empty() {
        return Err("it sent bytes of its own".to_owned());
    }
    Ok(parts.io.into_inner())
}

/// Has a SOCKS5 proxy carry bytes to `target`. The error says what it answered.
pub(crate) async fn socks(
    stream: Box<dyn Stream>,
    target: &Target,
    proxy: &Proxy,
) -> Result<Box<dyn Stream>, Refused> {
    let uri = format!("http://{target}/").parse::<Uri>();
    let uri = uri.map_err(|error| error.to_string())?;
    let mut socks = SocksV5::new(proxy.uri().clone(), Made(Some(TokioIo::new(stream))));
    if let Some((user, password)) = proxy.credentials() {
        socks = socks.with_auth(user.to_owned(), password.to_owned());
    }
    let hint = match proxy.credentials() {
        Some(_) => "",
        None => " (no user name and password are set)",
    };
    match socks.call(uri).await {
        Ok(stream) => Ok(stream.into_inner()),
        Err(error) => {
            let said = error.to_string();
            let is_user = SOCKS_REFUSALS.iter().any(|words| said.ends_with(words));
            Err(Refused {
                text: format!("it refused: {said}{hint}"),
                remedy: is_user.then_some(Remedy::ProxyUser),
            })
        }
    }
}

/// A connection that is made already, for a library that wants to make it.
struct Made<S>(Option<S>);

impl<S> Service<Uri> for Made<S> {
    type Response = S;
    type Error = io::Error;
    type Future = std::future::Ready<Result<S, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let made = self.0.take();
        std::future::ready(made.ok_or_else(|| io::Error::other("asked for twice")))
    }
}
