//! The two streams: data on stdout, everything for people on stderr.

use std::io::{ErrorKind as IoErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::canvas::{Canvas, MARGIN, SharedWriter};
use crate::cli::event::Event;
pub(crate) use crate::error::words::printable;
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
    state: Mutex<State>,
    err: SharedWriter,
    err_is_terminal: bool,
    /// The lines at the bottom that are drawn anew again and again: everything else for people is
    /// written above them.
    bar: Mutex<Option<ProgressBar>>,
}

struct State {
    out: Box<dyn Write + Send>,
    /// The reader of stdout went away: `haul ls … | head`. That is no error.
    out_is_gone: bool,
    json: bool,
}

impl Terminal {
    /// A terminal over `streams`, plain until [`Terminal::set_json`].
    pub(crate) fn new(streams: Streams) -> Self {
        Self {
            err_is_terminal: streams.err_is_terminal,
            err: SharedWriter::new(streams.err),
            bar: Mutex::default(),
            state: Mutex::new(State {
                out: streams.out,
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

    /// Whether there can be a bar: a person watches, no program listens, and lines can be erased.
    pub(crate) fn takes_bar(&self) -> bool {
        // Old consoles show the erasing instead of doing it; asking switches newer ones to it.
        let erases = !cfg!(windows) || Term::stderr().features().colors_supported();
        self.err_is_terminal && !self.is_json() && erases
    }

    /// Draws these lines in place of the last ones; none takes the bar away. They must be narrower
    /// than [`Terminal::bar_width`]: what wraps is not erased.
    pub(crate) fn draw(&self, lines: &[String]) {
        let mut slot = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            if let Some(bar) = slot.take() {
                bar.finish_and_clear();
            }
            return;
        }
        let bar = slot.get_or_insert_with(|| self.new_bar());
        bar.set_message(lines.join("\n"));
        bar.tick();
    }

    /// Columns that a line of the bar may have.
    pub(crate) fn bar_width(&self) -> usize {
        let width = self.width().unwrap_or(usize::MAX);
        width.saturating_sub(usize::from(MARGIN))
    }

    /// Says a line to people, above the bar if there is one. Nobody listening is no error.
    pub(crate) fn say(&self, line: &str) {
        self.write_err(&format!("{line}\n"));
    }

    /// Writes whole lines to people.
    pub(crate) fn write_err(&self, lines: &str) {
        let write = || {
            let _ = self.err.write(lines);
        };
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match bar.as_ref() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// A bar without a layout of its own: its lines are made where the upload is known.
    fn new_bar(&self) -> ProgressBar {
        let canvas = Canvas::new(self.err.clone());
        let target = ProgressDrawTarget::term_like(Box::new(canvas));
        let style = ProgressStyle::with_template("{msg}");
        let bar = ProgressBar::with_draw_target(None, target);
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write_out(&mut self, line: &str) -> Result<(), Error> {
        if self.out_is_gone {
            return Ok(());
        }
        let out = &mut self.out;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What was written, for whoever asks.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A terminal as a person sees it: rows of text and a cursor, for what is written here.
    fn seen(bytes: &[u8]) -> Vec<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (mut rows, mut row, mut column) = (vec![String::new()], 0, 0);
        let mut rest = text.as_str();
        while let Some(char) = rest.chars().next() {
            if let Some(tail) = rest.strip_prefix("\x1b[2K") {
                rows[row].clear();
                rest = tail;
                continue;
            }
            if let Some(tail) = rest.strip_prefix("\x1b[1A") {
                row -= 1;
                rest = tail;
                continue;
            }
            if let Some(tail) = rest.strip_prefix("\x1b[1B") {
                row += 1;
                rest = tail;
                continue;
            }
            rest = &rest[char.len_utf8()..];
            match char {
                '\n' => (row, column) = (row + 1, 0),
                '\r' => column = 0,
                char => {
                    rows.resize(rows.len().max(row + 1), String::new());
                    rows[row].truncate(column);
                    rows[row].push(char);
                    column += 1;
                }
            }
            rows.resize(rows.len().max(row + 1), String::new());
        }
        rows.retain(|row| !row.is_empty());
        rows
    }

    /// The bar stays at the bottom, whatever is said, and leaves nothing behind.
    #[test]
    fn the_bar_stays_below() {
        let written = Written::default();
        let terminal = Terminal::new(Streams {
            out: Box::new(std::io::sink()),
            err: Box::new(written.clone()),
            err_is_terminal: true,
        });
        let draw = |lines: &[&str]| {
            terminal.draw(
                &lines
                    .iter()
                    .map(|line| line.to_string())
                    .collect::<Vec<_>>(),
            )
        };
        let expect = |rows: &[&str]| assert_eq!(seen(&written.0.lock().unwrap()), rows);
        draw(&["bar 1"]);
        terminal.say("said");
        expect(&["said", "bar 1"]);
        draw(&["bar 2", "below"]);
        expect(&["said", "bar 2", "below"]);
        terminal.say("more");
        expect(&["said", "more", "bar 2", "below"]);
        draw(&["bar 3"]);
        expect(&["said", "more", "bar 3"]);
        draw(&[]);
        terminal.say("the end");
        expect(&["said", "more", "the end"]);
    }
}
