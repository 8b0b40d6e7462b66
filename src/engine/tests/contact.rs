//! How long an upload goes on when what it asks for never comes, and what counts as a sign of life.

use std::ops::Range;
use std::time::Duration;

use crate::engine::event::{Effect, Event, Lesson, Moment, Outcome, Pulse};
use crate::engine::plan::{Layout, Protocol};
use crate::engine::record::{Checkpoint, Digest, Receipt, Record};
use crate::engine::retry::Budget;
use crate::engine::tests::bounds::{STEPS_MAX, failure, job, run, run_from, succeed};
use crate::engine::tests::world::{MIB, attempt_of};
use crate::engine::{Engine, Limits};
use crate::model::{Failure, FailureKind, Remedy, Stage};

/// The first segment of the first lane, as an earlier process recorded it.
fn segment_of(len: u64) -> Record {
    Record::Segment {
        lane: 0,
        offset: 0,
        len,
        digest: Digest([0; 20]),
        receipt: Receipt {
            text: "ctx".into(),
            host: None,
            expires: None,
        },
    }
}

/// What an earlier process left of 9 MiB in parts: an upload id, and the first part.
fn with_one_part() -> Checkpoint {
    let begun = Record::Begun {
        layout: Layout {
            protocol: Protocol::Parts,
            lane_len: 4 * MIB,
        },
        upload_id: Some("id".into()),
        expires: None,
    };
    Checkpoint::replay(&[begun, segment_of(4 * MIB)], 9 * MIB).0
}

/// Attempts that each end after some seconds: who takes bytes is there, however slow, and gets the
/// whole budget; a connection that took none, or that breaks soon, is no contact.
#[test]
fn slow_is_a_contact() {
    use FailureKind as K;
    let rows = [
        (K::Stalled, 0, 30, 1),
        (K::Stalled, 1, 30, 15),
        (K::Stalled, 1, 5, 1),
        (K::NotReading, 0, 30, 15),
        (K::Broken, 0, 30, 15),
        (K::Broken, 0, 5, 1),
        (K::Connect, 0, 30, 1),
    ];
    for (kind, acknowledged_bytes, seconds, minutes) in rows {
        let job = job(Protocol::Blocks, MIB);
        let mut engine = Engine::new(job, Limits::default(), Checkpoint::default());
        let mut now = Moment::default();
        for _ in 0..STEPS_MAX {
            let event = match engine.poll_effect() {
                Some(Effect::Finish(_)) => break,
                Some(Effect::Send { attempt, .. }) => {
                    let pulse = Event::Pulse {
                        attempt,
                        pulse: Pulse::new(Stage::Sending, acknowledged_bytes),
                    };
                    engine.handle(now, pulse);
                    now = now.after(Duration::from_secs(seconds));
                    Some(Event::Failed {
                        attempt,
                        failure: Failure::new(kind.clone(), "as the test wants it"),
                        server_time: None,
                    })
                }
                Some(effect) => succeed(&effect),
                None => {
                    now = now.max(engine.next_wakeup().expect("a reason to wake"));
                    Some(Event::Woken)
                }
            };
            if let Some(event) = event {
                engine.handle(now, event);
            }
        }
        let least = Duration::from_secs(60 * minutes);
        let most = least + Duration::from_secs(75);
        let story = format!("{kind:?} with {acknowledged_bytes} after {seconds} s: {now:?}");
        assert!((least..most).contains(&now.0), "{story}");
    }
}

/// A list that never comes is asked for at growing distances, for as long as the budget lasts.
#[test]
fn lists_that_never_come() {
    let job = job(Protocol::Parts, 9 * MIB);
    let ran = run_from(with_one_part(), job, |effect| {
        let is_list = matches!(effect, Effect::List { .. });
        is_list.then(|| failure(FailureKind::Server))?
    });
    assert!(
        matches!(ran.outcome, Outcome::Failed { again: true, .. }),
        "{:?}",
        ran.outcome
    );
    let lists = ran.effects.iter();
    let lists = lists.filter(|effect| matches!(effect, Effect::List { .. }));
    let count = lists.count();
    assert!((30..200).contains(&count), "{count} lists in 15 minutes");
}

/// A token that may not list is no reason to stop: the list is asked for once more with a fresh token,
/// if there is one, and then done without.
#[test]
fn tokens_that_may_not_list() {
    for (has_another, lists) in [(true, 2), (false, 1)] {
        let job = job(Protocol::Parts, 9 * MIB);
        let ran = run_from(with_one_part(), job, |effect| match effect {
            Effect::List { .. } => failure(FailureKind::Unauthorized),
            Effect::RenewToken if !has_another => failure(FailureKind::Unauthorized),
            _ => None,
        });
        assert_eq!(ran.outcome, Outcome::Done);
        let is_list = |effect: &&Effect| matches!(effect, Effect::List { .. });
        assert_eq!(ran.effects.iter().filter(is_list).count(), lists);
    }
}

