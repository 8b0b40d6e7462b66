//! The two streams: data on stdout, everything for people on stderr.

use std::io::{ErrorKind as IoErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::event::Event;
use crate::error::{Error, ErrorKind};

/// Where the program writes.
pub struct Streams {
    /// Data.
    pub out: Box<dyn Write + Send>,
    /// Progress and messages.
    pub err: Box<dyn Write + Send>,
    /// Whether a person watches `err`.
    pub err_is_terminal: bool,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Streams")
    }
}

/// The streams behind a lock, and how to write on them.
pub(crate) struct Terminal {
    streams: Mutex<State>,
    err_is_terminal: bool,
    /// The bar that is being drawn: everything else is written above it.
    bar: Mutex<Option<ProgressBar>>,
}

/// A few lines at the bottom of the terminal that are drawn anew again and again.
pub(crate) struct Bar(ProgressBar);

struct State {
    streams: Streams,
    /// The reader of stdout went away: `haul ls … | head`. That is no error.
    out_is_gone: bool,
    json: bool,
}

impl Terminal {
    /// A terminal over `streams`, plain until [`Terminal::set_json`].
    pub(crate) fn new(streams: Streams) -> Self {
        Self {
            err_is_terminal: streams.err_is_terminal,
            bar: Mutex::default(),
            streams: Mutex::new(State {
                streams,
                out_is_gone: false,
                json: false,
            }),
        }
    }

    /// From now on data is JSON.
    pub(crate) fn set_json(&self, json: bool) {
        self.lock().json = json;
    }

    /// Whether data is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.lock().json
    }

    /// Whether a person watches stderr.
    pub(crate) fn err_is_terminal(&self) -> bool {
        self.err_is_terminal
    }

    /// Columns that a line for people may have; none where no person watches. The last column stays
    /// free: some terminals wrap behind it.
    pub(crate) fn width(&self) -> Option<usize> {
        let (_, columns) = Term::stderr().size();
        self.err_is_terminal
            .then(|| usize::from(columns).saturating_sub(1).max(1))
    }

    /// Whether nobody reads stdout any more: a long list may stop.
    pub(crate) fn out_is_gone(&self) -> bool {
        self.lock().out_is_gone
    }

    /// Writes one line of data, or the event in its place when data is JSON.
    pub(crate) fn data(&self, line: &str, event: &Event<'_>) -> Result<(), Error> {
        let mut state = self.lock();
        let json = if state.json { Some(event.line()) } else { None };
        state.write_out(json.as_deref().unwrap_or(line))
    }

    /// Writes `event` when data is JSON, else nothing.
    pub(crate) fn event(&self, event: &Event<'_>) -> Result<(), Error> {
        let mut state = self.lock();
        if !state.json {
            return Ok(());
        }
        state.write_out(&event.line())
    }

    /// Writes `text` to stdout as it is: help, completions.
    pub(crate) fn raw(&self, text: &str) -> Result<(), Error> {
        self.lock().write_out(text.trim_end_matches('\n'))
    }

    /// Says a line to people, above the bar if there is one. Nobody listening is no error.
    pub(crate) fn say(&self, line: &str) {
        self.write_err(format!("{line}\n").as_bytes());
    }

    /// Writes whole lines to people.
    pub(crate) fn write_err(&self, lines: &[u8]) {
        let write = || {
            let mut state = self.lock();
            let _ = state.streams.err.write_all(lines);
            let _ = state.streams.err.flush();
        };
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match bar.as_ref().filter(|bar| !bar.is_finished()) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bar {
    /// A bar on `terminal`, if a person watches and no program listens.
    pub(crate) fn on(terminal: &Terminal) -> Option<Self> {
        if !terminal.err_is_terminal() || terminal.is_json() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The lines are made here: the layout must fit the terminal, whatever stands in it.
        let style = ProgressStyle::with_template("{msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let mut slot = terminal.bar.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(bar.clone());
        Some(Self(bar))
    }

    /// Draws these lines in place of the last ones.
    pub(crate) fn draw(&self, lines: &[String]) {
        self.0.set_message(lines.join("\n"));
        self.0.tick();
    }

    /// Takes the lines away for good.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl State {
    fn write_out(&mut self, line: &str) -> Result<(), Error> {
        if self.out_is_gone {
            return Ok(());
        }
        let out = &mut self.streams.out;
        match writeln!(out, "{line}").and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == IoErrorKind::BrokenPipe => {
                self.out_is_gone = true;
                Ok(())
            }
            Err(error) => Err(Error::new(
                ErrorKind::Local,
                format!("cannot write to stdout: {error}"),
            )),
        }
    }
}

/// `text` with its control characters escaped, so that a key cannot write on the terminal or break
/// a line of output in two. JSON output has the exact text.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}
