//! How long segments are: what a kill, a round trip, a break and a proxy's limit make of them.

use std::time::Duration;

use crate::engine::plan::{BLOCK_LEN, Known, SEGMENT_LEN_MIN, Sizer, Took};
use crate::engine::tests::setup::MIB;

const KIB: u64 = 1024;

/// So large that its size bounds nothing.
const HUGE: u64 = 1 << 40;

/// Segments that get across one after the other: each lane has its share of `bytes_per_s`, and each
/// segment waits a round trip for its answer.
fn settle(sizer: &mut Sizer, bytes_per_s: u64, lanes: usize, round_trip: Duration) -> u64 {
    for _ in 0..20 {
        let len = sizer.next_len();
        let time = Duration::from_millis(len * lanes as u64 * 1000 / bytes_per_s) + round_trip;
        let took = Took {
            time,
            lanes,
            round_trip: Some(round_trip),
        };
        sizer.carried(len);
        sizer.acknowledged(len, &took);
    }
    sizer.next_len()
}

/// What is in flight is a small share of the object, so that a kill costs little; segments that would be
/// too short for that take their round trips all the same, and four seconds are enough for any.
#[test]
fn what_is_in_flight_is_a_small_share() {
    const MS: fn(u64) -> Duration = Duration::from_millis;
    // The size, the line, its round trip; bytes in flight at least, at most.
    let rows: [(&str, u64, u64, usize, Duration, u64, u64); 5] = [
        (
            "64 MB at 100 Mbit/s",
            64_000_000,
            12_500_000,
            4,
            MS(1),
            MIB,
            64_000_000 / 20,
        ),
        (
            "the same in 2 lanes",
            64_000_000,
            12_500_000,
            2,
            MS(1),
            MIB,
            64_000_000 / 20,
        ),
        (
            "4 s would be half of it",
            8_000_000,
            1_000_000,
            2,
            MS(1),
            128 * KIB,
            8_000_000 / 10,
        ),
        (
            "huge: 4 s for each lane",
            HUGE,
            1_000_000,
            4,
            MS(1),
            3_500_000,
            4_000_000,
        ),
        (
            "huge and fast: blocks",
            HUGE,
            1_000_000_000,
            4,
            MS(1),
            4 * BLOCK_LEN,
            4 * BLOCK_LEN,
        ),
    ];
    for (story, size, bytes_per_s, lanes, round_trip, least, most) in rows {
        let mut sizer = Sizer::new(size, &Known::default(), 1);
        let in_flight = settle(&mut sizer, bytes_per_s, lanes, round_trip) * lanes as u64;
        assert!((least..=most).contains(&in_flight), "{story}: {in_flight}");
    }
}

/// Between two segments of a lane there is a round trip: the longer it is, the longer are segments, even
/// where a kill costs more then.
#[test]
fn long_ways_need_long_segments() {
    let mut lens = Vec::new();
    for round_trip_ms in [1, 100, 300] {
        let round_trip = Duration::from_millis(round_trip_ms);
        let mut sizer = Sizer::new(64_000_000, &Known::default(), 1);
        let len = settle(&mut sizer, 12_500_000, 4, round_trip);
        let sending = Duration::from_millis(len * 4 * 1000 / 12_500_000);
        let is_hidden = sending >= round_trip * 6 || len == BLOCK_LEN;
        assert!(is_hidden, "{round_trip_ms} ms: {len} in {sending:?}");
        lens.push(len);
    }
    assert!(lens.is_sorted() && lens[0] < lens[2], "{lens:?}");
}

/// A line that breaks every so many bytes: segments are a small share of that, never less than 64 KiB;
/// when it breaks no more they get longer again.
#[test]
fn breaks_make_segments_short() {
    for (distance, least, most) in [
        (64 * MIB, 4 * MIB, 4 * MIB),
        (8 * MIB, 8 * MIB / 16, 8 * MIB / 4),
        (2 * MIB, 2 * MIB / 16, 2 * MIB / 4),
        (MIB, 64 * KIB, MIB / 4),
        (200 * KIB, 64 * KIB, 64 * KIB),
    ] {
        let mut sizer = Sizer::new(HUGE, &Known::default(), 1);
        settle(&mut sizer, 100_000_000, 4, Duration::from_millis(1));
        sizer.broke();
        for _ in 0..20 {
            sizer.carried(distance);
            sizer.broke();
        }
        let len = sizer.next_len();
        assert!((least..=most).contains(&len), "every {distance}: {len}");
        // Whatever the mean is, what goes well now counts.
        sizer.carried(64 * MIB);
        assert_eq!(sizer.next_len(), BLOCK_LEN, "every {distance}");
    }
}

