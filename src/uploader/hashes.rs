//! What was read, hashed: per segment for the answer, per lane for the object.
//!
//! Every byte is hashed on its way to the connection, from the buffer that is sent. The object's
//! hash is made of its lanes' hashes, so the source is never read twice within one process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;

use crate::engine::record::{Digest, Seal};
use crate::kodo::{Etag, EtagHasher};
use crate::model::{ByteSpan, Failure};
use crate::source::{Source, SpanReader};
use crate::transport::SourceStream;

/// Hashes of one object's lanes, as far as this process has read them.
#[derive(Debug, Default)]
pub(crate) struct LaneHashes {
    /// Lanes that are not complete: the state after their last acknowledged segment.
    open: Mutex<HashMap<u64, LaneState>>,
    /// Complete lanes: length and hash.
    complete: Mutex<BTreeMap<u64, (u64, Etag)>>,
}

/// The hashes of a lane up to some byte.
#[derive(Clone, Debug, Default)]
struct LaneState {
    etag: EtagHasher,
    crc32: crc32fast::Hasher,
    len: u64,
}

/// The hashes of one segment that is being read.
#[derive(Clone, Debug)]
struct SegmentState {
    /// Of the segment alone; none while it is all that its lane has.
    segment: Option<(EtagHasher, crc32fast::Hasher)>,
    /// Of the lane up to and with the segment.
    lane: LaneState,
}

/// The hashes of one segment that was read to its end.
#[derive(Clone, Debug)]
pub(crate) struct SegmentHashes {
    /// The segment's content hash.
    pub(crate) etag: Etag,
    /// CRC-32 of the segment.
    pub(crate) crc32: u32,
    /// CRC-32 of the lane up to and with it.
    pub(crate) lane_crc32: u32,
    lane: LaneState,
}

/// A segment's hashes while its bytes are on the way; see [`LaneHashes::stream`].
#[derive(Clone, Debug)]
pub(crate) struct Reading(Arc<Mutex<SegmentState>>);

impl LaneHashes {
    /// The bytes of a segment that begins `done` bytes into its lane, hashed as they pass.
    ///
    /// With `expected`, the last piece only goes out if all of them have that hash and the source
    /// ends there: after the last byte of a form the object exists.
    pub(crate) fn stream(
        &self,
        source: &Source,
        lane: u64,
        done: u64,
        span: ByteSpan,
        expected: Option<Etag>,
    ) -> (SourceStream, Reading) {
        let before = match done {
            0 => LaneState::default(),
            _ => locked(&self.open).get(&lane).cloned().unwrap_or_default(),
        };
        let reading = Reading(Arc::new(Mutex::new(SegmentState::after(before, done))));
        let state = Outgoing {
            reader: source.read(span),
            source: source.clone(),
            rest: span.len,
            reading: reading.clone(),
            expected,
        };
        let stream = futures_util::stream::unfold(state, |mut state| async move {
            let piece = state.next().await?;
            Some((piece, state))
        });
        (stream.boxed(), reading)
    }

    /// A segment is acknowledged: its lane's hash goes on from here.
    pub(crate) fn keep(&self, lane: u64, lane_len: u64, hashes: SegmentHashes) {
        self.keep_lane(lane, lane_len, hashes.lane);
    }

    /// Hashes the recorded segments of a lane again; whether all are what was sent.
    pub(crate) async fn recheck(
        &self,
        source: &Source,
        lane: u64,
        lane_span: ByteSpan,
        seals: &[Seal],
    ) -> Result<bool, Failure> {
        let mut state = LaneState::default();
        for seal in seals {
            let span = ByteSpan::new(lane_span.offset + state.len, seal.len);
            let done = state.len;
            let mut segment = SegmentState::after(state, done);
            read_all(source.read(span), |bytes| segment.update(bytes)).await?;
            let hashes = segment.finish();
            if hashes.digest() != seal.digest {
                return Ok(false);
            }
            state = hashes.lane;
        }
        self.keep_lane(lane, lane_span.len, state);
        Ok(true)
    }

