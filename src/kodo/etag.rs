//! The hash that names content, in both its forms.
//!
//! Form uploads and v1 have the form over blocks of 4 MiB; v2 objects one over their parts, which is
//! the same where the parts are blocks. Source: protocol reference, section 6.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::kodo::encode::{b64u, b64u_decode};

/// Length of the blocks that content is hashed in, and of v1's blocks: 4 MiB. Fixed by the protocol
/// (reference, sections 4 and 6.1).
pub const BLOCK_LEN: u64 = 4 * 1024 * 1024;

/// First byte of the hash of at most one block: log2 of [`BLOCK_LEN`]. The digest is the block's.
const ONE_BLOCK: u8 = 0x16;
/// First byte of the hash of several blocks. The digest is that of the blocks' digests.
const BLOCKS: u8 = 0x96;
/// First byte of the hash of parts that are no blocks. The digest is that of the parts' digests.
const PARTS: u8 = 0x9e;

/// A SHA-1 digest.
pub type Sha1Digest = [u8; 20];

/// Content's hash: 21 bytes, shown as 28 characters of URL-safe base64.
///
/// Compares with text, too; serialised it is its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Etag([u8; 21]);

impl Etag {
    /// The hash of content held in memory.
    pub fn of(content: &[u8]) -> Self {
        let mut hasher = EtagHasher::new();
        hasher.update(content);
        hasher.finish()
    }

    /// The hash of content whose blocks of [`BLOCK_LEN`] bytes, the last one possibly shorter, have
    /// these digests, in order. No block: the hash of no bytes.
    pub fn of_blocks(blocks: &[Sha1Digest]) -> Self {
        match blocks {
            [] => Self::new(ONE_BLOCK, Sha1::digest(b"").into()),
            [block] => Self::new(ONE_BLOCK, *block),
            blocks => Self::new(BLOCKS, digest_of(blocks.iter())),
        }
    }

    /// The hash of an object completed from these parts: length in bytes and etag of each, in order.
    ///
    /// It depends on where the content was cut, unless every part but the last is one block.
    pub fn of_parts(parts: &[(u64, Etag)]) -> Self {
        let digests: Vec<Sha1Digest> = parts.iter().map(|(_, etag)| etag.digest()).collect();
        let (blocks, last_len) = match parts {
            [] => return Self::of_blocks(&[]),
            [before @ .., (last_len, _)] => (before, *last_len),
        };
        if blocks.iter().any(|(len, _)| *len != BLOCK_LEN) || last_len > BLOCK_LEN {
            return Self::new(PARTS, digest_of(digests.iter()));
        }
        // An empty last part adds no block, unless it is all there is.
        if last_len == 0 && !blocks.is_empty() {
            return Self::of_blocks(&digests[..blocks.len()]);
        }
        Self::of_blocks(&digests)
    }

    /// Reads the 28 characters; `None` for text that is no hash of this kind.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 21] = b64u_decode(text)?.try_into().ok()?;
        matches!(bytes[0], ONE_BLOCK | BLOCKS | PARTS).then_some(Self(bytes))
    }

    /// The SHA-1 in it, without the byte that tells the form.
    pub fn digest(&self) -> Sha1Digest {
        let mut digest = [0; 20];
        digest.copy_from_slice(&self.0[1..]);
        digest
    }

    fn new(form: u8, digest: Sha1Digest) -> Self {
        let mut bytes = [form; 21];
        bytes[1..].copy_from_slice(&digest);
        Self(bytes)
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&b64u(self.0))
    }
}

impl FromStr for Etag {
    type Err = NoEtag;

    fn from_str(text: &str) -> Result<Self, NoEtag> {
        Self::parse(text).ok_or(NoEtag)
    }
}

impl TryFrom<String> for Etag {
    type Error = NoEtag;

    fn try_from(text: String) -> Result<Self, NoEtag> {
        text.parse()
    }
}

impl From<Etag> for String {
    fn from(etag: Etag) -> Self {
        etag.to_string()
    }
}

impl PartialEq<str> for Etag {
    fn eq(&self, text: &str) -> bool {
        Self::parse(text) == Some(*self)
    }
}

impl PartialEq<&str> for Etag {
    fn eq(&self, text: &&str) -> bool {
        self == *text
    }
}

impl PartialEq<String> for Etag {
    fn eq(&self, text: &String) -> bool {
        self == text.as_str()
    }
}

impl PartialEq<Etag> for String {
    fn eq(&self, etag: &Etag) -> bool {
        etag == self.as_str()
    }
}

