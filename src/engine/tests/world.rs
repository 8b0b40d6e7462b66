//! A world small enough to be cloned at every fork: a service, a disk, a source, and what is under
//! way between them and the engine.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::event::{AttemptId, Effect, Event, Found, Moment, Outcome};
use crate::engine::plan::{Protocol, Wishes};
use crate::engine::record::{Checkpoint, Record};
use crate::engine::tests::service::{Service, Version, digest};
use crate::engine::{Engine, Job, Limits};
use crate::model::{ByteSpan, Failure, FailureKind};

pub(crate) const MIB: u64 = 1024 * 1024;

/// What a step does with the operation it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It happens and its answer arrives.
    Answered,
    /// It happens and its answer is lost.
    AnswerLost,
    /// It does not happen: the service or the line says this instead.
    Fails(FailureKind),
    /// The service forgets what it acknowledged so far, then handles it.
    Forgotten,
    /// The process dies before it happens.
    CrashBefore,
    /// The process dies after it happened.
    CrashAfter,
}

/// The whole world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) size: u64,
    wishes: Wishes,
    can_stat: bool,
    window: usize,
    pub(crate) engine: Engine,
    pub(crate) service: Service,
    pub(crate) disk: Vec<Record>,
    pub(crate) pending: Vec<Effect>,
    pub(crate) now: Moment,
    pub(crate) source: Version,
    seen: Version,
    pub(crate) outcome: Option<Outcome>,
    /// What may be sent twice: in flight at a crash, lost with an answer, voided by the service.
    pub(crate) excused: u64,
    /// Safe before the present process began.
    pub(crate) trace: Vec<String>,
}

impl World {
    pub(crate) fn new(size: u64, wishes: Wishes, can_stat: bool, window: usize) -> Self {
        let engine = Self::engine(size, wishes, can_stat, window, Checkpoint::default());
        let mut world = Self {
            size,
            wishes,
            can_stat,
            window,
            engine,
            service: Service::default(),
            disk: Vec::new(),
            pending: Vec::new(),
            now: Moment::default(),
            source: 1,
            seen: 1,
            outcome: None,
            excused: 0,
            trace: Vec::new(),
        };
        world.collect();
        world
    }

    fn engine(
        size: u64,
        wishes: Wishes,
        can_stat: bool,
        window: usize,
        checkpoint: Checkpoint,
    ) -> Engine {
        let job = Job {
            size,
            wishes,
            hosts: vec!["up-1".into(), "up-2".into()],
            can_stat,
            repeat_shows: false,
            unix_now: 1_000,
            seed: 7,
        };
        let limits = Limits {
            window,
            part_attempts: 0,
            retry_budget: Duration::from_secs(900),
            part_timeout: None,
        };
        Engine::new(job, limits, checkpoint)
    }

    /// The operations that may be next. The journal keeps its order: of the records under way only
    /// the first can become durable.
    pub(crate) fn choices(&self) -> Vec<usize> {
        let is_record = |index: &usize| matches!(self.pending[*index], Effect::Record { .. });
        let first_record = (0..self.pending.len()).find(is_record);
        (0..self.pending.len())
            .filter(|index| !is_record(index) || Some(*index) == first_record)
            .collect()
    }

    /// Lets operation number `index` meet `fate`.
    pub(crate) fn step(&mut self, index: usize, fate: &Fate) {
        let effect = self.pending.remove(index);
        self.trace.push(format!("{fate:?} {effect:?}"));
        match fate {
            Fate::CrashBefore => self.crash(&effect),
            Fate::CrashAfter => {
                self.happen(&effect);
                self.crash(&effect);
            }
            Fate::Answered => {
                let event = self.happen(&effect);
                if matches!(effect, Effect::Send { .. }) && self.seen != self.source {
                    self.seen = self.source;
                    self.deliver(Some(Event::SourceSeen { same: false }));
                }
                self.deliver(event);
            }
            Fate::Forgotten => {
                self.excused += self.acknowledged_bytes();
                self.excuse(&effect);
                for effect in self.pending.clone() {
                    self.excuse(&effect);
                }
                self.service.contexts.clear();
                self.service.uploads.clear();
                let event = self.happen(&effect);
                self.deliver(event);
            }
            Fate::AnswerLost => {
                self.happen(&effect);
                self.excuse(&effect);
                self.fail(&effect, FailureKind::Broken);
            }
            Fate::Fails(kind) => {
                self.excuse(&effect);
                self.fail(&effect, kind.clone());
            }
        }
    }

    /// Jumps to the engine's next wake-up.
    pub(crate) fn wake(&mut self) {
        let at = self
            .engine
            .next_wakeup()
            .expect("nothing is under way and no wake-up is named");
        self.now = self.now.max(at);
        self.deliver(Some(Event::Woken));
    }

    /// The source's bytes change.
    pub(crate) fn change_source(&mut self) {
        self.source += 1;
    }

    /// Someone wants it to stop.
    pub(crate) fn stop(&mut self) {
        self.deliver(Some(Event::Stop));
    }

    /// Whether this operation goes over the network.
    pub(crate) fn is_request(effect: &Effect) -> bool {
        attempt_of(effect).is_some()
    }

