//! A request's body on its way to the connection.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};

use crate::model::{Body, Failure, FailureKind};

/// The bytes of a span of the source, in pieces. Who makes it reads and hashes.
pub(crate) type SourceStream = Pin<Box<dyn Stream<Item = Result<Bytes, Failure>> + Send>>;

/// What became of a body, for whoever sent it.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyFate {
    /// Everything was handed to the connection.
    complete: Arc<AtomicBool>,
    /// The connection would take more, and the source has not given it.
    waits: Arc<AtomicBool>,
    /// Why the source gave up, if it did.
    failure: Arc<Mutex<Option<Failure>>>,
}

impl BodyFate {
    /// Whether the connection took everything.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Whether the source's bytes are waited for.
    pub(crate) fn waits_for_source(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    fn complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    /// The source's failure, if it was the source that broke the request.
    pub(crate) fn take_failure(&self) -> Option<Failure> {
        let mut slot = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}

/// A body of exactly known length: held bytes, the source's bytes, held bytes.
pub(crate) struct OutgoingBody {
    before: Bytes,
    source: Option<SourceStream>,
    after: Bytes,
    /// Bytes still to come in all.
    rest: u64,
    /// Bytes still to come from the source.
    source_rest: u64,
    fate: BodyFate,
}

impl OutgoingBody {
    /// The body that `body` describes; `source` gives the span's bytes.
    pub(crate) fn new(body: Body, source: Option<SourceStream>) -> (Self, BodyFate) {
        let rest = body.len();
        let (before, source_rest, after) = match body {
            Body::Empty => (Bytes::new(), 0, Bytes::new()),
            Body::Bytes(bytes) => (bytes, 0, Bytes::new()),
            Body::Source {
                before,
                span,
                after,
            } => (before, span.len, after),
        };
        let fate = BodyFate::default();
        fate.complete.store(rest == 0, Ordering::Release);
        let body = Self {
            before,
            source,
            after,
            rest,
            source_rest,
            fate: fate.clone(),
        };
        (body, fate)
    }

    /// Counts `bytes` as handed over.
    fn hand_over(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.rest -= bytes.len() as u64;
        if self.rest == 0 {
            self.fate.complete();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// Breaks the request off. The connection only learns that it is over.
    fn give_up(&self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut slot = self
            .fate
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = Some(failure.clone());
        Poll::Ready(Some(Err(failure)))
    }

    /// The next piece of the source; never more than its span.
    fn poll_source(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let next = match &mut self.source {
            Some(source) => source.as_mut().poll_next(context),
            None => Poll::Ready(None),
        };
        self.fate.waits.store(next.is_pending(), Ordering::Release);
        match next {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(bytes))) if bytes.len() as u64 <= self.source_rest => {
                self.source_rest -= bytes.len() as u64;
                self.hand_over(bytes)
            }
            Poll::Ready(Some(Err(failure))) => self.give_up(failure),
            Poll::Ready(_) => self.give_up(Failure::new(
                FailureKind::Source,
                "the source gave another number of bytes than it has",
            )),
        }
    }
}

impl http_body::Body for OutgoingBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        if !this.before.is_empty() {
            let before = std::mem::take(&mut this.before);
            return this.hand_over(before);
        }
        if this.source_rest > 0 {
            return this.poll_source(context);
        }
        if !this.after.is_empty() {
            let after = std::mem::take(&mut this.after);
            return this.hand_over(after);
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.rest == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}
