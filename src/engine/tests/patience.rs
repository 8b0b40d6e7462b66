//! Deadlines: what ends an attempt and what must not, on lines that are modelled second by second.

use std::ops::Range;
use std::time::Duration;

use crate::engine::Limits;
use crate::engine::event::{Effect, Event, Moment, Notice, Outcome, Pulse};
use crate::engine::plan::Protocol;
use crate::engine::tests::line::{Fate, Line, Ran, Tick, seconds};
use crate::engine::tests::world::MIB;
use crate::model::{Failure, FailureKind, Stage};

/// An upload in lanes over a line with this fate.
fn blocks(size: u64, limits: Limits, fate: impl FnMut(&Tick) -> Fate) -> Ran {
    Line::new(Protocol::Blocks, size, limits, fate).run()
}

/// Bytes that a line of `bits` a second carries in a tick.
fn per_tick(bits: u64) -> u64 {
    bits / 8 / 4
}

/// It is done, and nothing was given up.
fn assert_done(story: &str, ran: &Ran) {
    assert_eq!(
        ran.outcome,
        Some(Outcome::Done),
        "{story}: {:?}",
        ran.given_up
    );
}

/// The first attempt that was given up: when, why, and with which setting named.
fn assert_given_up(story: &str, ran: &Ran, from: u64, kind: FailureKind, setting: &str) {
    let (at, why) = ran
        .given_up
        .first()
        .unwrap_or_else(|| panic!("{story}: nothing"));
    assert_eq!(why.kind, kind, "{story}: {why}");
    assert!(why.message.contains(setting), "{story}: {why}");
    let late = at.saturating_sub(seconds(from));
    assert!(
        *at >= seconds(from) && late <= seconds(3),
        "{story}: after {at:?}, not {from} s"
    );
}

/// Lines that are slow, fall, rise or pause: however long it takes, nothing is given up.
#[test]
fn slow_is_not_dead() {
    let all = Limits {
        window: 4,
        ..Limits::default()
    };
    type Rate = fn(Duration) -> u64;
    let rows: [(&str, Protocol, u64, Rate); 7] = [
        ("64 kbit/s", Protocol::Blocks, 3 * MIB, |_| 64_000),
        ("64 kbit/s, parts", Protocol::Parts, 3 * MIB, |_| 64_000),
        (
            "64 kbit/s with silences of 18 s",
            Protocol::Blocks,
            MIB,
            |at| {
                if at.as_secs() % 20 < 18 { 0 } else { 640_000 }
            },
        ),
        ("9600 bit/s", Protocol::Blocks, MIB, |_| 9_600),
        ("from 100 to 1 Mbit/s", Protocol::Parts, 600 * MIB, |at| {
            if at < seconds(45) {
                100_000_000
            } else {
                1_000_000
            }
        }),
        ("from 1 to 100 Mbit/s", Protocol::Parts, 600 * MIB, |at| {
            if at < seconds(600) {
                1_000_000
            } else {
                100_000_000
            }
        }),
        ("8 s up, 8 s down", Protocol::Blocks, 32 * MIB, |at| {
            if at.as_secs() % 16 < 8 { 1_000_000 } else { 0 }
        }),
    ];
    for (story, protocol, size, rate) in rows {
        let ran = Line::new(protocol, size, all, |tick: &Tick| {
            Fate::Carried(per_tick(rate(tick.at)) / tick.count)
        })
        .run();
        assert_done(story, &ran);
    }
}

/// TCP does not share evenly: one connection that gets a fifth of its due is left alone.
#[test]
fn an_uneven_share_is_no_reason() {
    let limits = Limits {
        window: 4,
        ..Limits::default()
    };
    let ran = blocks(40 * MIB, limits, |tick| {
        let share = per_tick(1_000_000) / tick.count;
        Fate::Carried(if tick.place == 0 { share / 5 } else { share })
    });
    assert_done("a fifth", &ran);
}

/// What a line does to an attempt.
type Does = fn(&Tick) -> Fate;

/// A line, what is uploaded over it, when an attempt is given up, as what, and which setting is named.
type DeadlineRow = (&'static str, Protocol, Does, u64, FailureKind, &'static str);

