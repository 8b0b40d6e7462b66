//! Bytes on their way out: an object's span as a stream of bounded pieces.

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::devserver::exchange::{BodyError, BodyStream};
use crate::devserver::store::Inner;
use crate::devserver::store::blobs::OpenBlob;
use crate::devserver::store::error::StoreError;
use crate::devserver::store::record::Extent;
use crate::devserver::store::write::blocking;
use crate::model::ByteSpan;

/// Longest piece of a stream, in bytes: as in `write.rs`, and for the same reason.
const PIECE_LEN: u64 = 256 * 1024;

/// A stretch of one extent that is still to be read.
#[derive(Debug)]
struct Stretch {
    extent: Extent,
    offset: u64,
    len: u64,
    open: Option<OpenBlob>,
}

/// The bytes `span` of the object that `data` makes up. What lies beyond its end is left out.
///
/// A blob that is missing or shorter than its record says ends the stream with an error: never
/// fewer bytes that look like success.
pub(crate) fn stream(inner: Arc<Inner>, data: &[Extent], span: ByteSpan) -> BodyStream {
    let stretches = stretches(data, span);
    let pieces = futures_util::stream::try_unfold(stretches, move |mut stretches| {
        let inner = Arc::clone(&inner);
        async move {
            let Some(mut stretch) = stretches.pop_front() else {
                return Ok::<_, BodyError>(None);
            };
            let (piece, stretch) = if inner.is_disk() {
                blocking(move || stretch.next(&inner).map(|piece| (piece, stretch))).await?
            } else {
                (stretch.next(&inner)?, stretch)
            };
            if stretch.len > 0 {
                stretches.push_front(stretch);
            }
            Ok(Some((piece, stretches)))
        }
    });
    Box::pin(pieces)
}

/// Which bytes of which extents `span` covers.
fn stretches(data: &[Extent], span: ByteSpan) -> VecDeque<Stretch> {
    let mut start = 0_u64;
    let mut stretches = VecDeque::new();
    for extent in data {
        let end = start.saturating_add(extent.len);
        let first = span.offset.max(start);
        let after = span.end().min(end);
        if first < after {
            stretches.push_back(Stretch {
                extent: extent.clone(),
                offset: first - start,
                len: after - first,
                open: None,
            });
        }
        start = end;
    }
    stretches
}

impl Stretch {
    /// The next piece, at least one byte; moves on behind it.
    fn next(&mut self, inner: &Inner) -> Result<Bytes, StoreError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open_at_start(inner)?,
        };
        let piece = match &mut open {
            OpenBlob::File(file) => {
                let len = usize::try_from(self.len.min(PIECE_LEN)).unwrap_or(usize::MAX);
                let mut piece = vec![0; len];
                file.read_exact(&mut piece)
                    .map_err(StoreError::io("read", Path::new(&self.extent.blob)))?;
                Bytes::from(piece)
            }
            OpenBlob::Memory(pieces) => slice(pieces, self.offset, self.len),
        };
        if piece.is_empty() {
            return Err(StoreError::Missing {
                blob: self.extent.blob.clone(),
            });
        }
        self.offset += piece.len() as u64;
        self.len -= piece.len() as u64;
        self.open = Some(open);
        Ok(piece)
    }

    fn open_at_start(&self, inner: &Inner) -> Result<OpenBlob, StoreError> {
        let mut open = inner.blobs.open(&self.extent)?;
        if let OpenBlob::File(file) = &mut open {
            file.seek(SeekFrom::Start(self.offset))
                .map_err(StoreError::io("read", Path::new(&self.extent.blob)))?;
        }
        Ok(open)
    }
}

/// What one of `pieces` has at `offset`, at most `len_max` bytes; empty beyond their end.
fn slice(pieces: &[Bytes], offset: u64, len_max: u64) -> Bytes {
    let mut offset = offset;
    for piece in pieces {
        let len = piece.len() as u64;
        if offset < len {
            let end = len.min(offset.saturating_add(len_max));
            let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            return piece.slice(index(offset)..index(end));
        }
        offset -= len;
    }
    Bytes::new()
}
