//! Whether a backend can run for months: 200 uploads at the same time, round after round, with faults
//! behind it, and what it holds afterwards.
//!
//! `cargo bench --bench backend` runs the example `backend` in front of `haul serve --discard` with a
//! fault plan: connections that are reset, 503, 573 and lost answers, each at one request in twenty. A
//! round is 200 uploads at the same time, from nothing to 6 MB, 293 MB together. Each must be reported
//! stored, and then stat must give the hash of its bytes, or reported failed, in words. After each round
//! resident memory and open descriptors of the example are read from /proc (Linux only).
//!
//! `-- --minutes 10` runs so long; one minute is the default. `-- --uploads 40` has fewer of them.
//!
//! It must hold that nothing grows: the mean of resident memory over the last third of the rounds is at
//! most 16 MiB above that over the first third, the first two rounds left out, and descriptors stay
//! within those of kept connections; else the exit code is 1.

#![cfg(unix)]
#![expect(clippy::print_stdout, reason = "to print is what it is for")]

#[path = "../tests/backend/load.rs"]
mod load;
#[path = "../tests/backend/process.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod process;
#[path = "../tests/outside/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use process::{Backend, until};
use support::content;
use support::server::Server;

/// Rounds that come before any measurement: pools fill, and the allocator takes its areas.
const WARM_UP: usize = 2;

/// What memory may vary by, in MiB: what the allocator keeps differs from round to round.
const GROWTH_MAX_MIB: f64 = 16.0;

/// Descriptors that may stay open: connections to the storage, kept for the next upload.
const DESCRIPTORS_KEPT: usize = 40;

/// What is asked for on the command line.
struct Wanted {
    minutes: u64,
    uploads: u64,
}

fn main() -> ExitCode {
    let wanted = Wanted {
        minutes: argument("--minutes").unwrap_or(1),
        uploads: argument("--uploads").unwrap_or(200),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("faults.toml");
    content::write(&plan, load::FAULTS);
    let place = vec!["--discard".into(), "--faults".into(), plan.into()];
    let server = Server::start_at(place, "127.0.0.1:0");
    let backend = Backend::start(&server, &[]);
    let (rss, descriptors) = backend.weight();
    println!(
        "{} uploads at the same time; at first {:.1} MiB and {descriptors} descriptors\n",
        wanted.uploads,
        mib(rss)
    );
    println!("round   seconds   stored   failed   MiB after   descriptors after");
    let memory_mib = rounds(&wanted, &server, &backend);
    let (begin, end) = thirds(&memory_mib);
    let is_steady = end - begin <= GROWTH_MAX_MIB;
    println!("\nmemory: {begin:.1} MiB in the first third, {end:.1} MiB in the last");
    println!("to hold: at most {GROWTH_MAX_MIB} MiB more");
    match is_steady {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Rounds until the time is over, and three at least beside the warm-up: resident memory after each, in
/// MiB.
#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn rounds(wanted: &Wanted, server: &Server, backend: &Backend) -> Vec<f64> {
    let begin = Instant::now();
    let limit = Duration::from_secs(60 * wanted.minutes);
    let mut memory_mib = Vec::new();
    for round in 0.. {
        if begin.elapsed() >= limit && memory_mib.len() >= 3 {
            break;
        }
        let round_begin = Instant::now();
        let tally = load::round(backend, server, wanted.uploads, round as u64);
        let seconds = round_begin.elapsed().as_secs_f64();
        until("descriptors are given back", || {
            backend.weight().1 <= DESCRIPTORS_KEPT
        });
        let (rss, descriptors) = backend.weight();
        println!(
            "{:5} {seconds:9.1} {:8} {:8} {:11.1} {descriptors:19}",
            round + 1,
            tally.stored,
            tally.failed,
            mib(rss)
        );
        if round >= WARM_UP {
            memory_mib.push(mib(rss));
        }
    }
    memory_mib
}

/// The means of the first and the last third.
fn thirds(values: &[f64]) -> (f64, f64) {
    let third = values.len() / 3;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    (
        mean(&values[..third]),
        mean(&values[values.len() - third..]),
    )
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The number behind `name` on the command line.
fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok())
}
