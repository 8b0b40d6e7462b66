//! What many uploads at once cost a process that makes them with the library: memory, descriptors, and
//! whether each of them has its turn.
//!
//! `cargo bench --bench service` runs three cases, each in a process of its own, against a dev server
//! that keeps no bytes (`haul serve --discard`): one stream of 5 GiB and of unknown length; 10 000 pieces
//! of data of 100 KB at once; 1 000 streams of 6 MB and of unknown length at once. `-- NAME…` chooses. In
//! each, what every upload says about its object must be its hash and length, and the process must stay
//! within what `haul::guide::guarantees` says ([`memory_max_mib`]) and within its descriptors
//! ([`DESCRIPTORS_MAX`]); else the exit code is 1. Linux only: the numbers come from /proc.
//!
//! Nothing here asserts a time. Of the times of many uploads the table shows how far apart they are.

#![expect(clippy::print_stdout, reason = "to print is what it is for")]

#[path = "../tests/outside/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::fs;
use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, stream};
use haul::kodo::{Etag, EtagHasher};
use haul::{Event, Uploader};
use tokio::task::JoinSet;

use support::content::{self, MIB};
use support::server::Server;

/// What a process holds that uploads nothing, in MiB: its own pages, the runtime, TLS.
const BASE_MIB: f64 = 16.0;

/// Memory that all streams of an uploader have together, unless set; in MiB.
const STREAM_MEMORY_MIB: f64 = 128.0;

/// What an upload that waits or runs holds beside its bytes, in KiB.
const UPLOAD_KIB: f64 = 48.0;

/// Most descriptors: two for each lane that the line is worth at most (32), since a connection may still be
/// closing when its lane has the next, and what a process has in any case.
const DESCRIPTORS_MAX: usize = 2 * 32 + 20;

/// How often memory's peak and descriptors are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One case.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    uploads: usize,
    /// Bytes of each.
    len: u64,
    streams: bool,
}

const CASES: [Case; 3] = [
    Case {
        name: "one-stream",
        uploads: 1,
        len: 5 << 30,
        streams: true,
    },
    Case {
        name: "data",
        uploads: 10_000,
        len: 100_000,
        streams: false,
    },
    Case {
        name: "streams",
        uploads: 1_000,
        len: 6_000_000,
        streams: true,
    },
];

/// Most resident memory of a process that runs `case`: the formula of `haul::guide::guarantees`.
fn memory_max_mib(case: Case) -> f64 {
    let streams = if case.streams { STREAM_MEMORY_MIB } else { 0.0 };
    BASE_MIB + streams + case.uploads as f64 * UPLOAD_KIB / 1024.0
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, url, access_key, secret_key] = &arguments[..]
        && flag == "--run"
    {
        let case = CASES.into_iter().find(|case| case.name == name.as_str());
        return run(case.expect("a case"), [url, access_key, secret_key]);
    }
    let wanted = |case: &Case| {
        let mut named = arguments
            .iter()
            .filter(|it| !it.starts_with('-'))
            .peekable();
        named.peek().is_none() || named.any(|name| name == case.name)
    };
    println!(
        "case        uploads  bytes each   peak MiB  allowed   descriptors  seconds  first word after, s: median, last"
    );
    let cases = CASES.into_iter().filter(wanted);
    let held = cases.map(measure).fold(true, |all, held| all & held);
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs a case in a process of its own; whether it holds.
fn measure(case: Case) -> bool {
    let server = Server::start_at(vec!["--discard".into()], "127.0.0.1:0");
    let listening = &server.listening;
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .args(["--run", case.name, &listening.url])
        .args([&listening.access_key, &listening.secret_key])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (mut memory_mib, mut descriptors) = (0.0, 0);
    let status = format!("/proc/{}/status", child.id());
    let open = format!("/proc/{}/fd", child.id());
    while child.try_wait().expect("it can be waited for").is_none() {
        memory_mib = f64::max(memory_mib, peak_memory_mib(&status).unwrap_or(0.0));
        descriptors = descriptors.max(fs::read_dir(&open).map_or(0, Iterator::count));
        pause();
    }
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stdout);
    let (
        allowed,
        Case {
            name, uploads, len, ..
        },
    ) = (memory_max_mib(case), case);
    let held = output.status.success() && memory_mib <= allowed && descriptors <= DESCRIPTORS_MAX;
    let verdict = if held { "" } else { "   MISSED" };
    println!(
        "{name:<10} {uploads:>8} {len:>11} {memory_mib:>10.1} {allowed:>8.0} {descriptors:>13}  {}{verdict}",
        told.trim()
    );
    held
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing rings when a process's memory grows"
)]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

