//! Paths of the upload plane: putb64, v1 and v2.

use http::Method;

use crate::devserver::exchange::Operation;
use crate::devserver::route::{Call, Route, base64_text, form_pairs, number, path_pairs, value};
use crate::kodo::commit::{METADATA_PREFIX, VAR_PREFIX};
use crate::model::{Bucket, ObjectKey};

/// Most parts in one page of a part list, and the default. Source: protocol reference, 5.6.
const MAX_PARTS: u32 = 1000;

/// The front of every v2 path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UploadPath {
    /// Literal in the path.
    pub(crate) bucket: Bucket,
    /// `None` for `~`, the empty key for an empty segment.
    pub(crate) key: Option<ObjectKey>,
    /// The segment that stood for the key: one upload must keep to one spelling.
    pub(crate) object_segment: String,
    /// Empty for initiate.
    pub(crate) upload_id: String,
}

/// v1's commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mkfile {
    /// The object's length as announced.
    pub(crate) object_len: u64,
    /// What the path says about the object.
    pub(crate) fields: ObjectFields,
}

/// A whole object as base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PutBase64 {
    /// Length of the decoded data, if announced (`-1` is not).
    pub(crate) object_len: Option<u64>,
    /// Of the decoded data, if announced.
    pub(crate) crc32: Option<u32>,
    /// What the path says about the object.
    pub(crate) fields: ObjectFields,
}

/// What a client says about an object beside its bytes; path, form and JSON come down to this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectFields {
    /// `None` is no key; the empty key is a key.
    pub(crate) key: Option<ObjectKey>,
    /// The source's name, `$(fname)`.
    pub(crate) file_name: Option<String>,
    /// As declared.
    pub(crate) mime_type: Option<String>,
    /// Custom variables, names with their `x:`.
    pub(crate) vars: Vec<(String, String)>,
    /// Metadata, names in lower case without their `x-qn-meta-`.
    pub(crate) metadata: Vec<(String, String)>,
}

