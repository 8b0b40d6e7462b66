//! A web service that stores what browsers send it in Kodo, without a file in between (unless asked to).
//!
//! ```sh
//! cargo run --example backend        # no account: with a dev server inside
//! HAUL_ACCESS_KEY=… HAUL_SECRET_KEY=… BACKEND_BUCKET=my-bucket cargo run --example backend
//! ```
//!
//! A file's way: browser → form (multer, in axum) → [`feed`] → a channel of one piece → [`pieces`] →
//! `Uploader::put_stream`. Each waits for the next, so a slow storage slows the browser down and fills
//! no memory.
//!
//! Left to you: who may upload (there is no login here, and any page of the web can make a browser send
//! a form), and a reverse proxy in front, for TLS and against clients that never end their headers. Tell it
//! to pass bodies on as they come (nginx: `proxy_request_buffering off`), or it fills its disk with them.

#![expect(clippy::print_stdout, reason = "it says where it listens")]
#![expect(clippy::print_stderr, reason = "an example's log")]
#![expect(
    clippy::disallowed_methods,
    reason = "a program's main may read the environment"
)]

use std::env::var;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use haul::devserver::{DevServer, FaultPlan};
use haul::{Done, ErrorKind, Uploader};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{interval, timeout};

/// Whatever keeps the service from starting.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Files that are taken in at the same time; who comes then is told to come again. Each may fill a
/// block of memory while its browser is slow, so memory sets this number: see [`STREAM_MEMORY`].
const UPLOADS_MAX: u32 = 256;

/// A block (4 MiB) for each of them: with less, slow browsers would keep memory that fast ones wait
/// for. It is a limit; what was once needed stays with the process, for the next.
const STREAM_MEMORY: u64 = UPLOADS_MAX as u64 * (4 << 20);

/// Largest file, unless `BACKEND_FILE_MAX` says otherwise: what one stranger may cost.
const FILE_MAX: u64 = 1 << 30;

/// Most of a field that is no file: read past, and a form has no reason for more.
const TEXT_MAX: u64 = 64 << 10;

/// Most fields of a form, files and others.
const FIELDS_MAX: usize = 100;

/// Bytes that go on their way together, and that a browser must send within [`PIECE_TIME_MAX`].
const PIECE_LEN: usize = 64 << 10;

/// 64 KiB a minute: slower than any line, faster than whoever only wants to keep a place.
const PIECE_TIME_MAX: Duration = Duration::from_secs(60);

/// How long haul tries when nothing is acknowledged. Its own 15 min are for people who went home; a
/// browser's user sits and waits.
const RETRY_BUDGET: Duration = Duration::from_secs(120);

/// How long a refused browser's bytes are read past. It looks for an answer only when it has sent them,
/// and a connection closed before would take the answer with it.
const LINGER: Duration = Duration::from_secs(8);

/// How many seconds uploads in flight may take after SIGTERM, unless `BACKEND_GRACE_S` says otherwise: less
/// than what the service manager allows (systemd: 90 s, Kubernetes: 30 s) by the two below.
const GRACE_S: u64 = 15;

/// How long what is then on its way may take to be acknowledged.
const LAST_SEGMENTS: Duration = Duration::from_secs(2);

/// How long the answers of the last uploads may take to their browsers: [`LINGER`] and a little.
const ANSWER_GRACE: Duration = Duration::from_secs(10);

/// Longest name kept, in bytes. A key has at most 750, and what is before the name takes 41.
const NAME_LEN_MAX: usize = 255;

