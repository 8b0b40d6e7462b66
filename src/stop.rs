//! A request to stop, made in one place and heard in others.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

/// Stops uploads that heed it ([`Put::stop_on`](crate::Put::stop_on)): nothing new is begun, what is in
/// flight is given up, what is recorded stays safe.
///
/// Clones are one and the same. What was stopped stays so: an upload that begins later with it stops at once.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<Option<When>>>);

/// When an upload that is asked to stop has to be over. The sooner is the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// What is in flight is given up.
    AtOnce,
    /// What is in flight may be acknowledged until then.
    By(Instant),
}

impl Stop {
    /// A request that has not been made yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Makes the request, and returns at once; the uploads end a moment later. A second time changes
    /// nothing.
    pub fn stop(&self) {
        self.ask(When::AtOnce);
    }

    /// Returns when the request is made.
    pub(crate) async fn stopped(&self) {
        hear(&mut self.0.subscribe(), None).await;
    }

    /// Makes the request, with time for what is in flight. The sooner of two requests holds.
    pub(crate) fn ask(&self, when: When) {
        self.0.send_if_modified(|asked| {
            let is_sooner = asked.is_none_or(|before| when < before);
            if is_sooner {
                *asked = Some(when);
            }
            is_sooner
        });
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// The requests that one upload heeds: its own, and the one to all uploads of its uploader.
#[derive(Clone, Debug)]
pub(crate) struct Stops {
    pub(crate) own: Stop,
    pub(crate) all: Stop,
}

impl Stops {
    /// Returns when either request is made.
    pub(crate) async fn stopped(&self) {
        self.ears().sooner(None).await;
    }

    /// What hears both.
    pub(crate) fn ears(&self) -> Ears {
        Ears {
            own: self.own.0.subscribe(),
            all: self.all.0.subscribe(),
        }
    }
}

/// Hears two requests.
#[derive(Debug)]
pub(crate) struct Ears {
    own: watch::Receiver<Option<When>>,
    all: watch::Receiver<Option<When>>,
}

impl Ears {
    /// Returns with a request for an earlier end than was `heard` of before.
    pub(crate) async fn sooner(&mut self, heard: Option<When>) -> When {
        let (own, all) = (hear(&mut self.own, heard), hear(&mut self.all, heard));
        tokio::select! {
            biased;
            when = own => when,
            when = all => when,
        }
    }
}

async fn hear(asked: &mut watch::Receiver<Option<When>>, heard: Option<When>) -> When {
    let is_sooner = |when: When| heard.is_none_or(|before| when < before);
    let asked = asked.wait_for(|asked| asked.is_some_and(is_sooner)).await;
    match asked.ok().and_then(|asked| *asked) {
        Some(when) => when,
        // Nobody is left who could ask.
        None => std::future::pending().await,
    }
}
