//! A stretch of bytes of the source or of the object.

/// A stretch of bytes: where it starts and how long it is, both in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteSpan {
    /// First byte, counted from 0.
    pub offset: u64,
    /// Length in bytes; may be 0.
    pub len: u64,
}

impl ByteSpan {
    /// The span of `len` bytes from `offset` on.
    ///
    /// # Panics
    ///
    /// When the end would not fit into 64 bits: no source is that long, so it is a bug of the caller.
    pub fn new(offset: u64, len: u64) -> Self {
        assert!(
            offset.checked_add(len).is_some(),
            "a byte span ends beyond 2^64"
        );
        Self { offset, len }
    }

    /// The first byte after the span.
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// Whether the span holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The span cut into pieces of `piece_len` bytes, in order; the last one may be shorter.
    ///
    /// An empty span has no piece. `piece_len` of 0 counts as 1.
    pub fn pieces(self, piece_len: u64) -> impl Iterator<Item = ByteSpan> {
        let piece_len = piece_len.max(1);
        (0..self.len.div_ceil(piece_len)).map(move |index| {
            let start = index * piece_len;
            ByteSpan::new(self.offset + start, piece_len.min(self.len - start))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a span follow one another without a gap and end where the span ends.
    #[test]
    fn pieces_cover_the_span() {
        let rows: [(u64, u64, u64, &[u64]); 5] = [
            (0, 0, 4, &[]),
            (0, 1, 4, &[1]),
            (8, 8, 4, &[4, 4]),
            (3, 9, 4, &[4, 4, 1]),
            (0, 2, 0, &[1, 1]),
        ];
        for (offset, len, piece_len, expected) in rows {
            let span = ByteSpan::new(offset, len);
            let mut at = offset;
            let mut lens = Vec::new();
            for piece in span.pieces(piece_len) {
                assert_eq!(piece.offset, at);
                at = piece.end();
                lens.push(piece.len);
            }
            assert_eq!(lens, expected, "{span:?} in pieces of {piece_len}");
            assert_eq!(at, span.end());
        }
    }
}
