//! **haul** moves files into object storage over lines that are slow, flaky or both.
//!
//! It is a library that backends call to store their users' files, and a program for people at a
//! terminal. Qiniu Kodo is the first storage service it speaks to. What it promises, in this order: nothing
//! wrong is ever reported as right; nothing acknowledged is sent again; slow is not dead, and no setting is
//! needed for a slow line; the line is used fully; every failure explains itself. [`guide::guarantees`]
//! says where each of these ends.
//!
//! # A first upload
//!
//! One [`Uploader`] for the whole program: it is cheap to clone, keeps connections and learns the line. It
//! runs on your Tokio runtime. An upload is a builder, [`Put`], that runs when it is awaited. This one goes
//! to a server inside the process ([`devserver`]); with an account, leave out the two lines about it, and
//! give your keys.
//!
//! ```
//! use haul::{Uploader, devserver::DevServer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = DevServer::builder().start().await?;
//! let keys = server.credentials();
//! let uploader = Uploader::builder()
//!     .credentials(keys.access_key.as_str(), keys.secret_key.expose())
//!     .uc_url(server.url()) // the server; without this, Kodo
//!     .build()?;
//!
//! let done = uploader
//!     .put_file("my-bucket", "2026/README.md", "README.md")
//!     .mime_type("text/markdown")
//!     .await?;
//! println!("stored {} bytes with hash {}", done.size, done.hash);
//! assert_eq!(uploader.stat("my-bucket", "2026/README.md").await?.size, done.size);
//! # Ok(())
//! # }
//! ```
//!
//! The service says where the bucket lives. Small files go in one request, larger ones in blocks (v1) or parts (v2), as
//! many side by side as the line is worth. An object that is there is replaced, unless
//! [`insert_only`](Put::insert_only) forbids it. Bucket names have 1 to 63 bytes, keys 750 at most.
//!
//! # Data and streams
//!
//! [`put_data`](Uploader::put_data) takes bytes in memory. [`put_stream`](Uploader::put_stream) takes any
//! stream of bytes, [`put_reader`](Uploader::put_reader) any `AsyncRead`; their length need not be known.
//!
//! ```
//! # use haul::{Uploader, devserver::DevServer};
//! use bytes::Bytes;
//! use futures_util::stream;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = DevServer::builder().start().await?;
//! # let keys = server.credentials();
//! # let uploader = Uploader::builder()
//! #     .credentials(keys.access_key.as_str(), keys.secret_key.expose())
//! #     .uc_url(server.url())
//! #     .build()?;
//! uploader.put_data("my-bucket", "hello.txt", "hello").meta("color", "red").await?;
//!
//! let pieces = ["some ", "bytes"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
//! let done = uploader.put_stream("my-bucket", "notes.txt", stream::iter(pieces)).await?;
//! assert_eq!(done.size, 10);
//!
//! let file = tokio::io::empty(); // a pipe, a child's output, a request's body …
//! let short = uploader.put_reader("my-bucket", "log", file).size(10).await.unwrap_err();
//! assert_eq!(short.kind(), haul::ErrorKind::Source); // it was said to have 10 bytes: no object
//! # Ok(())
//! # }
//! ```
//!
//! *Length*: where it is known, say it with [`size`](Put::size): progress has an end then, and a stream that
//! is cut makes no object. *Memory*: all streams of an uploader and its clones share
//! [`stream_memory`](UploaderBuilder::stream_memory), 128 MiB unless set, and wait for it;
//! [`guide::guarantees`] has the formula. *Crashes*: what a stream gave cannot be had again, so its upload
//! cannot be resumed. With a [`spool_dir`](UploaderBuilder::spool_dir) it is written to the disk first, and
//! resumed as a file is.
//!
//! # Who may upload
//!
//! * [`credentials`](UploaderBuilder::credentials): the account's keys sign a fresh token for every request.
//!   Only with keys can haul look whether an object is there after an answer was lost.
//! * [`token_provider`](UploaderBuilder::token_provider): somebody else signs, when asked. Asked for each
//!   upload, again before its token ends, and when one is refused.
//! * [`upload_token`](UploaderBuilder::upload_token): one ready token, of the uploader or of
//!   [one upload](Put::upload_token). It ends when it ends.
//!
//! What an upload may do, and what the service does when it is there (callbacks, its answer, limits, storage class), is
//! a [`PutPolicy`]: signed into a token for others, or [for an upload](Put::policy) of your own.
//!
//! ```no_run
//! # async fn ask_the_signer() -> Result<String, std::io::Error> { unimplemented!() }
//! # async fn example(access_key: &str, secret_key: &str) -> Result<(), haul::Error> {
//! use std::time::Duration;
//! use haul::{Credentials, PutPolicy, Uploader};
//!
//! // Where the keys are: a token for one key, for ten minutes.
//! let keys = Credentials::from_texts(access_key, secret_key)?;
//! let token = PutPolicy::for_key("my-bucket", "users/42/face.png")
//!     .expires_in(Duration::from_secs(600))
//!     .fsize_limit(10 << 20)
//!     .mime_limit("image/*")
//!     .sign(&keys)?;
//! let text: &str = token.expose();
//!
//! // Where they are not.
//! let uploader = Uploader::builder().token_provider(ask_the_signer).build()?;
//! uploader.put_file("my-bucket", "users/42/face.png", "face.png").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Progress and stopping
//!
//! [`on_event`](Put::on_event) hears how it goes: [`Progress`](Event::Progress) counts only what the other
//! end has acknowledged. A [`Stop`] ends uploads in good order, dropping the future at once; neither loses
//! what is recorded. A time limit is yours, with `tokio::time::timeout`.
//!
//! ```
//! # use haul::{Uploader, devserver::DevServer};
//! use haul::{Event, ErrorKind, Stop};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = DevServer::builder().rate("4mbit".parse()?).start().await?;
//! # let keys = server.credentials();
//! # let uploader = Uploader::builder()
//! #     .credentials(keys.access_key.as_str(), keys.secret_key.expose())
//! #     .uc_url(server.url())
//! #     .build()?;
//! let stop = Stop::new();
//! let stopper = stop.clone(); // for whoever presses the button
//! let upload = uploader
//!     .put_data("my-bucket", "large.bin", vec![7; 6 << 20])
//!     .stop_on(&stop)
//!     .on_event(move |event| match event {
//!         Event::Progress { acknowledged_bytes, size: Some(size), .. } => {
//!             println!("{acknowledged_bytes} of {size}");
//!             stopper.stop();
//!         }
//!         Event::Retrying { failure, wait, .. } => println!("{failure}; again in {wait:?}"),
//!         _ => {}
//!     });
//! assert_eq!(upload.await.unwrap_err().kind(), ErrorKind::Interrupted);
//! # Ok(())
//! # }
//! ```
//!
//! # Resuming
//!
//! With a [`state_dir`](UploaderBuilder::state_dir), the same call after a crash, a failure or a stop goes on
//! where it was: nothing that was acknowledged and recorded is sent again. An upload is known by its bucket and key, or
//! by a job of yours ([`resume_id`](Put::resume_id)). At start, [`unfinished`](Uploader::unfinished) tells what
//! earlier processes left; [`resume`](Uploader::resume) goes on with it, [`abort`](Uploader::abort) gives it up.
//! Put the directory where it outlives a redeployment.
//!
//! ```no_run
//! # async fn example(access_key: &str, secret_key: &str) -> Result<(), haul::Error> {
//! use haul::{SourceState, Uploader};
//!
//! let uploader = Uploader::builder()
//!     .credentials(access_key, secret_key)
//!     .state_dir("/var/lib/my-service/haul")
//!     .spool_dir("/var/lib/my-service/spool") // streams, too
//!     .build()?;
//! for left in uploader.unfinished().await? {
//!     let Some(id) = left.id.filter(|_| !left.is_held) else { continue };
//!     if left.source_state == SourceState::Missing {
//!         uploader.abort(id).await?;
//!         continue;
//!     }
//!     let upload = uploader.resume(id); // type, metadata and variables are what they were
//!     tokio::spawn(async move { upload.await });
//! }
//! let done = uploader.put_file("films", "42.mp4", "/srv/incoming/42.mp4").resume_id("job 42").await?;
//! println!("{} bytes were there already", done.resumed_bytes);
//! # Ok(())
//! # }
//! ```
//!
//! # Living in a service
//!
//! Clone the uploader into every task; all clones share connections, memory and the line, on which uploads
//! have their turns in order. A panic in your callback, stream or provider ends at most its own upload. When
//! the process has to go, [`shutdown`](Uploader::shutdown) takes no more uploads, lets what is in flight be
//! acknowledged, and tells what is unfinished:
//!
//! ```
//! # use haul::{Uploader, devserver::DevServer};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = DevServer::builder().start().await?;
//! # let keys = server.credentials();
//! # let uploader = Uploader::builder()
//! #     .credentials(keys.access_key.as_str(), keys.secret_key.expose())
//! #     .uc_url(server.url())
//! #     .build()?;
//! let upload = uploader.put_data("my-bucket", "k", "v");
//! let task = tokio::spawn(async move { upload.await });
//! task.await??;
//! for left in uploader.shutdown(Duration::from_secs(10)).await {
//!     println!("{:?} is not finished", left.key);
//! }
//! let late = uploader.put_data("my-bucket", "late", "v").await.unwrap_err();
//! assert_eq!(late.kind(), haul::ErrorKind::ShutDown);
//! # Ok(())
//! # }
//! ```
//!
//! Numbers for operators (feature `metrics`) and `tracing` spans: [`guide::metrics`]. `examples/backend.rs` is
//! a whole service: forms from browsers, streamed through; limits, `/metrics`, shutdown, resume at start.
//!
//! # What comes back
//!
//! [`Done`]: key, hash, size, the service's raw [`answer`](Done::answer) (whatever `returnBody` or a callback
//! made of it), what was resumed, sent and sent again, and a [`Report`] with which the object can be proven months later.
//!
//! Or an [`Error`]. Its text is for logs, [`explain`](Error::explain) for people, and these are for programs:
//!
//! ```no_run
//! # async fn example(uploader: &haul::Uploader) {
//! use haul::ErrorKind;
//!
//! match uploader.put_file("my-bucket", "a.bin", "a.bin").await {
//!     Ok(done) => println!("{} {}", done.hash, done.report.bytes_per_s),
//!     // The line, the service, another upload of the same: later, the same call.
//!     Err(error) if error.is_retryable() => println!("{} bytes are safe", error.safe_bytes()),
//!     // Ask the signer for a fresh one; what is stored stays.
//!     Err(error) if error.needs_new_token() => {}
//!     Err(error) => match error.kind() {
//!         ErrorKind::Exists => { /* insert_only: somebody was here before */ }
//!         ErrorKind::CallbackFailed => { /* stored; do not upload it again */ }
//!         ErrorKind::OutcomeUnknown => { /* look at the object before anything else */ }
//!         ErrorKind::Source => { /* it is not there, or cannot be read; a stream failed */ }
//!         _ => eprintln!("{}", error.explain()),
//!     },
//! }
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | what it brings |
//! | --- | --- | --- |
//! | `cli` | yes | the `haul` program; with it `devserver` |
//! | `devserver` | yes | [`devserver`]: a Kodo for developers and tests, with faults to order |
//! | `metrics` | no | numbers on the facade of the `metrics` crate |
//!
//! A backend wants `default-features = false, features = ["metrics"]`, and `devserver` for its tests.
//!
//! # More to read
//!
//! [`guide::guarantees`]: what survives a crash, what is never sent twice, memory. [`guide::from_qiniu_sdks`]:
//! every parameter of the Python, Go and Java SDKs. [`guide::metrics`]: what operators see. The rest of this page
//! is for those who work on haul.
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
//! | `source` | a file, opened once and read by position, bytes in memory, or a stream |
//! | `network` | what both planes share: one TLS configuration, one choice of proxies |
//! | `transport` | the upload plane: every call that carries a body to an upload host |
//! | `api` | the management plane: region query, stat, list, delete |
//! | `devserver` | a Kodo-compatible server for developers and tests (feature `devserver`) |
//! | `clock`, `blocking` | the time, and where work goes that may block |
//! | `uploader` | drives the engine: carries its effects out and tells it what happened |
//! | `client` | what a program calls: [`Uploader`] and its builders |
//! | `events`, `error` | what an upload tells on its way, and what the user is told when it fails |
//! | `telemetry` | numbers for operators (feature `metrics`) |
//! | [`guide`] | pages to read: coming from the service's own SDKs, guarantees, what operators see |
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
//! each attempt is, and the engine decides which has had its time. On the way back `kodo` reads the
//! answer and compares it with the bytes that went out → the engine asks for a record → `journal`
//! brings it to the disk → only now the segment counts.
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
pub use transport::CongestionControl;
pub use uploader::Protocol;
