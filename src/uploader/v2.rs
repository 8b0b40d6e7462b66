//! v2: numbered parts one after the other, then complete.

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::kodo::{Etag, Initiated, PartNumber, PartReply, Stored, Upload, multipart};
use crate::model::ByteSpan;
use crate::uploader::Run;
use crate::uploader::sender::Hashes;

impl Run {
    /// Initiates, sends all parts of `part_len` bytes, and commits.
    pub(super) async fn parts(&mut self, part_len: u64) -> Result<(Stored, Etag), Error> {
        let len = self.sender.source().len();
        let upload = self.initiate().await?;
        let mut sent = Vec::new();
        for (span, number) in ByteSpan::new(0, len).pieces(part_len).zip(1..) {
            let number = PartNumber::new(number).ok_or_else(|| {
                Error::new(
                    ErrorKind::Usage,
                    format!("there is no part number {number}"),
                )
            })?;
            let (etag, reply) = self.part(&upload, number, span).await?;
            sent.push((number, span.len, etag, reply.etag));
        }
        let hash_parts: Vec<_> = sent.iter().map(|(_, len, etag, _)| (*len, *etag)).collect();
        let hash = Etag::of_parts(&hash_parts);
        self.settle(hash, Some(part_len)).await?;
        let commit = self.commit.clone();
        let listed = || {
            sent.iter()
                .map(|(number, _, _, etag)| (*number, etag.as_str()))
        };
        let answer = self
            .sender
            .call(|token| upload.complete(token, &commit, listed()))
            .await;
        let form = self.answer_form;
        let stored = answer.and_then(|answer| multipart::completed(&answer, form, clock::wall()));
        let stored = stored.map_err(|failure| self.error("commit the upload", failure))?;
        Ok((stored, hash))
    }

    async fn initiate(&mut self) -> Result<Upload, Error> {
        let (bucket, key) = (self.bucket.clone(), self.commit.key().cloned());
        let answer = self
            .sender
            .call(|token| multipart::initiate(token, &bucket, key.as_ref()))
            .await;
        let begun = answer.and_then(|answer| Initiated::read(&answer, clock::wall()));
        let begun = begun.map_err(|failure| self.error("begin the upload", failure))?;
        Ok(Upload::new(&bucket, key.as_ref(), &begun.upload_id))
    }

    /// Sends one part; its etag by our count, and the answer.
    async fn part(
        &mut self,
        upload: &Upload,
        number: PartNumber,
        span: ByteSpan,
    ) -> Result<(Etag, PartReply), Error> {
        let sent = self
            .sender
            .segment(
                |token| upload.part(token, number, span, None),
                span,
                &Hashes::default(),
                None,
            )
            .await;
        let reply = sent.and_then(|(answer, hashes)| {
            let etag = hashes.etag.finish();
            let reply = PartReply::read(&answer, clock::wall())?;
            reply.verify(&etag)?;
            Ok((etag, reply))
        });
        let doing = format!("send part {} ({} bytes)", number.get(), span.len);
        let reply = reply.map_err(|failure| self.error(&doing, failure))?;
        self.sender.acknowledge(span);
        Ok(reply)
    }
}
