//! Which bucket and key a request is about, beyond what its path says: for the fault plan only.
//!
//! The service reads tokens and forms for itself; what is found here decides nothing but faults.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};

use crate::devserver::arriving::Arriving;
use crate::devserver::exchange::{BodyError, Operation, Subject};
use crate::kodo::policy::Scope;
use crate::kodo::token::UploadToken;

/// Fills in what `subject` does not know yet: from a form's fields, as far as they can be read ahead,
/// then from the upload token's scope.
pub(crate) async fn complete(
    subject: &mut Subject,
    operation: Operation,
    headers: &HeaderMap,
    body: &mut Arriving,
) {
    let authorization = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let mut token = authorization
        .and_then(|value| value.strip_prefix("UpToken "))
        .map(str::to_owned);
    if operation == Operation::Form && token.is_none() {
        let fields = form_fields(headers, body).await;
        subject.key = subject.key.take().or(fields.key);
        token = fields.token;
    }
    let Some(token) = token.and_then(|text| UploadToken::parse(text.trim()).ok()) else {
        return;
    };
    let (bucket, key) = match &token.policy().scope {
        Scope::Bucket(bucket) | Scope::Prefix(bucket, _) => (bucket, None),
        Scope::Key(bucket, key) => (bucket, Some(key)),
    };
    subject.bucket.get_or_insert_with(|| bucket.to_string());
    if subject.key.is_none() {
        subject.key = key.map(ToString::to_string);
    }
}

/// Where the bytes of a form's file begin, in bytes from the body's first, if they begin within what
/// can be read ahead.
pub(crate) async fn file_offset(body: &mut Arriving) -> Option<u64> {
    loop {
        if let Some(offset) = find_file(&body.peeked()) {
            return Some(offset as u64);
        }
        body.peek().await?;
    }
}

fn find_file(form: &[u8]) -> Option<usize> {
    let find = |from: usize, what: &[u8]| {
        let rest = form.get(from..)?;
        let at = rest.windows(what.len()).position(|window| window == what)?;
        Some(from + at + what.len())
    };
    find(find(0, b"name=\"file\"")?, b"\r\n\r\n")
}

/// What a form says about itself before its file.
#[derive(Default)]
struct FormFields {
    key: Option<String>,
    token: Option<String>,
}

async fn form_fields(headers: &HeaderMap, body: &mut Arriving) -> FormFields {
    let mut found = FormFields::default();
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some(boundary) = content_type.and_then(|text| multer::parse_boundary(text).ok()) else {
        return found;
    };
    let ahead = stream::unfold(body, |body| async move {
        let bytes = body.peek().await?;
        Some((Ok::<Bytes, BodyError>(bytes), body))
    });
    let mut form = multer::Multipart::new(ahead.fuse(), boundary);
    // Whatever is wrong with the form, the service says; here it only ends the search.
    while let Ok(Some(field)) = form.next_field().await {
        let slot = match field.name() {
            Some("key") => &mut found.key,
            Some("token") => &mut found.token,
            Some("file") => break,
            _ => continue,
        };
        *slot = field.text().await.ok();
    }
    found
}
