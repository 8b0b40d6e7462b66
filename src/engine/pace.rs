//! How many connections a line is worth: what it carries decides, over all uploads of a process.
//!
//! One [`Pace`] is shared by every upload on the line, and told what was carried. At the start it doubles
//! the lanes for as long as the line carries more each time: connections find their pace side by side,
//! which on a long way takes one alone too long. Later it tries more from time to time, and goes back
//! where they bring nothing. A thin line never has more than a few: each of many lanes would crawl,
//! and a kill would cost all of them.

use std::time::Duration;

use crate::engine::event::Moment;
use crate::engine::plan::{Known, LANES_START};

/// Most lanes over all uploads of a process: with so many, uploads of small files fill a line whose
/// round trip is long. One upload has half of them at most.
pub(crate) const LANES_MAX: usize = 32;

/// Lanes on the thinnest line: one waits for its answer while the other sends.
pub(crate) const LANES_MIN: usize = 2;

/// Most lanes to begin with on a line that had more last time.
const LANES_RECALLED_MAX: usize = 8;

/// Beyond the first two, lanes must carry so much each, in bytes a second: 2 Mbit/s. Lanes that carry
/// less bring nothing but queues.
const LANE_PACE_MIN: u64 = 256 * 1024;

/// How long a number of lanes is watched at the start before there are more, at least: two of the
/// driver's looks.
const START_EPOCH_MIN: Duration = Duration::from_millis(200);

/// The same in round trips: in one, a connection sends twice what it sent in the one before.
const START_ROUND_TRIPS: u32 = 2;

/// How much more than in the epoch before the line must carry for the start to go on.
const START_GAIN: f64 = 1.25;

/// How long a number of lanes is watched later, at least.
const EPOCH_MIN: Duration = Duration::from_secs(1);

/// The same in round trips: in fewer, new connections have not found their pace.
const EPOCH_ROUND_TRIPS: u32 = 8;

/// More lanes must bring at least this share of what they would bring if each carried what the ones
/// before did.
const GAIN_SHARE: f64 = 0.25;

/// How long a number that was enough is kept before more are tried again; doubled each time.
const HOLD: Duration = Duration::from_secs(10);

/// How often that doubles: up to 160 s.
const HOLD_DOUBLINGS_MAX: u32 = 4;

/// A longer gap between two looks says that nobody looked: the process stood still.
const GAP_MAX: Duration = Duration::from_secs(2);

/// Weight of the newest epoch in the smoothed pace, where all lanes were in use.
const NEWEST: f64 = 0.3;

/// What a line carries, and how many lanes that is worth.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    lanes: usize,
    /// The line has not yet shown what it carries: how many lanes there were in the epoch before, and
    /// what they carried.
    start: Option<(usize, f64)>,
    /// The number of lanes before this one, and what they carried.
    before: Option<(usize, f64)>,
    /// More are not tried before; none while each trial is a success.
    hold_until: Option<Moment>,
    holds: u32,
    epoch: Option<Epoch>,
    last_look: Moment,
    /// Bytes a second, smoothed.
    smoothed: Option<f64>,
}

/// A stretch of time with one number of lanes, as far as any was in use.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    began: Moment,
    bytes: u64,
    /// Time in which the line was in use.
    used: Duration,
    /// The same for each lane, as a share of all, in seconds.
    shares_s: f64,
    /// All lanes were in use at every look.
    is_full: bool,
}

impl Epoch {
    fn new(began: Moment) -> Self {
        Self {
            began,
            bytes: 0,
            used: Duration::ZERO,
            shares_s: 0.0,
            is_full: true,
        }
    }

    /// So much time passed between two looks.
    fn add(&mut self, passed: Duration, look: &Look, lanes: usize) {
        self.bytes += look.bytes;
        self.is_full &= look.in_use >= lanes;
        if look.in_use > 0 || look.bytes > 0 {
            self.used += passed;
            let share = look.in_use.clamp(1, lanes) as f64 / lanes as f64;
            self.shares_s += passed.as_secs_f64() * share;
        }
    }

    /// What it carried, in bytes a second.
    fn pace(&self) -> f64 {
        self.bytes as f64 / self.used.as_secs_f64()
    }

    /// The share of the lanes that were in use.
    fn share(&self) -> f64 {
        self.shares_s / self.used.as_secs_f64()
    }
}

/// How the line is used at a look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Bytes acknowledged since the last look of the same upload.
    pub(crate) bytes: u64,
    /// Lanes in use, over all uploads.
    pub(crate) in_use: usize,
    /// The shortest round trip known.
    pub(crate) round_trip: Option<Duration>,
}

