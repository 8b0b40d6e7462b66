//! Whose upload a journal is. Pure.
//!
//! The header binds a journal to its target and tells of the source. The layout, the protocol and
//! the upload id with its expiry stand in the `begun` record, since a start over changes them.
//! Absent on purpose: secret keys, tokens, signatures. An access key is a name.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use crate::engine::record::Digest;
use crate::journal::said::Said;
use crate::model::{Bucket, ObjectKey};

/// Longest resume id, in bytes: room for any job's name, a hash or a path of a database, and still
/// one line of a listing.
pub(crate) const RESUME_ID_LEN_MAX: usize = 256;

/// Text that is no resume id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a resume id has 1 to {RESUME_ID_LEN_MAX} bytes that can be printed; this has {len} bytes")]
pub(crate) struct NoResumeId {
    len: usize,
}

/// A journal's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// Where the object goes.
    pub(crate) target: Target,
    /// The source as it was when this was written. Display and doubt only: on resume the bytes are
    /// believed, not these facts, but for the size.
    pub(crate) source: Source,
    /// When the upload began, in seconds since 1970.
    pub(crate) created: u64,
    /// What the caller said of the object; none where that was nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) says: Option<Said>,
}

/// Where an object goes: all that makes two uploads different ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// The service's kind: `kodo`.
    pub(crate) service: String,
    /// The account.
    pub(crate) access_key: String,
    /// Which instance of the service: its endpoint as `scheme://host:port`, or for a local store
    /// the store's own identity, since its port changes from run to run. The same for every host
    /// of one region.
    pub(crate) store: String,
    /// The bucket.
    #[serde(with = "bucket_text")]
    pub(crate) bucket: Bucket,
    /// The key; none lets the service name the object, which is not the empty key.
    #[serde(with = "key_text")]
    pub(crate) key: Option<ObjectKey>,
    /// What the caller calls the upload; none where its target and its source name it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) resume_id: Option<ResumeId>,
}

/// What a caller calls an upload: its own name for the job that the upload is part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ResumeId(String);

/// The source, as the file system describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// Canonical path.
    pub(crate) path: SourcePath,
    /// Length in bytes.
    pub(crate) size: u64,
    /// Last change of the contents, in nanoseconds since 1970.
    pub(crate) mtime_ns: i64,
    /// Last change of contents or attributes, in nanoseconds since 1970; 0 where not known.
    pub(crate) ctime_ns: i64,
    /// Number of the device; 0 where not known.
    pub(crate) device: u64,
    /// Number of the file on its device; 0 where not known.
    pub(crate) inode: u64,
}

/// A path as JSON can hold it without loss: as text, or in hexadecimal when it is no UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PathForm", into = "PathForm")]
pub(crate) struct SourcePath(Vec<u8>);

/// What a journal's file name is made of: 20 bytes that no two targets share.
///
/// An upload without a key is told apart by its source's path as well, since many files may go to
/// one bucket that way; one with a resume id by that, wherever its source lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity([u8; 20]);

impl Header {
    /// The identity of this upload. Stable: a journal is found by it years later.
    pub(crate) fn identity(&self) -> Identity {
        let target = &self.target;
        let mut hasher = Sha1::new();
        // Each field goes with its length, so that no two lists of fields run together alike.
        let mut field = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        field(b"haul upload 1");
        field(target.service.as_bytes());
        field(target.access_key.as_bytes());
        field(target.store.as_bytes());
        field(target.bucket.as_str().as_bytes());
        if let Some(key) = &target.key {
            field(b"key");
            field(key.as_str().as_bytes());
        }
        match (&target.resume_id, &target.key) {
            (Some(id), _) => {
                field(b"resume id");
                field(id.0.as_bytes());
            }
            (None, Some(_)) => {}
            (None, None) => {
                field(b"path");
                field(&self.source.path.0);
            }
        }
        Identity(hasher.finalize().into())
    }

    /// The oldest format that can say this: what an older haul can read, it is given to read.
    pub(crate) fn version(&self) -> u32 {
        match (&self.target.resume_id, &self.says) {
            (None, None) => 1,
            _ => 2,
        }
    }
}

impl ResumeId {
    /// Checks `text`: 1 to [`RESUME_ID_LEN_MAX`] bytes that can be printed.
    pub(crate) fn new(text: impl Into<String>) -> Result<Self, NoResumeId> {
        let text = text.into();
        let has_length = (1..=RESUME_ID_LEN_MAX).contains(&text.len());
        match has_length && !text.chars().any(char::is_control) {
            true => Ok(Self(text)),
            false => Err(NoResumeId { len: text.len() }),
        }
    }

    /// The id as text.
    #[cfg(feature = "cli")]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ResumeId {
    type Error = NoResumeId;

    fn try_from(text: String) -> Result<Self, NoResumeId> {
        Self::new(text)
    }
}

impl From<ResumeId> for String {
    fn from(id: ResumeId) -> Self {
        id.0
    }
}

impl Identity {
    /// Reads what [`Display`](fmt::Display) writes: 40 lower-case hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digest = Digest::try_from(text.to_owned()).ok()?;
        Some(Self(digest.0))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(Digest(self.0)))
    }
}

impl SourcePath {
    /// Keeps `path`, which should be canonical.
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.as_os_str().as_encoded_bytes().to_vec())
    }

    /// The path, where this system can have such a one.
    pub(crate) fn to_path(&self) -> Option<std::path::PathBuf> {
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            Some(std::path::PathBuf::from(std::ffi::OsStr::from_bytes(
                &self.0,
            )))
        }
        #[cfg(not(unix))]
        {
            String::from_utf8(self.0.clone())
                .ok()
                .map(std::path::PathBuf::from)
        }
    }
}

impl fmt::Display for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// The two ways that [`SourcePath`] is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathForm {
    Text(String),
    Bytes { hex: String },
}

impl From<SourcePath> for PathForm {
    fn from(path: SourcePath) -> Self {
        match String::from_utf8(path.0) {
            Ok(text) => Self::Text(text),
            Err(error) => {
                let digits = error.as_bytes().iter().map(|byte| format!("{byte:02x}"));
                Self::Bytes {
                    hex: digits.collect(),
                }
            }
        }
    }
}

impl TryFrom<PathForm> for SourcePath {
    type Error = &'static str;

    fn try_from(form: PathForm) -> Result<Self, Self::Error> {
        let hex = match form {
            PathForm::Text(text) => return Ok(Self(text.into_bytes())),
            PathForm::Bytes { hex } => hex,
        };
        let pair = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16).ok()
        };
        let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(pair).collect();
        bytes.map(Self).ok_or("no hexadecimal digits")
    }
}

mod bucket_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::model::Bucket;

    pub(super) fn serialize<S: Serializer>(bucket: &Bucket, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(bucket.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bucket, D::Error> {
        Bucket::new(String::deserialize(from)?).map_err(de::Error::custom)
    }
}

mod key_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::model::ObjectKey;

    pub(super) fn serialize<S: Serializer>(
        key: &Option<ObjectKey>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        key.as_ref().map(ObjectKey::as_str).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<ObjectKey>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(ObjectKey::new)
            .transpose()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
