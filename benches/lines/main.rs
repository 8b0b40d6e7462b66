//! haul, a plain socket, curl and the official SDKs on the same slow and broken lines, in turn.
//!
//! `cargo bench --bench lines`, as root, on Linux; `-- --help` says how to choose rows. Each row is a
//! line between two network namespaces: the bottleneck is the kernel's own (`tc tbf`), latency, loss
//! and faults are made packet by packet by a program of this bench ([`hop`]). For every contestant the
//! line is made anew, so that none inherits what TCP learnt from the one before; the server is
//! `haul serve --discard`, whose counters say how many bytes of bodies arrived; and a success counts
//! only when the object that the server has is the file.
//!
//! The table says: the verdict, the wall as a multiple of what is *possible* and the seconds that it is
//! more, bytes of bodies as a multiple of the file, what the sending process cost, and whether what
//! must hold for haul does ([`bounds`]). Possible is what *raw* needs, one plain socket that sends the
//! same bytes and waits until they are read, on the same line without faults; a time in which the line
//! lets nothing pass comes on top ([`possible`]).
//!
//! Rows in which chance decides run with several seeds, and their mean counts. Some rows send several
//! files in one process, with the library that the bench was built with (`library`).
//!
//! What a machine lacks is said, and left out. Nothing here asserts a time: ratios within a run are
//! what can be compared. Runs on slow lines need next to no processor time; `loopback` needs a machine
//! that does nothing else.

mod bounds;
mod contestant;
mod fate;
mod files;
mod hop;
mod measure;
mod network;
mod options;
mod outcome;
mod packet;
mod play;
mod possible;
mod raw;
mod row;
mod row_run;
mod rows;
mod server;
mod table;
mod uploads;

#[path = "../../tests/outside/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use contestant::Contestant;
use options::Options;
use outcome::{More, Outcome, Verdict};
use row::Row;
use row_run::Task;

/// Whatever a bench may meet.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// The programs that are run.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) haul: PathBuf,
    pub(crate) server: PathBuf,
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
        ("ask", [url, call, body]) => server::ask(url, call, body),
        ("uploads", [order, state, files @ ..]) => uploads::run(order, Path::new(state), files),
        _ => Err("no such role".into()),
    }
}

/// Runs what was asked for.
#[expect(clippy::print_stdout, reason = "to print is what it is for")]
fn bench(options: &Options) -> Result<(), Failure> {
    let mut rows = rows::all();
    let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    rows.retain(|row| options.wants(row.name, &names));
    if options.is_list {
        for row in &rows {
            let each = row.possible(row.line_time()) * row.seeds as u32;
            let minutes = each.as_secs_f64() / 60.0;
            println!("{:<14} {minutes:4.1} min each  {}", row.name, row.story);
        }
        return Ok(());
    }
    for row in &mut rows {
        // One that is not left to chance is the same with every seed.
        row.seeds = match options.seeds {
            Some(seeds) if row.seeds > 1 => seeds,
            _ => row.seeds,
        };
    }
    if options.is_quick {
        rows = rows.into_iter().map(Row::quick).collect();
    }
    let left_out = left_out(options, &rows);
    let outcomes = run_rows(options, &rows)?;
    if !options.is_json {
        println!("\n{}", table::table(&rows, &outcomes));
        let rounds = options.rounds;
        println!("rounds: {rounds}; of several runs the median, of several seeds the mean");
        if options.is_quick {
            println!("quick: an eighth of the bytes that the table names");
        }
    }
    for what in left_out {
        println!("left out: {what}");
    }
    let misses = table::misses(&rows, &outcomes);
    match options.is_check && !misses.is_empty() {
        true => Err(format!("does not hold:\n{}", misses.join("\n")).into()),
        false => Ok(()),
    }
}

/// Runs the rows, as many at once as was asked for; those that need the processor one by one.
fn run_rows(options: &Options, rows: &[Row]) -> Result<Vec<Outcome>, Failure> {
    let outcomes = Mutex::new(Vec::new());
    let (fast, slow): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.is_fast());
    run_at_once(options, &slow, options.jobs, &outcomes)?;
    run_at_once(options, &fast, 1, &outcomes)?;
    Ok(outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

#[expect(clippy::print_stdout, reason = "to print is what it is for")]
fn run_at_once(
    options: &Options,
    rows: &[&Row],
    jobs: usize,
    outcomes: &Mutex<Vec<Outcome>>,
) -> Result<(), Failure> {
    let tools = Tools {
        haul: options.haul.clone(),
        server: options.server.clone(),
        haul_flags: options.haul_flags.clone(),
    };
    let waiting = Mutex::new(rows.iter());
    // Children die with the thread that started them: each row keeps its own to its end.
    let work = || -> Result<(), String> {
        loop {
            let next = lock(&waiting).next();
            let Some(row) = next else { return Ok(()) };
            match row.lacks() {
                Some(why) => println!("{}: not run: {why}", row.story),
                None => {
                    run_row(options, &tools, row, outcomes).map_err(|why| why.to_string())?;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let ended = threads.into_iter().map(|thread| {
            let ended = thread.join();
            ended.unwrap_or_else(|_| Err("a row has panicked".to_owned()))
        });
        ended.collect::<Result<(), String>>()
    })?;
    Ok(())
}

/// A list grows by whole entries: a panic in between leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What contestants lack on this machine.
fn left_out(options: &Options, rows: &[Row]) -> Vec<String> {
    let wanted = Contestant::ALL.into_iter().filter(|contestant| {
        options.has(*contestant) && rows.iter().any(|row| row.contestants.contains(contestant))
    });
    wanted.filter_map(Contestant::lacks).collect()
}

/// Runs every contestant of a row, round by round and seed by seed.
#[expect(clippy::print_stdout, reason = "to print is what it is for")]
fn run_row(
    options: &Options,
    tools: &Tools,
    row: &Row,
    outcomes: &Mutex<Vec<Outcome>>,
) -> Result<(), Failure> {
    let (contestants, folder) = (contestants(options, row), files::folder()?);
    let (whole, pieces) = files::generate(folder.path(), row)?;
    if !options.is_json {
        println!("{}: {}", row.name, row.story);
    }
    for (round, seed) in
        (1..=options.rounds).flat_map(|round| (1..=row.seeds).map(move |seed| (round, seed)))
    {
        let row = &row.with_seed(seed);
        let mut raw = None;
        for contestant in &contestants {
            let scratch = tempfile::tempdir_in(folder.path())?;
            let task = Task {
                tools,
                row,
                seed,
                whole: whole.clone(),
                pieces: pieces.clone(),
                scratch: scratch.path().to_owned(),
            };
            let outcome = row_run::run(&task, *contestant)
                .unwrap_or_else(|why| not_run(&task, *contestant, &why));
            if *contestant == Contestant::Raw && outcome.verdict.is_done() {
                raw = Some(outcome.wall);
            }
            match options.is_json {
                true => println!("{}", table::json(row, &outcome, round, raw)),
                false => println!("{}", table::line(row, &outcome)),
            }
            lock(outcomes).push(outcome);
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
fn not_run(task: &Task, contestant: Contestant, why: &Failure) -> Outcome {
    Outcome {
        row: task.row.name,
        contestant,
        seed: task.seed,
        verdict: Verdict::NotRun(why.to_string()),
        wall: Duration::ZERO,
        body_bytes: None,
        size: task.row.size,
        cpu_s: 0.0,
        memory_mib: 0.0,
        more: More::default(),
    }
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