/// The high-water mark of a process's resident memory.
fn peak_memory_mib(status: &str) -> Option<f64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

// ----- in the process that is measured

fn run(case: Case, [url, access_key, secret_key]: [&str; 3]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let uploader = Uploader::builder()
        .endpoint(url)
        .credentials(access_key, secret_key)
        .build()
        .expect("an uploader");
    let wrong = runtime.block_on(upload_all(case, uploader));
    match wrong {
        0 => ExitCode::SUCCESS,
        wrong => {
            println!("{wrong} uploads failed or were wrong");
            ExitCode::FAILURE
        }
    }
}

/// Makes all uploads of `case` at once, and says how long they took; how many were not right.
async fn upload_all(case: Case, uploader: Uploader) -> usize {
    let began = now();
    let firsts: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let pattern = Bytes::from(content::bytes(1, 2 * MIB));
    let mut uploads = JoinSet::new();
    let wrong = Arc::new(AtomicUsize::new(0));
    for number in 0..case.uploads {
        let key = format!("{}/{number}", case.name);
        let put = match case.streams {
            true => uploader.put_stream("bench-bucket", key, pieces(&pattern, number, case.len)),
            false => {
                let len = usize::try_from(case.len).expect("it fits");
                uploader.put_data("bench-bucket", key, pattern.slice(number..number + len))
            }
        };
        let heard = Arc::clone(&firsts);
        let once = AtomicUsize::new(0);
        let put = put.on_event(move |event| {
            if let Event::Progress {
                acknowledged_bytes: 1..,
                ..
            } = event
                && once.fetch_add(1, Ordering::Relaxed) == 0
            {
                heard.lock().expect("no panic").push(now() - began);
            }
        });
        let (wrong, pattern) = (Arc::clone(&wrong), pattern.clone());
        uploads.spawn(async move {
            let done = put.await;
            let expected = hash(&pattern, number, case.len);
            let right = done.is_ok_and(|done| done.size == case.len && done.hash == expected);
            wrong.fetch_add(usize::from(!right), Ordering::Relaxed);
        });
    }
    while uploads.join_next().await.is_some() {}
    let took = (now() - began).as_secs_f64();
    let mut firsts = std::mem::take(&mut *firsts.lock().expect("no panic"));
    firsts.sort();
    let at = |index: usize| firsts.get(index).map_or(0.0, Duration::as_secs_f64);
    let (median, last) = (at(firsts.len() / 2), at(firsts.len().saturating_sub(1)));
    print!("{took:>7.1}  {median:.1}, {last:.1}");
    wrong.load(Ordering::Relaxed)
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// `len` bytes as a connection gives them: pieces of 64 KiB, other ones for every `number`.
fn pieces(
    pattern: &Bytes,
    number: usize,
    len: u64,
) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    let pattern = pattern.clone();
    stream::iter(spans(number, len).map(move |(from, to)| Ok(pattern.slice(from..to))))
}

/// Where in the pattern the pieces of upload `number` lie.
fn spans(number: usize, len: u64) -> impl Iterator<Item = (usize, usize)> {
    const PIECE: u64 = 64 * 1024;
    (0..len.div_ceil(PIECE)).map(move |piece| {
        let from = (number + 7919 * usize::try_from(piece).unwrap_or(0)) % MIB;
        let piece_len = PIECE.min(len - piece * PIECE);
        (from, from + usize::try_from(piece_len).unwrap_or(0))
    })
}

/// The hash that the service gives to it.
fn hash(pattern: &Bytes, number: usize, len: u64) -> Etag {
    if len <= 100_000 {
        let len = usize::try_from(len).unwrap_or(0);
        return Etag::of(&pattern[number..number + len]);
    }
    let mut hasher = EtagHasher::default();
    for (from, to) in spans(number, len) {
        hasher.update(&pattern[from..to]);
    }
    hasher.finish()
}
