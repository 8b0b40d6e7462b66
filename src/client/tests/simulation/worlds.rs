//! The simulation: thousands of worlds, each from a seed.
//!
//! `HAUL_SIM_SEEDS=10000` lives so many worlds, `HAUL_SIM_FROM=5000` begins elsewhere than at 0, and
//! `HAUL_SIM_SEED=1234` lives one and tells its story.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::tests::simulation::checks::{races, trace, violations};
use crate::client::tests::simulation::run::{Ran, run};
use crate::client::tests::simulation::world::{Happening, Wish, World};
use crate::events::Event;

/// Worlds of one `cargo test`.
const SEEDS: u64 = 2000;

/// Threads, each with worlds of its own: enough for the machines of most testers.
const WORKERS: usize = 4;

/// Failing worlds after which the rest is not looked at.
const FAILURES_MAX: usize = 5;

/// In how many worlds something was seen that only a line which is watched brings about.
#[derive(Debug, Default)]
struct Tally {
    raced: AtomicU64,
    called_down: AtomicU64,
    paced: AtomicU64,
}

impl Tally {
    fn count(&self, ran: &Ran) {
        let mut events = ran.runs().flat_map(|run| &run.events);
        let down = events.any(|(_, event)| matches!(event, Event::LineDown { .. }));
        let mut events = ran.runs().flat_map(|run| &run.events);
        let paced =
            events.any(|(_, event)| matches!(event, Event::Pace { lanes, .. } if *lanes > 2));
        let raced = ran.runs().map(races).sum::<u64>() > 0;
        for (count, is_so) in [
            (&self.raced, raced),
            (&self.called_down, down),
            (&self.paced, paced),
        ] {
            count.fetch_add(u64::from(is_so), Ordering::Relaxed);
        }
    }
}

/// What did not hold in a world; a panic is one more such thing.
fn live(world: &World, tally: &Tally) -> Vec<String> {
    match catch_unwind(AssertUnwindSafe(|| {
        let ran = run(world);
        tally.count(&ran);
        violations(world, &ran)
    })) {
        Ok(found) => found,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            vec![format!("panicked: {}", text.unwrap_or_default())]
        }
    }
}

/// The smallest world that still fails, by leaving out one thing after the other.
fn shrunk(mut world: World) -> World {
    let tally = Tally::default();
    let mut index = 0;
    while index < world.incidents() {
        let smaller = world.without(index);
        if live(&smaller, &tally).is_empty() {
            index += 1;
        } else {
            world = smaller;
        }
    }
    while !world.others.is_empty() {
        let mut smaller = world.clone();
        smaller.others.pop();
        if live(&smaller, &tally).is_empty() {
            break;
        }
        world = smaller;
    }
    world
}

#[expect(
    clippy::disallowed_methods,
    reason = "how much is tested is the tester's choice, and tests have no main"
)]
fn wish(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// In every world: no wrong object, no success without one, an end, nothing sent again that was
/// known, nothing sent after the end, nothing left open.
#[test]
fn whatever_happens() {
    if let Some(seed) = wish("HAUL_SIM_SEED") {
        return tell(seed);
    }
    let first = wish("HAUL_SIM_FROM").unwrap_or(0);
    let end = first + wish("HAUL_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let tally = Tally::default();
    let failures: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            while failures.len() < FAILURES_MAX {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    break;
                }
                let world = World::new(seed);
                if !live(&world, &tally).is_empty() {
                    let world = shrunk(world);
                    let found = live(&world, &Tally::default()).join("\n    ");
                    failures.push(format!("{}    {found}", world.told()));
                }
            }
            failures
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().flat_map(|it| it.join().unwrap());
        done.collect()
    });
    println!("{tally:?}");
    assert!(
        failures.is_empty(),
        "{} worlds failed; HAUL_SIM_SEED=<seed> tells the story of one\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    let seen = [&tally.raced, &tally.called_down, &tally.paced];
    let all_seen = seen.iter().all(|count| count.load(Ordering::Relaxed) > 0);
    assert!(all_seen || end - first < SEEDS, "{tally:?}");
}

/// The story of one world.
fn tell(seed: u64) {
    let world = World::new(seed);
    println!("{}", world.told());
    let ran = run(&world);
    println!("{}", trace(&ran).join("\n"));
    for run in ran.runs() {
        println!("{:?}", run.end);
    }
    assert_eq!(violations(&world, &ran), Vec::<String>::new());
}

/// One seed, one story.
#[test]
fn same_seed_same_trace() {
    for seed in 0..40 {
        let world = World::new(seed);
        let [first, second] = [run(&world), run(&world)].map(|ran| trace(&ran));
        if let Some(at) =
            (0..first.len().max(second.len())).find(|at| first.get(*at) != second.get(*at))
        {
            panic!(
                "seed {seed} has two stories; they part at line {at}:\n{:?}\n{:?}",
                first.get(at),
                second.get(at)
            );
        }
    }
}

