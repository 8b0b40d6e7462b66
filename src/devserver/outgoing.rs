//! An answer's body on its way out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::devserver::connection::Connection;
use crate::devserver::exchange::{BodyError, BodyStream, ReplyBody};

/// A body whose length is known and announced.
pub(crate) struct Outgoing {
    source: Source,
    /// How many bytes are still announced.
    remaining: u64,
    /// Fault: after so many more bytes the connection closes.
    cut: Option<(u64, Arc<Connection>)>,
}

enum Source {
    Bytes(Bytes),
    Stream(BodyStream),
}

impl Outgoing {
    /// Sends `body`.
    pub(crate) fn new(body: ReplyBody) -> Self {
        let (source, remaining) = match body {
            ReplyBody::Bytes(bytes) => {
                let len = bytes.len() as u64;
                (Source::Bytes(bytes), len)
            }
            ReplyBody::Stream { len, stream } => (Source::Stream(stream), len),
        };
        Self {
            source,
            remaining,
            cut: None,
        }
    }

    /// The same, announced whole, but cut after `len` bytes by the end of its connection. A shorter
    /// body is sent whole.
    pub(crate) fn cut_after(mut self, len: u64, connection: &Arc<Connection>) -> Self {
        if len < self.remaining {
            self.cut = Some((len, Arc::clone(connection)));
        }
        self
    }

    /// How long it is, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.remaining
    }

    /// The same bytes, shortened to what a cut leaves of them.
    fn shortened(&mut self, mut bytes: Bytes) -> Bytes {
        if let Some((left, _)) = &mut self.cut {
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= bytes.len() as u64;
        }
        self.remaining = self.remaining.saturating_sub(bytes.len() as u64);
        bytes
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some((0, connection)) = &this.cut {
            // Nothing more will come: whoever flushes next ends the connection.
            connection.end_after_flush();
            return Poll::Pending;
        }
        let next = match &mut this.source {
            Source::Bytes(bytes) if bytes.is_empty() => None,
            Source::Bytes(bytes) => Some(Ok(std::mem::take(bytes))),
            Source::Stream(stream) => ready!(stream.as_mut().poll_next(cx)),
        };
        Poll::Ready(next.map(|next| next.map(|bytes| Frame::data(this.shortened(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
