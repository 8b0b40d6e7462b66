//! What a process makes of a commit that another one sent, and what an upload that gives up, or is
//! stopped, leaves.

use std::time::Duration;

use crate::engine::event::{Effect, Event, Moment, Outcome, Pulse};
use crate::engine::plan::Protocol::{self, Blocks, Form, Parts};
use crate::engine::record::Checkpoint;
use crate::engine::tests::bounds::job;
use crate::engine::tests::world::{Fate, MIB, Setup, World};
use crate::engine::{Engine, Limits};
use crate::model::{FailureKind, Stage};

fn is_commit(effect: &Effect) -> bool {
    matches!(effect, Effect::Commit { .. })
}

/// A world whose commit is under way, and its index.
fn committing(setup: Setup) -> (World, usize) {
    let mut world = World::new(setup);
    loop {
        if let Some(index) = world.pending.iter().position(is_commit) {
            return (world, index);
        }
        world.step(0, &Fate::Answered);
    }
}

fn setup(protocol: Protocol, can_stat: bool, repeat_acts: bool) -> Setup {
    let size = if protocol == Form { 1000 } else { 2 * MIB };
    Setup {
        can_stat,
        repeat_acts,
        ..Setup::new(protocol, size)
    }
}

/// The first process's commit took effect, and nobody heard of it; the second one says something else
/// about the object. Its object is made, unless that would call back twice and nobody can look.
#[test]
fn another_process_may_say_something_else() {
    let rows = [
        (Blocks, true, false, Some(2)),
        (Parts, true, false, Some(2)),
        (Form, true, false, Some(2)),
        (Blocks, false, false, Some(2)),
        (Parts, false, false, Some(2)),
        (Form, false, false, Some(2)),
        (Blocks, false, true, None),
        (Parts, false, true, None),
        (Form, false, true, None),
    ];
    for (protocol, can_stat, repeat_acts, commits) in rows {
        let (mut world, index) = committing(setup(protocol, can_stat, repeat_acts));
        world.step(index, &Fate::CrashAfter);
        world.setup.says = 2;
        world.run_again();
        // v2's upload id is gone with the first object: all of it goes again.
        world.excused += world.size;
        let world = world.let_succeed();
        world.check_end();
        let story = format!("{protocol:?} {can_stat} {repeat_acts}");
        let unknown = matches!(world.outcome, Some(Outcome::Unknown(_)));
        assert_eq!(unknown, commits.is_none(), "{story}: {:?}", world.outcome);
        assert_eq!(world.service.commits, commits.unwrap_or(1), "{story}");
    }
}

/// The same, said the same way: the object is taken for ours, or made once more where that is
/// harmless. Without a look, v2 cannot know, and neither can who would call back twice.
#[test]
fn another_process_may_say_the_same() {
    let rows = [
        (Blocks, true, false, Some(2)),
        (Parts, true, false, Some(1)),
        (Form, true, false, Some(1)),
        (Blocks, false, false, Some(2)),
        (Parts, false, false, None),
        (Form, false, false, Some(2)),
        (Blocks, false, true, None),
        (Parts, false, true, None),
        (Form, false, true, None),
    ];
    for (protocol, can_stat, repeat_acts, commits) in rows {
        let (mut world, index) = committing(setup(protocol, can_stat, repeat_acts));
        world.step(index, &Fate::CrashAfter);
        let world = world.let_succeed();
        world.check_end();
        let story = format!("{protocol:?} {can_stat} {repeat_acts}");
        let unknown = matches!(world.outcome, Some(Outcome::Unknown(_)));
        assert_eq!(unknown, commits.is_none(), "{story}: {:?}", world.outcome);
        assert_eq!(world.service.commits, commits.unwrap_or(1), "{story}");
    }
}

