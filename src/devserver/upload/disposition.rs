//! `Content-Disposition` of a form's parts, as SDKs and browsers really write it.
//!
//! Names stand raw in UTF-8; a `"` in them is `%22` (browsers, Python) or `\"` (Go), a line end `%0A`
//! or `%0D`. A backslash before anything but `"` and `\` is a backslash: browsers do not escape it.
//! Old Python libraries write `filename*=utf-8''…` instead. Source: protocol reference, section 3.3;
//! WHATWG HTML, "multipart form data".

use percent_encoding::percent_decode_str;

/// What the header says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    /// The field's name.
    pub(super) name: Option<String>,
    /// The source's name; a field that has one is a file.
    pub(super) file_name: Option<String>,
}

impl Disposition {
    /// Reads the header's value. Bytes that are no UTF-8 become replacement characters.
    pub(super) fn parse(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let mut disposition = Self::default();
        let mut rest = match text.split_once(';') {
            Some((_, rest)) => rest,
            None => return disposition,
        };
        while let Some((name, value, after)) = parameter(rest) {
            match name.to_ascii_lowercase().as_str() {
                "name" => disposition.name = Some(value),
                "filename" => disposition.file_name = Some(value),
                "filename*" => {
                    let encoded = value.rsplit('\'').next().unwrap_or_default();
                    let decoded = percent_decode_str(encoded).decode_utf8_lossy();
                    disposition.file_name = Some(decoded.into_owned());
                }
                _ => {}
            }
            rest = after;
        }
        disposition
    }
}

/// The first `name=value` of `text`, and what follows its `;`.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.split_once('=')?;
    // A word without a value before it, as in `; a; b=c`, is passed over.
    let name = name.rsplit(';').next().unwrap_or_default().trim();
    let rest = rest.trim_start();
    let Some(quoted) = rest.strip_prefix('"') else {
        let (value, after) = rest.split_once(';').unwrap_or((rest, ""));
        return Some((name, value.trim().to_owned(), after));
    };
    let (value, after) = unquote(quoted);
    let after = after.split_once(';').map_or("", |(_, after)| after);
    Some((name, value, after))
}

/// The text up to the closing quote, and what follows it.
fn unquote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut rest = quoted;
    while let Some(at) = rest.find(['"', '\\', '%']) {
        let (before, from) = rest.split_at(at);
        value.push_str(before);
        if let Some(after) = from.strip_prefix('"') {
            return (value, after);
        }
        let escapes = [
            ("\\\"", "\""),
            ("\\\\", "\\"),
            ("%22", "\""),
            ("%0A", "\n"),
            ("%0D", "\r"),
        ];
        let escape = escapes
            .iter()
            .find(|(written, _)| from.starts_with(written));
        let (written, meant) = *escape.unwrap_or(&(&from[..1], &from[..1]));
        value.push_str(meant);
        rest = &from[written.len()..];
    }
    value.push_str(rest);
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each writer's habit.
    #[test]
    fn habits() {
        let rows: [(&str, Option<&str>, Option<&str>); 14] = [
            (r#"form-data; name="token""#, Some("token"), None),
            (
                r#"form-data; name="file"; filename="空.txt""#,
                Some("file"),
                Some("空.txt"),
            ),
            (
                r#"form-data; filename="a;b=c"; name="file""#,
                Some("file"),
                Some("a;b=c"),
            ),
            (
                r#"form-data; name="file"; filename="a%22b""#,
                Some("file"),
                Some("a\"b"),
            ),
            (
                r#"form-data; name="file"; filename="a\"b\\c""#,
                Some("file"),
                Some("a\"b\\c"),
            ),
            (
                r#"form-data; name="file"; filename="C:\dir\x""#,
                Some("file"),
                Some("C:\\dir\\x"),
            ),
            (
                r#"form-data; name="file"; filename="100%""#,
                Some("file"),
                Some("100%"),
            ),
            (
                r#"form-data; name="file"; filename="""#,
                Some("file"),
                Some(""),
            ),
            (
                "form-data; name=file; filename=a.txt",
                Some("file"),
                Some("a.txt"),
            ),
            (
                "form-data; NAME = file ; x; filename=a",
                Some("file"),
                Some("a"),
            ),
            (
                "form-data; name=\"file\"; filename*=utf-8''%E7%A9%BA.txt",
                Some("file"),
                Some("空.txt"),
            ),
            (r#"form-data; name="x:目""#, Some("x:目"), None),
            (r#"form-data; name="open"#, Some("open"), None),
            ("form-data", None, None),
        ];
        for (text, name, file_name) in rows {
            let expected = Disposition {
                name: name.map(str::to_owned),
                file_name: file_name.map(str::to_owned),
            };
            assert_eq!(Disposition::parse(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        /// Any bytes are read somehow.
        #[test]
        fn garbage(bytes: Vec<u8>, text in "[;=\"\\\\%a2 ]{0,30}") {
            Disposition::parse(&bytes);
            Disposition::parse(text.as_bytes());
        }
    }
}
