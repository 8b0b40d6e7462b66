//! The upload as a state machine: what to send, when again, and when it is done.
//!
//! It is told what happened ([`Engine::handle`]), says what it wants done ([`Engine::poll_effect`])
//! and when it wants to be woken ([`Engine::next_wakeup`]). Time is an argument; chance is a seed.
//! Who supplies them: the driver in `uploader`.
//!
//! Its unit is a *lane of segments*. A v1 block is a lane whose segments are chunks; a v2 part is a
//! lane of one segment; a form upload has no lane: its one request is the commit.
//!
//! # What always holds
//!
//! 1. No success is reported unless every byte of the object was acknowledged, recorded and, where it
//!    came from an earlier process or the source was touched since, compared with the source again.
//! 2. No effect follows a known success.
//! 3. A recorded segment is not sent again unless its bytes or the service's record of them no longer
//!    match.
//! 4. At most `window` segments are in flight: that much is sent again after a crash.
//! 5. There is no wait without a reason to wake: something is in flight, or a wake-up is named.
//! 6. With a service that works the upload ends: every loop here has a named bound or a time budget.
//! 7. The same events and the same seed give the same effects.
//!
//! Absent on purpose: files, sockets, clocks, hashes, and every word of a storage service's dialect.

mod begin;
mod commit;
mod cuts;
mod doubt;
mod ending;
pub mod event;
pub mod expiry;
mod failing;
mod hosts;
mod lane;
mod listing;
pub(crate) mod pace;
pub mod patience;
pub mod plan;
mod race;
mod reach;
pub mod record;
pub(crate) mod retry;
mod send;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod token;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::engine::begin::Begin;
use crate::engine::commit::Commit;
use crate::engine::cuts::Cuts;
use crate::engine::event::{AttemptId, Effect, Event, HostIndex, Moment, Outcome, RecordId};
use crate::engine::hosts::Hosts;
use crate::engine::lane::Lane;
use crate::engine::listing::Listing;
pub use crate::engine::patience::Limits;
use crate::engine::plan::{Known, Layout, Sizer, Wishes};
use crate::engine::race::Rival;
use crate::engine::reach::Reach;
use crate::engine::record::{Announced, Checkpoint, Digest, Record};
pub(crate) use crate::engine::retry::may_pass;
use crate::engine::retry::{Backoff, Budget};
use crate::engine::send::first_lanes;
use crate::engine::stream::Intake;
pub use crate::engine::stream::Stream;
use crate::engine::token::Token;
use crate::engine::watch::Watch;

