//! Chance from a seed.

use std::ops::RangeInclusive;

/// SplitMix64: one seed, one sequence, on every machine and with every version of every crate.
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of this range.
    pub(super) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + self.next() % (high - low + 1)
    }

    /// True so many times out of a hundred.
    pub(super) fn percent(&mut self, share: u64) -> bool {
        self.within(0..=99) < share
    }

    /// One of these.
    pub(super) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        let index = usize::try_from(self.next() % of.len() as u64).unwrap();
        of[index].clone()
    }

    /// Bytes that repeat nowhere soon.
    pub(super) fn bytes(&mut self, len: u64) -> Vec<u8> {
        let len = usize::try_from(len).unwrap();
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}
