//! One process from its start to its end: how long, how much processor time, how much memory.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::{Failure, now, sleep};

/// Ticks of `/proc/*/stat` in a second: what every Linux shows, whatever its kernel's own clock.
const TICKS_PER_S: f64 = 100.0;

/// How often a process is looked at: closely while it is young, since it may be short-lived, then
/// seldom, since looking costs what is measured.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// Until when a process is young.
const YOUNG: Duration = Duration::from_secs(5);

/// Most of its last words that are kept, in bytes.
const SAID_MAX: u64 = 64 * 1024;

/// What one process used, and how it ended.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) end: End,
    pub(crate) wall: Duration,
    /// User and system.
    pub(crate) cpu_s: f64,
    /// Peak of resident memory.
    pub(crate) memory_mib: f64,
    /// The last that it wrote, to either output.
    pub(crate) said: String,
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself.
    Itself(ExitStatus),
    /// Killed, since it had said what was waited for.
    Killed,
    /// Stopped at the limit of time.
    Stopped,
}

/// Says whether the process is to be killed now: it hears what the process has written since it was
/// last asked, and the rest when it has ended.
pub(crate) type KillWhen<'a> = &'a mut dyn FnMut(&str) -> bool;

/// Runs `command` to its end, kills it when `kill_when` says so, and stops it when it has not ended
/// after `limit`.
pub(crate) fn run(
    command: &mut Command,
    limit: Duration,
    mut kill_when: Option<KillWhen>,
) -> Result<Used, Failure> {
    let mut said = Said::new()?;
    command.stdin(Stdio::null());
    command.stdout(said.writer()?).stderr(said.writer()?);
    let started = now();
    let mut child = command.spawn()?;
    let (mut memory_mib, mut cpu_s) = (0.0, 0.0);
    let end = loop {
        memory_mib = f64::max(memory_mib, peak_memory_mib(&child).unwrap_or(0.0));
        let is_over = match state(&child) {
            Some((is_over, cpu_so_far)) => {
                cpu_s = f64::max(cpu_s, cpu_so_far);
                is_over
            }
            // Where there is no `/proc`.
            None => child.try_wait()?.is_some(),
        };
        if is_over {
            break End::Itself(child.wait()?);
        }
        let age = started.elapsed();
        let is_due = match &mut kill_when {
            Some(is_due) => is_due(&said.new_words()?),
            None => false,
        };
        if is_due || age > limit {
            child.kill()?;
            let status = child.wait()?;
            // It may have been faster.
            break match (status.code(), is_due) {
                (Some(_), _) => End::Itself(status),
                (None, true) => End::Killed,
                (None, false) => End::Stopped,
            };
        }
        sleep(if age < YOUNG {
            LOOK_EVERY.0
        } else {
            LOOK_EVERY.1
        });
    };
    let wall = started.elapsed();
    if let Some(hear) = kill_when {
        hear(&said.new_words()?);
    }
    Ok(Used {
        end,
        wall,
        cpu_s,
        memory_mib,
        said: said.last_words()?,
    })
}

/// Both outputs of a process, in a file: a pipe would have to be emptied.
struct Said {
    file: tempfile::NamedTempFile,
    reader: File,
}

impl Said {
    fn new() -> io::Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        let reader = file.reopen()?;
        Ok(Self { file, reader })
    }

    fn writer(&self) -> io::Result<File> {
        self.file.as_file().try_clone()
    }

    /// What was written since it was last asked. A line may come in two pieces.
    fn new_words(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn last_words(&mut self) -> io::Result<String> {
        let len = self.reader.seek(SeekFrom::End(0))?;
        let from = SeekFrom::Start(len.saturating_sub(SAID_MAX));
        self.reader.seek(from)?;
        self.new_words()
    }
}

/// The high-water mark of a process's resident memory: the kernel keeps it, so only what a process
/// does in its last moments could be missed.
fn peak_memory_mib(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Whether a child has ended, and the processor time of all its threads in seconds, user and system.
/// One that has ended shows its last count until it is waited for: so it is looked at before.
fn state(child: &Child) -> Option<(bool, f64)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
    // The name, in parentheses, may hold anything; from there on, the state is the first field, utime
    // and stime the 12th and 13th (proc(5): 3, 14 and 15 of all).
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace();
    let is_over = matches!(fields.next()?, "Z" | "X");
    let ticks = fields.skip(10).take(2);
    let cpu_s = ticks
        .map(|field| field.parse::<f64>().unwrap_or(0.0) / TICKS_PER_S)
        .sum();
    Some((is_over, cpu_s))
}
