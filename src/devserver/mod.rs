//! A server that speaks Kodo: for backend developers, for tests, and behind `local://`.
//!
//! [`DevServer`] is the server, [`FaultPlan`] what it does wrong on purpose, [`Place`] where it keeps
//! what it is sent.
//!
//! Two sides meet in `exchange`. The *network side* accepts connections, shapes the line and carries
//! out the fault plan on the wire. The *service side* reads requests, checks tokens and signatures,
//! and keeps objects. It uses [`kodo`](crate::kodo) for the encodings, hashes and signatures, which
//! the protocol's known answers prove on their own, and nothing of the uploader.
//!
//! A request's way: `accept` → `connection` (over a `socket`, or over the `link`) → `pipeline`
//! (`route` reads what it asks for, `faults` decide) → `service` → `pipeline` → the client.
//! `control` takes words to the server itself.
//!
//! What is no HTTP/1.1 at all never becomes a request: it is answered 400 without a request id and
//! the connection ends, as at any gateway in front of a service.

mod accept;
mod arriving;
mod auth;
mod browser;
mod callback;
mod connection;
mod control;
mod counters;
mod download;
mod exchange;
mod faults;
mod finish;
mod link;
mod list;
mod manage;
mod mime;
mod names;
mod outgoing;
mod pipeline;
mod rate;
mod refusal;
mod region;
mod route;
mod server;
mod service;
pub(crate) mod socket;
mod store;
mod template;
mod upload;
#[cfg(test)]
pub(crate) mod within;

pub use counters::{OperationCount, Requests};
pub use exchange::Operation;
pub use faults::{
    AnswerField, CannedAnswer, Expire, Fault, FaultPlan, FaultPlanError, Faults, HostFault,
    HostState, Loss, Moment, StopReading,
};
pub use rate::{Rate, RateError};
pub use server::{DevServer, DevServerBuilder, DevServerError};
pub use store::Place;
