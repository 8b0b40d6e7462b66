//! The one base64 variant of the protocol, the names built with it, and hex.
//!
//! Source: protocol reference, section 0.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use crate::model::{Bucket, ObjectKey};

/// URL-safe base64 with its padding kept: tokens without their `=` are refused by the service.
///
/// `=` stands in paths as it is, never percent-encoded.
pub fn b64u(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE.encode(bytes)
}

/// The bytes behind [`b64u`] text; `None` for any other text.
///
/// Strict, as the service is: the padding must be there, and no text has two readings.
pub fn b64u_decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE.decode(text).ok()
}

/// Names an object in a path of the management calls: `b64u("bucket:key")`, or `b64u("bucket")`
/// for no key. The empty key keeps its colon.
pub fn entry(bucket: &Bucket, key: Option<&ObjectKey>) -> String {
    match key {
        Some(key) => b64u(format!("{bucket}:{key}")),
        None => b64u(bucket.as_str()),
    }
}

/// Lower-case hex: how the protocol writes an MD5.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes behind hex text, in either case; `None` for any other text.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text that is nearly right is refused: each row has one thing wrong.
    #[test]
    fn decoding_is_strict() {
        for (text, why) in [
            ("YQ", "padding missing"),
            ("YQ=", "padding short"),
            ("YQ===", "padding long"),
            ("YR==", "bits set that mean nothing"),
            ("Pj4+Pz8/", "the standard alphabet"),
            ("YQ==\n", "a line end"),
            ("YQ==YQ==", "padding in the middle"),
        ] {
            assert_eq!(b64u_decode(text), None, "{why}");
        }
    }

    /// Half a byte and what is no digit are refused.
    #[test]
    fn hex_is_strict() {
        for bad in ["0", "0g", "+1", " 1", "目录"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
        assert_eq!(unhex("0aFf"), Some(vec![0x0a, 0xff]));
    }

    proptest! {
        /// Whatever is written in hex is read again.
        #[test]
        fn hex_is_read_again(bytes: Vec<u8>) {
            prop_assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        }

        /// Any bytes survive the round trip; any text is decoded or refused, and never two texts
        /// to the same bytes.
        #[test]
        fn round_trip(bytes: Vec<u8>, text: String) {
            prop_assert_eq!(b64u_decode(&b64u(&bytes)), Some(bytes));
            if let Some(decoded) = b64u_decode(&text) {
                prop_assert_eq!(b64u(decoded), text);
            }
        }
    }
}
