//! Upload tokens: a put policy, signed. What every call to an upload host carries.
//!
//! Source: protocol reference, section 1.1.

use std::fmt;

use zeroize::Zeroizing;

use crate::kodo::credentials::Credentials;
use crate::kodo::encode::{b64u, b64u_decode};
use crate::kodo::policy::{PolicyError, PutPolicy};

/// Length of a signature in bytes, before its encoding: an HMAC-SHA1.
const SIGN_LEN: usize = 20;

/// An upload token: `access key : signature : encoded policy`.
///
/// Whoever has it may upload what its policy permits, so `Debug` never shows it; only
/// [`expose`](Self::expose) and [`authorization`](Self::authorization) do.
#[derive(Clone)]
pub struct UploadToken {
    text: Zeroizing<String>,
    access_key_len: usize,
    sign_len: usize,
    policy: PutPolicy,
}

impl UploadToken {
    /// Signs `policy`, as [`PutPolicy::to_json`] writes it. The policy is not checked here.
    pub fn sign(credentials: &Credentials, policy: &PutPolicy) -> Self {
        Self::join(credentials, &policy.to_json(), policy.clone())
    }

    /// Signs a policy that was written elsewhere, to the byte.
    pub fn sign_json(credentials: &Credentials, json: &str) -> Result<Self, TokenError> {
        let policy = PutPolicy::from_json(json.as_bytes())?;
        Ok(Self::join(credentials, json, policy))
    }

    /// Takes a token apart. The signature is not checked, which only the key's owner can.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.split(':');
        let (Some(access_key), Some(sign), Some(encoded), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Shape);
        };
        if access_key.is_empty() || !access_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Shape);
        }
        if b64u_decode(sign).is_none_or(|sign| sign.len() != SIGN_LEN) {
            return Err(TokenError::Encoding { part: "signature" });
        }
        let json = b64u_decode(encoded).ok_or(TokenError::Encoding { part: "policy" })?;
        Ok(Self {
            policy: PutPolicy::from_json(&json)?,
            access_key_len: access_key.len(),
            sign_len: sign.len(),
            text: Zeroizing::new(text.to_owned()),
        })
    }

    /// Whose key pair it claims to be signed with.
    pub fn access_key(&self) -> &str {
        &self.text[..self.access_key_len]
    }

    /// What it permits.
    pub fn policy(&self) -> &PutPolicy {
        &self.policy
    }

    /// Whether this key pair signed it.
    pub fn is_signed_by(&self, credentials: &Credentials) -> bool {
        let after_key = &self.text[self.access_key_len + 1..];
        let (sign, encoded) = (&after_key[..self.sign_len], &after_key[self.sign_len + 1..]);
        self.access_key() == credentials.access_key.as_str()
            && credentials.verify(encoded.as_bytes(), sign)
    }

    /// The token itself: the value of a form's `token` field. A secret while it is valid.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The `Authorization` header of v1 and v2: `UpToken …`. A secret while it is valid.
    pub fn authorization(&self) -> String {
        format!("UpToken {}", self.expose())
    }

    fn join(credentials: &Credentials, json: &str, policy: PutPolicy) -> Self {
        let encoded = b64u(json);
        let sign = credentials.sign(encoded.as_bytes());
        let access_key = credentials.access_key.as_str();
        Self {
            text: Zeroizing::new(format!("{access_key}:{sign}:{encoded}")),
            access_key_len: access_key.len(),
            sign_len: sign.len(),
            policy,
        }
    }
}

impl fmt::Debug for UploadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadToken")
            .field("access_key", &self.access_key())
            .field("scope", &self.policy.scope)
            .field("deadline", &self.policy.deadline)
            .finish_non_exhaustive()
    }
}

/// Text that is no upload token. Never holds the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not three parts with colons between them, or an access key that no header can hold.
    #[error("an upload token has three parts with colons between them: key:signature:policy")]
    Shape,
    /// A part is not URL-safe base64 with its padding, or not of the right length.
    #[error("the upload token's {part} is cut or changed: it is no URL-safe base64 of its length")]
    Encoding {
        /// Which of the parts.
        part: &'static str,
    },
    /// The policy in it cannot be read.
    #[error("the upload token is not readable: {0}")]
    Policy(#[from] PolicyError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kodo::credentials::{AccessKey, SecretKey};
    use crate::kodo::policy::Scope;
    use crate::model::{Bucket, ObjectKey};
    use proptest::prelude::*;

    fn keys(secret: &str) -> Credentials {
        Credentials::new(
            AccessKey::new("MY_ACCESS_KEY").expect("a fine key"),
            SecretKey::new(secret).expect("a fine key"),
        )
    }

    fn token() -> UploadToken {
        let bucket = Bucket::new("b").expect("a fine name");
        UploadToken::sign(&keys("s"), &PutPolicy::new(Scope::Bucket(bucket), 9))
    }

    /// A token is a secret: no formatting shows it, nor its signature.
    #[test]
    fn debug_hides_the_token() {
        let token = token();
        let sign = token.expose().split(':').nth(1).expect("three parts");
        for text in [format!("{token:?}"), format!("{token:#?}")] {
            assert!(text.contains("MY_ACCESS_KEY"), "{text}");
            assert!(!text.contains(sign) && !text.contains("eyJ"), "{text}");
        }
    }

    /// Each row damages a good token in one way; errors never repeat it.
    #[test]
    fn refuses_what_is_no_token() {
        let good = token().expose().to_owned();
        assert!(UploadToken::parse(&good).is_ok());
        let parts: Vec<&str> = good.split(':').collect();
        let of = |a: &str, b: &str, c: &str| format!("{a}:{b}:{c}");
        for bad in [
            String::new(),
            "a:b".to_owned(),
            format!("{good}:more"),
            of("", parts[1], parts[2]),
            of("a b", parts[1], parts[2]),
            of(parts[0], parts[1].trim_end_matches('='), parts[2]),
            of(parts[0], "YQ==", parts[2]),
            of(parts[0], parts[1], parts[2].trim_end_matches('=')),
            of(parts[0], parts[1], &b64u("{}")),
            of(parts[0], parts[1], &b64u("not json")),
        ] {
            let error = UploadToken::parse(&bad).expect_err(&bad).to_string();
            assert!(!error.contains(parts[1]), "{error}");
        }
    }

    proptest! {
        /// What one signs, another reads, and only the right secret fits.
        #[test]
        fn sign_parse_verify(key in "\\PC{0,60}", deadline: u64, user in "[^\\x00]{1,9}") {
            let bucket = Bucket::new("b").expect("a fine name");
            let key = ObjectKey::new(key).expect("a short key");
            let mut policy = PutPolicy::new(Scope::Key(bucket, key), deadline);
            policy.end_user = Some(user);
            let token = UploadToken::sign(&keys("right"), &policy);
            let read = UploadToken::parse(token.expose()).expect("our own token");
            prop_assert_eq!(read.policy(), &policy);
            prop_assert!(read.is_signed_by(&keys("right")) && !read.is_signed_by(&keys("wrong")));
        }

        /// Garbage is refused, whatever it is.
        #[test]
        fn parse_never_panics(text: String, policy: Vec<u8>) {
            let _ = UploadToken::parse(&text);
            let _ = UploadToken::parse(&format!("a:{}:{}", b64u([0; 20]), b64u(policy)));
        }
    }
}
