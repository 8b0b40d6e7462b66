//! What was seen of one attempt, and what is to be concluded from it alone: see
//! [`patience`](crate::engine::patience) for the rules.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::WorkKind;
use crate::engine::event::{Moment, Pulse};
use crate::engine::patience::Limits;
use crate::model::{Failure, FailureKind, Stage};

/// Over how long the rate floor is measured, at least. Source: the design's table of deadlines.
const FLOOR_WINDOW_MIN: Duration = Duration::from_secs(60);

/// How often the past is remembered for the rate floor.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// How many times its body an attempt's even shares come to before it is overdue. Source: the same
/// table. TCP's own unfairness between connections on one line stays well below.
const OVERDUE_FACTOR: u64 = 8;

/// No attempt is overdue before. Source: the same table.
const OVERDUE_MIN: Duration = Duration::from_secs(60);

/// Silence that is long in any case: shorter ones are doubted nowhere. Source: the same table.
pub(crate) const SILENCE_MIN: Duration = Duration::from_secs(3);

/// How many times what is left of its body an attempt's even shares come to before its segment goes out
/// a second time. The second one takes an even share itself, so it costs what it may save when it
/// comes at twice.
const LAG_FACTOR: u64 = 2;

/// No attempt lags before: TCP needs some seconds to share a line.
const LAG_MIN: Duration = Duration::from_secs(4);

/// Most that the gap between two pulses counts: four times the usual gap, so that a busy machine's
/// late pulses count in full.
pub(crate) const GAP_MAX: Duration = Duration::from_secs(1);

/// What was seen of one attempt in flight.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    /// The last pulse, and when it came.
    pub(crate) last: Option<(Moment, Pulse)>,
    /// Observed time without a connection.
    pub(crate) connecting: Duration,
    /// Observed time of sending, without waits for our own limit.
    sending: Duration,
    /// The same since bytes were last acknowledged, and with the waits in which bytes are out.
    pub(crate) quiet: Duration,
    /// The other end's window was closed at some moment of that. Between two probes of the kernel's
    /// it may look open.
    was_closed: bool,
    /// The line was down at some moment of that.
    was_down: bool,
    /// Observed time since everything was acknowledged.
    answering: Duration,
    /// Observed time since anything happened, also while the line is known to be down.
    pub(crate) silence: Duration,
    /// Observed time since it began to wait for the source.
    pub(crate) hanging: Duration,
    /// That was said.
    pub(crate) hang_is_said: bool,
    /// Even shares of all that was acknowledged while this attempt was sending, in bytes.
    pub(crate) share: u64,
    /// How things stood when it last got a good part of its way, or moved again.
    stride: Stride,
    /// The last samples, as far back as the rate floor looks.
    past: VecDeque<Sample>,
    pub(crate) is_given_up: bool,
}

/// Where an attempt stood at a moment: what it does from there on is compared with the line.
#[derive(Clone, Copy, Debug, Default)]
struct Stride {
    /// Observed time of sending.
    at: Duration,
    share: u64,
    acknowledged: u64,
}

/// What a pulse showed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// By how much the acknowledged bytes rose.
    pub(crate) rise: u64,
    /// Something happened after so long a silence with bytes outstanding.
    pub(crate) silence_ended: Option<Duration>,
    /// It has had its connection since this pulse, which took so long.
    pub(crate) connected_after: Option<Duration>,
}

/// How things stood at one moment of sending.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    acknowledged: u64,
    share: u64,
    /// Acknowledged to all attempts of the upload.
    line: u64,
}

