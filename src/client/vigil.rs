//! Watches an upload that waits for the line for as long as that takes: does nothing serve it any more?
//!
//! A line that is down and hosts that are gone for good look the same from here. The service can tell
//! them apart, so it is asked from time to time; see [`Course`](crate::client::course).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;
use crate::events::{Event, Listener};
use crate::model::FailureKind;

/// What the events of an upload say about whether anybody serves it.
#[derive(Debug)]
pub(super) struct Vigil {
    signs: Arc<Signs>,
    /// How long nobody has to serve it before somebody is asked, and from one question to the next.
    every: Duration,
}

#[derive(Debug)]
struct Signs {
    /// Since when nobody serves it; none while somebody does.
    trouble: watch::Sender<Option<Instant>>,
    acknowledged: Mutex<u64>,
}

impl Vigil {
    /// A vigil over what is told to `listener`, and the listener to tell in its place.
    pub(super) fn beside(listener: Listener, every: Duration) -> (Self, Listener) {
        let signs = Arc::new(Signs {
            trouble: watch::Sender::new(None),
            acknowledged: Mutex::new(0),
        });
        let heard = Arc::clone(&signs);
        let both = move |event: &Event| {
            heard.hear(event);
            listener.tell(event);
        };
        (Self { signs, every }, Listener::new(both))
    }

    /// Returns when nobody has served the upload for long, once more in each such time after `last`.
    pub(super) async fn nobody_serves(&self, last: Option<Instant>) {
        let mut trouble = self.signs.trouble.subscribe();
        loop {
            let since = *trouble.borrow_and_update();
            let due = since.map(|since| since.max(last.unwrap_or(since)) + self.every);
            let waited = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // The sender lives as long as this does.
                _ = trouble.changed() => {}
                () = waited => return,
            }
        }
    }
}

impl Signs {
    fn hear(&self, event: &Event) {
        let is_served = match event {
            Event::LineDown { .. } => false,
            Event::Retrying { failure, .. } if failure.kind == FailureKind::Connect => false,
            Event::Attempt(attempt) if attempt.status.is_some_and(|status| status < 500) => true,
            Event::Progress {
                acknowledged_bytes, ..
            } => {
                let before = std::mem::replace(&mut *self.acknowledged(), *acknowledged_bytes);
                if *acknowledged_bytes <= before {
                    return;
                }
                true
            }
            _ => return,
        };
        let now = clock::instant();
        self.trouble.send_if_modified(|since| {
            let changes = since.is_some() == is_served;
            if changes {
                *since = (!is_served).then_some(now);
            }
            changes
        });
    }

    fn acknowledged(&self) -> MutexGuard<'_, u64> {
        self.acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::model::{Failure, Stage};

    /// When it is time to ask, from the events of an upload: whoever is served is not asked for, and a
    /// trouble that lasts is asked for again and again.
    #[tokio::test(start_paused = true)]
    async fn when_to_ask() {
        let every = Duration::from_secs(60);
        let down = Event::LineDown {
            silence: Duration::ZERO,
        };
        let unreached = Event::Retrying {
            failure: Failure::new(FailureKind::Connect, "nobody is there"),
            wait: Duration::ZERO,
            attempts: 1,
        };
        let busy = Event::Retrying {
            failure: Failure::new(FailureKind::Server, "busy"),
            wait: Duration::ZERO,
            attempts: 1,
        };
        let moves = Event::Progress {
            safe_bytes: 0,
            acknowledged_bytes: 10,
            lost_bytes: 0,
            size: Some(100),
            stage: Stage::Sending,
        };
        // Events 50 s after one another, and whether it is time 50 s after the last one.
        let rows: [(&str, Vec<&Event>, bool); 7] = [
            ("nothing is known", vec![], false),
            ("the line is down", vec![&down, &down], true),
            ("no host is reached", vec![&unreached, &unreached], true),
            ("for a moment", vec![&unreached], false),
            ("bytes pass", vec![&down, &moves], false),
            ("none do", vec![&moves, &down, &moves], true),
            ("somebody is busy", vec![&busy, &busy], false),
        ];
        for (story, events, is_time) in rows {
            let (vigil, listener) = Vigil::beside(Listener::default(), every);
            for event in events {
                listener.tell(event);
                tokio::time::advance(Duration::from_secs(50)).await;
            }
            let asked = vigil.nobody_serves(None).now_or_never();
            assert_eq!(asked.is_some(), is_time, "{story}");
            let just_now = vigil.nobody_serves(Some(clock::instant())).now_or_never();
            assert!(just_now.is_none(), "{story}");
            tokio::time::advance(every).await;
            let before = clock::instant() - every;
            let again = vigil.nobody_serves(Some(before)).now_or_never();
            assert_eq!(
                again.is_some(),
                is_time || story == "for a moment",
                "{story}"
            );
        }
    }
}
