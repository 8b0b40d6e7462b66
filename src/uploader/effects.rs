//! Carries out the engine's effects: one future each, one event at its end.
//!
//! This is where engine and dialect meet: lanes become blocks or parts here, and answers receipts.

use std::sync::Arc;
use std::time::Duration;

use crate::api::Api;
use crate::clock;
use crate::engine::event::{AttemptId, Effect, Event, Found, HostIndex};
use crate::engine::plan::{Layout, Protocol};
use crate::engine::record::Receipt;
use crate::events;
use crate::kodo::blocks::{self, ChunkReply, Context, SentChunk};
use crate::kodo::form::{self, Boundary};
use crate::kodo::manage::{self, ObjectInfo};
use crate::kodo::multipart::{self, Initiated, PartNumber, PartReply, Upload, UploadId};
use crate::kodo::{AnswerForm, Commit, Etag, Stored, failure};
use crate::model::{Answer, Bucket, ByteSpan, Endpoint, Failure, FailureKind, ObjectKey, Request};
use crate::transport::{SourceStream, Transport};
use crate::uploader::access::Permit;
use crate::uploader::hashes::{LaneHashes, of_source};
use crate::uploader::meter::{Finished, Meter};
use crate::uploader::recorder::Recorder;
use crate::uploader::watch::Watched;

/// How far a clock may be wrong before an object that was put "before we began" is another one, when
/// the service's own clock is not known: what the service itself allows for signatures. Source:
/// protocol reference, section 1.4.
const CLOCK_SKEW_MAX_S: u64 = 15 * 60;

/// The slowest line whose answers are waited for as long as its buffers drain, in bytes a second:
/// 64 kbit/s. Until the bytes on the wire are measured, a body counts as sent when the kernel has it.
const SLOWEST_LINE: u64 = 8_000;

/// Everything that effects are carried out with.
pub(crate) struct Executor {
    pub(crate) transport: Transport,
    pub(crate) api: Api,
    /// The region's upload hosts, in the engine's order.
    pub(crate) hosts: Vec<Endpoint>,
    /// Where stat goes, if anyone may look.
    pub(crate) management: Option<Endpoint>,
    pub(crate) source: Watched,
    pub(crate) bucket: Bucket,
    pub(crate) commit: Commit,
    pub(crate) permit: Permit,
    pub(crate) recorder: Recorder,
    pub(crate) limits: AnswerLimits,
    pub(crate) hashes: LaneHashes,
    /// When the upload began, in seconds since 1970.
    pub(crate) began: u64,
    pub(crate) meter: Arc<Meter>,
}

/// How long an answer may take once its request was handed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerLimits {
    /// Of segments and small requests.
    pub(crate) response: Duration,
    /// Of commits: the service joins what it has.
    pub(crate) commit: Duration,
}

impl Executor {
    /// Carries `effect` out; the events that answer it, in order.
    pub(crate) async fn carry_out(self: Arc<Self>, effect: Effect) -> Vec<Event> {
        let event = match effect {
            Effect::Initiate { attempt, host } => {
                or_failed(attempt, self.initiate(attempt, host).await)
            }
            Effect::Send { attempt, .. } => {
                let event = or_failed(attempt, self.send(&effect).await);
                // Beside every segment, so that a change is noticed before much follows it.
                return match self.look_at_source().await {
                    Event::SourceSeen { same: true } => vec![event],
                    changed => vec![changed, event],
                };
            }
            Effect::Commit { attempt, .. } => or_failed(attempt, self.commit(&effect).await),
            Effect::Stat {
                attempt,
                not_before,
                layout,
            } => or_failed(attempt, self.stat(attempt, not_before, layout).await),
            Effect::RenewToken => match self.permit.renew().await {
                true => Event::TokenRenewed,
                false => Event::TokenUnavailable,
            },
            Effect::Record { id, record } => {
                if let Some(why) = self.recorder.append(&record).await {
                    self.note(format!("{why}; the upload goes on, but cannot be resumed"));
                }
                Event::Recorded { id }
            }
            Effect::Recheck {
                lane,
                lane_span,
                seals,
            } => {
                let source = self.source.source();
                match self.hashes.recheck(source, lane, lane_span, &seals).await {
                    Ok(same) => Event::Rechecked { lane, same },
                    Err(failure) => Event::SourceLost { failure },
                }
            }
            Effect::CheckSource => self.look_at_source().await,
            Effect::Cancel { .. } | Effect::Notice(_) | Effect::Finish(_) => return Vec::new(),
        };
        vec![event]
    }

    async fn look_at_source(&self) -> Event {
        match self.source.look().await {
            Ok(None) => Event::SourceSeen { same: true },
            Ok(Some(how)) => {
                let path = self
                    .source
                    .source()
                    .path()
                    .map(|path| path.display().to_string());
                let path = path.unwrap_or_default();
                self.note(format!(
                    "{path}: {how}; its bytes are compared with what was sent"
                ));
                Event::SourceSeen { same: false }
            }
            Err(failure) => Event::SourceLost { failure },
        }
    }

    fn note(&self, text: String) {
        self.meter.tell(&events::Event::Notice(text));
    }