/// A failure that only a person mends ends an upload after three attempts, if nothing else was ever
/// met; beside one that may pass it is waited for like any other.
#[test]
fn what_time_does_not_mend() {
    // What an earlier process left; each attempt from the first: whether it may pass; seconds, attempts.
    type Row<'a> = (&'a str, Checkpoint, &'a [bool], Range<u64>, Range<usize>);
    let rows: [Row<'_>; 4] = [
        ("a wrong name", Checkpoint::default(), &[], 0..5, 3..4),
        ("the second run", with_one_part(), &[], 0..5, 3..4),
        (
            "one that may pass",
            Checkpoint::default(),
            &[true],
            60..105,
            4..40,
        ),
        (
            "the second run, may pass",
            with_one_part(),
            &[true],
            900..945,
            20..200,
        ),
    ];
    for (story, checkpoint, passing, seconds, attempts) in rows {
        let mut tried = 0;
        let ran = run_from(checkpoint, job(Protocol::Parts, 9 * MIB), |effect| {
            attempt_of(effect)?;
            let mut failed = failure(FailureKind::Tls)?;
            if matches!(effect, Effect::Probe { .. }) {
                return Some(failed);
            }
            let may_pass = passing.get(tried).is_some_and(|it| *it);
            failed.remedy = (!may_pass).then_some(Remedy::Clock);
            tried += 1;
            Some(failed)
        });
        let told = format!("{story}: {tried} in {:?}, {:?}", ran.ended, ran.outcome);
        let fails = matches!(ran.outcome, Outcome::Failed { again: true, .. });
        assert!(fails && seconds.contains(&ran.ended.0.as_secs()), "{told}");
        assert!(attempts.contains(&tried), "{told}");
    }
}

/// An earlier process that was given something was in contact: its upload has the whole budget.
#[test]
fn an_earlier_contact_counts() {
    let begun = |protocol, upload_id: Option<&str>| Record::Begun {
        layout: Layout {
            protocol,
            lane_len: 4 * MIB,
        },
        upload_id: upload_id.map(str::to_owned),
        expires: None,
    };
    let rows = [
        (vec![begun(Protocol::Blocks, None)], 1),
        (vec![begun(Protocol::Blocks, None), segment_of(MIB)], 15),
        (vec![begun(Protocol::Parts, Some("id"))], 15),
    ];
    for (records, minutes) in rows {
        let (checkpoint, _) = Checkpoint::replay(&records, 9 * MIB);
        let job = job(Protocol::Blocks, 9 * MIB);
        let ran = run_from(checkpoint, job, |effect| {
            attempt_of(effect).and_then(|_| failure(FailureKind::Connect))
        });
        let least = Duration::from_secs(60 * minutes);
        let most = least + Duration::from_secs(45);
        assert!(
            (least..most).contains(&ran.ended.0),
            "{records:?}: {:?}",
            ran.ended
        );
    }
}

/// Looks that fail are further and further apart, those that are refused end after three; the end of
/// either is that nobody can tell.
#[test]
fn looks_that_fail() {
    for (kind, least, most) in [
        (FailureKind::Server, 30, 200),
        (FailureKind::Throttled, 30, 200),
        (FailureKind::Forbidden, 3, 3),
    ] {
        let job = job(Protocol::Form, 1000);
        let ran = run_from(Checkpoint::default(), job, |effect| match effect {
            Effect::Commit { .. } => failure(FailureKind::Broken),
            Effect::Stat { .. } => {
                let mut failed = failure(kind.clone())?;
                failed.request_id = Some("r".into());
                Some(failed)
            }
            _ => None,
        });
        let outcome = &ran.outcome;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
        let looks = ran.effects.iter();
        let looks = looks.filter(|effect| matches!(effect, Effect::Stat { .. }));
        let count = looks.count();
        assert!((least..=most).contains(&count), "{kind:?}: {count} looks");
    }
}

