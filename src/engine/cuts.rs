//! Bodies that are cut again and again at one place: something on the way lets no longer ones pass.

use crate::engine::event::Moment;
use crate::engine::plan::{PART_LEN_MIN, PARTS_MAX, Protocol, SEGMENT_LEN_MIN};
use crate::engine::{Engine, Work};
use crate::model::{Failure, FailureKind};

/// How many cuts in a row at one place make a limit. Twice may be chance, and a limit that is none
/// costs little: shorter bodies, more round trips.
const CUTS_MIN: u32 = 3;

/// How far apart cuts at one place may be, in bytes, or an eighth of the place: what is acknowledged
/// runs ahead of what was let through, by buffers.
const SLACK: u64 = 64 * 1024;

/// The last cuts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cuts {
    offset: u64,
    times: u32,
    /// When the last one was counted.
    last: Option<Moment>,
}

impl Cuts {
    /// A body of `len` bytes was acknowledged whole.
    pub(crate) fn passed(&mut self, len: u64) {
        if len >= self.offset {
            self.times = 0;
        }
    }

    /// A body of `len` bytes that was begun at `begun` was cut `now` after `offset` bytes. The length
    /// that may pass, when this was one cut too many at one place.
    pub(crate) fn cut(
        &mut self,
        (begun, now): (Moment, Moment),
        offset: u64,
        len: u64,
    ) -> Option<u64> {
        // Nothing was let through, or all of it and the answer lost.
        if offset == 0 || offset >= len {
            return None;
        }
        // Lanes that break together, as when an address changes, are one accident.
        if self.last.is_some_and(|last| begun < last) {
            return None;
        }
        self.last = Some(now);
        let is_same = self.offset.abs_diff(offset) <= SLACK.max(offset / 8);
        self.times = if is_same { self.times + 1 } else { 1 };
        self.offset = offset;
        (self.times >= CUTS_MIN).then(|| {
            self.times = 0;
            offset - offset / 4
        })
    }
}

impl Engine {
    /// The length that may pass, when a broken connection shows that something on the way cuts longer
    /// bodies, and shorter ones can be sent. Parts cannot once a long one is acknowledged.
    pub(crate) fn cut_short(
        &mut self,
        now: Moment,
        work: &Work,
        len: u64,
        failure: &Failure,
    ) -> Option<u64> {
        if failure.kind != FailureKind::Broken {
            return None;
        }
        let traced = failure.trace.as_ref();
        let traced = traced.map_or(0, |trace| trace.acknowledged_bytes);
        let offset = traced.max(work.watch.acknowledged());
        let passes = self.cuts.cut((work.begun, now), offset, len)?;
        let is_long_enough = match self.layout.protocol {
            Protocol::Parts => {
                let fits = self.job.size.div_ceil(passes) <= PARTS_MAX;
                passes >= PART_LEN_MIN && fits && self.no_long_part_passed()
            }
            Protocol::Blocks | Protocol::Form => passes >= SEGMENT_LEN_MIN,
        };
        is_long_enough.then_some(passes)
    }

    fn no_long_part_passed(&self) -> bool {
        let len = self.layout.lane_len;
        self.lanes.values().all(|lane| lane.done < len)
    }
}
