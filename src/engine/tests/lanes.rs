//! How many lanes a line is worth: one that is modelled look by look.

use std::time::Duration;

use crate::engine::event::Moment;
use crate::engine::pace::{LANES_MAX, LANES_MIN, Look, Pace};
use crate::engine::plan::Known;
use crate::engine::plan::LANES_START;
use crate::engine::tests::line::seconds;

/// How often somebody looks.
const LOOK: Duration = Duration::from_millis(100);

const MB: u64 = 1_000_000;

/// A line, and what was chosen for it.
struct Model {
    pace: Pace,
    now: Moment,
    round_trip: Option<Duration>,
    /// Each change of the number of lanes, and when.
    chosen: Vec<(Duration, usize)>,
}

impl Model {
    fn new() -> Self {
        Self {
            pace: Pace::new(),
            now: Moment::default(),
            round_trip: None,
            chosen: Vec::new(),
        }
    }

    /// So much time, in which this many lanes carry this much a second; all lanes are in use.
    fn run(&mut self, time: Duration, carries: impl Fn(u64) -> u64) {
        self.run_with(time, |lanes| (lanes as usize, carries(lanes)));
    }

    /// The same, with as many lanes in use as it says.
    fn run_with(&mut self, time: Duration, line: impl Fn(u64) -> (usize, u64)) {
        let end = self.now.after(time);
        while self.now < end {
            self.now = self.now.after(LOOK);
            let lanes = self.pace.lanes();
            let (in_use, bytes_per_s) = line(lanes as u64);
            let look = Look {
                bytes: bytes_per_s / 10,
                in_use,
                round_trip: self.round_trip,
            };
            self.pace.look(self.now, &look);
            if self.pace.lanes() != lanes {
                self.chosen.push((self.now.0, self.pace.lanes()));
            }
        }
    }

    fn lanes(&self) -> usize {
        self.pace.lanes()
    }

    /// The most that were ever chosen.
    fn most(&self) -> usize {
        let chosen = self.chosen.iter().map(|(_, lanes)| *lanes);
        chosen.max().unwrap_or(LANES_START)
    }
}

/// A line where each lane carries so much, up to what it carries in all.
fn shared(each: u64, all: u64) -> impl Fn(u64) -> u64 + Copy {
    move |lanes| (lanes * each).min(all)
}

/// At the start lanes double for as long as the line carries a quarter more each time; on a thin line
/// there are never more than a few.
#[test]
fn the_start_doubles() {
    let all = LANES_MAX as u64;
    // The line, and how many lanes there are in the end: at least, at most. A doubling that brings
    // nothing is taken back.
    let rows: [(&str, u64, u64, usize, usize); 7] = [
        (
            "each lane carries 1 MB/s, however many",
            MB,
            all * MB,
            LANES_MAX,
            LANES_MAX,
        ),
        ("16 lanes fill it", MB, 16 * MB, 16, 16),
        ("8 lanes fill it", 3 * MB, 24 * MB, 8, 8),
        ("one lane fills it", 12 * MB, 12 * MB, 2, LANES_START),
        ("8 Mbit/s: 2 Mbit/s for each lane at least", MB, MB, 2, 4),
        ("2 Mbit/s", MB / 4, MB / 4, LANES_MIN, LANES_MIN),
        ("64 kbit/s", 8_000, 8_000, LANES_MIN, LANES_MIN),
    ];
    for (story, each, all, least, most) in rows {
        for round_trip_ms in [None, Some(1), Some(100)] {
            let mut line = Model::new();
            line.round_trip = round_trip_ms.map(Duration::from_millis);
            line.run(seconds(5), shared(each, all));
            let lanes = line.lanes();
            assert!(
                (least..=most.max(least)).contains(&lanes),
                "{story}: {:?}",
                line.chosen
            );
            let is_bounded = line.most() <= most.max(least) * 2;
            assert!(is_bounded, "{story}: {:?}", line.chosen);
            let doubles = line
                .chosen
                .windows(2)
                .all(|pair| pair[1].1 <= pair[0].1 * 2);
            assert!(doubles, "{story}: {:?}", line.chosen);
            let gained = line.pace.bytes_per_s().expect("a pace");
            assert!(gained <= all && gained >= all / 4, "{story}: {gained}");
        }
    }
}

/// Two round trips are watched at the start, eight later: in fewer, new connections have not found their
/// pace.
#[test]
fn long_ways_are_watched_longer() {
    let mut firsts = Vec::new();
    for round_trip_ms in [0, 200, 500] {
        let mut line = Model::new();
        line.round_trip = Some(Duration::from_millis(round_trip_ms));
        line.run(seconds(5), shared(MB, 32 * MB));
        let (first, _) = line.chosen[0];
        assert!(
            first >= Duration::from_millis(2 * round_trip_ms),
            "{first:?}"
        );
        firsts.push(first);
    }
    assert!(firsts.is_sorted() && firsts[0] < firsts[2], "{firsts:?}");
}