/// A service that asks for more patience than is left is not asked again, and that is said. What may
/// have happened is looked for all the same: there the wait is cut.
#[test]
fn retry_after_and_the_budget() {
    let asks = |kind, seconds| {
        let mut failure = failure(kind)?;
        failure.request_id = Some("r".into());
        failure.retry_after = Some(Duration::from_secs(seconds));
        Some(failure)
    };
    // What is refused, for how long, how often → after how many seconds it ends, and what is said.
    let rows: [(FailureKind, u64, usize, u64, &str); 4] = [
        (FailureKind::Throttled, 300, 2, 600, ""),
        (
            FailureKind::Server,
            400,
            usize::MAX,
            800,
            "wait 400 s, longer than what is left of the retry_budget (100 s)",
        ),
        (
            FailureKind::Throttled,
            9999,
            usize::MAX,
            600,
            "wait 9999 s, longer than what is left of the retry_budget (300 s)",
        ),
        (FailureKind::Throttled, 900, 1, 600, ""),
    ];
    for (kind, asked, times, ends, said) in rows {
        let mut refused = 0;
        let ran = run(job(Protocol::Blocks, MIB), |effect| {
            let is_segment = matches!(effect, Effect::Send { .. });
            refused += usize::from(is_segment);
            (is_segment && refused <= times).then(|| asks(kind.clone(), asked))?
        });
        let story = format!("{kind:?} {asked}: {:?} {:?}", ran.ended, ran.outcome);
        assert_eq!(ran.ended.0.as_secs(), ends, "{story}");
        match &ran.outcome {
            Outcome::Failed { failure, again } => {
                assert!(*again && failure.message.contains(said), "{story}");
                assert!(!said.is_empty(), "{story}");
            }
            outcome => assert!(said.is_empty() && *outcome == Outcome::Done, "{story}"),
        }
    }
    let ran = run(job(Protocol::Form, 1000), |effect| match effect {
        Effect::Commit { .. } => asks(FailureKind::Server, 590),
        Effect::Stat { .. } => asks(FailureKind::Throttled, 590),
        _ => None,
    });
    assert!(
        matches!(ran.outcome, Outcome::Unknown(_)),
        "{:?}",
        ran.outcome
    );
    assert_eq!(ran.ended.0.as_secs(), 900);
}

/// Time in which bytes were acknowledged is no time without progress, however many lanes tell of it;
/// waits are.
#[test]
fn acknowledged_bytes_keep_the_budget() {
    let at = |seconds| Moment(Duration::from_secs(seconds));
    let mut budget = Budget::new(Duration::from_secs(900));
    budget.progress(at(100));
    // Two lanes tell of the same two thousand seconds.
    for second in 100..2100 {
        for _ in 0..2 {
            budget.excuse(at(second), at(second + 1));
        }
    }
    assert!(!budget.is_spent(at(2999)));
    assert!(budget.is_spent(at(3000)));
    // A hundred seconds of waits, and as many in which something moved.
    budget.excuse(at(2200), at(2300));
    assert!(!budget.is_spent(at(3099)));
    assert!(budget.is_spent(at(3100)));
    // What was excused once, or came before an answer, is not excused again.
    budget.excuse(at(2150), at(2300));
    assert!(budget.is_spent(at(3100)));
    budget.progress(at(4000));
    budget.excuse(at(3000), at(4010));
    assert!(budget.is_spent(at(4910)));
    assert!(!budget.is_spent(at(4909)));
}

/// Time in which an upload waits for its turn is none in which nobody answered: three refusals in a
/// moment after it are no reason to give up.
#[test]
fn a_turn_is_waited_for() {
    let limits = Limits::default();
    let mut engine = Engine::new(job(Protocol::Blocks, MIB), limits, Checkpoint::default());
    let mut now = Moment::default();
    let mut waited = Duration::ZERO;
    for _ in 0..STEPS_MAX {
        let event = match engine.poll_effect() {
            Some(Effect::Finish(_)) => break,
            Some(Effect::Send { attempt, .. }) => {
                while waited < Duration::from_secs(140) {
                    let pulse = Pulse::new(Stage::Waiting, 0);
                    engine.handle(now, Event::Pulse { attempt, pulse });
                    now = now.after(Duration::from_secs(1));
                    waited += Duration::from_secs(1);
                }
                Some(Event::Failed {
                    attempt,
                    failure: Failure::new(FailureKind::Connect, "refused"),
                    server_time: None,
                })
            }
            Some(effect) => succeed(&effect),
            None => {
                now = now.max(engine.next_wakeup().expect("a reason to wake"));
                Some(Event::Woken)
            }
        };
        if let Some(event) = event {
            engine.handle(now, event);
        }
    }
    assert!((200..250).contains(&now.0.as_secs()), "{now:?}");
}

