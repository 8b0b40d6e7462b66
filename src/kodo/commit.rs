//! What an upload says about the object it ends in, the same for form, v1 and v2.
//!
//! Everything is checked when it is put in, so that whatever exists can be sent by each of the
//! three. Source: protocol reference, sections 3.1 and 5.4.

use sha1::{Digest, Sha1};

use crate::model::ObjectKey;

/// Prefix of custom variables on the wire.
pub const VAR_PREFIX: &str = "x:";

/// Prefix of metadata names on the wire; compared without regard to case.
pub const METADATA_PREFIX: &str = "x-qn-meta-";

/// Longest metadata name, without its prefix, in characters. Source: protocol reference, 5.4.
pub const METADATA_NAME_LEN_MAX: usize = 50;

/// Most bytes that all metadata names (without prefix) and values of one object have together.
/// Source: protocol reference, 5.4.
pub const METADATA_LEN_MAX: usize = 1024;

/// The object's key and what goes with it.
///
/// Names may be given with their prefix or without; [`vars`](Self::vars) and
/// [`metadata`](Self::metadata) give them as on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    key: Option<ObjectKey>,
    file_name: Option<String>,
    mime_type: Option<String>,
    vars: Vec<(String, String)>,
    metadata: Vec<(String, String)>,
}

impl Commit {
    /// An object under `key`; `None` lets the policy's `saveKey` or the hash name it.
    pub fn new(key: Option<ObjectKey>) -> Self {
        Self {
            key,
            ..Self::default()
        }
    }

    /// With the original file's name, which policies read as `$(fname)`. `""` is no name.
    #[must_use]
    pub fn file_name(mut self, name: &str) -> Self {
        self.file_name = Some(name.to_owned()).filter(|name| !name.is_empty());
        self
    }

    /// With a mime type. Without one the service finds out itself, which it does not where one is
    /// given, `application/octet-stream` included.
    pub fn mime_type(mut self, mime_type: &str) -> Result<Self, CommitError> {
        let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        let trimmed = mime_type.trim_matches(' ') == mime_type;
        if mime_type.is_empty() || !trimmed || !mime_type.bytes().all(printable) {
            return Err(CommitError::MimeType {
                mime_type: mime_type.to_owned(),
            });
        }
        self.mime_type = Some(mime_type.to_owned());
        Ok(self)
    }

    /// With one custom variable more, which policies read as `$(x:name)`.
    pub fn var(mut self, name: &str, value: &str) -> Result<Self, CommitError> {
        let bare = strip_prefix(name, VAR_PREFIX);
        // The name stands in v1's path as it is.
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if bare.is_empty() || !bare.bytes().all(fine) {
            return Err(CommitError::VarName {
                name: name.to_owned(),
            });
        }
        let full = format!("{VAR_PREFIX}{bare}");
        if self.vars.iter().any(|(known, _)| *known == full) {
            return Err(CommitError::Twice { name: full });
        }
        self.vars.push((full, value.to_owned()));
        Ok(self)
    }

    /// With one metadata entry more. `!Header` as the name sets a standard header of the object, as
    /// in `!Last-Modified`.
    pub fn metadata_entry(mut self, name: &str, value: &str) -> Result<Self, CommitError> {
        let bare = strip_prefix(name, METADATA_PREFIX);
        let letters = bare.strip_prefix('!').unwrap_or(bare);
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if letters.is_empty() || letters.len() > METADATA_NAME_LEN_MAX || !letters.bytes().all(fine)
        {
            return Err(CommitError::MetadataName {
                name: name.to_owned(),
            });
        }
        let full = format!("{METADATA_PREFIX}{bare}");
        let is_same = |known: &str| known.eq_ignore_ascii_case(&full);
        if self.metadata.iter().any(|(known, _)| is_same(known)) {
            return Err(CommitError::Twice { name: full });
        }
        let before: usize = self.metadata.iter().map(metadata_len).sum();
        let entry = (full, value.to_owned());
        let len = before + metadata_len(&entry);
        if len > METADATA_LEN_MAX {
            return Err(CommitError::MetadataTooLong { len });
        }
        self.metadata.push(entry);
        Ok(self)
    }

    /// SHA-1 of all that is said besides the key: from the same bytes, two commits with the same one
    /// make the same object.
    pub fn said(&self) -> [u8; 20] {
        let mut hasher = Sha1::new();
        // Each field goes with its length, so that no two lists of fields run together alike.
        let mut field = |text: &str| {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        };
        // Neither can be empty when it is there.
        field(self.file_name.as_deref().unwrap_or_default());
        field(self.mime_type.as_deref().unwrap_or_default());
        for pairs in [&self.vars, &self.metadata] {
            field(&pairs.len().to_string());
            for (name, value) in pairs {
                field(name);
                field(value);
            }
        }
        hasher.finalize().into()
    }

    /// The object's key, `None` where the service is to name it.
    pub fn key(&self) -> Option<&ObjectKey> {
        self.key.as_ref()
    }

    /// The original file's name.
    pub fn original_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// The mime type that the client gives.
    pub fn declared_type(&self) -> Option<&str> {
        self.mime_type.as_deref()
    }

    /// Custom variables as on the wire, `x:name` and value, in the order given.
    pub fn vars(&self) -> &[(String, String)] {
        &self.vars
    }

    /// Metadata as on the wire, `x-qn-meta-name` and value, in the order given.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }
}

