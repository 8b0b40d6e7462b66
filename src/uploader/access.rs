//! By what right an upload is made: keys that sign a token for every request, or a ready token.

mod held;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::events::Event;
use crate::kodo::{AnswerForm, Credentials, PutPolicy, Scope, UploadToken};
use crate::model::{Bucket, ObjectKey};
use crate::uploader::provider::TokenProvider;

pub(crate) use crate::uploader::access::held::Held;

/// Shortest life of a token that we sign, in seconds: clocks are wrong by minutes, rarely more.
const TOKEN_LIFE_MIN: u64 = 60 * 60;

/// The slowest line whose uploads must not outlive their token, in bytes a second: 64 kbit/s.
const SLOWEST_LINE: u64 = 8_000;

/// A token lives this many times as long as its upload would take on the slowest line.
const TOKEN_LIFE_FACTOR: u64 = 3;

/// Keys or token.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// Signs a fresh token for every request.
    Keys(Credentials),
    /// A token that somebody else signed.
    Token(Box<UploadToken>),
    /// Somebody who signs tokens when asked, and the one that is in use.
    Provider(TokenProvider, Arc<Held>),
}

/// A put policy that the caller wrote, for the keys to sign.
#[derive(Clone, Debug)]
pub(crate) struct OwnPolicy {
    /// Its deadline does not count.
    pub(crate) policy: PutPolicy,
    /// How long its tokens live; none for what the upload needs.
    pub(crate) life: Option<Life>,
}

/// How long a token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// So long from the moment of signing.
    For(Duration),
    /// Until this second, Unix time.
    Until(u64),
}

impl Life {
    /// The last second of a token that is signed `now`; both in Unix time.
    pub(crate) fn end(self, now: u64) -> u64 {
        match self {
            Self::For(life) => now.saturating_add(life.as_secs()),
            Self::Until(end) => end,
        }
    }
}

/// A clock is called wrong from this difference on: the service allows 15 minutes, and a slow answer
/// alone makes seconds.
const CLOCK_OFFSET_MIN_S: i64 = 60;

/// A larger difference is no wrong clock but a wrong `Date`: one that says 1970, for instance.
const CLOCK_OFFSET_MAX_S: i64 = 10 * 365 * 24 * 60 * 60;

/// What one upload may do, and as whom.
#[derive(Debug)]
pub(crate) struct Permit {
    access: Access,
    /// What keys sign, but for its deadline; with a token, what that permits.
    policy: PutPolicy,
    /// The service names the object.
    names_no_key: bool,
    life: Life,
    /// The service's clock minus ours by its last answer, in seconds.
    heard_offset_s: AtomicI64,
    /// The same as applied to tokens: 0 until a token was refused.
    offset_s: AtomicI64,
}

impl Permit {
    /// The permit for an upload of `len` bytes to `key` in `bucket`; refuses what a ready token, or the
    /// caller's `own` policy for the keys to sign, does not cover.
    pub(crate) fn new(
        access: Access,
        bucket: &Bucket,
        key: Option<&ObjectKey>,
        own: Option<OwnPolicy>,
        len: u64,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let life = (len / SLOWEST_LINE).saturating_mul(TOKEN_LIFE_FACTOR);
        let mut life = Life::For(Duration::from_secs(life.max(TOKEN_LIFE_MIN)));
        let ready = |token: &UploadToken| {
            let policy = token.policy();
            check_policy(policy, "upload token", bucket, key)?;
            check_deadline(policy.deadline, now)?;
            Ok::<_, Error>(policy.clone())
        };
        let policy = match (&access, own) {
            (Access::Token(token), None) => ready(token)?,
            (Access::Provider(_, held), None) => ready(&held.token())?,
            (Access::Token(_) | Access::Provider(..), Some(_)) => return Err(signed_elsewhere()),
            (Access::Keys(_), Some(own)) => {
                check_policy(&own.policy, "put policy", bucket, key)?;
                life = own.life.unwrap_or(life);
                check_deadline(life.end(clock::unix_seconds(now)), now)?;
                own.policy
            }
            (Access::Keys(_), None) => {
                let scope = match key {
                    Some(key) => Scope::Key(bucket.clone(), key.clone()),
                    None => Scope::Bucket(bucket.clone()),
                };
                PutPolicy::new(scope, 0)
            }
        };
        Ok(Self {
            access,
            policy,
            names_no_key: key.is_none(),
            life,
            heard_offset_s: AtomicI64::new(0),
            offset_s: AtomicI64::new(0),
        })
    }

