//! Whatever the service goes on saying, the engine comes to an end; and what it makes of refusals that
//! something else than the service may have given.

use std::time::Duration;

use crate::engine::event::{Effect, Event, Found, Moment, Outcome};
use crate::engine::plan::{Known, Protocol, Wishes};
use crate::engine::record::{Checkpoint, Digest, Receipt, Record};
use crate::engine::tests::world::{MIB, attempt_of, wishes};
use crate::engine::{Engine, Job, Limits};
use crate::model::{Failure, FailureKind};

const KIB: u64 = 1024;

/// More steps than any upload here needs.
pub(crate) const STEPS_MAX: usize = 20_000;

/// An upload of `size` bytes to two hosts.
pub(crate) fn job(protocol: Protocol, size: u64) -> Job {
    Job {
        stream: None,
        size,
        wishes: Wishes {
            part_len: 4 * MIB,
            ..wishes(protocol)
        },
        hosts: vec!["up-1".into(), "up-2".into()],
        can_stat: true,
        repeat_shows: false,
        repeat_acts: false,
        says: Digest([1; 20]),
        unix_now: 0,
        known: Known::default(),
        seed: 1,
    }
}

/// What an upload came to.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) effects: Vec<Effect>,
    pub(crate) ended: Moment,
}

/// Runs an upload in a world where everything succeeds but what `refuse` refuses.
pub(crate) fn run(job: Job, refuse: impl FnMut(&Effect) -> Option<Failure>) -> Ran {
    run_from(Checkpoint::default(), job, refuse)
}

/// The same for one that an earlier process began.
pub(crate) fn run_from(
    checkpoint: Checkpoint,
    job: Job,
    mut refuse: impl FnMut(&Effect) -> Option<Failure>,
) -> Ran {
    let limits = Limits {
        window: 2,
        ..Limits::default()
    };
    let mut engine = Engine::new(job, limits, checkpoint);
    let (mut effects, mut now) = (Vec::new(), Moment::default());
    for _ in 0..STEPS_MAX {
        let Some(effect) = engine.poll_effect() else {
            now = now.max(engine.next_wakeup().expect("a reason to wake"));
            engine.handle(now, Event::Woken);
            continue;
        };
        effects.push(effect.clone());
        if let Effect::Finish(outcome) = effect {
            return Ran {
                outcome,
                effects,
                ended: now,
            };
        }
        let event = match (attempt_of(&effect), refuse(&effect)) {
            (Some(attempt), Some(failure)) => Some(Event::Failed {
                attempt,
                failure,
                server_time: None,
            }),
            (None, Some(_)) => Some(Event::TokenUnavailable),
            (_, None) => succeed(&effect),
        };
        if let Some(event) = event {
            engine.handle(now, event);
        }
    }
    panic!("no end in sight");
}

/// The event of an effect that succeeds; v1's answers name the second host.
pub(crate) fn succeed(effect: &Effect) -> Option<Event> {
    Some(match effect {
        Effect::Initiate { attempt, .. } => Event::Initiated {
            attempt: *attempt,
            upload_id: "id".into(),
            expires: None,
            server_time: None,
        },
        Effect::Send { attempt, .. } => Event::Sent {
            attempt: *attempt,
            receipt: Receipt {
                text: "ctx".into(),
                host: Some("up-2".into()),
                expires: None,
            },
            digest: Digest([0; 20]),
            server_time: None,
        },
        Effect::Commit { attempt, .. } => Event::Committed { attempt: *attempt },
        Effect::List { attempt, .. } => Event::Listed {
            attempt: *attempt,
            lanes: Vec::new(),
            next: None,
            server_time: None,
        },
        Effect::Stat { attempt, .. } => Event::Stated {
            attempt: *attempt,
            found: Found::Nothing,
        },
        Effect::Record { id, .. } => Event::Recorded { id: *id },
        Effect::CheckSource => Event::SourceSeen { same: true },
        Effect::Recheck { lane, .. } => Event::Rechecked {
            lane: *lane,
            same: true,
        },
        Effect::RenewToken => Event::TokenRenewed,
        Effect::Probe { attempt, .. } => Event::Probed { attempt: *attempt },
        _ => return None,
    })
}

pub(crate) fn failure(kind: FailureKind) -> Option<Failure> {
    Some(Failure::new(kind, "as the test wants it"))
}

