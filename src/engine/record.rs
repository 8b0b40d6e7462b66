//! What a crash must not take from us: the journal's records, and the state they replay to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::plan::Layout;

/// One fact about an upload, durable before the engine acts on it.
///
/// Nothing in a record is secret: a receipt is worthless without a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// The layout, and what the service gave to begin with. Written again when an upload starts
    /// over: everything before it is void then.
    Begun {
        /// How the object is cut.
        layout: Layout,
        /// v2's upload id; none for v1 and form.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        upload_id: Option<String>,
        /// When the upload id ends, in seconds since 1970.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        expires: Option<u64>,
    },
    /// A segment that the service acknowledged, with the hash of the bytes that were sent.
    Segment {
        /// Index of its lane, from 0.
        lane: u64,
        /// Its first byte within the lane.
        offset: u64,
        /// Its length in bytes, at least 1.
        len: u64,
        /// Content hash of its bytes.
        digest: Digest,
        /// What the service gave for it.
        receipt: Receipt,
    },
    /// A lane's segments are void: it starts again from its first byte.
    LaneReset {
        /// Index of the lane, from 0.
        lane: u64,
    },
    /// A commit is about to be sent: from here on the object may exist.
    Committing(Announced),
    /// The commit was refused: the object does not exist because of it.
    CommitRefused,
}

/// A commit that may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announced {
    /// An object of ours was put at this time or later, by the service's clock in seconds since 1970;
    /// 0 if that is not known.
    pub server_time: u64,
    /// What it said about the object, hashed.
    pub says: Digest,
}

/// A content hash of 20 bytes, written as 40 hexadecimal digits: SHA-1, in whatever way the
/// service's dialect applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 20]);

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let refused = || format!("`{text}` is no hash of 40 lower-case hexadecimal digits");
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 40 || !text.bytes().all(digit) {
            return Err(refused());
        }
        let mut bytes = [0; 20];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| refused())?;
        }
        Ok(Self(bytes))
    }
}

/// What the service gave for a segment: a v1 ctx or a v2 part etag. Opaque to the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The receipt itself.
    pub text: String,
    /// The endpoint that the lane's next segment should go to, if the service named one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
    /// When it ends, in seconds since 1970, if the service said so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires: Option<u64>,
}

/// A recorded segment as the checkpoint keeps it: enough to re-hash the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Length in bytes.
    pub len: u64,
    /// Content hash of its bytes.
    pub digest: Digest,
}

/// The state that a journal's records replay to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// How the object is cut; none when nothing was begun.
    pub layout: Option<Layout>,
    /// v2's upload id.
    pub upload_id: Option<String>,
    /// When the upload id ends, in seconds since 1970.
    pub expires: Option<u64>,
    /// Per lane: its segments in order, and the receipt of the last.
    pub lanes: BTreeMap<u64, (Vec<Seal>, Receipt)>,
    /// A commit may have been sent.
    pub committing: Option<Announced>,
}

impl Checkpoint {
    /// Replays `records` for a source of `size` bytes.
    ///
    /// Total: it goes as far as the records make sense and returns how many did. What follows a
    /// senseless record (a gap in a lane, a lane beyond the end) is void.
    pub fn replay(records: &[Record], size: u64) -> (Self, usize) {
        let mut state = Self::default();
        for (count, record) in records.iter().enumerate() {
            if state.apply(record, size).is_none() {
                return (state, count);
            }
        }
        (state, records.len())
    }

    /// Bytes that the service has acknowledged and that are recorded.
    pub fn safe_bytes(&self) -> u64 {
        let seals = self.lanes.values().flat_map(|(seals, _)| seals);
        seals.map(|seal| seal.len).sum()
    }

    /// When the first of what the service holds ends, in seconds since 1970.
    pub fn first_expiry(&self) -> Option<u64> {
        let receipts = self.lanes.values();
        let earliest = receipts.filter_map(|(_, receipt)| receipt.expires).min();
        self.expires.into_iter().chain(earliest).min()
    }

    fn apply(&mut self, record: &Record, size: u64) -> Option<()> {
        match record {
            Record::Begun {
                layout,
                upload_id,
                expires,
            } => {
                layout.check(size)?;
                *self = Self {
                    layout: Some(*layout),
                    upload_id: upload_id.clone(),
                    expires: *expires,
                    ..Self::default()
                };
            }
            Record::Segment {
                lane,
                offset,
                len,
                digest,
                receipt,
            } => {
                let span = self.layout?.lane(*lane, size)?;
                let entry = self.lanes.get(lane);
                let done: u64 =
                    entry.map_or(0, |(seals, _)| seals.iter().map(|seal| seal.len).sum());
                let fits = *len > 0 && *offset == done && len.checked_add(done)? <= span.len;
                if !fits {
                    return None;
                }
                let seal = Seal {
                    len: *len,
                    digest: *digest,
                };
                match self.lanes.get_mut(lane) {
                    Some((seals, last)) => {
                        seals.push(seal);
                        *last = receipt.clone();
                    }
                    None => {
                        self.lanes.insert(*lane, (vec![seal], receipt.clone()));
                    }
                }
            }
            Record::LaneReset { lane } => {
                self.lanes.remove(lane)?;
                self.committing = None;
            }
            Record::Committing(announced) => {
                self.layout?;
                self.committing = Some(*announced);
            }
            Record::CommitRefused => {
                self.committing.take()?;
            }
        }
        Some(())
    }
}
