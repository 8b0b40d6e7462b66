//! How an object is cut: which protocol, how long a lane, how long the next segment.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::ByteSpan;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Length of a v1 block, and of a v2 part unless something else is asked for: the unit of the
/// standard etag. Source: protocol reference, sections 4 and 6.1.
pub const BLOCK_LEN: u64 = 4 * MIB;

/// Most parts of a v2 upload. Source: protocol reference, section 5.7.
pub const PARTS_MAX: u64 = 10_000;

/// Longest v2 part. Source: protocol reference, section 5.7.
pub const PART_LEN_MAX: u64 = 1024 * MIB;

/// Shortest v2 part but the last. Source: protocol reference, section 5.7.
pub const PART_LEN_MIN: u64 = MIB;

/// First segments of v1 lanes on a line not known, all that begin together: a single one loses little on
/// a reset (1.03 × the file at a reset every 8 MB), and takes 4 s at 1 Mbit/s. Source: the arithmetic of
/// the design, section 3.
const SEGMENT_LEN_FIRST: u64 = 512 * KIB;

/// Shortest segment that pace or a proxy's body limit may lead to: below it the request's head and
/// round trip weigh more than its body.
pub(crate) const SEGMENT_LEN_MIN: u64 = 64 * KIB;

/// How long a segment should take: short enough to lose little, long enough to hide a round trip.
/// The middle of the design's 2 to 10 s.
const SEGMENT_DURATION: Duration = Duration::from_secs(4);

/// What a segment takes at least where the object is small beside the line.
const SEGMENT_DURATION_MIN: Duration = Duration::from_millis(100);

/// The same in round trips: between two segments of a lane there is one, in which others must fill
/// the line.
const ROUND_TRIPS_MIN: u32 = 12;

/// A round trip where the system does not tell: a line to a server on the same continent.
const ROUND_TRIP_GUESS: Duration = Duration::from_millis(50);

/// Segments in flight are together this share of the object at most, where their durations allow it:
/// a kill loses half of that on average, 1 %, and what queues hold beside it. Source: the design's
/// numbers, "SIGKILL at 50 %".
const IN_FLIGHT_SHARE: u64 = 50;

/// A segment is this share at most of what is left for its lane: guided self-scheduling, so that lanes on
/// connections of different pace end together.
const GUIDE_SHARE: u64 = 2;

/// Shorter ones than this are not worth it at the end.
const SEGMENT_LEN_END: u64 = 256 * KIB;

/// A segment is this share of what the line carries between two broken connections: they cost 6 % of
/// the object then, and what queues hold. Source: the arithmetic of the design, section 3.
const BREAK_SHARE: u64 = 8;

/// What a line carries between two breaks before that is known: the first break alone, wherever it
/// comes, makes segments no shorter than those on a line not known.
const BREAK_DISTANCE_FIRST: u64 = 6 * MIB;

/// How many breaks are remembered.
const BREAK_MEMORY: u64 = 4;

/// How long a form upload may take on a line that is known. Source: the design, section 3.
const THRESHOLD_DURATION: Duration = Duration::from_secs(10);

/// Largest file that goes by form unasked: beyond, a break costs too much. Source: the same.
const THRESHOLD_AUTO_MAX: u64 = 8 * MIB;

/// The form upload's limit on a line not known: 8 s at 1 Mbit/s. Source: the design, section 3.
const THRESHOLD_AUTO: u64 = MIB;

/// Lanes to begin with. They share the bytes that a single one would risk, and connections that begin
/// together share a long way evenly: measured at 100 Mbit/s and 100 ms, later ones stay slow.
pub(crate) const LANES_START: usize = 4;

/// One of the three ways to bring an object to Kodo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// One request carries the whole object and commits it.
    Form,
    /// v1: blocks of 4 MiB in chunks, then mkfile.
    Blocks,
    /// v2: numbered parts, then complete.
    Parts,
}

/// How the object is cut into lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The protocol.
    pub protocol: Protocol,
    /// Bytes in every lane but the last.
    pub lane_len: u64,
}

/// What the caller wants of the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// A protocol by request; none lets the rules decide.
    pub protocol: Option<Protocol>,
    /// Largest size that goes by form; none for the automatic threshold.
    pub threshold: Option<u64>,
    /// Length of v2 parts, in bytes.
    pub part_len: u64,
    /// v1 would replace an object that the others would not: scope is the bucket only, without
    /// insert-only. Source: protocol reference, section 4.3.
    pub blocks_unsafe: bool,
}

impl Layout {
    /// The layout for a source of `size` bytes.
    ///
    /// A part length that would need more than [`PARTS_MAX`] parts is raised; compare
    /// [`Layout::lane_len`] with the wish to say so. An empty object always goes by form: whether
    /// the other two take it is not known (protocol reference, section 13).
    pub fn choose(size: u64, wishes: &Wishes) -> Self {
        let threshold = wishes.threshold.unwrap_or(THRESHOLD_AUTO);
        if size == 0 || size <= threshold {
            return Self::form(size);
        }
        match wishes.protocol {
            Some(Protocol::Parts) => Self::parts(size, wishes.part_len),
            _ if wishes.blocks_unsafe => Self::parts(size, wishes.part_len),
            _ => Self {
                protocol: Protocol::Blocks,
                lane_len: BLOCK_LEN,
            },
        }
    }

