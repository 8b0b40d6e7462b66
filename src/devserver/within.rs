//! A server without ports, for tests in virtual time: connections come from within the process, its
//! store may outlive it, and what it is asked is written down.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::clock;
use crate::devserver::accept::Door;
use crate::devserver::exchange::Operation;
use crate::devserver::faults::HostState;
use crate::devserver::faults::matching::Arrival;
use crate::devserver::pipeline::Entry;
use crate::devserver::server::{DevServer, DevServerBuilder};
use crate::devserver::socket::Socket;
use crate::devserver::store::Store;
use crate::model::{Bucket, ByteSpan, ObjectKey};

/// Doors without ports, their names, and the ways in: in place of the others if any are named.
pub(crate) fn doors(
    doors: Vec<Door>,
    hosts: Vec<String>,
    names: &[String],
) -> (Vec<Door>, Vec<String>, Vec<mpsc::UnboundedSender<Socket>>) {
    if names.is_empty() {
        return (doors, hosts, Vec::new());
    }
    let (ways_in, doors) = names
        .iter()
        .map(|_| {
            let (way_in, coming) = mpsc::unbounded_channel();
            (way_in, Door::within(coming))
        })
        .unzip();
    (doors, names.to_vec(), ways_in)
}

impl DevServerBuilder {
    /// Has no ports but hosts of these names (`host:port`), reached by [`DevServer::admit`].
    pub(crate) fn within(mut self, names: &[String]) -> Self {
        self.within = names.to_vec();
        self
    }

    /// Goes on with an earlier server's store.
    pub(crate) fn store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }
}

impl DevServer {
    /// Lets a connection in at `host`, counted from 0, as if it had been accepted there; false if
    /// nobody listens.
    pub(crate) fn admit(&self, host: usize, socket: Socket) -> bool {
        let listens = self.faults().host_state(host) != HostState::Dead;
        listens && self.ways_in[host].send(socket).is_ok()
    }

    /// What it keeps, to be given to the next one.
    pub(crate) fn keepings(&self) -> Store {
        self.shared.service.store.clone()
    }

    /// What it was asked so far, in order.
    pub(crate) fn log(&self) -> Vec<Seen> {
        self.shared.log.seen()
    }
}

/// The bytes of an object in `store`.
pub(crate) async fn object(store: &Store, bucket: &str, key: &str) -> Option<Vec<u8>> {
    let (bucket, key) = (Bucket::new(bucket).ok()?, ObjectKey::new(key).ok()?);
    let record = store.object(&bucket, &key).await.ok()??;
    let span = ByteSpan::new(0, record.size);
    let mut pieces = store.read(&record.data, span).await.ok()?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece.ok()?);
    }
    Some(bytes)
}

/// A moment of a request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) arrival: Arrival,
    pub(crate) operation: Operation,
    /// Path and query as they came.
    pub(crate) target: String,
    /// None when its head has come; a status, or how its answer was lost, at its end. A request whose
    /// connection broke has no end.
    pub(crate) outcome: Option<String>,
    /// Bytes of its body taken so far.
    pub(crate) received: u64,
}

/// The request log.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Vec<Seen>>);

impl Log {
    /// A request's head has come.
    pub(crate) fn begun(&self, arrival: Arrival, operation: Operation, target: &str) {
        self.push(Seen {
            at: clock::instant(),
            arrival,
            operation,
            target: target.to_owned(),
            outcome: None,
            received: 0,
        });
    }

    /// A request was answered, or its answer lost.
    pub(crate) fn ended(&self, arrival: Arrival, entry: &Entry<'_>, outcome: &str) {
        self.push(Seen {
            at: clock::instant(),
            arrival,
            operation: entry.operation,
            target: entry.head.uri.to_string(),
            outcome: Some(outcome.to_owned()),
            received: entry.received,
        });
    }

    fn push(&self, seen: Seen) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(seen);
    }

    fn seen(&self) -> Vec<Seen> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
