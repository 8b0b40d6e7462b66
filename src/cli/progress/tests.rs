//! What is shown, as tables: moments of an upload and the lines they give.

use std::time::Duration;

use crate::cli::progress::view::{Patience, View};

const PATIENCE: Patience = Patience {
    stall: Duration::from_secs(30),
    response: Duration::from_secs(60),
    commit: Duration::from_secs(300),
};

const MIB: u64 = 1 << 20;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An upload of 6 MiB that begins at 0, at 128 KiB a second until `seconds`.
fn under_way(seconds: u64) -> View {
    let mut view = View::new(at(0), PATIENCE);
    view.begin(at(0), 6 * MIB, 0);
    for tick in 1..=seconds * 4 {
        let now = Duration::from_millis(tick * 250);
        view.advance(now, 0, tick * 32 * 1024);
    }
    view
}

/// Every state has its words, on the terminal and without one.
#[test]
fn every_state() {
    let reset = "connection reset by peer";
    let waiting = || {
        let mut view = under_way(20);
        view.retry(at(20), at(4), 3, reset);
        view
    };
    let whole = |safe| {
        let mut view = under_way(20);
        view.advance(at(20), safe, 6 * MIB);
        view
    };
    let rows: [(&str, View, u64, &[&str]); 11] = [
        (
            "before it begins",
            View::new(at(0), PATIENCE),
            3,
            &["preparing"],
        ),
        (
            "a slow answer to the first question",
            View::new(at(0), PATIENCE),
            9,
            &["preparing for 9 s"],
        ),
        (
            "no pace yet",
            under_way(0),
            0,
            &["[>                   ]   0 %  0 B of 6.0 MiB"],
        ),
        (
            "moving",
            under_way(20),
            20,
            &["[========>           ]  41 %  2.5 MiB of 6.0 MiB  128.0 KiB/s  28 s left"],
        ),
        (
            "quiet, which the line's pace explains",
            under_way(20),
            24,
            &["[========>           ]  41 %  2.5 MiB of 6.0 MiB  85.6 KiB/s  42 s left"],
        ),
        (
            "stalled",
            under_way(20),
            32,
            &[
                "[========>           ]  41 %  2.5 MiB of 6.0 MiB",
                "no acknowledgement for 12 s; this connection is given up at 30 s",
            ],
        ),
        (
            "stalled for longer than it may be",
            under_way(20),
            52,
            &[
                "[========>           ]  41 %  2.5 MiB of 6.0 MiB",
                "no acknowledgement for 32 s",
            ],
        ),
        (
            "waiting",
            waiting(),
            20,
            &[
                "[========>           ]  41 %  2.5 MiB of 6.0 MiB",
                "retrying in 4 s: connection reset by peer (attempt 3)",
            ],
        ),
        (
            "trying again",
            waiting(),
            25,
            &[
                "[========>           ]  41 %  2.5 MiB of 6.0 MiB",
                "attempt 3, after: connection reset by peer",
            ],
        ),
        (
            "a segment's answer is late",
            whole(4 * MIB),
            29,
            &[
                "[====================] 100 %  6.0 MiB of 6.0 MiB",
                "all is sent, no answer for 9 s; it is waited for until 1 min",
            ],
        ),
        (
            "the commit's answer is late",
            whole(6 * MIB),
            29,
            &[
                "[====================] 100 %  6.0 MiB of 6.0 MiB",
                "all is sent, no answer for 9 s; it is waited for until 5 min",
            ],
        ),
    ];
    for (story, view, second, expected) in rows {
        let shown = view.bar(at(second), 79);
        assert_eq!(shown, expected, "{story}");
        for line in shown {
            assert!(line.chars().count() <= 79, "{story}: {line}");
        }
    }
}

