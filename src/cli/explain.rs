//! An error as people read it: what happened, where, how often, what is safe, what to do now.

use crate::cli::terminal::printable;
use crate::error::{Error, ErrorKind};

/// Column in which the text of every row begins: behind the longest word, `attempts`.
const TEXT: usize = 10;

/// The lines of `error`. Those about what happened have at most `width` columns, if there is a width
/// and a blank to break at.
pub(crate) fn lines(error: &Error, width: Option<usize>) -> Vec<String> {
    let mut lines = row("error: ", error.message(), width);
    for fact in error.facts() {
        let name = fact.name;
        lines.extend(row(&format!("  {name:<TEXT$}"), &fact.text, width));
    }
    if let Some(next) = error.next_step() {
        // A command line must stay whole for whoever copies it.
        let is_line = error.kind() == ErrorKind::Interrupted;
        lines.extend(row("next: ", next, width.filter(|_| !is_line)));
    }
    lines
}

/// `text` behind `head`; what does not fit stands below the text's beginning.
fn row(head: &str, text: &str, width: Option<usize>) -> Vec<String> {
    let text = printable(text);
    let Some(width) = width else {
        return vec![format!("{head}{text}")];
    };
    let mut lines = Vec::new();
    let mut line = head.to_owned();
    let mut is_empty = true;
    for word in text.split(' ') {
        let columns = console::measure_text_width(&line) + 1 + console::measure_text_width(word);
        if !is_empty && columns > width {
            lines.push(line);
            line = " ".repeat(head.len());
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}
