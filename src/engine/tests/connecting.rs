//! Attempts that get no connection: another host's turn, a probe's answer, and outages that are waited
//! out.

use std::time::Duration;

use crate::engine::Limits;
use crate::engine::event::{Effect, Lesson, Notice, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::tests::line::{Fate, Line, Ran, TICK, Tick, seconds};
use crate::engine::tests::reach::{is_about, moments, probes};
use crate::engine::tests::world::MIB;
use crate::model::FailureKind;

/// What each connection carries in a tick: 100 kB/s.
const PACE: u64 = 25_000;

fn frozen(ran: &Ran) -> Vec<(Duration, usize, Duration)> {
    let frozen = |(at, effect): &(Duration, Effect)| match effect {
        Effect::Teach(Lesson::Frozen { host, time }) => Some((*at, *host, *time)),
        _ => None,
    };
    ran.log.iter().filter_map(frozen).collect()
}

/// The first of several hosts swallows connections: after two seconds, or three times what connections
/// take here, the next one has its turn, and all uploads are told. The host is tried again when its time
/// is over, by one attempt, and costs nobody else anything.
#[test]
fn another_host_has_its_turn() {
    for (hosts, protocol, handshake) in [
        (2, Protocol::Blocks, Duration::ZERO),
        (3, Protocol::Blocks, Duration::from_millis(500)),
        (2, Protocol::Blocks, Duration::from_millis(1_500)),
        (2, Protocol::Parts, Duration::ZERO),
        (2, Protocol::Form, Duration::ZERO),
    ] {
        let story = format!("{hosts} hosts, {protocol:?}, {handshake:?}");
        let size = if protocol == Protocol::Form {
            MIB
        } else {
            24 * MIB
        };
        let limits = Limits::default();
        let ran = Line::to_hosts(hosts, protocol, size, limits, |tick: &Tick| {
            match tick.host {
                0 => Fate::Connecting,
                _ if tick.age <= handshake => Fate::Connecting,
                _ => Fate::Carried(PACE),
            }
        })
        .run_to_the_end();
        assert_eq!(ran.outcome, Some(Outcome::Done), "{story}");
        let told = frozen(&ran);
        let (at, host, time) = told[0];
        assert!(is_about(at, seconds(2)), "{story}: {told:?}");
        assert_eq!((host, time), (0, seconds(30)), "{story}");
        // Longer each time, once for all that fail together; nobody else's connection is doubted.
        assert!(told.len() <= ran.given_up.len(), "{story}: {told:?}");
        assert!(told.len() <= 4, "{story}: {told:?}");
        for pair in told.windows(2) {
            assert_eq!(
                (pair[1].1, pair[1].2),
                (0, pair[0].2 * 2),
                "{story}: {told:?}"
            );
        }
        let kinds: Vec<_> = ran.given_up.iter().map(|(_, why)| &why.kind).collect();
        assert!(
            kinds.iter().all(|kind| **kind == FailureKind::Connect),
            "{story}: {kinds:?}"
        );
        assert_eq!(probes(&ran).len(), 0, "{story}: another host serves");
    }
}

/// With no other host a probe goes out every two seconds; when one opens, whoever waits begins again at
/// once, with the connection that is there. A commit does not: it may have gone out in the meantime.
#[test]
fn a_probe_opens_for_those_who_wait() {
    let rows: [(&str, Protocol, bool); 3] = [
        ("segments", Protocol::Blocks, false),
        ("an upload id", Protocol::Parts, false),
        ("a commit", Protocol::Blocks, true),
    ];
    for (story, protocol, is_commit) in rows {
        let limits = Limits::default();
        let mut waits = None;
        let ran = Line::new(protocol, MIB, limits, |tick: &Tick| {
            let is_it = tick.is_commit == is_commit && !tick.is_probe;
            if is_it && waits.is_none() {
                waits = Some((tick.attempt, tick.at));
            }
            let since = waits.map_or(Duration::ZERO, |(_, since)| tick.at - since);
            let is_first = waits.is_some_and(|(attempt, _)| attempt == tick.attempt);
            match is_it || tick.is_probe {
                // The first one's own handshake was lost, and is only sent again much later.
                true if is_first && since < seconds(60) => Fate::Connecting,
                true if since < seconds(20) => Fate::Connecting,
                _ => Fate::Carried(PACE),
            }
        })
        .run_to_the_end();
        assert_eq!(ran.outcome, Some(Outcome::Done), "{story}");
        assert_eq!(ran.given_up.len(), 0, "{story}: {:?}", ran.given_up);
        let (first, since) = waits.expect("one waits");
        let asked = probes(&ran);
        let in_time = asked.iter().filter(|at| **at < since + seconds(20));
        assert_eq!(in_time.count(), 9, "{story}: {asked:?}");
        let begun_again = moments(
            &ran,
            |it| matches!(it, Effect::Cancel { attempt } if *attempt == first),
        );
        assert_eq!(begun_again.is_empty(), is_commit, "{story}");
        let opened = *asked
            .iter()
            .rfind(|at| **at < since + seconds(20))
            .expect("one");
        for at in begun_again {
            assert!(
                at <= opened + seconds(2) + TICK,
                "{story}: {at:?}, {opened:?}"
            );
        }
        let late = ran.ended - since;
        assert_eq!(
            late < seconds(60),
            !is_commit || late < seconds(60),
            "{story}"
        );
    }
}

/// Attempts that were not reached wait longer each time, however many lanes the object has; when a probe
/// opens, nobody waits any more.
#[test]
fn waits_end_when_a_probe_opens() {
    let down = seconds(20)..seconds(320);
    let mut tries = 0;
    let mut back = Vec::new();
    let size = 2048 * MIB;
    let mut line = Line::new(Protocol::Blocks, size, Limits::default(), |tick: &Tick| {
        let is_down = down.contains(&tick.at);
        tries += u32::from(is_down && !tick.is_probe);
        if tick.at >= down.end && !tick.is_probe {
            back.push(tick.at - tick.age);
        }
        match is_down {
            true => Fate::Fails(FailureKind::Connect),
            false => Fate::Carried(PACE),
        }
    });
    line.run_until(seconds(330));
    let asked = line.log(|it| matches!(it, Effect::Probe { .. }));
    let in_time = asked.iter().filter(|at| down.contains(at)).count();
    assert!(in_time > 120, "a probe every two seconds: {in_time}");
    drop(line);
    assert!(
        tries < 250,
        "attempts are further and further apart: {tries}"
    );
    let both = back
        .iter()
        .take(2)
        .all(|at| *at <= down.end + seconds(2) + TICK);
    assert!(both, "both lanes at once: {back:?}");
}

/// The only lane there is may be in the middle of half a minute's wait when the line is back.
#[test]
fn one_long_wait_ends_too() {
    for end in (300..330).step_by(3).map(seconds) {
        let mut back = None;
        let limits = Limits::default();
        let ran = Line::new(
            Protocol::Blocks,
            4 * MIB,
            limits,
            |tick: &Tick| match (seconds(20)..end).contains(&tick.at) {
                true => Fate::Fails(FailureKind::Connect),
                false => {
                    let is_it = tick.at >= end && !tick.is_probe;
                    back = back.or(is_it.then_some(tick.at));
                    Fate::Carried(PACE)
                }
            },
        )
        .run_to_the_end();
        assert_eq!(ran.outcome, Some(Outcome::Done), "until {end:?}");
        let back = back.expect("it goes on");
        assert!(
            back <= end + seconds(2) + TICK * 2,
            "until {end:?}: {back:?}"
        );
    }
}

/// What an outage is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outage {
    /// Connections are silent, new ones are not answered.
    Silent,
    /// There is no network at all: whatever is tried fails at once.
    NoNetwork,
}

