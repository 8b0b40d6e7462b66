//! The engine's two languages: effects (what it wants done) and events (what happened).

use std::time::Duration;

use crate::engine::plan::{Layout, Protocol};
use crate::engine::record::{Digest, Receipt, Record, Seal};
use crate::model::{ByteSpan, Failure, Stage};

/// A point in time, as the time since the upload began in this process.
///
/// A type of its own, so that no clock can be read here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// The moment `later` after this one.
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// Time passed since `earlier`; zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Names one request on the wire; never used twice within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// Names one record on its way to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// Index into the endpoints that the job was given.
pub type HostIndex = usize;

/// What the engine wants done. The driver answers each with the event named in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask for an upload id. → [`Event::Initiated`] or [`Event::Failed`].
    Initiate {
        /// This attempt.
        attempt: AttemptId,
        /// Where.
        host: HostIndex,
    },
    /// Send a segment. → [`Event::Sent`] or [`Event::Failed`].
    Send {
        /// This attempt.
        attempt: AttemptId,
        /// Where, unless `after` names an endpoint.
        host: HostIndex,
        /// The lane's index, from 0.
        lane: u64,
        /// The whole lane's stretch of the object.
        lane_span: ByteSpan,
        /// The segment's stretch of the object.
        span: ByteSpan,
        /// Receipt of the lane's segment before this one.
        after: Option<Receipt>,
        /// Upload id, for v2.
        upload_id: Option<String>,
        /// It goes beside another attempt: it does not wait for its turn, and takes a connection that
        /// has not rested.
        is_second: bool,
    },
    /// Make the object out of the lanes; for a form, send all of it.
    /// → [`Event::Committed`] or [`Event::Failed`].
    Commit {
        /// This attempt.
        attempt: AttemptId,
        /// Where.
        host: HostIndex,
        /// Which request it is.
        protocol: Protocol,
        /// Upload id, for v2.
        upload_id: Option<String>,
        /// The last receipt of every lane, in order; empty for a form.
        receipts: Vec<Receipt>,
    },
    /// Look whether our object is there. → [`Event::Stated`] or [`Event::Failed`].
    Stat {
        /// This attempt.
        attempt: AttemptId,
        /// The service's clock before the first commit, in seconds since 1970; 0 if not known.
        not_before: u64,
        /// How the object was sent: its hash may depend on it.
        layout: Layout,
    },
    /// Ask what the service has under this upload id, from a lane on. → [`Event::Listed`] or
    /// [`Event::Failed`].
    List {
        /// This attempt.
        attempt: AttemptId,
        /// Where.
        host: HostIndex,
        /// Which upload id.
        upload_id: String,
        /// Index of the first lane that is asked for.
        from: u64,
    },
    /// Make a connection and keep it for whoever needs one. → [`Event::Probed`] or
    /// [`Event::Failed`].
    Probe {
        /// This attempt.
        attempt: AttemptId,
        /// Whereto.
        host: HostIndex,
    },
    /// Ask for a fresh token. → [`Event::TokenRenewed`] or [`Event::TokenUnavailable`].
    RenewToken,
    /// Give up this attempt and close its connection. No event is due any more.
    Cancel {
        /// Which.
        attempt: AttemptId,
    },
    /// Break this attempt off and close its connection. → [`Event::Failed`] with `why`, to which the
    /// driver adds where the attempt was.
    GiveUp {
        /// Which.
        attempt: AttemptId,
        /// Why, in the engine's words.
        why: Failure,
    },
    /// Tell the service that this upload id is not needed any more. No event is due: what is left
    /// there expires by itself.
    Abandon {
        /// Where.
        host: HostIndex,
        /// Which.
        upload_id: String,
    },
    /// Bring this record to the disk. → [`Event::Recorded`].
    Record {
        /// Names it.
        id: RecordId,
        /// What to write.
        record: Record,
    },
    /// Hash these stretches of the source again and compare. → [`Event::Rechecked`].
    Recheck {
        /// The lane's index, from 0.
        lane: u64,
        /// The lane's stretch of the object; the seals follow one another from its start.
        lane_span: ByteSpan,
        /// What was sent.
        seals: Vec<Seal>,
    },
    /// Compare the source's size, times and identity with the first look. → [`Event::SourceSeen`].
    CheckSource,
    /// Get so many bytes more of a source that comes bit by bit. → [`Event::Fetched`] or
    /// [`Event::SourceLost`].
    Fetch {
        /// How many; fewer only where it ends.
        len: u64,
    },
    /// These bytes of such a source are not needed any more. No event is due.
    LetGo {
        /// Which.
        span: ByteSpan,
    },
    /// Something a person may want to read. No event is due.
    Notice(Notice),
    /// Something that the other uploads of this process need not find out again. No event is due.
    Teach(Lesson),
    /// The end. No effect follows, no event is taken.
    Finish(Outcome),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An upload id came.
    Initiated {
        /// Which attempt.
        attempt: AttemptId,
        /// The upload id.
        upload_id: String,
        /// When it ends, in seconds since 1970.
        expires: Option<u64>,
        /// The service's clock by this answer, in seconds since 1970.
        server_time: Option<u64>,
    },
    /// A segment was acknowledged and the answer matched the bytes.
    Sent {
        /// Which attempt.
        attempt: AttemptId,
        /// What the service gave.
        receipt: Receipt,
        /// Content hash of the bytes that were read and sent.
        digest: Digest,
        /// The service's clock by this answer, in seconds since 1970.
        server_time: Option<u64>,
    },
    /// The commit succeeded and every hash it showed is ours.
    Committed {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A page of what the service has under an upload id.
    Listed {
        /// Which attempt.
        attempt: AttemptId,
        /// What it has, in order, from the lane that was asked for.
        lanes: Vec<Listed>,
        /// The lane that the next page begins with; none after the last page.
        next: Option<u64>,
        /// The service's clock by this answer, in seconds since 1970.
        server_time: Option<u64>,
    },
    /// Stat answered.
    Stated {
        /// Which attempt.
        attempt: AttemptId,
        /// What is under the key.
        found: Found,
    },
    /// An attempt failed.
    Failed {
        /// Which attempt.
        attempt: AttemptId,
        /// What it met.
        failure: Failure,
        /// The service's clock by this answer, in seconds since 1970.
        server_time: Option<u64>,
    },
    /// How an attempt in flight is getting on; told a few times a second.
    Pulse {
        /// Which attempt.
        attempt: AttemptId,
        /// What was seen of it.
        pulse: Pulse,
    },
    /// A probe has its connection: the line is up, and this host takes part.
    Probed {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// So many lanes are worth having in flight, as the line is now.
    Window {
        /// How many, at least 1.
        lanes: usize,
    },
    /// Another upload of this process learnt something of the way that they share.
    Heard(Lesson),
    /// More of the source is there.
    Fetched {
        /// How many bytes.
        len: u64,
        /// Whether they are the last.
        is_last: bool,
    },
    /// A record is durable, or as durable as this machine lets it be.
    Recorded {
        /// Which.
        id: RecordId,
    },
    /// A lane's claimed bytes were hashed again.
    Rechecked {
        /// The lane's index, from 0.
        lane: u64,
        /// Whether all of them are what was sent.
        same: bool,
    },
    /// The source can no longer be what was begun: it has another size, or cannot be looked at.
    SourceLost {
        /// How.
        failure: Failure,
    },
    /// The source was looked at, on request or beside a segment.
    SourceSeen {
        /// Whether it is as at the first look.
        same: bool,
    },
    /// A token that has not been used before is there.
    TokenRenewed,
    /// There is no other token.
    TokenUnavailable,
    /// Someone wants the upload to stop: nothing new is begun, what is in flight may finish. A second
    /// one may shorten the first, and any end that is waited for.
    Stop {
        /// For how long segments and a commit in flight are waited for.
        drain: Duration,
    },
    /// Time passed: what [`next_wakeup`](crate::engine::Engine::next_wakeup) named is due.
    Woken,
}

impl Event {
    /// The service's clock, in seconds since 1970, where an answer told it.
    pub(crate) fn server_time(&self) -> Option<u64> {
        match self {
            Self::Initiated { server_time, .. }
            | Self::Sent { server_time, .. }
            | Self::Listed { server_time, .. }
            | Self::Failed { server_time, .. } => *server_time,
            _ => None,
        }
    }
}

/// How an attempt in flight is getting on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Bytes of its body that the other end has acknowledged. Never falls within an attempt.
    pub acknowledged_bytes: u64,
    /// How far it is.
    pub stage: Stage,
    /// Whether the other end still takes bytes: false while its receive window is closed.
    pub peer_reads: bool,
    /// Whether nothing is outstanding and the source has the next turn.
    pub waits_for_source: bool,
    /// Whether its next bytes wait for their turn under our own bandwidth limit.
    pub is_limited: bool,
    /// Whether bytes were sent that the other end has not acknowledged.
    pub is_outstanding: bool,
    /// The shortest round trip that its connection has shown, where that is known.
    pub round_trip: Option<Duration>,
}

