//! Large uploads with many faults, drawn by chance and shrunk when one fails.

use proptest::prelude::*;

use crate::engine::event::{Effect, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::tests::world::{Fate, MIB, Setup, World};
use crate::model::FailureKind;

/// One turn of fate: which operation, and what becomes of it.
#[derive(Clone, Debug)]
struct Turn {
    choice: usize,
    fate: Fate,
    source_changes: bool,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        20 => Just(Fate::Answered),
        2 => Just(Fate::AnswerLost),
        1 => Just(Fate::PartLost),
        1 => Just(Fate::CrashBefore),
        1 => Just(Fate::CrashAfter),
        1 => Just(Fate::Fails(FailureKind::Connect)),
        1 => Just(Fate::Fails(FailureKind::Broken)),
        1 => Just(Fate::Fails(FailureKind::Throttled)),
        1 => Just(Fate::Fails(FailureKind::Server)),
        1 => Just(Fate::Fails(FailureKind::NotKodo)),
    ]
}

fn turns(source_changes: bool) -> impl Strategy<Value = Vec<Turn>> {
    let turn = (any::<usize>(), fate(), 0..100u32).prop_map(move |(choice, fate, percent)| Turn {
        choice,
        fate,
        source_changes: source_changes && percent < 4,
    });
    prop::collection::vec(turn, 0..300)
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        Just(Protocol::Blocks),
        Just(Protocol::Parts),
        Just(Protocol::Form)
    ]
}

/// Plays the turns, then lets everything succeed until the end.
fn play(mut world: World, turns: &[Turn]) -> World {
    for turn in turns {
        if world.outcome.is_some() {
            return world;
        }
        if turn.source_changes {
            world.change_source();
        }
        let choices = world.choices();
        let Some(index) = choices.get(turn.choice % choices.len().max(1)) else {
            world.wake();
            continue;
        };
        let local = !World::is_request(&world.pending[*index]);
        let crash = matches!(turn.fate, Fate::CrashBefore | Fate::CrashAfter);
        let fate = if local && !crash {
            &Fate::Answered
        } else {
            &turn.fate
        };
        world.step(*index, fate);
    }
    world.let_succeed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// However many resets, lost answers, refusals and crashes: when they stop, the upload ends with
    /// the object, or says that it does not know.
    #[test]
    fn faults_end_with_the_object(
        protocol in protocol(),
        size in 1..60 * MIB,
        window in 1..8usize,
        can_stat: bool,
        turns in turns(false),
    ) {
        let world = play(World::new(Setup { can_stat, window, ..Setup::new(protocol, size) }), &turns);
        world.check_end();
        let outcome = world.outcome.clone();
        let unknown = !can_stat && matches!(outcome, Some(Outcome::Unknown(_)));
        prop_assert!(outcome == Some(Outcome::Done) || unknown, "{outcome:?}\n{}", world.story());
    }

    /// A source that changes under the upload, or between two runs: the object is the source as it is
    /// in the end, or there is no success.
    #[test]
    fn a_changing_source_never_makes_a_wrong_object(
        protocol in protocol(),
        size in 1..40 * MIB,
        window in 1..8usize,
        turns in turns(true),
    ) {
        let world = play(World::new(Setup { window, ..Setup::new(protocol, size) }), &turns);
        world.check_end();
        let ended = matches!(world.outcome, Some(Outcome::Done | Outcome::SourceChanged));
        prop_assert!(ended, "{:?}\n{}", world.outcome, world.story());
    }
}

/// Ten thousand parts and more, and a hundred thousand blocks: each is sent once.
#[test]
fn very_many_lanes() {
    let rows = [
        (Protocol::Parts, 10_000 * MIB),
        (Protocol::Parts, 10_001 * MIB),
        (Protocol::Blocks, 100_000 * MIB),
    ];
    for (protocol, size) in rows {
        let mut world = World::new(Setup {
            window: 4,
            ..Setup::new(protocol, size)
        });
        while world.outcome.is_none() {
            let index = *world.choices().first().expect("something under way");
            world.step(index, &Fate::Answered);
            world.trace.clear();
        }
        assert_eq!(world.outcome, Some(Outcome::Done));
        assert_eq!(world.service.received, size);
        let parts = world.disk.len();
        assert!(parts > 5_000, "{parts} records");
    }
}

/// The same seed gives the same trace.
#[test]
fn a_run_can_be_repeated() {
    let run = || {
        let turns: Vec<Turn> = (0..200)
            .map(|step| Turn {
                choice: step * 7,
                fate: if step % 11 == 3 {
                    Fate::AnswerLost
                } else {
                    Fate::Answered
                },
                source_changes: false,
            })
            .collect();
        play(
            World::new(Setup {
                window: 3,
                ..Setup::new(Protocol::Blocks, 30 * MIB)
            }),
            &turns,
        )
        .trace
    };
    assert_eq!(run(), run());
}

/// Stopping leaves what is recorded, and nothing in flight.
#[test]
fn stop_ends_at_once() {
    let mut world = World::new(Setup {
        window: 3,
        ..Setup::new(Protocol::Blocks, 30 * MIB)
    });
    for _ in 0..20 {
        let index = *world.choices().last().expect("something under way");
        world.step(index, &Fate::Answered);
    }
    world.stop();
    while world.outcome.is_none() {
        let index = *world
            .choices()
            .first()
            .expect("records that are not yet durable");
        assert!(
            matches!(world.pending[index], Effect::Record { .. }),
            "more than a record is awaited"
        );
        world.step(index, &Fate::Answered);
    }
    assert_eq!(world.outcome, Some(Outcome::Stopped));
}

/// A service that loses the answer to every commit, or refuses it, while stat works: the budget ends
/// the upload all the same.
#[test]
fn commits_that_never_succeed_end() {
    for protocol in [Protocol::Blocks, Protocol::Parts, Protocol::Form] {
        let mut world = World::new(Setup::new(protocol, 3 * MIB));
        while world.outcome.is_none() {
            assert!(world.trace.len() < 10_000, "no end in sight");
            let Some(index) = world.choices().first().copied() else {
                world.wake();
                continue;
            };
            let is_commit = matches!(world.pending[index], Effect::Commit { .. });
            let fate = if is_commit {
                Fate::Fails(FailureKind::Server)
            } else {
                Fate::Answered
            };
            world.step(index, &fate);
        }
        let ended = world.outcome.as_ref();
        assert!(
            matches!(ended, Some(Outcome::Failed { again: true, .. })),
            "{protocol:?}: {ended:?}"
        );
    }
}
