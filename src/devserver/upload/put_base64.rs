//! putb64: a whole object as standard base64 in one body.
//!
//! Source: protocol reference, section 3.5. The only place of the protocol with `+` and `/`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use http::request::Parts;

use crate::devserver::exchange::{BodyStream, Overrides, Reply};
use crate::devserver::finish::Protocol;
use crate::devserver::finish::rules::too_large;
use crate::devserver::refusal::Refusal;
use crate::devserver::route::PutBase64;
use crate::devserver::service::Service;
use crate::devserver::upload::intake::{Intake, ObjectHashing};

/// Characters of base64 that stand for three bytes.
const GROUP_LEN: usize = 4;

impl Service {
    /// `POST /putb64/…`.
    pub(crate) async fn put_base64(
        &self,
        call: PutBase64,
        head: &Parts,
        mut body: BodyStream,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        let token = self.upload_token(head, overrides)?;
        let len_max = token.policy().fsize_limit.unwrap_or(u64::MAX);
        let mut intake = Intake::new(self, ObjectHashing::default(), len_max, too_large()).await?;
        let (mut pending, mut is_padded) = (Vec::new(), false);
        while let Some(piece) = body.next().await {
            let piece = piece?;
            let text = piece.iter().filter(|byte| !byte.is_ascii_whitespace());
            let before = pending.len();
            pending.extend(text);
            if is_padded && pending.len() > before {
                return Err(invalid());
            }
            // Whole groups only; what is left of the last one waits for the next piece.
            let rest = pending.split_off(pending.len() - pending.len() % GROUP_LEN);
            is_padded = pending.ends_with(b"=");
            let bytes = STANDARD.decode(&pending).map_err(|_| invalid())?;
            intake.push(bytes.into()).await?;
            pending = rest;
        }
        if !pending.is_empty() {
            return Err(invalid());
        }
        if call.object_len.is_some_and(|len| len != intake.len()) {
            return Err(Refusal::new(400, "file size doesn't match the body"));
        }
        if call.crc32.is_some_and(|crc32| crc32 != intake.crc32()) {
            return Err(Refusal::new(406, "crc32 check error"));
        }
        let content = intake.into_content().await?;
        self.finish(&token, content, call.fields, Protocol::Form)
            .await
    }
}

fn invalid() -> Refusal {
    Refusal::new(400, "invalid base64 data")
}
