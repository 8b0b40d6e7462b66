//! Carries out the engine's effects: one future each, one event at its end.
//!
//! This is where engine and dialect meet: lanes become blocks or parts here, and answers receipts.

use std::sync::{Arc, Mutex, PoisonError};

use crate::api::Api;
use crate::clock;
use crate::engine::event::{AttemptId, Effect, Event, HostIndex};
use crate::engine::plan::Protocol;
use crate::engine::record::Receipt;
use crate::events;
use crate::journal::Unavailable;
use crate::kodo::blocks::{self, ChunkReply, Context, SentChunk};
use crate::kodo::form::{self, Boundary};
use crate::kodo::multipart::{self, Initiated, PartNumber, PartReply, Upload, UploadId};
use crate::kodo::{Commit, Stored, failure};
use crate::model::{Answer, Bucket, ByteSpan, Endpoint, Failure, FailureKind, ObjectKey, Request};
use crate::source::Fetched;
use crate::transport::Transport;
use crate::uploader::access::Permit;
use crate::uploader::calls::{Call, Flying, Repeat};
use crate::uploader::hashes::{LaneHashes, SegmentHashes, of_source};
use crate::uploader::line::Line;
use crate::uploader::meter::Meter;
use crate::uploader::orphans::{Lost, Orphans};
use crate::uploader::recorder::Recorder;
use crate::uploader::watch::Watched;

/// Everything that effects are carried out with.
pub(crate) struct Executor {
    pub(crate) transport: Transport,
    pub(crate) line: Line,
    pub(crate) api: Api,
    /// The region's upload hosts, in the engine's order.
    pub(crate) hosts: Vec<Endpoint>,
    /// Where stat goes, best first; empty where nobody may look.
    pub(crate) management: Vec<Endpoint>,
    pub(crate) source: Watched,
    pub(crate) bucket: Bucket,
    pub(crate) commit: Commit,
    pub(crate) permit: Permit,
    pub(crate) recorder: Recorder,
    pub(crate) hashes: LaneHashes,
    /// When the upload began, in seconds since 1970.
    pub(crate) began: u64,
    pub(crate) orphans: Orphans,
    /// Upload ids that no journal keeps.
    pub(crate) borne: Mutex<Vec<Lost>>,
    pub(crate) meter: Arc<Meter>,
}

/// A segment that the service acknowledged, and whose answer was right.
struct Acknowledged {
    event: Event,
    lane: u64,
    lane_len: u64,
    hashes: SegmentHashes,
}

