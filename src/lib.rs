//! **haul** moves files into object storage over lines that are slow, flaky or both.
//!
//! It is a library that backends call to store their users' files, and a program for people at a
//! terminal. Qiniu Kodo is the first storage service it speaks to.
//!
//! # The map of the house
//!
//! The code stands in three rings. Folder and file names are the rings' rooms:
//!
//! ```text
//! pure          model · kodo                     no files, sockets, clocks, tasks, randomness
//! I/O           source · transport · api · devserver     thin; one seam each; no decisions
//! composition   uploader · client · events · config · error · cli
//! ```
//!
//! *The rule*: pure code imports only [`model`]; I/O imports pure code; only composition joins
//! them. `devserver` may use `kodo` and `model`, never the uploader, so that the test double cannot
//! agree with a bug. `tests/house` enforces the rule, and the size limits with it.
//!
//! | room | what it is |
//! | --- | --- |
//! | [`model`] | the nouns: bucket, object key, byte span, endpoint, request, answer, failure |
//! | [`kodo`] | the Qiniu dialect, bytes only: tokens, signatures, hashes, requests, answers |
//! | `source` | the local file: opened once, read by position |
//! | `transport` | the upload plane: every call that carries a body to an upload host |
//! | `api` | the management plane: region query, stat, list, delete |
//! | `devserver` | a Kodo-compatible server for developers and tests (feature `devserver`) |
//! | `uploader` | one upload, from its source to the commit |
//! | `client` | what a program calls: [`Uploader`] and its builders |
//! | `events`, `error` | what an upload tells on its way, and what the user is told when it fails |
//! | `config` | the one table of settings, and where each value comes from (feature `cli`) |
//! | `cli` | the `haul` program (feature `cli`) |
//!
//! # One upload, from the command line to the socket
//!
//! `main` → `cli::run` → `cli/put` → [`Uploader::put_file`] → `uploader` (the plan, then form, v1 or
//! v2) → `uploader/sender` (host, token, hashes) → `kodo` (the request) → `transport` (the
//! connection). On the way back `kodo` reads the answer and compares it with the bytes that went out;
//! only then does the segment count.
//!
//! What success means: every segment's answer matched the bytes that were read here, the whole hash
//! was computed from the same bytes, and where the service's last answer carries a hash it is that
//! one ([`Verified`]). The source is asked once more before the commit: one that changed is no
//! object.
//!
//! A failure has three layers: what one attempt met ([`model::Failure`]), what is made of it (here:
//! the next host if nothing was sent, else the end), and what the user is told ([`Error`]). Only the
//! program turns an error into an exit code.
//!
//! In this version uploads go one lane after the other, without resume and without retries.

pub mod engine;
pub mod kodo;
pub mod model;

mod api;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod client;
mod clock;
#[cfg(feature = "cli")]
mod config;
#[cfg(feature = "devserver")]
pub mod devserver;
mod error;
mod events;
mod journal;
mod source;
mod stop;
mod transport;
mod uploader;

pub use client::{Done, Put, Uploader, UploaderBuilder, Verified};
pub use error::{Error, ErrorKind};
pub use events::Event;
pub use stop::Stop;
pub use uploader::Protocol;
