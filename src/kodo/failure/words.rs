//! What a refusing body says, in whichever of its shapes, for people and for telling codes apart.
//!
//! Bodies come from anybody: nothing here trusts them, and nothing that looks like a token leaves.

use serde_json::Value;

use crate::kodo::encode::b64u_decode;
use crate::model::Endpoint;

/// Deepest nesting of an error inside an error: 579 holds one JSON document in another.
const NESTING_MAX: usize = 3;

/// Most hosts taken from one text. One or two are known; the rest would be noise.
const HOSTS_MAX: usize = 8;

/// Longest stretch of a page searched for its title, and of a text kept, in bytes.
const LOOK_LEN_MAX: usize = 4096;

/// What a body says. At most one is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// The error of a JSON body of Kodo's shape.
    pub(super) error: Option<String>,
    /// That it is an HTML page, with its title.
    pub(super) page: Option<String>,
    /// Any other text.
    pub(super) text: Option<String>,
}

impl Words {
    /// Reads a body of any kind.
    pub(super) fn of(body: &[u8]) -> Self {
        let mut words = Self::default();
        if let Ok(json) = serde_json::from_slice::<Value>(body) {
            words.error = error_in(&json, NESTING_MAX).map(|error| redact(&error));
            return words;
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(LOOK_LEN_MAX)]);
        let text = text.trim();
        if text.starts_with('<') {
            words.page = Some(match title(text) {
                Some(title) => format!("an HTML page, \"{}\"", redact(title)),
                None => "an HTML page".to_owned(),
            });
        } else if says_something(text) && !text.starts_with(['{', '[']) {
            words.text = Some(redact(text));
        }
        words
    }
}

/// The error in a JSON document. Names: `error` everywhere; `err`, `error_code`, `key`, `errno` and
/// `message` in places that the SDKs tolerate too.
fn error_in(json: &Value, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    let json = json.as_object()?;
    if let Some(nested @ Value::Object(_)) = json.get("error") {
        return error_in(nested, depth);
    }
    let text = ["error", "err", "message", "error_code", "key"]
        .iter()
        // A `key` beside a `hash` is an object's, not an error's.
        .filter(|name| **name != "key" || !json.contains_key("hash"))
        .filter_map(|name| json.get(*name)?.as_str())
        .find(|text| says_something(text));
    let Some(text) = text else {
        let errno = ["errno", "error_code", "err_code", "code"]
            .iter()
            .find_map(|name| json.get(*name)?.as_i64());
        return errno.map(|errno| format!("error {errno}"));
    };
    // 579: the error is a JSON document again. It holds the upload token too, so never the whole.
    if text.trim_start().starts_with('{') {
        let inner = serde_json::from_str::<Value>(text).ok();
        let said = inner.as_ref().and_then(|inner| error_in(inner, depth));
        let url = inner
            .as_ref()
            .and_then(|inner| inner.get("callback_url")?.as_str());
        return Some(match (said, url) {
            (Some(said), Some(url)) => format!("{said} (callback {url})"),
            (Some(said), None) => said,
            (None, _) => "no readable reason".to_owned(),
        });
    }
    Some(text.to_owned())
}

fn title(page: &str) -> Option<&str> {
    // ASCII lowering keeps every index.
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    let title = page[start..end].trim();
    says_something(title).then_some(title)
}

/// Whether a person would see anything of it.
fn says_something(text: &str) -> bool {
    !text
        .chars()
        .all(|char| char.is_whitespace() || char.is_control())
}

/// The hosts in `incorrect region, please use a.example, b.example`.
pub(super) fn hosts(said: &str) -> Vec<String> {
    let Some((_, named)) = said.split_once("please use") else {
        return Vec::new();
    };
    let mut hosts: Vec<String> = Vec::new();
    for word in named.split(|char: char| char == ',' || char == ';' || char.is_whitespace()) {
        let word = word.trim_matches(|char: char| !char.is_ascii_alphanumeric() && char != '[');
        let bare = word.split_once("://").map_or(word, |(_, rest)| rest);
        let is_host = bare.contains(['.', ':']) && Endpoint::parse(bare, true).is_ok();
        if is_host && hosts.len() < HOSTS_MAX && !hosts.iter().any(|host| host == bare) {
            hosts.push(bare.to_owned());
        }
    }
    hosts
}

/// The index in `block 3: invalid context`.
pub(super) fn block_index(said: &str) -> Option<u32> {
    let lower = said.to_ascii_lowercase();
    let (_, after) = lower.split_once("block ")?;
    let digits = after.find(|char: char| !char.is_ascii_digit());
    after[..digits.unwrap_or(after.len())].parse().ok()
}

/// `text` without anything that looks like a token or a signature: `key:signature…`, where the
/// signature is the base64 of 20 bytes.
pub(super) fn redact(text: &str) -> String {
    let is_token = |char: char| char.is_ascii_alphanumeric() || "-_=:".contains(char);
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_token) {
        let len = rest[start..].find(|char| !is_token(char));
        let (word, later) = rest[start..].split_at(len.unwrap_or(rest.len() - start));
        clean.push_str(&rest[..start]);
        let signed = word.split(':').any(ends_in_signature);
        clean.push_str(if signed { "…" } else { word });
        rest = later;
    }
    clean.push_str(rest);
    clean
}

/// Whether `part` is a signature, alone or after a `name=`.
fn ends_in_signature(part: &str) -> bool {
    /// Length of a signature in characters.
    const SIGN_LEN: usize = 28;
    let Some(start) = part.len().checked_sub(SIGN_LEN) else {
        return false;
    };
    let (before, sign) = part.split_at(start);
    let stands_alone = before.is_empty() || before.ends_with('=');
    stands_alone && b64u_decode(sign).is_some_and(|bytes| bytes.len() == 20)
}