/// What cannot be said about an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A mime type that no header can hold.
    #[error("`{mime_type}` is no mime type; right would be `type/subtype`, printable ASCII only")]
    MimeType {
        /// What was given.
        mime_type: String,
    },
    /// A variable's name that cannot stand in a path.
    #[error("`{name}` is no name of a variable: letters, digits, `-`, `_` and `.` after `x:`")]
    VarName {
        /// What was given.
        name: String,
    },
    /// A metadata name that Kodo does not take.
    #[error(
        "`{name}` is no metadata name: at most {METADATA_NAME_LEN_MAX} letters, digits, `-` and \
         `_` (or `!` and the name of a header)"
    )]
    MetadataName {
        /// What was given.
        name: String,
    },
    /// The same name twice. Metadata names that differ in case only are the same.
    #[error("`{name}` is given twice")]
    Twice {
        /// The name, as on the wire.
        name: String,
    },
    /// All metadata together is too long.
    #[error("the metadata has {len} bytes; names and values may have {METADATA_LEN_MAX} together")]
    MetadataTooLong {
        /// What it would be with the last entry, in bytes.
        len: usize,
    },
}

/// Length of an entry as the service counts it: name without prefix, and value.
fn metadata_len((name, value): &(String, String)) -> usize {
    name.len() - METADATA_PREFIX.len() + value.len()
}

/// `name` without `prefix`, whatever its case.
fn strip_prefix<'a>(name: &'a str, prefix: &str) -> &'a str {
    match name.split_at_checked(prefix.len()) {
        Some((start, bare)) if start.eq_ignore_ascii_case(prefix) => bare,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names work with their prefix and without, in any case of the prefix.
    #[test]
    fn names_on_the_wire() {
        let commit = Commit::new(None)
            .var("user", "")
            .and_then(|commit| commit.var("X:shop", "1"))
            .and_then(|commit| commit.metadata_entry("color", "red"))
            .and_then(|commit| commit.metadata_entry("X-Qn-Meta-Size", "L"))
            .and_then(|commit| commit.metadata_entry("!Last-Modified", "today"))
            .expect("fine names");
        let names = |list: &[(String, String)]| -> Vec<String> {
            list.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(commit.vars()), ["x:user", "x:shop"]);
        assert_eq!(
            names(commit.metadata()),
            [
                "x-qn-meta-color",
                "x-qn-meta-Size",
                "x-qn-meta-!Last-Modified"
            ]
        );
    }

    /// Each row is refused before anything is sent; the message repeats the name.
    #[test]
    fn names_refused() {
        let long = "n".repeat(METADATA_NAME_LEN_MAX + 1);
        let longest = Commit::new(None).metadata_entry(&long[1..], "v");
        assert!(longest.is_ok(), "the limit itself is no refusal");
        for name in [
            "",
            "x-qn-meta-",
            "!",
            "a b",
            "a/b",
            "größe",
            "a\r\nb",
            &long,
        ] {
            let error = Commit::new(None).metadata_entry(name, "v").expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
        for name in ["", "x:", "a/b", "a b", "a%", "?", "ä", "x:x:a"] {
            let error = Commit::new(None).var(name, "v").expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
        for mime_type in ["", "text/plain\r\nX: y", "täxt", " text/plain"] {
            assert!(
                Commit::new(None).mime_type(mime_type).is_err(),
                "{mime_type}"
            );
        }
    }

    /// Metadata names are one when they differ in case only; variables are told apart by it.
    #[test]
    fn names_given_twice() {
        let commit = Commit::new(None)
            .metadata_entry("Color", "1")
            .and_then(|commit| commit.var("a", "1"))
            .expect("fine names");
        assert!(
            commit
                .clone()
                .metadata_entry("x-qn-meta-color", "2")
                .is_err()
        );
        assert!(commit.clone().var("x:a", "2").is_err());
        assert!(commit.var("A", "2").is_ok());
    }

    /// Whatever is said besides the key makes another object, and nothing else does; fields that run
    /// together alike are told apart.
    #[test]
    fn what_is_said() {
        let plain = || Commit::new(None);
        let all = [
            Ok(plain()),
            Ok(plain().file_name("a")),
            plain().mime_type("a/b"),
            plain().file_name("a/b").mime_type("c/d"),
            plain().var("a", "1"),
            plain().var("a", "2"),
            plain().metadata_entry("a", "1"),
            plain().var("a", "1").and_then(|commit| commit.var("b", "")),
            plain().var("a", "").and_then(|commit| commit.var("b", "1")),
        ];
        let said = all.map(|commit| commit.expect("a fine commit").said());
        for (index, this) in said.iter().enumerate() {
            assert!(!said[..index].contains(this), "row {index} is another one");
        }
        let key = ObjectKey::new("k").expect("a short key");
        assert_eq!(Commit::new(Some(key)).said(), plain().said());
    }

    /// Names and values count together, up to the limit and no byte more.
    #[test]
    fn metadata_is_bounded() {
        let with = |len: usize| {
            Commit::new(None)
                .metadata_entry("a", "12345")
                .and_then(|commit| commit.metadata_entry("bc", &"v".repeat(len)))
        };
        assert!(with(METADATA_LEN_MAX - 8).is_ok());
        assert_eq!(
            with(METADATA_LEN_MAX - 7),
            Err(CommitError::MetadataTooLong { len: 1025 })
        );
    }
}