impl Watch {
    /// Bytes of the body that the other end has acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.last.map_or(0, |(_, pulse)| pulse.acknowledged_bytes)
    }

    /// How far the attempt is.
    pub(crate) fn stage(&self) -> Stage {
        self.last.map_or(Stage::Waiting, |(_, pulse)| pulse.stage)
    }

    /// Whether it was seen to wait for its turn.
    pub(crate) fn is_waiting(&self) -> bool {
        self.last
            .is_some_and(|(_, pulse)| pulse.stage == Stage::Waiting)
    }

    /// The shortest round trip of its connection.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.last.and_then(|(_, pulse)| pulse.round_trip)
    }

    /// Whether the other end did not read at some moment of the present silence.
    pub(crate) fn was_closed(&self) -> bool {
        self.was_closed
    }

    /// Observed time with bytes outstanding.
    pub(crate) fn sending(&self) -> Duration {
        self.sending
    }

    /// Observed time since everything was acknowledged.
    pub(crate) fn answering(&self) -> Duration {
        self.answering
    }

    /// Takes a pulse in. While the line is known to be down nobody is blamed for silence.
    pub(crate) fn see(&mut self, now: Moment, pulse: Pulse, is_down: bool) -> Seen {
        let before = self.acknowledged();
        let acknowledged_bytes = pulse.acknowledged_bytes.max(before);
        self.was_down |= is_down;
        let mut seen = Seen {
            rise: acknowledged_bytes - before,
            ..Seen::default()
        };
        if let Some((at, last)) = self.last {
            let passed = now.since(at).min(GAP_MAX);
            self.count(&last, passed, is_down);
            if last.stage == Stage::Connecting && pulse.stage > Stage::Connecting {
                seen.connected_after = Some(self.connecting);
            }
            if seen.rise > 0 || last.stage != pulse.stage || pulse.waits_for_source {
                let is_telling = last.stage == Stage::Sending && !self.was_down && !is_down;
                seen.silence_ended = is_telling.then_some(self.silence);
                self.moved();
            }
        }
        if !pulse.waits_for_source {
            self.hanging = Duration::ZERO;
            self.hang_is_said = false;
        }
        self.was_closed |= !pulse.peer_reads;
        let pulse = Pulse {
            acknowledged_bytes,
            ..pulse
        };
        self.last = Some((now, pulse));
        seen
    }

    fn count(&mut self, last: &Pulse, passed: Duration, is_down: bool) {
        let blamed = if is_down { Duration::ZERO } else { passed };
        match last.stage {
            _ if last.waits_for_source => {
                self.hanging += passed;
                return;
            }
            Stage::Waiting | Stage::Reading => return,
            Stage::Connecting => self.connecting += passed,
            Stage::Sending if last.rests() => return,
            Stage::Sending => {
                self.sending += if last.is_limited {
                    Duration::ZERO
                } else {
                    blamed
                };
                self.quiet += blamed;
            }
            Stage::Answering => self.answering += blamed,
        }
        self.silence += passed;
    }

    fn moved(&mut self) {
        if self.silence >= SILENCE_MIN {
            self.stride = self.stand();
        }
        self.silence = Duration::ZERO;
        self.quiet = Duration::ZERO;
        self.was_closed = false;
        self.was_down = false;
    }

    /// Whether it moves, and the line has carried for each attempt twice what is left of its body while
    /// it did not get half of that across.
    pub(crate) fn lags(&mut self, len: u64) -> bool {
        let now = self.stand();
        let left = len.saturating_sub(self.stride.acknowledged);
        if now.acknowledged - self.stride.acknowledged >= left / 2 {
            self.stride = now;
            return false;
        }
        let is_slow = now.share - self.stride.share > left.saturating_mul(LAG_FACTOR)
            && now.at - self.stride.at >= LAG_MIN;
        is_slow && self.silence < SILENCE_MIN && self.stage() == Stage::Sending
    }

    fn stand(&self) -> Stride {
        Stride {
            at: self.sending,
            share: self.share,
            acknowledged: self.acknowledged(),
        }
    }

    /// Whether bytes of it are on the line, or could be.
    pub(crate) fn is_sending(&self) -> bool {
        let waits = self.last.is_some_and(|(_, pulse)| pulse.waits_for_source);
        self.stage() == Stage::Sending && !waits
    }

    /// Why the attempt is to be given up now, if it is.
    pub(crate) fn over(
        &mut self,
        limits: &Limits,
        work: WorkKind,
        line: u64,
        is_down: bool,
    ) -> Option<Failure> {
        let over = match self.stage() {
            _ if is_down => None,
            Stage::Waiting | Stage::Connecting | Stage::Reading => None,
            Stage::Sending => self
                .stalled(limits)
                .or_else(|| self.trickles(limits, line))
                .or_else(|| self.overdue(limits, work)),
            Stage::Answering => self.unanswered(limits, work),
        };
        over.or_else(|| self.past_hard_limit(limits, work))
    }

    fn stalled(&self, limits: &Limits) -> Option<Failure> {
        if self.quiet < limits.stall_timeout {
            return None;
        }
        let how_long = seconds(limits.stall_timeout);
        Some(match self.was_closed {
            false => Failure::new(
                FailureKind::Stalled,
                format!("nothing was acknowledged for {how_long} (stall_timeout)"),
            ),
            true => Failure::new(
                FailureKind::NotReading,
                format!(
                    "the other end does not read: nothing was acknowledged for {how_long} \
                     (stall_timeout)"
                ),
            ),
        })
    }

    fn trickles(&mut self, limits: &Limits, line: u64) -> Option<Failure> {
        // A silence that the stall limit forgives must leave enough of the window to be one.
        let window = FLOOR_WINDOW_MIN.max(limits.stall_timeout.saturating_mul(2));
        let now = Sample {
            at: self.sending,
            acknowledged: self.acknowledged(),
            share: self.share,
            line,
        };
        let last = self.past.back().map(|sample| sample.at);
        if last.is_none_or(|at| now.at >= at + SAMPLE_EVERY) {
            self.past.push_back(now);
        }
        let is_old = |sample: &Sample| sample.at + window <= now.at;
        while self.past.get(1).is_some_and(is_old) {
            self.past.pop_front();
        }
        let then = *self.past.front().filter(|sample| is_old(sample))?;
        let floor = limits
            .min_rate_bytes_per_s
            .saturating_mul((now.at - then.at).as_secs());
        let moved = now.acknowledged - then.acknowledged;
        let line_is_below = now.line - then.line < floor;
        // The shares from the next sample on: what others carried in the rest of the first one's
        // moment is not held against this attempt.
        let first = self.past.get(1).unwrap_or(&then);
        let is_left_behind = moved < (now.share - first.share) / OVERDUE_FACTOR;
        (moved < floor && (line_is_below || is_left_behind)).then(|| {
            let what = format!(
                "only {moved} bytes were acknowledged in {} (min_rate is {} bytes a second)",
                seconds(now.at - then.at),
                limits.min_rate_bytes_per_s
            );
            Failure::new(FailureKind::Trickle, what)
        })
    }

    /// The automatic part timeout.
    fn overdue(&self, limits: &Limits, work: WorkKind) -> Option<Failure> {
        let WorkKind::Segment { len, .. } = work else {
            return None;
        };
        let due = self.share > len.saturating_mul(OVERDUE_FACTOR) && self.sending >= OVERDUE_MIN;
        (due && limits.part_timeout.is_none()).then(|| {
            let what = format!(
                "{} of {len} bytes in {}, while the line carried {OVERDUE_FACTOR} times as much for \
                 each connection (part_timeout is automatic)",
                self.acknowledged(),
                seconds(self.sending)
            );
            Failure::new(FailureKind::TimedOut, what)
        })
    }

    fn unanswered(&self, limits: &Limits, work: WorkKind) -> Option<Failure> {
        let (limit, setting) = match work {
            WorkKind::Commit => (limits.commit_timeout, "commit_timeout"),
            _ => (limits.response_timeout, "response_timeout"),
        };
        (self.answering >= limit).then(|| {
            let how_long = seconds(limit);
            let what = format!(
                "everything was acknowledged, and no answer came for {how_long} ({setting})"
            );
            Failure::new(FailureKind::TimedOut, what)
        })
    }

    fn past_hard_limit(&self, limits: &Limits, work: WorkKind) -> Option<Failure> {
        let limit = limits.part_timeout?;
        let is_segment = matches!(work, WorkKind::Segment { .. });
        (is_segment && self.sending + self.answering >= limit).then(|| {
            let what = format!("not done after {} (part_timeout)", seconds(limit));
            Failure::new(FailureKind::TimedOut, what)
        })
    }
}

/// `time` for people.
pub(crate) fn seconds(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
