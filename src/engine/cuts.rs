//! Bodies that are cut again and again at one place, or whenever they are longer than a length: something
//! on the way lets no longer ones pass.

use crate::engine::event::Moment;
use crate::engine::plan::{PART_LEN_MIN, PARTS_MAX, Protocol, SEGMENT_LEN_MIN};
use crate::engine::{Engine, Work};
use crate::model::{Failure, FailureKind, Trace};

/// How many cuts in a row at one place make a limit. Twice may be chance, and a limit that is none
/// costs little: shorter bodies, more round trips.
const CUTS_MIN: u32 = 3;

/// How far apart cuts at one place may be, in bytes, or an eighth of the place: what is acknowledged
/// runs ahead of what was let through, by buffers.
const SLACK: u64 = 64 * 1024;

/// A request that went out again at once on a new connection and was cut again within this share of the
/// place was not cut by chance, unless as long a body has passed: of connections that break anywhere,
/// one pair in a hundred would meet it.
const SAME_SHARE: u64 = 256;

/// Bodies in a row that broke make a limit while shorter ones pass, by the weight of each: two that were
/// let through whole and broke before their answer, or three of any kind. Accidents break bodies on their
/// way, rarely in the moment between.
const BROKEN_MIN: u32 = 6;
const UNANSWERED: u32 = 3;
const MIDWAY: u32 = 2;

/// Buffers on the way may take all of a body that is a little too long: where it was cut does not show
/// then. The shorter one that passes meanwhile is at least this share of it; else it says nothing.
const PASSED_SHARE: u64 = 2;

/// The last cuts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cuts {
    offset: u64,
    times: u32,
    /// The weight of bodies in a row that broke, while shorter ones passed and none as long as the shortest of them did.
    broken: u32,
    /// The shortest of them.
    broken_len: u64,
    /// The longest that passed meanwhile.
    passed_len: u64,
    /// The longest that ever passed.
    longest: u64,
    /// When the last one was counted.
    last: Option<Moment>,
}

/// A body whose connection broke.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cut {
    /// When it was begun.
    pub(crate) begun: Moment,
    /// How many of its bytes were let through.
    pub(crate) offset: u64,
    /// The same of the time before, when it went out again at once on a new connection.
    pub(crate) before: Option<u64>,
    /// Its length, in bytes.
    pub(crate) len: u64,
}

impl Cuts {
    /// A body of `len` bytes was acknowledged whole.
    pub(crate) fn passed(&mut self, len: u64) {
        self.longest = self.longest.max(len);
        if len >= self.offset {
            self.times = 0;
        }
        if len >= self.broken_len {
            self.broken = 0;
        } else {
            self.passed_len = self.passed_len.max(len);
        }
    }

    /// A body was cut `now`. The length that may pass, when this was one cut too many.
    pub(crate) fn cut(&mut self, now: Moment, cut: Cut) -> Option<u64> {
        // Nothing was let through.
        if cut.offset == 0 {
            return None;
        }
        // Lanes that break together, as when an address changes, are one accident.
        if self.last.is_some_and(|last| cut.begun < last) {
            return None;
        }
        self.last = Some(now);
        let is_midway = |offset: &u64| (1..cut.len).contains(offset);
        let weight = if is_midway(&cut.offset) {
            MIDWAY
        } else {
            UNANSWERED
        };
        let too_long = self.too_long(cut.len, weight);
        // Two connections, one after the other: two cuts.
        let before = cut.before.filter(is_midway);
        let before = before.and_then(|before| self.same_place(before, None));
        let same_place = is_midway(&cut.offset)
            .then(|| self.same_place(cut.offset, cut.before))
            .flatten();
        before.or(same_place).or(too_long)
    }

    /// Whether it was one too many of those that are longer than what passes.
    fn too_long(&mut self, len: u64, weight: u32) -> Option<u64> {
        // As long a one has passed: lengths do not decide.
        if self.broken == 0 || len <= self.passed_len {
            (self.broken, self.broken_len, self.passed_len) = (0, len, 0);
        }
        self.broken += weight;
        self.broken_len = self.broken_len.min(len);
        let is_near = self.passed_len.saturating_mul(PASSED_SHARE) >= self.broken_len;
        (self.broken >= BROKEN_MIN && is_near).then(|| {
            self.broken = 0;
            self.passed_len
        })
    }

    /// Whether it was one too many at one place, or the repeat of one that was cut `before` right there.
    fn same_place(&mut self, offset: u64, before: Option<u64>) -> Option<u64> {
        let is_same = self.offset.abs_diff(offset) <= SLACK.max(offset / 8);
        self.times = if is_same { self.times + 1 } else { 1 };
        self.offset = offset;
        let is_right_there =
            |before: u64| before.abs_diff(offset) <= offset / SAME_SHARE && self.longest < offset;
        (self.times >= CUTS_MIN || before.is_some_and(is_right_there)).then(|| {
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
        let trace = failure.trace.as_deref();
        let place = |trace: &Trace| trace.acknowledged_bytes;
        let traced = trace.map_or(0, place);
        let cut = Cut {
            begun: work.begun,
            offset: traced.max(work.watch.acknowledged()),
            before: trace.and_then(|trace| trace.before.as_deref()).map(place),
            len,
        };
        let passes = self.cuts.cut(now, cut)?;
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
