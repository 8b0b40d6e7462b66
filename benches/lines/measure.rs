//! One process from its start to its end: how long, how much processor time, how much memory.

use std::fs;
use std::io::{Read, Seek};
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

/// Most of its words that are kept, in bytes.
const SAID_MAX: usize = 64 * 1024;

/// What one process used, and how it ended.
pub(crate) struct Used {
    /// Nothing when it had to be stopped.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) wall: Duration,
    /// User and system.
    pub(crate) cpu_s: f64,
    /// Peak of resident memory.
    pub(crate) memory_mib: f64,
    /// Everything it wrote, to either output.
    pub(crate) said: String,
}

/// Runs `command` to its end; stops it when it has not ended after `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Used, Failure> {
    let mut said = tempfile::tempfile()?;
    command.stdin(Stdio::null());
    command.stdout(said.try_clone()?).stderr(said.try_clone()?);
    let before = cpu_of_ended_children();
    let started = now();
    let mut child = command.spawn()?;
    let mut memory_mib = 0.0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        memory_mib = f64::max(memory_mib, peak_memory_mib(&child).unwrap_or(0.0));
        let age = started.elapsed();
        if age > limit {
            child.kill()?;
            child.wait()?;
            break None;
        }
        sleep(if age < YOUNG {
            LOOK_EVERY.0
        } else {
            LOOK_EVERY.1
        });
    };
    let wall = started.elapsed();
    let mut text = Vec::new();
    said.rewind()?;
    said.take(SAID_MAX as u64).read_to_end(&mut text)?;
    Ok(Used {
        status,
        wall,
        cpu_s: cpu_of_ended_children() - before,
        memory_mib,
        said: String::from_utf8_lossy(&text).into_owned(),
    })
}

/// The high-water mark of a process's resident memory: the kernel keeps it, so only what a process
/// does in its last moments could be missed.
fn peak_memory_mib(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Processor time, user and system, of all children that were waited for, in seconds.
fn cpu_of_ended_children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may hold anything; from there on, cutime and cstime are the 14th and
    // 15th field (proc(5): 16 and 17 of all).
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_whitespace().skip(13).take(2);
    ticks
        .map(|field| field.parse::<f64>().unwrap_or(0.0) / TICKS_PER_S)
        .sum()
}
