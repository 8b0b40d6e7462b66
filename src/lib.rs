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
//! pure          model · engine · kodo            no files, sockets, clocks, tasks, randomness
//! I/O           journal · source · network · transport · api · telemetry · devserver   thin; no decisions
//! composition   uploader · client · events · config · error · guide · stop · cli
//! ```
//!
//! *The rule*: pure code imports only [`model`]; `engine` and `kodo` never meet; I/O imports pure
//! code; only composition joins them. `devserver` may use `kodo` and `model`, never the uploader, so
//! that the test double cannot agree with a bug. `tests/house` enforces the rule, and the size limits with it.
//!
//! | room | what it is |
//! | --- | --- |
//! | [`model`] | the nouns: bucket, object key, byte span, endpoint, request, answer, failure |
//! | [`engine`] | the upload as a state machine: lanes, retries, resume, the commit |
//! | [`kodo`] | the Qiniu dialect, bytes only: tokens, signatures, hashes, requests, answers |
//! | `journal` | what a crash must not take from an upload: one append-only file each |
//! | `source` | a file, opened once and read by position, or bytes in memory |
//! | `network` | what both planes share: one TLS configuration, one choice of proxies |
//! | `transport` | the upload plane: every call that carries a body to an upload host |
//! | `api` | the management plane: region query, stat, list, delete |
//! | `devserver` | a Kodo-compatible server for developers and tests (feature `devserver`) |
//! | `clock`, `blocking` | the time, and where work goes that may block |
//! | `uploader` | drives the engine: carries its effects out and tells it what happened |
//! | `client` | what a program calls: [`Uploader`] and its builders |
//! | `events`, `error` | what an upload tells on its way, and what the user is told when it fails |
//! | `telemetry` | numbers for operators (feature `metrics`) |
//! | [`guide`] | pages to read: coming from the service's own SDKs, what operators see |
//! | `stop` | a request to stop, heard by every upload it was given to |
//! | `config` | the one table of settings, and where each value comes from (feature `cli`) |
//! | `cli` | the `haul` program (feature `cli`) |
//!
//! # One upload, from the command line to the socket
//!
//! `main` → `cli::run` → `cli/put` → [`Uploader::put_file`] → `uploader/driver` (the engine's next
//! effect) → `uploader/effects` (token, bytes, hashes; `kodo` makes the request) → `uploader/calls`
//! (once more where a kept connection was over) → `transport` (the connection, whose `flight` shows
//! what the other end has acknowledged). A few times a second the driver tells the engine how far
//! each attempt is, and the engine decides which has had its time. On the way back `kodo` reads the answer and compares it with the bytes that went
//! out → the engine asks for a record → `journal` brings it to the disk → only now the segment
//! counts.
//!
//! # What is promised
//!
//! *Success* means: every segment's answer matched the bytes that were read here, the hash of the
//! whole was computed from the same bytes, and where the service's last answer carries a hash it is
//! that one ([`Verified`]). The source is looked at beside every segment and before the commit: one
//! whose bytes changed is no object.
//!
//! *Resume*: with a state directory ([`UploaderBuilder::state_dir`]), what the service has
//! acknowledged and the journal has recorded is not sent again, unless its bytes or the service's
//! record of them no longer match. After a crash at most what was in flight is sent twice. Bytes are
//! believed, not times: what a journal claims is hashed again, beside the upload.
//!
//! *In a service*: an upload may be named by a job of the caller's ([`Put::resume_id`]). [`Uploader::shutdown`]
//! takes no more uploads, lets what is in flight be acknowledged until a deadline, and tells what is
//! unfinished; [`Uploader::unfinished`], [`Uploader::resume`] and [`Uploader::abort`] are for the process
//! after it. An upload id that cannot be given back to the service is remembered as an orphan, 256 of
//! them for at most 7 days each, and given back beside a later upload. A panic in a listener
//! ([`Put::on_event`]) or in a token provider ([`UploaderBuilder::token_provider`]) is its own: nothing is
//! poisoned, nothing acknowledged is lost.
//!
//! *The line*: how much is in flight follows what is acknowledged, over all uploads of one [`Uploader`]
//! and its clones. Four lanes begin side by side and share the bytes that one would risk; there are
//! more for as long as they carry more, and few on a thin line. A segment takes up to 4 s, but all
//! in flight are a small share of the object, which is what a kill costs, and no longer than broken
//! connections leave cheap. A connection that is silent for far longer than this line ever was is
//! doubted: while others move, its segment goes out a second time; when nothing moves, a fresh
//! connection tells whether the line is down, and while it is, nothing is given up. What a way
//! carried is remembered for a week.
//!
//! *Hosts*: an upload goes to the hosts of the bucket's region. What the service says about them is
//! kept with the state and believed for as long as it says; older answers only while nobody can be
//! asked. Hosts that were known and do not serve are asked for again. A refusal that names other
//! hosts is followed once, before anything was acknowledged in the run, and remembered; what an
//! earlier run had stored is taken along, and sent again only where it is not there. Another region
//! of the bucket stands in when none of the hosts of its own serves: for a minute if the service
//! was never heard, else for the retry budget. It must have begun an upload first; then the upload
//! starts over there, and what the old region has is void. Where the user names the hosts, or waits
//! out outages ([`UploaderBuilder::wait_online`]), no region stands in. All of it is said
//! ([`Event::Notice`]).
//!
//! *Rights*: own keys sign a token for every request, with the upload's put policy ([`PutPolicy`]) if it has
//! one; a provider is asked for the next token while the one in use still serves. Of what
//! the service gave for a time (a ready token, a v1 context, a v2 upload id), whatever ends before the
//! upload does, at its present pace, is told of ([`Event::Expiring`]).
//!
//! *Failure* has three layers: what one attempt met ([`model::Failure`]), what the engine makes of
//! it (again, elsewhere, later, from the start, or the end), and what the user is told ([`Error`]).
//! Only the program turns an error into an exit code.

pub mod engine;
pub mod kodo;
pub mod model;

mod api;
mod blocking;
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
pub mod guide;
mod journal;
mod network;
mod source;
mod stop;
mod telemetry;
mod transport;
mod uploader;

pub use client::{
    Aborted, Done, FileType, Put, PutPolicy, Report, SourceState, Unfinished, Uploader,
    UploaderBuilder, Verified,
};
pub use engine::expiry::Grant;
pub use error::{Error, ErrorKind, Fact};
pub use events::{Attempt, Event};
pub use kodo::policy::{CallbackBodyType, DetectMime};
pub use kodo::{Credentials, Etag, UploadToken};
pub use network::TlsVersion;
pub use stop::Stop;
pub use uploader::Protocol;