    /// What every ended run must show.
    pub(crate) fn check_end(&self) {
        let outcome = self.outcome.as_ref().expect("an end");
        if *outcome == Outcome::Done {
            let object = self.service.object.as_ref();
            let object = object.unwrap_or_else(|| panic!("no object\n{}", self.story()));
            let mut at = 0;
            for (span, version) in object {
                assert_eq!(span.offset, at, "a gap in the object\n{}", self.story());
                assert!(
                    *version >= self.seen,
                    "old bytes in the object\n{}",
                    self.story()
                );
                let first = object[0].1;
                assert_eq!(
                    *version,
                    first,
                    "mixed bytes in the object\n{}",
                    self.story()
                );
                at = span.end();
            }
            assert_eq!(at, self.size, "a short object\n{}", self.story());
        }
        assert!(
            self.service.received <= self.size + self.excused,
            "{} bytes arrived for {} and {} excused\n{}",
            self.service.received,
            self.size,
            self.excused,
            self.story()
        );
    }

    pub(crate) fn story(&self) -> String {
        self.trace.join("\n")
    }

    /// Bytes that records on the disk claim.
    pub(crate) fn acknowledged_bytes(&self) -> u64 {
        Checkpoint::replay(&self.disk, self.size).0.safe_bytes()
    }

    fn deliver(&mut self, event: Option<Event>) {
        if let Some(event) = event {
            self.engine.handle(self.now, event);
        }
        self.collect();
    }

    /// Takes the engine's effects in.
    fn collect(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            assert!(
                self.outcome.is_none(),
                "an effect after the end: {effect:?}"
            );
            match effect {
                Effect::Finish(outcome) => self.outcome = Some(outcome),
                Effect::Notice(_) => {}
                Effect::Cancel { attempt } => {
                    self.pending
                        .retain(|effect| attempt_of(effect) != Some(attempt));
                }
                other => self.pending.push(other),
            }
        }
        let segments = self
            .pending
            .iter()
            .filter(|effect| matches!(effect, Effect::Send { .. }))
            .count();
        assert!(segments <= self.window, "more in flight than the window");
    }

    fn crash(&mut self, at: &Effect) {
        self.excuse(at);
        for effect in std::mem::take(&mut self.pending) {
            self.excuse(&effect);
        }
        let (checkpoint, used) = Checkpoint::replay(&self.disk, self.size);
        assert_eq!(used, self.disk.len(), "the engine wrote a senseless record");
        self.seen = self.source;
        self.now = Moment::default();
        self.engine = Self::engine(
            self.size,
            self.wishes,
            self.can_stat,
            self.window,
            checkpoint,
        );
        self.collect();
    }

    /// Bytes of this operation that may have to be sent once more.
    fn excuse(&mut self, effect: &Effect) {
        self.excused += match effect {
            Effect::Send { span, .. } => span.len,
            Effect::Record {
                record: Record::Segment { len, .. },
                ..
            } => *len,
            Effect::Commit {
                protocol: Protocol::Form,
                ..
            } => self.size,
            _ => 0,
        };
    }

    fn fail(&mut self, effect: &Effect, kind: FailureKind) {
        let attempt = attempt_of(effect).expect("only requests fail");
        let failure = Failure::new(kind, "as the test wants it");
        self.deliver(Some(Event::Failed {
            attempt,
            failure,
            server_time: Some(5),
        }));
    }

    /// The operation takes effect; what the engine would hear of it.
    fn happen(&mut self, effect: &Effect) -> Option<Event> {
        match effect {
            Effect::Initiate { attempt, .. } => {
                let upload_id = self.service.name("upload");
                self.service
                    .uploads
                    .insert(upload_id.clone(), BTreeMap::new());
                Some(Event::Initiated {
                    attempt: *attempt,
                    upload_id,
                    expires: None,
                    server_time: Some(5),
                })
            }
            Effect::Send { .. } => Some(self.send(effect)),
            Effect::Commit { .. } => Some(self.commit(effect)),
            Effect::Stat { attempt, .. } => {
                let found = match &self.service.object {
                    None => Found::Nothing,
                    Some(object) if object.iter().all(|piece| piece.1 == self.seen) => Found::Ours,
                    Some(_) => Found::Another,
                };
                Some(Event::Stated {
                    attempt: *attempt,
                    found,
                })
            }
            Effect::RenewToken => Some(Event::TokenRenewed),
            Effect::Record { id, record } => {
                if matches!(record, Record::Begun { .. }) {
                    self.disk.clear();
                }
                self.disk.push(record.clone());
                Some(Event::Recorded { id: *id })
            }
            Effect::Recheck {
                lane,
                lane_span,
                seals,
            } => {
                let mut at = lane_span.offset;
                let mut same = true;
                for seal in seals {
                    let span = ByteSpan::new(at, seal.len);
                    same &= seal.digest == digest(span, self.source);
                    at = span.end();
                }
                self.excused += if same { 0 } else { at - lane_span.offset };
                Some(Event::Rechecked { lane: *lane, same })
            }
            Effect::CheckSource => {
                let same = self.seen == self.source;
                self.seen = self.source;
                Some(Event::SourceSeen { same })
            }
            Effect::Cancel { .. } | Effect::Notice(_) | Effect::Finish(_) => None,
        }
    }
}

/// A wish for one of the three protocols, small enough for every schedule.
pub(crate) fn wishes(protocol: Protocol) -> Wishes {
    Wishes {
        protocol: Some(protocol),
        threshold: Some(if protocol == Protocol::Form {
            u64::MAX
        } else {
            0
        }),
        part_len: MIB,
        blocks_unsafe: false,
    }
}

pub(crate) fn attempt_of(effect: &Effect) -> Option<AttemptId> {
    match effect {
        Effect::Initiate { attempt, .. }
        | Effect::Send { attempt, .. }
        | Effect::Commit { attempt, .. }
        | Effect::Stat { attempt, .. } => Some(*attempt),
        _ => None,
    }
}
