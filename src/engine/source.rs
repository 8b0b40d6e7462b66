//! Is the source still what was sent? Believed are its bytes, not its clock.
//!
//! Each look at the source that shows a change begins a new *epoch*. A lane belongs to the oldest
//! epoch any of its segments was read in, and counts for the commit only when it was compared with
//! the source in the present one. What an earlier process sent belongs to epoch 0.

use crate::engine::commit::Commit;
use crate::engine::event::{Effect, Moment, Outcome};
use crate::engine::lane::Step;
use crate::engine::{Engine, Phase};
use crate::model::Failure;

/// How often the last look before a commit may show a change while the bytes are the same. A file
/// that someone keeps touching is one that someone is about to change.
const LAST_LOOKS_MAX: u32 = 8;

impl Engine {
    /// Whether all lanes are acknowledged, recorded and compared.
    pub(crate) fn everything_holds(&self) -> bool {
        !self.is_open()
            && self.complete == self.layout.lane_count(self.job.size)
            && self.unchecked.is_empty()
            && self.recording.is_empty()
            && self.listing.is_none()
    }

    /// Has one lane compared with the source, if none is: a half-sent one first, since it cannot go
    /// on before.
    pub(crate) fn recheck_next(&mut self) {
        if self.rechecking.is_some() || !matches!(self.phase, Phase::Sending) {
            return;
        }
        let idle = |index: &&u64| {
            self.lanes
                .get(index)
                .is_some_and(|lane| matches!(lane.step, Step::Idle(_)))
        };
        let half_sent = self.unchecked.intersection(&self.open).find(idle);
        let Some(index) = half_sent
            .or_else(|| self.unchecked.iter().find(idle))
            .copied()
        else {
            return;
        };
        let Some(lane_span) = self.layout.lane(index, self.job.size) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(&index) else {
            return;
        };
        lane.step = Step::Rechecking { epoch: self.epoch };
        self.rechecking = Some(index);
        self.effects.push_back(Effect::Recheck {
            lane: index,
            lane_span,
            seals: lane.seals.clone(),
        });
    }

    pub(crate) fn rechecked(&mut self, index: u64, same: bool) {
        if self.rechecking == Some(index) {
            self.rechecking = None;
        }
        let Some(lane) = self.lanes.get_mut(&index) else {
            return;
        };
        let Step::Rechecking { epoch } = lane.step else {
            return;
        };
        lane.step = Step::Idle(Default::default());
        let from_before = lane.epoch == 0;
        if same {
            lane.epoch = epoch;
            if epoch == self.epoch {
                self.unchecked.remove(&index);
            }
        } else if from_before {
            // Changed between two runs: what differs is sent anew.
            self.void_lane(index, "the source changed since it was sent");
        } else {
            self.source_changed();
        }
    }

    /// Other bytes, or none: whatever is in flight may still arrive, and nothing is committed.
    pub(crate) fn source_lost(&mut self, now: Moment, failure: Failure) {
        let again = false;
        self.end_at(now, Outcome::Failed { failure, again });
    }

    pub(crate) fn source_seen(&mut self, same: bool) {
        if same {
            if matches!(self.phase, Phase::Looking) {
                self.phase = Phase::Committing(Commit::default());
            }
            return;
        }
        self.epoch += 1;
        let touched = self.lanes.iter().filter(|(_, lane)| lane.done > 0);
        self.unchecked.extend(touched.map(|(index, _)| *index));
        if matches!(self.phase, Phase::Looking) {
            self.phase = Phase::Sending;
            self.last_looks += 1;
            if self.last_looks > LAST_LOOKS_MAX {
                self.source_changed();
            }
        }
    }

    /// Other bytes than those that were sent: nothing is committed.
    fn source_changed(&mut self) {
        self.end_at(Default::default(), Outcome::SourceChanged);
    }
}