impl Pulse {
    /// An attempt so far on, of which nothing else is to be said.
    pub fn new(stage: Stage, acknowledged_bytes: u64) -> Self {
        Self {
            acknowledged_bytes,
            stage,
            peer_reads: true,
            waits_for_source: false,
            is_limited: false,
            is_outstanding: true,
            round_trip: None,
        }
    }

    /// Whether nothing is to be heard because our own limit lets nothing out.
    pub(crate) fn rests(&self) -> bool {
        self.is_limited && !self.is_outstanding
    }
}

/// What one upload learnt of the way to the service, for the others of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// This host does not serve now, and is set aside for so long.
    Frozen {
        /// Which.
        host: HostIndex,
        /// From now on.
        time: Duration,
    },
    /// This host serves again.
    Thawed {
        /// Which.
        host: HostIndex,
    },
    /// The service asked for patience: nothing is begun for so long.
    SlowDown {
        /// From now on.
        time: Duration,
    },
    /// Something on the way lets no longer bodies pass.
    BodyLimit {
        /// The longest that may pass, in bytes.
        len: u64,
    },
}

/// A lane as the service's list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its index, from 0.
    pub lane: u64,
    /// Its length in bytes.
    pub len: u64,
    /// What the service would give for it: the receipt's text.
    pub receipt: String,
}

