//! A line that is modelled second by second: what it carries, and what the engine makes of it.

use std::time::Duration;

use crate::engine::event::{
    AttemptId, Effect, Event, Found, HostIndex, Moment, Notice, Outcome, Pulse,
};
use crate::engine::plan::{Known, Protocol, Wishes};
use crate::engine::record::{Checkpoint, Digest, Receipt};
use crate::engine::tests::world::{MIB, attempt_of, wishes};
use crate::engine::{Engine, Job, Limits};
use crate::model::{Failure, FailureKind, Stage};

/// How often the driver tells of each attempt.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// No modelled upload takes longer: three hours of ticks.
const TICKS_MAX: u32 = 3 * 3600 * 4;

pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An attempt on the modelled line.
pub(crate) struct Flight {
    effect: Effect,
    pub(crate) attempt: AttemptId,
    begun: Moment,
    len: u64,
    carried: u64,
}

/// What the line does to one attempt in one tick. `at` is the time since the beginning.
pub(crate) struct Tick {
    pub(crate) at: Duration,
    pub(crate) attempt: AttemptId,
    /// The time since this attempt began.
    pub(crate) age: Duration,
    pub(crate) host: HostIndex,
    /// Which of the attempts that are under way, from the oldest.
    pub(crate) place: usize,
    /// How many bodies are under way.
    pub(crate) count: u64,
    pub(crate) len: u64,
    pub(crate) carried: u64,
    pub(crate) is_commit: bool,
    pub(crate) is_probe: bool,
    /// It goes beside another attempt at the same segment.
    pub(crate) is_second: bool,
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
    /// The same, and nobody looks.
    Unseen,
    /// It ends like this.
    Fails(FailureKind),
}

impl Flight {
    fn tick(&self, now: Moment, place: usize, count: u64) -> Tick {
        let (host, is_second) = match &self.effect {
            Effect::Send {
                host, is_second, ..
            } => (*host, *is_second),
            Effect::Initiate { host, .. }
            | Effect::Commit { host, .. }
            | Effect::Probe { host, .. } => (*host, false),
            _ => (0, false),
        };
        Tick {
            at: now.0,
            attempt: self.attempt,
            age: now.since(self.begun),
            host,
            place,
            count,
            len: self.len,
            carried: self.carried,
            is_commit: matches!(self.effect, Effect::Commit { .. }),
            is_probe: matches!(self.effect, Effect::Probe { .. }),
            is_second,
        }
    }

    /// What the driver tells of it then.
    fn meet(&mut self, fate: &Fate) -> Option<Event> {
        let more = match fate {
            Fate::Carried(more) | Fate::Limited(more, _) | Fate::Unanswered(more) => *more,
            Fate::Closed | Fate::Reading | Fate::Connecting => 0,
            Fate::Unseen => return None,
            Fate::Fails(kind) => {
                let failure = Failure::new(kind.clone(), "as the test wants it");
                return Some(failed(self.attempt, failure));
            }
        };
        self.carried = (self.carried + more).min(self.len);
        let is_whole = self.carried == self.len;
        let stage = match fate {
            Fate::Connecting => Stage::Connecting,
            _ if is_whole => Stage::Answering,
            _ => Stage::Sending,
        };
        Some(Event::Pulse {
            attempt: self.attempt,
            pulse: Pulse {
                peer_reads: !matches!(fate, Fate::Closed),
                waits_for_source: matches!(fate, Fate::Reading),
                is_limited: matches!(fate, Fate::Limited(..)) && !is_whole,
                is_outstanding: !matches!(fate, Fate::Limited(_, false)),
                ..Pulse::new(stage, self.carried)
            },
        })
    }
}

fn failed(attempt: AttemptId, failure: Failure) -> Event {
    Event::Failed {
        attempt,
        failure,
        server_time: None,
    }
}