    /// The same, without a right to replace an object of other content. A ready token is what it is.
    pub(crate) fn insert_only(mut self, insert_only: bool) -> Self {
        if let Access::Keys(_) = &self.access {
            self.policy.insert_only |= insert_only;
        }
        self
    }

    /// Takes note of the service's clock.
    pub(crate) fn hear_clock(&self, server: Option<SystemTime>, now: SystemTime) {
        let seconds = |time| clock::unix_seconds(time).cast_signed();
        if let Some(server) = server {
            let offset = seconds(server) - seconds(now);
            self.heard_offset_s.store(offset, Ordering::Relaxed);
        }
    }

    /// A token was refused: whether there is another. Own keys sign a fresh one, by the service's
    /// clock if ours is far from it; a provider is asked. `say` is told of a provider's failures.
    pub(crate) async fn renew(&self, say: impl Fn(&Event)) -> bool {
        match &self.access {
            Access::Token(_) => false,
            Access::Keys(_) => {
                self.mend_clock();
                true
            }
            Access::Provider(provider, held) => match provider.token(&say).await {
                Ok(token) => {
                    held.take(Some(token), true);
                    true
                }
                Err(error) => {
                    say(&Event::Notice(error.to_string()));
                    false
                }
            },
        }
    }

    /// Whether a provider is to be asked now for a fresh token, before the one in use ends. Who hears so
    /// asks: it is not said twice.
    pub(crate) fn begin_renewal(&self, now: SystemTime) -> bool {
        let Access::Provider(_, held) = &self.access else {
            return false;
        };
        held.begin_renewal(self.service_clock(now))
    }

    /// Asks the provider for a fresh token while the one in use still serves. `say` is told if there is
    /// none.
    pub(crate) async fn renew_early(&self, say: impl Fn(&Event)) {
        let Access::Provider(provider, held) = &self.access else {
            return;
        };
        match provider.token(|_| ()).await {
            Ok(token) => held.take(Some(token), false),
            Err(error) => {
                held.take(None, false);
                say(&Event::Notice(format!(
                    "{error}; the one in use still serves"
                )));
            }
        }
    }

    /// When the tokens end that the upload has left, Unix time; None where there will be others.
    pub(crate) fn tokens_end(&self) -> Option<u64> {
        match &self.access {
            Access::Token(token) => Some(token.policy().deadline),
            Access::Provider(_, held) => held.last_end(),
            Access::Keys(_) => match self.life {
                Life::For(_) => None,
                Life::Until(end) => Some(end),
            },
        }
    }

    /// What the service's clock shows when ours shows `now`, Unix time.
    pub(crate) fn service_clock(&self, now: SystemTime) -> u64 {
        let heard = self.heard_offset_s.load(Ordering::Relaxed);
        let offset = match is_wrong_clock(heard) {
            true => heard,
            false => 0,
        };
        clock::unix_seconds(now).saturating_add_signed(offset)
    }

    /// Signs by the service's clock from now on, if ours is wrong.
    fn mend_clock(&self) {
        let heard = self.heard_offset_s.load(Ordering::Relaxed);
        if is_wrong_clock(heard) {
            tracing::warn!("this machine's clock differs from the service's by {heard} s");
            self.offset_s.store(heard, Ordering::Relaxed);
        }
    }

    /// The account's keys, if there are any.
    pub(crate) fn keys(&self) -> Option<&Credentials> {
        match &self.access {
            Access::Keys(credentials) => Some(credentials),
            Access::Token(_) | Access::Provider(..) => None,
        }
    }