/// An object that an earlier process put with other particulars is not taken for the one whose answer
/// was lost, whether the service's clock was heard meanwhile or not.
#[test]
fn an_older_object_is_not_ours() {
    let (mut world, index) = committing(setup(Form, true, false));
    world.step(index, &Fate::CrashAfter);
    world.setup.says = 2;
    world.run_again();
    world.excused += world.size;
    while !world.pending.iter().any(is_commit) {
        world.step(0, &Fate::Answered);
    }
    world.step(0, &Fate::Fails(FailureKind::Broken));
    let world = world.let_succeed();
    world.check_end();
    assert_eq!(world.outcome, Some(Outcome::Done));
    assert_eq!(world.service.commits, 2, "{}", world.story());
}

/// A commit that was refused is no riddle to the next process, even where a second one would call
/// back twice.
#[test]
fn a_refused_commit_leaves_no_doubt() {
    for protocol in [Blocks, Parts, Form] {
        let (mut world, index) = committing(setup(protocol, false, true));
        world.step(index, &Fate::Fails(FailureKind::Forbidden));
        while world.outcome.is_none() {
            match world.choices().first() {
                Some(index) => world.step(*index, &Fate::Answered),
                None => world.wake(),
            }
        }
        let ended = &world.outcome;
        assert!(
            matches!(ended, Some(Outcome::Failed { again: false, .. })),
            "{ended:?}"
        );
        world.run_again();
        let world = world.let_succeed();
        world.check_end();
        assert_eq!(world.outcome, Some(Outcome::Done), "{protocol:?}");
        assert_eq!(world.service.commits, 1, "{protocol:?}");
    }
}

/// An upload that gives up calls nothing safe that the service has not.
#[test]
fn what_is_gone_is_not_called_safe() {
    use FailureKind as K;
    let rows = [
        (Parts, K::NoSuchUpload, 0),
        (Parts, K::NoSuchObject, 0),
        (Parts, K::Mismatch, 0),
        (Parts, K::BadRequest, 2 * MIB),
        (Blocks, K::InvalidContext, 0),
        (Blocks, K::Forbidden, 2 * MIB),
    ];
    for (protocol, kind, safe) in rows {
        let mut world = World::new(setup(protocol, true, false));
        while world.outcome.is_none() {
            assert!(world.trace.len() < 1000, "no end in sight");
            let Some(index) = world.choices().first().copied() else {
                world.wake();
                continue;
            };
            let fate = match is_commit(&world.pending[index]) {
                true => Fate::Fails(kind.clone()),
                false => Fate::Answered,
            };
            world.step(index, &fate);
        }
        let ended = &world.outcome;
        assert!(
            matches!(ended, Some(Outcome::Failed { .. })),
            "{kind:?}: {ended:?}"
        );
        assert_eq!(world.engine.safe_bytes(), safe, "{kind:?}");
    }
}

/// Plays a v1 upload of one block whose ctx is refused after so many segments of each life; how often
/// it started again, and how it ended.
fn lives(mut acknowledged: impl FnMut(usize) -> usize) -> (usize, Option<Outcome>) {
    let mut world = World::new(Setup::new(Blocks, 4 * MIB));
    // Chunks of 64 KiB, since longer ones are refused.
    for _ in 0..4 {
        let refused = Fate::Fails(FailureKind::BodyLimit);
        let is_segment = matches!(world.pending[0], Effect::Send { .. });
        world.step(
            0,
            if is_segment {
                &refused
            } else {
                &Fate::Answered
            },
        );
    }
    let (mut life, mut segments) = (0, 0);
    while world.outcome.is_none() {
        assert!(world.trace.len() < 2000, "no end in sight");
        let Some(index) = world.choices().first().copied() else {
            world.wake();
            continue;
        };
        world.excused += 4 * MIB;
        let is_segment = matches!(world.pending[index], Effect::Send { .. });
        if is_segment && segments == acknowledged(life) {
            (life, segments) = (life + 1, 0);
            world.step(index, &Fate::Fails(FailureKind::InvalidContext));
        } else {
            segments += usize::from(is_segment);
            world.step(index, &Fate::Answered);
        }
    }
    (life, world.outcome)
}

