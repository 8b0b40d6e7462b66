//! Two attempts at one segment: who goes on, who is dropped, and what is said of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::Limits;
use crate::engine::event::{AttemptId, Effect, Event, Moment, Notice, Outcome, Pulse};
use crate::engine::plan::Protocol;
use crate::engine::record::{Checkpoint, Digest, Receipt, Record};
use crate::engine::tests::line::{Fate, Line, TICK, Tick, seconds};
use crate::engine::tests::reach::{cancels, races};
use crate::engine::tests::setup::{MIB, Setup};
use crate::model::{Failure, FailureKind, Stage};

/// What the silent attempt had across.
const SILENT_AT: u64 = 60_000;

/// An engine with a raced segment.
struct Race {
    engine: Engine,
    now: Moment,
    old: AttemptId,
    second: AttemptId,
    len: u64,
}

impl Race {
    /// One attempt is silent, another one moves, until the first one's segment goes out again.
    fn begin() -> Self {
        let mut engine = Setup::new(Protocol::Blocks, 4096 * MIB).engine(Checkpoint::default());
        let mut now = Moment::default();
        let mut under_way: Vec<AttemptId> = Vec::new();
        let mut lens = BTreeMap::new();
        let mut has_answered = false;
        let mut at = 0;
        while now.0 < seconds(20) {
            while let Some(effect) = engine.poll_effect() {
                match effect {
                    Effect::Record { id, .. } => engine.handle(now, Event::Recorded { id }),
                    Effect::Send { attempt, .. } if !has_answered => {
                        has_answered = true;
                        engine.handle(now, answered(attempt));
                    }
                    Effect::Send {
                        attempt,
                        is_second: true,
                        ..
                    } => {
                        let old = under_way[0];
                        return Self {
                            engine,
                            now,
                            old,
                            second: attempt,
                            len: lens[&old],
                        };
                    }
                    Effect::Send { attempt, span, .. } => {
                        lens.insert(attempt, span.len);
                        under_way.push(attempt);
                    }
                    _ => {}
                }
            }
            now = now.after(TICK);
            at += 1_000;
            for (place, attempt) in under_way.iter().enumerate() {
                let acknowledged = if place == 0 { SILENT_AT } else { at };
                engine.handle(now, pulse(*attempt, acknowledged));
            }
        }
        panic!("no race");
    }

