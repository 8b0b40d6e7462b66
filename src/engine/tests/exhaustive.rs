//! Every schedule of small uploads: each order of answers, each single fault, each crash.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::engine::event::{Effect, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::tests::world::{Fate, MIB, World, wishes};
use crate::model::FailureKind;

/// Longest schedule that is believed to end; more would be a loop.
const STEPS_MAX: usize = 200;

/// What may still go wrong on a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Purse {
    faults: u32,
    crashes: u32,
}

#[derive(Default)]
struct Explored {
    ends: u64,
    states: HashSet<u64>,
}

/// Follows every schedule from `world` on.
fn explore(world: World, purse: Purse, explored: &mut Explored) {
    assert!(
        world.trace.len() < STEPS_MAX,
        "no end in sight\n{}",
        world.story()
    );
    if world.outcome.is_some() {
        explored.ends += 1;
        world.check_end();
        assert_eq!(
            world.outcome,
            Some(Outcome::Done),
            "a service that works, and no end\n{}",
            world.story()
        );
        return;
    }
    if !explored.states.insert(fingerprint(&world, purse)) {
        return;
    }
    if world.pending.is_empty() {
        let mut next = world;
        next.wake();
        explore(next, purse, explored);
        return;
    }
    for index in world.choices() {
        for fate in fates(&world.pending[index], purse) {
            let mut next = world.clone();
            next.step(index, &fate);
            let left = spend(purse, &fate);
            explore(next, left, explored);
        }
    }
}

/// All that can become of an operation.
fn fates(effect: &Effect, purse: Purse) -> Vec<Fate> {
    let mut fates = vec![Fate::Answered];
    if purse.crashes > 0 {
        fates.extend([Fate::CrashBefore, Fate::CrashAfter]);
    }
    if purse.faults > 0 && World::is_request(effect) {
        fates.push(Fate::AnswerLost);
        let kinds = [
            FailureKind::Connect,
            FailureKind::Throttled,
            FailureKind::Unauthorized,
        ];
        fates.extend(kinds.map(Fate::Fails));
        if !matches!(effect, Effect::Stat { .. }) {
            fates.push(Fate::Forgotten);
        }
        if matches!(effect, Effect::Send { .. }) {
            fates.push(Fate::Fails(FailureKind::Mismatch));
        }
    }
    fates
}

fn spend(purse: Purse, fate: &Fate) -> Purse {
    match fate {
        Fate::Answered => purse,
        Fate::CrashBefore | Fate::CrashAfter => Purse {
            crashes: purse.crashes - 1,
            ..purse
        },
        _ => Purse {
            faults: purse.faults - 1,
            ..purse
        },
    }
}

/// Two schedules that lead to the same world need to be followed once.
fn fingerprint(world: &World, purse: Purse) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut bare = world.clone();
    bare.trace.clear();
    format!("{bare:?}").hash(&mut hasher);
    purse.hash(&mut hasher);
    hasher.finish()
}

/// Whatever the order of answers, with one crash and one fault anywhere, a working service ends up
/// with the right object, and nothing is sent again that the story does not excuse.
#[test]
fn every_schedule_ends_with_the_object() {
    let one_each = Purse {
        faults: 1,
        crashes: 1,
    };
    let two_crashes = Purse {
        faults: 0,
        crashes: 2,
    };
    let rows: [(&str, Protocol, u64, usize, Purse, u64); 6] = [
        (
            "v1, two lanes, one of two segments",
            Protocol::Blocks,
            4 * MIB + 1,
            2,
            Purse {
                faults: 1,
                crashes: 0,
            },
            1,
        ),
        (
            "v1, one lane of two segments",
            Protocol::Blocks,
            MIB,
            1,
            one_each,
            1,
        ),
        ("v1, two crashes", Protocol::Blocks, MIB, 2, two_crashes, 1),
        (
            "v2, three parts, two at once",
            Protocol::Parts,
            2 * MIB + 1,
            2,
            one_each,
            1,
        ),
        (
            "v2, two crashes",
            Protocol::Parts,
            2 * MIB,
            2,
            two_crashes,
            1,
        ),
        ("form", Protocol::Form, 1000, 1, one_each, 1),
    ];
    for (story, protocol, size, window, purse, least) in rows {
        let world = World::new(size, wishes(protocol), true, window);
        let mut explored = Explored::default();
        explore(world, purse, &mut explored);
        println!(
            "{story}: {} states, {} ends",
            explored.states.len(),
            explored.ends
        );
        assert!(explored.ends > least, "{story}: too little was explored");
    }
}