impl Executor {
    /// Carries `effect` out; the events that answer it, in order.
    pub(crate) async fn carry_out(self: Arc<Self>, effect: Effect, flying: Flying) -> Vec<Event> {
        let event = match effect {
            Effect::Initiate { attempt, host } => {
                let initiated = self.initiate(attempt, host, &flying).await;
                or_failed(attempt, &flying, initiated)
            }
            Effect::Send { attempt, .. } => {
                return self.send_and_look(attempt, &effect, &flying).await;
            }
            Effect::Commit { attempt, .. } => {
                or_failed(attempt, &flying, self.commit(&effect, &flying).await)
            }
            Effect::Stat {
                attempt,
                not_before,
                layout,
            } => {
                let stated = self.stat(attempt, not_before, layout).await;
                or_failed(attempt, &flying, stated)
            }
            Effect::List {
                attempt,
                host,
                upload_id,
                from,
            } => {
                let listed = self.list(attempt, host, (&upload_id, from), &flying).await;
                or_failed(attempt, &flying, listed)
            }
            Effect::Probe { attempt, host } => {
                or_failed(attempt, &flying, self.probe(attempt, host).await)
            }
            Effect::RenewToken => match self.permit.renew(|event| self.meter.tell(event)).await {
                true => Event::TokenRenewed,
                false => Event::TokenUnavailable,
            },
            Effect::Record { id, record } => {
                if let Some(why) = self.recorder.append(&record).await {
                    self.not_resumable(&why);
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
            Effect::Fetch { len } => self.fetch(len).await,
            Effect::LetGo { span } => {
                if let Some(stream) = self.source.source().stream() {
                    stream.let_go(span);
                }
                return Vec::new();
            }
            // The driver's own business.
            Effect::Abandon { .. }
            | Effect::Cancel { .. }
            | Effect::GiveUp { .. }
            | Effect::Notice(_)
            | Effect::Teach(_)
            | Effect::Finish(_) => return Vec::new(),
        };
        vec![event]
    }

    /// Sends a segment, and looks at the source beside it: a change is noticed before much follows it.
    async fn send_and_look(
        &self,
        attempt: AttemptId,
        effect: &Effect,
        flying: &Flying,
    ) -> Vec<Event> {
        let sent = self.send(effect, flying).await;
        let looked = self.look_at_source().await;
        let event = or_failed(attempt, flying, sent.map(|sent| self.keep(sent)));
        match looked {
            Event::SourceSeen { same: true } => vec![event],
            changed => vec![changed, event],
        }
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

    /// Gets more of a stream.
    async fn fetch(&self, len: u64) -> Event {
        let Some(stream) = self.source.source().stream() else {
            let failure = bug("only streams are fetched");
            return Event::SourceLost { failure };
        };
        match stream.fetch(len).await {
            Ok(Fetched { len, is_last }) => {
                if is_last {
                    self.meter.learn_size(stream.len());
                }
                Event::Fetched { len, is_last }
            }
            Err(failure) => Event::SourceLost { failure },
        }
    }

    fn not_resumable(&self, why: &Unavailable) {
        let what = format!("{why}; the upload goes on, but cannot be resumed");
        self.meter.tell(&events::Event::NotResumable(what));
    }

    fn note(&self, text: String) {
        self.meter.tell(&events::Event::Notice(text));
    }

    async fn initiate(
        &self,
        attempt: AttemptId,
        host: HostIndex,
        flying: &Flying,
    ) -> Result<Event, Failure> {
        let now = clock::wall();
        let request = multipart::initiate(&self.permit.token(now), &self.bucket, self.key());
        let call = Call {
            host,
            request,
            repeat: Repeat::Freely,
            flying,
        };
        let answer = self.call(call, || None).await?;
        let initiated = Initiated::read(&answer, clock::wall())?;
        if !self.recorder.is_kept() {
            self.bear(host, initiated.upload_id.as_str());
        }
        Ok(Event::Initiated {
            attempt,
            upload_id: initiated.upload_id.as_str().to_owned(),
            expires: initiated.expires,
            server_time: server_seconds(&answer),
        })
    }

    /// A connection that is there when somebody needs one.
    async fn probe(&self, attempt: AttemptId, host: HostIndex) -> Result<Event, Failure> {
        let endpoint = self.hosts.get(host).ok_or_else(|| bug("no such host"))?;
        self.transport.connect(endpoint).await?;
        Ok(Event::Probed { attempt })
    }

    /// Sends a segment and checks its answer.
    async fn send(&self, effect: &Effect, flying: &Flying) -> Result<Acknowledged, Failure> {
        let Effect::Send {
            attempt,
            host,
            lane,
            lane_span,
            span,
            after,
            upload_id,
            is_second,
        } = effect
        else {
            return Err(bug("only segments are sent"));
        };
        let _turn = match is_second {
            true => None,
            false => Some(flying.seat.take(&self.line).await),
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
        let reading = Mutex::new(None);
        let stream = || {
            let (stream, hashes) = self.hashes.stream(source, *lane, done, *span, None);
            *reading.lock().unwrap_or_else(PoisonError::into_inner) = Some(hashes);
            Some(stream)
        };
        let call = Call {
            host: *host,
            request,
            repeat: match is_second {
                true => Repeat::FreelyAfresh,
                false => Repeat::Freely,
            },
            flying,
        };
        let answer = self.call(call, stream).await?;
        let reading = reading.into_inner().unwrap_or_else(PoisonError::into_inner);
        let hashes = reading.ok_or_else(|| bug("an answer to nothing"))?.finish();
        let receipt = match upload_id {
            Some(_) => part_receipt(&answer, &hashes)?,
            None => chunk_receipt(&answer, &hashes, done + span.len)?,
        };
        let event = Event::Sent {
            attempt: *attempt,
            receipt,
            digest: hashes.digest(),
            server_time: server_seconds(&answer),
        };
        let (lane, lane_len) = (*lane, lane_span.len);
        Ok(Acknowledged {
            event,
            lane,
            lane_len,
            hashes,
        })
    }

    /// Keeps an acknowledged segment's hashes. In the same turn in which the engine hears of it: an
    /// attempt that is cancelled must not leave hashes of bytes that do not count.
    fn keep(&self, sent: Acknowledged) -> Event {
        self.hashes.keep(sent.lane, sent.lane_len, sent.hashes);
        sent.event
    }

    async fn commit(&self, effect: &Effect, flying: &Flying) -> Result<Event, Failure> {
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
        let source = self.source.source();
        let size = source.len();
        let lanes = receipts.len() as u64;
        // A form is hashed before it has its turn: others use the line meanwhile.
        let (crc32, hash, _turn) = match protocol {
            Protocol::Form => {
                let (crc32, hash) = of_source(source).await?;
                let turn = flying.seat.take(&self.line).await;
                (Some(crc32), hash, Some(turn))
            }
            Protocol::Blocks | Protocol::Parts => {
                (None, self.hash_of_lanes(lanes, *protocol)?, None)
            }
        };
        let request = match protocol {
            Protocol::Form => self.form_request(crc32)?,
            Protocol::Blocks => self.mkfile_request(receipts)?,
            Protocol::Parts => {
                let upload_id = upload_id.as_deref().unwrap_or_default();
                self.complete_request(upload_id, receipts)?
            }
        };
        // The engine's rule for unclear commits: where a second one does not show, it may go.
        let repeat = match protocol {
            Protocol::Form | Protocol::Blocks if !self.permit.repeat_shows() => Repeat::Freely,
            Protocol::Form | Protocol::Blocks | Protocol::Parts => Repeat::Unsent,
        };
        let stream = || {
            let whole = self.hashes.stream(source, 0, 0, self.whole(), Some(hash));
            (*protocol == Protocol::Form && size > 0).then_some(whole.0)
        };
        let call = Call {
            host: *host,
            request,
            repeat,
            flying,
        };
        let answer = self.call(call, stream).await?;
        let stored = Stored::read(&answer, self.permit.answer_form(), clock::wall())?;
        self.finish(Some(stored), hash)?;
        Ok(Event::Committed { attempt: *attempt })
    }

    fn form_request(&self, crc32: Option<u32>) -> Result<Request, Failure> {
        let token = self.permit.token(clock::wall());
        let boundary = Boundary::from_random(random_bytes()?);
        let request = form::request(&token, &self.commit, crc32, self.whole(), &boundary);
        request.map_err(|taken| bug(&taken.to_string()))
    }

    fn mkfile_request(&self, receipts: &[Receipt]) -> Result<Request, Failure> {
        let token = self.permit.token(clock::wall());
        let contexts = receipts
            .iter()
            .map(|receipt| Context::new(receipt.text.clone()));
        let contexts: Option<Vec<Context>> = contexts.collect();
        let contexts = contexts.ok_or_else(|| bug("a recorded ctx is none"))?;
        let size = self.source.source().len();
        Ok(blocks::mkfile(&token, size, &self.commit, contexts.iter()))
    }

    fn complete_request(&self, id: &str, receipts: &[Receipt]) -> Result<Request, Failure> {
        let token = self.permit.token(clock::wall());
        let upload = self.upload(id)?;
        let numbered = receipts.iter().zip((0..).map(part_number));
        let parts = numbered.map(|(receipt, number)| Ok((number?, receipt.text.as_str())));
        let parts: Result<Vec<(PartNumber, &str)>, Failure> = parts.collect();
        Ok(upload.complete(&token, &self.commit, parts?))
    }

    /// All of the source.
    fn whole(&self) -> ByteSpan {
        ByteSpan::new(0, self.source.source().len())
    }

    pub(super) fn upload(&self, id: &str) -> Result<Upload, Failure> {
        let id = UploadId::new(id).ok_or_else(|| bug("a recorded upload id is none"))?;
        Ok(Upload::new(&self.bucket, self.key(), &id))
    }

    pub(super) fn key(&self) -> Option<&ObjectKey> {
        self.commit.key()
    }
}

/// What a part's answer gives, if the service has the bytes that were sent.
fn part_receipt(answer: &Answer, hashes: &SegmentHashes) -> Result<Receipt, Failure> {
    let reply = PartReply::read(answer, clock::wall())?;
    reply.verify(&hashes.etag)?;
    Ok(Receipt {
        text: reply.etag,
        host: None,
        expires: None,
    })
}

/// The same of a chunk, which ends `block_offset` bytes into its block.
fn chunk_receipt(
    answer: &Answer,
    hashes: &SegmentHashes,
    block_offset: u64,
) -> Result<Receipt, Failure> {
    let reply = ChunkReply::read(answer, clock::wall())?;
    reply.verify(&SentChunk {
        block_offset,
        chunk_crc32: hashes.crc32,
        block_crc32: hashes.lane_crc32,
    })?;
    Ok(Receipt {
        text: reply.context.as_str().to_owned(),
        host: reply.host.map(|host| host.authority().to_owned()),
        expires: reply.expires,
    })
}

/// v2's number of a lane.
fn part_number(lane: u64) -> Result<PartNumber, Failure> {
    let number = u32::try_from(lane + 1).ok().and_then(PartNumber::new);
    number.ok_or_else(|| bug("a lane without a part number"))
}

/// `result`'s event, or that of a failed attempt.
fn or_failed(attempt: AttemptId, flying: &Flying, result: Result<Event, Failure>) -> Event {
    result.unwrap_or_else(|mut failure| {
        if failure.trace.is_none() {
            failure.trace = flying.flight.trace().map(Box::new);
        }
        // Only the service's own clock counts, not that of whoever stands in the way.
        let own = failure.request_id.as_ref().and(failure.server_time);
        let server_time = own.map(clock::unix_seconds);
        Event::Failed {
            attempt,
            failure,
            server_time,
        }
    })
}

pub(super) fn server_seconds(answer: &Answer) -> Option<u64> {
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
pub(super) fn bug(what: &str) -> Failure {
    Failure::new(
        FailureKind::BadRequest,
        format!("haul made a mistake: {what}"),
    )
}