    /// Whether a repeated commit can be seen: by its refusal, or by what it does.
    pub(crate) fn repeat_shows(&self) -> bool {
        self.policy.force_insert_only || self.repeat_acts()
    }

    /// Whether a repeated commit does something twice: a callback, a job that the service starts and
    /// bills, a second object.
    pub(crate) fn repeat_acts(&self) -> bool {
        let policy = &self.policy;
        // With a name that the service makes, a second commit may make a second object.
        policy.callback_url.is_some()
            || policy.persistent_ops.is_some()
            || policy.persistent_workflow_template_id.is_some()
            || policy.async_ops.is_some()
            || (policy.save_key.is_some() && (self.names_no_key || policy.force_save_key))
    }

    /// The token for a request sent `now`.
    pub(crate) fn token(&self, now: SystemTime) -> UploadToken {
        match &self.access {
            Access::Token(token) => token.as_ref().clone(),
            Access::Provider(_, held) => held.token(),
            Access::Keys(credentials) => {
                let offset_s = self.offset_s.load(Ordering::Relaxed);
                let now = clock::unix_seconds(now).saturating_add_signed(offset_s);
                let mut policy = self.policy.clone();
                policy.deadline = self.life.end(now);
                UploadToken::sign(credentials, &policy)
            }
        }
    }

    /// What the answer to the commit looks like.
    pub(crate) fn answer_form(&self) -> AnswerForm {
        AnswerForm::of(&self.policy)
    }

    /// Whether the object gets another key than the client says: the policy or a callback names it.
    pub(crate) fn may_rename(&self) -> bool {
        self.policy.force_save_key || self.policy.callback_fetch_key
    }

    /// Whether v1 would replace an object that form and v2 would not (protocol reference, 7.2).
    pub(crate) fn v1_would_overwrite(&self) -> bool {
        let policy = &self.policy;
        matches!(policy.scope, Scope::Bucket(_)) && !policy.insert_only && !policy.force_insert_only
    }
}

/// Whether a clock that is so many seconds off is called wrong.
fn is_wrong_clock(offset_s: i64) -> bool {
    (CLOCK_OFFSET_MIN_S..CLOCK_OFFSET_MAX_S).contains(&offset_s.abs())
}

/// A policy must be for this bucket and key; `what` carries it.
fn check_policy(
    policy: &PutPolicy,
    what: &str,
    bucket: &Bucket,
    key: Option<&ObjectKey>,
) -> Result<(), Error> {
    if policy.scope.bucket() != bucket {
        let theirs = policy.scope.bucket();
        return Err(Error::new(
            ErrorKind::Config,
            format!("the {what} is for bucket `{theirs}`, and the destination is in `{bucket}`"),
        )
        .next(format!(
            "use a {what} for this bucket, or another destination"
        )));
    }
    // A name of the policy's own making goes before ours: the service judges that one.
    if !policy.force_save_key && !policy.allows_key(key) {
        let scope = policy.scope.text();
        let named = key.map_or_else(|| "no key".to_owned(), |key| format!("`{key}`"));
        return Err(Error::new(
            ErrorKind::Forbidden,
            format!("the {what} is for `{scope}`, and the upload names {named}"),
        )
        .next(format!(
            "choose a key that the {what} allows, or get another {what}"
        )));
    }
    Ok(())
}

/// A token must not have expired.
fn check_deadline(deadline: u64, now: SystemTime) -> Result<(), Error> {
    let now = clock::unix_seconds(now);
    if deadline >= now {
        return Ok(());
    }
    let what = format!("the upload token expired {} seconds ago", now - deadline);
    Err(Error::new(ErrorKind::Unauthorized, what).next("get a fresh upload token"))
}

/// A ready token holds its policy: another one would be said in vain.
fn signed_elsewhere() -> Error {
    Error::new(
        ErrorKind::Config,
        "the upload has a put policy, and a token that somebody else signed",
    )
    .next("have the policy signed by whoever signs the token, or set keys")
}

#[cfg(test)]
mod tests;