impl Pace {
    /// A line of which nothing is known.
    pub(crate) fn new() -> Self {
        Self {
            lanes: LANES_START,
            start: Some((LANES_START, 0.0)),
            before: None,
            hold_until: None,
            holds: 0,
            epoch: None,
            last_look: Moment::default(),
            smoothed: None,
        }
    }

    /// What it carried last time, and how many lanes that took: where to begin. Nothing where it was
    /// seen to carry anything already.
    pub(crate) fn recall(&mut self, known: &Known) {
        if self.smoothed.is_none() {
            self.smoothed = known.pace_bytes_per_s.map(|pace| pace as f64);
            self.lanes = known
                .lanes
                .unwrap_or(LANES_START)
                .clamp(LANES_MIN, LANES_RECALLED_MAX);
        }
    }

    /// Lanes worth having in flight now, over all uploads.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes
    }

    /// What the line carries, in bytes a second; none while nothing was carried for long enough.
    pub(crate) fn bytes_per_s(&self) -> Option<u64> {
        self.smoothed.map(|pace| pace as u64)
    }

    /// Somebody looked.
    pub(crate) fn look(&mut self, now: Moment, look: &Look) {
        let gap = now.since(self.last_look);
        self.last_look = now;
        if gap > GAP_MAX {
            self.epoch = None;
        }
        let lanes = self.lanes;
        let epoch = self.epoch.get_or_insert(Epoch::new(now));
        // What was carried before the epoch began does not count for it.
        if epoch.began < now {
            epoch.add(gap, look, lanes);
        }
        let (least, round_trips) = match self.start {
            Some(_) => (START_EPOCH_MIN, START_ROUND_TRIPS),
            None => (EPOCH_MIN, EPOCH_ROUND_TRIPS),
        };
        let needed = look.round_trip.unwrap_or_default() * round_trips;
        if epoch.used < least.max(needed) {
            return;
        }
        let epoch = std::mem::replace(epoch, Epoch::new(now));
        self.judge(now, &epoch);
    }

    /// What the present number of lanes carried.
    fn judge(&mut self, now: Moment, epoch: &Epoch) {
        let pace = epoch.pace();
        // Nothing moved: that says nothing about lanes.
        if pace == 0.0 {
            return;
        }
        let smoothed = self.smoothed.unwrap_or(pace);
        // Few lanes may carry less than the line does: then that weighs less. More they cannot.
        let weight = if pace > smoothed { 1.0 } else { epoch.share() };
        self.smoothed = Some(smoothed + (pace - smoothed) * NEWEST * weight);
        if !epoch.is_full {
            // Nobody needed more lanes, or fewer.
        } else if let Some((lanes, before)) = self.start {
            self.go_on_starting(now, (lanes, before), pace);
        } else {
            match self.hold_until {
                Some(until) if now < until => {}
                Some(_) => {
                    self.hold_until = None;
                    self.try_more(self.smoothed.unwrap_or(pace));
                }
                None => self.compare(now, pace),
            }
        }
        let most = usize::try_from(pace.max(smoothed) as u64 / LANE_PACE_MIN).unwrap_or(LANES_MAX);
        self.lanes = self.lanes.min(most.max(LANES_MIN));
    }

    /// The first epochs: twice the lanes as long as the line carries more each time. The last doubling,
    /// which brought nothing, is taken back.
    fn go_on_starting(&mut self, now: Moment, before: (usize, f64), pace: f64) {
        let (lanes, carried) = before;
        if pace >= carried * START_GAIN {
            self.start = Some((self.lanes, pace));
            self.lanes = (self.lanes * 2).min(LANES_MAX);
        } else {
            self.start = None;
            self.lanes = self.lanes.min(lanes);
            self.hold(now);
        }
    }

    /// Whether this number of lanes carries more than the one before it.
    fn compare(&mut self, now: Moment, pace: f64) {
        let Some((lanes, carried)) = self.before else {
            return self.try_more(pace);
        };
        if self.lanes <= lanes {
            return self.try_more(pace);
        }
        let ideal = self.lanes as f64 / lanes as f64 - 1.0;
        if pace >= carried * (1.0 + ideal * GAIN_SHARE) {
            self.holds = 0;
            self.try_more(pace);
        } else {
            self.lanes = lanes;
            self.hold(now);
        }
    }

    fn try_more(&mut self, pace: f64) {
        self.before = Some((self.lanes, pace));
        self.lanes = (self.lanes * 2).min(LANES_MAX);
    }

    fn hold(&mut self, now: Moment) {
        let doublings = self.holds.min(HOLD_DOUBLINGS_MAX);
        self.hold_until = Some(now.after(HOLD.saturating_mul(1 << doublings)));
        self.holds += 1;
    }
}
