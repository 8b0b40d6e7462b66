//! What the service says it has, compared with what the journal claims.

use crate::engine::event::{Effect, Event, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::tests::world::{Fate, MIB, Setup, World};
use crate::model::FailureKind;

/// Five parts, the last one short: three pages of the modelled list.
const SIZE: u64 = 4 * MIB + 7;

fn is_list(effect: &Effect) -> bool {
    matches!(effect, Effect::List { .. })
}

fn is_commit(effect: &Effect) -> bool {
    matches!(effect, Effect::Commit { .. })
}

/// Lets everything succeed until such an effect is under way; its index.
fn until(world: &mut World, is_wanted: fn(&Effect) -> bool) -> usize {
    loop {
        if let Some(index) = world.pending.iter().position(is_wanted) {
            return index;
        }
        match world.choices().first() {
            Some(index) => world.step(*index, &Fate::Answered),
            None => world.wake(),
        }
    }
}

/// A second process, whose first left all five parts acknowledged.
fn resumed() -> World {
    let mut world = World::new(Setup::new(Protocol::Parts, SIZE));
    until(&mut world, |effect| matches!(effect, Effect::CheckSource));
    world.run_again();
    world
}

/// Body bytes that arrived more than once, once the upload has ended well.
fn sent_again(world: World) -> u64 {
    let world = world.let_succeed();
    world.check_end();
    assert_eq!(world.outcome, Some(Outcome::Done), "{}", world.story());
    world.service.received - SIZE
}

/// What the service lost or has otherwise is sent again, and nothing else is.
#[test]
fn only_what_differs_is_sent_again() {
    type Change = fn(&mut World);
    let rows: [(&str, Change, u64); 4] = [
        ("nothing", |_| {}, 0),
        ("the first part is gone", World::lose_parts, MIB),
        (
            "two parts are gone",
            |world| {
                world.lose_parts();
                world.lose_parts();
            },
            2 * MIB,
        ),
        (
            "the last part is another one",
            |world| {
                for parts in world.service.uploads.values_mut() {
                    parts.entry(4 * MIB).and_modify(|piece| piece.0.len += 1);
                }
            },
            7,
        ),
    ];
    for (story, change, expected) in rows {
        let mut world = resumed();
        change(&mut world);
        world.excused += 7;
        assert_eq!(sent_again(world), expected, "{story}, on resume");
        let mut world = World::new(Setup::new(Protocol::Parts, SIZE));
        until(&mut world, is_commit);
        change(&mut world);
        world.excused += 7;
        assert_eq!(sent_again(world), expected, "{story}, at the commit");
    }
}

/// A list that fails: asked for again, done without, or a reason to start over.
#[test]
fn lists_that_fail() {
    use FailureKind as K;
    let rows = [
        (K::Broken, 0, false),
        (K::Stalled, 0, false),
        (K::Throttled, 0, false),
        (K::Connect, 0, false),
        (K::NotKodo, 0, false),
        (K::Unauthorized, 0, false),
        (K::Forbidden, 0, true),
        (K::NotFound, 0, true),
        (K::BadRequest, 0, true),
        (K::NoSuchUpload, SIZE, false),
    ];
    for (kind, expected, goes_without) in rows {
        let mut world = resumed();
        let index = until(&mut world, is_list);
        world.excused += SIZE;
        world.step(index, &Fate::Fails(kind.clone()));
        let lists = world.pending.iter().any(is_list);
        assert!(!lists || kind == K::Connect, "{kind:?}: at once");
        let pages = world.trace.len();
        let world = world.let_succeed();
        let asked = world.trace[pages..].iter();
        let asked = asked.filter(|step| step.contains(" List {")).count();
        assert_eq!(
            asked == 0,
            goes_without || expected > 0,
            "{kind:?}: {asked}"
        );
        assert_eq!(sent_again(world), expected, "{kind:?}");
    }
}

/// A list whose next page is no later one has no next page: a service that turns in circles keeps
/// nobody waiting.
#[test]
fn pages_go_forward() {
    let mut world = resumed();
    let index = until(&mut world, is_list);
    let Effect::List { attempt, from, .. } = world.pending.remove(index) else {
        unreachable!("a list is under way");
    };
    let page = Event::Listed {
        attempt,
        lanes: Vec::new(),
        next: Some(from),
        server_time: None,
    };
    world.engine.handle(world.now, page);
    while let Some(effect) = world.engine.poll_effect() {
        assert!(!is_list(&effect), "{effect:?}");
    }
}

/// Nothing is sent before the service has said what it has.
#[test]
fn the_list_comes_first() {
    let mut world = World::new(Setup::new(Protocol::Parts, SIZE));
    until(&mut world, |effect| {
        matches!(effect, Effect::Send { lane: 3, .. })
    });
    world.run_again();
    for _ in 0..3 {
        let index = until(&mut world, is_list);
        let sends = |effect: &Effect| matches!(effect, Effect::Send { .. });
        assert!(!world.pending.iter().any(sends), "{}", world.story());
        world.step(index, &Fate::Answered);
        if world.pending.iter().any(sends) {
            return;
        }
    }
    panic!("nothing is sent after the list\n{}", world.story());
}

/// A commit that is refused although the list shows nothing wrong: once more from the start, then the
/// end. One whose parts are lost each time ends as well.
#[test]
fn refused_commits_end() {
    for (fate, received) in [
        (Fate::Fails(FailureKind::BadRequest), 2),
        (Fate::PartLost, 2),
    ] {
        let mut world = World::new(Setup::new(Protocol::Parts, SIZE));
        while world.outcome.is_none() {
            assert!(world.trace.len() < 1000, "no end in sight");
            let Some(index) = world.choices().first().copied() else {
                world.wake();
                continue;
            };
            let commits = is_commit(&world.pending[index]);
            world.step(index, if commits { &fate } else { &Fate::Answered });
        }
        let ended = &world.outcome;
        assert!(
            matches!(ended, Some(Outcome::Failed { again: true, .. })),
            "{fate:?}: {ended:?}"
        );
        assert!(world.service.received <= received * SIZE, "{fate:?}");
    }
}
