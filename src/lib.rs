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
//! | `cli` | the `haul` program (feature `cli`) |

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
mod source;
mod transport;
mod uploader;

pub use client::{Done, PutFile, Uploader, UploaderBuilder, Verified};
pub use error::{Error, ErrorKind};
pub use events::Event;
pub use uploader::Protocol;
