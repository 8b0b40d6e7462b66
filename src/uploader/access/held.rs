//! A provider's token: while it serves, and when the next one is asked for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::kodo::UploadToken;

/// A fresh token is asked for when the one in use has so many seconds left: longer than a provider takes
/// and than any request that was begun with the old one.
const RENEW_BEFORE: u64 = 5 * 60;

/// A provider's token, shared by everything that one upload does with it.
#[derive(Debug)]
pub(crate) struct Held(Mutex<HeldToken>);

#[derive(Debug)]
struct HeldToken {
    token: UploadToken,
    /// When a token was asked for last, Unix time.
    asked: u64,
    /// There is no later one: the provider was asked and had none.
    is_last: bool,
}

impl Held {
    /// A token that the provider gave `now`, Unix time.
    pub(crate) fn new(token: UploadToken, now: u64) -> Self {
        Self(Mutex::new(HeldToken {
            token,
            asked: now,
            is_last: false,
        }))
    }

    pub(crate) fn token(&self) -> UploadToken {
        self.locked().token.clone()
    }

    /// The provider was asked: `token` is what it gave, if it gave one. An earlier end than before is
    /// taken only where what we have was `refused`.
    pub(super) fn take(&self, token: Option<UploadToken>, refused: bool) {
        let mut held = self.locked();
        let deadline = |token: &UploadToken| token.policy().deadline;
        let is_later = |token: &UploadToken| deadline(token) > deadline(&held.token);
        held.is_last = !token.as_ref().is_some_and(is_later);
        if let Some(token) = token.filter(|_| refused || !held.is_last) {
            held.token = token;
        }
    }

    /// Whether it is time to ask for a fresh one. Who hears so asks: it is not said twice.
    pub(super) fn begin_renewal(&self, now: u64) -> bool {
        let mut held = self.locked();
        let is_due = is_renewal_due(held.asked, held.token.policy().deadline, now);
        if is_due {
            held.asked = now;
        }
        is_due
    }

    /// When it ends, Unix time, if there is no later one.
    pub(super) fn last_end(&self) -> Option<u64> {
        let held = self.locked();
        held.is_last.then(|| held.token.policy().deadline)
    }

    fn locked(&self) -> MutexGuard<'_, HeldToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is time to ask for a fresh token in place of one that was got at `asked` and ends at
/// `deadline`; all in Unix time. Asked in vain, the time that is left halves until the next question.
pub(super) fn is_renewal_due(asked: u64, deadline: u64, now: u64) -> bool {
    let life = deadline.saturating_sub(asked);
    // A token of a second is too short for any question.
    life > 1 && deadline.saturating_sub(now) <= RENEW_BEFORE.min(life / 2)
}