    async fn initiate(&self, attempt: AttemptId, host: HostIndex) -> Result<Event, Failure> {
        let now = clock::wall();
        let request = multipart::initiate(&self.permit.token(now), &self.bucket, self.key());
        let answer = self
            .request(host, request, None, self.limits.response)
            .await?;
        let initiated = Initiated::read(&answer, clock::wall())?;
        Ok(Event::Initiated {
            attempt,
            upload_id: initiated.upload_id.as_str().to_owned(),
            expires: initiated.expires,
            server_time: server_seconds(&answer),
        })
    }

    async fn send(&self, effect: &Effect) -> Result<Event, Failure> {
        let Effect::Send {
            attempt,
            host,
            lane,
            lane_span,
            span,
            after,
            upload_id,
        } = effect
        else {
            return Err(bug("only segments are sent"));
        };
        let token = self.permit.token(clock::wall());
        let done = span.offset - lane_span.offset;
        let request = match (upload_id, after) {
            (Some(id), _) => {
                let upload = self.upload(id)?;
                upload.part(&token, part_number(*lane)?, *span, None)
            }
            (None, None) => blocks::mkblk(&token, lane_span.len, *span),
            (None, Some(receipt)) => {
                let context = Context::new(receipt.text.clone());
                let context = context.ok_or_else(|| bug("a recorded ctx is none"))?;
                blocks::bput(&token, &context, done, *span)
            }
        };
        let source = self.source.source();
        let (stream, reading) = self.hashes.stream(source, *lane, done, *span, None);
        let answer = self
            .request(*host, request, Some(stream), self.limits.response)
            .await?;
        let hashes = reading.finish();
        let receipt = if upload_id.is_some() {
            let reply = PartReply::read(&answer, clock::wall())?;
            reply.verify(&hashes.etag)?;
            Receipt {
                text: reply.etag,
                host: None,
                expires: None,
            }
        } else {
            let reply = ChunkReply::read(&answer, clock::wall())?;
            reply.verify(&SentChunk {
                block_offset: done + span.len,
                chunk_crc32: hashes.crc32,
                block_crc32: hashes.lane_crc32,
            })?;
            Receipt {
                text: reply.context.as_str().to_owned(),
                host: reply.host.map(|host| host.authority().to_owned()),
                expires: reply.expires,
            }
        };
        let digest = hashes.digest();
        self.hashes.keep(*lane, lane_span.len, hashes);
        let server_time = server_seconds(&answer);
        Ok(Event::Sent {
            attempt: *attempt,
            receipt,
            digest,
            server_time,
        })
    }

    async fn commit(&self, effect: &Effect) -> Result<Event, Failure> {
        let Effect::Commit {
            attempt,
            host,
            protocol,
            upload_id,
            receipts,
        } = effect
        else {
            return Err(bug("only commits commit"));
        };
        let token = self.permit.token(clock::wall());
        let source = self.source.source();
        let size = source.len();
        let (request, stream, hash) = match protocol {
            Protocol::Form => {
                let (crc32, hash) = of_source(self.source.source()).await?;
                let span = ByteSpan::new(0, size);
                let boundary = Boundary::from_random(random_bytes()?);
                let request = form::request(&token, &self.commit, Some(crc32), span, &boundary);
                let request = request.map_err(|taken| bug(&taken.to_string()))?;
                let (stream, _) = self.hashes.stream(source, 0, 0, span, Some(hash));
                (request, (size > 0).then_some(stream), hash)
            }
            Protocol::Blocks => {
                let contexts: Option<Vec<Context>> = receipts
                    .iter()
                    .map(|receipt| Context::new(receipt.text.clone()))
                    .collect();
                let contexts = contexts.ok_or_else(|| bug("a recorded ctx is none"))?;
                let request = blocks::mkfile(&token, size, &self.commit, contexts.iter());
                (
                    request,
                    None,
                    self.hash_of_lanes(receipts.len() as u64, *protocol)?,
                )
            }
            Protocol::Parts => {
                let upload = self.upload(upload_id.as_deref().unwrap_or_default())?;
                let numbers = (0..).map(part_number);
                let parts: Result<Vec<(PartNumber, &str)>, Failure> = receipts
                    .iter()
                    .zip(numbers)
                    .map(|(receipt, number)| Ok((number?, receipt.text.as_str())))
                    .collect();
                let request = upload.complete(&token, &self.commit, parts?);
                (
                    request,
                    None,
                    self.hash_of_lanes(receipts.len() as u64, *protocol)?,
                )
            }
        };
        let answer = self
            .request(*host, request, stream, self.limits.commit)
            .await?;
        let stored = Stored::read(&answer, self.permit.answer_form(), clock::wall())?;
        self.finish(Some(stored), hash)?;
        Ok(Event::Committed { attempt: *attempt })
    }

