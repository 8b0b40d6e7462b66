//! What a request asks for, read from its method and raw target alone.
//!
//! Pure and total: any text gives a [`Call`]. Kodo's paths are positional and have meaning in empty
//! segments (`/objects//uploads` is the empty key), so nothing here collapses `//`, and segments are
//! split *before* they are percent-decoded. Source: protocol reference, sections 3 to 5, 9 and 12.2.
//!
//! Absent on purpose: headers and bodies. `auth` checks who asks, the handlers read what they carry.

mod manage;
mod upload;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::devserver::exchange::{Operation, Subject};
use crate::kodo::encode::b64u_decode;
use crate::model::{Bucket, ObjectKey};

pub(crate) use manage::{Entry, ListQuery};
pub(crate) use upload::{Mkfile, ObjectFields, PutBase64, UploadPath};

/// A request, understood as far as its method and target go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `POST /`: the whole object as a form.
    Form,
    /// `POST /putb64/…`: the whole object as standard base64.
    PutBase64(PutBase64),
    /// v1: a new block and its first chunk.
    Mkblk {
        /// As announced in the path; any number.
        block_len: u64,
    },
    /// v1: the chunk after `ctx`.
    Bput {
        /// Of the chunk before.
        ctx: String,
        /// Where in its block the chunk belongs.
        offset: u64,
    },
    /// v1: the commit.
    Mkfile(Mkfile),
    /// v2: a new upload id; the path has none yet.
    Initiate(UploadPath),
    /// v2: one part.
    Part {
        /// Which upload.
        path: UploadPath,
        /// As in the path; any number.
        number: u32,
    },
    /// v2: a page of the parts so far.
    ListParts {
        /// Which upload.
        path: UploadPath,
        /// 1 to 1000.
        max_parts: u32,
        /// Only parts with a higher number.
        marker: u32,
    },
    /// v2: the commit.
    Complete(UploadPath),
    /// v2: forget the upload id.
    Abort(UploadPath),
    /// One object's properties.
    Stat {
        /// Which object.
        entry: Entry,
        /// Whether the sizes of its parts are wanted too.
        need_parts: bool,
    },
    /// One object removed.
    Delete(Entry),
    /// One object renamed, within or across buckets.
    Move {
        /// Its name now.
        from: Entry,
        /// Its name to be.
        to: Entry,
        /// Whether an object under the new name is replaced.
        force: bool,
    },
    /// One object under a second name.
    Copy {
        /// Its name now.
        from: Entry,
        /// The second name.
        to: Entry,
        /// Whether an object under the second name is replaced.
        force: bool,
    },
    /// An object's mime type and metadata changed.
    Chgm {
        /// Which object.
        entry: Entry,
        /// The new type, if it changes.
        mime_type: Option<String>,
        /// What must hold for the change: names of `hash mime fsize putTime` and their values.
        conditions: Vec<(String, String)>,
        /// Names in lower case without `x-qn-meta-`, and values.
        metadata: Vec<(String, String)>,
    },
    /// An object's storage class changed.
    Chtype {
        /// Which object.
        entry: Entry,
        /// The class's number.
        file_type: u8,
    },
    /// An object switched off or on.
    Chstatus {
        /// Which object.
        entry: Entry,
        /// Off: status 1.
        disabled: bool,
    },
    /// An object's expiry set; 0 takes it away.
    DeleteAfterDays {
        /// Which object.
        entry: Entry,
        /// Counted from today.
        days: u64,
    },
    /// An object's lifecycle rules, as pairs from the path, for instance `toIAAfterDays`, `30`.
    Lifecycle {
        /// Which object.
        entry: Entry,
        /// Names and numbers; -1 takes a rule away.
        rules: Vec<(String, i64)>,
    },
    /// Several management operations; they are in the body.
    Batch,
    /// A page of a bucket's objects as one document.
    List(ListQuery),
    /// A page of a bucket's objects, one document per line.
    ListLines(ListQuery),
    /// The names of the buckets.
    Buckets,
    /// The hosts of a bucket's region.
    Query {
        /// Shape of the answer: 2, 3 or 4.
        version: u8,
        /// Whose bucket.
        access_key: String,
        /// Its name, unchecked: an unknown one is answered with 631.
        bucket: String,
    },
    /// The list of regions.
    Regions,
    /// `GET /.haul/objects/<bucket>/<key>`: an object's bytes. Not of Kodo, where they come from a
    /// download domain.
    Download {
        /// Where it is.
        bucket: Bucket,
        /// Its name.
        key: ObjectKey,
    },
    /// `/.haul/control/<rest>`: words to the dev server itself.
    Control {
        /// What follows `control/`, as sent, with its query.
        rest: String,
    },
    /// `OPTIONS` on a path that pages in browsers may use: what may they?
    Preflight,
    /// A known path with something in it that cannot be: 400 after authentication.
    Malformed {
        /// What it would have been.
        operation: Operation,
        /// The answer's `error`.
        message: &'static str,
    },
    /// A known path with the wrong method: 405.
    WrongMethod {
        /// What it would have been.
        operation: Operation,
    },
    /// A path that Kodo does not have: 404.
    Unknown,
}

