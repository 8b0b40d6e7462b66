//! The rules that decide, row by row.

use std::time::Duration;

use crate::engine::commit::{Circumstances, CommitVerdict, commit_verdict};
use crate::engine::plan::{BLOCK_LEN, Known, Layout, PARTS_MAX, Protocol, Sizer, Took, Wishes};
use crate::engine::record::{Checkpoint, Digest, Receipt, Record};
use crate::engine::retry::{Backoff, Verdict, verdict};
use crate::engine::tests::world::MIB;
use crate::model::{Failure, FailureKind};

const KIB: u64 = 1024;

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "test")
}

/// What a failed segment leads to, for every kind of failure that one can meet.
#[test]
fn verdicts_on_segments() {
    use FailureKind as K;
    let rows = [
        (K::Connect, Verdict::NextHost),
        (K::Tls, Verdict::NextHost),
        (K::Broken, Verdict::Again),
        (K::TimedOut, Verdict::Again),
        (K::Stalled, Verdict::Again),
        (K::NotReading, Verdict::Again),
        (K::Trickle, Verdict::Again),
        (K::Server, Verdict::Again),
        (K::NotKodo, Verdict::Again),
        (K::NotFound, Verdict::Again),
        (K::MethodNotAllowed, Verdict::Again),
        (K::Throttled, Verdict::SlowDown),
        (K::Mismatch, Verdict::Resend),
        (K::ChecksumRefused, Verdict::Resend),
        (K::InvalidContext, Verdict::RestartLane),
        (K::NoSuchUpload, Verdict::StartOver),
        (K::Unauthorized, Verdict::RenewToken),
        (K::BodyLimit, Verdict::Shorten),
        (K::Source, Verdict::SourceGone),
        (K::SourceChanged, Verdict::SourceGone),
        (K::Forbidden, Verdict::GiveUp { again: false }),
        (K::TooLarge, Verdict::GiveUp { again: false }),
        (K::NoSuchBucket, Verdict::GiveUp { again: false }),
        (K::Exists, Verdict::GiveUp { again: false }),
        (K::BadRequest, Verdict::GiveUp { again: false }),
    ];
    for (kind, expected) in rows {
        assert_eq!(verdict(&failure(kind.clone())), expected, "{kind:?}");
    }
}

/// A failed commit: what it met, the protocol, whether stat is possible, whether a repeat does
/// something twice, whether an earlier commit is unclear, and the verdict.
type CommitRow = (FailureKind, Protocol, bool, bool, bool, CommitVerdict);

fn commit_rows() -> Vec<CommitRow> {
    use CommitVerdict as V;
    use FailureKind as K;
    use Protocol::{Blocks, Form, Parts};
    vec![
        (K::Broken, Blocks, true, false, true, V::Again),
        (K::Broken, Blocks, false, false, true, V::Again),
        (K::Broken, Blocks, true, true, true, V::Look),
        (K::Broken, Blocks, false, true, true, V::Unknown),
        (K::Broken, Parts, true, false, true, V::Look),
        (K::Broken, Parts, false, false, true, V::Again),
        (K::Broken, Form, true, false, true, V::Look),
        (K::Broken, Form, false, false, true, V::Again),
        (K::Broken, Form, false, true, true, V::Unknown),
        (K::Stalled, Form, true, false, true, V::Look),
        (K::NotReading, Parts, false, false, true, V::Again),
        (K::Trickle, Blocks, false, true, true, V::Unknown),
        (K::NotKodo, Parts, true, false, true, V::Look),
        (K::Connect, Parts, true, false, false, V::NextHost),
        (K::NoSuchUpload, Parts, true, false, false, V::StartOver),
        (
            K::NoSuchUpload,
            Parts,
            true,
            false,
            true,
            V::LookElseStartOver,
        ),
        (K::NoSuchUpload, Parts, false, false, true, V::Unknown),
        (
            K::NoSuchObject,
            Parts,
            true,
            false,
            true,
            V::LookElseStartOver,
        ),
        (K::NoSuchObject, Blocks, true, false, true, V::GiveUp),
        (K::Exists, Blocks, true, false, false, V::GiveUp),
        (K::Exists, Blocks, true, false, true, V::LookElseGiveUp),
        (K::Exists, Form, false, false, true, V::Unknown),
        (
            K::CallbackFailed,
            Blocks,
            true,
            false,
            true,
            V::StoredWithoutCallback,
        ),
        (K::InvalidContext, Blocks, true, false, false, V::StartOver),
        (K::Mismatch, Blocks, true, false, false, V::StartOver),
        (K::BadRequest, Parts, true, false, false, V::List),
        (K::BadRequest, Blocks, true, false, false, V::GiveUp),
        (K::ChecksumRefused, Form, true, false, false, V::Resend),
        (K::BodyLimit, Form, true, false, false, V::InLanes),
        (K::BodyLimit, Blocks, true, false, false, V::GiveUp),
        (K::Unauthorized, Parts, true, false, false, V::RenewToken),
        (K::Throttled, Parts, true, false, false, V::SlowDown),
        (K::TooLarge, Form, true, false, false, V::GiveUp),
    ]
}