    async fn stat(
        &self,
        attempt: AttemptId,
        not_before: u64,
        layout: Layout,
    ) -> Result<Event, Failure> {
        let (Some(endpoint), Some(keys), Some(key)) =
            (&self.management, self.permit.keys(), self.key())
        else {
            return Err(bug("stat needs a host, keys and a key"));
        };
        let now = clock::wall();
        let request = manage::stat(&self.bucket, key, false);
        let request = manage::signed(request, keys, endpoint, None);
        let answer = self.api.send(endpoint, request).await?;
        let info = match ObjectInfo::read(&answer, now) {
            Ok(info) => info,
            Err(failure) if failure.kind == FailureKind::NoSuchObject => {
                return Ok(Event::Stated {
                    attempt,
                    found: Found::Nothing,
                });
            }
            Err(failure) => return Err(failure),
        };
        let not_before = match not_before {
            0 => self.began.saturating_sub(CLOCK_SKEW_MAX_S),
            heard => heard,
        };
        let hash = match layout.protocol {
            Protocol::Form => of_source(self.source.source()).await?.1,
            protocol => {
                let lanes = layout.lane_count(self.source.source().len());
                self.hash_of_lanes(lanes, protocol)?
            }
        };
        let ours = info.etag() == Some(hash)
            && info.size == self.source.source().len()
            && clock::unix_seconds(info.stored_at()) >= not_before;
        if ours {
            self.finish(None, hash)?;
        }
        let found = if ours { Found::Ours } else { Found::Another };
        Ok(Event::Stated { attempt, found })
    }

    /// Keeps the commit's answer, if it shows our bytes under our key.
    fn finish(&self, stored: Option<Stored>, hash: Etag) -> Result<(), Failure> {
        let mismatch = |what: String, stored: &Stored| {
            let mut failure = Failure::new(FailureKind::Mismatch, what);
            failure.request_id = stored.request_id.clone();
            failure
        };
        if let Some(stored) = &stored {
            if let Some(theirs) = stored.hash.filter(|theirs| *theirs != hash) {
                let what = format!("the stored object has hash {theirs}, the source {hash}");
                return Err(mismatch(what, stored));
            }
            let plain = self.permit.answer_form() == AnswerForm::HashAndKey;
            if let (true, Some(asked), Some(given)) = (plain, self.key(), &stored.key)
                && asked.as_str() != given
                && !self.permit.may_rename()
            {
                let what = format!("the service stored `{given}` where `{asked}` was asked for");
                return Err(mismatch(what, stored));
            }
        }
        let hash_confirmed = stored.as_ref().is_none_or(|stored| stored.hash.is_some());
        self.meter.finish(Finished {
            stored,
            hash,
            hash_confirmed,
        });
        Ok(())
    }

    /// One request to an upload host.
    async fn request(
        &self,
        host: HostIndex,
        request: Request,
        stream: Option<SourceStream>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let endpoint = self.hosts.get(host).ok_or_else(|| bug("no such host"))?;
        let limit = limit + Duration::from_secs(request.body.len() / SLOWEST_LINE);
        let stream = stream.map(|stream| self.meter.count(stream));
        let answer = self
            .transport
            .send(endpoint, request, stream, limit)
            .await?;
        self.permit
            .hear_clock(failure::server_time(&answer), clock::wall());
        Ok(answer)
    }

    fn hash_of_lanes(&self, count: u64, protocol: Protocol) -> Result<Etag, Failure> {
        let lanes = self.hashes.of_object(count);
        let lanes = lanes.ok_or_else(|| bug("a lane was committed and not hashed"))?;
        Ok(match protocol {
            Protocol::Parts => Etag::of_parts(&lanes),
            Protocol::Blocks | Protocol::Form => {
                let blocks: Vec<_> = lanes.iter().map(|(_, etag)| etag.digest()).collect();
                Etag::of_blocks(&blocks)
            }
        })
    }

    fn upload(&self, id: &str) -> Result<Upload, Failure> {
        let id = UploadId::new(id).ok_or_else(|| bug("a recorded upload id is none"))?;
        Ok(Upload::new(&self.bucket, self.key(), &id))
    }

    fn key(&self) -> Option<&ObjectKey> {
        self.commit.key()
    }
}

/// v2's number of a lane.
fn part_number(lane: u64) -> Result<PartNumber, Failure> {
    let number = u32::try_from(lane + 1).ok().and_then(PartNumber::new);
    number.ok_or_else(|| bug("a lane without a part number"))
}

/// `result`'s event, or that of a failed attempt.
fn or_failed(attempt: AttemptId, result: Result<Event, Failure>) -> Event {
    result.unwrap_or_else(|failure| {
        let server_time = failure.server_time.map(clock::unix_seconds);
        Event::Failed {
            attempt,
            failure,
            server_time,
        }
    })
}

fn server_seconds(answer: &Answer) -> Option<u64> {
    failure::server_time(answer).map(clock::unix_seconds)
}

/// Random bytes, from the cryptography that is there anyway.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    let provider = rustls::crypto::ring::default_provider();
    match provider.secure_random.fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(Failure::new(
            FailureKind::Source,
            "the system gives no random bytes",
        )),
    }
}

/// What cannot be; told instead of a panic.
fn bug(what: &str) -> Failure {
    Failure::new(
        FailureKind::BadRequest,
        format!("haul made a mistake: {what}"),
    )
}
