//! Two attempts at one segment: the first answer counts, and the other attempt is dropped.

use std::time::Duration;

use crate::engine::event::{AttemptId, Effect, Moment, Notice};
use crate::engine::retry::{Verdict, verdict};
use crate::engine::{Engine, Work, WorkKind};
use crate::model::{ByteSpan, Failure};

/// How often one segment is raced. More would be a service that is slow for everyone.
const RACES_MAX: u32 = 3;

/// A first segment of which so much is acknowledged, in bytes, within so long is soon over: others may
/// begin beside it. At 64 kbit/s it takes four seconds.
const QUICK: (u64, Duration) = (32 * 1024, Duration::from_secs(1));

/// Why an attempt was begun beside another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    /// The other is silent. Should it wake, whoever is further goes on alone.
    Silence,
    /// The other is far slower than the line.
    Lag,
}

impl Work {
    /// Whether it is a segment on a line that is evidently quick.
    pub(crate) fn is_soon_over(&self) -> bool {
        let (len, time) = QUICK;
        let is_quick = self.watch.sending() < time && self.watch.acknowledged() >= len;
        is_quick && self.is_segment()
    }
}

impl Engine {
    /// Sends the segment of `attempt` a second time, on another connection.
    pub(crate) fn race(
        &mut self,
        now: Moment,
        attempt: AttemptId,
        index: u64,
        rival: Rival,
        why: &'static str,
    ) {
        let Some(WorkKind::Segment { len, .. }) = self.attempts.get(&attempt).map(|it| it.kind)
        else {
            return;
        };
        let Some(lane_span) = self.layout.lane(index, self.job.size) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(&index) else {
            return;
        };
        if lane.races >= RACES_MAX {
            return;
        }
        lane.races += 1;
        let (done, after) = (lane.done, lane.receipt.clone());
        let host = self.best_host(now);
        let second = self.attempt(now, WorkKind::Segment { lane: index, len }, host);
        if let Some(work) = self.attempts.get_mut(&second) {
            work.rival = Some(rival);
        }
        let notice = Notice::Raced { lane: index, why };
        self.effects.push_back(Effect::Notice(notice));
        self.effects.push_back(Effect::Send {
            attempt: second,
            host,
            lane: index,
            lane_span,
            span: ByteSpan::new(lane_span.offset + done, len),
            after,
            upload_id: self.upload_id.clone(),
            is_second: true,
        });
    }

    /// The attempt that is under way at a lane's segment.
    pub(crate) fn attempt_at(&self, lane: u64) -> Option<AttemptId> {
        let mut attempts = self.attempts.iter();
        let found = attempts.find(|(_, work)| work.lane() == Some(lane));
        found.map(|(id, _)| *id)
    }

    /// The other attempt at the same segment.
    pub(crate) fn twin(&self, attempt: AttemptId) -> Option<AttemptId> {
        let lane = self.attempts.get(&attempt)?.lane()?;
        let mut attempts = self.attempts.iter();
        let found = attempts.find(|(id, work)| **id != attempt && work.lane() == Some(lane));
        found.map(|(id, _)| *id)
    }

    /// A lane's segment needs no attempt any more.
    pub(crate) fn cancel_attempt_at(&mut self, lane: u64) {
        while let Some(attempt) = self.attempt_at(lane) {
            self.attempts.remove(&attempt);
            self.effects.push_back(Effect::Cancel { attempt });
        }
    }

    /// One of two attempts has moved: the one that was silent is awake again, or was overtaken.
    pub(crate) fn settle_race(&mut self, attempt: AttemptId) {
        let Some(twin) = self.twin(attempt) else {
            return;
        };
        let [Some(one), Some(other)] = [attempt, twin].map(|id| self.attempts.get(&id)) else {
            return;
        };
        let is_for_silence = [one, other].map(|it| it.rival == Some(Rival::Silence));
        let is_ahead = one.watch.acknowledged() >= other.watch.acknowledged();
        if is_for_silence.contains(&true) && is_ahead {
            self.attempts.remove(&twin);
            self.effects.push_back(Effect::Cancel { attempt: twin });
        }
    }

    /// Whether a failed attempt leaves another one that may do better. A refusal is for both.
    pub(crate) fn other_goes_on(&mut self, lane: u64, failure: &Failure) -> bool {
        if self.attempt_at(lane).is_none() {
            return false;
        }
        let goes_on = matches!(verdict(failure), Verdict::Again | Verdict::NextHost);
        if !goes_on {
            self.cancel_attempt_at(lane);
        }
        goes_on
    }
}

impl Work {
    fn lane(&self) -> Option<u64> {
        match self.kind {
            WorkKind::Segment { lane, .. } => Some(lane),
            _ => None,
        }
    }
}
