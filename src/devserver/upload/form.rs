//! Form upload: one `multipart/form-data` body with the token, the words and the bytes.
//!
//! The file streams into the store as it comes. The fields may stand before or after it; a token
//! before the file is checked before a byte is taken, and its `fsizeLimit` holds while they come.
//! Source: protocol reference, section 3.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::request::Parts;
use multer::{Field, Multipart};

use crate::devserver::auth::check_client_key;
use crate::devserver::exchange::{BodyError, BodyStream, Overrides, Reply};
use crate::devserver::finish::Protocol;
use crate::devserver::finish::rules::too_large;
use crate::devserver::refusal::Refusal;
use crate::devserver::route::{ObjectFields, number};
use crate::devserver::service::Service;
use crate::devserver::upload::disposition::Disposition;
use crate::devserver::upload::intake::{Intake, ObjectHashing};
use crate::kodo::UploadToken;
use crate::model::ObjectKey;

/// Everything in a form that is not the file's bytes: fields, headers, boundaries. The service's
/// own limit is not published; metadata and variables together are a few KiB.
const WORDS_LEN_MAX: u64 = 1024 * 1024;
/// What the form's parser is fed at a time: it would take all that is there, without a bound.
const TURN_LEN: usize = 64 * 1024;

/// What the fields have said so far.
#[derive(Default)]
struct Form {
    token: Option<UploadToken>,
    fields: ObjectFields,
    crc32: Option<u32>,
    accept: Option<HeaderValue>,
    file: Option<Intake<ObjectHashing>>,
}

impl Service {
    /// `POST /`.
    pub(crate) async fn form(
        &self,
        head: &Parts,
        mut body: BodyStream,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        let boundary = head
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| multer::parse_boundary(value.to_str().ok()?).ok())
            .ok_or_else(|| invalid("Content-Type isn't multipart/form-data with a boundary"))?;
        let form = self.read_form(boundary, &mut body, overrides).await?;
        // What follows the last boundary is nothing, but the body must have come whole.
        while let Some(piece) = body.next().await {
            piece?;
        }
        let token = form.token.ok_or(Refusal::new(401, "token not specified"))?;
        let missing = Refusal::new(400, "file is not specified in multipart");
        let file = form.file.ok_or(missing)?;
        check_client_key(token.policy(), form.fields.key.as_ref())?;
        let limit = token.policy().fsize_limit;
        if limit.is_some_and(|limit| file.len() > limit) {
            return Err(too_large());
        }
        if form.crc32.is_some_and(|expected| expected != file.crc32()) {
            return Err(Refusal::new(406, "crc32 check error"));
        }
        let content = file.into_content().await?;
        let mut reply = self
            .finish(&token, content, form.fields, Protocol::Form)
            .await?;
        if let Some(accept) = form.accept {
            reply.headers.insert(CONTENT_TYPE, accept);
        }
        Ok(reply)
    }

    async fn read_form(
        &self,
        boundary: String,
        body: &mut BodyStream,
        overrides: Overrides,
    ) -> Result<Form, Refusal> {
        let taken = Arc::new(AtomicU64::new(0));
        let turns = Turns {
            body,
            rest: Bytes::new(),
            given: 0,
            taken: Arc::clone(&taken),
            is_pause_due: false,
        };
        let mut parts = Multipart::new(turns, boundary);
        let mut form = Form::default();
        while let Some(mut part) = parts.next_field().await.map_err(invalid_form)? {
            let header = part.headers().get(CONTENT_DISPOSITION);
            let disposition = Disposition::parse(header.map_or(b"", |it| it.as_bytes()));
            let name = disposition.name.unwrap_or_default();
            if name == "file" {
                form.fields.file_name = disposition.file_name;
                self.read_file(&mut form, &mut part, &taken).await?;
            } else {
                let text = read_text(&mut part).await?;
                self.take_field(&mut form, &name, &text, overrides)?;
            }
        }
        Ok(form)
    }

    fn take_field(
        &self,
        form: &mut Form,
        name: &str,
        text: &str,
        overrides: Overrides,
    ) -> Result<(), Refusal> {
        match name {
            "token" => form.token = Some(self.check_token(Some(text), overrides)?),
            "key" => {
                let key = ObjectKey::new(text).map_err(|_| Refusal::new(400, "key is too long"))?;
                form.fields.key = Some(key);
            }
            "crc32" => {
                let crc32 = number(text.trim()).ok_or(Refusal::new(400, "invalid crc32"))?;
                form.crc32 = Some(crc32);
            }
            "accept" => form.accept = HeaderValue::from_str(text).ok().filter(|it| !it.is_empty()),
            _ => form.fields.take(name, text),
        }
        Ok(())
    }

    async fn read_file(
        &self,
        form: &mut Form,
        part: &mut Field<'_>,
        taken: &AtomicU64,
    ) -> Result<(), Refusal> {
        if form.file.is_some() {
            return Err(invalid("more than one file"));
        }
        let declared = part.headers().get(CONTENT_TYPE);
        form.fields.mime_type = declared.and_then(|it| it.to_str().ok()).map(str::to_owned);
        let policy = form.token.as_ref().map(UploadToken::policy);
        let limit = policy.and_then(|policy| policy.fsize_limit);
        let len_max = limit.unwrap_or(u64::MAX);
        let mut intake = Intake::new(self, ObjectHashing::default(), len_max, too_large()).await?;
        while let Some(piece) = part.chunk().await.map_err(invalid_form)? {
            taken.fetch_add(piece.len() as u64, Ordering::Relaxed);
            intake.push(piece).await?;
        }
        form.file = Some(intake);
        Ok(())
    }
}

/// A field that is not the file. Its length is bounded by [`Turns`].
async fn read_text(part: &mut Field<'_>) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(invalid_form)? {
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).map_err(|_| invalid("a field is not UTF-8"))
}

/// The body as the form's parser may have it: in small turns, since the parser gathers whatever is
/// ready before it gives anything on, and no further than the file's bytes that have been taken
/// from it and [`WORDS_LEN_MAX`] together.
struct Turns<'a> {
    body: &'a mut BodyStream,
    rest: Bytes,
    given: u64,
    taken: Arc<AtomicU64>,
    is_pause_due: bool,
}

impl Stream for Turns<'_> {
    type Item = Result<Bytes, FormError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.is_pause_due) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        while self.rest.is_empty() {
            match std::task::ready!(self.body.as_mut().poll_next(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(FormError::Broken(error)))),
                Some(Ok(piece)) => self.rest = piece,
            }
        }
        let len = self.rest.len().min(TURN_LEN);
        let turn = self.rest.split_to(len);
        self.given += len as u64;
        let words_len = self.given - self.taken.load(Ordering::Relaxed);
        if words_len > WORDS_LEN_MAX + TURN_LEN as u64 {
            return Poll::Ready(Some(Err(FormError::TooManyWords)));
        }
        self.is_pause_due = true;
        Poll::Ready(Some(Ok(turn)))
    }
}

/// Why the form's parser gets no more.
#[derive(Debug, thiserror::Error)]
enum FormError {
    #[error(transparent)]
    Broken(BodyError),
    #[error("multipart: message too large")]
    TooManyWords,
}

fn invalid_form(error: multer::Error) -> Refusal {
    match error {
        multer::Error::StreamReadFailed(error) => invalid(error),
        error => invalid(error),
    }
}

fn invalid(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(400, format!("invalid multipart format: {why}"))
}
