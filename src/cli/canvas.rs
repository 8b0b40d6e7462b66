//! Where the bar is drawn: the terminal behind stderr, as the crate that draws the bar sees it.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use console::Term;
use indicatif::TermLike;

/// Columns at the right that stay free: some terminals wrap behind the last one, and the `^C` that a
/// terminal writes where the cursor stands must not push the bar on.
pub(crate) const MARGIN: u16 = 3;

/// Lines that a bar may have; it has two or three.
const HEIGHT: u16 = 10;

/// A stream that several write to.
#[derive(Clone)]
pub(crate) struct SharedWriter(Arc<Mutex<Box<dyn Write + Send>>>);

impl SharedWriter {
    pub(crate) fn new(stream: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Writes all of `text` in one piece, so that nothing flickers.
    pub(crate) fn write(&self, text: &str) -> io::Result<()> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(text.as_bytes())?;
        stream.flush()
    }
}

impl fmt::Debug for SharedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedWriter")
    }
}

/// The lower end of a terminal.
///
/// indicatif fills each line up with blanks to the right edge and counts on the terminal to wrap there.
/// Here the blanks are left out and the next line is begun by a line feed, so that the edge stays free.
#[derive(Debug)]
pub(crate) struct Canvas {
    writer: SharedWriter,
    /// The line is full, as far as indicatif knows: what is written next begins another one.
    is_full: AtomicBool,
}

impl Canvas {
    pub(crate) fn new(writer: SharedWriter) -> Self {
        let is_full = AtomicBool::new(false);
        Self { writer, is_full }
    }

    fn go(&self, escape: &str, count: usize) -> io::Result<()> {
        self.is_full.store(false, Ordering::Relaxed);
        self.writer.write(&escape.repeat(count))
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        let (_, columns) = Term::stderr().size();
        columns.saturating_sub(MARGIN).max(1)
    }

    fn height(&self) -> u16 {
        HEIGHT
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.go("\x1b[1A", count)
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.go("\x1b[1B", count)
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.go("\x1b[1C", count)
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.go("\x1b[1D", count)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.writer.write(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| byte == b' ') {
            self.is_full.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let next = match self.is_full.swap(false, Ordering::Relaxed) {
            true => "\n",
            false => "",
        };
        self.writer.write(&format!("{next}{text}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.go("\r\x1b[2K", 1)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
