//! Every schedule of small uploads: each order of answers, each single fault, each crash, each moment
//! for a change of the source or for a stop.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::engine::event::{Effect, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::tests::world::{Fate, MIB, Setup, World};
use crate::model::FailureKind;

/// Longest schedule that is believed to end; more would be a loop.
const STEPS_MAX: usize = 200;

/// What may still go wrong on a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Purse {
    faults: u32,
    crashes: u32,
    changes: u32,
    stops: u32,
}

const FAULT: Purse = Purse {
    faults: 1,
    crashes: 0,
    changes: 0,
    stops: 0,
};
const TWO_FAULTS: Purse = Purse { faults: 2, ..FAULT };
const ONE_EACH: Purse = Purse {
    crashes: 1,
    ..FAULT
};
const TWO_CRASHES: Purse = Purse {
    faults: 0,
    crashes: 2,
    ..FAULT
};
const CHANGE: Purse = Purse {
    faults: 0,
    changes: 1,
    ..FAULT
};
const STOP: Purse = Purse {
    faults: 0,
    stops: 1,
    ..FAULT
};

#[derive(Default)]
struct Explored {
    done: u64,
    unknown: u64,
    changed: u64,
    stopped: u64,
    states: HashSet<u64>,
}

impl Explored {
    fn all(setup: Setup, purse: Purse) -> Self {
        let mut explored = Self::default();
        explored.follow(World::new(setup), purse);
        explored
    }

    /// Follows every schedule from `world` on.
    fn follow(&mut self, world: World, purse: Purse) {
        assert!(
            world.trace.len() < STEPS_MAX,
            "no end in sight\n{}",
            world.story()
        );
        if world.outcome.is_some() {
            self.end(world);
            return;
        }
        if !self.states.insert(fingerprint(&world, purse)) {
            return;
        }
        if purse.changes > 0 {
            let mut next = world.clone();
            next.change_source();
            let changes = purse.changes - 1;
            self.follow(next, Purse { changes, ..purse });
        }
        if purse.stops > 0 {
            let mut next = world.clone();
            next.stop();
            self.stopped(next);
        }
        let choices = world.choices();
        if choices.len() < world.pending.len() || choices.is_empty() {
            self.wake(&world, purse, choices.is_empty());
        }
        for index in choices {
            for fate in fates(&world, &world.pending[index], purse) {
                let mut next = world.clone();
                next.step(index, &fate);
                self.follow(next, spend(purse, &fate));
            }
        }
    }

    /// Time passes: when nothing else can happen, or while a segment hangs.
    fn wake(&mut self, world: &World, purse: Purse, must: bool) {
        if world.hangs() {
            let mut next = world.clone();
            next.wait_in_vain();
            self.follow(next, purse);
        }
        let hangs = world.hangs();
        if (must && !hangs) || (hangs && world.engine.next_wakeup().is_some()) {
            let mut next = world.clone();
            next.wake();
            self.follow(next, purse);
        }
    }

    /// After a stop only records are awaited; a following process ends the upload.
    fn stopped(&mut self, mut world: World) {
        while world.outcome.is_none() {
            let is_record = |index: &usize| {
                let effect = &world.pending[*index];
                matches!(effect, Effect::Record { .. })
            };
            let record = world.choices().into_iter().find(is_record);
            let record = record.unwrap_or_else(|| {
                panic!("more than records is awaited\n{}", world.story());
            });
            world.step(record, &Fate::Answered);
        }
        self.end(world);
    }

    /// What each end must show, and what another process makes of it.
    fn end(&mut self, world: World) {
        world.check_end();
        let nobody_can_tell = world.unclear && !world.setup.can_stat;
        match &world.outcome {
            Some(Outcome::Done) => {
                self.done += 1;
                return;
            }
            Some(Outcome::Unknown(_)) if nobody_can_tell => {
                self.unknown += 1;
                return;
            }
            Some(Outcome::SourceChanged) if world.source_was_changed() => self.changed += 1,
            Some(Outcome::Stopped) => self.stopped += 1,
            outcome => panic!("{outcome:?}, and the service works\n{}", world.story()),
        }
        let mut next = world;
        next.run_again();
        let next = next.let_succeed();
        next.check_end();
        match &next.outcome {
            Some(Outcome::Done) => {}
            Some(Outcome::Unknown(_)) if nobody_can_tell => {}
            outcome => panic!("{outcome:?} of a second process\n{}", next.story()),
        }
    }
}

