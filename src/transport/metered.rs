//! The byte stream that HTTP writes to: counts what it wrote, and hears the server out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::telemetry;
use crate::transport::limit::Limited;

/// A connection's bytes, above any encryption.
///
/// A write that fails is not told at once: a server that refuses an upload answers, closes, and resets
/// what still comes, and its answer is there to be read. Only when nothing more can be read the
/// failure comes out.
pub(crate) struct Metered {
    stream: Limited,
    written: Arc<AtomicU64>,
    /// Why nothing can be written any more.
    broken: Option<io::Error>,
}

impl Metered {
    /// `stream`, and the count of bytes that it takes.
    pub(crate) fn new(stream: Limited) -> (Self, Arc<AtomicU64>) {
        let written = Arc::new(AtomicU64::new(0));
        let metered = Self {
            stream,
            written: Arc::clone(&written),
            broken: None,
        };
        (metered, written)
    }

    /// Counts what was written; a failure is kept for later.
    fn settle(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(len)) => {
                self.written.fetch_add(len as u64, Ordering::Relaxed);
                telemetry::sent(len as u64);
                Poll::Ready(Ok(len))
            }
            Poll::Ready(Err(error)) => {
                // Whoever writes also reads, and reading ends soon: nobody waits here for ever.
                self.broken = Some(error);
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let is_over = match &read {
            Poll::Ready(Ok(())) => buffer.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        match self.broken.take_if(|_| is_over) {
            // The first failure says more than the end that followed it.
            Some(broken) => Poll::Ready(Err(broken)),
            None => read,
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.settle(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.broken.is_some() {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.settle(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Err(error)) => {
                self.broken = Some(error);
                Poll::Pending
            }
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
