//! Drives the engine: carries its effects out, tells it what happened, wakes it in time.
//!
//! All of one upload's work runs inside of one future. Dropping it drops every request and closes
//! every connection; records that were handed to the journal still reach the disk.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tracing::{Instrument, Span};

use crate::clock;
use crate::engine::Engine;
use crate::engine::event::{AttemptId, Effect, Event, Lesson, Moment, Notice, Outcome, Pulse};
use crate::events;
use crate::model::{Failure, Stage};
use crate::stop::{Stops, When};
use crate::uploader::calls::Flying;
use crate::uploader::effects::Executor;
use crate::uploader::expiry::Outlook;
use crate::uploader::line::Pupil;

/// How often the engine and whoever listens hear how attempts are getting on. Source: the design's
/// table of deadlines, "progress".
const PULSE_EVERY: Duration = Duration::from_millis(250);

/// The same at the beginning, while it is found out what the line carries.
const FIRST_PULSES_EVERY: Duration = Duration::from_millis(100);

/// How long the beginning is.
const BEGINNING: Duration = Duration::from_secs(3);

/// One effect being carried out; none when it was cancelled.
type Running = Pin<Box<dyn Future<Output = Option<Finished>> + Send>>;

/// What an effect came to.
struct Finished {
    attempt: Option<AttemptId>,
    events: Vec<Event>,
}

/// The effects under way.
#[derive(Default)]
struct Work {
    running: FuturesUnordered<Running>,
    /// Of lanes that are not complete.
    lanes: HashMap<u64, Span>,
    attempts: HashMap<AttemptId, UnderWay>,
}

/// An attempt under way.
struct UnderWay {
    abort: AbortHandle,
    flying: Flying,
}

/// Runs `engine` to its end. `hear` is told its notices; `stops` end it early, with what is recorded
/// safe.
pub(crate) async fn drive(
    engine: &mut Engine,
    executor: &Arc<Executor>,
    stops: &Stops,
    hear: impl Fn(&Notice),
) -> Outcome {
    let began = clock::instant();
    let mut work = Work::default();
    let (mut ears, mut end) = (stops.ears(), None);
    let mut pulse = clock::instant() + FIRST_PULSES_EVERY;
    let mut outlook = Outlook::default();
    work.ask_early(executor, outlook.look(executor, engine, Moment::default()));
    let (mut share, lessons) = Share::join(executor);
    for lesson in lessons {
        engine.handle(Moment::default(), Event::Heard(lesson));
    }
    loop {
        let mut given_up = Vec::new();
        while let Some(effect) = engine.poll_effect() {
            match effect {
                Effect::Finish(outcome) => return outcome,
                Effect::Cancel { attempt } => work.cancel(executor, attempt),
                Effect::GiveUp { attempt, why } => {
                    given_up.extend(work.give_up(executor, attempt, why))
                }
                Effect::Notice(notice) => hear(&notice),
                Effect::Teach(lesson) => share.teach(executor, lesson),
                effect => work.begin(executor, effect),
            }
        }
        let wakeup = engine.next_wakeup();
        let events = tokio::select! {
            // What must not wait behind a fast line comes first.
            biased;
            () = std::future::ready(()), if !given_up.is_empty() => given_up,
            sooner = ears.sooner(end), if end != Some(When::AtOnce) => {
                end = Some(sooner);
                vec![stop(sooner)]
            }
            () = tokio::time::sleep_until(pulse.into()), if !work.attempts.is_empty() => {
                let now = clock::instant();
                let is_beginning = now.saturating_duration_since(began) < BEGINNING;
                pulse = now + if is_beginning { FIRST_PULSES_EVERY } else { PULSE_EVERY };
                let moment = Moment(now.saturating_duration_since(began));
                work.ask_early(executor, outlook.look(executor, engine, moment));
                let mut events = work.pulses(executor);
                events.extend(share.look(executor, engine));
                events
            }
            Some(finished) = work.running.next(), if !work.running.is_empty() => {
                work.events(finished)
            }
            () = sleep_until(began, wakeup), if wakeup.is_some() => vec![Event::Woken],
        };
        for event in events {
            engine.handle(
                Moment(clock::instant().saturating_duration_since(began)),
                event,
            );
        }
    }
}