/// All that can become of an operation.
fn fates(world: &World, effect: &Effect, purse: Purse) -> Vec<Fate> {
    let mut fates = vec![Fate::Answered];
    let is_send = matches!(effect, Effect::Send { .. });
    if is_send && world.source_is_another() {
        fates.push(Fate::ReadEarlier);
    }
    if purse.crashes > 0 {
        fates.extend([Fate::CrashBefore, Fate::CrashAfter]);
    }
    if purse.faults > 0 && World::is_request(effect) {
        fates.push(Fate::AnswerLost);
        fates.extend([FailureKind::Connect, FailureKind::Throttled].map(Fate::Fails));
        // As the last fault only: twice would be a good reason to end.
        if purse.faults == 1 {
            fates.push(Fate::Fails(FailureKind::Unauthorized));
            if !matches!(effect, Effect::Stat { .. }) {
                fates.push(Fate::Forgotten);
            }
            if matches!(effect, Effect::List { .. }) || is_complete(effect) {
                fates.push(Fate::PartLost);
            }
        }
        if is_send {
            fates.push(Fate::Fails(FailureKind::Mismatch));
        }
        if world.setup.hangs && !matches!(effect, Effect::Stat { .. }) {
            fates.push(Fate::Hangs);
        }
    }
    fates
}

fn is_complete(effect: &Effect) -> bool {
    let parts = Protocol::Parts;
    matches!(effect, Effect::Commit { protocol, .. } if *protocol == parts)
}

fn spend(purse: Purse, fate: &Fate) -> Purse {
    match fate {
        Fate::Answered | Fate::ReadEarlier => purse,
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
    use Protocol::{Blocks, Form, Parts};
    let rows = [
        ("v1, two lanes", Blocks, 4 * MIB + 1, 2, FAULT),
        ("v1, one lane of two segments", Blocks, MIB, 1, ONE_EACH),
        ("v1, two crashes", Blocks, MIB, 2, TWO_CRASHES),
        ("v2, two at once", Parts, 2 * MIB + 1, 2, ONE_EACH),
        ("v2, one after the other", Parts, MIB + 1, 1, ONE_EACH),
        ("v2, three at once", Parts, 2 * MIB + 1, 3, FAULT),
        ("v2, two crashes", Parts, 2 * MIB, 2, TWO_CRASHES),
        ("form", Form, 1000, 1, ONE_EACH),
        ("form, two answers lost", Form, 1000, 1, TWO_FAULTS),
        ("a form that goes on in lanes", Form, MIB + 1, 2, ONE_EACH),
    ];
    for (story, protocol, size, window, purse) in rows {
        let setup = Setup {
            window,
            ..Setup::new(protocol, size)
        };
        let explored = Explored::all(setup, purse);
        println!("{story}: {} states", explored.states.len());
        assert!(explored.done > 1, "{story}: too little was explored");
    }
}

/// What becomes of a second commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    IsHarmless,
    IsRefused,
    Acts,
}

