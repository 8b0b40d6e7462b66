//! Which mime type an object gets, and whether the policy lets it in.
//!
//! Source: protocol reference, section 1.2 (`detectMime`, `mimeLimit`). What the service recognises
//! is not published; the table here has what uploads consist of mostly.

use crate::kodo::policy::DetectMime;

/// Bytes of the content that [`Evidence::head`] should hold if it can. The farthest signature (tar)
/// ends at 262.
pub(crate) const HEAD_LEN: usize = 512;

/// What nobody knows better.
const UNKNOWN: &str = "application/octet-stream";

/// What is known about an object when its type is decided.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evidence<'a> {
    /// What the client says.
    pub(crate) declared: Option<&'a str>,
    /// The source's name.
    pub(crate) file_name: Option<&'a str>,
    /// The object's key.
    pub(crate) key: &'a str,
    /// The first bytes, at most [`HEAD_LEN`].
    pub(crate) head: &'a [u8],
}

/// The type to store.
pub(crate) fn stored_type(detect: DetectMime, evidence: &Evidence<'_>) -> String {
    let declared = evidence.declared.filter(|declared| !declared.is_empty());
    let found = match detect {
        DetectMime::Never => declared,
        DetectMime::IfNotGiven => declared
            .or_else(|| evidence.file_name.and_then(by_name))
            .or_else(|| by_name(evidence.key))
            .or_else(|| by_content(evidence.head))
            .or_else(|| text(evidence.head)),
        DetectMime::Always => return detected_type(evidence),
    };
    found.unwrap_or(UNKNOWN).to_owned()
}

/// The type as the service sees it, whatever the client says: `mimeLimit` is held against this one.
pub(crate) fn detected_type(evidence: &Evidence<'_>) -> String {
    by_content(evidence.head)
        .or_else(|| evidence.file_name.and_then(by_name))
        .or_else(|| by_name(evidence.key))
        .or_else(|| text(evidence.head))
        .unwrap_or(UNKNOWN)
        .to_owned()
}

/// Whether `mimeLimit` lets a type in: `image/*`, `image/jpeg;image/png`, or `!a/b;c/d` for all but.
pub(crate) fn is_allowed(limit: &str, mime_type: &str) -> bool {
    let (refuses, list) = match limit.strip_prefix('!') {
        Some(list) => (true, list),
        None => (false, limit),
    };
    let essence = mime_type.split(';').next().unwrap_or_default().trim();
    let listed = list.split(';').map(str::trim).any(|pattern| {
        let family = pattern.strip_suffix('*').filter(|it| it.ends_with('/'));
        match family {
            Some(family) => essence
                .get(..family.len())
                .is_some_and(|it| it.eq_ignore_ascii_case(family)),
            None => pattern == "*" || pattern.eq_ignore_ascii_case(essence),
        }
    });
    listed != refuses
}

fn by_name(name: &str) -> Option<&'static str> {
    mime_guess::from_path(name).first_raw()
}

/// Offset, bytes there, and the type they tell.
const SIGNATURES: &[(usize, &[u8], &str)] = &[
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/x-rar-compressed"),
    (257, b"ustar", "application/x-tar"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (8, b"AVI ", "video/x-msvideo"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS", "application/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"<!DOCTYPE html", "text/html"),
    (0, b"<html", "text/html"),
    (0, b"<?xml", "text/xml"),
];

fn by_content(head: &[u8]) -> Option<&'static str> {
    SIGNATURES
        .iter()
        .find(|(offset, bytes, _)| {
            head.get(*offset..*offset + bytes.len())
                .is_some_and(|here| here.eq_ignore_ascii_case(bytes))
        })
        .map(|(_, _, mime_type)| *mime_type)
}

/// `text/plain` for what has no control character; a character cut at the end does not count.
fn text(head: &[u8]) -> Option<&'static str> {
    let valid_len = match std::str::from_utf8(head) {
        Ok(_) => head.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return None,
    };
    let printable = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r' | 0x1b);
    (valid_len > 0 && head[..valid_len].iter().all(printable)).then_some("text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n....";

    /// Who wins under each rule: the client, the file name, the key or the content.
    #[test]
    fn deciding() {
        use DetectMime::{Always, IfNotGiven, Never};
        type Row<'a> = (
            DetectMime,
            Option<&'a str>,
            Option<&'a str>,
            &'a str,
            &'a [u8],
            &'a str,
        );
        let rows: [Row; 12] = [
            (IfNotGiven, Some("a/b"), Some("x.txt"), "k.png", PNG, "a/b"),
            (
                IfNotGiven,
                Some(""),
                Some("x.txt"),
                "k.png",
                PNG,
                "text/plain",
            ),
            (IfNotGiven, None, Some("x"), "k.pdf", PNG, "application/pdf"),
            (IfNotGiven, None, None, "k", PNG, "image/png"),
            (IfNotGiven, None, None, "k", "目".as_bytes(), "text/plain"),
            (IfNotGiven, None, None, "k", b"\0\x01", UNKNOWN),
            (IfNotGiven, None, None, "", b"", UNKNOWN),
            (Always, Some("a/b"), Some("x.txt"), "k", PNG, "image/png"),
            (
                Always,
                Some("a/b"),
                Some("x.txt"),
                "k.pdf",
                b"",
                "text/plain",
            ),
            (Always, Some("a/b"), None, "k.pdf", b"", "application/pdf"),
            (Never, Some("a/b"), Some("x.txt"), "k.pdf", PNG, "a/b"),
            (Never, None, Some("x.txt"), "k.pdf", PNG, UNKNOWN),
        ];
        for (detect, declared, file_name, key, head, expected) in rows {
            let evidence = Evidence {
                declared,
                file_name,
                key,
                head,
            };
            assert_eq!(
                stored_type(detect, &evidence),
                expected,
                "{detect:?} {evidence:?}"
            );
        }
    }

    /// Allow lists and deny lists.
    #[test]
    fn limits() {
        let rows = [
            ("image/*", "image/png", true),
            ("image/*", "imagex/png", false),
            ("image/jpeg;image/png", "image/png", true),
            ("image/jpeg;image/png", "image/gif", false),
            ("!application/json;text/plain", "text/plain", false),
            (
                "!application/json;text/plain",
                "text/plain; charset=utf-8",
                false,
            ),
            ("!application/json;text/plain", "image/gif", true),
            ("*", "a/b", true),
            ("", "a/b", false),
        ];
        for (limit, mime_type, expected) in rows {
            assert_eq!(
                is_allowed(limit, mime_type),
                expected,
                "{limit} {mime_type}"
            );
        }
    }
}
