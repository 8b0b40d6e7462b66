//! One contestant on one row: the line is made, the server started, the upload measured, and what
//! is stored is looked at.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::contestant::Contestant;
use crate::fate::News;
use crate::measure::{self, End, Used};
use crate::network::{Network, Place, SERVER_IPS};
use crate::outcome::{More, Outcome, Upload, Verdict};
use crate::play::{self, Played};
use crate::row::Row;
use crate::server::Server;
use crate::{Failure, Tools, now};

/// Longest part of a contestant's words that a verdict repeats, in characters.
const WORDS_MAX: usize = 160;

/// What is to be done.
pub(crate) struct Task<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) row: &'a Row,
    pub(crate) seed: u64,
    /// The whole file, and the pieces of it that the library sends as files of their own.
    pub(crate) whole: Sent,
    pub(crate) pieces: Vec<Sent>,
    /// A folder for what a contestant keeps; fresh for each.
    pub(crate) scratch: PathBuf,
}

/// A file that is sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) path: PathBuf,
    pub(crate) key: String,
    pub(crate) hash: String,
    pub(crate) size: u64,
}

/// The places where the two ends run, and the line between them.
struct Ends {
    client: Place,
    server: Place,
    server_ips: Vec<Ipv4Addr>,
    network: Option<Network>,
}

impl Ends {
    fn of(row: &Row) -> Result<Self, Failure> {
        let Some(shape) = &row.line else {
            let here = Place::Here;
            return Ok(Self {
                client: here,
                server: here,
                server_ips: vec![Ipv4Addr::LOCALHOST],
                network: None,
            });
        };
        let network = Network::new(shape)?;
        Ok(Self {
            client: network.client,
            server: network.server,
            server_ips: SERVER_IPS[..row.hosts].to_vec(),
            network: Some(network),
        })
    }

    fn told(&self) -> Vec<News> {
        self.network.as_ref().map(Network::told).unwrap_or_default()
    }
}

/// Runs one contestant.
pub(crate) fn run(task: &Task, contestant: Contestant) -> Result<Outcome, Failure> {
    match contestant.is_plain() {
        true => run_plain(task, contestant),
        false => run_upload(task, contestant),
    }
}

/// A plain socket, on a line without faults.
fn run_plain(task: &Task, contestant: Contestant) -> Result<Outcome, Failure> {
    let ends = Ends::of(&task.row.without_faults())?;
    let is_hashing = contestant == Contestant::RawHashed;
    let program = std::env::current_exe()?;
    let role = |name: &str| match is_hashing {
        true => format!("{name}-hashed"),
        false => name.to_owned(),
    };
    let mut command = ends.server.command(&program);
    let address = format!("{}:0", ends.server_ips[0]);
    command.args(["--role", &role("sink"), &address]);
    let (mut sink, address) = listening(command)?;
    let mut command = ends.client.command(&program);
    command
        .args(["--role", &role("send")])
        .arg(&task.whole.path)
        .arg(address);
    let used = measure::run(&mut command, task.row.limit(), None)?;
    // It may wait for a sender that is gone.
    let _ = sink.0.kill();
    sink.0.wait()?;
    let verdict = ended(&used).unwrap_or(Verdict::Done);
    let more = More {
        news: ends.told(),
        ..More::default()
    };
    Ok(outcome(task, contestant, verdict, &used, None, more))
}

/// Starts a program that says on its first line where it listens.
fn listening(
    mut command: std::process::Command,
) -> Result<((Child, BufReader<ChildStdout>), String), Failure> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    Ok(((child, stdout), line.trim_end().to_owned()))
}

/// An upload to the dev server.
fn run_upload(task: &Task, contestant: Contestant) -> Result<Outcome, Failure> {
    let ends = Ends::of(task.row)?;
    let plan = first_plan(task)?;
    let server = Server::start(task.tools, ends.server, &ends.server_ips, plan.as_deref())?;
    let (stop, stopped) = channel::<()>();
    let Played {
        used,
        sent,
        body_bytes,
        second,
        kills,
    } = std::thread::scope(|scope| {
        scope.spawn(|| follow_plans(task.row, &server, stopped));
        let played = play::upload(task, contestant, ends.client, &server);
        drop(stop);
        played
    })?;
    let verdict = match ended(&used) {
        Some(verdict) => verdict,
        None => stored(task, &server, &sent)?,
    };
    let more = More {
        news: ends.told(),
        second,
        kills,
        uploads: uploads(&used.said),
    };
    Ok(outcome(
        task,
        contestant,
        verdict,
        &used,
        Some(body_bytes),
        more,
    ))
}

/// Whether everything is there as it was sent.
fn stored(task: &Task, server: &Server, sent: &[Sent]) -> Result<Verdict, Failure> {
    for file in sent {
        let stored = server.stored(task.tools, &task.scratch, &file.key)?;
        if stored != Some((file.hash.clone(), file.size)) {
            return Ok(Verdict::Wrong);
        }
    }
    Ok(Verdict::Done)
}

/// The fault plan that holds from the start, as a file.
fn first_plan(task: &Task) -> Result<Option<PathBuf>, Failure> {
    let Some((_, plan)) = task.row.plans.iter().find(|(from_s, _)| *from_s == 0) else {
        return Ok(None);
    };
    let path = task.scratch.join("faults.toml");
    File::create(&path)?.write_all(plan.as_bytes())?;
    Ok(Some(path))
}

/// Gives the server the later plans when their time has come, until the upload has ended.
#[expect(
    clippy::print_stderr,
    reason = "a row that is not what it says must be seen"
)]
fn follow_plans(row: &Row, server: &Server, stopped: Receiver<()>) {
    let started = now();
    for (from_s, plan) in row.plans.iter().filter(|(from_s, _)| *from_s > 0) {
        let due = Duration::from_secs(*from_s).saturating_sub(started.elapsed());
        // Nothing is ever sent: it is over when the sender is gone.
        let is_over =
            stopped.recv_timeout(due) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected);
        if is_over {
            return;
        }
        if let Err(why) = server.follow(plan) {
            eprintln!("{}: the server does not follow its plan: {why}", row.name);
        }
    }
}

/// What the library's uploads have said.
fn uploads(said: &str) -> Vec<Upload> {
    said.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The verdict, unless it ended well as far as it knows.
fn ended(used: &Used) -> Option<Verdict> {
    match used.end {
        End::Itself(status) if status.success() => None,
        End::Itself(_) => Some(Verdict::Failed(last_words(&used.said))),
        End::Killed | End::Stopped => Some(Verdict::Hangs),
    }
}

fn outcome(
    task: &Task,
    contestant: Contestant,
    verdict: Verdict,
    used: &Used,
    body_bytes: Option<u64>,
    more: More,
) -> Outcome {
    Outcome {
        row: task.row.name,
        contestant,
        seed: task.seed,
        verdict,
        wall: used.wall,
        body_bytes,
        size: task.row.size,
        cpu_s: used.cpu_s,
        memory_mib: used.memory_mib,
        more,
    }
}

/// The last line that holds something.
fn last_words(said: &str) -> String {
    let mut lines = said.lines().rev().map(str::trim);
    let line = lines.find(|line| !line.is_empty()).unwrap_or("no word");
    line.chars().take(WORDS_MAX).collect()
}