    /// Lengths and hashes of all lanes, in order; none unless each of `count` is complete.
    pub(crate) fn of_object(&self, count: u64) -> Option<Vec<(u64, Etag)>> {
        let complete = locked(&self.complete);
        let lanes: Vec<(u64, Etag)> = complete.range(..count).map(|(_, lane)| *lane).collect();
        (lanes.len() as u64 == count).then_some(lanes)
    }

    fn keep_lane(&self, lane: u64, lane_len: u64, state: LaneState) {
        if state.len == lane_len {
            locked(&self.open).remove(&lane);
            locked(&self.complete).insert(lane, (lane_len, state.etag.finish()));
        } else {
            locked(&self.open).insert(lane, state);
        }
    }
}

/// A segment on its way out.
struct Outgoing {
    reader: SpanReader,
    source: Source,
    rest: u64,
    reading: Reading,
    expected: Option<Etag>,
}

impl Outgoing {
    async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        let bytes = match self.reader.next().await? {
            Ok(bytes) => bytes,
            Err(failure) => return Some(Err(failure)),
        };
        self.rest -= bytes.len() as u64;
        locked(&self.reading.0).update(&bytes);
        if let (0, Some(expected)) = (self.rest, self.expected)
            && let Err(failure) = self.check_whole(expected).await
        {
            return Some(Err(failure));
        }
        Some(Ok(bytes))
    }

    /// Fails unless all bytes have the hash `expected` and are still all that the source has.
    async fn check_whole(&self, expected: Etag) -> Result<(), Failure> {
        if self.reading.clone().finish().etag != expected {
            return Err(self.source.changed("it has other bytes now"));
        }
        match self.source.change().await? {
            Some(change) if change.resized => Err(self.source.changed(&change.how)),
            _ => Ok(()),
        }
    }
}

impl SegmentState {
    /// A segment that follows the `done` bytes of its lane that `lane` has seen.
    fn after(lane: LaneState, done: u64) -> Self {
        // A lane's first segment is the lane so far: one hash serves both.
        let segment = (done > 0).then(Default::default);
        Self { segment, lane }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some((etag, crc32)) = &mut self.segment {
            etag.update(bytes);
            crc32.update(bytes);
        }
        self.lane.etag.update(bytes);
        self.lane.crc32.update(bytes);
        self.lane.len += bytes.len() as u64;
    }

    fn finish(self) -> SegmentHashes {
        let lane_crc32 = self.lane.crc32.clone().finalize();
        let (etag, crc32) = match self.segment {
            Some((etag, crc32)) => (etag.finish(), crc32.finalize()),
            None => (self.lane.etag.clone().finish(), lane_crc32),
        };
        SegmentHashes {
            etag,
            crc32,
            lane_crc32,
            lane: self.lane,
        }
    }
}

impl SegmentHashes {
    /// What a record keeps of the segment.
    pub(crate) fn digest(&self) -> Digest {
        Digest(self.etag.digest())
    }
}

impl Reading {
    /// The hashes of what passed.
    pub(crate) fn finish(self) -> SegmentHashes {
        locked(&self.0).clone().finish()
    }
}

/// The whole source's CRC-32 and hash, for a form.
pub(crate) async fn of_source(source: &Source) -> Result<(u32, Etag), Failure> {
    let mut state = LaneState::default();
    let span = ByteSpan::new(0, source.len());
    read_all(source.read(span), |bytes| {
        state.etag.update(bytes);
        state.crc32.update(bytes);
    })
    .await?;
    Ok((state.crc32.finalize(), state.etag.finish()))
}

async fn read_all(mut reader: SpanReader, mut each: impl FnMut(&Bytes)) -> Result<(), Failure> {
    while let Some(piece) = reader.next().await {
        each(&piece?);
    }
    Ok(())
}

/// A lock that a panic elsewhere cannot take away: the hashes are replaced whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
