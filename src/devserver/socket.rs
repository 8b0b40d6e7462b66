//! A connection's byte carrier, which several parts of the server hold: one serves it, one may end it.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long the rest of what a client sends is read and dropped after the server has said its last
/// word. Closing a socket with unread bytes makes a kernel send RST, which may destroy an answer that
/// the client has not read yet. nginx's `lingering_timeout` is the same.
const LINGER: Duration = Duration::from_secs(5);

/// How often a connection that is not being read is looked at for its client's leave. An EOF behind
/// unread bytes wakes nobody.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Receive buffer of a connection that is to be read slowly or not at all, in bytes: with the
/// kernel's own choice, megabytes would seem to have been read.
pub(crate) const SMALL_BUFFER_LEN: usize = 16 * 1024;

/// The seam to a kernel: what a server does to a connection beside HTTP. A TCP socket, or a pipe
/// within the process that behaves like one.
pub(crate) trait Carrier: Send + Sync {
    /// As [`AsyncRead::poll_read`].
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;
    /// As [`AsyncWrite::poll_write`].
    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// FIN, after what was written.
    fn shutdown_write(&self) -> io::Result<()>;
    /// Sets how much may wait unread, in bytes.
    fn set_unread_max(&self, len: usize);
    /// Makes the close a reset: RST, whatever is unread or unsent.
    fn reset_on_close(&self);
    /// Whether the client has closed its side or reset the connection, as soon as there is something
    /// to read. Reads nothing.
    fn is_gone(&self) -> Look<'_>;
}

/// What [`Carrier::is_gone`] answers.
pub(crate) type Look<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// A shared carrier. The connection is closed when its last holder lets go.
#[derive(Clone)]
pub(crate) struct Socket(Arc<dyn Carrier>);

impl Socket {
    /// Takes a TCP connection. Answers are small and must not wait for one another.
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        // Not every platform may say no-delay on a connection that is gone already; then it does
        // not matter.
        let _ = stream.set_nodelay(true);
        Self::over(Arc::new(stream))
    }

    /// Takes a connection.
    pub(crate) fn over(carrier: Arc<dyn Carrier>) -> Self {
        Self(carrier)
    }

    /// From now on the kernel takes little more than is read.
    pub(crate) fn keep_little_unread(&self) {
        self.0.set_unread_max(SMALL_BUFFER_LEN);
    }

    /// Makes the close that follows a reset: RST instead of FIN, whatever is unread or unsent.
    pub(crate) fn reset_on_close(&self) {
        self.0.reset_on_close();
    }

    /// Says goodbye: FIN, then reads and drops what still comes until the client closes too, a
    /// while has passed, or `hurry` is done and nothing more is there.
    pub(crate) async fn linger(&self, hurry: impl Future<Output = ()>) {
        let _ = self.0.shutdown_write();
        let mut rubbish = vec![0; SMALL_BUFFER_LEN];
        let drain = async {
            loop {
                let mut buffer = ReadBuf::new(&mut rubbish);
                let read = poll_fn(|cx| self.0.poll_read(cx, &mut buffer)).await;
                if read.is_err() || buffer.filled().is_empty() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = timeout(LINGER, drain) => {}
            () = hurry => {}
        }
    }

    /// Waits until the client is gone: it closed its side or reset the connection. Reads nothing.
    pub(crate) async fn gone(&self) {
        while !self.0.is_gone().await {
            sleep(LOOK_EVERY).await;
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown_write())
    }
}

impl Carrier for TcpStream {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            match self.try_read_buf(buffer) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(Shutdown::Write)
    }

    fn set_unread_max(&self, len: usize) {
        let _ = SockRef::from(self).set_recv_buffer_size(len);
    }

    fn reset_on_close(&self) {
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn is_gone(&self) -> Look<'_> {
        Box::pin(async {
            let ready = self.ready(Interest::READABLE).await;
            ready.is_err() || ready.is_ok_and(|ready| ready.is_read_closed())
        })
    }
}
