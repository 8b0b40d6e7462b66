//! How an upload travels: a pure decision about protocol and sizes.

use crate::error::{Error, ErrorKind};
use crate::kodo::BLOCK_LEN;
use crate::kodo::multipart::{PART_COUNT_MAX, PART_LEN_MAX};

/// Which protocol a file above the threshold takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// v1, except where it would overwrite what v2 and form would not.
    #[default]
    Auto,
    /// Resumable v1: blocks of 4 MiB, sent in chunks.
    V1,
    /// Resumable v2: numbered parts.
    V2,
}

/// Largest file that goes by form when the threshold is automatic and the line is not known: a loss
/// costs at most this much.
const THRESHOLD_AUTO: u64 = 1 << 20;

/// First chunk of a v1 block, and every one as long as nobody knows the line: what a reset costs at
/// 1 Mbit/s is 4 s.
pub(crate) const CHUNK_LEN: u64 = 512 * 1024;

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// One request.
    Form,
    /// v1: blocks one after the other, in chunks.
    Blocks,
    /// v2: parts of this many bytes, the last one shorter.
    Parts {
        part_len: u64,
        /// The size asked for would have needed more than 10 000 parts.
        raised: bool,
    },
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) protocol: Protocol,
    /// None: automatic.
    pub(crate) threshold: Option<u64>,
    pub(crate) part_len: u64,
    /// Scope is the bucket alone and nothing forbids replacing: there v1 overwrites an existing
    /// object where form and v2 refuse (protocol reference, section 7.2).
    pub(crate) v1_would_overwrite: bool,
}

impl Plan {
    /// The plan for a source of `len` bytes.
    pub(crate) fn new(len: u64, wish: Wish) -> Result<Self, Error> {
        // An empty file has no block and no part: only a form can carry it.
        if len == 0 || len <= wish.threshold.unwrap_or(THRESHOLD_AUTO) {
            return Ok(Self::Form);
        }
        let v1 = match wish.protocol {
            Protocol::V1 => true,
            Protocol::V2 => false,
            Protocol::Auto => !wish.v1_would_overwrite,
        };
        if v1 {
            return Ok(Self::Blocks);
        }
        let needed = len.div_ceil(u64::from(PART_COUNT_MAX));
        if needed > PART_LEN_MAX {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("{len} bytes are more than {PART_COUNT_MAX} parts of 1 GiB can hold"),
            ));
        }
        let raised = needed > wish.part_len;
        // Whole blocks of the etag: the parts' hashes are then those of their blocks.
        let part_len = if raised {
            needed.next_multiple_of(BLOCK_LEN).min(PART_LEN_MAX)
        } else {
            wish.part_len
        };
        Ok(Self::Parts { part_len, raised })
    }

    /// The word for it in events.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Blocks => "v1",
            Self::Parts { .. } => "v2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn parts(part_len: u64, raised: bool) -> Plan {
        Plan::Parts { part_len, raised }
    }

    /// Which way a file takes: by its size, the threshold, and what v1 would do to what is there.
    #[test]
    fn ways() {
        let rows = [
            (0, Protocol::Auto, None, false, Plan::Form),
            (1, Protocol::V2, None, false, Plan::Form),
            (MIB, Protocol::Auto, None, false, Plan::Form),
            (MIB + 1, Protocol::Auto, None, false, Plan::Blocks),
            (MIB + 1, Protocol::Auto, None, true, parts(4 * MIB, false)),
            (MIB + 1, Protocol::V1, None, true, Plan::Blocks),
            (MIB + 1, Protocol::V2, None, false, parts(4 * MIB, false)),
            (0, Protocol::V1, Some(0), false, Plan::Form),
            (1, Protocol::Auto, Some(0), false, Plan::Blocks),
            (90 * MIB, Protocol::V1, Some(100 * MIB), false, Plan::Form),
            (
                40_000 * MIB,
                Protocol::V2,
                None,
                false,
                parts(4 * MIB, false),
            ),
            (
                40_001 * MIB,
                Protocol::V2,
                None,
                false,
                parts(8 * MIB, true),
            ),
        ];
        for (len, protocol, threshold, v1_would_overwrite, expected) in rows {
            let wish = Wish {
                protocol,
                threshold,
                part_len: 4 * MIB,
                v1_would_overwrite,
            };
            assert_eq!(Plan::new(len, wish), Ok(expected), "{len} {wish:?}");
        }
    }

    /// An object that no number of parts can hold is refused before anything is sent.
    #[test]
    fn too_large_for_parts() {
        let wish = Wish {
            protocol: Protocol::V2,
            threshold: None,
            part_len: 4 * MIB,
            v1_would_overwrite: false,
        };
        let largest = u64::from(PART_COUNT_MAX) * PART_LEN_MAX;
        assert_eq!(Plan::new(largest, wish), Ok(parts(PART_LEN_MAX, true)));
        assert!(Plan::new(largest + 1, wish).is_err());
    }
}
