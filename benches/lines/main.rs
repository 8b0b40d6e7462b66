//! haul, a plain socket, curl and the official SDKs on the same slow and broken lines, in turn.
//!
//! `cargo bench --bench lines`, as root, on Linux; `-- --help` says how to choose rows. Each row is a
//! line between two network namespaces: the bottleneck is the kernel's own (`tc tbf`), latency, loss
//! and faults are made packet by packet by a program of this bench ([`hop`]). For every contestant the
//! line is made anew, so that none inherits what TCP learnt from the one before; the server is
//! `haul serve --discard`, whose counters say how many bytes of bodies arrived; and a success counts
//! only when the object that the server has is the file.
//!
//! The table says: the verdict, the wall as a multiple of *raw*'s, which is one plain socket that sends
//! the same bytes and waits until they are read, bytes of bodies as a multiple of the file, and what
//! the sending process cost. In rows with faults raw runs on the same line without them: there it is
//! what a perfect uploader could reach.
//!
//! What a machine lacks is said, and left out. Nothing here asserts a time: ratios within a run are
//! what can be compared. Runs on slow lines need next to no processor time; `loopback` needs a machine
//! that does nothing else.

mod contestant;
mod fate;
mod hop;
mod measure;
mod network;
mod options;
mod packet;
mod raw;
mod row_run;
mod rows;
mod server;
mod table;

#[path = "../../tests/outside/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use haul::kodo::EtagHasher;

use contestant::Contestant;
use options::Options;
use row_run::{Outcome, Task, Verdict};
use rows::Row;
use support::content;

/// Whatever a bench may meet.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// The programs that are run.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) haul: PathBuf,
    pub(crate) haul_flags: Vec<String>,
}