/// What all requests share.
struct Backend {
    uploader: Uploader,
    bucket: String,
    file_max: u64,
    /// One for each upload, held until it is over, even when its browser has gone.
    turns: Arc<Semaphore>,
    numbers: PrometheusHandle,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let grace_s = var("BACKEND_GRACE_S").map_or(Ok(GRACE_S), |seconds| seconds.parse())?;
    let numbers = PrometheusBuilder::new().install_recorder()?;
    tokio::spawn(upkeep(numbers.clone()));
    let (uploader, dev_server) = storage().await?;
    tokio::spawn(go_on(uploader.clone()));
    let backend = Arc::new(Backend {
        uploader,
        bucket: var("BACKEND_BUCKET").unwrap_or_else(|_| "my-bucket".to_owned()),
        file_max: var("BACKEND_FILE_MAX").map_or(Ok(FILE_MAX), |bytes| bytes.parse())?,
        turns: Arc::new(Semaphore::new(UPLOADS_MAX as usize)),
        numbers,
    });
    let listen = var("BACKEND_LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(listen).await?;
    // Before the line that says where: whoever reads it may send the signal at once.
    let asked_to_end = asked_to_end()?;
    println!("listening on http://{}", listener.local_addr()?);

    let (close, closed) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes(Arc::clone(&backend)));
    let server = server.with_graceful_shutdown(async { drop(closed.await) });
    let server = tokio::spawn(server.into_future());
    asked_to_end.await;
    drop(close);
    backend.finish(Duration::from_secs(grace_s)).await;
    // Browsers that do not fetch their answer are left behind.
    let _ = timeout(ANSWER_GRACE, server).await;
    if let Some(dev_server) = dev_server {
        dev_server.stop().await;
    }
    Ok(())
}

/// The account of the environment; without one, a dev server of our own.
async fn storage() -> Result<(Uploader, Option<DevServer>), Failed> {
    let mut builder = Uploader::builder()
        .stream_memory(STREAM_MEMORY)
        .retry_budget(RETRY_BUDGET);
    // With both, files outlive a crash: they are written to the disk before they are sent.
    if let Ok(dir) = var("BACKEND_STATE_DIR") {
        builder = builder.state_dir(dir);
    }
    if let Ok(dir) = var("BACKEND_SPOOL_DIR") {
        builder = builder.spool_dir(dir);
    }
    if let Ok(access_key) = var("HAUL_ACCESS_KEY") {
        let mut builder = builder.credentials(access_key, var("HAUL_SECRET_KEY")?);
        if let Ok(url) = var("HAUL_UC_URL") {
            builder = builder.uc_url(url);
        }
        return Ok((builder.build()?, None));
    }
    let mut faults = FaultPlan::default();
    if let Ok(path) = var("BACKEND_FAULTS") {
        faults = std::fs::read_to_string(path)?.parse()?;
    }
    let server = DevServer::builder().faults(faults).start().await?;
    let keys = server.credentials();
    let builder = builder
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .uc_url(server.url());
    eprintln!("no account: objects go to {}", server.url());
    Ok((builder.build()?, Some(server)))
}

fn routes(backend: Arc<Backend>) -> Router {
    // axum's own limit (2 MB) is for bodies that are kept in memory. Ours are not; what they may cost
    // is limited where they are read: by file, field, time and number.
    let upload = post(upload).layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/", get(page))
        .route("/upload", upload)
        .route("/metrics", get(numbers))
        .with_state(backend)
}

async fn page(State(backend): State<Arc<Backend>>) -> Html<String> {
    let limit = backend.file_max.to_string();
    Html(include_str!("backend.html").replace("FILE_MAX", &limit))
}

/// Our numbers and haul's, which has them with its feature `metrics`.
async fn numbers(State(backend): State<Arc<Backend>>) -> String {
    backend.numbers.render()
}

/// Clears old samples away, also where nobody asks for `/metrics`; every 5 s is the exporter's advice.
async fn upkeep(numbers: PrometheusHandle) {
    let mut ticks = interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        numbers.run_upkeep();
    }
}

/// Takes a form, and stores its files one after the other. The first that fails is the last.
async fn upload(State(backend): State<Arc<Backend>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut body = SharedBody(Arc::new(Mutex::new(body.into_data_stream())));
    let request = Request::from_parts(head, Body::from_stream(body.clone()));
    let mut stored = Vec::new();
    match backend.take(request, &mut stored).await {
        Ok(()) => Json(json!({ "stored": stored })).into_response(),
        Err(refusal) => {
            let rest = async { while let Some(Ok(_)) = body.next().await {} };
            let _ = timeout(LINGER, rest).await;
            refusal.into(&stored)
        }
    }
}

/// A request's body, of which there is still a hold when a form's reader has given it up.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<BodyDataStream>>);

impl Stream for SharedBody {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.poll_next_unpin(context)
    }
}

