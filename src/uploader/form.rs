//! The whole object in one request.

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::kodo::{Boundary, Etag, Stored, form};
use crate::model::{ByteSpan, Failure};
use crate::source::FileSource;
use crate::uploader::Run;
use crate::uploader::sender::{Expected, Hashes};

impl Run {
    /// Hashes the source, then sends it with its crc32 before the bytes, so that the service
    /// refuses any others.
    pub(super) async fn form(&mut self) -> Result<(Stored, Etag), Error> {
        let span = ByteSpan::new(0, self.sender.source().len());
        let hashed = hash(self.sender.source(), span).await;
        let expected = hashed.map_err(|failure| self.error("hash the file", failure))?;
        self.settle(expected.etag, None).await?;
        let boundary = boundary()?;
        let commit = self.commit.clone();
        let crc32 = Some(expected.crc32);
        let taken = |_| {
            Error::new(
                ErrorKind::Usage,
                "a name or value holds the form's boundary",
            )
        };
        // Nothing of a form depends on the token but its own field, so one that can be built once
        // can be built again.
        let probe = self.sender.token();
        form::request(&probe, &commit, crc32, span, &boundary).map_err(taken)?;
        let build = |token: &_| {
            form::request(token, &commit, crc32, span, &boundary)
                .unwrap_or_else(|_| unreachable!("it was built a moment ago"))
        };
        let sent = self
            .sender
            .segment(build, span, &Hashes::default(), Some(expected))
            .await;
        let now = clock::wall();
        let stored = sent.and_then(|(answer, _)| Stored::read(&answer, self.answer_form, now));
        let stored = stored.map_err(|failure| self.error("store the file", failure))?;
        self.sender.acknowledge(span);
        Ok((stored, expected.etag))
    }
}

/// The hashes of `span`.
async fn hash(source: &FileSource, span: ByteSpan) -> Result<Expected, Failure> {
    let mut hashes = Hashes::default();
    let mut reader = source.read(span);
    while let Some(bytes) = reader.next().await {
        let bytes = bytes?;
        hashes.crc32.update(&bytes);
        hashes.etag.update(&bytes);
    }
    Ok(Expected {
        crc32: hashes.crc32.finalize(),
        etag: hashes.etag.finish(),
    })
}

/// A boundary of 16 random bytes. They come from the cryptography that is there anyway.
fn boundary() -> Result<Boundary, Error> {
    let mut bytes = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| Error::new(ErrorKind::Local, "the system gives no random bytes"))?;
    Ok(Boundary::from_random(bytes))
}