/// The first break alone does not make segments tiny, wherever it comes; on a line that was good for long
/// it means little.
#[test]
fn one_break_is_chance() {
    let unknown = Sizer::new(HUGE, &Known::default(), 1).next_len();
    for before in [0, 100 * KIB, 100 * MIB] {
        let mut sizer = Sizer::new(HUGE, &Known::default(), 1);
        sizer.carried(before);
        sizer.broke();
        let len = sizer.next_len();
        assert!(len >= unknown.min(256 * KIB), "after {before}: {len}");
    }
    let mut sizer = Sizer::new(HUGE, &Known::default(), 1);
    settle(&mut sizer, 100_000_000, 4, Duration::from_millis(1));
    sizer.carried(200 * MIB);
    sizer.broke();
    assert_eq!(sizer.next_len(), BLOCK_LEN, "one in 200 MiB");
}

/// What something on the way lets pass bounds every segment, whatever the line carries, and is where the
/// next upload begins.
#[test]
fn a_body_limit_is_obeyed_and_remembered() {
    for (limit, expected) in [
        (MIB, MIB),
        (300 * KIB, 300 * KIB),
        (SEGMENT_LEN_MIN, SEGMENT_LEN_MIN),
        (10 * KIB, SEGMENT_LEN_MIN),
    ] {
        let mut sizer = Sizer::new(HUGE, &Known::default(), 1);
        sizer.limit_to(limit);
        let known = Known {
            pace_bytes_per_s: Some(100_000_000),
            lanes: Some(4),
            body_limit: Some(sizer.limit()),
        };
        let next = Sizer::new(HUGE, &known, 1);
        for mut sizer in [sizer, next] {
            let len = settle(&mut sizer, 100_000_000, 4, Duration::from_millis(1));
            assert_eq!((len, sizer.limit()), (expected, expected), "{limit}");
            sizer.limit_to(8 * MIB);
            assert_eq!(sizer.limit(), expected, "a longer one takes nothing back");
        }
        assert!(
            Sizer::new(HUGE, &known, 1).next_len() <= expected,
            "the first one too"
        );
    }
}

/// What the line carried last time is where segments begin: in a block's bounds, and no larger a share
/// of the object than later.
#[test]
fn what_the_line_carried_is_where_segments_begin() {
    let unknown = Sizer::new(HUGE, &Known::default(), 1).next_len();
    let rows = [
        ("64 kbit/s", 8_000, 2, HUGE, 64 * KIB, 64 * KIB),
        ("1 Mbit/s", 125_000, 2, HUGE, 200_000, 300_000),
        ("100 Mbit/s", 12_500_000, 8, HUGE, BLOCK_LEN, BLOCK_LEN),
        (
            "100 Mbit/s, little to send",
            12_500_000,
            8,
            8_000_000,
            64 * KIB,
            unknown,
        ),
        ("lanes that are none", 125_000, 0, HUGE, 400_000, 500_000),
    ];
    for (story, pace, lanes, size, least, most) in rows {
        let known = Known {
            pace_bytes_per_s: Some(pace),
            lanes: Some(lanes),
            body_limit: None,
        };
        let len = Sizer::new(size, &known, 1).next_len();
        assert!((least..=most).contains(&len), "{story}: {len}");
    }
}

/// One form request takes what the line carries in ten seconds, 1 to 8 MiB, and no more than a body may
/// have.
#[test]
fn the_automatic_threshold() {
    let rows = [
        (None, None, MIB),
        (None, Some(300 * KIB), 300 * KIB),
        (Some(8_000), None, MIB),
        (Some(500_000), None, 5_000_000),
        (Some(500_000), Some(MIB), MIB),
        (Some(12_500_000), None, 8 * MIB),
        (Some(u64::MAX), Some(u64::MAX), 8 * MIB),
    ];
    for (pace_bytes_per_s, body_limit, expected) in rows {
        let known = Known {
            pace_bytes_per_s,
            lanes: None,
            body_limit,
        };
        assert_eq!(known.threshold(), expected, "{known:?}");
    }
}
