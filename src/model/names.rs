//! Names of things in object storage.

use std::fmt;

/// Longest object key in bytes. Source: Kodo's documentation (protocol reference, section 0).
pub const KEY_LEN_MAX: usize = 750;

/// Longest bucket name in bytes. Source: Kodo's naming rules, which follow DNS labels.
pub const BUCKET_LEN_MAX: usize = 63;

/// A bucket's name: 1 to 63 bytes of `A-Z a-z 0-9 . _ -`.
///
/// Wider than what Kodo lets one create today, since old buckets keep their names, and narrow
/// enough that a name can stand in a path, a token's scope and a folder name as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(String);

impl Bucket {
    /// Checks `name`; says what is wrong with it.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let dots_only = name.bytes().all(|byte| byte == b'.');
        if name.is_empty() || name.len() > BUCKET_LEN_MAX || dots_only || !name.bytes().all(fine) {
            return Err(NameError::Bucket { name });
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object's key: any UTF-8 text of at most [`KEY_LEN_MAX`] bytes, taken literally.
///
/// The empty key is a key like any other. "No key" (the service names the object) is
/// `Option::<ObjectKey>::None`, and the two are never the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks the length of `key`.
    pub fn new(key: impl Into<String>) -> Result<Self, NameError> {
        let key = key.into();
        if key.len() > KEY_LEN_MAX {
            return Err(NameError::KeyTooLong { len: key.len() });
        }
        Ok(Self(key))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that the service would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a bucket name.
    #[error(
        "`{name}` is no bucket name: 1 to {BUCKET_LEN_MAX} letters, digits, dots, underscores or hyphens"
    )]
    Bucket {
        /// What was given.
        name: String,
    },
    /// A key over [`KEY_LEN_MAX`] bytes.
    #[error("the key has {len} bytes; Kodo takes at most {KEY_LEN_MAX}")]
    KeyTooLong {
        /// Length of what was given, in bytes.
        len: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bucket names that could leave their folder or path segment are refused.
    #[test]
    fn bucket_names() {
        for good in ["a", "my-bucket", "Old_Bucket.1", "0"] {
            assert!(Bucket::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(BUCKET_LEN_MAX + 1);
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "目录", long.as_str()] {
            assert!(Bucket::new(bad).is_err(), "{bad}");
        }
    }

    /// Keys are bounded in bytes, not in characters.
    #[test]
    fn key_lengths() {
        assert!(ObjectKey::new("").is_ok());
        assert!(ObjectKey::new("é".repeat(375)).is_ok());
        assert_eq!(
            ObjectKey::new("é".repeat(376)),
            Err(NameError::KeyTooLong { len: 752 })
        );
    }
}