    /// The layout that a form upload goes on with when it fails again and again.
    pub(crate) fn without_form(size: u64, wishes: &Wishes) -> Self {
        Self::choose(
            size,
            &Wishes {
                threshold: Some(0),
                ..*wishes
            },
        )
    }

    /// The layout for a stream that will have `size` bytes; `u64::MAX` where nobody can tell.
    pub(crate) fn in_lanes(size: u64, wishes: &Wishes) -> Self {
        // What is not known may be anything: the wish decides, and whoever reads notices the end.
        let size = if size == u64::MAX { 1 } else { size };
        Self::without_form(size.max(1), wishes)
    }

    /// How long the parts of an object of `size` bytes are, in bytes. `size` is none where nobody can tell.
    pub(crate) fn part_len(size: Option<u64>, wished: u64) -> u64 {
        Self::parts(size.unwrap_or_default(), wished).lane_len
    }

    fn form(size: u64) -> Self {
        Self {
            protocol: Protocol::Form,
            lane_len: size.max(1),
        }
    }

    fn parts(size: u64, part_len: u64) -> Self {
        let needed = size.div_ceil(PARTS_MAX);
        let wished = part_len.clamp(PART_LEN_MIN, PART_LEN_MAX);
        let lane_len = if needed > wished {
            needed.next_multiple_of(MIB)
        } else {
            wished
        };
        Self {
            protocol: Protocol::Parts,
            lane_len,
        }
    }

    /// Whether this layout can be that of a source of `size` bytes. A journal may say anything.
    pub(crate) fn check(self, size: u64) -> Option<()> {
        let right = match self.protocol {
            Protocol::Form => self == Self::form(size),
            Protocol::Blocks => self.lane_len == BLOCK_LEN && size > 0,
            Protocol::Parts => {
                size > 0 && self.lane_len > 0 && size.div_ceil(self.lane_len) <= PARTS_MAX
            }
        };
        right.then_some(())
    }

    /// How many lanes a source of `size` bytes has. A form upload has none: its only request is
    /// the commit.
    pub fn lane_count(self, size: u64) -> u64 {
        match self.protocol {
            Protocol::Form => 0,
            Protocol::Blocks | Protocol::Parts => size.div_ceil(self.lane_len),
        }
    }

    /// The stretch of lane number `index` (from 0), if there is such a lane.
    pub fn lane(self, index: u64, size: u64) -> Option<ByteSpan> {
        if index >= self.lane_count(size) {
            return None;
        }
        let offset = index * self.lane_len;
        Some(ByteSpan::new(offset, self.lane_len.min(size - offset)))
    }
}

/// What is known of the line before anything is sent: what it carried last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its pace, in bytes a second.
    pub pace_bytes_per_s: Option<u64>,
    /// How many lanes it was worth.
    pub lanes: Option<usize>,
    /// The longest body that something on the way lets pass, in bytes.
    pub body_limit: Option<u64>,
}

impl Known {
    /// The automatic threshold: what the line carries in ten seconds, 1 MiB where it is not known. Never
    /// more than a body may have.
    pub fn threshold(&self) -> u64 {
        let carries = |pace: u64| pace.saturating_mul(THRESHOLD_DURATION.as_secs());
        let len = self.pace_bytes_per_s.map_or(THRESHOLD_AUTO, carries);
        let len = len.clamp(THRESHOLD_AUTO, THRESHOLD_AUTO_MAX);
        len.min(self.body_limit.unwrap_or(u64::MAX))
    }
}

/// How a segment got across.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// From its connection to its answer.
    pub(crate) time: Duration,
    /// Lanes that were in flight when it was answered.
    pub(crate) lanes: usize,
    /// The shortest round trip of its connection, where that is known.
    pub(crate) round_trip: Option<Duration>,
}

/// Chooses the length of each segment, one at a time, from how long the last ones took, and from how
/// often connections break.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizer {
    next_len: u64,
    limit: u64,
    /// Size of the object.
    size: u64,
    /// Bytes that the line has carried since a connection broke last.
    since_break: u64,
    /// Bytes from one break to the next, smoothed; none before there was one.
    break_distance: Option<u64>,
}