const DEADLINES: &[DeadlineRow] = &[
    (
        "a black hole",
        Protocol::Blocks,
        |tick| Fate::Carried(if tick.carried < 100_000 { 50_000 } else { 0 }),
        30,
        FailureKind::Stalled,
        "30 s (stall_timeout)",
    ),
    (
        "a closed window",
        Protocol::Blocks,
        |tick| match tick.carried {
            0..100_000 => Fate::Carried(50_000),
            // Between two probes it looks open.
            _ if tick.at.subsec_millis() == 0 => Fate::Carried(0),
            _ => Fate::Closed,
        },
        30,
        FailureKind::NotReading,
        "30 s (stall_timeout)",
    ),
    (
        "100 B/s",
        Protocol::Blocks,
        |_| Fate::Carried(25),
        60,
        FailureKind::Trickle,
        "min_rate is 256",
    ),
    (
        "a segment is never answered",
        Protocol::Blocks,
        |tick| Fate::Unanswered(tick.len),
        60,
        FailureKind::TimedOut,
        "60 s (response_timeout)",
    ),
    (
        "an upload id never comes",
        Protocol::Parts,
        |tick| Fate::Unanswered(tick.len),
        60,
        FailureKind::TimedOut,
        "60 s (response_timeout)",
    ),
    (
        "a commit is never answered",
        Protocol::Blocks,
        |tick| match tick.is_commit {
            true => Fate::Unanswered(0),
            false => Fate::Carried(MIB),
        },
        300,
        FailureKind::TimedOut,
        "300 s (commit_timeout)",
    ),
    (
        "a form is never answered: its body has its own time",
        Protocol::Form,
        |_| Fate::Unanswered(2_000),
        131 + 300,
        FailureKind::TimedOut,
        "300 s (commit_timeout)",
    ),
];

/// What each deadline ends, when, and what it is called.
#[test]
fn each_deadline_ends_its_own() {
    for (story, protocol, does, after, kind, words) in DEADLINES {
        let ran = Line::new(*protocol, MIB, Limits::default(), does).run();
        assert_given_up(story, &ran, *after, kind.clone(), words);
    }
}

/// A hard limit set by hand, and a trickle without a floor.
#[test]
fn deadlines_are_settings() {
    let hard = Limits {
        part_timeout: Some(seconds(20)),
        ..Limits::default()
    };
    let ran = blocks(MIB, hard, |_| Fate::Carried(2_000));
    let setting = "20 s (part_timeout)";
    assert_given_up("a hard limit", &ran, 20, FailureKind::TimedOut, setting);
    let no_floor = Limits {
        min_rate_bytes_per_s: 0,
        ..Limits::default()
    };
    let ran = blocks(300_000, no_floor, |_| Fate::Carried(25));
    assert_done("a trickle without a floor", &ran);
}

/// One connection crawls above the floor while the line carries the others: its segment goes out a
/// second time, and nothing has to be given up.
#[test]
fn a_connection_that_is_left_behind() {
    let limits = Limits {
        window: 4,
        ..Limits::default()
    };
    let crawl = |tick: &Tick| match tick.place {
        0 if tick.at > seconds(5) => Fate::Carried(100),
        _ => Fate::Carried(per_tick(50_000_000)),
    };
    let ran = blocks(4096 * MIB, limits, crawl);
    assert_done("the crawling one", &ran);
    let raced = |notice: &&Notice| matches!(notice, Notice::Raced { .. });
    assert!(ran.notices.iter().any(|notice| raced(&notice)));
}

/// A server that stops reading for 40 s and goes on, with a stall timeout that allows it: no other
/// limit ends it.
#[test]
fn a_pause_that_the_stall_timeout_allows() {
    for (pause, limit) in [(40, 60), (100, 120)] {
        let limits = Limits {
            stall_timeout: seconds(limit),
            ..Limits::default()
        };
        let ran = blocks(2 * MIB, limits, |tick| match tick.at {
            at if at < seconds(3) || at > seconds(3 + pause) => Fate::Carried(2_000),
            _ => Fate::Closed,
        });
        assert_done("a pause", &ran);
    }
}

/// A source that gives nothing for ten minutes, at any point of a segment, is waited for and said
/// once. The line's own silences count all the same, before and after.
#[test]
fn a_source_that_hangs_is_no_dead_line() {
    const HANG: Range<Duration> = seconds(25)..seconds(625);
    type Hangs = fn(&Tick) -> bool;
    let rows: [(&str, Protocol, Hangs); 4] = [
        ("in a segment", Protocol::Blocks, |tick| tick.carried > 0),
        ("all lanes", Protocol::Blocks, |_| true),
        ("a form", Protocol::Form, |_| true),
        ("a look behind an answer", Protocol::Parts, |tick| {
            tick.carried == tick.len
        }),
    ];
    let hard = Limits {
        part_timeout: Some(seconds(600)),
        ..Limits::default()
    };
    for (story, protocol, hangs) in rows {
        for limits in [Limits::default(), hard] {
            let ran = Line::new(protocol, MIB, limits, |tick: &Tick| {
                match HANG.contains(&tick.at) && hangs(tick) {
                    true => Fate::Reading,
                    false => Fate::Carried(8_000),
                }
            })
            .run();
            assert_done(story, &ran);
            let said = ran.notices.iter();
            let said = said.filter(|notice| matches!(notice, Notice::SourceHangs { .. }));
            assert_eq!(said.count(), 1, "{story}: {:?}", ran.notices);
        }
    }
    let ran = blocks(MIB, Limits::default(), |tick| match tick.at {
        at if HANG.contains(&at) => Fate::Reading,
        at if at < HANG.start => Fate::Carried(2_000),
        _ => Fate::Carried(0),
    });
    let setting = "30 s (stall_timeout)";
    assert_given_up(
        "a dead line behind it",
        &ran,
        655,
        FailureKind::Stalled,
        setting,
    );
}

