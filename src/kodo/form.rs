//! Form upload: the whole object in one request, as a browser would send it.
//!
//! Source: protocol reference, section 3.

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;

use crate::kodo::commit::Commit;
use crate::kodo::token::UploadToken;
use crate::model::{Body, ByteSpan, Request};

/// What the service is told where the object's file has no name: without any, the bytes would not
/// count as a file. No extension, so that no type is guessed from it.
const FILE_NAME: &str = "file";

/// Longest boundary, in characters. Source: RFC 2046, section 5.1.1.
const BOUNDARY_LEN_MAX: usize = 70;

/// What parts the form's fields: text that must not occur in any of them, nor in the file.
///
/// Only chance can promise the latter, so it is made of 16 random bytes, which the caller draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// The boundary made of these random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        Self(format!("----haul{number:032x}"))
    }

    /// A boundary given as text; `None` unless it is 1 to 70 letters, digits, `-` and `_`.
    pub fn parse(text: &str) -> Option<Self> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_fine = !text.is_empty() && text.len() <= BOUNDARY_LEN_MAX;
        (is_fine && text.bytes().all(fine)).then(|| Self(text.to_owned()))
    }
}

/// A field holds the boundary: nobody could tell where it ends. With random boundaries this happens
/// only to those who copy one; draw another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a field of the form holds the form's boundary")]
pub struct BoundaryTaken;

/// `POST /`: the object `span` of the source, with its fields before it.
///
/// `crc32` is that of the span's bytes; the service refuses others with 406. It is left out where it
/// is 0, as all SDKs do. Every field stands before the file: the service limits what follows.
pub fn request(
    token: &UploadToken,
    commit: &Commit,
    crc32: Option<u32>,
    span: ByteSpan,
    boundary: &Boundary,
) -> Result<Request, BoundaryTaken> {
    let Boundary(boundary) = boundary;
    let mut head = String::new();
    let mut field = |name: &str, value: &str| {
        let name = escape(name);
        head.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
        value.contains(boundary) || name.contains(boundary)
    };
    let mut taken = field("token", token.expose());
    if let Some(key) = commit.key() {
        taken |= field("key", key.as_str());
    }
    if let Some(crc32) = crc32.filter(|crc32| *crc32 != 0) {
        taken |= field("crc32", &crc32.to_string());
    }
    for (name, value) in commit.vars().iter().chain(commit.metadata()) {
        taken |= field(name, value);
    }
    let file_name = escape(commit.original_name().unwrap_or(FILE_NAME));
    head.push_str(&format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n"
    ));
    if let Some(mime_type) = commit.declared_type() {
        head.push_str(&format!("Content-Type: {mime_type}\r\n"));
    }
    head.push_str("\r\n");
    if taken || file_name.contains(boundary) {
        return Err(BoundaryTaken);
    }
    let content_type = format!("multipart/form-data; boundary={boundary}");
    Ok(Request::new(Method::POST, "/")
        .header(CONTENT_TYPE, &content_type)
        .body(Body::Source {
            before: Bytes::from(head),
            span,
            after: Bytes::from(format!("\r\n--{boundary}--\r\n")),
        }))
}

/// A name as browsers put it between quotes: raw UTF-8, with `"`, line ends and other control
/// characters as `%22`, `%0D`, `%0A`, …
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for char in name.chars() {
        if char == '"' || char.is_ascii_control() {
            escaped.push_str(&format!("%{:02X}", u32::from(char)));
        } else {
            escaped.push(char);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kodo::{AccessKey, Credentials, PutPolicy, Scope, SecretKey};
    use crate::model::{Bucket, ObjectKey};

    fn token() -> UploadToken {
        let keys = Credentials::new(
            AccessKey::new("ak").expect("a fine key"),
            SecretKey::new("sk").expect("a fine key"),
        );
        let bucket = Bucket::new("b").expect("a fine name");
        UploadToken::sign(&keys, &PutPolicy::new(Scope::Bucket(bucket), 9))
    }

    fn head(commit: &Commit) -> String {
        let boundary = Boundary::parse("B-1").expect("a fine boundary");
        let request = request(&token(), commit, Some(0), ByteSpan::new(0, 1), &boundary);
        match request.expect("no field holds it").body {
            Body::Source { before, .. } => String::from_utf8(before.to_vec()).expect("text"),
            other => panic!("{other:?}"),
        }
    }

    /// No key is no field; the empty key is an empty one; a key goes out as it is.
    #[test]
    fn keys() {
        for (key, expected) in [
            (None, None),
            (Some(""), Some("name=\"key\"\r\n\r\n\r\n--B-1")),
            (
                Some("a\r\n\"b"),
                Some("name=\"key\"\r\n\r\na\r\n\"b\r\n--B-1"),
            ),
        ] {
            let key = key.map(|key| ObjectKey::new(key).expect("a short key"));
            let head = head(&Commit::new(key));
            match expected {
                Some(expected) => assert!(head.contains(expected), "{head}"),
                None => assert!(!head.contains("name=\"key\""), "{head}"),
            }
            assert!(!head.contains("crc32"), "a crc32 of 0 is left out");
        }
    }

    /// No file name can end its quotes or its line; one is always there.
    #[test]
    fn file_names() {
        for (name, expected) in [
            ("a.txt", "a.txt"),
            ("空 \"1\".txt", "空 %221%22.txt"),
            ("a\r\nX: y\t", "a%0D%0AX: y%09"),
            ("", "file"),
        ] {
            let head = head(&Commit::new(None).file_name(name));
            let expected = format!("name=\"file\"; filename=\"{expected}\"\r\n\r\n");
            assert!(head.ends_with(&expected), "{head}");
        }
    }

    /// A field that holds the boundary is found before it is sent.
    #[test]
    fn boundaries() {
        assert!(Boundary::parse("").is_none());
        assert!(Boundary::parse("a b").is_none());
        assert!(Boundary::parse(&"b".repeat(71)).is_none());
        let boundary = Boundary::from_random([0xab; 16]);
        assert_eq!(Boundary::parse(&boundary.0), Some(boundary.clone()));
        let key = |text: &str| Commit::new(Some(ObjectKey::new(text).expect("a short key")));
        let plain = Commit::new(None);
        let var = plain.clone().var("a", &format!("1\r\n--{}", boundary.0));
        let rows = [
            ("the token", plain.clone(), "ak"),
            ("the key", key("k-77"), "k-77"),
            ("the crc32", key("k"), "4294967295"),
            ("a variable", var.expect("a fine variable"), &boundary.0),
            ("the file name", key("k").file_name("k-77"), "k-77"),
        ];
        for (story, commit, boundary) in rows {
            let boundary = Boundary::parse(boundary).expect("a fine boundary");
            let span = ByteSpan::new(0, 1);
            let made = request(&token(), &commit, Some(u32::MAX), span, &boundary);
            assert_eq!(made.err(), Some(BoundaryTaken), "{story}");
        }
    }

    /// The form's head holds the token, and no formatting of the request shows it.
    #[test]
    fn debug_hides_the_token() {
        let boundary = Boundary::from_random([1; 16]);
        let (token, span) = (token(), ByteSpan::new(0, 1));
        let request = request(&token, &Commit::new(None), None, span, &boundary);
        let sign = token.expose().split(':').nth(1).expect("three parts");
        assert!(!format!("{request:?}").contains(sign));
    }
}