/// What an unclear commit leads to: v1 may be repeated, the others are looked up, and where nobody
/// can look the truth is said.
#[test]
fn verdicts_on_commits() {
    let rows = commit_rows();
    for (kind, protocol, can_stat, repeat_acts, unclear, expected) in rows {
        let at = Circumstances {
            protocol,
            can_stat,
            repeat_shows: repeat_acts,
            repeat_acts,
            unclear,
        };
        assert_eq!(
            commit_verdict(&failure(kind.clone()), at),
            expected,
            "{kind:?} {at:?}"
        );
    }
    let mut named = failure(FailureKind::InvalidContext);
    named.refused_block = Some(3);
    let at = Circumstances {
        protocol: Protocol::Blocks,
        can_stat: true,
        repeat_shows: false,
        repeat_acts: false,
        unclear: false,
    };
    assert_eq!(commit_verdict(&named, at), CommitVerdict::RestartLane(3));
}

/// Which protocol and which lanes: by size, threshold, wish, and what v1 would overwrite.
#[test]
fn layouts() {
    use Protocol::{Blocks, Form, Parts};
    let rows = [
        (0, None, None, false, Form, 0),
        (0, Some(Blocks), Some(0), false, Form, 0),
        (1, None, None, false, Form, 0),
        (MIB, None, None, false, Form, 0),
        (MIB + 1, None, None, false, Blocks, 1),
        (MIB + 1, None, None, true, Parts, 1),
        (MIB + 1, Some(Parts), None, false, Parts, 1),
        (1, None, Some(0), false, Blocks, 1),
        (90 * MIB, None, Some(90 * MIB), false, Form, 0),
        (90 * MIB + 1, None, Some(90 * MIB), false, Blocks, 23),
        (BLOCK_LEN, None, Some(0), false, Blocks, 1),
        (2 * BLOCK_LEN + 1, None, None, false, Blocks, 3),
        (
            PARTS_MAX * BLOCK_LEN,
            Some(Parts),
            None,
            false,
            Parts,
            PARTS_MAX,
        ),
        (
            PARTS_MAX * BLOCK_LEN + 1,
            Some(Parts),
            None,
            false,
            Parts,
            8001,
        ),
    ];
    for (size, protocol, threshold, blocks_unsafe, expected, lanes) in rows {
        let wishes = Wishes {
            protocol,
            threshold,
            part_len: BLOCK_LEN,
            blocks_unsafe,
        };
        let layout = Layout::choose(size, &wishes);
        assert_eq!(
            (layout.protocol, layout.lane_count(size)),
            (expected, lanes),
            "{size}"
        );
        let mut at = 0;
        for lane in (0..lanes).filter_map(|lane| layout.lane(lane, size)) {
            assert_eq!(lane.offset, at);
            at = lane.end();
        }
        assert!(expected == Form || at == size, "{size}: lanes end at {at}");
        assert_eq!(layout.check(size), Some(()));
    }
}

