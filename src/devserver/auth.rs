//! Who asks, and may they? Upload tokens and management signatures.
//!
//! The order of the checks is part of the contract (protocol reference, section 12.3): present,
//! three fields, known access key, signature, JSON, deadline, bucket. v1 and v2 go through it with
//! every request, so a token that expires in the middle of an upload stops it there.

use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Parts;

use crate::clock;
use crate::devserver::exchange::Overrides;
use crate::devserver::refusal::Refusal;
use crate::devserver::route::UploadPath;
use crate::devserver::service::Service;
use crate::kodo::signature::{self, Signable};
use crate::kodo::{PutPolicy, Scope, UploadToken};
use crate::model::ObjectKey;

/// Largest difference between the clocks of a signed management request and of the server. Source:
/// protocol reference, section 1.4.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

impl Service {
    /// The token in the `Authorization` header of a v1, v2 or putb64 request, checked.
    pub(crate) fn upload_token(
        &self,
        head: &Parts,
        overrides: Overrides,
    ) -> Result<UploadToken, Refusal> {
        let header = head.headers.get(AUTHORIZATION).filter(|it| !it.is_empty());
        let text = match header {
            None => None,
            Some(value) => Some(
                value
                    .to_str()
                    .ok()
                    .and_then(|value| value.strip_prefix("UpToken "))
                    .ok_or_else(bad_token)?,
            ),
        };
        self.check_token(text, overrides)
    }

    /// The same for a token that came as text: a form's field.
    pub(crate) fn check_token(
        &self,
        text: Option<&str>,
        overrides: Overrides,
    ) -> Result<UploadToken, Refusal> {
        let text = text
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .ok_or(Refusal::new(401, "token not specified"))?;
        let token = UploadToken::parse(text).map_err(|_| bad_token())?;
        if !token.is_signed_by(&self.keys) {
            return Err(bad_token());
        }
        if overrides.token_expired {
            return Err(expired_token());
        }
        check_deadline(token.policy(), clock::wall())?;
        self.check_bucket(token.policy().scope.bucket().as_str())?;
        Ok(token)
    }

    /// The token of a v2 request, checked against the bucket and key in its path too.
    pub(crate) fn multipart_token(
        &self,
        head: &Parts,
        path: &UploadPath,
        overrides: Overrides,
    ) -> Result<UploadToken, Refusal> {
        let token = self.upload_token(head, overrides)?;
        let policy = token.policy();
        if policy.scope.bucket() != &path.bucket {
            return Err(out_of_scope());
        }
        check_client_key(policy, path.key.as_ref())?;
        Ok(token)
    }

    /// The signature of a management request, in either scheme.
    pub(crate) fn management(&self, head: &Parts, body: &[u8]) -> Result<(), Refusal> {
        let text = |name| head.headers.get(name).and_then(|it| it.to_str().ok());
        let authorization = head.headers.get(AUTHORIZATION);
        let authorization = authorization.filter(|it| !it.is_empty());
        let authorization = authorization.ok_or(Refusal::new(401, "token not specified"))?;
        let signable = Signable {
            method: head.method.as_str(),
            target: head.uri.path_and_query().map_or("/", |it| it.as_str()),
            host: text(HOST).unwrap_or_default(),
            content_type: text(CONTENT_TYPE),
            headers: &head.headers,
            body,
        };
        let verified = |signable: &Signable<'_>| {
            let value = authorization.to_str();
            value.is_ok_and(|value| signature::verify(&self.keys, value, signable))
        };
        let twice = with_port_twice(signable.host);
        let as_node_signs = twice.as_deref().map(|host| Signable { host, ..signable });
        if !verified(&signable) && !as_node_signs.is_some_and(|it| verified(&it)) {
            return Err(bad_token());
        }
        let date = head.headers.get("x-qiniu-date");
        match date.map(|date| date.to_str().ok().and_then(signature::parse_date)) {
            None => Ok(()),
            Some(Some(date)) if distance(date, clock::wall()) <= SKEW_MAX => Ok(()),
            Some(_) => Err(Refusal::new(403, "request time too skewed")),
        }
    }

    /// 631 for a bucket that does not exist.
    pub(crate) fn check_bucket(&self, bucket: &str) -> Result<(), Refusal> {
        match self.has_bucket(bucket) {
            true => Ok(()),
            false => Err(Refusal::no_bucket()),
        }
    }
}

/// Whether the policy is still valid: at the start of each request, and again when the object is
/// created, since a long body may outlive it.
pub(crate) fn check_deadline(policy: &PutPolicy, now: SystemTime) -> Result<(), Refusal> {
    match clock::unix_seconds(now) <= policy.deadline {
        true => Ok(()),
        false => Err(expired_token()),
    }
}

/// Whether the client may name this key, or none. The key that results is checked again at the end:
/// where `saveKey` decides, nothing is known before.
pub(crate) fn check_client_key(policy: &PutPolicy, key: Option<&ObjectKey>) -> Result<(), Refusal> {
    if policy.force_save_key {
        return Ok(());
    }
    let allowed = match (key, &policy.scope) {
        (Some(_), _) => policy.allows_key(key),
        (None, _) if policy.save_key.is_some() => true,
        (None, Scope::Key(..)) => false,
        (None, _) => policy.keylimit.is_empty(),
    };
    if allowed { Ok(()) } else { Err(out_of_scope()) }
}

/// 403 for a key or a bucket that the token does not permit.
pub(crate) fn out_of_scope() -> Refusal {
    Refusal::new(403, "key doesn't match with scope")
}

fn bad_token() -> Refusal {
    Refusal::new(401, "bad token")
}

fn expired_token() -> Refusal {
    Refusal::new(401, "expired token")
}

/// `host:port:port`, or nothing where the host has no port.
///
/// The Node SDK (7.15.2, `generateAccessTokenV2`) signs a host with a port of its own so. Kodo never
/// sees that, since it listens on the schemes' own ports; a dev server always does.
fn with_port_twice(host: &str) -> Option<String> {
    let (_, port) = host.rsplit_once(':')?;
    Some(format!("{host}:{port}"))
}

fn distance(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other)
        .unwrap_or_else(|error| error.duration())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Node SDK's spelling of a host, which only a host with a port has.
    #[test]
    fn ports_twice() {
        let rows = [
            ("127.0.0.1:7070", Some("127.0.0.1:7070:7070")),
            ("rs.qiniuapi.com", None),
            ("", None),
        ];
        for (host, expected) in rows {
            assert_eq!(with_port_twice(host).as_deref(), expected, "{host}");
        }
    }
}
