//! A server that speaks Kodo: for backend developers, for tests, and behind `local://`.
//!
//! Two sides meet in [`exchange`]. The *network side* accepts connections, shapes the line and
//! carries out the fault plan on the wire. The *service side* reads requests, checks tokens and
//! signatures, and keeps objects. It uses `kodo` for the encodings, hashes and signatures, which the
//! protocol's known answers prove on their own, and nothing of the uploader.

mod accept;
mod arriving;
mod auth;
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
mod socket;
mod store;
mod template;
mod upload;

pub use counters::{OperationCount, Requests};
pub use exchange::Operation;
pub use faults::{
    AnswerField, CannedAnswer, Expire, Fault, FaultPlan, FaultPlanError, Faults, HostFault,
    HostState, Loss, Moment, StopReading,
};
pub use rate::{Rate, RateError};
pub use server::{DevServer, DevServerBuilder, DevServerError};
pub use store::Place;