    /// Tells this a tick later; what the engine wants then.
    fn tell(&mut self, event: Event) -> Vec<Effect> {
        self.now = self.now.after(TICK);
        self.engine.handle(self.now, event);
        std::iter::from_fn(|| self.engine.poll_effect()).collect()
    }
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

fn failed(attempt: AttemptId, kind: FailureKind) -> Event {
    Event::Failed {
        attempt,
        failure: Failure::new(kind, "as the test wants it"),
        server_time: None,
    }
}

fn dropped(effects: &[Effect]) -> Vec<AttemptId> {
    let dropped = |effect: &Effect| match effect {
        Effect::Cancel { attempt } => Some(*attempt),
        _ => None,
    };
    effects.iter().filter_map(dropped).collect()
}

/// The length of a segment that is recorded now.
fn recorded(effects: &[Effect]) -> Option<u64> {
    effects.iter().find_map(|effect| match effect {
        Effect::Record {
            record: Record::Segment { len, .. },
            ..
        } => Some(*len),
        _ => None,
    })
}

/// A connection that breaks beside another attempt at the same segment is a broken connection all the
/// same: the next segments are shorter.
#[test]
fn a_break_beside_another_attempt_counts() {
    let mut race = Race::begin();
    let before = race.engine.segment_len();
    let old = race.old;
    race.now = race.now.after(seconds(5));
    let effects = race.tell(failed(old, FailureKind::Broken));
    let is_sent = |effect: &Effect| matches!(effect, Effect::Send { .. });
    assert!(!effects.iter().any(is_sent), "the second one goes on");
    let after = race.engine.segment_len();
    assert!(after < before, "{before}, then {after}");
}

/// Who goes on alone when one of two moves.
#[test]
fn who_moves_and_who_is_dropped() {
    // Who moves, to how many bytes, and whether the other one is dropped.
    let rows: [(&str, bool, u64, bool); 5] = [
        (
            "the silent one wakes and is ahead",
            true,
            SILENT_AT + 1,
            true,
        ),
        ("the second one begins", false, 1, false),
        ("it is still behind", false, SILENT_AT - 1, false),
        ("it is as far", false, SILENT_AT, true),
        ("it is further", false, SILENT_AT + 1, true),
    ];
    for (story, is_old, to, is_dropped) in rows {
        let mut race = Race::begin();
        let (old, second) = (race.old, race.second);
        let (who, other) = if is_old { (old, second) } else { (second, old) };
        race.tell(pulse(second, 0));
        let effects = race.tell(pulse(who, to));
        let expected = if is_dropped { vec![other] } else { Vec::new() };
        assert_eq!(dropped(&effects), expected, "{story}");
        // Whoever is left brings the segment home.
        let effects = race.tell(answered(who));
        assert_eq!(recorded(&effects), Some(race.len), "{story}");
    }
    // One that wakes when it was overtaken unseen leaves the second alone.
    let mut race = Race::begin();
    let (old, second) = (race.old, race.second);
    assert_eq!(dropped(&race.tell(pulse(second, 0))), []);
    assert_eq!(dropped(&race.tell(pulse(second, SILENT_AT - 1))), []);
    assert_eq!(
        dropped(&race.tell(pulse(old, SILENT_AT))),
        [],
        "no movement"
    );
}

/// The first answer counts, whoever's it is: the other attempt is dropped, and its answer, should it
/// come all the same, is none.
#[test]
fn the_first_answer_counts() {
    for is_old in [true, false] {
        let mut race = Race::begin();
        let (old, second) = (race.old, race.second);
        let (first, other) = if is_old { (old, second) } else { (second, old) };
        let before = race.engine.line_bytes();
        race.tell(pulse(second, 20_000));
        let effects = race.tell(answered(first));
        assert_eq!(dropped(&effects), [other], "{is_old}");
        assert_eq!(recorded(&effects), Some(race.len), "{is_old}");
        // What both brought across is what the line carried.
        let of_first = race.len - if is_old { SILENT_AT } else { 0 };
        let of_other = if is_old { 20_000 } else { 0 };
        let carried = race.engine.line_bytes() - before;
        assert_eq!(carried, of_first + of_other, "{is_old}");
        let effects = race.tell(answered(other));
        assert_eq!(recorded(&effects), None, "{is_old}");
        assert_eq!(
            race.tell(failed(other, FailureKind::Broken)),
            [],
            "{is_old}"
        );
    }
}

/// A failure that may pass leaves the other attempt alone, without a word of a retry; when that fails
/// too, it is one like any other.
#[test]
fn one_of_two_fails() {
    use FailureKind as K;
    for kind in [
        K::Broken,
        K::Stalled,
        K::TimedOut,
        K::Server,
        K::NotKodo,
        K::Connect,
        K::Tls,
    ] {
        for is_old in [true, false] {
            let mut race = Race::begin();
            let (old, second) = (race.old, race.second);
            let (first, other) = if is_old { (old, second) } else { (second, old) };
            let effects = race.tell(failed(first, kind.clone()));
            let is_quiet = effects.iter().all(|it| matches!(it, Effect::Teach(_)));
            assert!(is_quiet, "{kind:?}, {is_old}: {effects:?}");
            let effects = race.tell(failed(other, kind.clone()));
            let retries = effects
                .iter()
                .filter(|it| matches!(it, Effect::Notice(Notice::Retrying { attempts: 1, .. })));
            assert_eq!(retries.count(), 1, "{kind:?}, {is_old}: {effects:?}");
        }
    }
}

/// A refusal is for both: the other attempt is dropped, and what follows is what follows a refusal.
#[test]
fn refusals_are_for_both() {
    use FailureKind as K;
    type Follows = fn(&Effect) -> bool;
    let retried: Follows = |it| matches!(it, Effect::Notice(Notice::Retrying { .. }));
    let rows: [(K, Follows); 8] = [
        (K::Unauthorized, |it| matches!(it, Effect::RenewToken)),
        (K::BodyLimit, |it| matches!(it, Effect::Teach(_))),
        (K::Throttled, |it| matches!(it, Effect::Teach(_))),
        (K::InvalidContext, retried),
        (K::Mismatch, retried),
        (K::ChecksumRefused, retried),
        (K::TooLarge, |_| true),
        (K::Forbidden, |_| true),
    ];
    for (kind, follows) in rows {
        for is_old in [true, false] {
            let mut race = Race::begin();
            let (old, second) = (race.old, race.second);
            let (first, other) = if is_old { (old, second) } else { (second, old) };
            let effects = race.tell(failed(first, kind.clone()));
            assert_eq!(dropped(&effects), [other], "{kind:?}, {is_old}");
            assert!(
                effects.iter().any(follows),
                "{kind:?}, {is_old}: {effects:?}"
            );
            assert_eq!(
                recorded(&race.tell(answered(other))),
                None,
                "{kind:?}: it is over"
            );
        }
    }
}

/// A service on which every segment falls silent is raced three times a segment; then the stall limit
/// speaks.
#[test]
fn races_are_counted() {
    let mut hole = None;
    let ran = Line::new(
        Protocol::Blocks,
        24 * MIB,
        Limits::default(),
        |tick: &Tick| {
            // Every attempt at the lane of the second segment's is silent from the beginning.
            if hole.is_none() && tick.at >= seconds(10) && tick.carried == 0 && !tick.is_probe {
                hole = Some(tick.attempt);
            }
            let is_silent = hole == Some(tick.attempt) || tick.is_second;
            match is_silent {
                true if tick.is_second && tick.age > seconds(1) => Fate::Fails(FailureKind::Broken),
                true => Fate::Carried(0),
                false => Fate::Carried(25_000),
            }
        },
    )
    .run();
    assert_eq!(races(&ran).len(), 3, "{:?}", races(&ran));
    let (_, why) = ran.given_up.first().expect("the silent one");
    assert_eq!(why.kind, FailureKind::Stalled, "{why}");
    assert_eq!(cancels(&ran).len(), 0);
}

/// One connection moves and gets a part of its due: its segment goes out a second time when the line
/// has carried two such bodies for each connection and not half of this one. Neither is dropped before
/// an answer.
#[test]
fn a_lagging_connection_is_raced() {
    let rows: [(&str, u64, bool); 5] = [
        ("a twentieth", 50, true),
        ("a tenth", 100, true),
        ("an eighth", 125, true),
        ("two fifths", 400, false),
        ("its due", 1000, false),
    ];
    const DUE: u64 = 25_000;
    for (story, per_mille, is_raced) in rows {
        let mut slow = None;
        let (mut carried, mut at_race) = (0, None);
        let ran = Line::new(
            Protocol::Blocks,
            64 * MIB,
            Limits::default(),
            |tick: &Tick| {
                let is_fresh = tick.age <= TICK && tick.carried == 0 && !tick.is_second;
                if slow.is_none() && tick.at >= seconds(30) && is_fresh && tick.len > MIB / 4 {
                    slow = Some((tick.attempt, tick.len));
                }
                if tick.is_second && at_race.is_none() {
                    at_race = Some(carried);
                }
                match slow.is_some_and(|(attempt, _)| attempt == tick.attempt) {
                    true => Fate::Carried(DUE * per_mille / 1000),
                    false => {
                        carried += if slow.is_some() { DUE } else { 0 };
                        Fate::Carried(DUE)
                    }
                }
            },
        )
        .run_to_the_end();
        assert_eq!(ran.outcome, Some(Outcome::Done), "{story}");
        assert_eq!(ran.given_up.len(), 0, "{story}");
        assert_eq!(
            !races(&ran).is_empty(),
            is_raced,
            "{story}: {:?}",
            races(&ran)
        );
        let (_, len) = slow.expect("one lags");
        if let Some(carried) = at_race {
            // The other one carried at least four bodies together with it, two for each.
            assert!(carried > 3 * len, "{story}: {carried} of {len}");
            assert!(carried <= 5 * len, "{story}: {carried} of {len}");
            assert_eq!(cancels(&ran).len(), 1, "{story}: whoever is answered last");
        }
    }
}

/// An upload that has failed elsewhere begins nothing new: what is in flight may finish, and is not
/// raced.
#[test]
fn nothing_is_raced_at_the_end() {
    let limits = Limits {
        window: 3,
        ..Limits::default()
    };
    let mut fates = BTreeMap::new();
    let ran = Line::new(Protocol::Blocks, 64 * MIB, limits, |tick: &Tick| {
        if tick.at < seconds(30) {
            return Fate::Carried(25_000);
        }
        // From then on: one is dead, one is refused, one takes its time.
        let next = fates.len();
        match *fates.entry(tick.attempt.0).or_insert(next) {
            0 => Fate::Carried(0),
            1 if tick.at >= seconds(31) => Fate::Fails(FailureKind::Forbidden),
            _ => Fate::Carried(1_000),
        }
    })
    .run_to_the_end();
    assert!(
        matches!(ran.outcome, Some(Outcome::Failed { again: false, .. })),
        "{:?}",
        ran.outcome
    );
    assert!(
        ran.ended > seconds(40),
        "some seconds are left: {:?}",
        ran.ended
    );
    assert_eq!(races(&ran), Vec::<Duration>::new());
}