/// The engine's word for a request to stop.
fn stop(when: When) -> Event {
    let drain = match when {
        When::AtOnce => Duration::ZERO,
        When::By(end) => end.saturating_duration_since(clock::instant()),
    };
    Event::Stop { drain }
}

/// An upload's part in the line that it shares with others.
struct Share {
    pupil: Pupil,
    /// Bytes that the line knows of.
    line_bytes: u64,
    window: Option<usize>,
    /// The choices that were told last: lanes, and the length of a segment.
    told: (usize, u64),
}

impl Share {
    fn join(executor: &Executor) -> (Self, Vec<Lesson>) {
        let (pupil, lessons) = executor.line.join(&executor.hosts);
        let share = Self {
            pupil,
            line_bytes: 0,
            window: None,
            told: (0, 0),
        };
        (share, lessons)
    }

    fn teach(&self, executor: &Executor, lesson: Lesson) {
        executor.line.teach(&self.pupil, lesson, &executor.hosts);
    }

    /// Tells the line what this upload got across; what it has to say in turn.
    fn look(&mut self, executor: &Executor, engine: &Engine) -> Vec<Event> {
        let line = &executor.line;
        let bytes = engine.line_bytes() - self.line_bytes;
        self.line_bytes += bytes;
        line.look(bytes, engine.round_trip());
        let news = line.news(&mut self.pupil, &executor.hosts);
        let mut events: Vec<Event> = news.into_iter().map(Event::Heard).collect();
        let window = line.window();
        if window != self.window {
            self.window = window;
            events.extend(window.map(|lanes| Event::Window { lanes }));
        }
        self.tell(executor, engine);
        events
    }

    /// Tells what is chosen, when it is much different from what was told last.
    fn tell(&mut self, executor: &Executor, engine: &Engine) {
        let lanes = engine.window();
        let segment_bytes = engine.segment_len();
        let (told_lanes, told_len) = self.told;
        let is_near = (told_len / 2..=told_len.saturating_mul(2)).contains(&segment_bytes);
        if lanes != told_lanes || !is_near {
            self.told = (lanes, segment_bytes);
            executor.meter.tell(&events::Event::Pace {
                lanes,
                segment_bytes,
                bytes_per_s: executor.line.known().pace_bytes_per_s,
            });
        }
    }
}

impl Work {
    fn begin(&mut self, executor: &Arc<Executor>, effect: Effect) {
        let attempt = attempt_of(&effect);
        let executor = Arc::clone(executor);
        if let Effect::Abandon { host, upload_id } = effect {
            // Watched from here on: the upload may end before its future is looked at.
            let lost = executor.lost(host, &upload_id);
            self.running.push(Box::pin(async move {
                executor.abandon(host, &upload_id, lost).await;
                None
            }));
            return;
        }
        let flying = Flying::of(&effect);
        let span = self.span(&effect, flying.operation);
        let watched = flying.clone();
        // Combinators, since an async block would have room for the work twice: where it is handed in, and
        // where it is awaited.
        let carried_out = executor.carry_out(effect, flying);
        let finished = move |events| Some(Finished { attempt, events });
        let Some(id) = attempt else {
            self.running.push(Box::pin(carried_out.map(finished)));
            return;
        };
        let (abort, registration) = AbortHandle::new_pair();
        let flying = watched;
        self.attempts.insert(id, UnderWay { abort, flying });
        let abortable = Abortable::new(carried_out.instrument(span), registration);
        let ended = abortable.map(move |events| finished(events.ok()?));
        self.running.push(Box::pin(ended));
    }