/// A lane may start again as often as it gets further each time; without that, three times.
#[test]
fn restarts_that_get_further_do_not_count() {
    let (restarts, ended) = lives(|life| if life < 9 { life + 1 } else { usize::MAX });
    assert_eq!((restarts, ended), (9, Some(Outcome::Done)));
    let (restarts, ended) = lives(|_| 1);
    assert_eq!(restarts, 4, "three of them allowed");
    assert!(matches!(ended, Some(Outcome::Failed { again: true, .. })));
}

/// A stop with time waits for segments and for a commit in flight, begins nothing more, and ends at its
/// time, or at once when it is asked for again.
#[test]
fn a_stop_with_time() {
    let patience = Duration::from_secs(5);
    for protocol in [Blocks, Parts, Form] {
        let (mut world, _) = committing(setup(protocol, true, false));
        world.stop_within(patience);
        let commit = world.pending.iter().position(is_commit).unwrap();
        let mut refused = world.clone();
        refused.step(commit, &Fate::Fails(FailureKind::Server));
        assert_eq!(refused.let_succeed().outcome, Some(Outcome::Stopped));
        let mut hurried = world.clone();
        hurried.stop();
        assert_eq!(hurried.outcome, Some(Outcome::Stopped), "{protocol:?}");
        let mut late = world.clone();
        late.wake();
        assert_eq!(late.now.0, patience, "{protocol:?}");
        assert_eq!(late.outcome, Some(Outcome::Stopped), "{protocol:?}");
        world.step(commit, &Fate::Answered);
        assert_eq!(world.outcome, Some(Outcome::Done), "{protocol:?}");
        world.check_end();
    }
    let mut world = World::new(Setup::new(Parts, 4 * MIB));
    while world.pending.iter().filter(|it| is_send(it)).count() < 2 {
        world.step(0, &Fate::Answered);
    }
    world.stop_within(patience);
    let in_flight = world.pending.iter().filter(|it| is_send(it)).count();
    let world = world.let_succeed();
    assert_eq!(world.outcome, Some(Outcome::Stopped));
    assert_eq!(world.now.0, Duration::ZERO, "nothing was waited for");
    assert!(world.acknowledged_bytes() > 0 && in_flight >= 2);
}

fn is_send(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { .. })
}

/// What waits for its turn when a stop comes need not begin, whatever time there is.
#[test]
fn a_stop_leaves_the_queue() {
    let mut engine = Engine::new(
        job(Blocks, 8 * MIB),
        Limits::default(),
        Checkpoint::default(),
    );
    let mut sends = Vec::new();
    while let Some(effect) = engine.poll_effect() {
        match effect {
            Effect::Send { attempt, .. } => sends.push(attempt),
            Effect::Record { id, .. } => engine.handle(Moment::default(), Event::Recorded { id }),
            _ => {}
        }
    }
    let drain = Duration::from_secs(5);
    let see = |engine: &mut Engine| {
        for (attempt, stage) in sends.iter().zip([Stage::Waiting, Stage::Sending]) {
            let (attempt, pulse) = (*attempt, Pulse::new(stage, 0));
            engine.handle(Moment::default(), Event::Pulse { attempt, pulse });
        }
    };
    // What was seen before may have begun since.
    see(&mut engine);
    engine.handle(Moment::default(), Event::Stop { drain });
    assert_eq!(engine.poll_effect(), None);
    see(&mut engine);
    let effects: Vec<Effect> = std::iter::from_fn(|| engine.poll_effect()).collect();
    let attempt = sends[0];
    assert_eq!(effects, [Effect::Cancel { attempt }]);
    assert_eq!(engine.next_wakeup(), Some(Moment(drain)));
}