/// What stat found under the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Our hash, our size, put since we began.
    Ours,
    /// Another object, or ours from before.
    Another,
}

/// How an upload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The object is stored and is the source.
    Done,
    /// The object is stored; the service's callback failed.
    CallbackFailed(Failure),
    /// Stopped by request; what is recorded is safe.
    Stopped,
    /// The source changed under us; nothing was committed.
    SourceChanged,
    /// The commit may or may not have happened, and nobody can tell.
    Unknown(Failure),
    /// It cannot go on: the last failure, and whether running it again can help.
    Failed {
        /// What was met last.
        failure: Failure,
        /// Whether the same call may succeed later.
        again: bool,
    },
}

/// Something worth saying, without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An attempt failed and another will follow.
    Retrying {
        /// What it met.
        failure: Failure,
        /// The lane, unless it was no segment.
        lane: Option<u64>,
        /// How long the engine waits first.
        wait: Duration,
        /// How many attempts at this have failed in a row.
        attempts: u32,
    },
    /// A lane starts again from its first byte.
    LaneRestarted {
        /// Its index, from 0.
        lane: u64,
        /// Why, in words.
        why: &'static str,
    },
    /// All lanes start again with a new upload id.
    StartedOver {
        /// Why, in words.
        why: &'static str,
    },
    /// The service does not tell what it has; the upload goes on without comparing.
    NotListed {
        /// What it said.
        failure: Failure,
    },
    /// An earlier process may have stored the object with other particulars; it is committed anew.
    CommitsAnew,
    /// The source has given nothing for a while, and its upload waits for it.
    SourceHangs {
        /// For how long by now.
        waited: Duration,
    },
    /// The form upload failed too often; the object goes in lanes.
    FormGivenUp,
    /// Nothing passes any more, and no connection opens.
    LineDown {
        /// For how long nothing has passed.
        silence: Duration,
    },
    /// It passes again.
    LineUp {
        /// For how long it did not.
        silence: Duration,
    },
    /// An attempt lags far behind, or is silent on a line that is not: its segment goes out a second
    /// time, and the first answer counts.
    Raced {
        /// The lane.
        lane: u64,
        /// Why, in words.
        why: &'static str,
    },
    /// Bytes that are safe on the service by now.
    Progress {
        /// How many.
        safe_bytes: u64,
    },
}