/// A journal may claim any layout; only one that could have been chosen for that size is taken up.
#[test]
fn layouts_that_can_be() {
    use Protocol::{Blocks, Form, Parts};
    let rows = [
        (Blocks, BLOCK_LEN, 1, true),
        (Blocks, BLOCK_LEN, 0, false),
        (Blocks, MIB, 1, false),
        (Parts, 1, PARTS_MAX, true),
        (Parts, 1, PARTS_MAX + 1, false),
        (Parts, MIB, 0, false),
        (Parts, 0, 1, false),
        (Form, 1, 0, true),
        (Form, 7, 7, true),
        (Form, 7, 8, false),
    ];
    for (protocol, lane_len, size, expected) in rows {
        let layout = Layout { protocol, lane_len };
        assert_eq!(layout.check(size).is_some(), expected, "{layout:?} {size}");
    }
    // Parts as long as wished are enough to the last byte.
    let wishes = Wishes {
        protocol: Some(Parts),
        threshold: None,
        part_len: MIB + 7,
        blocks_unsafe: false,
    };
    let size = PARTS_MAX * (MIB + 7);
    assert_eq!(Layout::choose(size, &wishes).lane_count(size), PARTS_MAX);
}

/// An object so large that its segments in flight are a small share of it, whatever they are.
const HUGE: u64 = 1 << 50;

fn took(time_ms: u64) -> Took {
    Took {
        time: Duration::from_millis(time_ms),
        lanes: 2,
        round_trip: None,
    }
}

/// A segment takes about 4 s at the present pace, never less than 64 KiB, never more than its block.
#[test]
fn segment_lengths_follow_the_pace() {
    let rows: [(&str, u64, u64); 4] = [
        ("64 kbit/s", 8_000, 64 * KIB),
        ("1 Mbit/s", 125_000, 488 * KIB),
        ("8 Mbit/s", 1_000_000, 3906 * KIB),
        ("1 Gbit/s", 125_000_000, BLOCK_LEN),
    ];
    for (line, bytes_per_s, expected) in rows {
        let mut sizer = Sizer::new(HUGE, &Known::default(), 1);
        for _ in 0..8 {
            let len = sizer.segment_len(Protocol::Blocks, BLOCK_LEN, 0, HUGE);
            sizer.acknowledged(len, &took(len * 1000 / bytes_per_s));
        }
        let len = sizer.segment_len(Protocol::Blocks, BLOCK_LEN, 0, HUGE);
        assert!(
            len.abs_diff(expected) <= expected / 50,
            "{line}: {len}, not {expected}"
        );
    }
    let sizer = Sizer::new(HUGE, &Known::default(), 1);
    assert_eq!(
        sizer.segment_len(Protocol::Parts, 9 * MIB, 0, HUGE),
        9 * MIB,
        "a part is one segment"
    );
    assert_eq!(
        sizer.segment_len(Protocol::Blocks, BLOCK_LEN, BLOCK_LEN - 1, HUGE),
        1
    );
    let crumb = sizer.segment_len(Protocol::Blocks, 520 * KIB, 0, HUGE);
    assert_eq!(crumb, 520 * KIB, "no crumb is left at the end of a block");
    let rest = sizer.segment_len(Protocol::Blocks, 576 * KIB, 0, HUGE);
    assert_eq!(rest, 512 * KIB, "64 KiB are no crumb");
}

/// A segment that is lost late makes the next ones shorter, down to 64 KiB; one that is lost early
/// says less.
#[test]
fn lost_segments_make_the_next_ones_shorter() {
    let rows = [
        (0, [2048, 1024, 512, 512, 512]),
        (4_000, [2048, 1024, 512, 512, 512]),
        (4_001, [2048, 1024, 512, 256, 128]),
    ];
    for (took_ms, expected) in rows {
        let mut sizer = Sizer::new(HUGE, &Known::default(), 1);
        for _ in 0..4 {
            sizer.acknowledged(BLOCK_LEN, &took(1));
        }
        let mut lens = [0; 5];
        for len in &mut lens {
            sizer.lost(Duration::from_millis(took_ms));
            *len = sizer.segment_len(Protocol::Blocks, BLOCK_LEN, 0, HUGE) / KIB;
        }
        assert_eq!(lens, expected, "lost after {took_ms} ms");
    }
}

/// A refused body is halved down to 64 KiB, and then nothing helps.
#[test]
fn refused_bodies_get_shorter() {
    let mut sizer = Sizer::new(HUGE, &Known::default(), 1);
    let mut lens = Vec::new();
    loop {
        let len = sizer.segment_len(Protocol::Blocks, BLOCK_LEN, 0, HUGE);
        lens.push(len / KIB);
        if !sizer.refused(len) {
            break;
        }
    }
    assert_eq!(lens, [512, 256, 128, 64]);
}

