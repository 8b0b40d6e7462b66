//! Shares and floors: who is compared with whom when attempts on one line get on differently.

use std::time::Duration;

use crate::engine::event::{AttemptId, Effect, Event, Moment, Outcome, Pulse};
use crate::engine::plan::Protocol;
use crate::engine::record::{Checkpoint, Digest, Receipt};
use crate::engine::tests::line::{Fate, Line, Ran, Tick, seconds};
use crate::engine::tests::setup::{MIB, Setup};
use crate::engine::{Engine, Limits};
use crate::model::{FailureKind, Stage};

/// An upload in `window` lanes over a line with this fate.
fn blocks(size: u64, window: usize, fate: impl FnMut(&Tick) -> Fate) -> Ran {
    let limits = Limits {
        window,
        ..Limits::default()
    };
    Line::new(Protocol::Blocks, size, limits, fate).run()
}

/// The first attempt that was given up, as what, and that it was within 15 s from `from` on.
fn assert_given_up(ran: &Ran, from: u64, kind: &FailureKind) {
    let (at, why) = ran.given_up.first().expect("one is given up");
    assert_eq!(why.kind, *kind, "{why}");
    assert!((seconds(from)..seconds(from + 15)).contains(at), "{at:?}");
}

/// One of four connections falls below the floor while the line carries the others: the floor ends
/// it, though the line as a whole is well above.
#[test]
fn one_trickle_on_a_good_line() {
    let limits = Limits {
        window: 4,
        ..Limits::default()
    };
    // Parts so long that none is overdue.
    let fate = |tick: &Tick| match tick.at.as_secs() {
        0..3 => Fate::Carried(64 * MIB),
        60.. if tick.place == 0 => Fate::Carried(10),
        _ => Fate::Carried(7_800),
    };
    let ran = Line::new(Protocol::Parts, 8192 * MIB, limits, fate).run();
    assert_given_up(&ran, 119, &FailureKind::Trickle);
}

/// Sixteen lanes on a line that falls to 9600 bit/s, slowly or at once, are each below the floor; the
/// line is not, and nobody is left behind.
#[test]
fn many_lanes_on_a_thin_line() {
    for slowly in [true, false] {
        let ran = blocks(80 * MIB, 16, |tick| match tick.at.as_secs() {
            3..10 if slowly => Fate::Carried(5_000),
            3..600 => Fate::Carried(300 / tick.count),
            _ => Fate::Carried(200_000),
        });
        assert_eq!(ran.given_up.len(), 0, "slowly: {slowly}");
        assert_eq!(ran.outcome, Some(Outcome::Done), "slowly: {slowly}");
    }
}

/// One of four connections is far slower than the others, and stays so whichever lane takes it: in the end
/// it is not left alone with a lane, while the others have nothing to do.
#[test]
fn lanes_end_together() {
    // Bytes in a quarter of a second; 5 MB/s in all.
    const PACES: [u64; 4] = [400_000, 400_000, 400_000, 50_000];
    const SIZE: u64 = 64 * MIB;
    // Who has each connection, and whether that is over.
    let mut taken: [Option<(AttemptId, bool)>; 4] = [None; 4];
    let ran = blocks(SIZE, 4, move |tick| {
        let has = |it: &Option<(AttemptId, bool)>| it.is_some_and(|(who, _)| who == tick.attempt);
        let is_free = |it: &Option<(AttemptId, bool)>| it.is_none_or(|(_, is_over)| is_over);
        let place = taken.iter().position(has);
        let Some(place) = place.or_else(|| taken.iter().position(is_free)) else {
            return Fate::Carried(0);
        };
        let carried = tick.carried + PACES[place];
        taken[place] = Some((tick.attempt, carried >= tick.len));
        Fate::Carried(PACES[place])
    });
    assert_eq!(ran.outcome, Some(Outcome::Done));
    let bytes_per_s: u64 = PACES.iter().sum::<u64>() * 4;
    let possible = Duration::from_secs(SIZE / bytes_per_s);
    let ended = ran.ended;
    assert!(ended < possible * 5 / 4, "{ended:?}, of {possible:?}");
}

