//! What must hold of the line: where nothing goes wrong it is used, by all uploads alike, and where it
//! was away it is used again soon.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::client::tests::simulation::checks::{begun, races};
use crate::client::tests::simulation::explain::FORM_FRAME_LEN;
use crate::client::tests::simulation::run::{Ran, Run};
use crate::client::tests::simulation::weather::COMMITS;
use crate::client::tests::simulation::world::{Happening, Wish, World};
use crate::events::Event;

/// How long after the line's return something must pass: a probe every two seconds finds it, and the
/// design's number is 4 s. One more for what a slow line takes to show it.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Where nothing goes wrong, nothing is retried, nothing sent twice or in vain, and the line is used.
pub(super) fn calm(world: &World, ran: &Ran, found: &mut Vec<String>) {
    for run in ran.runs() {
        quiet(run, found);
    }
    let uploads = ran.stories.len() as u64;
    if ran.carried > world.total() + uploads * FORM_FRAME_LEN {
        found.push(format!("{} bytes for {}", ran.carried, world.total()));
    }
    let used: BTreeSet<u64> = begun(ran).map(|seen| seen.arrival.connection).collect();
    if used.len() as u64 != ran.connections {
        found.push(format!(
            "{} connections on a calm line, {} of them used",
            ran.connections,
            used.len()
        ));
    }
    in_time(world, ran, found);
    if !world.in_turn {
        fair(world, ran, found);
    }
    let commits = begun(ran).filter(|seen| COMMITS.contains(&seen.operation));
    if commits.count() as u64 != uploads {
        found.push("more than one commit on a calm line".to_owned());
    }
}

/// Nobody doubts the line.
fn quiet(run: &Run, found: &mut Vec<String>) {
    for (_, event) in &run.events {
        match event {
            Event::Retrying { failure, .. } => {
                found.push(format!("retried on a calm line: {failure}"));
            }
            Event::LineDown { silence } => {
                found.push(format!("a calm line is called down after {silence:?}"));
            }
            _ => {}
        }
    }
    if races(run) > 0 {
        found.push("raced on a calm line".to_owned());
    }
}

/// Everything is there in little more than its bytes take, whoever they belong to.
fn in_time(world: &World, ran: &Ran, found: &mut Vec<String>) {
    let ended = ran.runs().map(|run| run.ended).max();
    let took = ended.unwrap_or(ran.began) - ran.began;
    let round_trips = |size: u64| 8 + size / (256 * 1024);
    let lane_round_trips: u64 = world.sizes().map(round_trips).sum();
    let due = world.transfer() * 13 / 10
        + world.latency * u32::try_from(lane_round_trips).unwrap_or(u32::MAX) * 3
        + asleep(world)
        + Duration::from_secs(2);
    if took > due {
        found.push(format!("took {took:?}, {due:?} would do"));
    }
}

/// No upload stands still for longer than a turn of everybody takes, twice: one as long as its segment
/// for each lane.
fn fair(world: &World, ran: &Ran, found: &mut Vec<String>) {
    let bytes_per_s = world.rate / 8;
    let bytes_per_s = world
        .limit_rate
        .map_or(bytes_per_s, |it| it.min(bytes_per_s));
    // Blocks go in segments of some seconds; a part or a form goes at once.
    let segment = |size: u64| match world.wish {
        Wish::Form => size,
        Wish::V2 => size.min(world.part_len.max(1 << 20)),
        Wish::Auto | Wish::V1 => size.min((1 << 20).max(10 * bytes_per_s)),
    };
    let round: u64 = world.sizes().map(|size| 2 * segment(size)).sum();
    let due = Duration::from_millis(2 * round * 1000 / bytes_per_s)
        + world.latency * 20
        + asleep(world)
        + Duration::from_secs(5);
    for run in ran.runs() {
        let stood = longest_stand(run);
        if stood > due {
            found.push(format!(
                "an upload stood still for {stood:?}, {due:?} is fair"
            ));
        }
    }
}

/// The longest time in which a run had nothing acknowledged.
fn longest_stand(run: &Run) -> Duration {
    let mut moved = run.began;
    let mut acknowledged = 0;
    let mut longest = Duration::ZERO;
    for (at, event) in &run.events {
        if let Event::Progress {
            acknowledged_bytes, ..
        } = event
            && *acknowledged_bytes > acknowledged
        {
            acknowledged = *acknowledged_bytes;
            longest = longest.max(*at - moved);
            moved = *at;
        }
    }
    longest.max(run.ended - moved)
}

/// Where only outages go wrong, something passes soon after each.
pub(super) fn comes_back(world: &World, ran: &Ran, found: &mut Vec<String>) {
    let is_outage =
        |what: &Happening| matches!(what, Happening::Outage(_) | Happening::Flaps { .. });
    let are_outages = world.happenings.iter().all(|(_, what)| is_outage(what));
    if !are_outages || world.incidents() != world.happenings.len() {
        return;
    }
    // What a connection's first answer takes on a line like this, with what is queued before it.
    let bytes_per_s = world.transfer().as_secs_f64() / world.total().max(1) as f64;
    let due =
        BACK_WITHIN + world.latency * 6 + Duration::from_secs_f64(bytes_per_s * 64.0 * 1024.0);
    for (from, until) in world.outages(ran.began) {
        for run in ran.runs() {
            if run.began >= from || run.ended <= until {
                continue;
            }
            let moved = first_sign(ran, until).unwrap_or(run.ended);
            let next = world.outages(ran.began).into_iter().find(|it| it.0 > until);
            let is_cut_short = next.is_some_and(|(from, _)| from < until + due);
            if moved > until + due && !is_cut_short {
                let after = moved - until;
                found.push(format!(
                    "{after:?} after the line's return nothing had passed"
                ));
            }
        }
    }
}

/// When something passed again after `since`: bytes, or a request, of anybody's: who waits for a turn
/// has nothing to show.
fn first_sign(ran: &Ran, since: Instant) -> Option<Instant> {
    let requests = ran.log.iter().map(|seen| seen.at).filter(|at| *at >= since);
    let moved = ran.runs().filter_map(|run| moves_after(run, since));
    requests.chain(moved).min()
}

fn moves_after(run: &Run, since: Instant) -> Option<Instant> {
    let mut held = 0;
    run.events.iter().find_map(|(at, event)| {
        let Event::Progress {
            acknowledged_bytes,
            lost_bytes,
            ..
        } = event
        else {
            return None;
        };
        let holds = acknowledged_bytes - lost_bytes;
        let rises = holds > std::mem::replace(&mut held, holds);
        (*at >= since && rises).then_some(*at)
    })
}

/// For how long everybody slept.
fn asleep(world: &World) -> Duration {
    let naps = world.happenings.iter().map(|(_, what)| match what {
        Happening::Suspended(time) => *time,
        _ => Duration::ZERO,
    });
    naps.sum()
}