/// Waits double up to 30 s, are spread by full jitter, and give way to what the server asks.
#[test]
fn waits() {
    let mut backoff = Backoff::new(3);
    for failures in 1..40 {
        let ceiling =
            Duration::from_millis(200 << (failures - 1).min(16)).min(Duration::from_secs(30));
        let waits: Vec<Duration> = (0..200)
            .map(|_| backoff.wait(failures, &failure(FailureKind::Broken), Duration::ZERO))
            .collect();
        let longest = waits.iter().max().expect("waits");
        let shortest = waits.iter().min().expect("waits");
        assert!(
            *longest <= ceiling && *longest > ceiling * 8 / 10,
            "{failures}: {longest:?}"
        );
        assert!(*shortest < ceiling * 2 / 10, "{failures}: {shortest:?}");
    }
    for (asked_s, expected_s) in [(3, 3), (100_000, 600)] {
        let mut asked = failure(FailureKind::Throttled);
        asked.retry_after = Some(Duration::from_secs(asked_s));
        assert_eq!(
            backoff.wait(1, &asked, Duration::ZERO),
            Duration::from_secs(expected_s)
        );
    }
}

/// The jitter is SplitMix64: its published numbers for the seed 0, as shares of the first ceiling.
#[test]
fn jitter_has_known_answers() {
    let mut backoff = Backoff::new(0);
    for published in [
        0xE220_A839_7B1D_CDAF_u64,
        0x6E78_9E6A_A1B9_65F4,
        0x06C4_5D18_8009_454F,
    ] {
        let share = published as f64 / 2_f64.powi(64);
        let wait = backoff.wait(1, &failure(FailureKind::Broken), Duration::ZERO);
        let off = wait.as_secs_f64() - 0.2 * share;
        assert!(off.abs() < 1e-6, "{wait:?} for {published:x}");
    }
}

/// The beginning of a v1 upload in a journal.
fn begun(lane_len: u64) -> Record {
    Record::Begun {
        layout: Layout {
            protocol: Protocol::Blocks,
            lane_len,
        },
        upload_id: None,
        expires: None,
    }
}

/// A segment in a journal.
fn segment(lane: u64, offset: u64, len: u64) -> Record {
    Record::Segment {
        lane,
        offset,
        len,
        digest: Digest([1; 20]),
        receipt: Receipt {
            text: "ctx".into(),
            host: None,
            expires: None,
        },
    }
}

/// A journal's records for a source of 9 MiB: the story, how many count, and the safe bytes.
fn replay_rows() -> Vec<(&'static str, Vec<Record>, usize, u64)> {
    vec![
        ("nothing", vec![], 0, 0),
        (
            "a segment before the beginning",
            vec![segment(0, 0, 1)],
            0,
            0,
        ),
        ("a layout that cannot be", vec![begun(5)], 0, 0),
        (
            "one segment",
            vec![begun(BLOCK_LEN), segment(0, 0, 7)],
            2,
            7,
        ),
        (
            "a gap",
            vec![begun(BLOCK_LEN), segment(0, 0, 7), segment(0, 8, 1)],
            2,
            7,
        ),
        (
            "twice the same",
            vec![begun(BLOCK_LEN), segment(0, 0, 7), segment(0, 0, 7)],
            2,
            7,
        ),
        (
            "beyond the lane",
            vec![begun(BLOCK_LEN), segment(0, 0, BLOCK_LEN + 1)],
            1,
            0,
        ),
        (
            "beyond the object",
            vec![begun(BLOCK_LEN), segment(3, 0, 1)],
            1,
            0,
        ),
        (
            "an empty segment",
            vec![begun(BLOCK_LEN), segment(0, 0, 0)],
            1,
            0,
        ),
        (
            "a lane that starts again",
            vec![
                begun(BLOCK_LEN),
                segment(0, 0, 7),
                Record::LaneReset { lane: 0 },
                segment(0, 0, 3),
            ],
            4,
            3,
        ),
    ]
}

/// Records that make no sense end the replay; what came before them counts.
#[test]
fn replay_is_total() {
    let size = 9 * MIB;
    for (story, records, used, safe) in replay_rows() {
        let (checkpoint, count) = Checkpoint::replay(&records, size);
        assert_eq!((count, checkpoint.safe_bytes()), (used, safe), "{story}");
    }
}