/// What is to be uploaded, as far as the engine needs to know.
#[derive(Clone, Debug)]
pub struct Job {
    /// The source's size in bytes; of a stream, what of it is there.
    pub size: u64,
    /// The source comes bit by bit and can be read once; none where it is there as a whole.
    pub stream: Option<Stream>,
    /// Protocol, threshold and part length as wished for.
    pub wishes: Wishes,
    /// The authorities (`host[:port]`) of the region's upload hosts, best first; not empty.
    pub hosts: Vec<String>,
    /// Whether stat can tell what is under the key: needs keys, and a key.
    pub can_stat: bool,
    /// Whether a repeated commit shows: `forceInsertOnly`, or what [`Job::repeat_acts`] is about.
    pub repeat_shows: bool,
    /// Whether a repeated commit does something twice: calls back, or makes a second object.
    pub repeat_acts: bool,
    /// What the commit says about the object, hashed.
    pub says: Digest,
    /// Seconds since 1970 at the start, for what an earlier process was given with an expiry.
    pub unix_now: u64,
    /// What is known of the line before anything is sent.
    pub known: Known,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Job {
    /// The object's size, as far as anybody can tell: without end where nobody can.
    fn expected_size(&self) -> u64 {
        match self.stream {
            Some(stream) if !stream.has_ended => stream.expected.unwrap_or(u64::MAX),
            _ => self.size,
        }
    }
}

/// One upload.
#[derive(Clone, Debug)]
pub struct Engine {
    job: Job,
    limits: Limits,
    phase: Phase,
    layout: Layout,
    upload_id: Option<String>,
    /// When it ends, in seconds since 1970.
    upload_id_ends: Option<u64>,
    lanes: BTreeMap<u64, Lane>,
    /// First lane that nobody has touched.
    untouched: u64,
    /// Whether a segment was acknowledged in this process.
    has_acknowledged: bool,
    /// Touched lanes that are not complete.
    open: BTreeSet<u64>,
    /// Lanes whose seals are older than the last look at the source.
    unchecked: BTreeSet<u64>,
    /// The lane that is being compared with the source.
    rechecking: Option<u64>,
    /// The service is being asked what it has.
    listing: Option<Listing>,
    complete: u64,
    safe_bytes: u64,
    attempts: BTreeMap<AttemptId, Work>,
    last_id: u64,
    /// Bytes of bodies that were acknowledged to any attempt of this process.
    line_bytes: u64,
    /// The shortest round trip that any connection has shown.
    shortest_round_trip: Option<Duration>,
    /// Records that are not yet durable.
    recording: BTreeSet<RecordId>,
    effects: VecDeque<Effect>,
    hosts: Hosts,
    reach: Reach,
    backoff: Backoff,
    budget: Budget,
    sizer: Sizer,
    intake: Intake,
    cuts: Cuts,
    token: Token,
    /// Nothing is begun before: the service asked for patience.
    quiet_until: Moment,
    start_overs: u32,
    /// Number of the last look at the source, from 1; see [`source`].
    epoch: u32,
    /// How often the last look before the commit showed a change.
    last_looks: u32,
    /// A commit may have taken effect: the service's clock before the first one.
    unclear: Option<u64>,
    /// The same of an earlier process's commit, which said something else about the object.
    other_commit: Option<Announced>,
    /// The service's clock as last heard, in seconds since 1970; 0 for never.
    server_time: u64,
    /// The end is decided; what is in flight may finish until the moment.
    ending: Option<(Outcome, Moment)>,
}

/// Where the upload stands.
#[derive(Clone, Debug)]
enum Phase {
    /// The layout is chosen; an upload id may be due.
    Beginning(Begin),
    /// Lanes are sent and compared.
    Sending,
    /// Everything is acknowledged; one last look at the source is under way.
    Looking,
    /// The object is being made.
    Committing(Commit),
    /// [`Effect::Finish`] was given out.
    Finished,
}

/// One attempt in flight.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    kind: WorkKind,
    host: HostIndex,
    begun: Moment,
    epoch: u32,
    token: u32,
    watch: Watch,
    /// Why it was begun beside another attempt at the same segment, if it was.
    rival: Option<Rival>,
}

impl Work {
    fn is_segment(&self) -> bool {
        matches!(self.kind, WorkKind::Segment { .. })
    }

