//! What must hold in every world.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::client::tests::simulation::run::{End, Ran, Run, Story};
use crate::client::tests::simulation::use_of_line as line;
use crate::client::tests::simulation::world::{Wish, World};
use crate::devserver::Operation;
use crate::devserver::within::Seen;
use crate::error::ErrorKind;
use crate::events::Event;

/// Everything that did not hold, each on a line.
pub(super) fn violations(world: &World, ran: &Ran) -> Vec<String> {
    let mut found = Vec::new();
    for (upload, story) in ran.stories.iter().enumerate() {
        let mut story_found = Vec::new();
        for (index, run) in story.runs.iter().enumerate() {
            let mut run_found = Vec::new();
            object(run, story, &mut run_found);
            events(run, &mut run_found);
            story_found.extend(run_found.iter().map(|what| format!("run {index}: {what}")));
        }
        ending(world, story, &mut story_found);
        resumes(world, story, &mut story_found);
        let named = story_found.iter();
        found.extend(named.map(|what| format!("upload {upload}: {what}")));
    }
    nothing_after(world, ran, &mut found);
    carried(world, ran, &mut found);
    known_segments(world, ran, &mut found);
    line::comes_back(world, ran, &mut found);
    if world.is_calm() {
        line::calm(world, ran, &mut found);
    }
    if ran.left_open > 0 {
        found.push(format!("{} connections were left open", ran.left_open));
    }
    found
}

/// Nothing wrong is reported as right, and nothing half is ever stored.
fn object(run: &Run, story: &Story, found: &mut Vec<String>) {
    if let Some(stored) = &run.stored
        && !story.versions[..run.versions.1].contains(stored)
    {
        found.push("what is stored was never the source".to_owned());
    }
    let End::Done(done) = &run.end else { return };
    let Some(stored) = &run.stored else {
        found.push("success, and there is no object".to_owned());
        return;
    };
    // A source that nobody touched during the run: exactly its bytes.
    let during = &story.versions[run.versions.0 - 1..run.versions.1];
    if !during.contains(stored) {
        found.push("success, and the object is an older source".to_owned());
    }
    if done.size != stored.len() as u64 {
        found.push(format!(
            "{} bytes are told, {} are there",
            done.size,
            stored.len()
        ));
    }
}

/// What is told on the way makes sense.
fn events(run: &Run, found: &mut Vec<String>) {
    let mut acknowledged_before = 0;
    let mut safe_before = 0;
    for (_, event) in &run.events {
        match event {
            Event::Progress {
                safe_bytes,
                acknowledged_bytes,
                size,
                ..
            } => {
                let size = size.unwrap_or(u64::MAX);
                if *acknowledged_bytes > size || safe_bytes > acknowledged_bytes {
                    found.push(format!("progress makes no sense: {event:?}"));
                }
                if *acknowledged_bytes < acknowledged_before {
                    found.push(format!("progress runs backwards: {event:?}"));
                }
                if *safe_bytes < safe_before && !voids(run) {
                    found.push(format!("safe bytes are lost: {event:?}"));
                }
                acknowledged_before = *acknowledged_bytes;
                safe_before = *safe_bytes;
            }
            Event::Retrying { wait, .. } if *wait > Duration::from_secs(60) => {
                found.push(format!("a wait of {wait:?}"));
            }
            _ => {}
        }
    }
}

/// With faults that end, the upload ends, and well.
fn ending(world: &World, story: &Story, found: &mut Vec<String>) {
    let Some(last) = story.runs.last() else {
        return;
    };
    match &last.end {
        End::Done(_) => {}
        // Nobody may look whether the object is there; and what the server has forgotten it has
        // forgotten for every later run, too.
        End::Failed(error)
            if error.kind() == ErrorKind::OutcomeUnknown
                && world.ready_token
                && (last.stored.is_some() || world.expiries() > 1) => {}
        End::Failed(error)
            if error.kind() == ErrorKind::Exists
                && world.may_fail(ErrorKind::Exists)
                && last.stored.is_some() => {}
        End::Failed(error) => found.push(format!("it failed: {error} ({:?})", error.kind())),
        End::Overdue => found.push(format!(
            "it still went on after {:?}, with {:?} to carry",
            world.patience(),
            world.transfer()
        )),
        End::Crashed => found.push("the last run crashed".to_owned()),
    }
    let reruns = story
        .runs
        .iter()
        .filter(|run| matches!(run.end, End::Failed(_)));
    for run in reruns {
        if let End::Failed(error) = &run.end
            && !world.may_fail(error.kind())
        {
            found.push(format!("a run failed: {error} ({:?})", error.kind()));
        }
    }
}

/// Nothing is sent after a success, nor between runs.
fn nothing_after(world: &World, ran: &Ran, found: &mut Vec<String>) {
    for seen in begun(ran) {
        // What was on the line when a run broke off may still arrive.
        let grace = world.latency + Duration::from_secs(1);
        let within = |run: &Run| run.began <= seen.at && seen.at <= run.ended;
        let on_its_way = |run: &Run| run.ended <= seen.at && seen.at <= run.ended + grace;
        let broke_off = |run: &&Run| !matches!(run.end, End::Done(_));
        if ran.runs().any(within) || ran.runs().filter(broke_off).any(on_its_way) {
            continue;
        }
        // An upload id is given back without anybody waiting for it.
        if seen.operation != Operation::Abort {
            found.push(format!("a request while nothing ran: {seen:?}"));
        }
    }
}

