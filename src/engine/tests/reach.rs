//! Down, or only one connection dead: what a fresh connection tells, second by second.

use std::time::Duration;

use crate::engine::Limits;
use crate::engine::event::{AttemptId, Effect, Notice, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::tests::line::{Fate, Line, Ran, TICK, Tick, seconds};
use crate::engine::tests::world::MIB;
use crate::model::FailureKind;

/// What each connection carries in a tick: 100 kB/s.
const PACE: u64 = 25_000;

/// Segments in `window` lanes.
fn blocks(window: usize, size: u64, fate: impl FnMut(&Tick) -> Fate) -> Ran {
    let limits = Limits {
        window,
        ..Limits::default()
    };
    Line::new(Protocol::Blocks, size, limits, fate).run_to_the_end()
}

/// When each effect of a kind was wanted.
pub(crate) fn moments(ran: &Ran, is_it: impl Fn(&Effect) -> bool) -> Vec<Duration> {
    let found = ran.log.iter().filter(|(_, effect)| is_it(effect));
    found.map(|(at, _)| *at).collect()
}

pub(crate) fn races(ran: &Ran) -> Vec<Duration> {
    moments(ran, |it| matches!(it, Effect::Notice(Notice::Raced { .. })))
}

pub(crate) fn probes(ran: &Ran) -> Vec<Duration> {
    moments(ran, |it| matches!(it, Effect::Probe { .. }))
}

pub(crate) fn cancels(ran: &Ran) -> Vec<Duration> {
    moments(ran, |it| matches!(it, Effect::Cancel { .. }))
}

/// How often the line was called down, and the silences with which it came up again.
fn downs(ran: &Ran) -> (usize, Vec<Duration>) {
    let is_down = |notice: &&Notice| matches!(notice, Notice::LineDown { .. });
    let up = |notice: &Notice| match notice {
        Notice::LineUp { silence } => Some(*silence),
        _ => None,
    };
    let said = ran.notices.iter();
    (
        said.clone().filter(is_down).count(),
        said.filter_map(up).collect(),
    )
}

/// Whether `at` lies within half a second from `from` on: two ticks.
pub(crate) fn is_about(at: Duration, from: Duration) -> bool {
    (from..from + Duration::from_millis(501)).contains(&at)
}

/// The oldest attempt that is under way at a moment is dead from then on.
struct Dies {
    at: Duration,
    who: Option<AttemptId>,
}

impl Dies {
    fn at(at: u64) -> Self {
        Self {
            at: seconds(at),
            who: None,
        }
    }

    fn is(&mut self, tick: &Tick) -> bool {
        if self.who.is_none() && tick.at >= self.at && !tick.is_probe {
            self.who = Some(tick.attempt);
        }
        self.who == Some(tick.attempt)
    }
}

/// One connection falls silent while the other moves: its segment goes out again after three times the
/// longest silence that ended well, three seconds at least, and nobody else is bothered.
#[test]
fn one_dead_connection() {
    let rows: [(&str, u64, u64); 4] = [
        ("never a silence", 0, 3_000),
        ("one of a second", 1_000, 3_000),
        ("one of two seconds", 2_000, 6_000),
        ("one of five, in which a probe opened", 5_000, 15_000),
    ];
    for (story, honest_ms, after_ms) in rows {
        let mut dead = Dies::at(30);
        // From the last movement to the next one is a tick more.
        let honest =
            seconds(10)..seconds(10) + Duration::from_millis(honest_ms).saturating_sub(TICK);
        let ran = blocks(2, 24 * MIB, |tick| match dead.is(tick) {
            true => Fate::Carried(0),
            false if honest.contains(&tick.at) => Fate::Carried(0),
            false => Fate::Carried(PACE),
        });
        assert_eq!(ran.outcome, Some(Outcome::Done), "{story}");
        assert_eq!(ran.given_up.len(), 0, "{story}");
        assert_eq!(downs(&ran).0, 0, "{story}");
        let late: Vec<Duration> = races(&ran)
            .into_iter()
            .filter(|at| *at > seconds(16))
            .collect();
        assert_eq!(late.len(), 1, "{story}: {late:?}");
        // Its last movement was a tick before it died.
        let silent_since = seconds(30) - TICK;
        assert!(
            is_about(late[0], silent_since + Duration::from_millis(after_ms)),
            "{story}: {late:?}"
        );
        let asked = probes(&ran).into_iter().filter(|at| *at > seconds(16));
        assert_eq!(asked.count(), 0, "{story}: the line is evidently up");
        let cancelled = cancels(&ran).into_iter().filter(|at| *at > late[0]);
        assert_eq!(cancelled.count(), 1, "{story}: the dead one");
    }
}

/// What is silent before the line has shown any pace is nobody's fault: no probe, no race, and the
/// stall limit ends it.
#[test]
fn nothing_is_suspect_before_there_is_a_pace() {
    for (samples, is_suspect) in [(1, false), (2, false), (3, true)] {
        let mut carried = 0;
        let limits = Limits::default();
        let ran = Line::new(Protocol::Blocks, 8 * MIB, limits, |tick: &Tick| {
            let moves = carried < samples && !tick.is_probe;
            carried += u32::from(moves);
            Fate::Carried(if moves { MIB } else { 0 })
        })
        .run();
        assert_eq!(!probes(&ran).is_empty(), is_suspect, "{samples} samples");
        assert_eq!(!races(&ran).is_empty(), is_suspect, "{samples} samples");
        let (at, why) = ran.given_up.first().expect("a dead line");
        assert_eq!(why.kind, FailureKind::Stalled, "{samples}: {why}");
        assert!(
            is_about(*at, seconds(30)) || is_suspect,
            "{samples}: {at:?}"
        );
    }
}

/// Everything is silent, a probe is made, and it opens: the connections had their moment to wake, then
/// their segments are raced. A black hole costs six seconds.
#[test]
fn the_line_is_up_and_connections_are_dead() {
    for window in [1, 2, 4] {
        let live = blocks(window, 160 * MIB, |_| Fate::Carried(PACE));
        let ran = blocks(window, 160 * MIB, |tick| {
            // Whoever was there at 20 s is dead.
            let is_old = tick.at - tick.age <= seconds(20);
            Fate::Carried(if is_old && tick.at > seconds(20) {
                0
            } else {
                PACE
            })
        });
        assert_eq!(ran.outcome, Some(Outcome::Done), "{window}");
        assert_eq!((ran.given_up.len(), downs(&ran).0), (0, 0), "{window}");
        let asked = probes(&ran);
        assert!(is_about(asked[0], seconds(23)), "{window}: {asked:?}");
        let raced = races(&ran);
        let opened = asked[0] + TICK;
        let after_grace = opened + Duration::from_millis(1500);
        assert_eq!(raced.len(), window, "{window}: {raced:?}");
        for at in raced {
            assert!(is_about(at, after_grace), "{window}: {at:?}");
        }
        let late = ran.ended - live.ended;
        assert!(
            late <= seconds(11),
            "{window}: {late:?}, half of it sent twice"
        );
    }
}

/// No probe opens: the line is down, which is said once. A probe goes out every two seconds, nothing is
/// given up, and when the line is back whoever wakes goes on; a segment that stays silent is raced.
#[test]
fn the_line_is_down() {
    let rows: [(&str, u64, bool); 4] = [
        ("8 s, and connections wake", 8, true),
        ("8 s, and connections are dead", 8, false),
        ("10 min, and connections wake", 600, true),
        ("10 min, and connections are dead", 600, false),
    ];
    for (story, length, wakes) in rows {
        let down = seconds(20)..seconds(20 + length);
        let ran = blocks(2, 24 * MIB, |tick| match down.contains(&tick.at) {
            true if tick.is_probe => Fate::Connecting,
            true => Fate::Carried(0),
            false => {
                let is_old = tick.at - tick.age < down.end && tick.at >= down.end;
                Fate::Carried(if is_old && !wakes { 0 } else { PACE })
            }
        });
        assert_eq!(ran.outcome, Some(Outcome::Done), "{story}");
        assert_eq!(ran.given_up.len(), 0, "{story}: {:?}", ran.given_up);
        let (count, up) = downs(&ran);
        assert_eq!((count, up.len()), (1, 1), "{story}");
        assert!(
            up[0] >= seconds(length) && up[0] <= seconds(length + 2),
            "{story}: {up:?}"
        );
        let asked = probes(&ran);
        let in_time = asked.iter().filter(|at| down.contains(at));
        let due = (length - 3).div_ceil(2);
        assert!(in_time.count() as u64 >= due, "{story}: {asked:?}");
        for pair in asked.windows(2) {
            assert!(pair[1] - pair[0] >= seconds(2), "{story}: {pair:?}");
        }
        let raced = races(&ran);
        assert_eq!(raced.is_empty(), wakes, "{story}: {raced:?}");
        // A probe is due within two seconds, and connections get one and a half to wake.
        let in_time = down.end..down.end + seconds(4);
        let all_raced = raced.iter().all(|at| in_time.contains(at));
        assert!(all_raced, "{story}: {raced:?}");
    }
}

/// A line that is down is waited for as long as the retry budget lasts; then the stall limit speaks
/// again, and the upload may be run again.
#[test]
fn a_line_that_stays_down() {
    for window in [1, 2] {
        let ran = blocks(window, 24 * MIB, |tick| match tick.at.as_secs() {
            0..20 => Fate::Carried(PACE),
            _ if tick.is_probe => Fate::Connecting,
            _ => Fate::Carried(0),
        });
        assert!(
            matches!(ran.outcome, Some(Outcome::Failed { again: true, .. })),
            "{:?}",
            ran.outcome
        );
        assert_eq!(downs(&ran), (1, Vec::new()), "{window}");
        let (at, why) = ran.given_up.first().expect("in the end");
        assert_eq!(why.kind, FailureKind::Stalled, "{why}");
        let budget = seconds(20 + 900);
        assert!(*at >= budget && *at <= budget + seconds(31), "{at:?}");
        assert!(ran.ended <= *at + seconds(11), "{:?}", ran.ended);
    }
}

/// A silence in which the line was down says nothing of how long silences are here: the next dead
/// connection is found as soon as ever.
#[test]
fn silences_of_a_dead_line_are_not_honest() {
    let down = seconds(20)..seconds(80);
    let mut dead = Dies::at(100);
    let ran = blocks(2, 24 * MIB, |tick| match down.contains(&tick.at) {
        true if tick.is_probe => Fate::Connecting,
        true => Fate::Carried(0),
        false if dead.is(tick) => Fate::Carried(0),
        false => Fate::Carried(PACE),
    });
    assert_eq!(ran.outcome, Some(Outcome::Done));
    let raced = races(&ran);
    assert_eq!(raced.len(), 1, "{raced:?}");
    assert!(is_about(raced[0], seconds(103) - TICK), "{raced:?}");
}

/// A server that does not read is there: no race, and the stall limit says how long it is waited for.
#[test]
fn a_closed_window_is_not_raced() {
    let mut closed = Dies::at(20);
    let ran = blocks(2, 24 * MIB, |tick| match closed.is(tick) {
        // Between two probes of the kernel's it may look open.
        true if tick.at.subsec_millis() == 0 => Fate::Carried(0),
        true => Fate::Closed,
        false => Fate::Carried(PACE),
    });
    assert_eq!(races(&ran).len(), 0);
    let (at, why) = ran.given_up.first().expect("the closed one");
    assert_eq!(why.kind, FailureKind::NotReading, "{why}");
    assert!(is_about(*at, seconds(50) - TICK), "{at:?}");
}

/// Answers that take their time make those that take longer suspect later; a segment whose answer does
/// not come is raced, and the first answer counts.
#[test]
fn answers_that_never_come() {
    for (story, takes, after) in [
        ("at once", 0, 3),
        ("a second", 1, 3),
        ("two", 2, 6),
        ("four", 4, 12),
    ] {
        let mut whole = std::collections::BTreeMap::new();
        let mut lost = None;
        let ran = blocks(2, 24 * MIB, |tick| {
            if tick.carried + PACE < tick.len {
                return Fate::Carried(PACE);
            }
            let since = *whole.entry(tick.attempt.0).or_insert(tick.at);
            if lost.is_none() && since >= seconds(30) && tick.len > 0 {
                lost = Some((tick.attempt, tick.at));
            }
            let is_lost = lost.is_some_and(|(attempt, _)| attempt == tick.attempt);
            match tick.at - since >= seconds(takes) && !is_lost {
                true => Fate::Carried(PACE),
                false => Fate::Unanswered(PACE),
            }
        });
        assert_eq!(ran.outcome, Some(Outcome::Done), "{story}");
        assert_eq!(ran.given_up.len(), 0, "{story}");
        let raced = races(&ran);
        assert_eq!(raced.len(), 1, "{story}: {raced:?}");
        let (_, lost_at) = lost.expect("one is lost");
        let due = lost_at + seconds(after);
        assert!(
            is_about(raced[0], due),
            "{story}: {raced:?}, lost at {lost_at:?}"
        );
    }
}
