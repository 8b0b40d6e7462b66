//! Paths of the management plane: objects, lists, buckets and regions.

use http::Method;

use crate::devserver::exchange::Operation;
use crate::devserver::route::upload::metadata_name;
use crate::devserver::route::{Call, Route, base64_text, form_pairs, number, path_pairs, value};
use crate::model::{Bucket, ObjectKey};

/// Most objects in one page of a list, and the default. Source: protocol reference, section 9.
const LIST_LIMIT: usize = 1000;

/// What stands behind `b64u("bucket:key")`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Everything before the first `:`.
    pub(crate) bucket: Bucket,
    /// Everything after it; `None` without a `:`.
    pub(crate) key: Option<ObjectKey>,
}

/// What a list call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListQuery {
    /// Unchecked: an unknown bucket is answered with 631.
    pub(crate) bucket: String,
    /// Opaque; empty at the start.
    pub(crate) marker: String,
    /// 1 to 1000.
    pub(crate) limit: usize,
    /// Only keys that start with it.
    pub(crate) prefix: String,
    /// Keys are folded after its first occurrence behind the prefix; empty for none.
    pub(crate) delimiter: String,
    /// Whether the sizes of parts are wanted too.
    pub(crate) need_parts: bool,
}

/// Reads a path of the management plane; `None` if it is none.
pub(super) fn parse(segments: &[&str], query: &str) -> Option<Route> {
    /// What only reads is asked for with GET by most, with POST by older clients.
    const READ: &[Method] = &[Method::GET, Method::POST];
    if let Some((operation, call)) = object_call(segments, query) {
        let methods = match operation {
            Operation::Stat => READ,
            _ => &[Method::POST],
        };
        return Some(Route {
            operation,
            methods,
            call,
        });
    }
    let (operation, methods, call): (_, &[Method], _) = match segments {
        ["batch"] => (Operation::Batch, &[Method::POST], Ok(Call::Batch)),
        ["list"] => (Operation::List, READ, list(query).map(Call::List)),
        ["v2", "list"] => (Operation::List, READ, list(query).map(Call::ListLines)),
        ["buckets"] => (Operation::Manage, READ, Ok(Call::Buckets)),
        ["regions"] => (Operation::Manage, READ, Ok(Call::Regions)),
        ["v2" | "v3" | "v4", "query"] => {
            let pairs = form_pairs(query);
            let text = |name| value(&pairs, name).unwrap_or_default().to_owned();
            let call = Call::Query {
                version: segments[0].as_bytes()[1] - b'0',
                access_key: text("ak"),
                bucket: text("bucket"),
            };
            (Operation::Query, &[Method::GET], Ok(call))
        }
        _ => return None,
    };
    Some(Route {
        operation,
        methods,
        call,
    })
}

/// A call about one object or two; these may also stand in a batch.
pub(super) fn object_call(
    segments: &[&str],
    query: &str,
) -> Option<(Operation, Result<Call, &'static str>)> {
    let manage = |call| Some((Operation::Manage, call));
    match segments {
        // Some write the flag as the query that it is, some as two segments more.
        ["stat", text] | ["stat", text, "needparts", _] => {
            let need_parts = match segments.get(3) {
                Some(flag) => *flag == "true",
                None => value(&form_pairs(query), "needparts") == Some("true"),
            };
            let call = entry(text).map(|entry| Call::Stat { entry, need_parts });
            Some((Operation::Stat, call))
        }
        ["delete", text] => Some((Operation::Delete, entry(text).map(Call::Delete))),
        ["move", from, to, rest @ ..] => {
            manage(from_to(from, to, rest).map(|(from, to, force)| Call::Move { from, to, force }))
        }
        ["copy", from, to, rest @ ..] => {
            manage(from_to(from, to, rest).map(|(from, to, force)| Call::Copy { from, to, force }))
        }
        ["chgm", text, rest @ ..] => manage(chgm(text, rest)),
        ["chtype", text, "type", class] => manage(entry(text).and_then(|entry| {
            let file_type = number(class).ok_or("invalid file type")?;
            Ok(Call::Chtype { entry, file_type })
        })),
        ["chstatus", text, "status", status] => manage(entry(text).and_then(|entry| {
            let disabled = match *status {
                "0" => false,
                "1" => true,
                _ => return Err("invalid status"),
            };
            Ok(Call::Chstatus { entry, disabled })
        })),
        ["deleteAfterDays", text, days] => manage(entry(text).and_then(|entry| {
            let days = number(days).ok_or("invalid days")?;
            Ok(Call::DeleteAfterDays { entry, days })
        })),
        ["lifecycle", text, rest @ ..] => manage(lifecycle(text, rest)),
        _ => None,
    }
}

fn from_to(from: &str, to: &str, rest: &[&str]) -> Result<(Entry, Entry, bool), &'static str> {
    let force = match rest {
        [] | ["force", "false"] => false,
        ["force", "true"] => true,
        _ => return Err("invalid argument"),
    };
    Ok((entry(from)?, entry(to)?, force))
}

fn chgm(text: &str, rest: &[&str]) -> Result<Call, &'static str> {
    let (mut mime_type, mut conditions, mut metadata) = (None, Vec::new(), Vec::new());
    for (name, segment) in path_pairs(rest)? {
        let text = base64_text(segment).ok_or("invalid argument")?;
        match name {
            "mime" => mime_type = Some(text),
            "cond" => conditions = form_pairs(&text),
            _ => metadata.push((metadata_name(name).ok_or("invalid argument")?, text)),
        }
    }
    Ok(Call::Chgm {
        entry: entry(text)?,
        mime_type,
        conditions,
        metadata,
    })
}

fn lifecycle(text: &str, rest: &[&str]) -> Result<Call, &'static str> {
    let mut rules = Vec::new();
    for (name, days) in path_pairs(rest)? {
        let days = match days {
            "-1" => -1,
            text => number(text).ok_or("invalid days")?,
        };
        rules.push((name.to_owned(), days));
    }
    let entry = entry(text)?;
    Ok(Call::Lifecycle { entry, rules })
}

fn list(query: &str) -> Result<ListQuery, &'static str> {
    let pairs = form_pairs(query);
    let text = |name| value(&pairs, name).unwrap_or_default().to_owned();
    let limit = match value(&pairs, "limit") {
        None | Some("") => LIST_LIMIT,
        Some(text) => number(text)
            .filter(|limit| (1..=LIST_LIMIT).contains(limit))
            .ok_or("invalid list limit")?,
    };
    Ok(ListQuery {
        bucket: text("bucket"),
        marker: text("marker"),
        limit,
        prefix: text("prefix"),
        delimiter: text("delimiter"),
        need_parts: value(&pairs, "needparts") == Some("true"),
    })
}

fn entry(segment: &str) -> Result<Entry, &'static str> {
    let text = base64_text(segment).ok_or("invalid entry")?;
    let (bucket, key) = match text.split_once(':') {
        Some((bucket, key)) => (bucket, Some(key)),
        None => (text.as_str(), None),
    };
    let key = key.map(ObjectKey::new).transpose();
    Ok(Entry {
        bucket: Bucket::new(bucket).map_err(|_| "invalid bucket name")?,
        key: key.map_err(|_| "key is too long")?,
    })
}
