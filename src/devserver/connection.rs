//! One accepted connection: HTTP/1.1 over a socket or over the line, and how it ends.
//!
//! Every choice between things that may happen at once is `biased`: in virtual time one seed must give
//! one run.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex, split};
use tokio::sync::{Mutex, mpsc, watch};

use crate::devserver::arriving::Arriving;
use crate::devserver::faults::matching::Arrival;
use crate::devserver::pipeline;
use crate::devserver::server::Shared;
use crate::devserver::socket::Socket;

/// Longest head of a request, and most bytes of a body read at a time. Kodo's longest head is an
/// mkfile path with 1 KiB of metadata and a token of a few KiB.
const BUFFER_LEN_MAX: usize = 128 * 1024;

/// The pipe on a line with latency but no rate, in bytes: as much as hyper takes at once.
const PIPE_LEN: usize = BUFFER_LEN_MAX;

/// Most bytes of a body that nobody wanted that are read and dropped so that the connection can serve
/// another request; longer rests end it. Go's `net/http` draws the line at the same length.
pub(crate) const LEFTOVER_LEN_MAX: u64 = 256 * 1024;

/// How a connection ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// RST, at once.
    Reset,
    /// FIN, after what has been written.
    Close,
}

/// The handle on a connection that its requests hold.
pub(crate) struct Connection {
    /// Where it came in.
    pub(crate) arrival: Arrival,
    /// Who is at its other end.
    pub(crate) peer: SocketAddr,
    end: watch::Sender<Option<End>>,
    /// Set when everything that will be said has been handed to HTTP.
    last_words_said: AtomicBool,
    leftovers: mpsc::Sender<Arc<Mutex<Arriving>>>,
    socket: Socket,
}

impl Connection {
    /// Ends it. The first end counts.
    pub(crate) fn end(&self, end: End) {
        self.end.send_if_modified(|slot| {
            let first = slot.is_none();
            slot.get_or_insert(end);
            first
        });
    }

    /// Closes it as soon as everything written so far is with the socket.
    pub(crate) fn end_after_flush(&self) {
        self.last_words_said.store(true, Ordering::Relaxed);
    }

    /// From now on the client feels how its body is read.
    pub(crate) fn keep_little_unread(&self) {
        self.socket.keep_little_unread();
    }

    /// Waits until the client has left.
    pub(crate) async fn gone(&self) {
        self.socket.gone().await;
    }

    /// Leaves a body that nobody wants to be read to its end, within limits.
    pub(crate) fn leave(&self, body: Arc<Mutex<Arriving>>) {
        // HTTP/1 has one request at a time, so the place is free; if not, the body is dropped and
        // the connection ends.
        let _ = self.leftovers.try_send(body);
    }

    /// Waits until it is to end this way.
    async fn ends_with(&self, end: End) {
        // The sender lives as long as `self`.
        let _ = self
            .end
            .subscribe()
            .wait_for(|slot| *slot == Some(end))
            .await;
    }
}

/// Serves a connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, arrival: Arrival, peer: SocketAddr, socket: Socket) {
    let (leftovers, left) = mpsc::channel(1);
    let connection = Arc::new(Connection {
        arrival,
        peer,
        end: watch::Sender::new(None),
        last_words_said: AtomicBool::new(false),
        leftovers,
        socket: socket.clone(),
    });
    let reset = tokio::select! {
        biased;
        () = connection.ends_with(End::Reset) => true,
        () = exchange(&shared, &connection, &socket, left) => false,
    };
    // Everything that served the connection is dropped here; only then a close is the last one.
    if reset {
        socket.reset_on_close();
    } else {
        socket.linger(shared.until_stopping()).await;
    }
}

/// Holds a connection without a word until its client leaves or the server stops.
pub(crate) async fn ignore(shared: &Shared, socket: Socket) {
    socket.keep_little_unread();
    tokio::select! {
        biased;
        () = socket.gone() => {}
        () = shared.until_stopping() => {}
    }
}

/// Speaks HTTP over the socket, or over a pipe that the line fills and empties.
async fn exchange(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    socket: &Socket,
    left: mpsc::Receiver<Arc<Mutex<Arriving>>>,
) {
    if shared.line.is_plain() {
        return speak(shared, connection, socket.clone(), left).await;
    }
    let (near, far) = duplex(shared.line.buffer_len().unwrap_or(PIPE_LEN));
    let mut carried = pin!(shared.line.carry(split(socket.clone()), split(far)));
    tokio::select! {
        biased;
        // The near end is gone now: what is in the pipe still goes out.
        () = speak(shared, connection, near, left) => {}
        _ = &mut carried => return,
    }
    let _ = carried.await;
}

/// Speaks HTTP over `io` until one side has enough.
async fn speak(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    left: mpsc::Receiver<Arc<Mutex<Arriving>>>,
) {
    let io = TokioIo::new(Flushed {
        io,
        connection: Arc::clone(connection),
    });
    let answer =
        service_fn(|request| pipeline::answer(Arc::clone(shared), Arc::clone(connection), request));
    let mut http = pin!(
        http1::Builder::new()
            .half_close(true)
            .header_read_timeout(None)
            .auto_date_header(false)
            .title_case_headers(true)
            .max_buf_size(BUFFER_LEN_MAX)
            .serve_connection(io, answer)
    );
    let mut leftovers = pin!(discard(left));
    let mut closed = pin!(connection.ends_with(End::Close));
    let mut stopping = pin!(shared.until_stopping());
    tokio::select! {
        biased;
        // An error is the client's: it left, or spoke no HTTP and has been told so.
        _ = &mut http => return,
        () = &mut closed => return,
        () = &mut leftovers => return,
        () = &mut stopping => {}
    }
    http.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = &mut http => {}
        () = &mut closed => {}
        () = &mut leftovers => {}
    }
}

/// Reads bodies that nobody wanted to their ends, each within the limit. Never ends by itself: the
/// sender lives with the connection.
async fn discard(mut left: mpsc::Receiver<Arc<Mutex<Arriving>>>) {
    while let Some(body) = left.recv().await {
        let mut body = body.lock().await;
        let _ = body.skip(LEFTOVER_LEN_MAX).await;
    }
}

/// A byte stream that closes its connection once the last words have been flushed.
struct Flushed<S> {
    io: S,
    connection: Arc<Connection>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Flushed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Flushed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    /// HTTP flushes its bytes' stream only when its own buffers are empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        if self.connection.last_words_said.load(Ordering::Relaxed) {
            self.connection.end(End::Close);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
