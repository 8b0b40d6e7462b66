//! The upload plane: every call that carries a body to an upload host.
//!
//! HTTP/1.1 over connections of our own, one request at a time each. There is no limit on how long
//! a body takes: slow is not dead. The seam is [`Transport::send`]: a later transport may meter the
//! connection behind it. Dropping the future of a request closes its connection.
//!
//! Absent on purpose: retries, fail-over, and any opinion about an answer.

mod body;
mod connection;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

pub(crate) use body::SourceStream;
pub(crate) use tls::client_config;

use crate::model::{Answer, Endpoint, Failure, FailureKind, Request};
use crate::transport::body::{BodyFate, OutgoingBody};
use crate::transport::connection::{Connection, Connector, NoAnswer};

/// Longest answer read, in bytes. Kodo's answers are a few hundred bytes; what a callback sends
/// through stays far below this.
const ANSWER_LEN_MAX: usize = 1 << 20;

/// Idle connections kept per host: as many lanes as one upload ever has in flight.
const IDLE_MAX: usize = 16;

/// Sends requests to upload hosts. Cloning shares its connections.
#[derive(Clone)]
pub(crate) struct Transport {
    connector: Arc<Connector>,
    idle: Arc<Mutex<HashMap<Endpoint, Vec<Connection>>>>,
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
    /// It served an earlier request and broke before anything of an answer to this one came.
    Sent,
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        let stale = Stale::No;
        Self { failure, stale }
    }
}

impl Transport {
    /// A transport that encrypts with `tls`, or that says why it cannot when a host needs it.
    pub(crate) fn new(
        tls: Result<rustls::ClientConfig, Failure>,
        connect_timeout: Duration,
    ) -> Self {
        Self {
            connector: Arc::new(Connector::new(tls, connect_timeout)),
            idle: Arc::default(),
        }
    }

    /// Sends `request` to `endpoint` and reads the whole answer.
    ///
    /// `source` gives the bytes of the request's span. It is touched only once a connection stands,
    /// so a failure of kind `Connect` or `Tls` means that nothing was sent. The answer may take
    /// `response_limit` from the moment the whole body was handed over.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        request: Request,
        source: Option<SourceStream>,
        response_limit: Duration,
    ) -> Result<Answer, Unanswered> {
        let line = format!("{} {endpoint}{}", request.method, request.target);
        let len = request.body.len();
        let result = self
            .send_unlogged(endpoint, request, source, response_limit)
            .await;
        match &result {
            Ok(answer) => tracing::debug!(len, status = answer.status.as_u16(), "{line}"),
            Err(Unanswered { failure, stale }) => {
                tracing::debug!(len, %failure, ?stale, "{line}");
            }
        }
        result
    }

    async fn send_unlogged(
        &self,
        endpoint: &Endpoint,
        request: Request,
        source: Option<SourceStream>,
        response_limit: Duration,
    ) -> Result<Answer, Unanswered> {
        let (mut connection, is_used) = match self.take_idle(endpoint).await {
            Some(connection) => (connection, true),
            None => (self.connector.connect(endpoint).await?, false),
        };
        let (request, fate) = outgoing(endpoint, request, source)?;
        let answer = tokio::select! {
            answer = exchange(&mut connection, request, &fate) => answer,
            () = overdue(&fate, response_limit) => Err(unanswered(endpoint, response_limit).into()),
        };
        let answer = answer.map_err(|mut unanswered| {
            if let Some(failure) = fate.take_failure() {
                return failure.into();
            }
            if !is_used && unanswered.stale == Stale::Sent {
                unanswered.stale = Stale::No;
            }
            unanswered
        })?;
        // An early answer leaves half a body on the connection: it is good for nothing more.
        if fate.is_complete() && connection.is_reusable().await {
            self.keep(endpoint, connection);
        }
        Ok(answer)
    }

    /// Closes the idle connections to `endpoint`: where one was over, the others mostly are.
    pub(crate) fn forget_idle(&self, endpoint: &Endpoint) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.remove(endpoint);
    }

    /// A connection that an earlier request left, if it still stands.
    async fn take_idle(&self, endpoint: &Endpoint) -> Option<Connection> {
        loop {
            let mut connection = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.get_mut(endpoint)?.pop()?
            };
            if connection.is_reusable().await {
                return Some(connection);
            }
        }
    }

    /// Keeps `connection` for the next request.
    fn keep(&self, endpoint: &Endpoint, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.entry(endpoint.clone()).or_default();
        if connections.len() < IDLE_MAX {
            connections.push(connection);
        }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

/// Returns when an answer is overdue: `limit` after the whole body was handed over.
async fn overdue(fate: &BodyFate, limit: Duration) {
    fate.completed().await;
    tokio::time::sleep(limit).await;
}

/// The failure of an answer that never came.
fn unanswered(endpoint: &Endpoint, limit: Duration) -> Failure {
    let limit = limit.as_secs_f64();
    let what = format!("{endpoint} took the whole request and gave no answer for {limit} s");
    Failure::new(FailureKind::TimedOut, what)
}

/// `request` as hyper takes it.
fn outgoing(
    endpoint: &Endpoint,
    request: Request,
    source: Option<SourceStream>,
) -> Result<(http::Request<OutgoingBody>, BodyFate), Failure> {
    let malformed = |error: http::Error| {
        Failure::new(
            FailureKind::BadRequest,
            format!("no valid request: {error}"),
        )
    };
    let (body, fate) = OutgoingBody::new(request.body, source);
    let mut outgoing = http::Request::builder()
        .method(request.method)
        .uri(&request.target)
        .body(body)
        .map_err(malformed)?;
    *outgoing.headers_mut() = request.headers;
    let host = http::HeaderValue::from_str(endpoint.authority());
    let host = host.map_err(|error| malformed(error.into()))?;
    outgoing.headers_mut().insert(http::header::HOST, host);
    Ok((outgoing, fate))
}

/// One request and its whole answer.
async fn exchange(
    connection: &mut Connection,
    request: http::Request<OutgoingBody>,
    fate: &BodyFate,
) -> Result<Answer, Unanswered> {
    let sent = connection.send(request, fate).await;
    let sent = sent.map_err(|NoAnswer { failure, unsent }| Unanswered {
        failure,
        stale: if unsent { Stale::Unsent } else { Stale::Sent },
    });
    let (head, mut body) = sent?.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| connection::broken("reading the answer", &error))?;
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
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: Bytes::from(bytes),
    })
}
