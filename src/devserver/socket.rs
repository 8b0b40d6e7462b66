//! A TCP socket that several parts of the server hold: one serves it, one may end it.

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
const SMALL_BUFFER_LEN: usize = 16 * 1024;

/// A shared TCP socket. It is closed when its last holder lets go.
#[derive(Clone, Debug)]
pub(crate) struct Socket(Arc<TcpStream>);

impl Socket {
    /// Takes a connection. Answers are small and must not wait for one another.
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Not every platform may say no-delay on a connection that is gone already; then it does
        // not matter.
        let _ = stream.set_nodelay(true);
        Self(Arc::new(stream))
    }

    /// From now on the kernel takes little more than is read.
    pub(crate) fn keep_little_unread(&self) {
        let _ = SockRef::from(&*self.0).set_recv_buffer_size(SMALL_BUFFER_LEN);
    }

    /// Makes the close that follows a reset: RST instead of FIN, whatever is unread or unsent.
    pub(crate) fn reset_on_close(&self) {
        let _ = SockRef::from(&*self.0).set_linger(Some(Duration::ZERO));
    }

    /// Says goodbye: FIN, then reads and drops what still comes until the client closes too, a
    /// while has passed, or `hurry` is done and nothing more is there.
    pub(crate) async fn linger(&self, hurry: impl Future<Output = ()>) {
        let _ = SockRef::from(&*self.0).shutdown(Shutdown::Write);
        let mut rubbish = vec![0; SMALL_BUFFER_LEN];
        let drain = async {
            loop {
                match self.0.try_read(&mut rubbish) {
                    Ok(0) => return,
                    Ok(_) => tokio::task::yield_now().await,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if self.0.readable().await.is_err() {
                            return;
                        }
                    }
                    Err(_) => return,
                }
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
        loop {
            match self.0.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => sleep(LOOK_EVERY).await,
                _ => return,
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_buf(buffer) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(Shutdown::Write))
    }
}