/// Reads a request's method and raw target (`path?query`, as it stood in the request line).
pub(crate) fn parse(method: &Method, target: &str) -> Call {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(path) = path.strip_prefix('/') else {
        return Call::Unknown;
    };
    if let Some(rest) = path.strip_prefix(".haul/") {
        return parse_own(method, rest, target);
    }
    let Some(segments) = path.split('/').map(decode).collect::<Option<Vec<_>>>() else {
        return Call::Malformed {
            operation: Operation::Unknown,
            message: "the path is not UTF-8",
        };
    };
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let read = upload::parse(method, &segments, query).or_else(|| manage::parse(&segments, query));
    match read {
        None => Call::Unknown,
        Some(route) if *method == Method::OPTIONS && route.operation.is_for_pages() => {
            Call::Preflight
        }
        Some(route) if !route.methods.contains(method) => Call::WrongMethod {
            operation: route.operation,
        },
        Some(route) => route.call.unwrap_or_else(|message| Call::Malformed {
            operation: route.operation,
            message,
        }),
    }
}

/// Reads one operation of a batch, for instance `/stat/<entry>`; the method does not count there.
pub(crate) fn parse_batched(op: &str) -> Call {
    let (path, query) = op.split_once('?').unwrap_or((op, ""));
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match manage::object_call(&segments, query) {
        Some((operation, Err(message))) => Call::Malformed { operation, message },
        Some((_, Ok(call))) => call,
        None => Call::Unknown,
    }
}

impl Call {
    /// What a fault plan and the request log call it.
    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::Form | Self::PutBase64(_) => Operation::Form,
            Self::Mkblk { .. } => Operation::Mkblk,
            Self::Bput { .. } => Operation::Bput,
            Self::Mkfile(_) => Operation::Mkfile,
            Self::Initiate(_) => Operation::Initiate,
            Self::Part { .. } => Operation::Part,
            Self::ListParts { .. } => Operation::ListParts,
            Self::Complete(_) => Operation::Complete,
            Self::Abort(_) => Operation::Abort,
            Self::Stat { .. } => Operation::Stat,
            Self::Delete(_) => Operation::Delete,
            Self::List(_) | Self::ListLines(_) => Operation::List,
            Self::Batch => Operation::Batch,
            Self::Query { .. } => Operation::Query,
            Self::Download { .. } => Operation::Get,
            Self::Move { .. }
            | Self::Copy { .. }
            | Self::Chgm { .. }
            | Self::Chtype { .. }
            | Self::Chstatus { .. }
            | Self::DeleteAfterDays { .. }
            | Self::Lifecycle { .. }
            | Self::Buckets
            | Self::Regions => Operation::Manage,
            Self::Malformed { operation, .. } | Self::WrongMethod { operation } => *operation,
            Self::Control { .. } | Self::Preflight | Self::Unknown => Operation::Unknown,
        }
    }

    /// What it is about, as far as the target says.
    pub(crate) fn subject(&self) -> Subject {
        let of_entry = |entry: &Entry| Subject {
            bucket: Some(entry.bucket.to_string()),
            key: entry.key.as_ref().map(ToString::to_string),
            ..Subject::default()
        };
        let of_path = |path: &UploadPath, part_number| Subject {
            bucket: Some(path.bucket.to_string()),
            key: path.key.as_ref().map(ToString::to_string),
            part_number,
            ..Subject::default()
        };
        match self {
            Self::PutBase64(PutBase64 { fields, .. }) | Self::Mkfile(Mkfile { fields, .. }) => {
                Subject {
                    key: fields.key.as_ref().map(ToString::to_string),
                    ..Subject::default()
                }
            }
            Self::Part { path, number } => of_path(path, Some(*number)),
            Self::Initiate(path)
            | Self::ListParts { path, .. }
            | Self::Complete(path)
            | Self::Abort(path) => of_path(path, None),
            Self::Stat { entry, .. }
            | Self::Delete(entry)
            | Self::Chgm { entry, .. }
            | Self::Chtype { entry, .. }
            | Self::Chstatus { entry, .. }
            | Self::DeleteAfterDays { entry, .. }
            | Self::Lifecycle { entry, .. } => of_entry(entry),
            Self::Move { from, .. } | Self::Copy { from, .. } => of_entry(from),
            Self::List(query) | Self::ListLines(query) => Subject {
                bucket: Some(query.bucket.clone()),
                ..Subject::default()
            },
            Self::Query { bucket, .. } => Subject {
                bucket: Some(bucket.clone()),
                ..Subject::default()
            },
            Self::Download { bucket, key } => Subject {
                bucket: Some(bucket.to_string()),
                key: Some(key.to_string()),
                ..Subject::default()
            },
            _ => Subject::default(),
        }
    }
}

