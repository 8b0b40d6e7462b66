//! What follows one failure: at once, or after a wait, or the end.

use std::time::Duration;

use crate::engine::event::{Effect, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::record::Record;
use crate::engine::retry::MISMATCHES_MAX;
use crate::engine::tests::world::{Fate, MIB, Setup, World};
use crate::model::FailureKind;

/// A world whose first segment is on its way.
fn sending(setup: Setup) -> World {
    let mut world = World::new(setup);
    while !world.pending.iter().any(is_send) {
        world.step(0, &Fate::Answered);
    }
    world
}

/// A world whose commit is on its way.
fn committing(setup: Setup) -> World {
    let mut world = World::new(setup);
    let commits = |effect: &Effect| matches!(effect, Effect::Commit { .. });
    while !world.pending.iter().any(commits) {
        world.step(0, &Fate::Answered);
    }
    world
}

fn is_send(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { .. })
}

/// The first segment is acknowledged and recorded: lanes go side by side from here on.
fn acknowledge_one(world: &mut World) {
    assert!(is_send(&world.pending[0]), "{}", under_way(world));
    world.step(0, &Fate::Answered);
    world.step(0, &Fate::Answered);
}

/// What is under way, or how it ended, in a word or two.
fn under_way(world: &World) -> String {
    let told = |effect: &Effect| match effect {
        Effect::Send { host, span, .. } => format!("send {} to {host}", span.len >> 10),
        Effect::Initiate { host, .. } => format!("initiate at {host}"),
        Effect::Commit { host, .. } => format!("commit at {host}"),
        Effect::Stat { .. } => "look".to_owned(),
        Effect::Record {
            record: Record::CommitRefused,
            ..
        } => "take back".to_owned(),
        Effect::RenewToken => "renew".to_owned(),
        other => format!("{other:?}"),
    };
    match &world.outcome {
        Some(Outcome::Failed { again: true, .. }) => "end, again".to_owned(),
        Some(Outcome::Failed { again: false, .. }) => "end".to_owned(),
        Some(outcome) => format!("{outcome:?}"),
        None => world
            .pending
            .iter()
            .map(told)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The only segment fails once: what follows at once, and what after the wait.
#[test]
fn one_failure_of_a_segment() {
    use FailureKind as K;
    let rows = [
        (K::Broken, "", "send 512 to 0"),
        (K::TimedOut, "", "send 512 to 1"),
        (K::Stalled, "", "send 512 to 1"),
        (K::NotReading, "", "send 512 to 1"),
        (K::Trickle, "", "send 512 to 1"),
        (K::Server, "", "send 512 to 0"),
        (K::NotKodo, "", "send 512 to 0"),
        (K::InvalidContext, "", "send 512 to 0"),
        (K::Throttled, "", "send 512 to 0"),
        (K::Connect, "send 512 to 1", ""),
        (K::Tls, "send 512 to 1", ""),
        (K::Mismatch, "send 512 to 0", ""),
        (K::ChecksumRefused, "send 512 to 0", ""),
        (K::BodyLimit, "send 256 to 0", ""),
        (K::Unauthorized, "renew", ""),
        (K::NoSuchUpload, "Record", ""),
        (K::Source, "end", ""),
        (K::SourceChanged, "end", ""),
        (K::Forbidden, "end", ""),
        (K::TooLarge, "end", ""),
        (K::NoSuchBucket, "end", ""),
    ];
    for (kind, at_once, after) in rows {
        let mut world = sending(Setup::new(Protocol::Blocks, MIB));
        world.step(0, &Fate::Fails(kind.clone()));
        let told = under_way(&world);
        assert!(told.starts_with(at_once), "{kind:?}: {told}");
        assert_eq!(told.is_empty(), at_once.is_empty(), "{kind:?}: {told}");
        if !after.is_empty() {
            let before = world.now;
            world.wake();
            assert!(world.now <= before.after(Duration::from_millis(200)));
            assert_eq!(under_way(&world), after, "{kind:?}");
        }
    }
}

/// A commit fails once: what follows at once, and what after the wait.
#[test]
fn one_failure_of_a_commit() {
    use FailureKind as K;
    use Protocol::{Blocks, Form, Parts};
    let rows = [
        (Blocks, 1000, K::Connect, "commit at 1", ""),
        (Blocks, 1000, K::Broken, "", "commit at 0"),
        (Blocks, 1000, K::Throttled, "", "commit at 0"),
        (Parts, 1000, K::Tls, "commit at 1", ""),
        (Parts, 1000, K::Broken, "", "look"),
        (Form, MIB, K::Connect, "commit at 1", ""),
        (Form, MIB, K::Broken, "", "look"),
        (Form, MIB, K::ChecksumRefused, "", "commit at 0"),
        (Form, MIB + 1, K::Connect, "Record", ""),
        (Form, MIB + 1, K::ChecksumRefused, "Record", ""),
        (Form, MIB, K::BodyLimit, "Record", ""),
        (Form, MIB, K::TooLarge, "take back", ""),
    ];
    for (protocol, size, kind, at_once, after) in rows {
        let mut world = committing(Setup::new(protocol, size));
        world.step(0, &Fate::Fails(kind.clone()));
        let told = under_way(&world);
        assert!(told.starts_with(at_once), "{protocol:?} {kind:?}: {told}");
        assert_eq!(told.is_empty(), at_once.is_empty(), "{kind:?}: {told}");
        if !after.is_empty() {
            world.wake();
            assert_eq!(under_way(&world), after, "{protocol:?} {kind:?}");
        }
    }
}

/// The next segment is as long as the pace of the last one says, within half and twice of it.
#[test]
fn the_pace_of_a_segment() {
    for (seconds, expected) in [(0, 1024), (3, 682), (4, 512), (60, 256)] {
        // Large enough that no more than a small share of it is in flight.
        let mut world = sending(Setup {
            window: 1,
            ..Setup::new(Protocol::Blocks, 400 * MIB)
        });
        world.now = world.now.after(Duration::from_secs(seconds));
        acknowledge_one(&mut world);
        assert_eq!(under_way(&world), format!("send {expected} to 0"));
    }
}

/// A segment that is lost after long makes the next one shorter; a host that was not reached says
/// nothing about lengths.
#[test]
fn what_a_failure_says_about_lengths() {
    for (kind, expected) in [
        (FailureKind::Broken, "send 256 to 0"),
        (FailureKind::Connect, "send 512 to 1"),
    ] {
        let mut world = sending(Setup::new(Protocol::Blocks, MIB));
        world.now = world.now.after(Duration::from_secs(5));
        world.step(0, &Fate::Fails(kind.clone()));
        if world.pending.is_empty() {
            world.wake();
        }
        assert_eq!(under_way(&world), expected, "{kind:?}");
    }
}

/// A lane goes on where its receipt says, if that is one of our hosts, and no longer after two
/// failures there.
#[test]
fn lanes_follow_the_named_host() {
    for (named, expected) in [("up-2", [1, 1, 0]), ("elsewhere", [0, 0, 0])] {
        let mut world = sending(Setup::new(Protocol::Blocks, MIB));
        world.service.names_host = Some(named.to_owned());
        world.step(0, &Fate::Answered);
        world.step(0, &Fate::Answered);
        for host in expected {
            let told = under_way(&world);
            assert!(told.ends_with(&format!(" to {host}")), "{named}: {told}");
            world.step(0, &Fate::Fails(FailureKind::Broken));
            world.wake();
        }
    }
}

/// A host that answers is there, whatever it says: only failures in a row set it aside.
#[test]
fn answers_of_any_kind_count_for_a_host() {
    for (between, expected) in [
        (FailureKind::Throttled, 0),
        (FailureKind::Mismatch, 0),
        (FailureKind::Broken, 1),
    ] {
        let mut world = sending(Setup::new(Protocol::Blocks, MIB));
        let broken = FailureKind::Broken;
        for kind in [&broken, &broken, &between, &broken] {
            world.step(0, &Fate::Fails(kind.clone()));
            if world.pending.is_empty() {
                world.wake();
            }
        }
        let told = under_way(&world);
        let expected = format!(" to {expected}");
        assert!(told.ends_with(&expected), "{between:?}: {told}");
    }
}

/// Throttling holds every lane back, a reset only its own.
#[test]
fn whom_a_failure_holds_back() {
    for (kind, others) in [(FailureKind::Throttled, 0), (FailureKind::Broken, 1)] {
        let setup = Setup {
            window: 1,
            ..Setup::new(Protocol::Parts, 3 * MIB)
        };
        let mut world = sending(setup);
        world.step(0, &Fate::Fails(kind.clone()));
        let sends = world.pending.iter().filter(|effect| is_send(effect));
        assert_eq!(sends.count(), others, "{kind:?}");
    }
}

/// The same bytes acknowledged with a wrong hash: sent again, five times and no more.
#[test]
fn mismatches_are_counted() {
    for kind in [FailureKind::Mismatch, FailureKind::ChecksumRefused] {
        let mut world = sending(Setup::new(Protocol::Parts, MIB));
        for _ in 1..MISMATCHES_MAX {
            world.step(0, &Fate::Fails(kind.clone()));
            assert_eq!(under_way(&world), "send 1024 to 0");
        }
        world.step(0, &Fate::Fails(kind));
        assert_eq!(under_way(&world), "end, again");
    }
    // A form is both.
    let mut world = committing(Setup::new(Protocol::Form, 1000));
    for _ in 1..MISMATCHES_MAX {
        world.step(0, &Fate::Fails(FailureKind::ChecksumRefused));
        world.wake();
        assert_eq!(under_way(&world), "commit at 0");
    }
    world.step(0, &Fate::Fails(FailureKind::ChecksumRefused));
    assert_eq!(under_way(&world), "take back");
    world.step(0, &Fate::Answered);
    assert_eq!(under_way(&world), "end, again");
}

/// Bodies that something on the way refuses get shorter down to 64 KiB; a part cannot get shorter.
#[test]
fn refused_bodies() {
    let mut world = sending(Setup::new(Protocol::Blocks, MIB));
    for expected in ["send 256 to 0", "send 128 to 0", "send 64 to 0", "end"] {
        world.step(0, &Fate::Fails(FailureKind::BodyLimit));
        assert_eq!(under_way(&world), expected);
    }
}

/// A token that is refused is renewed once, for however many requests met it; a fresh one that is
/// refused too ends the upload.
#[test]
fn refused_tokens() {
    let mut world = sending(Setup::new(Protocol::Parts, 3 * MIB));
    acknowledge_one(&mut world);
    assert_eq!(under_way(&world), "send 1024 to 0, send 1024 to 0");
    let refused = Fate::Fails(FailureKind::Unauthorized);
    world.step(0, &refused);
    world.step(0, &refused);
    assert_eq!(under_way(&world), "renew");
    world.step(0, &Fate::Answered);
    assert_eq!(under_way(&world), "send 1024 to 0, send 1024 to 0");
    let mut taken = world.clone();
    world.step(0, &refused);
    while world.outcome.is_none() {
        world.wake();
    }
    assert_eq!(under_way(&world), "end");
    // Taken once, it is a token like the first.
    taken.step(0, &Fate::Answered);
    taken.step(0, &refused);
    assert!(taken.pending.contains(&Effect::RenewToken));
    assert_eq!(taken.let_succeed().outcome, Some(Outcome::Done));
}

/// What was under way with the old token says nothing about the fresh one.
#[test]
fn refusals_of_the_old_token() {
    let mut world = sending(Setup::new(Protocol::Parts, 3 * MIB));
    acknowledge_one(&mut world);
    let refused = Fate::Fails(FailureKind::Unauthorized);
    world.step(0, &refused);
    assert_eq!(under_way(&world), "send 1024 to 0, renew");
    world.step(1, &Fate::Answered);
    world.step(0, &refused);
    assert_eq!(under_way(&world), "send 1024 to 0, send 1024 to 0");
    assert_eq!(world.let_succeed().outcome, Some(Outcome::Done));
}

/// A refused commit is taken back in the journal, unless this one or one before it may have taken
/// effect.
#[test]
fn refusals_end_no_doubt() {
    let forbidden = Fate::Fails(FailureKind::Forbidden);
    for protocol in [Protocol::Blocks, Protocol::Parts, Protocol::Form] {
        let world = committing(Setup::new(protocol, 1000));
        let mut refused = world.clone();
        refused.step(0, &forbidden);
        assert_eq!(under_way(&refused), "take back", "{protocol:?}");
        let mut stopped = world.clone();
        stopped.stop();
        assert_eq!(under_way(&stopped), "Stopped", "{protocol:?}");
        let mut doubted = world;
        doubted.step(0, &Fate::Fails(FailureKind::Broken));
        while !under_way(&doubted).starts_with("commit") {
            match doubted.pending.is_empty() {
                true => doubted.wake(),
                false => doubted.step(0, &Fate::Answered),
            }
        }
        doubted.step(0, &forbidden);
        assert_eq!(under_way(&doubted), "end", "{protocol:?}");
    }
}

/// What fails ends the upload only after what is in flight elsewhere had its 10 seconds; what is
/// acknowledged until then is recorded.
#[test]
fn segments_in_flight_may_land_after_the_end_is_decided() {
    let mut world = sending(Setup::new(Protocol::Parts, 4 * MIB));
    acknowledge_one(&mut world);
    world.step(0, &Fate::Fails(FailureKind::Forbidden));
    assert_eq!(under_way(&world), "send 1024 to 0", "nothing new is begun");
    let mut late = world.clone();
    late.wake();
    assert_eq!(late.now.0, Duration::from_secs(10));
    assert_eq!(under_way(&late), "end");
    world.step(0, &Fate::Answered);
    assert!(world.outcome.is_none(), "its record is awaited");
    world.step(0, &Fate::Answered);
    assert_eq!(
        (under_way(&world), world.engine.safe_bytes()),
        ("end".to_owned(), 2 * MIB)
    );
}
