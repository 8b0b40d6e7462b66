//! Limits of patience, and what an earlier process left that no longer lives.

use std::time::Duration;

use crate::engine::event::{Effect, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::record::Record;
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
    let size = 12 * MIB;
    let mut first = World::new(Setup::new(Protocol::Blocks, size)).let_succeed();
    let end_of = |lane| match lane {
        0 => Some(1_000 + 3_600),
        1 => Some(1_000 + 3_601),
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
    assert_eq!(second.service.received, before + 4 * MIB);
    second.run_again();
    let third = second.let_succeed();
    assert_eq!(third.outcome, Some(Outcome::Done));
    assert_eq!(third.service.received, before + 4 * MIB);
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