impl Backend {
    async fn take(&self, request: Request, stored: &mut Vec<Value>) -> Result<(), Refusal> {
        let form = Multipart::from_request(request, &()).await;
        let mut form = form.map_err(|no| Refusal::new(no.status(), no.body_text()))?;
        for _ in 0..FIELDS_MAX {
            let field = timeout(PIECE_TIME_MAX, form.next_field()).await;
            let Some(mut field) = field.map_err(|_| Refusal::slow())?? else {
                return match stored.is_empty() {
                    true => Err(Refusal::new(
                        StatusCode::BAD_REQUEST,
                        "the form has no file",
                    )),
                    false => Ok(()),
                };
            };
            match field.file_name() {
                // A browser whose user chose no file sends one without a name.
                None | Some("") => skip(&mut field).await?,
                Some(name) => {
                    let name = last_segment(name);
                    stored.push(self.store(&name, field).await?);
                }
            }
        }
        let words = format!("a form may have {FIELDS_MAX} fields");
        Err(Refusal::new(StatusCode::BAD_REQUEST, words))
    }

    /// Stores one file.
    async fn store(&self, name: &str, field: Field<'_>) -> Result<Value, Refusal> {
        let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() else {
            return Err(Refusal::busy());
        };
        // Chance makes the key, so that nobody's name replaces another's file, or can be guessed.
        let key = format!("uploads/{:032x}/{name}", rand::random::<u128>());
        let (sender, receiver) = mpsc::channel(1);
        // The browser's type is not passed on: an object that says it is a page would run its scripts
        // under your domain. The service looks itself.
        let put = self
            .uploader
            .put_stream(&self.bucket, &key, pieces(receiver))
            .insert_only();
        // A task of its own: when the browser goes away, axum drops the handler wherever it is, and
        // what is half done should end with a word in the log. It also ends before the process does.
        let upload = tokio::spawn(async move {
            let done = put.await;
            note(&key, &done);
            drop(turn);
            done
        });
        let fed = feed(field, &sender, self.file_max).await;
        if let Err(refusal) = &fed {
            // Without this word the upload would hear that the browser went away.
            let _ = sender.send(Piece::Refused(refusal.words.clone())).await;
        }
        drop(sender);
        let done = upload.await.map_err(|_| Refusal::internal())?;
        fed?;
        let done = done.map_err(|error| Refusal::from(&error))?;
        Ok(json!({ "name": name, "key": done.key, "size": done.size, "hash": done.hash }))
    }

    /// Takes no more uploads and waits for those in flight; after `grace` it stops them.
    async fn finish(&self, grace: Duration) {
        // Whoever asks for all turns stands first in line for each that comes free.
        let _ = timeout(grace, self.turns.acquire_many(UPLOADS_MAX)).await;
        for left in self.uploader.shutdown(LAST_SEGMENTS).await {
            eprintln!("{:?}: not finished", left.key.unwrap_or_default());
        }
    }
}

/// Goes on with what an earlier process had to leave, one after the other, beside new uploads. Nobody
/// waits for these any more: whoever sent them should be told elsewhere.
async fn go_on(uploader: Uploader) {
    let unfinished = uploader.unfinished().await;
    let unfinished = unfinished.unwrap_or_else(|error| {
        eprintln!("what is unfinished cannot be told: {error}");
        Vec::new()
    });
    for upload in unfinished {
        // One that is held is under way in another process.
        if let (Some(id), false) = (upload.id, upload.is_held) {
            note(&upload.key.unwrap_or_default(), &uploader.resume(id).await);
        }
    }
}

/// What goes from the form to the upload. A channel that only ends would make a cut file look whole:
/// the end has to be said.
enum Piece {
    Bytes(Bytes),
    End,
    Refused(String),
}

/// Gives the upload the file's bytes, each piece when the one before has been taken.
async fn feed(
    mut field: Field<'_>,
    sender: &mpsc::Sender<Piece>,
    file_max: u64,
) -> Result<(), Refusal> {
    let mut len = 0;
    loop {
        let piece = tokio::select! {
            piece = next_piece(&mut field) => piece?,
            // The upload is over before its file: it has failed, and says itself why.
            () = sender.closed() => return Ok(()),
        };
        let is_last = piece.is_empty();
        len += piece.len() as u64;
        if len > file_max {
            let words = format!("a file may have {file_max} bytes");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, words));
        }
        let piece = if is_last {
            Piece::End
        } else {
            Piece::Bytes(piece)
        };
        if sender.send(piece).await.is_err() || is_last {
            return Ok(());
        }
    }
}