#[expect(clippy::print_stderr, reason = "to whoever started it")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        [flag, role, rest @ ..] if flag == "--role" => play(role, rest),
        _ if arguments
            .iter()
            .any(|word| word == "--help" || word == "-h") =>
        {
            eprintln!("{}", options::USAGE);
            Ok(())
        }
        _ => Options::parse(arguments.into_iter())
            .map_err(|why| format!("{why}\n\n{}", options::USAGE).into())
            .and_then(|options| bench(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// What this program does as a part of a run: the bench starts itself again in other namespaces.
fn play(role: &str, arguments: &[String]) -> Result<(), Failure> {
    match (role, arguments) {
        ("hop", [setup]) => hop::run(setup),
        ("sink", [address]) => raw::sink(address, false),
        ("sink-hashed", [address]) => raw::sink(address, true),
        ("send", [file, address]) => raw::send(Path::new(file), address, false),
        ("send-hashed", [file, address]) => raw::send(Path::new(file), address, true),
        ("ask", [url]) => server::ask(url),
        _ => Err("no such role".into()),
    }
}

/// Runs what was asked for.
#[expect(clippy::print_stdout, reason = "to print is what it is for")]
fn bench(options: &Options) -> Result<(), Failure> {
    let mut rows = rows::all();
    rows.retain(|row| options.wants(row.name));
    if options.is_list {
        for row in &rows {
            let minutes = row.line_time().as_secs_f64() / 60.0;
            println!("{:<12} {:4.1} min each  {}", row.name, minutes, row.story);
        }
        return Ok(());
    }
    if options.is_quick {
        rows = rows.into_iter().map(Row::quick).collect();
    }
    let tools = Tools {
        haul: options.haul.clone(),
        haul_flags: options.haul_flags.clone(),
    };
    let left_out = left_out(options, &rows);
    let mut outcomes = Vec::new();
    for row in &rows {
        if let Some(why) = row.lacks() {
            println!("{}: not run: {why}", row.story);
            continue;
        }
        run_row(options, &tools, row, &mut outcomes)?;
    }
    if !options.is_json {
        println!("\n{}", table::table(&rows, &outcomes));
        println!("rounds: {}; the table has their median", options.rounds);
        if options.is_quick {
            println!("quick: an eighth of the bytes that the table names");
        }
    }
    for what in left_out {
        println!("left out: {what}");
    }
    Ok(())
}

/// What contestants lack on this machine.
fn left_out(options: &Options, rows: &[Row]) -> Vec<String> {
    let wanted = Contestant::ALL.into_iter().filter(|contestant| {
        options.has(*contestant) && rows.iter().any(|row| row.contestants.contains(contestant))
    });
    wanted.filter_map(Contestant::lacks).collect()
}

/// Runs every contestant of a row, round by round.
#[expect(clippy::print_stdout, reason = "to print is what it is for")]
fn run_row(
    options: &Options,
    tools: &Tools,
    row: &Row,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), Failure> {
    let (contestants, folder) = (contestants(options, row), folder()?);
    let (file, hash) = generate(folder.path(), row.size)?;
    for round in 1..=options.rounds {
        if !options.is_json {
            println!("{} (round {round} of {})", row.story, options.rounds);
        }
        let mut raw = None;
        for contestant in &contestants {
            let scratch = tempfile::tempdir_in(folder.path())?;
            let task = Task {
                tools,
                row,
                file: file.clone(),
                hash: hash.clone(),
                scratch: scratch.path().to_owned(),
            };
            let outcome = row_run::run(&task, *contestant)
                .unwrap_or_else(|why| not_run(row, *contestant, &why));
            if *contestant == Contestant::Raw && outcome.verdict.is_done() {
                raw = Some(outcome.wall);
            }
            match options.is_json {
                true => println!("{}", table::json(&outcome, round, raw)),
                false => println!("{}", table::line(&outcome)),
            }
            outcomes.push(outcome);
        }
    }
    Ok(())
}

/// Those who run on a row and can.
fn contestants(options: &Options, row: &Row) -> Vec<Contestant> {
    let all = row.contestants.iter().copied();
    all.filter(|contestant| options.has(*contestant) && contestant.lacks().is_none())
        .collect()
}

/// A run that did not come about.
fn not_run(row: &Row, contestant: Contestant, why: &Failure) -> Outcome {
    Outcome {
        row: row.name,
        contestant,
        verdict: Verdict::NotRun(why.to_string()),
        wall: Duration::ZERO,
        body_bytes: None,
        size: row.size,
        cpu_s: 0.0,
        memory_mib: 0.0,
        faults: Vec::new(),
    }
}

/// A folder for one row's file. Its name says whose it is: what benches that were killed have left
/// is removed.
fn folder() -> Result<tempfile::TempDir, Failure> {
    const PREFIX: &str = "lines-of-";
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(home)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('.').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Somebody else may be removing it, too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{PREFIX}{}.", std::process::id());
    Ok(tempfile::Builder::new().prefix(&prefix).tempdir_in(home)?)
}

/// Writes the file that is sent; every block is another. Gives its path and its hash.
fn generate(folder: &Path, size: u64) -> Result<(PathBuf, String), Failure> {
    let path = folder.join("file.bin");
    let mut file = BufWriter::new(File::create_new(&path)?);
    let mut hasher = EtagHasher::new();
    let mut left = usize::try_from(size)?;
    for block in 1.. {
        let len = left.min(content::BLOCK);
        if len == 0 {
            break;
        }
        let bytes = content::bytes(block, len);
        hasher.update(&bytes);
        file.write_all(&bytes)?;
        left -= len;
    }
    // On the disk before anything is measured: writing back is no part of an upload.
    file.into_inner()
        .map_err(|error| error.into_error())?
        .sync_all()?;
    Ok((path, hasher.finish().to_string()))
}

// ----- the one clock of the bench

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a token's life is told by the calendar"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "packets are under way for a time"
)]
pub(crate) fn sleep(time: Duration) {
    std::thread::sleep(time);
}
