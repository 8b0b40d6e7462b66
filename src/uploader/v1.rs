//! v1: blocks of 4 MiB one after the other, each sent in chunks, then mkfile.

use crate::clock;
use crate::error::Error;
use crate::kodo::{BLOCK_LEN, ChunkReply, Context, Etag, SentChunk, Stored, blocks};
use crate::model::ByteSpan;
use crate::uploader::Run;
use crate::uploader::plan::CHUNK_LEN;
use crate::uploader::sender::Hashes;

impl Run {
    /// Sends all blocks and commits.
    pub(super) async fn blocks(&mut self) -> Result<(Stored, Etag), Error> {
        let len = self.sender.source().len();
        let mut hashes = Hashes::default();
        let mut contexts = Vec::new();
        for block in ByteSpan::new(0, len).pieces(BLOCK_LEN) {
            contexts.push(self.block(block, &mut hashes).await?);
        }
        let hash = hashes.etag.finish();
        self.settle(hash, None).await?;
        let commit = self.commit.clone();
        let answer = self
            .sender
            .call(|token| blocks::mkfile(token, len, &commit, &contexts))
            .await;
        let stored =
            answer.and_then(|answer| Stored::read(&answer, self.answer_form, clock::wall()));
        let stored = stored.map_err(|failure| self.error("commit the upload", failure))?;
        Ok((stored, hash))
    }

    /// Sends one block; its last context.
    async fn block(&mut self, block: ByteSpan, hashes: &mut Hashes) -> Result<Context, Error> {
        let mut block_crc32 = crc32fast::Hasher::new();
        let mut context: Option<Context> = None;
        for chunk in block.pieces(CHUNK_LEN) {
            let begun = chunk.offset - block.offset;
            hashes.crc32 = crc32fast::Hasher::new();
            let sent = self
                .sender
                .segment(
                    |token| match &context {
                        None => blocks::mkblk(token, block.len, chunk),
                        Some(context) => blocks::bput(token, context, begun, chunk),
                    },
                    chunk,
                    hashes,
                    None,
                )
                .await;
            let reply = sent.and_then(|(answer, after)| {
                block_crc32.combine(&after.crc32);
                let reply = ChunkReply::read(&answer, clock::wall())?;
                reply.verify(&SentChunk {
                    block_offset: begun + chunk.len,
                    chunk_crc32: after.crc32.clone().finalize(),
                    block_crc32: block_crc32.clone().finalize(),
                })?;
                *hashes = after;
                Ok(reply)
            });
            let doing = format!("send bytes {} to {}", chunk.offset, chunk.end());
            let reply = reply.map_err(|failure| self.error(&doing, failure))?;
            self.sender.acknowledge(chunk);
            self.sender.follow(reply.host.as_ref());
            context = Some(reply.context);
        }
        Ok(context.unwrap_or_else(|| unreachable!("a block has at least one byte")))
    }
}