/// An outage between a commit and its answer: the looks that fail are a sign of it, and whoever waits
/// for the line waits there too, and is in no hurry when it is back.
#[test]
fn looks_wait_for_the_line() {
    for (wait_online, is_done) in [(true, true), (false, false)] {
        let limits = Limits {
            wait_online,
            ..Limits::default()
        };
        let mut engine = Engine::new(job(Protocol::Form, MIB), limits, Checkpoint::default());
        let mut now = Moment::default();
        let until = Moment(Duration::from_secs(3_600));
        let (mut commits, mut looks, mut outcome) = (0, 0, None);
        for _ in 0..STEPS_MAX {
            let effect = engine.poll_effect();
            let is_down = now < until;
            let refused = match &effect {
                Some(Effect::Finish(ended)) => {
                    outcome = Some(ended.clone());
                    break;
                }
                Some(Effect::Commit { .. }) => {
                    commits += 1;
                    (commits == 1).then_some(FailureKind::Broken)
                }
                Some(Effect::Probe { .. }) if is_down => Some(FailureKind::Connect),
                Some(Effect::Stat { .. }) if is_down => {
                    now = now.after(Duration::from_secs(10));
                    Some(FailureKind::Connect)
                }
                // The first ones after the line's return meet a service that stumbles.
                Some(Effect::Stat { .. }) => {
                    looks += 1;
                    (looks <= 3).then_some(FailureKind::Broken)
                }
                _ => None,
            };
            let event = match (effect, refused) {
                (Some(effect), Some(kind)) => attempt_of(&effect).map(|attempt| Event::Failed {
                    attempt,
                    failure: Failure::new(kind, "as the test wants it"),
                    server_time: None,
                }),
                (Some(effect), None) => succeed(&effect),
                (None, _) => {
                    now = now.max(engine.next_wakeup().expect("a reason to wake"));
                    Some(Event::Woken)
                }
            };
            if let Some(event) = event {
                engine.handle(now, event);
            }
        }
        let told = format!("{outcome:?} at {now:?}, {commits} commits");
        assert_eq!(outcome == Some(Outcome::Done), is_done, "{told}");
        assert!(!is_done || (now >= until && commits == 2), "{told}");
    }
}

/// Everybody sleeps for half an hour, before an attempt was ever looked at or between two of them: that
/// is no time without progress, and the failure after it is one like any other.
#[test]
fn sleep_uses_nothing_up() {
    for sleeps_in_attempt in [true, false] {
        let limits = Limits::default();
        let mut engine = Engine::new(job(Protocol::Blocks, MIB), limits, Checkpoint::default());
        let (mut now, mut sent, mut outcome) = (Moment::default(), 0, None);
        let sleep = Duration::from_secs(1_800);
        for _ in 0..STEPS_MAX {
            let event = match engine.poll_effect() {
                Some(Effect::Finish(ended)) => {
                    outcome = Some(ended);
                    break;
                }
                Some(Effect::Send { attempt, .. }) if sent < 2 => {
                    sent += 1;
                    if sleeps_in_attempt && sent == 1 {
                        now = now.after(sleep);
                        let pulse = Pulse::new(Stage::Sending, 1);
                        engine.handle(now, Event::Pulse { attempt, pulse });
                    }
                    Some(Event::Failed {
                        attempt,
                        failure: Failure::new(FailureKind::Broken, "reset"),
                        server_time: None,
                    })
                }
                Some(effect) => succeed(&effect),
                None => {
                    now = now.max(engine.next_wakeup().expect("a reason to wake"));
                    if !sleeps_in_attempt && sent == 1 {
                        now = now.after(sleep);
                    }
                    Some(Event::Woken)
                }
            };
            if let Some(event) = event {
                engine.handle(now, event);
            }
        }
        assert_eq!(outcome, Some(Outcome::Done), "{sleeps_in_attempt}");
    }
}

/// Another upload was told to slow down while the last of this one's lanes was answered: those that
/// nobody has begun yet are begun when that is over.
#[test]
fn what_is_not_begun_is_waited_for() {
    let limits = Limits::default();
    let mut engine = Engine::new(job(Protocol::Parts, 9 * MIB), limits, Checkpoint::default());
    let (mut now, mut sent, mut outcome) = (Moment::default(), 0, None);
    for _ in 0..STEPS_MAX {
        let event = match engine.poll_effect() {
            Some(Effect::Finish(ended)) => {
                outcome = Some(ended);
                break;
            }
            Some(effect) => {
                sent += u32::from(matches!(effect, Effect::Send { .. }));
                if sent == 1 {
                    let time = Duration::from_secs(5);
                    engine.handle(now, Event::Heard(Lesson::SlowDown { time }));
                    sent += 1;
                }
                succeed(&effect)
            }
            None => {
                now = now.max(engine.next_wakeup().expect("a reason to wake"));
                Some(Event::Woken)
            }
        };
        if let Some(event) = event {
            engine.handle(now, event);
        }
    }
    assert_eq!(outcome, Some(Outcome::Done));
    assert!(now.0 >= Duration::from_secs(5), "{now:?}");
}
