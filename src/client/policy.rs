//! Put policies as a backend writes them, and the tokens that carry them.

mod fields;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::kodo::{self, Credentials, Scope, UploadToken};
use crate::model::{Bucket, NameError, ObjectKey};
use crate::uploader::{Life, OwnPolicy};

pub use crate::client::policy::fields::FileType;

/// How long a token is valid unless the policy says so: an hour, as the vendor's SDKs have it.
/// Source: the Python SDK's default.
const LIFE: Life = Life::For(Duration::from_secs(3600));

/// What an upload token permits, and what the service does when the upload ends: write one,
/// [`sign`](Self::sign) it, and hand the token to whoever uploads; or give it to an upload of your own
/// ([`Put::policy`](crate::Put::policy)).
///
/// Names and values are checked when it is signed or used: what the service would refuse, or would
/// silently leave out, is an error of kind [`ErrorKind::Usage`] that names the field as the service
/// spells it. `$(…)` in templates is the service's affair and passes through.
///
/// ```
/// use std::time::Duration;
/// use haul::{Credentials, PutPolicy};
///
/// # fn main() -> Result<(), haul::Error> {
/// let keys = Credentials::from_texts("my-access-key", "my-secret-key")?;
/// let token = PutPolicy::for_prefix("my-bucket", "users/42/")
///     .expires_in(Duration::from_secs(600))
///     .insert_only()
///     .fsize_limit(100 << 20)
///     .mime_limit("image/*")
///     .return_body(r#"{"key":$(key),"hash":$(etag),"width":$(imageInfo.width)}"#)
///     .sign(&keys)?;
/// // For the one who uploads; whoever has it may do what the policy permits.
/// let text: &str = token.expose();
/// # assert_eq!(text.split(':').count(), 3);
///
/// let wrong = PutPolicy::for_bucket("my-bucket").callback_url("https://example.com/done");
/// let why = wrong.sign(&keys).unwrap_err();
/// assert_eq!(
///     why.to_string(),
///     "put policy: `callbackBody` is required when `callbackUrl` is set"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a policy permits nothing before it is signed or used"]
pub struct PutPolicy {
    /// The policy so far; its deadline is no matter yet. Or which name is none.
    made: Result<kodo::PutPolicy, NameError>,
    /// None: not decided.
    life: Option<Life>,
}

impl PutPolicy {
    /// Permits to write `key` in `bucket`, and to replace what is there. The empty key is a key.
    pub fn for_key(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self::new(Bucket::new(bucket).and_then(|bucket| {
            let key = ObjectKey::new(key)?;
            Ok(Scope::Key(bucket, key))
        }))
    }

    /// Permits to add objects to `bucket` under any key, or none: never to replace one, with form and
    /// v2. v1 does replace; [`insert_only`](Self::insert_only) forbids it in every case.
    pub fn for_bucket(bucket: impl Into<String>) -> Self {
        Self::new(Bucket::new(bucket).map(Scope::Bucket))
    }

    /// Permits to add objects to `bucket` whose keys begin with `prefix` (`isPrefixalScope`); never to
    /// replace one.
    pub fn for_prefix(bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self::new(Bucket::new(bucket).map(|bucket| Scope::Prefix(bucket, prefix.into())))
    }

    fn new(scope: Result<Scope, NameError>) -> Self {
        Self {
            made: scope.map(|scope| kodo::PutPolicy::new(scope, 0)),
            life: None,
        }
    }

    /// Its tokens are valid for so long from the moment they are signed; an hour unless set. The object
    /// must be made within that time, not only begun (`deadline`). Less than a second is refused.
    ///
    /// An upload that signs its own tokens with this policy signs a fresh one for every request.
    pub fn expires_in(mut self, life: Duration) -> Self {
        self.life = Some(Life::For(life));
        self
    }

    /// Its tokens are valid until then, in whole seconds (`deadline`). A moment that is over when the
    /// policy is signed is refused.
    pub fn deadline(mut self, until: SystemTime) -> Self {
        self.life = Some(Life::Until(clock::unix_seconds(until)));
        self
    }

    /// Checks the policy and signs it, valid from now on.
    ///
    /// The token is what SDKs of every language call the upload token: it goes to
    /// [`UploaderBuilder::upload_token`](crate::UploaderBuilder::upload_token), or to a browser.
    pub fn sign(&self, credentials: &Credentials) -> Result<UploadToken, Error> {
        let now = clock::unix_seconds(clock::wall());
        let mut policy = self.own(now)?.policy;
        policy.deadline = self.life.unwrap_or(LIFE).end(now);
        Ok(UploadToken::sign(credentials, &policy))
    }

    /// The policy in the dialect's words, checked `now` (Unix time); its deadline is not set.
    pub(super) fn own(&self, now: u64) -> Result<OwnPolicy, Error> {
        let policy = self.made.clone()?;
        policy.check().map_err(|error| usage(error.to_string()))?;
        fields::check_companions(&policy).map_err(usage)?;
        if self.life.is_some_and(|life| life.end(now) <= now) {
            return Err(usage("put policy: `deadline` is over before it is signed"));
        }
        let life = self.life;
        Ok(OwnPolicy { policy, life })
    }
}

/// What it permits; neither URLs nor templates, in which people put passwords.
impl fmt::Debug for PutPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = self.made.as_ref().map(|policy| &policy.scope);
        f.debug_struct("PutPolicy")
            .field("scope", &scope)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

/// The error of a policy that cannot be.
fn usage(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, why)
}
