//! What the server has seen, for tests and benchmarks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::devserver::exchange::Operation;

/// What a dev server has seen since it started. Control calls are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Requests {
    /// Connections accepted, over all hosts.
    pub connections: u64,
    /// Connections that the server reset in the middle of a request, because a fault said so.
    pub resets: u64,
    /// Per operation; one that never came is missing.
    pub operations: BTreeMap<Operation, OperationCount>,
}

impl Requests {
    /// What was seen of one operation.
    pub fn of(&self, operation: Operation) -> OperationCount {
        self.operations.get(&operation).copied().unwrap_or_default()
    }

    /// Bytes of bodies received, over all operations.
    pub fn body_bytes(&self) -> u64 {
        self.operations.values().map(|count| count.body_bytes).sum()
    }
}

/// What was seen of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct OperationCount {
    /// Requests whose head arrived.
    pub requests: u64,
    /// Bytes of their bodies that the server has read, framing of chunks not counted.
    pub body_bytes: u64,
}

/// The counting side.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicU64,
    resets: AtomicU64,
    operations: Mutex<BTreeMap<Operation, Count>>,
}

#[derive(Debug, Default)]
struct Count {
    requests: u64,
    body_bytes: Arc<AtomicU64>,
}

impl Counters {
    /// Counts a connection; says its number, from 1.
    pub(crate) fn connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a reset.
    pub(crate) fn reset(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request; gives the place where the bytes of its body are counted.
    pub(crate) fn request(&self, operation: Operation) -> Arc<AtomicU64> {
        let mut operations = self
            .operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = operations.entry(operation).or_default();
        count.requests += 1;
        Arc::clone(&count.body_bytes)
    }

    /// Everything so far.
    pub(crate) fn seen(&self) -> Requests {
        let operations = self
            .operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let counts = operations.iter().map(|(operation, count)| {
            let seen = OperationCount {
                requests: count.requests,
                body_bytes: count.body_bytes.load(Ordering::Relaxed),
            };
            (*operation, seen)
        });
        Requests {
            connections: self.connections.load(Ordering::Relaxed),
            resets: self.resets.load(Ordering::Relaxed),
            operations: counts.collect(),
        }
    }
}