/// A connection that is being made has no deadline here: whoever makes it has one.
#[test]
fn connecting_takes_its_time() {
    let ran = blocks(MIB, Limits::default(), |tick| match tick.at {
        at if at < seconds(800) => Fate::Unseen,
        _ => Fate::Carried(MIB),
    });
    assert_done("connecting", &ran);
}

/// The process is stopped again and again, two minutes each, whatever it is waiting for: unobserved
/// time ends nothing.
#[test]
fn unobserved_time_does_not_count() {
    for protocol in [Protocol::Blocks, Protocol::Parts, Protocol::Form] {
        let mut line = Line::new(protocol, MIB, Limits::default(), |_: &Tick| {
            Fate::Carried(40_000)
        });
        for _ in 0..12 {
            line.collect();
            line.tick();
            line.now = line.now.after(seconds(60));
            line.tick();
        }
        let ran = line.run();
        assert_done("stopped", &ran);
    }
}

/// Waits for our own limit count for nothing: a pace below the floor, silences longer than the stall
/// limit and segments longer than their own are ours. What is out and never acknowledged is not.
#[test]
fn our_own_limit_counts_for_nothing() {
    let limits = Limits {
        part_timeout: Some(seconds(20)),
        ..Limits::default()
    };
    let ran = blocks(MIB, limits, |_| Fate::Limited(25, false));
    assert_done("100 B/s", &ran);
    let ran = blocks(MIB, limits, |tick| match tick.at.as_secs() % 100 {
        99 => Fate::Limited(2_500, true),
        _ => Fate::Limited(0, false),
    });
    assert_done("a piece in 100 s", &ran);
    let ran = blocks(MIB, limits, |_| Fate::Limited(25, true));
    assert_done("100 B/s with a long round trip", &ran);
    let ran = blocks(MIB, limits, |tick| match tick.at.as_secs() {
        0..100 => Fate::Limited(25, false),
        _ => Fate::Limited(0, true),
    });
    assert_given_up(
        "a dead line",
        &ran,
        130,
        FailureKind::Stalled,
        "stall_timeout",
    );
}

/// Neither do they use the retry budget up, whether acknowledgements come seldom or late.
#[test]
fn our_own_limit_keeps_the_budget() {
    let rows: [fn(u64) -> Fate; 3] = [
        |_| Fate::Limited(0, false),
        |tick| Fate::Limited(if tick % 40 == 39 { 256 } else { 0 }, tick % 40 > 35),
        |tick| Fate::Limited(if tick % 40 == 39 { 256 } else { 0 }, true),
    ];
    for fate in rows {
        let mut ticks = 0;
        let mut line = Line::new(Protocol::Blocks, MIB, Limits::default(), |_: &Tick| {
            ticks += 1;
            fate(ticks)
        });
        line.collect();
        // A minute longer than the budget.
        for _ in 0..4 * 960 {
            line.now = line.now.after(Duration::from_millis(250));
            line.tick();
        }
        let failed = Event::Failed {
            attempt: line.flights[0].attempt,
            failure: Failure::new(FailureKind::Broken, "reset"),
            server_time: None,
        };
        line.engine.handle(line.now, failed);
        let next = line.engine.poll_effect();
        assert!(
            matches!(next, Some(Effect::Notice(Notice::Retrying { .. }))),
            "{next:?}"
        );
    }
}

/// An attempt is given up once, however long the driver takes to end it; what follows is a retry.
#[test]
fn an_attempt_is_given_up_once() {
    let mut line = Line::new(Protocol::Blocks, MIB, Limits::default(), |_: &Tick| {
        Fate::Carried(0)
    });
    line.collect();
    let attempt = line.flights[0].attempt;
    let pulse = |at: u64| {
        let pulse = Event::Pulse {
            attempt,
            pulse: Pulse::new(Stage::Sending, 0),
        };
        (Moment(seconds(at)), pulse)
    };
    let mut given_up = Vec::new();
    for at in 0..200 {
        let (now, pulse) = pulse(at);
        line.engine.handle(now, pulse);
        while let Some(effect) = line.engine.poll_effect() {
            given_up.push((at, effect));
        }
    }
    let [(30, Effect::GiveUp { why, .. })] = given_up.as_slice() else {
        panic!("{given_up:?}");
    };
    let failed = Event::Failed {
        attempt,
        failure: why.clone(),
        server_time: None,
    };
    line.engine.handle(Moment(seconds(200)), failed);
    let told = std::iter::from_fn(|| line.engine.poll_effect());
    let retrying = told.into_iter().find(|it| !matches!(it, Effect::Teach(_)));
    assert!(
        matches!(&retrying, Some(Effect::Notice(Notice::Retrying { failure, .. }))
            if failure.kind == FailureKind::Stalled),
        "{retrying:?}"
    );
}