/// Text that is no hash of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no etag: it has 28 characters of URL-safe base64, of which the first ones tell its form")]
pub struct NoEtag;

impl fmt::Debug for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Etag({self})")
    }
}

/// Hashes content as it comes, in pieces of any length, in constant memory.
#[derive(Clone, Debug)]
pub struct EtagHasher {
    /// The block that is being filled, and how much of it is.
    block: Sha1,
    block_len: u64,
    /// Digest of the first block: the whole hash while there is no second one.
    first: Option<Sha1Digest>,
    /// Over the digests of all full blocks.
    blocks: Sha1,
    block_count: u64,
}

impl EtagHasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self {
            block: Sha1::new(),
            block_len: 0,
            first: None,
            blocks: Sha1::new(),
            block_count: 0,
        }
    }

    /// Takes the next bytes of the content.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK_LEN - self.block_len;
            let len = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
            let (now, later) = bytes.split_at(len);
            self.block.update(now);
            self.block_len += len as u64;
            if self.block_len == BLOCK_LEN {
                self.end_block();
            }
            bytes = later;
        }
    }

    /// The hash of all that was given.
    pub fn finish(mut self) -> Etag {
        if self.block_len > 0 {
            self.end_block();
        }
        match (self.first, self.block_count) {
            (None, _) => Etag::of_blocks(&[]),
            (Some(block), 1) => Etag::new(ONE_BLOCK, block),
            _ => Etag::new(BLOCKS, self.blocks.finalize().into()),
        }
    }

    fn end_block(&mut self) {
        let digest: Sha1Digest = self.block.finalize_reset().into();
        self.blocks.update(digest);
        self.first.get_or_insert(digest);
        self.block_count += 1;
        self.block_len = 0;
    }
}

impl Default for EtagHasher {
    fn default() -> Self {
        Self::new()
    }
}

fn digest_of<'a>(digests: impl Iterator<Item = &'a Sha1Digest>) -> Sha1Digest {
    let mut hasher = Sha1::new();
    for digest in digests {
        hasher.update(digest);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Only the three known forms are hashes; a digest in another wrapping is not ours to believe.
    #[test]
    fn parse_is_strict() {
        let good = Etag::of(b"hello");
        assert_eq!(Etag::parse(&good.to_string()), Some(good));
        assert_eq!(format!("{good:?}"), format!("Etag({good})"));
        for bad in [
            "",
            "Fqr0xh3cxeii2r7eDztILNmuqUN",
            "qvTGHdzF6KLavt4PO0gs2a6pQ00=",
            "Aqr0xh3cxeii2r7eDztILNmuqUNN",
        ] {
            assert_eq!(Etag::parse(bad), None, "{bad}");
        }
    }

    /// An empty last part changes nothing about content that is cut in blocks.
    #[test]
    fn empty_parts() {
        let (empty, block) = (Etag::of(b""), Etag::of(&vec![7; BLOCK_LEN as usize]));
        assert_eq!(Etag::of_parts(&[]), empty);
        assert_eq!(Etag::of_parts(&[(0, empty)]), empty);
        assert_eq!(Etag::of_parts(&[(BLOCK_LEN, block), (0, empty)]), block);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        /// Wherever the content is cut into pieces, the hash is that of the whole.
        #[test]
        fn streaming_equals_whole(
            len in 0..2 * BLOCK_LEN as usize + 3,
            cuts in proptest::collection::vec(1..BLOCK_LEN as usize + 9, 1..6),
        ) {
            let content: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let (mut hasher, mut rest) = (EtagHasher::new(), content.as_slice());
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                hasher.update(now);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let blocks: Vec<Sha1Digest> = content
                .chunks(BLOCK_LEN as usize)
                .map(|block| Sha1::digest(block).into())
                .collect();
            prop_assert_eq!(hasher.finish(), Etag::of_blocks(&blocks));
        }
    }

    /// As text and back, and beside text that is the same hash, or none.
    #[test]
    fn as_text() {
        let etag = Etag::of(b"hello");
        let text = etag.to_string();
        assert_eq!(text.parse(), Ok(etag));
        assert_eq!(etag, text);
        assert_eq!(etag, text.as_str());
        assert_ne!(etag, "Fno");
        let json = serde_json::to_string(&etag).expect("a text");
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Etag>(&json).ok(), Some(etag));
        assert_eq!("".parse::<Etag>(), Err(NoEtag));
    }
}