/// A number of lanes that is a setting is kept, as far as there are lanes; one that is not is few enough for
/// the last lanes to end together.
#[test]
fn a_fixed_window() {
    let rows = [(true, 64, 8), (true, 12, 3), (false, 64, 4), (false, 12, 2)];
    for (is_window_fixed, size_mib, expected) in rows {
        let limits = Limits {
            window: 8,
            is_window_fixed,
            ..Limits::default()
        };
        let mut most = 0;
        let fate = |tick: &Tick| {
            most = most.max(tick.count);
            Fate::Carried(200_000)
        };
        let ran = Line::new(Protocol::Blocks, size_mib * MIB, limits, fate).run();
        assert_eq!(ran.outcome, Some(Outcome::Done));
        assert_eq!(most, expected, "fixed: {is_window_fixed}, {size_mib} MiB");
    }
}

/// What the line carried while a connection was being made is not held against it.
#[test]
fn shares_begin_with_the_first_byte() {
    // The first attempt that begins after 20 s has no connection until 120 s; where it stands.
    let mut waits = None;
    let ran = blocks(200 * MIB, 2, |tick| match tick.at.as_secs() {
        20..120 if tick.carried == 0 && waits.is_none_or(|place| tick.place <= place) => {
            waits = Some(tick.place);
            Fate::Unseen
        }
        0..120 => Fate::Carried(100_000),
        120..220 => Fate::Carried(250),
        _ => Fate::Carried(1_000_000),
    });
    assert_eq!(ran.outcome, Some(Outcome::Done), "{:?}", ran.given_up);
}

/// `part_timeout` counts the wait for the answer too.
#[test]
fn a_hard_limit_counts_the_answer() {
    let limits = Limits {
        part_timeout: Some(seconds(20)),
        ..Limits::default()
    };
    let unanswered = |_: &Tick| Fate::Unanswered(9_000);
    let ran = Line::new(Protocol::Blocks, MIB, limits, unanswered).run();
    assert_given_up(&ran, 20, &FailureKind::TimedOut);
}

/// An engine with two segments under way, the first acknowledged; the two.
fn two_under_way() -> (Engine, [AttemptId; 2]) {
    let setup = Setup::new(Protocol::Blocks, 4096 * MIB);
    let mut engine = setup.engine(Checkpoint::default());
    let mut under_way = Vec::new();
    let mut is_first = true;
    while under_way.len() < 2 {
        match engine.poll_effect().expect("two segments") {
            Effect::Record { id, .. } => engine.handle(Moment::default(), Event::Recorded { id }),
            Effect::Send { attempt, .. } if is_first => {
                is_first = false;
                engine.handle(Moment::default(), answered(attempt));
            }
            Effect::Send { attempt, .. } => under_way.push(attempt),
            _ => {}
        }
    }
    (engine, [under_way[0], under_way[1]])
}

fn answered(attempt: AttemptId) -> Event {
    Event::Sent {
        attempt,
        receipt: Receipt {
            text: "ctx".into(),
            host: None,
            expires: None,
        },
        digest: Digest([0; 20]),
        server_time: None,
    }
}

fn pulse(attempt: AttemptId, acknowledged_bytes: u64) -> Event {
    Event::Pulse {
        attempt,
        pulse: Pulse::new(Stage::Sending, acknowledged_bytes),
    }
}

/// Bytes of attempts that are answered before any pulse told of them count for the line: one that
/// crawls beside them is left behind.
#[test]
fn what_no_pulse_told_counts() {
    let (mut engine, [crawls, mut quick]) = two_under_way();
    for second in 0..90 {
        let now = Moment(Duration::from_secs(second));
        engine.handle(now, pulse(crawls, second * 500));
        engine.handle(now, answered(quick));
        while let Some(effect) = engine.poll_effect() {
            match effect {
                Effect::Record { id, .. } => engine.handle(now, Event::Recorded { id }),
                Effect::Send { attempt, .. } => quick = attempt,
                Effect::GiveUp { attempt, why } => {
                    assert_eq!((attempt, &why.kind), (crawls, &FailureKind::TimedOut));
                    assert!((60..63).contains(&second), "{second}: {why}");
                    return;
                }
                _ => {}
            }
        }
    }
    panic!("nothing is given up");
}

/// A number of acknowledged bytes that falls and rises again is no progress.
#[test]
fn falling_numbers_are_no_progress() {
    let (mut engine, [attempt, _]) = two_under_way();
    for second in 0..90 {
        let now = Moment(Duration::from_secs(second));
        engine.handle(now, pulse(attempt, 1000 * (second % 2)));
        while let Some(effect) = engine.poll_effect() {
            if let Effect::GiveUp { why, .. } = effect {
                assert_eq!(why.kind, FailureKind::Stalled, "{why}");
                assert!((30..33).contains(&second), "{second}: {why}");
                return;
            }
        }
    }
    panic!("nothing is given up");
}
