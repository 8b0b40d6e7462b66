//! The `haul` program: reads the command line, calls the library, writes to the terminal.
//!
//! One file per command, or for a few small ones. Nothing here decides how an upload goes.

mod args;
mod attempt;
mod canvas;
mod demo;
mod destination;
mod event;
mod exit;
mod explain;
mod list;
mod object;
mod policy_args;
mod progress;
mod put;
mod serve;
mod service;
mod signals;
mod small;
mod stdin;
mod terminal;
mod uploads;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;

pub use crate::config::Environment;
pub use terminal::Streams;

use crate::cli::args::{Command, ConfigCommand, Parsed};
use crate::cli::event::{Event, FailedEvent};
use crate::cli::signals::Signals;
use crate::cli::terminal::Terminal;
use crate::config::{Config, Settings};
use crate::error::{Error, ErrorKind};

/// Threads that run tasks. One upload needs one; the second keeps `local://`'s server beside it.
const WORKER_THREADS: usize = 2;

/// How long a read of the source may still take when the program ends: it is one read of 256 KiB.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(1);

/// Runs the program: `arguments` as the system gave them, the first being the program's name.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    streams: Streams,
) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let terminal = Arc::new(Terminal::new(streams));
    terminal.set_json(wants_json(&arguments, environment));
    let code = match Parsed::new(arguments) {
        Ok(parsed) => conclude(start(&parsed, environment, &terminal), &terminal),
        Err(error) => misread(&error, &terminal),
    };
    ExitCode::from(code)
}

/// Whether errors should be JSON even if the settings cannot be read.
fn wants_json(arguments: &[OsString], environment: &Environment) -> bool {
    let flag = arguments.iter().any(|argument| argument == "--json");
    flag || environment
        .get("HAUL_JSON")
        .is_some_and(|value| value == "true" || value == "1")
}

/// Reads the settings and runs the command on a runtime of its own.
fn start(
    parsed: &Parsed,
    environment: &Environment,
    terminal: &Arc<Terminal>,
) -> Result<(), Error> {
    let settings = Settings::resolve(|setting| parsed.values(setting), environment)?;
    if let Command::Completions { shell } = parsed.cli.command {
        return small::completions(shell, terminal);
    }
    if let Command::Config(ConfigCommand::Show) = parsed.cli.command {
        terminal.set_json(settings.is_json());
        return small::config_show(&settings, terminal);
    }
    let config = Config::new(&settings, environment)?;
    terminal.set_json(config.json);
    log_to_stderr(config.verbose, terminal);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Local, format!("cannot start: {error}")))?;
    let result = runtime.block_on(command(parsed, &config, environment, terminal));
    runtime.shutdown_timeout(SHUTDOWN_WAIT);
    result
}

/// Runs one command until it is done or a signal comes.
async fn command(
    parsed: &Parsed,
    config: &Config,
    environment: &Environment,
    terminal: &Arc<Terminal>,
) -> Result<(), Error> {
    let command = async {
        match &parsed.cli.command {
            Command::Put(arguments) => put::put(arguments, &parsed.line, config, terminal).await,
            Command::Demo(arguments) => {
                demo::demo(arguments.file.as_deref(), config, environment, terminal).await
            }
            Command::Uploads { command } => {
                uploads::uploads(command.as_ref(), config, terminal).await
            }
            Command::Stat(arguments) => object::stat(arguments, config, terminal).await,
            Command::Ls(arguments) => list::list(arguments, config, terminal).await,
            Command::Rm(arguments) => object::remove(arguments, config, terminal).await,
            Command::Etag(arguments) => small::etag(&arguments.files, terminal).await,
            Command::Token(arguments) => small::token(arguments, config, terminal),
            Command::Serve(arguments) => {
                serve::serve(arguments, config, environment, terminal).await
            }
            Command::Config(_) | Command::Completions { .. } => Ok(()),
        }
    };
    // These end in good order, by themselves.
    if matches!(
        parsed.cli.command,
        Command::Serve(_) | Command::Put(_) | Command::Demo(_)
    ) {
        return command.await;
    }
    let mut signals = Signals::new();
    tokio::select! {
        result = command => result,
        () = signals.next() => Err(Error::new(ErrorKind::Interrupted, "interrupted")
            .next("run the same line again")),
    }
}

/// Sends the log to stderr: with `-v` what happens, with `-vv` every call. Only haul's own lines,
/// since nobody has read what its dependencies would write; and none of the upload plane, whose
/// requests are told as events.
fn log_to_stderr(verbose: u8, terminal: &Arc<Terminal>) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let above_the_bar = Arc::clone(terminal);
    // Who reads lines has one upload before him: spans would only repeat its name.
    let no_spans = filter_fn(|metadata| !metadata.is_span());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || Lines(Arc::clone(&above_the_bar)))
        .with_ansi(terminal.err_is_terminal())
        .without_time()
        .with_target(false)
        .with_filter(no_spans);
    let targets = Targets::new()
        .with_target("haul", level)
        .with_target("haul::transport", LevelFilter::WARN.min(level));
    let subscriber = tracing_subscriber::registry().with(targets).with(lines);
    // A second call in one process, as in tests, keeps the first log.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Log lines on their way to the terminal.
struct Lines(Arc<Terminal>);

impl std::io::Write for Lines {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<usize> {
        self.0.write_err(&String::from_utf8_lossy(lines));
        Ok(lines.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Help and version go to stdout; what clap could not read is a usage error.
fn misread(error: &clap::Error, terminal: &Terminal) -> u8 {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return match terminal.raw(&text) {
            Ok(()) => exit::DONE,
            Err(error) => conclude(Err(error), terminal),
        };
    }
    terminal.say(text.trim_end());
    let first = text.lines().next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    tell_failure(
        &Error::new(ErrorKind::Usage, message).next("see haul --help"),
        terminal,
    )
}

/// Says how the command ended; the exit code.
fn conclude(result: Result<(), Error>, terminal: &Terminal) -> u8 {
    let Err(error) = result else {
        return exit::DONE;
    };
    for line in explain::lines(&error, terminal.width()) {
        terminal.say(&line);
    }
    tell_failure(&error, terminal)
}

/// Writes the last JSON line of a failed command; its exit code.
fn tell_failure(error: &Error, terminal: &Terminal) -> u8 {
    let exit = exit::code(error);
    let event = Event::Failed(Box::new(FailedEvent::new(error, exit)));
    // The command has failed already: there is nobody left to tell that stdout is full.
    let _ = terminal.event(&event);
    exit
}