/// Something on the way refuses bodies above a limit: chunks and parts shrink below it, a form goes
/// in lanes; where nothing is short enough, that is the end.
#[test]
fn body_limits_are_learned() {
    let rows = [
        (Protocol::Blocks, 9 * MIB, 100 * KIB, true),
        (Protocol::Blocks, 9 * MIB, 60 * KIB, false),
        (Protocol::Parts, 9 * MIB, 1500 * KIB, true),
        (Protocol::Parts, 9 * MIB, 2500 * KIB, true),
        (Protocol::Parts, 9 * MIB, 500 * KIB, false),
        (Protocol::Form, MIB, 300 * KIB, true),
    ];
    for (protocol, size, limit, is_done) in rows {
        let ran = run(job(protocol, size), |effect| match effect {
            Effect::Send { span, .. } if span.len > limit => failure(FailureKind::BodyLimit),
            Effect::Commit {
                protocol: Protocol::Form,
                ..
            } => failure(FailureKind::BodyLimit),
            _ => None,
        });
        let done = ran.outcome == Outcome::Done;
        assert_eq!(done, is_done, "{protocol:?} {limit}: {:?}", ran.outcome);
        let is_refused =
            |effect: &&Effect| matches!(effect, Effect::Send { span, .. } if span.len > limit);
        let refused = ran.effects.iter().filter(is_refused).count();
        assert!(refused <= 16, "{protocol:?} {limit}: {refused} too long");
        let passed = ran.effects.iter().filter_map(|effect| match effect {
            Effect::Send { span, .. } => Some(span.len).filter(|len| *len <= limit),
            _ => None,
        });
        let longest = passed.max().unwrap_or(0);
        assert!(
            !is_done || longest > limit / 2,
            "{protocol:?} {limit}: no longer than {longest}"
        );
    }
    // A form that goes on in parts does not become a form again when these are refused too.
    let mut form = job(Protocol::Parts, 9 * MIB);
    form.wishes.threshold = Some(u64::MAX);
    let ran = run(form, |effect| match effect {
        Effect::Send { span, .. } if span.len > 2 * MIB => failure(FailureKind::BodyLimit),
        Effect::Commit {
            protocol: Protocol::Form,
            ..
        } => failure(FailureKind::BodyLimit),
        _ => None,
    });
    assert_eq!(ran.outcome, Outcome::Done);
    let empty = run(job(Protocol::Form, 0), |effect| match effect {
        Effect::Commit { .. } => failure(FailureKind::BodyLimit),
        _ => None,
    });
    assert!(matches!(
        empty.outcome,
        Outcome::Failed { again: false, .. }
    ));
}

/// mkfile is refused for a block that the upload does not have: one start over, then the end. A real
/// block restarts a few times.
#[test]
fn refused_blocks_end() {
    for (block, sends_max) in [(99, 2), (0, 4)] {
        let ran = run(job(Protocol::Blocks, 400 * KIB), |effect| match effect {
            Effect::Commit { .. } => {
                let mut refused = failure(FailureKind::InvalidContext)?;
                refused.refused_block = Some(block);
                Some(refused)
            }
            _ => None,
        });
        assert!(matches!(ran.outcome, Outcome::Failed { .. }));
        let sends = ran.effects.iter();
        let sends = sends.filter(|effect| matches!(effect, Effect::Send { .. }));
        assert_eq!(sends.count(), sends_max, "block {block}");
    }
}

/// Without a word of the service's an upload ends after a minute; with one, it has its whole budget.
#[test]
fn nobody_there_is_told_soon() {
    let minute = Duration::from_secs(60);
    let rows = [
        (FailureKind::Connect, None, minute),
        (FailureKind::Tls, None, minute),
        (FailureKind::NotKodo, Some("r"), minute),
        (FailureKind::Server, None, minute),
        (FailureKind::Server, Some("r"), 15 * minute),
    ];
    for (kind, request_id, least) in rows {
        for protocol in [Protocol::Blocks, Protocol::Parts, Protocol::Form] {
            let ran = run(job(protocol, MIB), |effect| {
                attempt_of(effect)?;
                let mut failed = failure(kind.clone())?;
                failed.request_id = request_id.map(Into::into);
                Some(failed)
            });
            assert_ne!(ran.outcome, Outcome::Done);
            let most = least + Duration::from_secs(45);
            assert!(
                (least..most).contains(&ran.ended.0),
                "{kind:?} {protocol:?}: {:?}",
                ran.ended
            );
        }
    }
}