/// Without a terminal the same stands in one line.
#[test]
fn plain_lines() {
    let mut waiting = under_way(20);
    waiting.retry(at(20), at(90), 3, "connection reset by peer");
    let rows = [
        (
            under_way(20),
            20,
            "2.5 MiB of 6.0 MiB (41 %), 128.0 KiB/s, 28 s left",
        ),
        (
            under_way(20),
            32,
            "2.5 MiB of 6.0 MiB (41 %), no acknowledgement for 12 s; this connection is given up at \
             30 s",
        ),
        (
            waiting,
            30,
            "2.5 MiB of 6.0 MiB (41 %), retrying in 1 min 20 s: connection reset by peer (attempt 3)",
        ),
        (
            under_way(48),
            48,
            "6.0 MiB of 6.0 MiB (100 %), 128.0 KiB/s, finishing",
        ),
    ];
    for (view, second, expected) in rows {
        assert_eq!(view.plain(at(second)), expected);
    }
}

/// It starts at what is safe, never goes back when the service forgets, never past the end, and is
/// whole only when nothing is missing.
#[test]
fn never_backwards_never_past_the_end() {
    let mut view = View::new(at(0), PATIENCE);
    view.begin(at(0), 1000, 400);
    assert_eq!((view.safe(), view.acknowledged()), (400, 400));
    let rows = [
        ((600, 700), (600, 700), " 70 %"),
        ((0, 0), (0, 700), " 70 %"),
        ((0, 999), (0, 999), " 99 %"),
        ((900, 0), (900, 999), " 99 %"),
        ((2000, 2000), (1000, 1000), "100 %"),
    ];
    for (heard, (safe, acknowledged), percent) in rows {
        view.advance(at(1), heard.0, heard.1);
        assert_eq!((view.safe(), view.acknowledged()), (safe, acknowledged));
        assert!(view.bar(at(1), 79)[0].contains(percent), "{heard:?}");
    }
}

/// What an earlier run did says nothing about the pace of this one.
#[test]
fn a_resumed_upload_has_its_own_pace() {
    let mut view = View::new(at(0), PATIENCE);
    view.begin(at(5), 100_000, 50_000);
    view.advance(at(10), 50_000, 55_000);
    assert_eq!(view.bytes_per_s(at(10)), Some(1000));
    assert_eq!(view.time_left(at(10)), Some(at(45)));
    assert_eq!(view.time_left(at(16)), None, "quiet: nobody knows");
}

/// A wait starts the silence anew, and what moves ends the talk of it.
#[test]
fn waits_end() {
    let mut view = under_way(20);
    view.retry(at(40), at(10), 2, "it broke");
    let words = |view: &View, second| view.bar(at(second), 79).into_iter().nth(1);
    assert_eq!(
        words(&view, 49).as_deref(),
        Some("retrying in 1 s: it broke (attempt 2)")
    );
    assert_eq!(
        words(&view, 54).as_deref(),
        Some("attempt 2, after: it broke")
    );
    assert!(words(&view, 56).is_some_and(|words| words.contains("for 6 s")));
    view.advance(at(57), 0, 4 * MIB);
    assert_eq!(words(&view, 57), None);
}

/// Nothing wraps: every line fits, however narrow the terminal and however long the reason.
#[test]
fn every_width() {
    let mut view = under_way(20);
    view.retry(at(20), at(4), 3, &"长 reason ".repeat(40));
    for width in [1, 10, 20, 40, 60, 79, 200] {
        for second in [20, 25, 60] {
            for line in view.bar(at(second), width) {
                let columns = console::measure_text_width(&line);
                assert!(columns <= width, "{width}: {columns}: {line}");
            }
        }
    }
    assert!(
        !under_way(20).bar(at(20), 50)[0].contains('['),
        "no room for a bar"
    );
}

/// An empty file is whole from the start.
#[test]
fn an_empty_file() {
    let mut view = View::new(at(0), PATIENCE);
    view.begin(at(0), 0, 0);
    assert_eq!(
        view.bar(at(0), 79),
        ["[====================] 100 %  0 B of 0 B  finishing"]
    );
}
