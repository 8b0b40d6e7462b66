//! A world small enough to be cloned at every fork: a service, a disk, a source, and what is under
//! way between them and the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::Engine;
use crate::engine::event::{AttemptId, Effect, Event, Found, Moment, Outcome, Pulse};
use crate::engine::plan::Protocol;
use crate::engine::record::{Checkpoint, Record};
use crate::engine::tests::service::{Piece, Service, Version, digest};
pub(crate) use crate::engine::tests::setup::{MIB, Setup, wishes};
use crate::engine::tests::stream::Memory;
use crate::model::{ByteSpan, Failure, FailureKind, Stage};

/// Steps without a fault until an upload of the largest size here must have ended: ten per segment
/// would be generous, and there are at most a few hundred.
const STEPS_MAX: usize = 20_000;

/// Longer than any deadline lets something hang.
const VAIN_SECONDS_MAX: u32 = 400;

/// What a step does with the operation it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It happens and its answer arrives.
    Answered,
    /// The same, with bytes that were read before the source changed.
    ReadEarlier,
    /// It happens and its answer is lost.
    AnswerLost,
    /// It happens and nothing is heard of it any more.
    Hangs,
    /// It does not happen: the service or the line says this instead.
    Fails(FailureKind),
    /// The service forgets what it acknowledged so far, then handles it.
    Forgotten,
    /// The service loses the first part of each upload, then handles it.
    PartLost,
    /// The process dies before it happens.
    CrashBefore,
    /// The process dies after it happened.
    CrashAfter,
}

