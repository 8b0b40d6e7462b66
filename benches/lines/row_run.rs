//! One contestant on one row: the line is made, the server started, the upload measured, and what
//! is stored is looked at.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use crate::contestant::Contestant;
use crate::measure::{self, Used};
use crate::network::{Network, Place, SERVER_IP};
use crate::rows::Row;
use crate::server::Server;
use crate::{Failure, Tools};

/// Longest part of a contestant's words that a verdict repeats, in characters.
const WORDS_MAX: usize = 160;

/// What is to be done.
pub(crate) struct Task<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) row: &'a Row,
    /// What is sent, and its hash.
    pub(crate) file: PathBuf,
    pub(crate) hash: String,
    /// A folder for what a contestant keeps; fresh for each.
    pub(crate) scratch: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) row: &'static str,
    pub(crate) contestant: Contestant,
    pub(crate) verdict: Verdict,
    pub(crate) wall: Duration,
    /// Bytes of bodies that the server read; plain sockets have no bodies.
    pub(crate) body_bytes: Option<u64>,
    pub(crate) size: u64,
    pub(crate) cpu_s: f64,
    pub(crate) memory_mib: f64,
    /// What went wrong on the line by plan.
    pub(crate) faults: Vec<String>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It reported success, and the object is the file.
    Done,
    /// It reported a failure: its last words.
    Failed(String),
    /// It had to be stopped.
    Hangs,
    /// It reported success, and the object is another, or there is none.
    Wrong,
    /// The row could not be run.
    NotRun(String),
}

impl Verdict {
    pub(crate) fn is_done(&self) -> bool {
        *self == Self::Done
    }
}

/// The places where the two ends run, and the line between them.
struct Ends {
    client: Place,
    server: Place,
    server_ip: &'static str,
    network: Option<Network>,
}

impl Ends {
    fn of(row: &Row) -> Result<Self, Failure> {
        let Some(shape) = &row.line else {
            let here = Place::Here;
            return Ok(Self {
                client: here,
                server: here,
                server_ip: "127.0.0.1",
                network: None,
            });
        };
        let network = Network::new(shape)?;
        Ok(Self {
            client: network.client,
            server: network.server,
            server_ip: SERVER_IP,
            network: Some(network),
        })
    }

    fn said(&self) -> Vec<String> {
        self.network.as_ref().map(Network::said).unwrap_or_default()
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
    command.args(["--role", &role("sink"), &format!("{}:0", ends.server_ip)]);
    let (mut sink, address) = listening(command)?;
    let mut command = ends.client.command(&program);
    command
        .args(["--role", &role("send")])
        .arg(&task.file)
        .arg(address);
    let used = measure::run(&mut command, task.row.limit())?;
    // It may wait for a sender that is gone.
    let _ = sink.0.kill();
    sink.0.wait()?;
    let verdict = match used.status {
        None => Verdict::Hangs,
        Some(status) if status.success() => Verdict::Done,
        Some(_) => Verdict::Failed(last_words(&used.said)),
    };
    Ok(outcome(task, contestant, verdict, &used, None, Vec::new()))
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
    let plan = write_plan(task)?;
    let server = Server::start(task.tools, ends.server, ends.server_ip, plan.as_deref())?;
    let mut command = contestant.command(task, ends.client, &server)?;
    let used = measure::run(&mut command, task.row.limit())?;
    let body_bytes = server.body_bytes()?;
    let verdict = match used.status {
        None => Verdict::Hangs,
        Some(status) if !status.success() => Verdict::Failed(last_words(&used.said)),
        Some(_) => {
            let stored = server.stored(task.tools, &task.scratch)?;
            match stored == Some((task.hash.clone(), task.row.size)) {
                true => Verdict::Done,
                false => Verdict::Wrong,
            }
        }
    };
    Ok(outcome(
        task,
        contestant,
        verdict,
        &used,
        Some(body_bytes),
        ends.said(),
    ))
}

/// The row's fault plan as a file, if it has one.
fn write_plan(task: &Task) -> Result<Option<PathBuf>, Failure> {
    if task.row.body_fault.is_empty() {
        return Ok(None);
    }
    let path: &Path = &task.scratch.join("faults.toml");
    let operations = r#"operation = ["mkblk", "bput", "part", "form"]"#;
    let plan = format!("[[fault]]\n{operations}\n{}\n", task.row.body_fault);
    File::create(path)?.write_all(plan.as_bytes())?;
    Ok(Some(path.to_owned()))
}

fn outcome(
    task: &Task,
    contestant: Contestant,
    verdict: Verdict,
    used: &Used,
    body_bytes: Option<u64>,
    faults: Vec<String>,
) -> Outcome {
    Outcome {
        row: task.row.name,
        contestant,
        verdict,
        wall: used.wall,
        body_bytes,
        size: task.row.size,
        cpu_s: used.cpu_s,
        memory_mib: used.memory_mib,
        faults,
    }
}

/// The last line that holds something.
fn last_words(said: &str) -> String {
    let mut lines = said.lines().rev().map(str::trim);
    let line = lines.find(|line| !line.is_empty()).unwrap_or("no word");
    line.chars().take(WORDS_MAX).collect()
}
