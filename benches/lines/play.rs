//! How an upload is run: once, killed and run again, or twice.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::contestant::Contestant;
use crate::measure::{self, End, Used};
use crate::network::Place;
use crate::outcome::Second;
use crate::row::Play;
use crate::row_run::{Sent, Task};
use crate::server::Server;
use crate::{Failure, now};

/// An upload that has been run.
pub(crate) struct Played {
    /// Of all processes together; of the first of two uploads, unless the second has failed.
    pub(crate) used: Used,
    /// What must be stored now.
    pub(crate) sent: Vec<Sent>,
    /// Bytes of bodies that the server read, without those of a second upload.
    pub(crate) body_bytes: u64,
    pub(crate) second: Option<Second>,
    /// Bytes that were acknowledged when it was killed.
    pub(crate) kills: Vec<u64>,
}

/// Uploads what the row says, as it says.
pub(crate) fn upload(
    task: &Task,
    contestant: Contestant,
    place: Place,
    server: &Server,
) -> Result<Played, Failure> {
    match (contestant, task.row.play) {
        (Contestant::Haul, Play::Killed(at)) => killed(task, place, server, at),
        (Contestant::Haul, Play::Twice) => twice(task, place, server),
        _ => once(task, contestant, place, server),
    }
}

fn once(
    task: &Task,
    contestant: Contestant,
    place: Place,
    server: &Server,
) -> Result<Played, Failure> {
    let sent = match contestant {
        Contestant::Library => task.pieces.clone(),
        _ => vec![task.whole.clone()],
    };
    let mut command = contestant.command(task, &sent, place, server)?;
    let used = measure::run(&mut command, task.row.limit(), None)?;
    Ok(Played {
        used,
        sent,
        body_bytes: server.body_bytes()?,
        second: None,
        kills: Vec::new(),
    })
}

/// One upload after the other, of the same bytes under another key; both with the same state.
fn twice(task: &Task, place: Place, server: &Server) -> Result<Played, Failure> {
    let mut first = once(task, Contestant::Haul, place, server)?;
    if !is_well(&first.used) {
        return Ok(first);
    }
    let again = Sent {
        key: format!("{}-again", task.whole.key),
        ..task.whole.clone()
    };
    let second = vec![again.clone()];
    let mut command = Contestant::Haul.command(task, &second, place, server)?;
    // Twice verbose: every request is told.
    command.args(["--json", "-vv"]);
    let mut heard = Heard::default();
    let mut hear = |said: &str| {
        heard.hear(said);
        false
    };
    let used = measure::run(&mut command, task.row.limit(), Some(&mut hear))?;
    first.second = Some(Second {
        body_bytes: server.body_bytes()?.saturating_sub(first.body_bytes),
        failed_requests: heard.failed_requests,
    });
    first.sent.push(again);
    if !is_well(&used) {
        first.used = used;
    }
    Ok(first)
}

/// Killed at each of these shares, given in per cent, and run again until it is done.
fn killed(task: &Task, place: Place, server: &Server, at: &[u64]) -> Result<Played, Failure> {
    let sent = vec![task.whole.clone()];
    let mut kills = Vec::new();
    let mut all: Option<Used> = None;
    loop {
        let mut command = Contestant::Haul.command(task, &sent, place, server)?;
        command.arg("--json");
        let mut heard = Heard::default();
        let due = at.get(kills.len()).map(|share| task.row.size * share / 100);
        // Progress is told once a second. Another seed, another moment in between.
        let wait = Duration::from_millis(200) * (task.seed % 5) as u32;
        let mut reached = None;
        let mut is_due = |said: &str| {
            heard.hear(said);
            let is_there = due.is_some_and(|due| heard.acknowledged_bytes >= due);
            is_there && reached.get_or_insert_with(now).elapsed() >= wait
        };
        let used = measure::run(&mut command, task.row.limit(), Some(&mut is_due))?;
        let is_killed = used.end == End::Killed;
        all = Some(match all {
            Some(before) => added(before, used),
            None => used,
        });
        if is_killed {
            kills.push(heard.acknowledged_bytes);
            continue;
        }
        return Ok(Played {
            used: all.ok_or("never run")?,
            sent,
            body_bytes: server.body_bytes()?,
            second: None,
            kills,
        });
    }
}

/// Two processes as one.
fn added(before: Used, after: Used) -> Used {
    Used {
        wall: before.wall + after.wall,
        cpu_s: before.cpu_s + after.cpu_s,
        memory_mib: f64::max(before.memory_mib, after.memory_mib),
        ..after
    }
}

fn is_well(used: &Used) -> bool {
    matches!(used.end, End::Itself(status) if status.success())
}

/// What `haul put --json` has said, with `-vv` of every request.
#[derive(Default)]
struct Heard {
    /// A line that has not come whole yet.
    rest: String,
    acknowledged_bytes: u64,
    failed_requests: u64,
}

impl Heard {
    /// Hears further words.
    fn hear(&mut self, said: &str) {
        self.rest += said;
        while let Some((line, rest)) = self.rest.split_once('\n') {
            if let Ok(event) = serde_json::from_str::<Value>(line) {
                match event["event"].as_str() {
                    Some("progress") => {
                        let bytes = event["acknowledged_bytes"].as_u64();
                        self.acknowledged_bytes = bytes.unwrap_or(self.acknowledged_bytes);
                    }
                    Some("attempt") if is_failure(&event) => self.failed_requests += 1,
                    _ => {}
                }
            }
            self.rest = rest.to_owned();
        }
    }
}

/// Whether a request that is over got no good answer. One that only met a connection that was over
/// went out again at once, and counts for nothing.
fn is_failure(attempt: &Value) -> bool {
    let is_good = |status: u64| (200..300).contains(&status);
    attempt["repeated"] != true && !attempt["status"].as_u64().is_some_and(is_good)
}

/// A command that names the library's uploads, as the bench's own role reads it.
pub(crate) fn library_command(
    task: &Task,
    sent: &[Sent],
    place: Place,
) -> Result<Command, Failure> {
    let mut command = place.command(std::env::current_exe()?);
    let order = match task.row.play {
        Play::AtOnce(_) => "at-once",
        _ => "in-turn",
    };
    command
        .args(["--role", "uploads", order])
        .arg(&task.scratch);
    for file in sent {
        command.arg(&file.key).arg(&file.path);
    }
    Ok(command)
}