/// After the start more lanes are tried from time to time: kept where they bring something, taken back
/// where not, and tried less often then.
#[test]
fn more_are_tried_later() {
    let mut line = Model::new();
    line.run(seconds(5), shared(12 * MB, 12 * MB));
    let settled = line.lanes();
    line.chosen.clear();
    line.run(seconds(400), shared(12 * MB, 12 * MB));
    let tries: Vec<Duration> = line
        .chosen
        .iter()
        .filter(|(_, lanes)| *lanes > settled)
        .map(|(at, _)| *at)
        .collect();
    assert!((3..=7).contains(&tries.len()), "{:?}", line.chosen);
    assert!(tries[0] >= seconds(10), "{tries:?}");
    let gaps: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        gaps.is_sorted_by(|one, other| *other >= *one + *one / 2),
        "{gaps:?}"
    );
    assert_eq!(line.lanes(), settled, "{:?}", line.chosen);
    assert_eq!(line.most(), settled * 2, "{:?}", line.chosen);
    // The way gets wider: each lane brings as much as the ones before.
    line.run(seconds(200), shared(3 * MB, 3 * MB * LANES_MAX as u64));
    assert_eq!(line.lanes(), LANES_MAX, "{:?}", line.chosen);
}

/// A line that gets thin has a few lanes at once.
#[test]
fn a_line_that_gets_thin() {
    let mut line = Model::new();
    line.run(seconds(5), shared(MB, 32 * MB));
    assert_eq!(line.lanes(), LANES_MAX);
    line.run(seconds(30), shared(MB, 30_000));
    assert_eq!(line.lanes(), LANES_MIN, "{:?}", line.chosen);
}

/// Time in which nobody looked, nothing was under way or nothing moved says nothing about the line.
#[test]
fn what_says_nothing() {
    type Happens = fn(&mut Model);
    let rows: [(&str, Happens); 4] = [
        ("the process stood still", |line| {
            line.now = line.now.after(seconds(600))
        }),
        ("again and again, for three seconds", |line| {
            for _ in 0..20 {
                line.run(LOOK, |_| 12 * MB);
                line.now = line.now.after(seconds(3));
            }
        }),
        ("nothing was under way", |line| {
            line.run_with(seconds(60), |_| (0, 0))
        }),
        ("nothing moved", |line| line.run(seconds(60), |_| 0)),
    ];
    for (story, happens) in rows {
        let mut line = Model::new();
        line.run(seconds(12), shared(3 * MB, 24 * MB));
        // Whatever is being watched is over.
        line.now = line.now.after(seconds(3));
        let (lanes, pace) = (line.lanes(), line.pace.bytes_per_s());
        happens(&mut line);
        assert_eq!(line.lanes(), lanes, "{story}");
        assert_eq!(line.pace.bytes_per_s(), pace, "{story}");
    }
}

/// Where not all lanes are in use their number is not judged: uploads of small files, and the last lanes
/// of an object. What is carried is the line's pace all the same.
#[test]
fn lanes_that_are_not_used() {
    let mut line = Model::new();
    line.run(seconds(5), shared(3 * MB, 12 * MB));
    line.chosen.clear();
    line.run_with(seconds(300), |lanes| (lanes as usize - 1, 6 * MB));
    assert_eq!(line.chosen, [], "none is tried");
    let pace = line.pace.bytes_per_s().expect("a pace");
    assert!(pace.abs_diff(6 * MB) < MB / 10, "{pace}");
}

/// A start that does not use its lanes neither ends nor adds any.
#[test]
fn a_start_waits_for_lanes_in_use() {
    let mut line = Model::new();
    line.run_with(seconds(5), |_| (LANES_START / 2, 6 * MB));
    assert_eq!(line.chosen, [], "more would be as idle");
    line.run(seconds(5), shared(3 * MB, 24 * MB));
    assert_eq!(line.lanes(), 8, "{:?}", line.chosen);
}

/// Breaks between uploads, and the last lane of each, do not make the line's pace seem lower than it is:
/// it is remembered.
#[test]
fn breaks_are_no_pace() {
    type Happens = fn(&mut Model);
    let rows: [(&str, Happens); 2] = [
        ("nothing is under way half of the time", |line| {
            for _ in 0..30 {
                line.run(LOOK * 5, shared(3 * MB, 24 * MB));
                line.run_with(LOOK * 5, |_| (0, 0));
            }
        }),
        ("one lane is left", |line| {
            line.run_with(seconds(3), |_| (1, 3 * MB))
        }),
    ];
    for (story, happens) in rows {
        let mut line = Model::new();
        line.run(seconds(5), shared(3 * MB, 24 * MB));
        let before = line.pace.bytes_per_s().expect("a pace");
        happens(&mut line);
        let pace = line.pace.bytes_per_s().expect("a pace");
        assert!(pace > before * 8 / 10, "{story}: {before}, then {pace}");
    }
}

/// What the line carried last time is where it begins, within limits; what is seen now counts more.
#[test]
fn what_is_recalled() {
    let known = |pace, lanes| Known {
        pace_bytes_per_s: Some(pace),
        lanes,
        body_limit: None,
    };
    let rows = [
        (None, LANES_START),
        (Some(1), LANES_MIN),
        (Some(6), 6),
        (Some(8), 8),
        (Some(400), 8),
    ];
    for (lanes, expected) in rows {
        let mut line = Model::new();
        line.pace.recall(&known(5 * MB, lanes));
        assert_eq!(line.lanes(), expected, "{lanes:?}");
        assert_eq!(line.pace.bytes_per_s(), Some(5 * MB));
    }
    let mut line = Model::new();
    line.pace.recall(&known(50 * MB, Some(8)));
    line.run(seconds(30), |_| 30_000);
    assert_eq!(line.lanes(), LANES_MIN, "it was thicker once");
    let seen = line.pace.bytes_per_s();
    line.pace.recall(&known(50 * MB, Some(8)));
    assert_eq!(line.pace.bytes_per_s(), seen, "it is known by now");
    assert_eq!(line.lanes(), LANES_MIN);
}
