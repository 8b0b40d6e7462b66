//! Faults in an answer: a field altered, a page in its place.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::devserver::exchange::{Reply, ReplyBody};
use crate::devserver::faults::plan::{AnswerField, CannedAnswer};

impl AnswerField {
    /// Its name on the wire.
    fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Md5 => "md5",
            Self::Etag => "etag",
            Self::Hash => "hash",
            Self::Checksum => "checksum",
            Self::Key => "key",
        }
    }
}

/// The answer of a plan, as a reply. A plan's values are checked when it is taken, so nothing of it
/// is lost here.
pub(crate) fn canned(answer: &CannedAnswer) -> Reply {
    let body = answer.body.clone();
    let body = body.unwrap_or_else(|| r#"{"error":"fault plan"}"#.to_owned());
    let mut reply = Reply::bytes(answer.status, "application/json", body);
    let content_type = answer
        .content_type
        .as_ref()
        .map(|value| ("content-type", value));
    let headers = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value));
    for (name, value) in content_type.into_iter().chain(headers) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            reply.headers.insert(name, value);
        }
    }
    reply
}

/// The same reply with `field` altered, if it is JSON that has it.
pub(crate) fn with_wrong_field(mut reply: Reply, field: AnswerField) -> Reply {
    if let ReplyBody::Bytes(body) = &reply.body
        && let Ok(mut json) = serde_json::from_slice::<Value>(body)
        && let Some(value) = json.get_mut(field.name())
    {
        alter(field, value);
        reply.body = ReplyBody::Bytes(Bytes::from(json.to_string()));
    }
    reply
}

/// Another value of the same kind: only a comparison can tell that it is wrong.
fn alter(field: AnswerField, value: &mut Value) {
    match value {
        Value::Number(number) => {
            let other = number.as_u64().unwrap_or_default() ^ 1;
            *value = Value::from(other);
        }
        Value::String(text) if field == AnswerField::Key => text.push_str("-other"),
        Value::String(text) => *text = other_digest(text),
        _ => {}
    }
}

/// The same text with one digit changed, neither the first nor the second: those two hold the byte
/// that tells an etag's form. Digits stay valid in hex and in base64.
fn other_digest(text: &str) -> String {
    let change = |(index, digit): (usize, char)| match (index, digit) {
        (2, '1') => '2',
        (2, _) => '1',
        _ => digit,
    };
    text.chars().enumerate().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field becomes another of its kind, the others stay; what is no JSON stays as it is.
    #[test]
    fn fields_are_altered_plausibly() {
        let etag = "Fqr0xh3cxeii2r7eDztILNmuqUNN";
        let rows = [
            (
                AnswerField::Crc32,
                r#"{"crc32":7,"x":1}"#.to_owned(),
                r#"{"crc32":6,"x":1}"#.to_owned(),
            ),
            (
                AnswerField::Hash,
                format!(r#"{{"hash":"{etag}"}}"#),
                r#"{"hash":"Fq10xh3cxeii2r7eDztILNmuqUNN"}"#.to_owned(),
            ),
            (
                AnswerField::Md5,
                r#"{"md5":"5d41"}"#.to_owned(),
                r#"{"md5":"5d11"}"#.to_owned(),
            ),
            (
                AnswerField::Key,
                r#"{"key":"a"}"#.to_owned(),
                r#"{"key":"a-other"}"#.to_owned(),
            ),
            (
                AnswerField::Key,
                r#"{"other":"a"}"#.to_owned(),
                r#"{"other":"a"}"#.to_owned(),
            ),
            (AnswerField::Key, "<html>".to_owned(), "<html>".to_owned()),
        ];
        for (field, before, after) in rows {
            let reply = with_wrong_field(Reply::bytes(200, "application/json", before), field);
            let ReplyBody::Bytes(body) = reply.body else {
                panic!("bytes stay bytes");
            };
            assert_eq!(body, after.as_bytes(), "{field:?}");
        }
    }
}
