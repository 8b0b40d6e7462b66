//! One upload, from its source to the commit.
//!
//! The engine decides, [`driver`] carries on, [`effects`] does: here the pure engine and the pure
//! dialect meet the source, the journal and the network. The way of a segment is
//! `engine` → [`Effect::Send`](crate::engine::event::Effect) → `kodo` makes the request →
//! `transport` sends it → `kodo` reads the answer → `Event::Sent` → `Effect::Record` → `journal`
//! syncs → `Event::Recorded`: only now the segment counts.

mod access;
pub(crate) mod asking;
mod calls;
mod driver;
mod effects;
mod expiry;
mod hashes;
mod line;
mod meter;
mod orphans;
mod parts;
mod proof;
mod provider;
mod recorder;
mod settle;
mod tally;
mod watch;

use std::sync::{Arc, Mutex};

pub(crate) use access::{Access, Held, Life, OwnPolicy, Permit};
pub(crate) use effects::random_bytes;
pub(crate) use line::Line;
pub(crate) use orphans::Orphans;
pub(crate) use provider::TokenProvider;
pub(crate) use recorder::Recorder;
pub(crate) use settle::{Outcome, Unfinished};

use crate::api::Api;
use crate::clock;
use crate::engine::event::{self, Notice};
use crate::engine::plan::{self, Wishes};
use crate::engine::record::{Checkpoint, Digest};
use crate::engine::{Engine, Limits, Stream};
use crate::error::words::time;
use crate::events::{Event, Listener};
use crate::kodo::Commit;
use crate::model::{Bucket, Endpoint, ObjectKey};
use crate::source::Source;
use crate::stop::Stops;
use crate::transport::Transport;
use crate::uploader::effects::Executor;
use crate::uploader::meter::Meter;
use crate::uploader::tally::Tally;
use crate::uploader::watch::Watched;

/// Which protocol an upload above the threshold takes; below it goes in one request (form).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// v1, except where it would overwrite what v2 and form would not (a token for the whole bucket without
    /// `insertOnly`), and for the empty key.
    #[default]
    Auto,
    /// Resumable v1: blocks of 4 MiB, sent in chunks. Any number of them; nothing that is sent is lost with
    /// a broken connection but the last chunk.
    V1,
    /// Resumable v2: numbered parts, 10 000 at most, of 1 MiB to 1 GiB. Its upload id lives 7 days at most.
    V2,
}

/// The upload hosts of a bucket.
#[derive(Clone, Debug)]
pub(crate) struct UploadHosts {
    /// Best first; never empty.
    pub(crate) endpoints: Vec<Endpoint>,
}

/// All that one upload needs.
pub(crate) struct Job {
    pub(crate) bucket: Bucket,
    pub(crate) commit: Commit,
    pub(crate) source: Source,
    pub(crate) permit: Permit,
    pub(crate) protocol: Protocol,
    pub(crate) threshold: Option<u64>,
    pub(crate) part_len: u64,
    pub(crate) limits: Limits,
    pub(crate) hosts: UploadHosts,
    /// Where stat goes, best first; empty where nobody may look.
    pub(crate) management: Vec<Endpoint>,
    /// What the same call sent to other hosts before; none where these are its first.
    pub(crate) sent_elsewhere: Option<u64>,
    pub(crate) transport: Transport,
    pub(crate) line: Line,
    pub(crate) api: Api,
    pub(crate) recorder: Recorder,
    /// What an earlier run recorded.
    pub(crate) checkpoint: Checkpoint,
    /// Seed of the jitter.
    pub(crate) seed: u64,
    pub(crate) listener: Listener,
    pub(crate) stops: Stops,
    pub(crate) orphans: Orphans,
}

/// Uploads.
pub(crate) async fn upload(mut job: Job) -> Result<Outcome, Unfinished> {
    let (tally, listener) = Tally::beside(std::mem::take(&mut job.listener));
    job.listener = listener;
    let size = job.source.expected_len();
    let stops = job.stops.clone();
    let (part_len, protocol) = (job.part_len, job.protocol);
    let sent_elsewhere = job.sent_elsewhere;
    let (mut engine, executor) = start(job);
    let meter = Arc::clone(&executor.meter);
    let resumed_bytes = engine.safe_bytes();
    if sent_elsewhere.is_none() {
        meter.tell(&Event::Started {
            size,
            protocol: name(engine.layout().protocol),
            resumed_bytes,
        });
    }
    meter.sent_before(sent_elsewhere.unwrap_or_default());
    meter.safe(resumed_bytes);
    if engine.layout().protocol == plan::Protocol::Parts && engine.layout().lane_len > part_len {
        meter.tell(&Event::Notice(format!(
            "the parts have {} bytes each: shorter ones would be more than {}",
            engine.layout().lane_len,
            plan::PARTS_MAX
        )));
    }
    if let Some(wished) = wished(protocol).filter(|wished| *wished != engine.layout().protocol)
        && resumed_bytes > 0
    {
        meter.tell(&Event::Notice(format!(
            "an earlier run began this upload with {}, not {}; it goes on so",
            name(engine.layout().protocol),
            name(wished),
        )));
    }
    let ended = driver::drive(&mut engine, &executor, &stops, |notice| {
        hear(notice, &meter)
    })
    .await;
    if matches!(ended, event::Outcome::Done) {
        tell_if_displaced(executor.source.source(), &meter).await;
    }
    settle::settle(ended, &engine, executor, resumed_bytes, &tally).await
}

