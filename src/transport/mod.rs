//! The upload plane: every call that carries a body to an upload host.
//!
//! HTTP/1.1 over connections of our own, one request at a time each, so that each shows what the
//! other end has acknowledged of the one request on it ([`Flight`]). Whoever sends decides how long
//! to wait: nothing here ends a request, and dropping its future kills its connection.
//!
//! Whatever carries the bytes stands behind [`wire`]: sockets, or pipes within the process.
//!
//! Absent on purpose: retries, fail-over, deadlines, and any opinion about an answer.

mod body;
mod congestion;
mod connection;
mod flight;
mod idle;
mod internet;
mod limit;
mod metered;
mod proxy;
mod race;
mod socket;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, PROXY_AUTHORIZATION};
use http_body_util::BodyExt;

pub(crate) use body::SourceStream;
pub use congestion::CongestionControl;
pub(crate) use congestion::{bbr_refusal, may_have_bbr};
pub(crate) use flight::Flight;
pub(crate) use idle::Reuse;
pub(crate) use internet::Internet;

use crate::model::{Answer, Endpoint, Failure, FailureKind, Request};
use crate::network::Proxy;
use crate::transport::body::{BodyFate, OutgoingBody};
use crate::transport::connection::{Connection, NoAnswer};
use crate::transport::idle::Idle;
use crate::transport::limit::Limiter;
use crate::transport::wire::Dial;

/// Longest answer read, in bytes. Kodo's answers are a few hundred bytes; what a callback sends
/// through stays far below this.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// Most bytes of a request that the other end may have acknowledged when a kept connection that
/// breaks still counts as closed before: what a kernel takes in for a server that no longer reads.
const TAKEN_UNREAD_MAX: u64 = 128 * 1024;

/// On a fast line a draining server takes more than that. A connection that was over tells within a
/// round trip, so one that breaks this soon counts too.
const OVER_TELLS_WITHIN: Duration = Duration::from_secs(1);

/// Sends requests to upload hosts. Cloning shares its connections and its limit.
#[derive(Clone)]
pub(crate) struct Transport {
    dial: Arc<dyn Dial>,
    idle: Arc<Idle>,
    limiter: Arc<Limiter>,
}

/// A request that was not answered.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) failure: Failure,
    /// What the connection's past has to do with it.
    pub(crate) stale: Stale,
}

/// Whether a connection was over before it was used again. A server closes idle connections when it
/// likes, and who uses one in that moment cannot know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// It was not, or it was a new one.
    No,
    /// It was, and nothing of the request was sent.
    Unsent,
    /// It served an earlier request and broke before anything of an answer to this one came, and
    /// before the other end took more than a little of it.
    Sent,
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        let stale = Stale::No;
        Self { failure, stale }
    }
}

impl Transport {
    /// A transport over the connections that `dial` makes.
    pub(crate) fn new(dial: Arc<dyn Dial>) -> Self {
        Self {
            dial,
            idle: Arc::default(),
            limiter: Arc::default(),
        }
    }

