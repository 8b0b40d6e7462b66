//! A request to stop, made in one place and heard in others.

use std::sync::Arc;

use tokio::sync::watch;

/// Stops uploads: nothing new is begun, what is recorded stays safe.
///
/// Clones are one and the same. What was stopped stays so.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// A request that has not been made yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Makes the request.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Returns when the request is made.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as this handle does, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