/// Says so when the path leads to another file than the one that was uploaded: what is stored is
/// right, and yet not what the user would find there.
async fn tell_if_displaced(source: &Source, meter: &Meter) {
    if let (Some(path), Some(how)) = (source.path(), source.displaced().await) {
        meter.tell(&Event::Notice(format!(
            "{}: {how}; what is stored is the file that was there at the beginning",
            path.display()
        )));
    }
}

/// What of the source is still to come, if it is a stream.
fn open_stream(source: &Source) -> Option<Stream> {
    let stream = source.stream()?;
    let is_open = !stream.has_ended() || stream.has_let_go();
    is_open.then(|| Stream {
        expected: stream.expected(),
        has_ended: stream.has_ended(),
    })
}

/// Whether an upload whose protocol is left to haul goes in parts, since blocks are unsafe for it.
pub(crate) fn avoids_blocks(permit: &Permit, key: Option<&ObjectKey>) -> bool {
    permit.v1_would_overwrite() || blocks_may_lose(key)
}

/// The engine and what its effects are carried out with.
fn start(job: Job) -> (Engine, Arc<Executor>) {
    let began = clock::unix_seconds(clock::wall());
    let known = job.line.known();
    let wishes = Wishes {
        protocol: wished(job.protocol),
        threshold: Some(job.threshold.unwrap_or_else(|| known.threshold())),
        part_len: job.part_len,
        blocks_unsafe: job.protocol == Protocol::Auto
            && avoids_blocks(&job.permit, job.commit.key()),
    };
    let engine_job = crate::engine::Job {
        size: job.source.len(),
        // One that has ended is all there, and can be read as often as needed.
        stream: open_stream(&job.source),
        wishes,
        hosts: job
            .hosts
            .endpoints
            .iter()
            .map(|host| host.authority().to_owned())
            .collect(),
        can_stat: !job.management.is_empty()
            && job.permit.keys().is_some()
            // Under the key that was asked for there is nothing of ours then.
            && !job.permit.may_rename()
            && job.commit.key().is_some(),
        repeat_shows: job.permit.repeat_shows(),
        repeat_acts: job.permit.repeat_acts(),
        says: Digest(job.commit.said()),
        unix_now: began,
        known,
        seed: job.seed,
    };
    let mut limits = job.limits;
    limits.window = job.line.window().unwrap_or(limits.window);
    let engine = Engine::new(engine_job, limits, job.checkpoint);
    let executor = Executor {
        transport: job.transport,
        line: job.line,
        api: job.api,
        hosts: job.hosts.endpoints,
        management: job.management,
        meter: Arc::new(Meter::new(job.source.expected_len(), job.listener)),
        source: Watched::new(job.source),
        bucket: job.bucket,
        commit: job.commit,
        permit: job.permit,
        recorder: job.recorder,
        hashes: Default::default(),
        began,
        orphans: job.orphans,
        borne: Mutex::default(),
    };
    (engine, Arc::new(executor))
}

/// Whether v1 may store the object under another key: how the service reads an empty segment in mkfile's
/// path is not known, while v2's and the form's empty keys are (protocol reference, sections 3.1 and 5).
fn blocks_may_lose(key: Option<&ObjectKey>) -> bool {
    key.is_some_and(|key| key.as_str().is_empty())
}

/// Passes the engine's notices on.
fn hear(notice: &Notice, meter: &Meter) {
    let event = match notice {
        Notice::Progress { safe_bytes } => return meter.safe(*safe_bytes),
        Notice::Retrying {
            failure,
            wait,
            attempts,
            ..
        } => Event::Retrying {
            failure: failure.clone(),
            wait: *wait,
            attempts: *attempts,
        },
        Notice::LaneRestarted { lane, why } => Event::Notice(format!(
            "lane {lane} starts again from its first byte: {why}"
        )),
        Notice::StartedOver { why } => {
            meter.safe(0);
            Event::Notice(format!("the upload starts over: {why}"))
        }
        Notice::NotListed { failure } => Event::Notice(format!(
            "the service does not tell which parts it has: {failure}; the upload goes on without \
             comparing"
        )),
        Notice::CommitsAnew => Event::Notice(
            "an earlier run may have stored the object with another type, name, metadata or \
             variables; it is stored anew"
                .to_owned(),
        ),
        Notice::SourceHangs { waited } => Event::Notice(format!(
            "the source has given nothing for {}; the upload waits for it (a disk or a network \
             drive that hangs?)",
            time(*waited)
        )),
        Notice::FormGivenUp => {
            Event::Notice("one request for all failed; the file goes in lanes".to_owned())
        }
        Notice::LineDown { silence } => Event::LineDown { silence: *silence },
        Notice::LineUp { silence } => Event::LineUp { silence: *silence },
        Notice::Raced { lane, why } => Event::Notice(format!(
            "lane {lane}: {why}; its segment goes out a second time"
        )),
    };
    meter.tell(&event);
}

/// The protocol that was asked for, in the engine's words; none for the rules to decide.
fn wished(protocol: Protocol) -> Option<plan::Protocol> {
    match protocol {
        Protocol::Auto => None,
        Protocol::V1 => Some(plan::Protocol::Blocks),
        Protocol::V2 => Some(plan::Protocol::Parts),
    }
}

/// The word for a protocol in events.
fn name(protocol: plan::Protocol) -> &'static str {
    match protocol {
        plan::Protocol::Form => "form",
        plan::Protocol::Blocks => "v1",
        plan::Protocol::Parts => "v2",
    }
}
