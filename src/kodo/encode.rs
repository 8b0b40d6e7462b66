//! The one base64 variant of the protocol, and the names built with it.
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

    proptest! {
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