/// The field's next [`PIECE_LEN`] bytes or a little more; fewer where it ends, and none after that.
async fn next_piece(field: &mut Field<'_>) -> Result<Bytes, Refusal> {
    let mut piece = BytesMut::new();
    let gather = async {
        while piece.len() < PIECE_LEN {
            let Some(chunk) = field.chunk().await? else {
                break;
            };
            piece.extend_from_slice(&chunk);
        }
        Ok::<_, MultipartError>(())
    };
    let gathered = timeout(PIECE_TIME_MAX, gather).await;
    gathered.map_err(|_| Refusal::slow())??;
    Ok(piece.freeze())
}

/// The other end of the channel, as haul wants it.
fn pieces(receiver: mpsc::Receiver<Piece>) -> impl Stream<Item = Result<Bytes, String>> {
    stream::unfold(receiver, |mut receiver| async {
        let piece = match receiver.recv().await {
            Some(Piece::Bytes(bytes)) => Ok(bytes),
            Some(Piece::End) => return None,
            Some(Piece::Refused(why)) => Err(why),
            None => Err("the browser went away".to_owned()),
        };
        Some((piece, receiver))
    })
}

/// Reads past a field that is no file.
async fn skip(field: &mut Field<'_>) -> Result<(), Refusal> {
    let mut len = 0;
    while len <= TEXT_MAX {
        let piece = next_piece(field).await?;
        if piece.is_empty() {
            return Ok(());
        }
        len += piece.len() as u64;
    }
    let words = format!("a field that is no file may have {TEXT_MAX} bytes");
    Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, words))
}

/// What may be kept of a file's name: one segment, without what a terminal or a header would obey.
fn last_segment(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|char| !char.is_control()).collect();
    match &kept[..kept.floor_char_boundary(NAME_LEN_MAX)] {
        "" | "." | ".." => "unnamed".to_owned(),
        name => name.to_owned(),
    }
}

/// One line of log for each upload. haul counts them itself.
fn note(key: &str, done: &Result<Done, haul::Error>) {
    // The name in the key is a stranger's: Debug escapes what a terminal would obey.
    match done {
        Ok(done) => eprintln!("{key:?}: stored {} bytes, {}", done.size, done.hash),
        Err(error) => eprintln!("{key:?}: {error}"),
    }
}

/// Why a file was not stored, in words for whoever sent it.
struct Refusal {
    status: StatusCode,
    words: String,
}

impl Refusal {
    fn new(status: StatusCode, words: impl Into<String>) -> Self {
        let words = words.into();
        Self { status, words }
    }

    fn busy() -> Self {
        let words = "too many uploads at the moment, or the service is about to restart: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
    }

    fn slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "nothing came for too long")
    }

    fn internal() -> Self {
        let words = "the file could not be stored: this is the service's fault";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    }

    /// The answer; `stored` are the files before.
    fn into(self, stored: &[Value]) -> Response {
        let status = self.status.as_str().to_owned();
        metrics::counter!("backend_refused_total", "status" => status).increment(1);
        let body = Json(json!({ "error": self.words, "stored": stored }));
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                (self.status, [(header::RETRY_AFTER, "5")], body).into_response()
            }
            status => (status, body).into_response(),
        }
    }
}

impl From<MultipartError> for Refusal {
    fn from(error: MultipartError) -> Self {
        Self::new(error.status(), error.body_text())
    }
}

impl From<&haul::Error> for Refusal {
    /// A stranger is told what to do, not which hosts we use: that is in the log.
    fn from(error: &haul::Error) -> Self {
        match error.kind() {
            ErrorKind::Interrupted | ErrorKind::ShutDown => Self::busy(),
            ErrorKind::NoConnection | ErrorKind::NotKodo | ErrorKind::Unfinished => {
                let words = "the storage cannot be reached: try again later";
                Self::new(StatusCode::BAD_GATEWAY, words)
            }
            ErrorKind::OutcomeUnknown => {
                let words = "it is not known whether the file was stored: try again later";
                Self::new(StatusCode::BAD_GATEWAY, words)
            }
            _ => Self::internal(),
        }
    }
}

/// SIGTERM and Ctrl-C, heard from the moment this is called.
#[cfg(unix)]
fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Ctrl-C, heard when it is waited for.
#[cfg(not(unix))]
fn asked_to_end() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