    /// Sends `request` to `endpoint` and reads the whole answer, however long that takes.
    ///
    /// `source` gives the bytes of the request's span. It is touched only once a connection stands,
    /// so a failure of kind `Connect` or `Tls` means that nothing was sent. `flight` shows how far
    /// the request is, also after its end.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        request: Request,
        source: Option<SourceStream>,
        reuse: Reuse,
        flight: &Flight,
    ) -> Result<Answer, Unanswered> {
        flight.begin(endpoint, &request);
        let line = format!("{} {endpoint}{}", request.method, request.target);
        let len = request.body.len();
        let mut result = self
            .exchange(endpoint, request, source, reuse, flight)
            .await;
        match &mut result {
            Ok(answer) => tracing::debug!(len, status = answer.status.as_u16(), "{line}"),
            Err(Unanswered { failure, stale }) => {
                failure.trace = flight.trace().map(Box::new);
                tracing::debug!(len, %failure, ?stale, "{line}");
            }
        }
        result
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: Request,
        source: Option<SourceStream>,
        reuse: Reuse,
        flight: &Flight,
    ) -> Result<Answer, Unanswered> {
        let mut connection = match self.idle.take(endpoint, reuse).await {
            Some(connection) => connection,
            None => {
                let wire = self.dial.dial(endpoint).await?;
                Connection::over(endpoint, wire, &self.limiter).await?
            }
        };
        let is_used = connection.idle().is_some();
        let body_len = request.body.len();
        let (request, fate) = outgoing(endpoint, request, source, &connection)?;
        flight.board(connection.boarding(head_len(&request)), fate.clone());
        let heard = exchange(&mut connection, request).await;
        let Heard { answer, is_whole } = heard.map_err(|mut unanswered| {
            if let Some(failure) = fate.take_failure() {
                return failure.into();
            }
            let was_read = flight.sample().acknowledged_bytes > TAKEN_UNREAD_MAX
                && flight.since_connected() > OVER_TELLS_WITHIN;
            if unanswered.stale == Stale::Sent && (!is_used || was_read) {
                unanswered.stale = Stale::No;
            }
            unanswered
        })?;
        // What HTTP still holds was not sent: it counts for nothing, and the connection is worth nothing.
        let took_all = fate.is_complete() && flight.is_written();
        flight.answered(took_all);
        if let Some(failure) = refused(endpoint, &connection, &answer) {
            return Err(failure.into());
        }
        // An early answer leaves half a body on the connection: it is killed. So is one that broke.
        if is_whole && took_all {
            connection.rest();
            connection.carried(body_len, flight.since_connected());
            if connection.is_reusable().await {
                self.idle.put(endpoint, connection);
            }
        }
        Ok(answer)
    }

    /// Makes a connection to `endpoint` and keeps it for the next request.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        let wire = self.dial.dial(endpoint).await?;
        let mut connection = Connection::over(endpoint, wire, &self.limiter).await?;
        connection.rest();
        self.idle.put(endpoint, connection);
        Ok(())
    }

    /// How fast all its connections together may write.
    pub(crate) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// The way to `endpoint`, in words.
    pub(crate) fn way(&self, endpoint: &Endpoint) -> String {
        self.dial.way(endpoint)
    }

    /// Closes the idle connections to `endpoint`: where one was over, the others mostly are.
    pub(crate) fn forget_idle(&self, endpoint: &Endpoint) {
        self.idle.forget(endpoint);
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

/// `request` as hyper takes it.
fn outgoing(
    endpoint: &Endpoint,
    request: Request,
    source: Option<SourceStream>,
    connection: &Connection,
) -> Result<(http::Request<OutgoingBody>, BodyFate), Failure> {
    let malformed = |error: http::Error| {
        Failure::new(
            FailureKind::BadRequest,
            format!("no valid request: {error}"),
        )
    };
    let (body, fate) = OutgoingBody::new(request.body, source);
    let proxy = connection.plain_proxy();
    let uri = match proxy {
        Some(_) => format!("{endpoint}{}", request.target),
        None => request.target,
    };
    let mut outgoing = http::Request::builder()
        .method(request.method)
        .uri(&uri)
        .body(body)
        .map_err(malformed)?;
    let headers = outgoing.headers_mut();
    *headers = request.headers;
    let host = http::HeaderValue::from_str(endpoint.authority());
    headers.insert(HOST, host.map_err(|error| malformed(error.into()))?);
    if let Some(authorization) = proxy.and_then(Proxy::authorization) {
        headers.insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    Ok((outgoing, fate))
}

/// The failure of a request that the proxy did not let through.
fn refused(endpoint: &Endpoint, connection: &Connection, answer: &Answer) -> Option<Failure> {
    let proxy = connection.plain_proxy()?;
    let why = proxy.refused(answer.status, &answer.headers)?;
    let message = format!("no connection to {endpoint} through the proxy {proxy}: {why}");
    let mut failure = Failure::new(FailureKind::Connect, message);
    failure.remedy = Proxy::remedy(answer.status);
    Some(failure)
}

/// Length of the head that hyper writes for `request`, without what it adds by itself.
fn head_len(request: &http::Request<OutgoingBody>) -> u64 {
    let line = request.method().as_str().len() + " HTTP/1.1\r\n ".len();
    // The whole URL where a proxy reads it.
    let target = request.uri().to_string().len();
    let headers = request.headers().iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    (line + target + headers + "\r\n".len()) as u64
}

/// An answer, as far as it came.
struct Heard {
    answer: Answer,
    /// Its body came to its end.
    is_whole: bool,
}

/// One request and its answer.
///
/// A refusal counts once its head is there: a server that refuses an upload often closes with the
/// body unread, and its reset may overtake the end of what it says. What of its words came is kept;
/// a success that breaks off has shown nothing.
async fn exchange(
    connection: &mut Connection,
    request: http::Request<OutgoingBody>,
) -> Result<Heard, Unanswered> {
    let sent = connection.send(request).await;
    let sent = sent.map_err(|NoAnswer { failure, unsent }| Unanswered {
        failure,
        stale: if unsent { Stale::Unsent } else { Stale::Sent },
    });
    let (head, mut body) = sent?.into_parts();
    let is_refusal = head.status.as_u16() >= 400;
    let mut bytes = BytesMut::new();
    let mut is_whole = true;
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) if is_refusal => {
                tracing::debug!("the refusal broke off: {}", connection::broken(&error));
                is_whole = false;
                break;
            }
            Err(error) => return Err(connection::broken(&error).into()),
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > ANSWER_LEN_MAX {
            return Err(Failure::new(
                FailureKind::NotKodo,
                format!("the answer is longer than {ANSWER_LEN_MAX} bytes"),
            )
            .into());
        }
        bytes.extend_from_slice(&data);
    }
    let answer = Answer {
        status: head.status,
        headers: head.headers,
        body: Bytes::from(bytes),
    };
    Ok(Heard { answer, is_whole })
}