/// The whole world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) size: u64,
    pub(crate) engine: Engine,
    pub(crate) service: Service,
    pub(crate) disk: Vec<Record>,
    pub(crate) pending: Vec<Effect>,
    /// Of them: those that nothing will be heard of.
    hung: BTreeSet<AttemptId>,
    pub(crate) now: Moment,
    pub(crate) source: Version,
    pub(crate) seen: Version,
    pub(crate) outcome: Option<Outcome>,
    /// What may be sent twice: in flight at a crash, lost with an answer, voided by the service.
    pub(crate) excused: u64,
    /// A commit may have taken effect, and nobody has looked since.
    pub(crate) unclear: bool,
    /// The same, as far as the present process can know.
    pub(crate) unclear_to_this_process: bool,
    pub(crate) trace: Vec<String>,
    /// Of a stream.
    pub(crate) memory: Memory,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut world = Self {
            setup,
            size: setup.size,
            engine: setup.engine(Checkpoint::default()),
            service: Service {
                clock: 5,
                ..Service::default()
            },
            disk: Vec::new(),
            pending: Vec::new(),
            hung: BTreeSet::new(),
            now: Moment::default(),
            source: 1,
            seen: 1,
            outcome: None,
            excused: 0,
            unclear: false,
            unclear_to_this_process: false,
            trace: Vec::new(),
            memory: Memory::default(),
        };
        world.service.refuses_second = setup.repeat_refused;
        world.collect();
        world
    }

    /// The operations that may be next. The journal keeps its order: of the records under way only
    /// the first can become durable.
    pub(crate) fn choices(&self) -> Vec<usize> {
        let is_record = |index: &usize| matches!(self.pending[*index], Effect::Record { .. });
        let first_record = (0..self.pending.len()).find(is_record);
        let hangs = |index: &usize| {
            attempt_of(&self.pending[*index]).is_some_and(|attempt| self.hung.contains(&attempt))
        };
        (0..self.pending.len())
            .filter(|index| !is_record(index) || Some(*index) == first_record)
            .filter(|index| !hangs(index))
            .collect()
    }

    /// Lets operation number `index` meet `fate`.
    pub(crate) fn step(&mut self, index: usize, fate: &Fate) {
        let effect = self.pending.remove(index);
        self.trace.push(format!("{fate:?} {effect:?}"));
        self.note_unclear(&effect, fate);
        match fate {
            Fate::CrashBefore => self.crash(&effect),
            Fate::CrashAfter => {
                self.happen(&effect);
                self.crash(&effect);
            }
            Fate::Answered | Fate::ReadEarlier => {
                let now = self.source;
                if *fate == Fate::ReadEarlier {
                    self.source = self.seen;
                }
                let event = self.happen(&effect);
                self.source = now;
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
            Fate::PartLost => {
                self.lose_parts();
                let event = self.happen(&effect);
                self.deliver(event);
            }
            Fate::Hangs => {
                self.happen(&effect);
                self.hung.extend(attempt_of(&effect));
                self.pending.push(effect);
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

    /// Lets time pass while something hangs: its pulses say that all of it is acknowledged, until the
    /// engine gives it up.
    pub(crate) fn wait_in_vain(&mut self) {
        for _ in 0..VAIN_SECONDS_MAX {
            let Some(attempt) = self.hung.first().copied() else {
                return;
            };
            self.now = self.now.after(Duration::from_secs(1));
            if self.engine.next_wakeup().is_some_and(|at| at <= self.now) {
                self.deliver(Some(Event::Woken));
            }
            self.deliver(Some(Event::Pulse {
                attempt,
                pulse: Pulse::new(Stage::Answering, 0),
            }));
        }
        panic!("something hangs for ever\n{}", self.story());
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

    /// A process that ended is started again.
    pub(crate) fn run_again(&mut self) {
        self.trace.push("run again".to_owned());
        self.outcome = None;
        self.restart();
    }

    /// Lets everything succeed until the end.
    pub(crate) fn let_succeed(mut self) -> Self {
        for _ in 0..STEPS_MAX {
            if self.outcome.is_some() {
                return self;
            }
            match self.choices().first() {
                Some(index) => self.step(*index, &Fate::Answered),
                None => self.wake(),
            }
        }
        panic!("no end in sight\n{}", self.story());
    }

    /// Whether something is under way that nothing will be heard of.
    pub(crate) fn hangs(&self) -> bool {
        !self.hung.is_empty()
    }

    /// Whether the source is not what the engine last heard of.
    pub(crate) fn source_is_another(&self) -> bool {
        self.seen != self.source
    }

    /// Whether the source was ever changed.
    pub(crate) fn source_was_changed(&self) -> bool {
        self.source > 1
    }

    /// Someone wants it to stop.
    pub(crate) fn stop(&mut self) {
        self.stop_within(Duration::ZERO);
    }

    /// The same, with time for what is in flight.
    pub(crate) fn stop_within(&mut self, drain: Duration) {
        self.deliver(Some(Event::Stop { drain }));
    }

    /// Whether this operation goes over the network.
    pub(crate) fn is_request(effect: &Effect) -> bool {
        attempt_of(effect).is_some()
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
                Effect::Notice(_) | Effect::Teach(_) | Effect::Abandon { .. } => {}
                Effect::LetGo { span } => self.memory.let_go(span),
                Effect::Cancel { attempt } => self.cancel(attempt),
                Effect::GiveUp { attempt, why } => self.give_up(attempt, why),
                other => {
                    self.check_effect(&other);
                    self.pending.push(other);
                }
            }
        }
        self.check_window();
    }

    fn cancel(&mut self, attempt: AttemptId) {
        let cancelled = |effect: &Effect| attempt_of(effect) == Some(attempt);
        if let Some(index) = self.pending.iter().position(cancelled) {
            let effect = self.pending.remove(index);
            // Nobody knows whether it happened: another process may have to know.
            self.unclear |= matches!(effect, Effect::Commit { .. });
            self.excuse(&effect);
        }
        self.hung.remove(&attempt);
    }

    /// Breaks an attempt off: its failure is what the engine said.
    fn give_up(&mut self, attempt: AttemptId, failure: Failure) {
        self.trace.push(format!("{attempt:?} given up: {failure}"));
        self.unclear_to_this_process |= self.pending.iter().any(|effect| {
            attempt_of(effect) == Some(attempt) && matches!(effect, Effect::Commit { .. })
        });
        self.cancel(attempt);
        let failed = Event::Failed {
            attempt,
            failure,
            server_time: None,
        };
        self.engine.handle(self.now, failed);
    }

    /// Whether it is known what became of a commit.
    fn note_unclear(&mut self, effect: &Effect, fate: &Fate) {
        let lost = match fate {
            Fate::AnswerLost | Fate::CrashBefore | Fate::CrashAfter | Fate::Hangs => true,
            Fate::Fails(kind) => matches!(kind, FailureKind::Broken | FailureKind::Server),
            Fate::Answered | Fate::ReadEarlier | Fate::Forgotten | Fate::PartLost => false,
        };
        match effect {
            Effect::Commit { .. } => {
                self.unclear |= lost;
                self.unclear_to_this_process |= lost;
            }
            Effect::Stat { .. } if !lost => self.unclear_to_this_process = false,
            _ => {}
        }
    }

    fn crash(&mut self, at: &Effect) {
        self.excuse(at);
        self.restart();
    }

    /// Another process takes up what is on the disk.
    fn restart(&mut self) {
        for effect in std::mem::take(&mut self.pending) {
            self.excuse(&effect);
        }
        self.hung.clear();
        self.unclear_to_this_process = false;
        let (checkpoint, used) = Checkpoint::replay(&self.disk, self.size);
        assert_eq!(used, self.disk.len(), "the engine wrote a senseless record");
        // Whatever was heard of that commit, this process cannot know.
        self.unclear |= checkpoint.committing.is_some();
        self.seen = self.source;
        self.service.clock += 10;
        self.now = Moment::default();
        self.engine = self.setup.engine(checkpoint);
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
            server_time: Some(self.service.clock),
        }));
    }

    fn initiate(&mut self, attempt: AttemptId) -> Event {
        let upload_id = self.service.name("upload");
        let uploads = &mut self.service.uploads;
        uploads.insert(upload_id.clone(), BTreeMap::new());
        Event::Initiated {
            attempt,
            upload_id,
            expires: None,
            server_time: Some(self.service.clock),
        }
    }

    /// The operation takes effect; what the engine would hear of it.
    fn happen(&mut self, effect: &Effect) -> Option<Event> {
        match effect {
            Effect::Initiate { attempt, .. } => Some(self.initiate(*attempt)),
            Effect::Send { .. } => Some(self.send(effect)),
            Effect::Commit { .. } => Some(self.commit(effect)),
            Effect::Stat {
                attempt,
                not_before,
                ..
            } => {
                let is_young = self.service.put_time >= *not_before;
                let is_ours = |piece: &Piece| is_young && piece.1 == self.seen;
                let found = match &self.service.object {
                    None => Found::Nothing,
                    Some(object) if object.iter().all(is_ours) => Found::Ours,
                    Some(_) => Found::Another,
                };
                Some(Event::Stated {
                    attempt: *attempt,
                    found,
                })
            }
            Effect::List { .. } => Some(self.list(effect)),
            Effect::Probe { attempt, .. } => Some(Event::Probed { attempt: *attempt }),
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
            Effect::Fetch { len } => Some(self.memory.fetch(*len, self.size)),
            Effect::Cancel { .. }
            | Effect::LetGo { .. }
            | Effect::GiveUp { .. }
            | Effect::Abandon { .. }
            | Effect::Notice(_)
            | Effect::Teach(_)
            | Effect::Finish(_) => None,
        }
    }
}

pub(crate) fn attempt_of(effect: &Effect) -> Option<AttemptId> {
    match effect {
        Effect::Initiate { attempt, .. }
        | Effect::Send { attempt, .. }
        | Effect::Commit { attempt, .. }
        | Effect::Stat { attempt, .. }
        | Effect::Probe { attempt, .. }
        | Effect::List { attempt, .. } => Some(*attempt),
        _ => None,
    }
}