    fn is_commit(&self) -> bool {
        self.kind == WorkKind::Commit
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkKind {
    Initiate,
    Segment { lane: u64, len: u64 },
    Commit,
    Stat,
    List,
    Probe,
}

impl Engine {
    /// An upload that goes on from `checkpoint`, which is empty for a new one.
    ///
    /// # Panics
    ///
    /// When the job has no host or the window is 0: bugs of the caller.
    pub fn new(job: Job, limits: Limits, checkpoint: Checkpoint) -> Self {
        assert!(limits.window > 0, "a window of 0 would never send anything");
        let size = job.expected_size();
        let layout = match job.stream {
            None => Layout::choose(size, &job.wishes),
            Some(_) => Layout::in_lanes(size, &job.wishes),
        };
        let mut engine = Self {
            hosts: Hosts::new(job.hosts.len()),
            reach: Reach::default(),
            backoff: Backoff::new(job.seed),
            budget: Budget::new(limits.retry_budget),
            sizer: Sizer::new(size, &job.known, first_lanes(&layout, size, limits.window)),
            intake: Intake::default(),
            job,
            limits,
            phase: Phase::Beginning(Begin::default()),
            layout,
            upload_id: None,
            upload_id_ends: None,
            lanes: BTreeMap::new(),
            untouched: 0,
            has_acknowledged: false,
            open: BTreeSet::new(),
            unchecked: BTreeSet::new(),
            rechecking: None,
            listing: None,
            complete: 0,
            safe_bytes: 0,
            attempts: BTreeMap::new(),
            last_id: 0,
            line_bytes: 0,
            shortest_round_trip: None,
            recording: BTreeSet::new(),
            effects: VecDeque::new(),
            cuts: Cuts::default(),
            token: Token::default(),
            quiet_until: Moment::default(),
            start_overs: 0,
            epoch: 1,
            last_looks: 0,
            unclear: None,
            other_commit: None,
            server_time: 0,
            ending: None,
        };
        engine.resume(checkpoint);
        engine.advance(Moment::default());
        engine
    }

    /// Tells what happened. Events of attempts that were given up are ignored.
    pub fn handle(&mut self, now: Moment, event: Event) {
        if matches!(self.phase, Phase::Finished) {
            return;
        }
        self.hear_clock(event.server_time());
        self.excuse_sleep(now);
        match event {
            Event::Initiated {
                attempt,
                upload_id,
                expires,
                ..
            } => self.initiated(now, attempt, upload_id, expires),
            Event::Sent {
                attempt,
                receipt,
                digest,
                ..
            } => self.sent(now, attempt, receipt, digest),
            Event::Listed {
                attempt,
                lanes,
                next,
                ..
            } => self.listed(now, attempt, &lanes, next),
            Event::Committed { attempt } => self.committed(attempt),
            Event::Stated { attempt, found } => self.stated(now, attempt, found),
            Event::Failed {
                attempt, failure, ..
            } => self.failed(now, attempt, failure),
            Event::Pulse { attempt, pulse } => {
                self.leave_queue(attempt, pulse.stage);
                self.pulse(now, attempt, pulse);
            }
            Event::Probed { attempt } => self.probed(now, attempt),
            Event::Window { lanes } => self.limits.window = lanes.max(1),
            Event::Heard(lesson) => self.heard(now, lesson),
            Event::Fetched { len, is_last } => self.fetched(now, len, is_last),
            Event::Recorded { id } => self.recorded(now, id),
            Event::Rechecked { lane, same } => self.rechecked(lane, same),
            Event::SourceLost { failure } => self.source_lost(now, failure),
            Event::SourceSeen { same } => self.source_seen(same),
            Event::TokenRenewed => self.token_renewed(),
            Event::TokenUnavailable => self.token_unavailable(now),
            Event::Stop { drain } => self.stop(now.after(drain)),
            Event::Woken => {}
        }
        self.advance(now);
    }

    /// The next thing to be done, if there is one. The answer may change after each
    /// [`Engine::handle`].
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Event::Woken`] is due, if nothing else happens before. None when the engine waits only
    /// for what is in flight, or is finished. The answer may change after each [`Engine::handle`].
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Moment> {
        if matches!(self.phase, Phase::Finished) {
            return None;
        }
        let ending = self.ending.as_ref().map(|(_, until)| *until);
        let ending = ending.filter(|_| !self.attempts.is_empty());
        let probe = self.probe_due().filter(|_| self.ending.is_none());
        [ending, self.next_start(), probe]
            .into_iter()
            .flatten()
            .min()
    }

    /// Bytes of bodies that were acknowledged to any attempt of this process, whatever became of them.
    pub fn line_bytes(&self) -> u64 {
        self.line_bytes
    }

    /// Length of the next segment, unless its lane ends before: a part is as long as its lane.
    pub fn segment_len(&self) -> u64 {
        match self.layout.protocol {
            plan::Protocol::Blocks => self.sizer.next_len(),
            plan::Protocol::Form | plan::Protocol::Parts => self.layout.lane_len,
        }
    }

    /// The shortest round trip that a connection under way has shown.
    pub fn round_trip(&self) -> Option<Duration> {
        let shown = self.attempts.values();
        shown.filter_map(|work| work.watch.round_trip()).min()
    }

    /// Bytes that are acknowledged and recorded.
    pub fn safe_bytes(&self) -> u64 {
        self.safe_bytes
    }

    /// How the object is cut.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Does everything that can be done now: the one place where the phases follow one another.
    fn advance(&mut self, now: Moment) {
        if self.ending.is_some() {
            self.drain(now);
            return;
        }
        if matches!(self.phase, Phase::Sending) && self.everything_holds() {
            self.phase = Phase::Looking;
            self.effects.push_back(Effect::CheckSource);
        }
        if !self.token.renewing && self.quiet_until <= now {
            self.begin_if_due(now);
            self.list_if_due(now);
            self.fetch_if_due(now);
            self.fill_window(now);
            self.commit_if_due(now);
        }
        self.recheck_next();
        self.probe_if_due(now);
        self.assert_reason_to_wake(now);
    }

    /// When the engine could begin something that it may not begin yet.
    fn next_start(&self) -> Option<Moment> {
        if self.ending.is_some() || self.token.renewing {
            return None;
        }
        let due = match &self.phase {
            Phase::Beginning(begin) => begin.due(),
            Phase::Sending => match &self.listing {
                Some(listing) => listing.due(),
                None => self.lane_due(),
            },
            Phase::Committing(commit) => commit.due(),
            Phase::Looking | Phase::Finished => None,
        };
        due.map(|moment| moment.max(self.quiet_until))
    }

    /// A new attempt's id, remembered as in flight.
    fn attempt(&mut self, now: Moment, kind: WorkKind, host: HostIndex) -> AttemptId {
        self.last_id += 1;
        let attempt = AttemptId(self.last_id);
        let work = Work {
            kind,
            host,
            begun: now,
            epoch: self.epoch,
            token: self.token.generation,
            watch: Watch::default(),
            rival: None,
        };
        self.attempts.insert(attempt, work);
        attempt
    }

    /// Whoever comes much later than was asked for has slept, and so has everybody: that is no time
    /// without progress. Between pulses the attempts' own time tells.
    fn excuse_sleep(&mut self, now: Moment) {
        if let Some(due) = self.next_wakeup()
            && self.attempts.is_empty()
            && now.since(due) > watch::GAP_MAX
        {
            self.budget.stand_by(due, now);
        }
    }

    /// Remembers what the service's clock said.
    fn hear_clock(&mut self, server_time: Option<u64>) {
        self.server_time = self.server_time.max(server_time.unwrap_or(0));
    }

    /// Asks for a record to be made durable.
    fn record(&mut self, record: Record) -> RecordId {
        self.last_id += 1;
        let id = RecordId(self.last_id);
        self.recording.insert(id);
        self.effects.push_back(Effect::Record { id, record });
        id
    }

    /// An attempt was answered well: its host and its token are good.
    fn answered(&mut self, now: Moment, work: &Work) {
        self.host_answered(work.host);
        self.budget.progress(now);
        self.heard_answer(now, work);
        self.token.proven |= work.token == self.token.generation;
    }

    fn recorded(&mut self, now: Moment, id: RecordId) {
        if !self.recording.remove(&id) {
            return;
        }
        match &self.phase {
            Phase::Beginning(begin) if begin.is_recording(id) => self.phase = Phase::Sending,
            Phase::Committing(commit) if commit.is_recording(id) => self.commit_recorded(),
            _ => self.lane_recorded(now, id),
        }
    }

    /// Invariant 5. What is only told comes to no event.
    fn assert_reason_to_wake(&self, now: Moment) {
        use Effect as E;
        let is_told = |effect: &E| {
            let is_said = matches!(effect, E::Notice(_) | E::Teach(_));
            is_said || matches!(effect, E::Cancel { .. } | E::LetGo { .. })
        };
        let busy = !self.attempts.is_empty()
            || !self.recording.is_empty()
            || !self.effects.iter().all(is_told)
            || self.token.renewing
            || matches!(self.phase, Phase::Looking | Phase::Finished)
            || self.rechecking.is_some()
            || self.is_fetching();
        let wakes = busy || self.next_wakeup().is_some();
        assert!(wakes, "nothing would ever wake the engine ({now:?})");
    }
}
