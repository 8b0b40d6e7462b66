//! A request's body as it arrives: counted, held up, damaged, never whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Mutex;
use tokio::time::{sleep, sleep_until};

use crate::clock;
use crate::devserver::exchange::{BodyError, BodyStream};
use crate::devserver::faults::effects::Reading;
use crate::devserver::rate::Pace;

/// How much of a form may be read ahead to learn its key. Fields come before the file; keys, tokens
/// and variables are a few KiB.
const PEEK_LEN_MAX: usize = 64 * 1024;

/// What a slow reader takes at a time, in parts of a second.
const SIPS_PER_S: u64 = 20;

/// A body, of which at most [`PEEK_LEN_MAX`] and one frame are held at any time.
pub(crate) struct Arriving {
    /// `None` once it has ended or failed.
    incoming: Option<Incoming>,
    /// Read ahead, to be given first.
    peeked: VecDeque<Bytes>,
    /// Why reading ahead stopped, to be given after what was read.
    failure: Option<BodyError>,
    /// Taken but not given yet.
    piece: Bytes,
    /// How many bytes were given: the offset of the next one.
    given: u64,
    /// How many bytes came.
    received: Arc<AtomicU64>,
    /// Faults.
    reading: Reading,
    pace: Pace,
    /// Where the object's bytes begin: not 0 in a form.
    object_at: u64,
}

impl Arriving {
    /// The body of a request that has just come; `received` counts its bytes.
    pub(crate) fn new(incoming: Incoming, received: Arc<AtomicU64>) -> Self {
        Self {
            incoming: Some(incoming),
            peeked: VecDeque::new(),
            failure: None,
            piece: Bytes::new(),
            given: 0,
            received,
            reading: Reading::default(),
            pace: Pace::default(),
            object_at: 0,
        }
    }

    /// Reads it this way from now on.
    pub(crate) fn read_like(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// Says where the object's bytes begin.
    pub(crate) fn object_begins_at(&mut self, offset: u64) {
        self.object_at = offset;
    }

    /// Whether nothing more will be given.
    pub(crate) fn is_over(&self) -> bool {
        let nothing_comes = self.incoming.as_ref().is_none_or(Incoming::is_end_stream);
        nothing_comes && self.peeked.is_empty() && self.piece.is_empty()
    }

    /// How many bytes came out of it so far.
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    /// How many bytes are still to come, as far as the request's head says.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match &self.incoming {
            None => Some(0),
            Some(incoming) => incoming.size_hint().exact(),
        }
    }

    /// Reads a frame ahead; `None` at the end, at the limit, or when the connection broke.
    pub(crate) async fn peek(&mut self) -> Option<Bytes> {
        let held: usize = self.peeked.iter().map(Bytes::len).sum();
        if held >= PEEK_LEN_MAX {
            return None;
        }
        match self.receive().await? {
            Ok(bytes) => {
                self.peeked.push_back(bytes.clone());
                Some(bytes)
            }
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    /// Everything read ahead, in one piece.
    pub(crate) fn peeked(&self) -> Bytes {
        let mut all = BytesMut::new();
        for bytes in &self.peeked {
            all.extend_from_slice(bytes);
        }
        all.freeze()
    }

    /// The next bytes, when the faults let them through. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        while self.piece.is_empty() {
            let ahead = self.peeked.pop_front().map(Ok);
            let next = match ahead.or_else(|| self.failure.take().map(Err)) {
                Some(next) => next,
                None => self.receive().await?,
            };
            match next {
                Ok(bytes) => self.piece = bytes,
                Err(error) => return Some(Err(error)),
            }
        }
        let mut len = self.piece.len();
        if let Some(pause) = self.reading.pause {
            match pause.after_bytes.saturating_sub(self.given) {
                0 => {
                    sleep(pause.pause).await;
                    self.reading.pause = None;
                }
                before => len = len.min(usize::try_from(before).unwrap_or(usize::MAX)),
            }
        }
        if let Some(rate) = self.reading.rate {
            let sip = (rate.bits_per_s() / 8 / SIPS_PER_S).max(1);
            len = len.min(usize::try_from(sip).unwrap_or(usize::MAX));
            let passed = self.pace.pass(rate, clock::instant(), len as u64);
            sleep_until(passed.into()).await;
        }
        let bytes = self.piece.split_to(len);
        let bytes = self.damaged(bytes);
        self.given += bytes.len() as u64;
        Some(Ok(bytes))
    }

    /// Reads and drops bytes until `offset` of them were read, or the body ends. Whether it broke.
    pub(crate) async fn discard_to(&mut self, offset: u64) -> Result<(), BodyError> {
        while self.given < offset
            && let Some(next) = self.next().await
        {
            next?;
        }
        Ok(())
    }

    /// Reads and drops at most about `len` bytes, as fast as they come; says whether the body is over.
    pub(crate) async fn skip(&mut self, len: u64) -> bool {
        self.reading = Reading::default();
        let limit = self.given.saturating_add(len);
        self.discard_to(limit).await.is_ok() && self.is_over()
    }

    /// The next frame of data from the connection.
    async fn receive(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let frame = self.incoming.as_mut()?.frame().await;
            match frame {
                None => self.incoming = None,
                Some(Err(error)) => {
                    self.incoming = None;
                    return Some(Err(BodyError(error.to_string())));
                }
                // Trailers say nothing that Kodo knows.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.received
                            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        return Some(Ok(bytes));
                    }
                }
            }
        }
    }

    /// The same bytes, the one of the plan flipped if it is among them.
    fn damaged(&self, bytes: Bytes) -> Bytes {
        let index = self
            .reading
            .flip_byte
            .and_then(|offset| offset.checked_add(self.object_at))
            .and_then(|at| at.checked_sub(self.given))
            .and_then(|index| usize::try_from(index).ok())
            .filter(|index| *index < bytes.len());
        match index {
            None => bytes,
            Some(index) => {
                let mut copy = BytesMut::from(&bytes[..]);
                copy[index] ^= 1;
                copy.freeze()
            }
        }
    }
}

/// The body as the service reads it. The pipeline keeps the other handle, and so what the service
/// left unread.
pub(crate) fn stream_of(body: &Arc<Mutex<Arriving>>) -> BodyStream {
    let pieces = stream::unfold(Arc::clone(body), |body| async move {
        let next = body.lock().await.next().await?;
        Some((next, body))
    });
    // Parsers of forms ask again after the end.
    Box::pin(pieces.fuse())
}