/// A path that matched: what it means, and with which methods.
struct Route {
    operation: Operation,
    methods: &'static [Method],
    /// The message is the answer's `error`, of status 400.
    call: Result<Call, &'static str>,
}

/// The dev server's own paths, which no SDK uses. `rest` is what follows `/.haul/`, without a query.
fn parse_own(method: &Method, rest: &str, target: &str) -> Call {
    let operation = Operation::Get;
    if rest.starts_with("control/") {
        let rest = target.strip_prefix("/.haul/control/").unwrap_or_default();
        return Call::Control {
            rest: rest.to_owned(),
        };
    }
    let Some((bucket, key)) = rest
        .strip_prefix("objects/")
        .and_then(|rest| rest.split_once('/'))
    else {
        return Call::Unknown;
    };
    if method != Method::GET && method != Method::HEAD {
        return Call::WrongMethod { operation };
    }
    let names = decode(bucket)
        .and_then(|bucket| Bucket::new(bucket).ok())
        .zip(decode(key).and_then(|key| ObjectKey::new(key).ok()));
    match names {
        Some((bucket, key)) => Call::Download { bucket, key },
        None => Call::Malformed {
            operation,
            message: "invalid bucket or key",
        },
    }
}

/// The pairs of a query or of an `application/x-www-form-urlencoded` body, decoded, in their order.
///
/// Bytes that are no UTF-8 become replacement characters: such a pair can match nothing.
pub(crate) fn form_pairs(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| {
        let part = part.replace('+', " ");
        percent_decode_str(&part).decode_utf8_lossy().into_owned()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// The value of the first pair called `name`.
fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(candidate, _)| candidate == name)
        .map(|(_, value)| value.as_str())
}

/// One segment, percent-decoded; `None` if that is not UTF-8.
fn decode(segment: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(segment).decode_utf8().ok()
}

/// Digits and nothing else: unlike `str::parse`, no sign.
pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// The text behind a segment of b64u.
fn base64_text(segment: &str) -> Option<String> {
    String::from_utf8(b64u_decode(segment)?).ok()
}

/// Names and values that follow one another in a path. Values may be empty; a last name without a
/// value is an error, except for the empty one that a trailing `/` leaves.
fn path_pairs<'a>(segments: &[&'a str]) -> Result<Vec<(&'a str, &'a str)>, &'static str> {
    let mut pairs = Vec::with_capacity(segments.len() / 2);
    for pair in segments.chunks(2) {
        match pair {
            [name, value] => pairs.push((*name, *value)),
            [""] => {}
            _ => return Err("invalid argument"),
        }
    }
    Ok(pairs)
}
