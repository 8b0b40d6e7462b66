//! How single values of a fault plan are written, and what is wrong with them.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};
use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::devserver::faults::plan::CannedAnswer;

/// A value alone, or several in a list. Not an untagged enum: that would lose what was wrong.
pub(crate) fn one_or_many<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(OneOrMany(PhantomData))
}

struct OneOrMany<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of them")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Vec<T>, E> {
        T::deserialize(StrDeserializer::new(value)).map(|one| vec![one])
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Vec<T>, E> {
        T::deserialize(serde::de::value::I64Deserializer::new(value)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list))
    }
}

/// A length of time as people write it: `200ms`, `1m 30s`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    duration_itself(d).map(Some)
}

/// The same where it may not be left out.
pub(crate) fn duration_itself<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    humantime::parse_duration(&text).map_err(|why| {
        D::Error::custom(format!(
            "`{text}` is no length of time ({why}); right would be `200ms` or `40s`"
        ))
    })
}

/// Whether an answer can be sent: three digits that end a request, and headers that HTTP can carry.
pub(crate) fn check_answer(answer: &CannedAnswer) -> Result<(), String> {
    if !(200..=999).contains(&answer.status) {
        return Err(format!("`answer`: {} is no final status", answer.status));
    }
    let content_type = answer
        .content_type
        .as_ref()
        .map(|value| ("content_type", value));
    let headers = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value));
    for (name, value) in headers.chain(content_type) {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(format!("`answer`: `{name}` is no header name"));
        };
        if header == CONTENT_LENGTH || header == TRANSFER_ENCODING {
            return Err(format!(
                "`answer`: `{name}` follows from the body; `cut_answer` sends less than announced"
            ));
        }
        if HeaderValue::from_str(value).is_err() {
            return Err(format!(
                "`answer`: the value of `{name}` is no header value"
            ));
        }
    }
    Ok(())
}