/// A source whose times change at every last look, and its bytes never, is called changed after eight
/// looks: the upload would never end otherwise.
#[test]
fn a_source_that_is_never_left_alone() {
    for (touches, expected) in [(8, Outcome::Done), (9, Outcome::SourceChanged)] {
        let job = job(Protocol::Blocks, 400 * KIB);
        let mut engine = Engine::new(job, Limits::default(), Checkpoint::default());
        let mut looks = 0;
        let outcome = loop {
            let effect = engine.poll_effect().expect("everything succeeds at once");
            let event = match &effect {
                Effect::Finish(outcome) => break outcome.clone(),
                Effect::CheckSource => {
                    looks += 1;
                    let same = looks > touches;
                    Some(Event::SourceSeen { same })
                }
                other => succeed(other),
            };
            if let Some(event) = event {
                engine.handle(Moment::default(), event);
            }
        };
        assert_eq!(outcome, expected, "after {looks} looks");
    }
}

/// Where there is no other token, the end has the words with which the service refused this one.
#[test]
fn a_refused_token_keeps_its_reason() {
    let ran = run(job(Protocol::Blocks, MIB), |effect| match effect {
        Effect::Send { .. } => Some(Failure::new(FailureKind::Unauthorized, "expired token")),
        Effect::RenewToken => failure(FailureKind::Unauthorized),
        _ => None,
    });
    let Outcome::Failed { failure, again } = ran.outcome else {
        panic!("{:?}", ran.outcome);
    };
    assert_eq!((failure.message.as_str(), again), ("expired token", false));
}

/// bput and mkfile go where the last answer said; an upload that starts over gives its id back.
#[test]
fn answers_are_followed() {
    let mut mismatches = 1;
    let blocks = run(job(Protocol::Blocks, 9 * MIB), |_| None);
    for effect in &blocks.effects {
        match effect {
            Effect::Send { host, after, .. } => assert_eq!(*host, usize::from(after.is_some())),
            Effect::Commit { host, .. } => assert_eq!(*host, 1),
            _ => {}
        }
    }
    let parts = run(job(Protocol::Parts, 9 * MIB), |effect| match effect {
        Effect::Commit { .. } if mismatches > 0 => {
            mismatches -= 1;
            failure(FailureKind::Mismatch)
        }
        _ => None,
    });
    assert_eq!(parts.outcome, Outcome::Done);
    let count =
        |what: fn(&Effect) -> bool| parts.effects.iter().filter(|effect| what(effect)).count();
    assert_eq!(count(|effect| matches!(effect, Effect::Abandon { .. })), 1);
    let begun = |effect: &Effect| {
        matches!(
            effect,
            Effect::Record {
                record: Record::Begun { .. },
                ..
            }
        )
    };
    assert_eq!(count(begun), 2);
}

/// A line on which the first segment takes minutes is cut once, and the server is away for some
/// seconds: who took bytes for so long is no mistyped name.
#[test]
fn a_short_break_after_a_long_first_segment() {
    let limits = Limits {
        window: 1,
        ..Limits::default()
    };
    let mut engine = Engine::new(
        job(Protocol::Blocks, 8 * MIB),
        limits,
        Checkpoint::default(),
    );
    let mut now = Moment::default();
    let refusals = std::iter::repeat_n(FailureKind::Connect, 8);
    let mut kinds = std::iter::once(FailureKind::Broken).chain(refusals);
    loop {
        let Some(effect) = engine.poll_effect() else {
            now = now.max(engine.next_wakeup().expect("a reason to wake"));
            engine.handle(now, Event::Woken);
            continue;
        };
        assert!(!matches!(effect, Effect::Finish(_)), "{now:?}: {effect:?}");
        let event = match effect {
            Effect::Send { attempt, .. } => {
                let Some(kind) = kinds.next() else { return };
                now = now.max(Moment(Duration::from_secs(97)));
                Some(Event::Failed {
                    attempt,
                    failure: Failure::new(kind, "cut"),
                    server_time: None,
                })
            }
            effect => succeed(&effect),
        };
        if let Some(event) = event {
            engine.handle(now, event);
        }
    }
}
