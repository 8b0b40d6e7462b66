//! One lane: a stretch of the object whose segments go one after the other.

use crate::engine::event::{Moment, RecordId};
use crate::engine::plan::{SEGMENT_LEN_MIN, Took};
use crate::engine::record::{Receipt, Seal};

/// A lane's progress and what it is doing.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    /// What was acknowledged and recorded, in order from the lane's start.
    pub(crate) seals: Vec<Seal>,
    /// Their length together, in bytes.
    pub(crate) done: u64,
    /// What the service gave for the last of them.
    pub(crate) receipt: Option<Receipt>,
    /// Which look at the source the seals agree with; see [`crate::engine::source`].
    pub(crate) epoch: u32,
    /// What it is doing.
    pub(crate) step: Step,
    /// Failed attempts since the last acknowledgement.
    pub(crate) failures: u32,
    /// Acknowledgements with a wrong hash since the last right one.
    pub(crate) mismatches: u32,
    /// How often it started again from its first byte without getting further than before.
    pub(crate) restarts: u32,
    /// How often the present segment was raced.
    pub(crate) races: u32,
    /// How far it was when it started again, in bytes: the furthest.
    furthest: u64,
}

/// What a lane is doing.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Nothing, and not before this moment.
    Idle(Moment),
    /// A segment is on the wire.
    Sending,
    /// A segment is acknowledged, its record not yet durable.
    Recording(RecordId, Acknowledged),
    /// The record that voids the lane is not yet durable.
    Resetting(RecordId),
    /// Its seals are compared with the source.
    Rechecking {
        /// The look at the source that the answer will be about.
        epoch: u32,
    },
}

/// A segment between its acknowledgement and its record.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) seal: Seal,
    pub(crate) receipt: Receipt,
    pub(crate) epoch: u32,
    pub(crate) took: Took,
}

impl Lane {
    /// A lane of which nothing was sent.
    pub(crate) fn fresh(epoch: u32) -> Self {
        Self {
            seals: Vec::new(),
            done: 0,
            receipt: None,
            epoch,
            step: Step::Idle(Moment::default()),
            failures: 0,
            mismatches: 0,
            restarts: 0,
            races: 0,
            furthest: 0,
        }
    }

    /// A lane that an earlier process recorded: to be compared with the source before it counts.
    pub(crate) fn resumed(seals: Vec<Seal>, receipt: Receipt) -> Self {
        let done = seals.iter().map(|seal| seal.len).sum();
        Self {
            seals,
            done,
            receipt: Some(receipt),
            ..Self::fresh(0)
        }
    }

    /// A durable acknowledgement.
    pub(crate) fn advance(&mut self, segment: Acknowledged) {
        self.done += segment.seal.len;
        // At most so many times as that fits into a lane: even then restarts come to an end.
        if self.done >= self.furthest.saturating_add(SEGMENT_LEN_MIN) {
            self.restarts = 0;
        }
        self.seals.push(segment.seal);
        self.receipt = Some(segment.receipt);
        self.epoch = self.epoch.min(segment.epoch);
        self.failures = 0;
        self.mismatches = 0;
        self.races = 0;
        self.step = Step::Idle(Moment::default());
    }

    /// Back to the first byte.
    pub(crate) fn reset(&mut self, epoch: u32) {
        *self = Self {
            restarts: self.restarts + 1,
            furthest: self.furthest.max(self.done),
            failures: self.failures,
            ..Self::fresh(epoch)
        };
    }

    /// Whether a segment may be begun at `now`.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        matches!(self.step, Step::Idle(not_before) if not_before <= now)
    }
}
