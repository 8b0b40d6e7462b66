//! The line that all connections share: a rate that may change and a latency each way, and times at
//! which it is down.

use std::time::{Duration, Instant};

/// How much a direction may catch up when a timer woke it late.
const CREDIT: Duration = Duration::from_millis(20);

/// Time of the line that one piece takes: the grain in which connections take turns.
const GRAIN: Duration = Duration::from_millis(40);

/// Bounds of a piece, in bytes.
const PIECE_LEN: (u64, u64) = (512, 64 * 1024);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// The line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Bits per second, each way, until the first of `changes`.
    rate: u64,
    /// From when on it carries so many bits per second; in order.
    pub(super) changes: Vec<(Instant, u64)>,
    /// A round trip.
    pub(super) latency: Duration,
    /// From when to when nothing moves; in order, not overlapping.
    pub(super) outages: Vec<(Instant, Instant)>,
    free_up: Option<Instant>,
    free_down: Option<Instant>,
}

impl Line {
    pub(super) fn new(rate: u64, latency: Duration) -> Self {
        Self {
            rate,
            changes: Vec::new(),
            latency,
            outages: Vec::new(),
            free_up: None,
            free_down: None,
        }
    }

    /// The first moment from `at` on at which the line is up.
    pub(super) fn up_from(&self, at: Instant) -> Instant {
        let mut at = at;
        for (from, until) in &self.outages {
            if (*from..*until).contains(&at) {
                at = *until;
            }
        }
        at
    }

    /// Takes `len` bytes at `now`; says when the last of them has passed. They go one after the
    /// other, whosever they are.
    pub(super) fn pass(&mut self, way: Way, now: Instant, len: u64) -> Instant {
        let rate = self.rate_at(now);
        let time = Duration::from_nanos(len.saturating_mul(8_000_000_000) / rate);
        let free = match way {
            Way::Up => &mut self.free_up,
            Way::Down => &mut self.free_down,
        };
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        let passed = free.map_or(now, |free| free.max(earliest)) + time;
        *free = Some(passed);
        passed
    }

    /// How many bytes go at once.
    pub(super) fn piece_len(&self, now: Instant) -> u64 {
        self.bytes_in(now, GRAIN).clamp(PIECE_LEN.0, PIECE_LEN.1)
    }

    /// How many bytes a round trip holds.
    pub(super) fn in_round_trip(&self, now: Instant) -> u64 {
        self.bytes_in(now, self.latency)
    }

    fn rate_at(&self, now: Instant) -> u64 {
        let past = self.changes.iter().rev().find(|(from, _)| *from <= now);
        past.map_or(self.rate, |(_, rate)| *rate)
    }

    fn bytes_in(&self, now: Instant, time: Duration) -> u64 {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.rate_at(now).saturating_mul(millis) / 8_000
    }
}