/// A check that finds nothing proves nothing: each row spoils a good story, and is found.
#[test]
fn checks_find_what_is_wrong() {
    let world = (0..).map(World::new).find(|world| {
        let in_lanes = world.size > 2 * world.part_len && world.wish == Wish::V2;
        world.incidents() == 0 && in_lanes && !world.ready_token && world.window.is_none()
    });
    let world = world.unwrap();
    assert_eq!(violations(&world, &run(&world)), Vec::<String>::new());
    type Spoil = fn(&mut Ran);
    let rows: [(&str, Spoil); 11] = [
        ("there is no object", |ran| {
            ran.stories[0].runs[0].stored = None
        }),
        ("never the source", |ran| {
            ran.stories[0].runs[0].stored.as_mut().unwrap()[0] ^= 1;
        }),
        ("while nothing ran", |ran| {
            let mut late = ran.log[0].clone();
            late.at = ran.stories[0].runs[0].ended + Duration::from_secs(1);
            ran.log.push(late);
        }),
        ("are explained", |ran| ran.carried *= 3),
        ("left open", |ran| ran.left_open = 1),
        ("of them used", |ran| ran.connections += 1),
        ("raced", |ran| {
            let raced = Event::Notice("its segment goes out a second time".to_owned());
            let run = &mut ran.stories[0].runs[0];
            run.events.push((run.ended, raced));
        }),
        ("called down", |ran| {
            let silence = Duration::from_secs(4);
            let run = &mut ran.stories[0].runs[0];
            run.events.push((run.ended, Event::LineDown { silence }));
        }),
        ("stood still", |ran| {
            ran.stories[0].runs[0].events.clear();
            ran.stories[0].runs[0].ended += Duration::from_secs(3600);
        }),
        ("sent again", |ran| {
            let twice = ran.log.clone();
            ran.log.extend(twice);
        }),
        ("runs backwards", |ran| {
            let twice = ran.stories[0].runs[0].events.clone();
            ran.stories[0].runs[0].events.extend(twice);
        }),
    ];
    for (expected, spoil) in rows {
        let mut ran = run(&world);
        spoil(&mut ran);
        let found = violations(&world, &ran).join("; ");
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

/// What the worlds are about, each with the least share of them, of a thousand.
#[test]
fn worlds_hold_everything() {
    type Holds = fn(&World) -> bool;
    fn happens(world: &World, is_it: fn(&Happening) -> bool) -> bool {
        world.happenings.iter().any(|(_, what)| is_it(what))
    }
    use Happening as H;
    let rows: [(&str, u64, Holds); 15] = [
        ("an automatic window", 550, |it| it.window.is_none()),
        ("calm and automatic", 50, |it| {
            it.is_calm() && it.window.is_none()
        }),
        ("a bandwidth limit", 120, |it| it.limit_rate.is_some()),
        ("several at once", 120, |it| {
            !it.others.is_empty() && !it.in_turn
        }),
        ("several in turn", 50, |it| {
            !it.others.is_empty() && it.in_turn
        }),
        ("a body limit", 40, |it| {
            it.way.iter().any(|fault| fault.longer_than.is_some())
        }),
        ("slow connections", 15, |it| {
            it.way.iter().any(|fault| fault.connection_every.is_some())
        }),
        ("a rate that changes", 40, |it| {
            happens(it, |what| matches!(what, H::Rate(..)))
        }),
        ("a flapping line", 25, |it| {
            happens(it, |what| matches!(what, H::Flaps { .. }))
        }),
        ("an outage", 80, |it| {
            happens(it, |what| matches!(what, H::Outage(_)))
        }),
        ("an outage that is waited out", 40, |it| {
            it.wait_online && happens(it, |what| matches!(what, H::Outage(_)))
        }),
        ("a host that is away", 40, |it| {
            happens(it, |what| matches!(what, H::Absent(..)))
        }),
        ("one that is bad for good", 20, |it| {
            !it.plan.hosts.is_empty()
        }),
        ("all answer 50x", 10, |it| {
            happens(
                it,
                |what| matches!(what, H::Unwell(None, how, _) if !how.one_in_three),
            )
        }),
        ("every third is refused", 20, |it| {
            happens(
                it,
                |what| matches!(what, H::Unwell(_, how, _) if how.one_in_three),
            )
        }),
    ];
    let worlds: Vec<World> = (0..SEEDS).map(World::new).collect();
    for (story, least, holds) in rows {
        let share = worlds.iter().filter(|world| holds(world)).count() as u64 * 1000 / SEEDS;
        println!("{story}: {share} of 1000");
        assert!(share >= least, "{story}: {share} of 1000");
    }
}
