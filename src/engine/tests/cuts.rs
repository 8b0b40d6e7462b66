//! Bodies that something on the way cuts.

use std::time::Duration;

use crate::engine::cuts::{Cut, Cuts};
use crate::engine::event::{Effect, Moment, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::tests::bounds::{job, run};
use crate::engine::tests::world::MIB;
use crate::model::{Endpoint, Failure, FailureKind, Stage, Trace};

const KIB: u64 = 1024;

/// Something on the way cuts every body after some bytes, without a word: three cuts at one place are a
/// limit, cuts here and there are none.
#[test]
fn cuts_at_one_place_are_a_limit() {
    let rows = [
        (Protocol::Blocks, 9 * MIB, 300 * KIB, true),
        (Protocol::Parts, 9 * MIB, 1500 * KIB, true),
        (Protocol::Parts, 9 * MIB, 500 * KIB, false),
        (Protocol::Blocks, 9 * MIB, 10 * KIB, false),
    ];
    for (protocol, size, limit, is_done) in rows {
        let mut cuts = 0;
        let ran = run(job(protocol, size), |effect| match effect {
            Effect::Send { span, .. } if span.len > limit => {
                cuts += 1;
                Some(cut_after(limit + 1000 * (cuts % 2)))
            }
            _ => None,
        });
        let done = ran.outcome == Outcome::Done;
        assert_eq!(done, is_done, "{protocol:?} {limit}: {:?}", ran.outcome);
        assert!(cuts <= 4 || !is_done, "{protocol:?} {limit}: {cuts} cuts");
    }
    let (mut sends, mut longest) = (0, 0);
    let ran = run(job(Protocol::Blocks, 200 * MIB), |effect| match effect {
        // What passes in between is as long as what is cut.
        Effect::Send { span, .. } if sends < 60 => {
            sends += 1;
            (sends % 2 == 0).then(|| cut_after(span.len / (2 + sends / 2 % 3)))
        }
        Effect::Send { span, .. } => {
            longest = longest.max(span.len);
            None
        }
        _ => None,
    });
    assert_eq!(ran.outcome, Outcome::Done);
    assert!(longest > MIB, "bodies get long again: {longest}");
}

/// The same with one request for all: it goes on in lanes, whose segments pass. What is as short as a
/// segment can be has no other way.
#[test]
fn cut_forms_go_in_lanes() {
    let rows = [
        (900 * KIB, 300 * KIB, true),
        (310 * KIB, 300 * KIB, true),
        (60 * KIB, 30 * KIB, false),
    ];
    for (size, limit, is_done) in rows {
        let mut cuts = 0;
        let ran = run(job(Protocol::Form, size), |effect| {
            let len = match effect {
                Effect::Send { span, .. } => span.len,
                Effect::Commit { protocol, .. } if *protocol == Protocol::Form => size,
                _ => 0,
            };
            cuts += u32::from(len > limit);
            (len > limit).then(|| cut_after(limit))
        });
        let story = format!("{size}: {cuts} cuts, {:?}", ran.outcome);
        assert_eq!(ran.outcome == Outcome::Done, is_done, "{story}");
        assert!(cuts <= 8 || !is_done, "{story}");
    }
}

/// A connection that broke when so much of the body was acknowledged.
fn cut_after(acknowledged_bytes: u64) -> Failure {
    let mut failure = Failure::new(FailureKind::Broken, "cut");
    failure.trace = Some(Box::new(Trace {
        endpoint: Endpoint::parse("http://up", false).expect("an endpoint"),
        address: None,
        proxy: None,
        is_reused: false,
        uses_bbr: false,
        stage: Stage::Sending,
        acknowledged_bytes,
        body_len: 0,
        connecting: Duration::ZERO,
        sending: Duration::ZERO,
        answering: Duration::ZERO,
        before: None,
    }));
    failure
}

/// Bodies that break though all of them was acknowledged, since buffers took it: two in a row that are
/// longer than what passes are a limit, and that is what passes; so are three of which some broke on
/// their way. `+` is a body in KiB that passed, `-` one that broke; from 10 000 on, on its way.
#[test]
fn longer_than_what_passes() {
    let rows: [(&str, &[i64], Option<u64>); 9] = [
        ("a limit", &[500, -1200, 1000, -1100], Some(1000)),
        (
            "of both kinds",
            &[-1200, 1000, -11_200, -11_300],
            Some(1000),
        ),
        ("two are too few", &[-11_200, 1000, -1200, 900], None),
        ("nothing passed since", &[1000, -1200, -1100], None),
        ("only short ones pass", &[-1200, 500, -1100], None),
        ("a long one passed", &[-1200, 1000, 1200, -1100], None),
        (
            "as long as the shortest",
            &[-1200, -1100, 1100, -1200],
            None,
        ),
        ("a shorter one broke", &[-1200, 1000, -900, 800], None),
        (
            "after that, again",
            &[-1200, 1300, -1200, 900, -1200],
            Some(900),
        ),
    ];
    for (story, bodies, expected) in rows {
        let mut cuts = Cuts::default();
        let mut told = None;
        for body in bodies {
            let is_midway = body.unsigned_abs() > 10_000;
            let len = body.unsigned_abs() % 10_000 * KIB;
            // Where it breaks on its way is anywhere.
            let offset = if is_midway { len / 3 } else { len };
            assert_eq!(told, None, "{story}: too early");
            match body {
                0.. => cuts.passed(len),
                _ => told = cuts.cut(Moment::default(), cut(offset, len)),
            }
        }
        assert_eq!(told, expected.map(|len| len * KIB), "{story}");
    }
}

/// How far apart three cuts may be to count as one place: 64 KiB, or an eighth of the place.
#[test]
fn one_place() {
    let rows = [
        ([200, 200 + 64, 200], true),
        ([200, 200 + 65, 200], false),
        ([200, 200, 200 - 64], true),
        ([200, 200, 200 - 65], false),
        ([4000, 4000, 4571], true),
        ([4000, 4000, 4572], false),
        ([512, 512 + 64, 512], true),
    ];
    for (offsets, expected) in rows {
        let mut cuts = Cuts::default();
        let told = offsets.map(|at| cuts.cut(Moment::default(), cut(at * KIB, 8000 * KIB)));
        assert_eq!(told[..2], [None, None], "{offsets:?}");
        assert_eq!(told[2].is_some(), expected, "{offsets:?}");
    }
}

/// A request that went out again at once and was cut again was cut twice; if right there, and nothing as
/// long has passed, that is a limit by itself. One that broke before it had brought anything away was
/// cut once. What passed before, then places in KiB, the one of the first connection first.
#[test]
fn a_repeat_counts_as_well() {
    let rows = [
        ("right there", 900, vec![(1020, 1024)], true),
        ("near it", 900, vec![(1019, 1024)], false),
        ("as long has passed", 1024, vec![(1020, 1024)], false),
        ("two near", 1024, vec![(1000, 1010), (990, 1000)], true),
        ("near, and one", 0, vec![(1000, 1010), (0, 1000)], true),
        ("stale ones", 0, vec![(0, 1000), (0, 1000)], false),
        ("elsewhere", 0, vec![(300, 1000), (5000, 1000)], false),
        ("whole ones", 0, vec![(8000, 8000)], false),
    ];
    for (story, passed, pairs, expected) in rows {
        let mut cuts = Cuts::default();
        cuts.passed(passed * KIB);
        let mut told = None;
        for (before, offset) in pairs {
            assert_eq!(told, None, "{story}: too early");
            let before = Some(before * KIB);
            let again = cut(offset * KIB, 8000 * KIB);
            told = cuts.cut(Moment::default(), Cut { before, ..again });
        }
        assert_eq!(told.is_some(), expected, "{story}: {told:?}");
    }
}

fn cut(offset: u64, len: u64) -> Cut {
    Cut {
        offset,
        len,
        ..Cut::default()
    }
}
