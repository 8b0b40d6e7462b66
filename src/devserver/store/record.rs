//! What the store writes down, and how a record proves that it is whole.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A stretch of an object's bytes: one blob, which is always used whole.
///
/// An extent of no bytes has no blob behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    /// The blob's id.
    pub(crate) blob: String,
    /// Its length in bytes.
    pub(crate) len: u64,
}

/// When an object that is already there may be replaced (protocol reference, section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overwrite {
    /// Always.
    Replace,
    /// Only by an object with the same hash, which counts as success.
    SameHashOnly,
    /// Never, not even by the same content.
    Never,
}

/// What became of a [`put_object`](crate::devserver::store::Store::put_object).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutOutcome {
    /// Nothing was there.
    Created,
    /// Something was there, and has been replaced.
    Replaced,
    /// The same hash was there; its record, with its put time, is the new one.
    SameContent,
    /// Something was there and stays as it is: 614.
    Refused,
}

/// An object: everything about it but its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ObjectRecord {
    /// Kodo's etag.
    pub(crate) hash: String,
    /// Bytes.
    pub(crate) size: u64,
    /// As declared or detected.
    pub(crate) mime_type: String,
    /// When it was stored, in units of 100 ns since 1970.
    pub(crate) put_time: u64,
    /// The policy's `endUser`.
    pub(crate) end_user: Option<String>,
    /// Storage class; 0 is the standard one.
    pub(crate) file_type: u8,
    /// `x-qn-meta-…`, names without that prefix.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The sizes of the parts of a v2 object, in order.
    pub(crate) part_lens: Option<Vec<u64>>,
    /// Lower-case hex; known for form uploads.
    pub(crate) md5: Option<String>,
    /// Disabled by `chstatus`: reads are refused.
    pub(crate) disabled: bool,
    /// Unix seconds from which on it counts as deleted (`deleteAfterDays`).
    pub(crate) expiration: Option<u64>,
    /// The bytes, in order.
    pub(crate) data: Vec<Extent>,
}

impl ObjectRecord {
    /// Whether it still exists at `now` (Unix seconds).
    pub(crate) fn is_live(&self, now: u64) -> bool {
        self.expiration.is_none_or(|expiration| now < expiration)
    }
}

/// An object with its name: what stands in the file, since the file's name is only a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamedObject {
    /// The bucket's name.
    pub(crate) bucket: String,
    /// The key, any text.
    pub(crate) key: String,
    /// The rest.
    pub(crate) object: ObjectRecord,
}

/// v1: a block as far as it has been uploaded. Each chunk makes a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ContextRecord {
    /// Whose it is.
    pub(crate) access_key: String,
    /// What mkblk announced.
    pub(crate) block_len: u64,
    /// Bytes of the block so far.
    pub(crate) offset: u64,
    /// These bytes.
    pub(crate) data: Vec<Extent>,
    /// The running SHA-1 over them as hex of its serialised state, so that a restarted server goes
    /// on without reading them again. Empty for a whole block, whose hash is `sha1`.
    pub(crate) sha1_state: String,
    /// The SHA-1 of the bytes so far, in hex: what mkfile needs for the object's etag.
    pub(crate) sha1: String,
    /// The first bytes of the block, for detecting the type of an object that begins with it.
    pub(crate) head: Vec<u8>,
    /// End of life, Unix seconds.
    pub(crate) expires: u64,
    /// Whether a bput has already continued it.
    pub(crate) used: bool,
}

/// v2: an upload that has been initiated and neither completed nor aborted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct UploadRecord {
    /// Whose it is.
    pub(crate) access_key: String,
    /// Where the object will be.
    pub(crate) bucket: String,
    /// The object's segment of the path as sent: the upload id is bound to it.
    pub(crate) object_segment: String,
    /// End of life, Unix seconds.
    pub(crate) expires: u64,
}

/// v2: one part of an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    /// From 1.
    pub(crate) number: u32,
    /// Its bytes.
    pub(crate) extent: Extent,
    /// Its etag.
    pub(crate) etag: String,
    /// When it came, Unix seconds.
    pub(crate) put_time: u64,
    /// Its first bytes, for detecting the type of an object that begins with it.
    #[serde(default)]
    pub(crate) head: Vec<u8>,
}

const OPENING: &[u8] = b"{\"record\":";
const BEFORE_CHECK: &[u8] = b",\"crc32\":\"";
const CLOSING: &[u8] = b"\"}\n";
/// CRC-32 in hex.
const CHECK_LEN: usize = 8;

/// `record` as `{"record":…,"crc32":"…"}`, the check being over the record's text.
pub(crate) fn encode(record: &impl Serialize) -> Vec<u8> {
    // Maps with text keys, numbers and text: no record can fail to become JSON.
    let text = serde_json::to_vec(record).unwrap_or_default();
    let check = format!("{:08x}", crc32fast::hash(&text));
    [OPENING, &text, BEFORE_CHECK, check.as_bytes(), CLOSING].concat()
}

/// The record in `bytes`, or nothing if a byte is missing, changed or of another kind of record.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let inside = bytes.strip_prefix(OPENING)?.strip_suffix(CLOSING)?;
    let (rest, check) = inside.split_at_checked(inside.len().checked_sub(CHECK_LEN)?)?;
    let text = rest.strip_suffix(BEFORE_CHECK)?;
    if check != format!("{:08x}", crc32fast::hash(text)).as_bytes() {
        return None;
    }
    serde_json::from_slice(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every torn tail and every flipped bit of a record makes it no record, never a wrong one.
    #[test]
    fn a_record_is_whole_or_nothing() {
        let record = UploadRecord {
            access_key: "ak".into(),
            bucket: "demo".into(),
            object_segment: "a\"\n目".into(),
            expires: 7,
        };
        let bytes = encode(&record);
        assert_eq!(decode::<UploadRecord>(&bytes), Some(record));
        assert_eq!(decode::<PartRecord>(&bytes), None, "another kind");
        for len in 0..bytes.len() {
            assert_eq!(decode::<UploadRecord>(&bytes[..len]), None, "cut at {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode::<UploadRecord>(&flipped), None, "bit {bit}");
        }
    }
}
