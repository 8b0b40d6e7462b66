//! Drives the engine: carries its effects out, tells it what happened, wakes it in time.
//!
//! All of one upload's work runs inside of one future. Dropping it drops every request and closes
//! every connection; records that were handed to the journal still reach the disk.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;

use crate::clock;
use crate::engine::Engine;
use crate::engine::event::{AttemptId, Effect, Event, Moment, Notice, Outcome};
use crate::stop::Stop;
use crate::uploader::effects::Executor;

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
    attempts: HashMap<AttemptId, AbortHandle>,
}

/// Runs `engine` to its end. `hear` is told its notices; `stop` ends it early, with what is recorded
/// safe.
pub(crate) async fn drive(
    engine: &mut Engine,
    executor: &Arc<Executor>,
    stop: &Stop,
    hear: impl Fn(&Notice),
) -> Outcome {
    let began = clock::instant();
    let mut work = Work::default();
    let mut stopped = false;
    loop {
        while let Some(effect) = engine.poll_effect() {
            match effect {
                Effect::Finish(outcome) => return outcome,
                Effect::Cancel { attempt } => work.cancel(attempt),
                Effect::GiveUp { attempt, .. } => work.cancel(attempt),
                Effect::Notice(notice) => hear(&notice),
                effect => work.begin(executor, effect),
            }
        }
        let wakeup = engine.next_wakeup();
        let events = tokio::select! {
            Some(finished) = work.running.next(), if !work.running.is_empty() => {
                work.events(finished)
            }
            () = sleep_until(began, wakeup), if wakeup.is_some() => vec![Event::Woken],
            () = stop.stopped(), if !stopped => {
                stopped = true;
                vec![Event::Stop]
            }
        };
        for event in events {
            engine.handle(
                Moment(clock::instant().saturating_duration_since(began)),
                event,
            );
        }
    }
}

impl Work {
    fn begin(&mut self, executor: &Arc<Executor>, effect: Effect) {
        let attempt = attempt_of(&effect);
        let executor = Arc::clone(executor);
        let carried_out = async move { executor.carry_out(effect).await };
        let Some(attempt) = attempt else {
            let finished = async {
                Some(Finished {
                    attempt: None,
                    events: carried_out.await,
                })
            };
            self.running.push(Box::pin(finished));
            return;
        };
        let (handle, registration) = AbortHandle::new_pair();
        self.attempts.insert(attempt, handle);
        let abortable = Abortable::new(carried_out, registration);
        self.running.push(Box::pin(async move {
            let events = abortable.await.ok()?;
            Some(Finished {
                attempt: Some(attempt),
                events,
            })
        }));
    }

    /// Drops the attempt's future, and with it the connection it uses.
    fn cancel(&mut self, attempt: AttemptId) {
        if let Some(handle) = self.attempts.remove(&attempt) {
            handle.abort();
        }
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

async fn sleep_until(began: Instant, wakeup: Option<Moment>) {
    let Some(Moment(after)) = wakeup else { return };
    tokio::time::sleep_until((began + after).into()).await;
}

fn attempt_of(effect: &Effect) -> Option<AttemptId> {
    match effect {
        Effect::Initiate { attempt, .. }
        | Effect::Send { attempt, .. }
        | Effect::Commit { attempt, .. }
        | Effect::Stat { attempt, .. } => Some(*attempt),
        _ => None,
    }
}