impl Outage {
    fn fate(self, tick: &Tick) -> Fate {
        match self {
            Self::NoNetwork => Fate::Fails(FailureKind::Connect),
            Self::Silent if tick.is_probe || tick.carried == 0 => Fate::Connecting,
            Self::Silent => Fate::Carried(0),
        }
    }
}

/// With `wait_online` an outage of two hours ends well and leaves the whole budget for what comes after
/// it: here a server that breaks every request for another 13 minutes. Without it the upload ends when
/// the budget is used up, and may be run again.
#[test]
fn outages_are_waited_out() {
    let down = seconds(20)..seconds(7_220);
    let sick = down.end..down.end + seconds(780);
    for (outage, protocol) in [
        (Outage::Silent, Protocol::Blocks),
        (Outage::NoNetwork, Protocol::Blocks),
        (Outage::NoNetwork, Protocol::Parts),
    ] {
        for wait_online in [true, false] {
            let limits = Limits {
                wait_online,
                ..Limits::default()
            };
            let ran = Line::new(protocol, 24 * MIB, limits, |tick: &Tick| match tick.at {
                at if down.contains(&at) => outage.fate(tick),
                at if sick.contains(&at) && !tick.is_probe => Fate::Fails(FailureKind::Broken),
                _ => Fate::Carried(PACE),
            })
            .run_to_the_end();
            let story = format!("{outage:?}, {protocol:?}, {wait_online}");
            if wait_online {
                assert_eq!(ran.outcome, Some(Outcome::Done), "{story}");
                assert_eq!(ran.given_up.len(), 0, "{story}: {:?}", ran.given_up);
                let silence = ran.notices.iter().find_map(|notice| match notice {
                    Notice::LineUp { silence } => Some(*silence),
                    _ => None,
                });
                assert!(silence >= Some(seconds(7_200)), "{story}: {silence:?}");
            } else {
                let again = matches!(ran.outcome, Some(Outcome::Failed { again: true, .. }));
                assert!(again, "{story}: {:?}", ran.outcome);
                assert!(
                    (seconds(919)..seconds(970)).contains(&ran.ended),
                    "{story}: {:?}",
                    ran.ended
                );
            }
        }
    }
}

/// The same before anything was ever heard: a machine that is switched on before its modem is. Without
/// the setting a minute is enough to say that nobody is there.
#[test]
fn outages_at_the_beginning() {
    for (wait_online, most) in [(true, 7_400), (false, 95)] {
        let limits = Limits {
            wait_online,
            ..Limits::default()
        };
        let ran = Line::to_hosts(
            2,
            Protocol::Blocks,
            4 * MIB,
            limits,
            |tick: &Tick| match tick.at.as_secs() {
                0..7_200 => Fate::Fails(FailureKind::Connect),
                _ => Fate::Carried(PACE),
            },
        )
        .run_to_the_end();
        assert_eq!(
            ran.outcome == Some(Outcome::Done),
            wait_online,
            "{:?}",
            ran.outcome
        );
        assert!(ran.ended <= seconds(most), "{wait_online}: {:?}", ran.ended);
    }
}
