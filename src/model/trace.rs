//! Where an attempt was when it ended: what a person needs to know of a failure.

use std::time::Duration;

use crate::model::Endpoint;

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// It has not begun: other requests of this process use the line.
    Waiting,
    /// A connection is being made: name, TCP, proxy, TLS.
    Connecting,
    /// Everything that was handed over is acknowledged, and the source has the next turn. Told of an
    /// upload as it goes; the trace of an attempt says `Sending` or `Answering`.
    Reading,
    /// Bytes of the request are not yet acknowledged by the other end.
    Sending,
    /// Everything is acknowledged; the answer has not come whole.
    Answering,
}

/// The way of one attempt, as far as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Whom it was for.
    pub endpoint: Endpoint,
    /// Address and port of the other end of its connection; none before there was one.
    pub address: Option<String>,
    /// The proxy it went through, without credentials.
    pub proxy: Option<String>,
    /// Whether its connection had served an earlier request.
    pub is_reused: bool,
    /// Whether haul told its connection to use BBR, whatever the system uses.
    pub uses_bbr: bool,
    /// How far it came.
    pub stage: Stage,
    /// Bytes of its body that the other end's kernel had acknowledged.
    pub acknowledged_bytes: u64,
    /// Length of its body, in bytes.
    pub body_len: u64,
    /// Time from its beginning to a connection.
    pub connecting: Duration,
    /// Time from there until everything was acknowledged.
    pub sending: Duration,
    /// Time from there to its end.
    pub answering: Duration,
    /// The way before, when the request broke on a connection that had served others and might have been
    /// over before, and therefore went out again at once on a new one. Told in failures only.
    pub before: Option<Box<Self>>,
}
