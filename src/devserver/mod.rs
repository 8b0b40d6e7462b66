//! A server that speaks Kodo: for backend developers, for tests, and behind `local://`.
//!
//! Two sides meet in [`exchange`]. The *network side* accepts connections, shapes the line and
//! carries out the fault plan on the wire. The *service side* reads requests, checks tokens and
//! signatures, and keeps objects. It uses `kodo` for the encodings, hashes and signatures, which the
//! protocol's known answers prove on their own, and nothing of the uploader.

mod auth;
mod callback;
mod download;
mod exchange;
mod finish;
mod list;
mod manage;
mod mime;
mod refusal;
mod region;
mod route;
mod service;
mod store;
mod template;
mod upload;

pub use exchange::Operation;
pub use store::Place;