/// What was safe in one run is safe in the next.
fn resumes(world: &World, story: &Story, found: &mut Vec<String>) {
    if world.source_changes() {
        return;
    }
    for pair in story.runs.windows(2) {
        let [before, after] = pair else { continue };
        let safe = before
            .events
            .iter()
            .rev()
            .find_map(|(_, event)| match event {
                Event::Progress { safe_bytes, .. } => Some(*safe_bytes),
                _ => None,
            });
        let resumed = after.events.iter().find_map(|(_, event)| match event {
            Event::Started { resumed_bytes, .. } => Some(*resumed_bytes),
            _ => None,
        });
        if let (Some(safe), Some(resumed)) = (safe, resumed)
            && resumed < safe
            && matches!(before.end, End::Crashed)
            && !voids(before)
        {
            found.push(format!("{safe} bytes were safe, {resumed} are resumed"));
        }
    }
}

/// No more bytes than the objects have and the incidents explain.
fn carried(world: &World, ran: &Ran, found: &mut Vec<String>) {
    let raced = ran.runs().map(races).sum::<u64>() * world.segment_max();
    // A stream that failed is sent again from its beginning.
    let anew = ran.stories.iter().map(|story| story.runs.len() - 1);
    let anew = match world.streams() {
        Some(_) => anew.sum::<usize>() as u64 * world.total(),
        None => 0,
    };
    let allowed = world.explained_bytes() + raced + anew;
    if ran.carried > allowed {
        found.push(format!(
            "{} bytes were carried for {}; {allowed} are explained",
            ran.carried,
            world.total()
        ));
    }
}

/// How many segments were sent a second time, the first attempt going on: each may arrive twice.
pub(super) fn races(run: &Run) -> u64 {
    let raced = run.events.iter().filter(|(_, event)| match event {
        Event::Notice(text) => text.contains("goes out a second time"),
        _ => false,
    });
    raced.count() as u64
}

/// What the client knows to be stored is not sent again: a segment that was answered, on a connection
/// that then served another request, was heard.
fn known_segments(world: &World, ran: &Ran, found: &mut Vec<String>) {
    let is_anew = world.streams().is_some() && ran.stories.iter().any(|it| it.runs.len() > 1);
    let voided = ran.runs().any(voids) || world.source_changes() || is_anew;
    let altered = world.plan.faults.iter().any(|fault| {
        fault.wrong.is_some()
            || fault.flip_byte.is_some()
            || fault.answer_html.is_some()
            || fault.answer_text.is_some()
            || fault.cut_answer.is_some()
            || fault.omit_reqid
    });
    if voided || altered || world.wish == Wish::Form {
        return;
    }
    let mut later: BTreeMap<u64, Instant> = BTreeMap::new();
    for seen in begun(ran) {
        later.insert(seen.arrival.connection, seen.at);
    }
    let lanes = [Operation::Mkblk, Operation::Bput, Operation::Part];
    let heard = |seen: &&Seen| {
        lanes.contains(&seen.operation)
            && seen.outcome.as_deref() == Some("200")
            && later
                .get(&seen.arrival.connection)
                .is_some_and(|last| *last > seen.at)
    };
    let known: u64 = ran.log.iter().filter(heard).map(|seen| seen.received).sum();
    if known > world.total() {
        found.push(format!(
            "{known} bytes were acknowledged and heard of, of {}: something was sent again",
            world.total()
        ));
    }
}

/// Whether a run says that something was void.
fn voids(run: &Run) -> bool {
    run.events.iter().any(|(_, event)| match event {
        Event::Notice(text) => {
            text.contains("starts again") || text.contains("starts over") || text.contains("lanes")
        }
        _ => false,
    })
}

pub(super) fn begun(ran: &Ran) -> impl Iterator<Item = &Seen> {
    ran.log.iter().filter(|seen| seen.outcome.is_none())
}

/// Two lives of one world tell the same story if these are the same.
pub(super) fn trace(ran: &Ran) -> Vec<String> {
    let mut lines = Vec::new();
    for seen in &ran.log {
        let at = seen.at.saturating_duration_since(ran.began);
        // What follows the first word may hold ids that are drawn by chance.
        let word = seen.target.split('/').nth(1).unwrap_or_default();
        lines.push(format!(
            "{at:?} {:?} {:?} {word} {:?} {}",
            seen.arrival, seen.operation, seen.outcome, seen.received
        ));
    }
    for run in ran.runs() {
        for (at, event) in &run.events {
            let at = at.saturating_duration_since(ran.began);
            lines.push(match event {
                // Ids of requests are drawn by chance.
                Event::Retrying {
                    failure,
                    wait,
                    attempts,
                } => format!("{at:?} {:?} {wait:?} {attempts}", failure.kind),
                Event::Attempt(attempt) => {
                    format!(
                        "{at:?} {} {:?} {:?}",
                        attempt.operation, attempt.status, attempt.trace
                    )
                }
                // So are the names of directories.
                Event::Notice(text) => {
                    let words = text.split(' ').filter(|word| !word.contains('/'));
                    format!("{at:?} {}", words.collect::<Vec<_>>().join(" "))
                }
                event => format!("{at:?} {event:?}"),
            });
        }
        lines.push(format!("{:?}", run.ended - ran.began));
    }
    lines
}
