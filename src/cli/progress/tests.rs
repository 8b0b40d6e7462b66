//! What is shown, as tables: moments of an upload and the lines they give.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::progress::view::{Heard, Patience, View};
use crate::cli::progress::{Progress, told_expiring};
use crate::cli::terminal::{Streams, Terminal};
use crate::engine::expiry::Grant;
use crate::events;
use crate::model::Stage;

const PATIENCE: Patience = Patience {
    stall: Duration::from_secs(30),
    response: Duration::from_secs(60),
    commit: Duration::from_secs(300),
};

const MIB: u64 = 1 << 20;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Word of an upload that is sending.
fn heard(safe: u64, acknowledged: u64) -> Heard {
    Heard {
        safe,
        acknowledged,
        lost: 0,
        stage: Stage::Sending,
        size: Some(6 * MIB),
    }
}

/// An upload of 6 MiB that begins at 0, at 128 KiB a second until `seconds`.
fn under_way(seconds: u64) -> View {
    let mut view = View::new(at(0), PATIENCE);
    view.begin(at(0), Some(6 * MIB), 0, false);
    for tick in 1..=seconds * 4 {
        let now = Duration::from_millis(tick * 250);
        view.advance(now, heard(0, tick * 32 * 1024));
    }
    view
}

/// The same after 20 s, waiting from then on.
fn waiting(seconds: u64, reason: &str) -> View {
    let mut view = under_way(20);
    view.retry(at(20), at(seconds), 3, reason);
    view
}

/// The same after 20 s, when it heard this.
fn after(heard: Heard) -> View {
    let mut view = under_way(20);
    view.advance(at(20), heard);
    view
}

const RESET: &str = "connection reset by peer";

/// At 20 s, as long as nothing moves.
const STANDS: &str = "[========>           ]  41 %  2.5 MiB of 6.0 MiB";

/// When all bytes are acknowledged.
const WHOLE: &str = "[====================] 100 %  6.0 MiB of 6.0 MiB";

#[track_caller]
fn expect(story: &str, view: &View, second: u64, expected: &[&str]) {
    let shown = view.bar(at(second), 79);
    assert_eq!(shown, expected, "{story}");
    for line in shown {
        assert!(line.chars().count() <= 79, "{story}: {line}");
    }
}

/// Who does not wait for the end is told what the next run need not send: nothing, without a journal.
#[test]
fn stopped_at_once() {
    for (is_resumable, safe) in [(true, 3 * MIB), (false, 0)] {
        let terminal = Arc::new(Terminal::new(Streams {
            out: Box::new(std::io::sink()),
            err: Box::new(std::io::sink()),
            err_is_terminal: false,
        }));
        let progress = Progress::new(&terminal, PATIENCE, 0);
        if !is_resumable {
            let event = events::Event::NotResumable("the disk is full".to_owned());
            progress.hear(&event, "b", None);
        }
        progress.begin(Some(6 * MIB), 0, "v1");
        progress.advance(heard(3 * MIB, 3 * MIB));
        let error = progress.interrupted();
        assert_eq!(error.safe_bytes(), safe, "{error}");
        assert_eq!(error.to_string().contains("nothing recorded"), safe == 0);
    }
}

/// What is shown while all goes well.
#[test]
fn going_well() {
    let new = || View::new(at(0), PATIENCE);
    let mut asking = new();
    asking.retry(at(8), Duration::from_secs(2), 2, RESET);
    let rows: [(&str, View, u64, &[&str]); 6] = [
        ("before it begins", new(), 3, &["preparing"]),
        ("a slow first answer", new(), 9, &["preparing for 9 s"]),
        (
            "nobody says where the bucket lives",
            asking,
            9,
            &["preparing for 9 s: connection reset by peer"],
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
            &["[========>           ]  41 %  2.5 MiB of 6.0 MiB  86.0 KiB/s  42 s left"],
        ),
    ];
    for (story, view, second, expected) in rows {
        expect(story, &view, second, expected);
    }
}

/// What is shown while a line is dead, or an attempt waits for its turn.
#[test]
fn in_trouble() {
    let source_hangs = Heard {
        stage: Stage::Reading,
        ..heard(0, 20 * 128 * 1024)
    };
    let rows: [(&str, View, u64, &[&str]); 6] = [
        (
            "the source hangs",
            after(source_hangs),
            32,
            &[STANDS, "the source has given nothing for 12 s"],
        ),
        (
            "stalled",
            under_way(20),
            32,
            &[
                STANDS,
                "no acknowledgement for 12 s; this connection is given up at 30 s",
            ],
        ),
        (
            "stalled for longer than it may be",
            under_way(20),
            52,
            &[STANDS, "no acknowledgement for 32 s"],
        ),
        (
            "waiting",
            waiting(4, RESET),
            20,
            &[
                STANDS,
                "retrying in 4 s: connection reset by peer (attempt 3)",
            ],
        ),
        (
            "waiting, for a long reason",
            waiting(4, &"why ".repeat(30)),
            22,
            &[
                STANDS,
                "retrying in 2 s: why why why why why why why why why why why why w… (attempt 3)",
            ],
        ),
        (
            "trying again",
            waiting(4, RESET),
            25,
            &[STANDS, "attempt 3, after: connection reset by peer"],
        ),
    ];
    for (story, view, second, expected) in rows {
        expect(story, &view, second, expected);
    }
}

