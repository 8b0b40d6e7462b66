//! Bytes to upload, and the hashes that Kodo gives them, computed here once more by the book.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use sha1::{Digest, Sha1};

/// 1 MiB.
pub(crate) const MIB: usize = 1 << 20;

/// Kodo's block: the unit of its hash and of v1. Source: protocol reference, section 6.1.
pub(crate) const BLOCK: usize = 4 * MIB;

/// `len` bytes that differ with every seed and never repeat within an object, so that a block in
/// the wrong place shows.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64: good enough to tell bytes apart, and the same on every machine.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Writes a file of a test's own.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody reads the file before it is complete"
)]
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::write(path, bytes).expect("a file in the test's own folder can be written");
}

/// URL-safe base64 with its padding, as everywhere in the protocol.
pub(crate) fn b64u(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE.encode(bytes)
}

/// The hash of an object uploaded by form or v1 (section 6.1).
pub(crate) fn etag(bytes: &[u8]) -> String {
    if bytes.len() <= BLOCK {
        return tagged(0x16, Sha1::digest(bytes).into());
    }
    tagged(0x96, digest_of_blocks(bytes))
}

/// The hash of an object uploaded by v2 in parts of `part_len` bytes (section 6.2).
pub(crate) fn etag_of_parts(bytes: &[u8], part_len: usize) -> String {
    if part_len == BLOCK || bytes.len() <= part_len.min(BLOCK) {
        return etag(bytes);
    }
    let mut whole = Sha1::new();
    for part in bytes.chunks(part_len) {
        if part.len() <= BLOCK {
            whole.update(Sha1::digest(part));
        } else {
            whole.update(digest_of_blocks(part));
        }
    }
    tagged(0x9e, whole.finalize().into())
}

fn digest_of_blocks(bytes: &[u8]) -> [u8; 20] {
    let mut whole = Sha1::new();
    for block in bytes.chunks(BLOCK) {
        whole.update(Sha1::digest(block));
    }
    whole.finalize().into()
}

fn tagged(tag: u8, digest: [u8; 20]) -> String {
    b64u([&[tag][..], &digest].concat())
}

/// Rows of section 6.3: byte i is i mod 256.
#[test]
fn hashes_are_kodos() {
    let pattern: Vec<u8> = (0..12 * MIB).map(|i| (i % 256) as u8).collect();
    let rows = [
        (0, "Fto5o-5ea0sNMlW_75VgGJCv2AcJ"),
        (BLOCK, "FtaXAk7ZP_YlMw0FA5Gt6ZzVy92t"),
        (BLOCK + 1, "lvZaaqqoPggoRo61yE2jdqWTRxML"),
        (8 * MIB, "lvfFX88CA4Zj-SHFf7pOcuSoG_3j"),
    ];
    for (len, expected) in rows {
        assert_eq!(etag(&pattern[..len]), expected, "{len} bytes");
    }
    let rows = [
        (1, MIB, "FlupPJ2wz_k_UrUh10IOQ_btonhP"),
        (2 * MIB, MIB, "njrefZHapEMPsMusf006i_J0zpnN"),
        (12 * MIB, 4 * MIB, "lhdpCTKnp7Ct5qUVhbHyqM1kU0K6"),
        (12 * MIB, 5 * MIB, "nhIUlmQDmCCDzCXAwR9qCGt2Frdz"),
        (5 * MIB, 5 * MIB, "nmb5sfTmrU3YV2QQ-IXQbaET7AIU"),
        (BLOCK, 5 * MIB, "FtaXAk7ZP_YlMw0FA5Gt6ZzVy92t"),
    ];
    for (len, part_len, expected) in rows {
        let etag = etag_of_parts(&pattern[..len], part_len);
        assert_eq!(etag, expected, "{len} bytes in parts of {part_len}");
    }
}