/// Where nobody may look, or a second commit shows: the end is the object, or, only when a commit
/// may have taken effect, that nobody can tell.
#[test]
fn every_schedule_without_a_look_or_a_repeat_is_honest() {
    use Protocol::{Blocks, Form, Parts};
    // Whether stat is possible, what becomes of a repeat, and whether some end must be unknown.
    let rows = [
        (Blocks, MIB, false, Repeat::IsHarmless, false),
        (Blocks, MIB, false, Repeat::IsRefused, true),
        (Blocks, MIB, false, Repeat::Acts, true),
        (Blocks, MIB, true, Repeat::IsRefused, false),
        (Blocks, MIB, true, Repeat::Acts, false),
        (Parts, MIB + 1, false, Repeat::IsHarmless, true),
        (Parts, MIB + 1, false, Repeat::IsRefused, true),
        (Parts, MIB + 1, false, Repeat::Acts, true),
        (Parts, MIB + 1, true, Repeat::IsRefused, false),
        (Parts, MIB + 1, true, Repeat::Acts, false),
        (Form, 1000, false, Repeat::IsHarmless, false),
        (Form, 1000, false, Repeat::IsRefused, true),
        (Form, 1000, false, Repeat::Acts, true),
        (Form, 1000, true, Repeat::IsRefused, false),
        (Form, 1000, true, Repeat::Acts, false),
    ];
    for (protocol, size, can_stat, repeat, unknown) in rows {
        let setup = Setup {
            can_stat,
            repeat_refused: repeat == Repeat::IsRefused,
            repeat_acts: repeat == Repeat::Acts,
            ..Setup::new(protocol, size)
        };
        let explored = Explored::all(setup, ONE_EACH);
        assert!(explored.done > 1, "{setup:?}");
        assert_eq!(explored.unknown > 0, unknown, "{setup:?}");
    }
}

/// A source that changes at any moment, before or after its bytes were read: never an object of old
/// or mixed bytes, and a second run ends.
#[test]
fn a_change_at_every_step() {
    use Protocol::{Blocks, Form, Parts};
    let with_crash = Purse {
        crashes: 1,
        ..CHANGE
    };
    let with_fault = Purse {
        faults: 1,
        ..CHANGE
    };
    let twice = Purse {
        changes: 2,
        ..CHANGE
    };
    let rows = [
        (Blocks, 4 * MIB + 1, CHANGE),
        (Blocks, MIB, with_crash),
        (Blocks, MIB, with_fault),
        (Blocks, MIB, twice),
        (Parts, MIB + 1, with_crash),
        (Parts, MIB + 1, with_fault),
        (Parts, MIB + 1, twice),
        (Form, 1000, with_crash),
        (Form, MIB + 1, with_fault),
    ];
    for (protocol, size, purse) in rows {
        let explored = Explored::all(Setup::new(protocol, size), purse);
        let counts = (explored.done, explored.changed);
        assert!(explored.done > 0, "{protocol:?} {purse:?}: {counts:?}");
        let may_change = protocol == Form && size <= MIB;
        assert!(
            explored.changed > 0 || may_change,
            "{protocol:?} {purse:?}: {counts:?}"
        );
    }
}

/// A stop at any moment: nothing but records is awaited, and a following process ends the upload.
#[test]
fn a_stop_at_every_step() {
    use Protocol::{Blocks, Form, Parts};
    let with_crash = Purse { crashes: 1, ..STOP };
    let with_fault = Purse { faults: 1, ..STOP };
    let rows = [
        (Blocks, 4 * MIB + 1, true, STOP),
        (Blocks, MIB, true, with_crash),
        (Blocks, MIB, false, with_fault),
        (Parts, 2 * MIB + 1, true, with_fault),
        (Parts, MIB + 1, true, with_crash),
        (Parts, MIB + 1, false, STOP),
        (Form, 1000, true, with_crash),
        (Form, 1000, false, with_fault),
    ];
    for (protocol, size, can_stat, purse) in rows {
        let setup = Setup {
            can_stat,
            ..Setup::new(protocol, size)
        };
        let explored = Explored::all(setup, purse);
        assert!(explored.stopped > 3, "{setup:?} {purse:?}");
    }
}

/// A request that is never answered, whichever it is: it is given up, and what follows is as after a
/// lost answer.
#[test]
fn a_hanging_request_at_every_step() {
    let rows = [
        (Protocol::Blocks, 4 * MIB + 1, 2, FAULT),
        (Protocol::Blocks, MIB, 1, ONE_EACH),
        (Protocol::Parts, 2 * MIB + 1, 3, TWO_FAULTS),
        (Protocol::Form, 1000, 1, ONE_EACH),
        (Protocol::Form, MIB + 1, 2, FAULT),
    ];
    for (protocol, size, window, purse) in rows {
        let setup = Setup {
            window,
            hangs: true,
            ..Setup::new(protocol, size)
        };
        let explored = Explored::all(setup, purse);
        assert!(explored.done > 1, "{setup:?}");
    }
}