/// What is shown while something else than an acknowledgement does not come.
#[test]
fn waiting_for_others() {
    let answering = |safe, acknowledged| Heard {
        stage: Stage::Answering,
        ..heard(safe, acknowledged)
    };
    let connecting = Heard {
        stage: Stage::Connecting,
        ..heard(0, 5 * MIB / 2)
    };
    let rows: [(&str, View, u64, &[&str]); 4] = [
        (
            "no connection",
            after(connecting),
            28,
            &[STANDS, "connecting for 8 s"],
        ),
        (
            "a segment's answer is late",
            after(answering(2 * MIB, 5 * MIB / 2)),
            29,
            &[
                STANDS,
                "all is acknowledged, no answer for 9 s; waiting until 1 min",
            ],
        ),
        (
            "the commit's answer is late",
            after(answering(6 * MIB, 6 * MIB)),
            29,
            &[
                WHOLE,
                "all is acknowledged, no answer for 9 s; waiting until 5 min",
            ],
        ),
        (
            "the last segment's answer is late",
            after(answering(4 * MIB, 6 * MIB)),
            29,
            &[
                WHOLE,
                "all is acknowledged, no answer for 9 s; waiting until 1 min",
            ],
        ),
    ];
    for (story, view, second, expected) in rows {
        expect(story, &view, second, expected);
    }
}

/// What has to be sent again moves the words, not the bar; and it is no stall.
#[test]
fn sent_again() {
    let mut view = waiting(2, RESET);
    let again = |lost| Heard {
        lost,
        ..heard(MIB, 5 * MIB / 2)
    };
    view.broken();
    view.advance(at(22), again(3 * MIB / 2));
    for second in 23..=30 {
        view.advance(at(second), again(3 * MIB / 2 - (second - 22) * 128 * 1024));
    }
    let shown = view.bar(at(30), 79);
    assert!(shown[0].starts_with(STANDS), "{shown:?}");
    assert!(shown[0].contains("KiB/s"), "{shown:?}");
    assert_eq!(shown[1], "512.0 KiB to be sent again");
    view.advance(at(31), again(0));
    assert_eq!(view.bar(at(31), 79).len(), 1);
}

/// The instant between the answer to a segment and its record is no loss, and its bytes do not count
/// twice.
#[test]
fn recorded_later() {
    let mut view = under_way(20);
    let gap = Heard {
        lost: MIB,
        ..heard(0, 5 * MIB / 2)
    };
    let before = view.bytes_per_s(at(20));
    view.advance(at(20), gap);
    view.advance(at(20), heard(MIB, 5 * MIB / 2));
    assert_eq!(view.bytes_per_s(at(20)), before);
    expect(
        "as before",
        &view,
        20,
        &["[========>           ]  41 %  2.5 MiB of 6.0 MiB  128.0 KiB/s  28 s left"],
    );
}

/// Without a terminal the same stands in one line.
#[test]
fn plain_lines() {
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
            waiting(90, RESET),
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
    view.begin(at(0), Some(1000), 400, false);
    assert_eq!((view.safe(), view.acknowledged()), (400, 400));
    let rows = [
        ((600, 700), (600, 700), " 70 %"),
        ((0, 0), (0, 700), " 70 %"),
        ((0, 999), (0, 999), " 99 %"),
        ((900, 0), (900, 999), " 99 %"),
        ((2000, 2000), (1000, 1000), "100 %"),
    ];
    for (told, (safe, acknowledged), percent) in rows {
        view.advance(at(1), heard(told.0, told.1));
        assert_eq!((view.safe(), view.acknowledged()), (safe, acknowledged));
        assert!(view.bar(at(1), 79)[0].contains(percent), "{told:?}");
    }
}

/// What an earlier run did says nothing about the pace of this one.
#[test]
fn a_resumed_upload_has_its_own_pace() {
    let mut view = View::new(at(0), PATIENCE);
    view.begin(at(5), Some(100_000), 50_000, false);
    view.advance(at(5), heard(50_000, 50_000));
    view.advance(at(10), heard(50_000, 55_000));
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
    view.advance(at(57), heard(0, 4 * MIB));
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
    view.begin(at(0), Some(0), 0, false);
    assert_eq!(
        view.bar(at(0), 79),
        ["[====================] 100 %  0 B of 0 B  finishing"]
    );
}

/// What ends too early, and what that means.
#[test]
fn what_will_not_last() {
    let rows = [
        (
            Grant::Token,
            600,
            "the upload token ends in 10 min, and the upload takes 1 h 30 min more at this pace: with \
             one that lives longer the upload goes on",
        ),
        (
            Grant::UploadId,
            0,
            "the service's id of this upload has ended, and the upload takes 1 h 30 min more at this \
             pace: without it all goes again",
        ),
        (
            Grant::Context,
            61,
            "what the service gave for the first blocks ends in 1 min 1 s, and the upload takes \
             1 h 30 min more at this pace: without it they go again",
        ),
    ];
    for (what, left, expected) in rows {
        assert_eq!(told_expiring(what, at(left), at(5400)), expected);
    }
}