    /// Where an attempt's work is seen: within its lane, if it has one.
    fn span(&mut self, effect: &Effect, operation: &'static str) -> Span {
        let Effect::Send {
            lane,
            lane_span,
            span,
            ..
        } = effect
        else {
            return tracing::debug_span!("attempt", operation);
        };
        let entry = self.lanes.entry(*lane);
        let of_lane = entry
            .or_insert_with(|| tracing::debug_span!("lane", number = lane))
            .clone();
        if span.end() == lane_span.end() {
            // Its last segment; should that go again, the lane is seen a second time.
            self.lanes.remove(lane);
        }
        let (offset, len) = (span.offset, span.len);
        tracing::debug_span!(parent: &of_lane, "attempt", operation, offset, len)
    }

    /// Asks for a fresh token, if it is time, beside everything that is under way.
    fn ask_early(&mut self, executor: &Arc<Executor>, is_due: bool) {
        if !is_due {
            return;
        }
        let executor = Arc::clone(executor);
        self.running.push(Box::pin(async move {
            let say = |event: &events::Event| executor.meter.tell(event);
            executor.permit.renew_early(say).await;
            None
        }));
    }

    /// Drops the attempt's future, and with it the connection it uses.
    fn cancel(&mut self, executor: &Executor, attempt: AttemptId) {
        if let Some(under_way) = self.attempts.remove(&attempt) {
            let sample = under_way.flying.flight.sample();
            executor.meter.sent(sample.source_bytes);
            under_way.abort.abort();
        }
    }

    /// The same, and the event that says so. None for one that has ended by itself meanwhile.
    fn give_up(&mut self, executor: &Executor, attempt: AttemptId, why: Failure) -> Option<Event> {
        let under_way = self.attempts.remove(&attempt)?;
        under_way.abort.abort();
        Some(Event::Failed {
            attempt,
            failure: executor.broken_off(&under_way.flying, why),
            server_time: None,
        })
    }

    /// How every attempt is getting on; whoever listens hears of it too.
    fn pulses(&self, executor: &Executor) -> Vec<Event> {
        let mut source_bytes = 0;
        let mut stage = Stage::Waiting;
        let pulse = |(attempt, under_way): (&AttemptId, &UnderWay)| {
            let sample = under_way.flying.flight.sample();
            under_way.flying.seat.look(sample.waits_for_source);
            source_bytes += sample.source_bytes;
            stage = waited_for(
                stage,
                match sample.waits_for_source {
                    true => Stage::Reading,
                    false => sample.stage,
                },
            );
            Event::Pulse {
                attempt: *attempt,
                pulse: Pulse {
                    acknowledged_bytes: sample.acknowledged_bytes,
                    stage: sample.stage,
                    peer_reads: sample.peer_reads,
                    waits_for_source: sample.waits_for_source,
                    is_limited: sample.is_limited,
                    is_outstanding: sample.is_outstanding,
                    round_trip: sample.round_trip,
                },
            }
        };
        let mut pulses: Vec<Event> = self.attempts.iter().map(pulse).collect();
        // A map has no order, and the same run must give the same effects.
        pulses.sort_by_key(|pulse| match pulse {
            Event::Pulse { attempt, .. } => *attempt,
            _ => AttemptId(0),
        });
        executor.meter.under_way(source_bytes, stage);
        pulses
    }

    fn events(&mut self, finished: Option<Finished>) -> Vec<Event> {
        let Some(finished) = finished else {
            return Vec::new();
        };
        if let Some(attempt) = finished.attempt {
            self.attempts.remove(&attempt);
        }
        finished.events
    }
}

/// What is waited for while two attempts are under way: bytes first, then answers, then the source.
fn waited_for(one: Stage, other: Stage) -> Stage {
    match (one, other) {
        (Stage::Sending, _) | (_, Stage::Sending) => Stage::Sending,
        _ => one.max(other),
    }
}

async fn sleep_until(began: Instant, wakeup: Option<Moment>) {
    let Some(Moment(after)) = wakeup else { return };
    tokio::time::sleep_until((began + after).into()).await;
}

fn attempt_of(effect: &Effect) -> Option<AttemptId> {
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
