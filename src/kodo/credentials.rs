//! The key pair of an account, and the one HMAC that every signature is made of.
//!
//! Source: protocol reference, section 1.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::kodo::encode::{b64u, b64u_decode};

/// Names the account; public. Printable ASCII without a colon, so that it can stand in a token and
/// in a header as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessKey(String);

impl AccessKey {
    /// Checks `text`; says what is wrong with it.
    pub fn new(text: impl Into<String>) -> Result<Self, CredentialsError> {
        let text = text.into();
        check("access key", &text)?;
        if text.contains(':') {
            return Err(CredentialsError {
                which: "access key",
                why: "it holds a colon, which no access key does; was `access:secret` pasted as one?",
            });
        }
        Ok(Self(text))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Signs for the account. Never printed; its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<String>);

impl SecretKey {
    /// Checks `text`; says what is wrong with it, without repeating it.
    pub fn new(text: impl Into<String>) -> Result<Self, CredentialsError> {
        let text = Zeroizing::new(text.into());
        check("secret key", &text)?;
        Ok(Self(text))
    }

    /// The key as text: for the one place that may print it, a dev server that made it itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// A key pair. `Debug` shows the access key only.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Who signs.
    pub access_key: AccessKey,
    /// With what.
    pub secret_key: SecretKey,
}

impl Credentials {
    /// Joins two keys.
    pub fn new(access_key: AccessKey, secret_key: SecretKey) -> Self {
        Self {
            access_key,
            secret_key,
        }
    }

    /// Joins two keys as they are copied from the service's console; says what is wrong with one, without
    /// repeating it.
    pub fn from_texts(
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
    ) -> Result<Self, CredentialsError> {
        let access_key = AccessKey::new(access_key)?;
        Ok(Self::new(access_key, SecretKey::new(secret_key)?))
    }

    /// `b64u(HMAC-SHA1(secret key, text))`: 28 characters.
    pub fn sign(&self, text: &[u8]) -> String {
        b64u(self.mac(text).finalize().into_bytes())
    }

    /// Whether `sign` is what [`sign`](Self::sign) makes of `text`. Takes the same time wherever the
    /// two differ.
    pub fn verify(&self, text: &[u8], sign: &str) -> bool {
        b64u_decode(sign).is_some_and(|sign| self.mac(text).verify_slice(&sign).is_ok())
    }

    fn mac(&self, text: &[u8]) -> Hmac<Sha1> {
        let mut mac = Hmac::<Sha1>::new_from_slice(self.secret_key.0.as_bytes())
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(text);
        mac
    }
}

/// Text that is no key of an account. Never holds the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {which} is not usable: {why}")]
pub struct CredentialsError {
    which: &'static str,
    why: &'static str,
}

/// What both keys have in common: they are not empty and all printable ASCII, without blanks.
fn check(which: &'static str, text: &str) -> Result<(), CredentialsError> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text.contains(|char: char| char.is_whitespace() || char.is_control()) {
        "it holds a blank, a line end or a control character; was it copied with its surroundings?"
    } else if !text.is_ascii() {
        "it holds a character that is not ASCII"
    } else {
        return Ok(());
    };
    Err(CredentialsError { which, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people paste by mistake is refused before it is sent, and the secret is not repeated.
    #[test]
    fn refuses_what_is_no_key() {
        for bad in ["", " ", "q9 z8", "ak\n", "\tak", "ak\u{0}", "schlüssel"] {
            assert!(AccessKey::new(bad).is_err(), "{bad:?}");
            let error = SecretKey::new(bad).expect_err(bad).to_string();
            assert!(bad.len() < 2 || !error.contains(bad), "{error}");
        }
        assert!(AccessKey::new("ak:sk").is_err());
        assert!(AccessKey::new("MY_ACCESS-KEY1").is_ok());
    }

    /// No formatting of a key pair, plain or pretty, shows the secret; it has to be asked for.
    #[test]
    fn debug_hides_the_secret() {
        let keys = Credentials::new(
            AccessKey::new("shown").expect("a fine key"),
            SecretKey::new("hidden-secret").expect("a fine key"),
        );
        for text in [format!("{keys:?}"), format!("{keys:#?}")] {
            assert!(text.contains("shown") && !text.contains("hidden"), "{text}");
            assert!(text.contains("SecretKey(…)"), "{text}");
        }
        assert_eq!(keys.secret_key.expose(), "hidden-secret");
    }

    /// A signature that is wrong in any way is no signature.
    #[test]
    fn verify_refuses_all_but_the_signature() {
        let keys = Credentials::new(
            AccessKey::new("a").expect("a fine key"),
            SecretKey::new("s").expect("a fine key"),
        );
        let sign = keys.sign(b"text");
        assert!(keys.verify(b"text", &sign));
        for (text, sign) in [
            ("Text", sign.as_str()),
            ("text", ""),
            ("text", sign.trim_end_matches('=')),
            ("text", &keys.sign(b"other")),
            ("text", "not base64!"),
        ] {
            assert!(!keys.verify(text.as_bytes(), sign), "{text} {sign}");
        }
    }
}
