//! An error as people read it: what happened, where, how often, what is safe, what to do now.

use crate::error::acts::NEXT;
use crate::error::{Error, ErrorKind};

/// The lines of `error`. Those about what happened have at most `width` columns, if there is a width
/// and a blank to break at.
pub(crate) fn lines(error: &Error, width: Option<usize>) -> Vec<String> {
    // A command line must stay whole for whoever copies it.
    let is_whole = |head: &str| error.kind() == ErrorKind::Interrupted && head == NEXT;
    let rows = error.rows().into_iter();
    let broken = rows.flat_map(|it| row(&it.head, &it.text, width.filter(|_| !is_whole(&it.head))));
    broken.collect()
}

/// `text` behind `head`; what does not fit stands below the text's beginning.
fn row(head: &str, text: &str, width: Option<usize>) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Run;
    use crate::model::{Endpoint, Failure, FailureKind, Stage, Trace};

    fn trace(stage: Stage) -> Trace {
        Trace {
            endpoint: Endpoint::parse("https://upload-z2.qiniup.com", true).unwrap(),
            address: Some("192.0.2.7:443".to_owned()),
            proxy: None,
            is_reused: false,
            uses_bbr: false,
            stage,
            acknowledged_bytes: 120 << 10,
            body_len: 4 << 20,
            connecting: Duration::from_millis(210),
            sending: Duration::from_secs(42),
            answering: Duration::from_secs(60),
            before: None,
        }
    }

    /// An upload of 6.3 MiB that failed for the third time after a quarter of an hour.
    fn error(kind: FailureKind, message: &str, trace: Trace) -> Error {
        let mut failure = Failure::new(kind, message);
        failure.trace = Some(Box::new(trace));
        let run = Run {
            size: 6_606_028,
            attempts: 3,
            elapsed: Duration::from_secs(902),
        };
        Error::from_failure("finish the upload", failure)
            .safe(4 << 20)
            .of_run(run)
    }

    /// What a terminal of 80 columns shows of what no dev server does on a loopback device.
    #[test]
    fn at_a_terminal() {
        let connecting = Trace {
            address: None,
            ..trace(Stage::Connecting)
        };
        let by_proxy = Trace {
            proxy: Some("http://proxy.example.com:3128".to_owned()),
            is_reused: true,
            ..trace(Stage::Answering)
        };
        let errors = [
            error(
                FailureKind::Stalled,
                "nothing was acknowledged for 30 s (stall_timeout)",
                trace(Stage::Sending),
            ),
            error(
                FailureKind::NotReading,
                "the other end does not read: nothing was acknowledged for 30 s (stall_timeout)",
                trace(Stage::Sending),
            ),
            error(
                FailureKind::TimedOut,
                "everything was acknowledged, and no answer came for 60 s (response_timeout)",
                by_proxy,
            ),
            error(
                FailureKind::Trickle,
                "6000 bytes were acknowledged within 60 s, less than 256 a second (min_rate)",
                trace(Stage::Sending),
            ),
            error(
                FailureKind::Connect,
                "no connection to https://upload-z2.qiniup.com: failed to lookup address \
                 information: Name or service not known",
                connecting,
            ),
            error(
                FailureKind::SourceChanged,
                "report.pdf: it has other bytes than were sent",
                trace(Stage::Sending),
            ),
        ];
        let shown: Vec<String> = errors
            .iter()
            .map(|error| lines(error, Some(79)).join("\n"))
            .collect();
        // The library explains in the same words.
        let rest = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for (error, shown) in errors.iter().zip(&shown) {
            assert_eq!(rest(&error.explain()), rest(shown));
        }
        for line in shown.iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= 79, "{line}");
        }
        insta::assert_snapshot!(shown.join("\n\n"));
    }

    /// The library's text has it all on one line.
    #[test]
    fn on_one_line() {
        let error = error(FailureKind::Stalled, "it stalled", trace(Stage::Sending));
        insta::assert_snapshot!(error.to_string());
    }
}
