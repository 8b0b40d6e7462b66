//! A source that comes bit by bit and can be read once: how much of it is asked for, and when its
//! bytes may go.
//!
//! What has come is the object so far: [`Job::size`](crate::engine::Job) grows. A lane is begun when
//! all of it is there, since v1 says a block's length with its first byte, and a lane that starts again
//! needs its bytes. They are let go when it is complete.

use crate::engine::event::{Effect, Moment};
use crate::engine::{Engine, Phase};
use crate::model::{ByteSpan, Failure, FailureKind};

/// A source that comes bit by bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// How long it will be, where that is known.
    pub expected: Option<u64>,
    /// All of it has come: the job's size is its length.
    pub has_ended: bool,
}

/// What is asked of such a source.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Intake {
    /// Since when, while more is asked for.
    asked: Option<Moment>,
}

impl Engine {
    /// Whether more of the source follows.
    pub(crate) fn is_open(&self) -> bool {
        self.job.stream.is_some_and(|stream| !stream.has_ended)
    }

    /// Whether the source was asked for more and has not answered yet.
    pub(crate) fn is_fetching(&self) -> bool {
        self.intake.asked.is_some()
    }

    /// The object's size, as far as anybody can tell: without end where nobody can.
    pub(crate) fn expected_size(&self) -> u64 {
        self.job.expected_size()
    }

    /// How many lanes can be begun: all of them, or those that have come whole.
    pub(crate) fn lanes_there(&self) -> u64 {
        match self.is_open() {
            true => self.job.size / self.layout.lane_len,
            false => self.layout.lane_count(self.job.size),
        }
    }

    /// Asks for more of the source: one lane more than may be in flight, so that none waits for it.
    pub(crate) fn fetch_if_due(&mut self, now: Moment) {
        let may_fetch = self.is_open() && !self.is_fetching() && self.ending.is_none();
        if !may_fetch || !matches!(self.phase, Phase::Sending) {
            return;
        }
        let window = u64::try_from(self.window()).unwrap_or(u64::MAX);
        if self.lanes_there().saturating_sub(self.complete) > window {
            return;
        }
        self.intake.asked = Some(now);
        let len = self.layout.lane_len;
        self.effects.push_back(Effect::Fetch { len });
    }

    /// So many bytes more are there.
    pub(crate) fn fetched(&mut self, now: Moment, len: u64, is_last: bool) {
        if let Some(asked) = self.intake.asked.take()
            && self.open.is_empty()
        {
            // There was nothing to send meanwhile: that is no time without progress.
            self.budget.stand_by(asked, now);
        }
        self.job.size = self.job.size.saturating_add(len);
        if let Some(stream) = &mut self.job.stream {
            stream.has_ended |= is_last;
        }
        if self.layout.check(self.job.size).is_none() {
            let failure = too_long(self.layout.lane_len);
            self.give_up(now, failure, false);
        }
    }

    /// A lane is complete: where the source is a stream, its bytes are not needed any more.
    pub(crate) fn let_go(&mut self, span: ByteSpan) {
        if self.job.stream.is_some() {
            self.effects.push_back(Effect::LetGo { span });
        }
    }
}

/// The failure of a stream that has more parts than an upload may have.
fn too_long(part_len: u64) -> Failure {
    let what = format!(
        "the stream is longer than the {} parts of {part_len} bytes that an upload of v2 may have",
        crate::engine::plan::PARTS_MAX
    );
    Failure::new(FailureKind::Source, what)
}