impl ObjectFields {
    /// Takes in a field called `x:…`, `x-qn-meta-…` or like one of the standard headers that may
    /// be stored with an object; passes over any other.
    pub(crate) fn take(&mut self, name: &str, value: &str) {
        let header = HEADER_FIELDS.iter().find(|(field, _)| *field == name);
        if let Some(name) = metadata_name(name).or(header.map(|(_, name)| (*name).to_owned())) {
            self.metadata.push((name, value.to_owned()));
        } else if name.starts_with(VAR_PREFIX) {
            self.vars.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// Fields of form and complete that set a standard header of the object, and the metadata that does
/// the same. Source: protocol reference, sections 3.1 and 5.3.
const HEADER_FIELDS: &[(&str, &str)] = &[
    ("cacheControl", "!cache-control"),
    ("contentLanguage", "!content-language"),
    ("contentEncoding", "!content-encoding"),
    ("contentDisposition", "!content-disposition"),
    ("expires", "!expires"),
];

/// The name behind `x-qn-meta-`, whatever case both are in, in lower case. Source: protocol
/// reference, 5.4.
pub(crate) fn metadata_name(name: &str) -> Option<String> {
    let prefix = name.get(..METADATA_PREFIX.len())?;
    prefix
        .eq_ignore_ascii_case(METADATA_PREFIX)
        .then(|| name[METADATA_PREFIX.len()..].to_ascii_lowercase())
}

/// Reads a path of the upload plane; `None` if it is none.
pub(super) fn parse(method: &Method, segments: &[&str], query: &str) -> Option<Route> {
    let (operation, call) = match segments {
        [""] => (Operation::Form, Ok(Call::Form)),
        ["putb64", len, rest @ ..] => (Operation::Form, put_base64(len, rest)),
        ["mkblk", len] => {
            let block_len = number(len).ok_or("invalid block size");
            let call = block_len.map(|block_len| Call::Mkblk { block_len });
            (Operation::Mkblk, call)
        }
        ["bput", ctx, offset] => {
            let offset = number(offset).ok_or("invalid offset");
            let ctx = (*ctx).to_owned();
            let call = offset.map(|offset| Call::Bput { ctx, offset });
            (Operation::Bput, call)
        }
        ["mkfile", len, rest @ ..] => (Operation::Mkfile, mkfile(len, rest)),
        ["buckets", bucket, "objects", object, "uploads", rest @ ..] => {
            let path = |upload_id: &str| upload_path(bucket, object, upload_id);
            return multipart(method, rest, query, path);
        }
        _ => return None,
    };
    Some(Route {
        operation,
        methods: &[Method::POST],
        call,
    })
}

/// v2: what follows `/buckets/<bucket>/objects/<object>/uploads`. Here the method tells the calls
/// apart.
fn multipart(
    method: &Method,
    rest: &[&str],
    query: &str,
    path: impl Fn(&str) -> Result<UploadPath, &'static str>,
) -> Option<Route> {
    let (operation, methods, call): (_, &[Method], _) = match rest {
        [] => (
            Operation::Initiate,
            &[Method::POST],
            path("").map(Call::Initiate),
        ),
        [id, text] => {
            let part = || {
                let number = number(text).ok_or("invalid part number")?;
                let path = path(id)?;
                Ok(Call::Part { path, number })
            };
            (Operation::Part, &[Method::PUT], part())
        }
        [id] => {
            let (operation, call) = match *method {
                Method::GET => (Operation::ListParts, list_parts(path(id), query)),
                Method::DELETE => (Operation::Abort, path(id).map(Call::Abort)),
                _ => (Operation::Complete, path(id).map(Call::Complete)),
            };
            (
                operation,
                &[Method::POST, Method::GET, Method::DELETE],
                call,
            )
        }
        _ => return None,
    };
    Some(Route {
        operation,
        methods,
        call,
    })
}

fn upload_path(bucket: &str, object: &str, upload_id: &str) -> Result<UploadPath, &'static str> {
    let key = match object {
        "~" => None,
        segment => Some(key(segment)?),
    };
    Ok(UploadPath {
        bucket: Bucket::new(bucket).map_err(|_| "invalid bucket name")?,
        key,
        object_segment: object.to_owned(),
        upload_id: upload_id.to_owned(),
    })
}

/// Both spellings of the marker are in use. Source: protocol reference, 5.6.
fn list_parts(path: Result<UploadPath, &'static str>, query: &str) -> Result<Call, &'static str> {
    let pairs = form_pairs(query);
    let max_parts = match value(&pairs, "max-parts") {
        None | Some("") => MAX_PARTS,
        Some(text) => number(text)
            .filter(|count| (1..=MAX_PARTS).contains(count))
            .ok_or("invalid max-parts")?,
    };
    let marker = ["part-number-marker", "part-number_marker"]
        .iter()
        .find_map(|name| value(&pairs, name))
        .filter(|text| !text.is_empty())
        .map_or(Ok(0), |text| {
            number(text).ok_or("invalid part-number-marker")
        })?;
    Ok(Call::ListParts {
        path: path?,
        max_parts,
        marker,
    })
}

fn mkfile(len: &str, rest: &[&str]) -> Result<Call, &'static str> {
    let object_len = number(len).ok_or("invalid file size")?;
    let mut fields = ObjectFields::default();
    for (name, segment) in path_pairs(rest)? {
        path_field(&mut fields, name, segment)?;
    }
    Ok(Call::Mkfile(Mkfile { object_len, fields }))
}

fn put_base64(len: &str, rest: &[&str]) -> Result<Call, &'static str> {
    let object_len = match len {
        "-1" => None,
        text => Some(number(text).ok_or("invalid file size")?),
    };
    let (mut fields, mut crc32) = (ObjectFields::default(), None);
    for (name, segment) in path_pairs(rest)? {
        match name {
            "crc32" => crc32 = Some(number(segment).ok_or("invalid crc32")?),
            _ => path_field(&mut fields, name, segment)?,
        }
    }
    Ok(Call::PutBase64(PutBase64 {
        object_len,
        crc32,
        fields,
    }))
}

/// One pair of mkfile's or putb64's path. Names are literal, values b64u; names nobody knows are
/// passed over, as they are by Kodo's habit with every optional field.
fn path_field(fields: &mut ObjectFields, name: &str, segment: &str) -> Result<(), &'static str> {
    let text = || base64_text(segment).ok_or("invalid argument");
    match name {
        "key" => fields.key = Some(key(segment)?),
        "mimeType" => fields.mime_type = Some(text()?).filter(|text| !text.is_empty()),
        "fname" => fields.file_name = Some(text()?),
        _ if name.starts_with(VAR_PREFIX) || metadata_name(name).is_some() => {
            fields.take(name, &text()?);
        }
        _ => {}
    }
    Ok(())
}

fn key(segment: &str) -> Result<ObjectKey, &'static str> {
    let text = base64_text(segment).ok_or("invalid object name")?;
    ObjectKey::new(text).map_err(|_| "key is too long")
}
