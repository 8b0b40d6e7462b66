//! The two streams: data on stdout, everything for people on stderr.

use std::io::{ErrorKind as IoErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
}

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

    /// Says a line to people. Nobody listening is no error.
    pub(crate) fn say(&self, line: &str) {
        let mut state = self.lock();
        let _ = writeln!(state.streams.err, "{line}");
        let _ = state.streams.err.flush();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
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
