//! `$(name)` in put policies: `returnBody`, `callbackBody` and `saveKey`.
//!
//! Pure. Source: protocol reference, section 7.3. Uncertain there and chosen here: a variable that
//! resolves to nothing is `null` where a JSON value is due and empty text elsewhere.

use std::collections::HashMap;
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::clock::unix_seconds;

/// The service's clock stands in China: no summer time, eight hours ahead.
pub(crate) const CHINA_OFFSET_SECONDS: u64 = 8 * 3600;

/// What stays as it is in a form's value.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What a template's text is, and so how values stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TemplateKind {
    /// JSON: text is quoted, unless the template quotes it already.
    Json,
    /// `name=value&…`: values are percent-encoded.
    Form,
    /// Plain text: a key.
    Text,
}

/// Names and their values. Text and numbers; a name that is not there is nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables(HashMap<String, Value>);

impl Variables {
    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Sets `year mon day hour min sec` to `now` in China: for `saveKey` only.
    pub(crate) fn set_time(&mut self, now: SystemTime) {
        let seconds = unix_seconds(now) + CHINA_OFFSET_SECONDS;
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let of_day = seconds % 86_400;
        self.set("year", format!("{year:04}"));
        let pairs = [
            ("mon", month),
            ("day", day),
            ("hour", of_day / 3600),
            ("min", of_day / 60 % 60),
            ("sec", of_day % 60),
        ];
        for (name, number) in pairs {
            self.set(name, format!("{number:02}"));
        }
    }

    /// `a.b` is a member of `a`; nothing here has members yet, so those are nothing.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
}

/// The template with its variables replaced. `${name}` works like `$(name)`; a `$(` that is never
/// closed stands for itself.
pub(crate) fn expand(template: &str, kind: TemplateKind, variables: &Variables) -> String {
    let mut result = String::with_capacity(template.len());
    let mut rest = template;
    let mut quotes = Quotes::default();
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        quotes.pass(before);
        result.push_str(before);
        match variable(from) {
            Some((name, after)) => {
                put(&mut result, variables.get(name), kind, quotes.open);
                rest = after;
            }
            None => {
                quotes.pass("$");
                result.push('$');
                rest = &from[1..];
            }
        }
    }
    result.push_str(rest);
    result
}

/// The name in a `$(name)` or `${name}` that `text` starts with, and what follows it.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (inner, close) = match text.get(1..2)? {
        "(" => (&text[2..], ')'),
        "{" => (&text[2..], '}'),
        _ => return None,
    };
    inner.split_once(close)
}

fn put(result: &mut String, value: Option<&Value>, kind: TemplateKind, quoted: bool) {
    let text = match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    match kind {
        TemplateKind::Text => result.push_str(&text),
        TemplateKind::Form => result.extend(utf8_percent_encode(&text, FORM)),
        TemplateKind::Json if quoted => {
            let whole = Value::from(text).to_string();
            result.push_str(&whole[1..whole.len() - 1]);
        }
        TemplateKind::Json => match value {
            Some(value) => result.push_str(&value.to_string()),
            None => result.push_str("null"),
        },
    }
}

/// Follows a JSON text: are we inside a string?
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    fn pass(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.open => self.escaped = true,
                b'"' => self.open = !self.open,
                _ => {}
            }
        }
    }
}

/// Year, month and day of a count of days since 1970-01-01. Source: Howard Hinnant's "chrono-
/// compatible low-level date algorithms", `civil_from_days`, for dates that are not before 1970.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn variables() -> Variables {
        let mut variables = Variables::default();
        variables.set("key", "a\"b/目");
        variables.set("fsize", 5);
        variables.set("x:tag", "v&w");
        variables.set("empty", "");
        // 2030-01-01T00:00:00Z is eight in the morning there.
        variables.set_time(SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000));
        variables
    }

    /// How text, numbers and nothing stand in each kind of template.
    #[test]
    fn expansion() {
        use TemplateKind::{Form, Json, Text};
        let rows = [
            (Json, r#"{"k":$(key)}"#, r#"{"k":"a\"b/目"}"#),
            (Json, r#"{"k":"$(key)"}"#, r#"{"k":"a\"b/目"}"#),
            (
                Json,
                r#"{"s":$(fsize),"t":"$(fsize)"}"#,
                r#"{"s":5,"t":"5"}"#,
            ),
            (Json, r#"{"q":"\"$(x:tag)"}"#, r#"{"q":"\"v&w"}"#),
            (
                Json,
                r#"[$(nothing),"$(nothing)",$(a.b)]"#,
                r#"[null,"",null]"#,
            ),
            (Json, r#"[$(empty),"$(empty)"]"#, r#"["",""]"#),
            (Json, " ", " "),
            (Json, "$(key", "$(key"),
            (Json, "a$b$", "a$b$"),
            (Json, "${fsize}", "5"),
            (Json, "$$(fsize)", "$5"),
            (
                Form,
                "key=$(key)&t=$(x:tag)&n=$(nothing)",
                "key=a%22b%2F%E7%9B%AE&t=v%26w&n=",
            ),
            (
                Text,
                "$(year)/$(mon)/$(day)T$(hour)$(min)$(sec)",
                "2030/01/01T080000",
            ),
            (Text, "p/$(key)$(nothing)", "p/a\"b/目"),
            (Text, "$目(key)", "$目(key)"),
        ];
        for (kind, template, expected) in rows {
            assert_eq!(
                expand(template, kind, &variables()),
                expected,
                "{kind:?} {template}"
            );
        }
    }

    /// The calendar at its corners.
    #[test]
    fn calendar() {
        let rows = [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ];
        for (days, date) in rows {
            assert_eq!(civil_from_days(days), date, "{days}");
        }
    }

    proptest! {
        /// No template makes the expansion panic, and a JSON template stays JSON.
        #[test]
        fn garbage(template in ".{0,60}", key in ".{0,20}") {
            let mut variables = Variables::default();
            variables.set("key", key.as_str());
            for kind in [TemplateKind::Json, TemplateKind::Form, TemplateKind::Text] {
                expand(&template, kind, &variables);
            }
            let json = expand(r#"{"a":$(key),"b":"-$(key)-"}"#, TemplateKind::Json, &variables);
            let read: Value = serde_json::from_str(&json).expect("JSON");
            prop_assert_eq!(read["a"].as_str(), Some(key.as_str()));
        }
    }
}
