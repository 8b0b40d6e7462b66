//! v1: blocks of 4 MiB, each filled chunk by chunk, joined by mkfile.
//!
//! A ctx names a block *so far*. It stays valid after the next chunk has made a new one, as with the
//! service, where a client may send a chunk again whose answer was lost. Source: protocol reference,
//! sections 4 and 12.5. Uncertain there and chosen here: `mkfile/0` with an empty body makes an empty
//! object.

use http::header::HOST;
use http::request::Parts;
use sha1::digest::common::hazmat::{SerializableState as _, SerializedState};
use sha1::{Digest as _, Sha1};

use crate::clock;
use crate::devserver::exchange::{BodyStream, Overrides, Reply};
use crate::devserver::finish::{Content, Protocol};
use crate::devserver::refusal::Refusal;
use crate::devserver::route::Mkfile;
use crate::devserver::service::Service;
use crate::devserver::store::ContextRecord;
use crate::devserver::upload::intake::{Intake, read_whole};
use crate::kodo::encode::{b64u, hex, unhex};
use crate::kodo::{BLOCK_LEN, Etag};

/// How long a ctx or an upload id lives: 7 days. Source: protocol reference, sections 4.1 and 5.1.
pub(crate) const LIFE_SECONDS: u64 = 7 * 24 * 3600;

/// Longest list of ctx: enough for 1 TiB of blocks with contexts of 60 bytes.
const MKFILE_LEN_MAX: usize = 16 * 1024 * 1024;

impl Service {
    /// `POST /mkblk/<block_len>`: a new block and its first chunk.
    pub(crate) async fn mkblk(
        &self,
        block_len: u64,
        head: &Parts,
        body: BodyStream,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        let token = self.upload_token(head, overrides)?;
        if !(1..=BLOCK_LEN).contains(&block_len) {
            return Err(Refusal::new(400, "invalid block size"));
        }
        let block = ContextRecord {
            access_key: token.access_key().to_owned(),
            block_len,
            ..ContextRecord::default()
        };
        self.add_chunk(block, Sha1::new(), head, body).await
    }

    /// `POST /bput/<ctx>/<offset>`: the chunk after the one that `ctx` came from.
    pub(crate) async fn bput(
        &self,
        ctx: &str,
        offset: u64,
        head: &Parts,
        body: BodyStream,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        let token = self.upload_token(head, overrides)?;
        if overrides.context_expired {
            self.store.forget_context(ctx).await?;
        }
        let invalid = || Refusal::new(701, "invalid context");
        let block = self.live_context(ctx, token.access_key()).await?;
        let block = block.filter(|block| block.offset == offset && block.offset < block.block_len);
        let block = block
            .filter(|block| !(overrides.replayed_context_refused && block.used))
            .ok_or_else(invalid)?;
        let sha1 = restore(&block.sha1_state).ok_or_else(invalid)?;
        let reply = self.add_chunk(block, sha1, head, body).await?;
        self.store.mark_context_used(ctx).await?;
        Ok(reply)
    }

    /// `POST /mkfile/<len>/…`: the blocks become an object. The contexts stay, so that it may be
    /// repeated.
    pub(crate) async fn mkfile(
        &self,
        mkfile: Mkfile,
        head: &Parts,
        mut body: BodyStream,
        overrides: Overrides,
    ) -> Result<Reply, Refusal> {
        let token = self.upload_token(head, overrides)?;
        let list = read_whole(&mut body, MKFILE_LEN_MAX).await?;
        let list = std::str::from_utf8(&list).map_err(|_| invalid_block(0))?;
        let contexts: Vec<&str> = match list.trim() {
            "" => Vec::new(),
            list => list.split(',').map(str::trim).collect(),
        };
        if overrides.context_expired
            && let Some(ctx) = contexts.first()
        {
            self.store.forget_context(ctx).await?;
        }
        let (mut digests, mut content) = (Vec::new(), Content::default());
        for (index, ctx) in contexts.iter().enumerate() {
            let block = self.live_context(ctx, token.access_key()).await?;
            let is_last = index + 1 == contexts.len();
            let block = block
                .filter(|block| block.offset == block.block_len)
                .filter(|block| is_last || block.block_len == BLOCK_LEN)
                .ok_or_else(|| invalid_block(index))?;
            let digest = unhex(&block.sha1).and_then(|digest| digest.try_into().ok());
            digests.push(digest.ok_or_else(|| invalid_block(index))?);
            if index == 0 {
                content.head = block.head;
            }
            content.size += block.block_len;
            content.data.extend(block.data);
        }
        if content.size != mkfile.object_len {
            return Err(Refusal::new(400, "file size doesn't match its blocks"));
        }
        content.etag = Etag::of_blocks(&digests);
        self.finish(&token, content, mkfile.fields, Protocol::V1)
            .await
    }

    /// A context that may be used now by this account.
    async fn live_context(
        &self,
        ctx: &str,
        access_key: &str,
    ) -> Result<Option<ContextRecord>, Refusal> {
        let now = clock::unix_seconds(clock::wall());
        let block = self.store.context(ctx).await?;
        Ok(block.filter(|block| block.access_key == access_key && now < block.expires))
    }

    /// Takes a chunk in and answers with the ctx of the block so far.
    async fn add_chunk(
        &self,
        mut block: ContextRecord,
        sha1: Sha1,
        head: &Parts,
        mut body: BodyStream,
    ) -> Result<Reply, Refusal> {
        let room = block.block_len - block.offset;
        let too_long = Refusal::new(400, "the body is longer than the block");
        let mut intake = Intake::new(self, sha1, room, too_long).await?;
        intake.push_all(&mut body).await?;
        if intake.len() == 0 {
            return Err(Refusal::new(400, "the chunk is empty"));
        }
        let taken = intake.finish().await?;
        if block.offset == 0 {
            block.head = taken.head;
        }
        block.offset += taken.extent.len;
        block.data.push(taken.extent);
        block.sha1_state = hex(&taken.hashing.serialize());
        let digest = taken.hashing.finalize();
        block.sha1 = hex(&digest);
        block.expires = clock::unix_seconds(clock::wall()) + LIFE_SECONDS;
        block.used = false;
        let (offset, expires) = (block.offset, block.expires);
        let ctx = self.store.save_context(block).await?;
        Ok(Reply::json(
            200,
            &serde_json::json!({
                "ctx": ctx,
                "checksum": b64u(digest),
                "crc32": taken.crc32,
                "offset": offset,
                "host": self.host_seen_by(head),
                "expired_at": expires,
            }),
        ))
    }

    /// Where the following calls should go, with scheme: the name that this one came under, so that
    /// a client behind a port mapping or on one of several hosts stays where it is.
    fn host_seen_by(&self, head: &Parts) -> String {
        let named = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = named.or_else(|| self.hosts.first().map(String::as_str));
        format!("http://{}", host.unwrap_or("localhost"))
    }
}

fn invalid_block(index: usize) -> Refusal {
    Refusal::new(701, format!("block {index}: invalid context"))
}

/// The hasher behind [`ContextRecord::sha1_state`].
fn restore(state: &str) -> Option<Sha1> {
    let state = unhex(state)?;
    let state = SerializedState::<Sha1>::try_from(state.as_slice()).ok()?;
    Sha1::deserialize(&state).ok()
}