impl Sizer {
    /// For an object of `size` bytes, so many lanes of which begin together.
    pub(crate) fn new(size: u64, known: &Known, first_lanes: usize) -> Self {
        let first_lanes = u64::try_from(first_lanes).unwrap_or(1).max(1);
        let mut sizer = Self {
            next_len: (SEGMENT_LEN_FIRST / first_lanes).max(SEGMENT_LEN_MIN),
            limit: known.body_limit.unwrap_or(u64::MAX).max(SEGMENT_LEN_MIN),
            size,
            since_break: 0,
            break_distance: None,
        };
        if let Some(pace) = known.pace_bytes_per_s {
            let lanes = u64::try_from(known.lanes.unwrap_or(LANES_START))
                .unwrap_or(1)
                .max(1);
            let in_target = (pace / lanes).saturating_mul(SEGMENT_DURATION.as_secs());
            let len = in_target.min((size / IN_FLIGHT_SHARE / lanes).max(SEGMENT_LEN_FIRST));
            sizer.next_len = len.clamp(SEGMENT_LEN_MIN, BLOCK_LEN);
        }
        sizer
    }

    /// Length of the segment that follows `done` bytes of a lane of `lane_len` bytes, where `left` bytes
    /// are left of the whole object for each lane that may be in flight.
    pub(crate) fn segment_len(
        &self,
        protocol: Protocol,
        lane_len: u64,
        done: u64,
        left: u64,
    ) -> u64 {
        let rest = lane_len - done;
        match protocol {
            Protocol::Blocks => {
                // Towards the end segments get shorter, so that no lane is left alone with a long one.
                // On a long way not below what a lane carries in a round trip: each costs one more.
                let guided = (left / GUIDE_SHARE)
                    .max(SEGMENT_LEN_END)
                    .max(self.next_len() / u64::from(ROUND_TRIPS_MIN));
                let len = self.next_len().min(guided).min(rest);
                // A crumb at the end costs a round trip for nothing.
                if rest - len < SEGMENT_LEN_MIN && rest <= self.limit {
                    rest
                } else {
                    len
                }
            }
            Protocol::Parts | Protocol::Form => rest,
        }
    }

    /// Length of the next segment, unless its lane ends before.
    pub(crate) fn next_len(&self) -> u64 {
        self.next_len.min(self.break_limit()).min(self.limit)
    }

    /// The line carried so many bytes more, whatever becomes of them.
    pub(crate) fn carried(&mut self, bytes: u64) {
        self.since_break = self.since_break.saturating_add(bytes);
    }

    /// A segment of `len` bytes was acknowledged.
    ///
    /// The next ones take as long as segments should, together no more than a small share of the
    /// object, which a kill would cost; but long enough that round trips do not leave the line idle.
    pub(crate) fn acknowledged(&mut self, len: u64, took: &Took) {
        let took_ms = millis(took.time).max(1);
        let in_time = |time: Duration| len.saturating_mul(millis(time)) / took_ms;
        let lanes = u64::try_from(took.lanes).unwrap_or(1).max(1);
        let of_object = self.size / IN_FLIGHT_SHARE / lanes;
        let round_trip = took.round_trip.unwrap_or(ROUND_TRIP_GUESS);
        let least_time = (round_trip * ROUND_TRIPS_MIN).max(SEGMENT_DURATION_MIN);
        let fair = in_time(SEGMENT_DURATION).min(of_object.max(in_time(least_time)));
        // At most twice and at least half of the last: one odd sample must not decide.
        let bounded = fair.clamp(self.next_len / 2, self.next_len * 2);
        self.next_len = bounded.clamp(SEGMENT_LEN_MIN, BLOCK_LEN);
    }

    /// A body of `len` bytes was refused as too long by something on the way. False when it cannot
    /// be made shorter.
    pub(crate) fn refused(&mut self, len: u64) -> bool {
        if len <= SEGMENT_LEN_MIN {
            return false;
        }
        self.limit_to(len / 2);
        true
    }

    /// Something on the way lets no longer bodies pass than `len` bytes.
    pub(crate) fn limit_to(&mut self, len: u64) {
        self.limit = self.limit.min(len.max(SEGMENT_LEN_MIN));
    }

    /// The longest body that may pass.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// A segment was lost in flight after `took`: the line is worse than it was. One that was lost
    /// early says little about its length.
    pub(crate) fn lost(&mut self, took: Duration) {
        let least = if took > SEGMENT_DURATION {
            SEGMENT_LEN_MIN
        } else {
            SEGMENT_LEN_FIRST.min(self.next_len)
        };
        self.next_len = (self.next_len / 2).max(least);
    }

    /// A connection broke.
    pub(crate) fn broke(&mut self) {
        let distance = std::mem::take(&mut self.since_break);
        let mean = self.break_distance.unwrap_or(BREAK_DISTANCE_FIRST);
        self.break_distance = Some(mean - mean / BREAK_MEMORY + distance / BREAK_MEMORY);
    }

    /// The length at which breaks as they come here cost little.
    fn break_limit(&self) -> u64 {
        // Whatever the mean is: so far it goes well.
        let distance = self.break_distance;
        let distance = distance.map(|mean| mean.max(self.since_break));
        distance.map_or(u64::MAX, |distance| {
            (distance / BREAK_SHARE).max(SEGMENT_LEN_MIN)
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