/// What became of an upload.
pub(crate) struct Ran {
    pub(crate) outcome: Option<Outcome>,
    pub(crate) given_up: Vec<(Duration, Failure)>,
    pub(crate) notices: Vec<Notice>,
    /// Everything that the engine wanted, and when.
    pub(crate) log: Vec<(Duration, Effect)>,
    pub(crate) ended: Duration,
}

pub(crate) struct Line<F> {
    pub(crate) engine: Engine,
    pub(crate) flights: Vec<Flight>,
    pub(crate) now: Moment,
    ran: Ran,
    fate: F,
    /// An attempt that is given up has failed, and the upload goes on.
    goes_on: bool,
}

impl<F: FnMut(&Tick) -> Fate> Line<F> {
    pub(crate) fn new(protocol: Protocol, size: u64, limits: Limits, fate: F) -> Self {
        Self::to_hosts(1, protocol, size, limits, fate)
    }

    /// The same to so many hosts.
    pub(crate) fn to_hosts(
        hosts: usize,
        protocol: Protocol,
        size: u64,
        limits: Limits,
        fate: F,
    ) -> Self {
        let job = Job {
            size,
            stream: None,
            wishes: Wishes {
                part_len: 256 * MIB,
                ..wishes(protocol)
            },
            hosts: (0..hosts).map(|host| format!("up-{host}")).collect(),
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
                log: Vec::new(),
                ended: Duration::ZERO,
            },
            fate,
            goes_on: false,
        }
    }

    /// Lets the upload run to its end, whatever is given up on the way.
    pub(crate) fn run_to_the_end(mut self) -> Ran {
        self.goes_on = true;
        self.run()
    }

    /// Lets the upload run to its end, or until an attempt was given up.
    pub(crate) fn run(mut self) -> Ran {
        for _ in 0..TICKS_MAX {
            self.collect();
            let is_given_up = !self.goes_on && !self.ran.given_up.is_empty();
            if self.ran.outcome.is_some() || is_given_up {
                self.ran.ended = self.now.0;
                return self.ran;
            }
            self.go_on();
        }
        panic!("no end in sight");
    }

    /// Lets the upload run until then.
    pub(crate) fn run_until(&mut self, end: Duration) {
        self.goes_on = true;
        while self.now.0 < end {
            self.collect();
            self.go_on();
        }
    }

    /// When each effect of a kind was wanted so far.
    pub(crate) fn log(&self, is_it: impl Fn(&Effect) -> bool) -> Vec<Duration> {
        let found = self.ran.log.iter().filter(|(_, effect)| is_it(effect));
        found.map(|(at, _)| *at).collect()
    }

    fn go_on(&mut self) {
        self.now = self.now.after(TICK);
        if self.engine.next_wakeup().is_some_and(|at| at <= self.now) {
            self.engine.handle(self.now, Event::Woken);
            self.collect();
        }
        self.tick();
    }

    /// Carries what the engine wants: what is no request happens at once.
    pub(crate) fn collect(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            self.ran.log.push((self.now.0, effect.clone()));
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
                    self.goes_on.then(|| failed(*attempt, why.clone()))
                }
                Effect::Cancel { attempt } => {
                    self.flights.retain(|it| it.attempt != *attempt);
                    None
                }
                Effect::Notice(notice) => {
                    self.ran.notices.push(notice.clone());
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
                        begun: self.now,
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
        let mut events = Vec::new();
        let mut done = Vec::new();
        for (place, flight) in self.flights.iter_mut().enumerate() {
            let tick = flight.tick(self.now, place, count);
            let fate = (self.fate)(&tick);
            events.extend(flight.meet(&fate));
            let answers = !matches!(
                fate,
                Fate::Unanswered(_) | Fate::Reading | Fate::Connecting | Fate::Unseen
            );
            let fails = matches!(fate, Fate::Fails(_));
            if flight.carried == flight.len && answers && !fails {
                done.push(flight.attempt);
            }
        }
        for event in events {
            if let Event::Failed { attempt, .. } = &event {
                self.flights.retain(|it| it.attempt != *attempt);
            }
            self.engine.handle(self.now, event);
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
