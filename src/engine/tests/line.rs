//! A line that is modelled second by second: what it carries, and what the engine makes of it.

use std::time::Duration;

use crate::engine::event::{AttemptId, Effect, Event, Found, Moment, Notice, Outcome, Pulse};
use crate::engine::plan::{Known, Protocol, Wishes};
use crate::engine::record::{Checkpoint, Digest, Receipt};
use crate::engine::tests::world::{MIB, attempt_of, wishes};
use crate::engine::{Engine, Job, Limits};
use crate::model::{Failure, Stage};

/// How often the driver tells of each attempt.
const TICK: Duration = Duration::from_millis(250);

/// No modelled upload takes longer: three hours of ticks.
const TICKS_MAX: u32 = 3 * 3600 * 4;

pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An attempt on the modelled line.
pub(crate) struct Flight {
    effect: Effect,
    pub(crate) attempt: AttemptId,
    len: u64,
    carried: u64,
}

/// What the line does to one attempt in one tick. `at` is the time since the beginning.
pub(crate) struct Tick {
    pub(crate) at: Duration,
    /// Which of the attempts that are under way, from the oldest.
    pub(crate) place: usize,
    /// How many bodies are under way.
    pub(crate) count: u64,
    pub(crate) len: u64,
    pub(crate) carried: u64,
    pub(crate) is_commit: bool,
}

/// The tick's answer.
pub(crate) enum Fate {
    /// So many bytes more are acknowledged; when it was all of them, the answer comes.
    Carried(u64),
    /// The same, without an answer ever.
    Unanswered(u64),
    /// The other end's window is closed.
    Closed,
    /// Everything that was handed over is acknowledged, and the source gives nothing more; or the
    /// answer is there, and the source is looked at.
    Reading,
    /// The same as carried, while our own limit lets nothing more out; whether bytes are out.
    Limited(u64, bool),
    /// There is no connection yet.
    Connecting,
}

/// What became of an upload.
pub(crate) struct Ran {
    pub(crate) outcome: Option<Outcome>,
    pub(crate) given_up: Vec<(Duration, Failure)>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) ended: Duration,
}

pub(crate) struct Line<F> {
    pub(crate) engine: Engine,
    pub(crate) flights: Vec<Flight>,
    pub(crate) now: Moment,
    ran: Ran,
    fate: F,
}

impl<F: FnMut(&Tick) -> Fate> Line<F> {
    pub(crate) fn new(protocol: Protocol, size: u64, limits: Limits, fate: F) -> Self {
        let job = Job {
            size,
            wishes: Wishes {
                part_len: 256 * MIB,
                ..wishes(protocol)
            },
            hosts: vec!["up".into()],
            can_stat: true,
            repeat_shows: false,
            repeat_acts: false,
            says: Digest([1; 20]),
            unix_now: 0,
            known: Known::default(),
            seed: 1,
        };
        Self {
            engine: Engine::new(job, limits, Checkpoint::default()),
            flights: Vec::new(),
            now: Moment::default(),
            ran: Ran {
                outcome: None,
                given_up: Vec::new(),
                notices: Vec::new(),
                ended: Duration::ZERO,
            },
            fate,
        }
    }

    /// Lets the upload run to its end, or until an attempt was given up.
    pub(crate) fn run(mut self) -> Ran {
        for _ in 0..TICKS_MAX {
            self.collect();
            if self.ran.outcome.is_some() || !self.ran.given_up.is_empty() {
                self.ran.ended = self.now.0;
                return self.ran;
            }
            self.now = self.now.after(TICK);
            if self.engine.next_wakeup().is_some_and(|at| at <= self.now) {
                self.engine.handle(self.now, Event::Woken);
            }
            self.tick();
        }
        panic!("no end in sight");
    }

    /// Carries what the engine wants: what is no request happens at once.
    pub(crate) fn collect(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            let event = match &effect {
                Effect::Finish(outcome) => {
                    self.ran.outcome = Some(outcome.clone());
                    return;
                }
                Effect::GiveUp { attempt, why } => {
                    let known = self.flights.iter().any(|it| it.attempt == *attempt);
                    assert!(known, "given up twice: {why}");
                    self.flights.retain(|it| it.attempt != *attempt);
                    self.ran.given_up.push((self.now.0, why.clone()));
                    None
                }
                Effect::Notice(notice) => {
                    self.ran.notices.push(notice.clone());
                    None
                }
                Effect::Cancel { attempt } => {
                    self.flights.retain(|it| it.attempt != *attempt);
                    None
                }
                Effect::Record { id, .. } => Some(Event::Recorded { id: *id }),
                Effect::CheckSource => Some(Event::SourceSeen { same: true }),
                other => {
                    let len = match other {
                        Effect::Send { span, .. } => span.len,
                        Effect::Commit {
                            protocol: Protocol::Form,
                            ..
                        } => MIB,
                        _ => 0,
                    };
                    self.flights.extend(attempt_of(other).map(|attempt| Flight {
                        effect: effect.clone(),
                        attempt,
                        len,
                        carried: 0,
                    }));
                    None
                }
            };
            if let Some(event) = event {
                self.engine.handle(self.now, event);
            }
        }
    }

    /// A quarter of a second on the line.
    pub(crate) fn tick(&mut self) {
        let count = self.flights.len() as u64;
        let mut done = Vec::new();
        for (place, flight) in self.flights.iter_mut().enumerate() {
            let tick = Tick {
                at: self.now.0,
                place,
                count,
                len: flight.len,
                carried: flight.carried,
                is_commit: matches!(flight.effect, Effect::Commit { .. }),
            };
            let fate = (self.fate)(&tick);
            let waits_for_source = matches!(fate, Fate::Reading);
            let (more, answers, peer_reads) = match fate {
                Fate::Carried(more) | Fate::Limited(more, _) => (more, true, true),
                Fate::Unanswered(more) => (more, false, true),
                Fate::Closed => (0, true, false),
                Fate::Reading => (0, false, true),
                Fate::Connecting => continue,
            };
            flight.carried = (flight.carried + more).min(flight.len);
            let is_whole = flight.carried == flight.len;
            let is_limited = matches!(fate, Fate::Limited(..)) && !is_whole;
            let stage = match is_whole {
                true => Stage::Answering,
                false => Stage::Sending,
            };
            let pulse = Event::Pulse {
                attempt: flight.attempt,
                pulse: Pulse {
                    peer_reads,
                    waits_for_source,
                    is_limited,
                    is_outstanding: !matches!(fate, Fate::Limited(_, false)),
                    ..Pulse::new(stage, flight.carried)
                },
            };
            self.engine.handle(self.now, pulse);
            if is_whole && answers {
                done.push(flight.attempt);
            }
        }
        for attempt in done {
            self.answer(attempt);
        }
    }

    fn answer(&mut self, attempt: AttemptId) {
        let Some(index) = self.flights.iter().position(|it| it.attempt == attempt) else {
            return;
        };
        let event = match self.flights.remove(index).effect {
            Effect::Initiate { .. } => Event::Initiated {
                attempt,
                upload_id: "id".into(),
                expires: None,
                server_time: None,
            },
            Effect::Send { .. } => Event::Sent {
                attempt,
                receipt: Receipt {
                    text: "ctx".into(),
                    host: None,
                    expires: None,
                },
                digest: Digest([0; 20]),
                server_time: None,
            },
            Effect::Stat { .. } => Event::Stated {
                attempt,
                found: Found::Nothing,
            },
            Effect::Probe { .. } => Event::Probed { attempt },
            _ => Event::Committed { attempt },
        };
        self.engine.handle(self.now, event);
    }
}
