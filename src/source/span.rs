//! Reads one span piece by piece.

use bytes::Bytes;

use crate::model::{ByteSpan, Failure};
use crate::source::Source;

/// Bytes per piece: large enough that system calls cost nothing beside hashing, small enough that
/// memory stays small whatever a segment's size.
pub(super) const PIECE_LEN: u64 = 256 * 1024;

/// Reads one span of a source, piece by piece.
#[derive(Debug)]
pub(crate) struct SpanReader {
    source: Source,
    rest: ByteSpan,
}

impl SpanReader {
    pub(super) fn new(source: Source, span: ByteSpan) -> Self {
        Self { source, rest: span }
    }

    /// The next piece, at most 256 KiB; None at the span's end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        if self.rest.is_empty() {
            return None;
        }
        let len = self.rest.len.min(PIECE_LEN);
        let piece = ByteSpan::new(self.rest.offset, len);
        let read = match &self.source {
            Source::File(file) => file.read_piece(piece).await,
            // Both ends lie within the bytes, so they fit.
            Source::Bytes(bytes) => Ok(bytes.slice(piece.offset as usize..piece.end() as usize)),
            Source::Stream(stream) => stream.read(piece),
        };
        if let Ok(bytes) = &read {
            let len = bytes.len() as u64;
            self.rest = ByteSpan::new(self.rest.offset + len, self.rest.len - len);
        }
        Some(read)
    }
}
