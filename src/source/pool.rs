//! Buffers that are used again: a fresh one for every piece would be filled with zeros first, which
//! costs a fifteenth of what hashing costs; and what is given back to an allocator in large pieces is not
//! always given back to the system.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::source::span::PIECE_LEN;

/// Buffers that a file keeps for its next piece. As many are in use at once as there are lanes in flight,
/// and twice that while one piece is read and the one before it is sent; what is kept bounds the memory.
const KEPT_MAX: usize = 8;

/// Buffers of one piece each.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    kept: Arc<Mutex<Vec<Box<[u8]>>>>,
    kept_max: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::keeping(KEPT_MAX)
    }
}

/// A buffer that goes back to its pool when nobody needs its bytes any more.
pub(super) struct Buffer {
    /// A whole piece long; empty only once it is on its way back.
    bytes: Box<[u8]>,
    len: usize,
    pool: Pool,
}

impl Pool {
    /// One that keeps so many buffers at most.
    pub(super) fn keeping(kept_max: usize) -> Self {
        Self {
            kept: Arc::default(),
            kept_max,
        }
    }

    /// A buffer for `len` bytes, a piece at most. What it holds is left over from others.
    pub(super) fn take(&self, len: usize) -> Buffer {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = kept.pop();
        drop(kept);
        Buffer {
            // A piece fits any usize.
            bytes: bytes.unwrap_or_else(|| vec![0; PIECE_LEN as usize].into()),
            len,
            pool: self.clone(),
        }
    }
}

impl Buffer {
    /// Where to write.
    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Cuts it after `len` bytes, which must be there.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// What was written, shared.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = self
            .pool
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if kept.len() < self.pool.kept_max {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer is used again once the last who holds its bytes is gone, and never shows more than
    /// was asked for.
    #[test]
    fn buffers_come_back() {
        let pool = Pool::default();
        let kept = || pool.kept.lock().unwrap().len();
        let mut first = pool.take(3);
        first.as_mut().copy_from_slice(b"abc");
        let bytes = first.freeze();
        let tail = bytes.slice(1..);
        drop(bytes);
        assert_eq!((&tail[..], kept()), (&b"bc"[..], 0));
        drop(tail);
        assert_eq!(kept(), 1);
        assert_eq!(pool.take(2).as_ref().len(), 2);
        let many: Vec<Buffer> = (0..2 * KEPT_MAX).map(|_| pool.take(1)).collect();
        assert_eq!(kept(), 0);
        drop(many);
        assert_eq!(kept(), KEPT_MAX);
    }
}
