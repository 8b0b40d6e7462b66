//! Limits of patience, and what an earlier process left that no longer lives.

use std::time::Duration;

use crate::engine::event::{Effect, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::record::{Checkpoint, Record};
use crate::engine::tests::world::{Fate, MIB, Setup, World};
use crate::model::FailureKind;

/// Lets the segments of the world fail like this, and everything else succeed, until the end.
fn with_failing_segments(setup: Setup, fate: &Fate) -> World {
    let mut world = World::new(setup);
    while world.outcome.is_none() {
        assert!(world.trace.len() < 10_000, "no end in sight");
        let Some(index) = world.choices().first().copied() else {
            match world.hangs() {
                true => world.wait_in_vain(),
                false => world.wake(),
            }
            continue;
        };
        let is_segment = matches!(world.pending[index], Effect::Send { .. });
        let fate = if is_segment { fate } else { &Fate::Answered };
        world.step(index, fate);
    }
    world
}

/// `part_attempts` ends the upload with exactly that many attempts at one segment; 0 leaves it to the
/// budget. Hanging attempts count like failed ones, each after its own time.
#[test]
fn attempts_at_a_segment_are_counted() {
    let broken = Fate::Fails(FailureKind::Broken);
    for (fate, attempts) in [
        (&broken, 1),
        (&broken, 3),
        (&Fate::Hangs, 1),
        (&Fate::Hangs, 4),
    ] {
        for protocol in [Protocol::Blocks, Protocol::Parts] {
            let setup = Setup {
                window: 1,
                part_attempts: attempts,
                ..Setup::new(protocol, MIB)
            };
            let world = with_failing_segments(setup, fate);
            let ended = &world.outcome;
            assert!(
                matches!(ended, Some(Outcome::Failed { again: true, .. })),
                "{ended:?}"
            );
            let tries = world.trace.iter().filter(|step| step.contains(" Send {"));
            assert_eq!(tries.count(), attempts as usize, "{fate:?} {protocol:?}");
            let hangs = *fate == Fate::Hangs;
            let least = Duration::from_secs(if hangs { u64::from(attempts) * 60 } else { 0 });
            // A late pulse each, and the waits between.
            let most = least + Duration::from_secs(u64::from(attempts) * 2 + 2);
            assert!((least..most).contains(&world.now.0), "{:?}", world.now);
        }
    }
    let endless = World::new(Setup::new(Protocol::Parts, MIB)).setup;
    let world = with_failing_segments(endless, &broken);
    let tries = world.trace.iter().filter(|step| step.contains(" Send {"));
    assert!(tries.count() > 20, "the budget allows more");
    assert!(world.now.0 >= Duration::from_secs(900), "{:?}", world.now);
    assert!(world.now.0 < Duration::from_secs(940), "{:?}", world.now);
}

/// A block whose ctx ends within the hour is sent anew, the others are not; the journal stays one
/// that a third process can read whole.
#[test]
fn expired_receipts_are_sent_anew() {
    let size = 9 * MIB;
    let mut first = World::new(Setup::new(Protocol::Blocks, size)).let_succeed();
    let end_of = |lane| match lane {
        0 => Some(1_000 + 3_601),
        2 => Some(1_000 + 3_600),
        _ => None,
    };
    first.disk.pop();
    for record in &mut first.disk {
        if let Record::Segment { lane, receipt, .. } = record {
            receipt.expires = end_of(*lane);
        }
    }
    let before = first.service.received;
    first.run_again();
    let mut second = first.let_succeed();
    assert_eq!(second.outcome, Some(Outcome::Done));
    assert_eq!(second.service.received, before + MIB, "the short lane");
    second.run_again();
    let third = second.let_succeed();
    assert_eq!(third.outcome, Some(Outcome::Done));
    assert_eq!(third.service.received, before + MIB);
}

/// An upload id that ends within the hour is left, with all that was sent under it.
#[test]
fn expired_upload_ids_are_left() {
    let size = 2 * MIB;
    for (end, sent_again) in [(4_600, size), (4_601, 0)] {
        let mut first = World::new(Setup::new(Protocol::Parts, size));
        let looks = |effect: &Effect| matches!(effect, Effect::CheckSource);
        while !first.pending.iter().any(looks) {
            first.step(0, &Fate::Answered);
        }
        if let Some(Record::Begun { expires, .. }) = first.disk.first_mut() {
            *expires = Some(end);
        }
        first.run_again();
        let second = first.let_succeed();
        assert_eq!(second.outcome, Some(Outcome::Done));
        assert_eq!(second.service.received, size + sent_again, "until {end}");
    }
}

/// After a crash between a commit and its answer: v1 commits again where that does not show, the
/// others look first, where they can. What they look for is no older than the commit, by the
/// service's own clock.
#[test]
fn a_commit_that_may_have_been() {
    use Protocol::{Blocks, Form, Parts};
    let rows = [
        (Blocks, true, false, None),
        (Blocks, true, true, Some(5)),
        (Blocks, false, false, None),
        (Parts, true, false, Some(5)),
        (Parts, true, true, Some(5)),
        (Parts, false, false, None),
        // Nothing was heard before a form's only request.
        (Form, true, false, Some(0)),
        (Form, true, true, Some(0)),
        (Form, false, false, None),
    ];
    for (protocol, can_stat, repeat_shows, expected) in rows {
        let mut world = World::new(Setup {
            can_stat,
            repeat_refused: repeat_shows,
            ..Setup::new(protocol, 1000)
        });
        let ends = |effect: &Effect| matches!(effect, Effect::Commit { .. } | Effect::Stat { .. });
        for fate in [Fate::CrashBefore, Fate::Answered] {
            while !world.pending.iter().any(ends) {
                world.step(0, &Fate::Answered);
            }
            if fate == Fate::Answered {
                break;
            }
            world.step(0, &fate);
        }
        let looks_from = match &world.pending[0] {
            Effect::Stat { not_before, .. } => Some(*not_before),
            _ => None,
        };
        assert_eq!(
            looks_from, expected,
            "{protocol:?} {can_stat} {repeat_shows}"
        );
        assert_eq!(world.let_succeed().outcome, Some(Outcome::Done));
    }
}

/// A block that starts again keeps the failures of its lane: what loses ctxs and connections in turn
/// is no way around `part_attempts`.
#[test]
fn a_restart_brings_no_new_attempts() {
    let mut world = World::new(Setup {
        part_attempts: 3,
        ..Setup::new(Protocol::Blocks, MIB)
    });
    let sends = |effect: &Effect| matches!(effect, Effect::Send { .. });
    for fate in [
        Fate::Answered,
        Fate::Fails(FailureKind::Broken),
        Fate::Fails(FailureKind::InvalidContext),
        Fate::Fails(FailureKind::Broken),
    ] {
        while !world.pending.iter().any(sends) {
            match world.choices().first() {
                Some(index) => world.step(*index, &Fate::Answered),
                None => world.wake(),
            }
        }
        world.step(0, &fate);
    }
    let ended = &world.outcome;
    assert!(
        matches!(ended, Some(Outcome::Failed { again: true, .. })),
        "{ended:?}"
    );
}

/// A form whose connection breaks stays a form up to 1 MiB; a longer one goes on in lanes.
#[test]
fn long_forms_go_on_in_lanes() {
    for (size, in_lanes) in [(1, false), (MIB, false), (MIB + 1, true), (2 * MIB, true)] {
        let mut world = World::new(Setup::new(Protocol::Form, size));
        let is_commit = |effect: &Effect| matches!(effect, Effect::Commit { .. });
        while !world.pending.iter().any(is_commit) {
            world.step(0, &Fate::Answered);
        }
        world.step(0, &Fate::Fails(FailureKind::Broken));
        let world = world.let_succeed();
        assert_eq!(world.outcome, Some(Outcome::Done));
        let sent = world.trace.iter().any(|step| step.contains(" Send {"));
        assert_eq!(sent, in_lanes, "{size}");
    }
}

/// While lanes are compared with the source, and nothing else can be begun, there is nothing to wake
/// for: a wake-up that is due at once would keep a processor busy for as long as the source is read.
#[test]
fn comparing_needs_no_wake_up() {
    let mut world = World::new(Setup::new(Protocol::Blocks, 8 * MIB));
    let sends = |effect: &Effect| matches!(effect, Effect::Send { .. });
    while world.pending.iter().filter(|effect| sends(effect)).count() < 2 {
        world.step(0, &Fate::Answered);
    }
    // Both lanes are half-sent.
    for lane in 0..2 {
        let of_lane =
            |effect: &Effect| matches!(effect, Effect::Send { lane: of, .. } if *of == lane);
        let index = world.pending.iter().position(of_lane);
        world.step(index.expect("a segment of each"), &Fate::Answered);
    }
    let records = |effect: &Effect| matches!(effect, Effect::Record { .. });
    while let Some(index) = world.pending.iter().position(records) {
        world.step(index, &Fate::Answered);
    }
    world.run_again();
    let compares = matches!(world.pending[..], [Effect::Recheck { lane: 0, .. }]);
    assert!(compares, "{:?}", world.pending);
    assert_eq!(world.engine.next_wakeup(), None);
}

/// A lane that the service forgets again and again: what it last acknowledged of it is not called
/// safe when the upload ends, and what it never acknowledged is not voided.
#[test]
fn lanes_forgotten_again_and_again() {
    let sends = |effect: &Effect| matches!(effect, Effect::Send { .. });
    for acknowledged_at_last in [true, false] {
        let mut world = World::new(Setup::new(Protocol::Blocks, MIB));
        let mut forgotten = 0;
        while world.outcome.is_none() {
            assert!(world.trace.len() < 1000, "no end in sight");
            let Some(index) = world.choices().first().copied() else {
                world.wake();
                continue;
            };
            if sends(&world.pending[index]) {
                // So slow that no lane gets further than it was.
                world.now = world.now.after(Duration::from_secs(60));
            }
            let is_first = matches!(&world.pending[index], Effect::Send { after: None, .. });
            let at_last = forgotten == 3 && !acknowledged_at_last;
            let fails = sends(&world.pending[index]) && (!is_first || at_last);
            forgotten += u32::from(fails);
            let kind = FailureKind::InvalidContext;
            world.step(
                index,
                &if fails {
                    Fate::Fails(kind)
                } else {
                    Fate::Answered
                },
            );
        }
        assert_eq!(forgotten, 4);
        assert_eq!(
            (world.engine.safe_bytes(), world.acknowledged_bytes()),
            (0, 0)
        );
        let (_, used) = Checkpoint::replay(&world.disk, MIB);
        assert_eq!(used, world.disk.len(), "a senseless record");
    }
}
