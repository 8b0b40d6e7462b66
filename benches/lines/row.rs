//! A row of the table: what it is made of, and what follows from that.

use std::time::Duration;

use crate::bounds::Must;
use crate::contestant::Contestant::{self, Curl, Haul, Node, Python, Raw};
use crate::fate::{Hop, LineFault};
use crate::network::{self, Shape};
use crate::possible;

/// The five that run wherever it is not said otherwise.
const ALL: &[Contestant] = &[Raw, Haul, Curl, Python, Node];

/// Up to this rate several rows run beside one another on a small machine: at 8 Mbit/s one costs a
/// twentieth of a processor, bench and hop included (measured).
const FAST_BITS_PER_S: u64 = 10_000_000;

/// One row: a line, what goes wrong, what is sent, how and by whom, and what must hold.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) story: &'static str,
    /// Of all files together.
    pub(crate) size: u64,
    /// None: over loopback, as fast as the machine.
    pub(crate) line: Option<Shape>,
    /// Hosts of the server, each with an address of its own.
    pub(crate) hosts: usize,
    /// Fault plans that the server follows one after the other: from so many seconds after the start
    /// on, in TOML.
    pub(crate) plans: Vec<(u64, String)>,
    /// Further flags of haul; none but where the row is about them.
    pub(crate) haul_flags: &'static [&'static str],
    /// What haul is told to send at most; a flag says it, too.
    pub(crate) limit_bytes_per_s: Option<u64>,
    pub(crate) play: Play,
    pub(crate) contestants: &'static [Contestant],
    /// How often it is run, each time with another seed of what is random; then the mean counts.
    pub(crate) seeds: u64,
    /// What must hold for haul.
    pub(crate) must: Vec<Must>,
}

/// How haul is run. Whoever else runs sends the whole file once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Play {
    /// One process, one file.
    Once,
    /// Killed when so many per cent are acknowledged, and each time run again.
    Killed(&'static [u64]),
    /// Two uploads of the file, one process after the other, with the same state.
    Twice,
    /// The library sends so many files of equal size in one process, one after the other.
    InTurn(u64),
    /// The same at once.
    AtOnce(u64),
}

impl Row {
    /// A row with nothing but a rate and a queue.
    pub(crate) fn plain(
        name: &'static str,
        story: &'static str,
        size: u64,
        rate: u64,
        queue: u64,
    ) -> Self {
        Self {
            name,
            story,
            size,
            line: Some(Shape {
                bits_per_s: rate,
                queue_bytes: queue,
                hop: Hop {
                    seed: 1,
                    ..Hop::default()
                },
            }),
            hosts: 1,
            plans: Vec::new(),
            haul_flags: &[],
            limit_bytes_per_s: None,
            play: Play::Once,
            contestants: ALL,
            seeds: 1,
            must: Vec::new(),
        }
    }

    /// The same with latency and loss.
    pub(crate) fn far(mut self, one_way_ms: u64, loss: f64) -> Self {
        if let Some(line) = &mut self.line {
            (line.hop.one_way_ms, line.hop.loss) = (one_way_ms, loss);
        }
        self
    }

    /// The same with a fault on its line.
    pub(crate) fn fault(mut self, fault: LineFault) -> Self {
        if let Some(line) = &mut self.line {
            line.hop.fault = Some(fault);
        }
        self
    }

    /// The same with a server that follows `plan` from so many seconds on.
    pub(crate) fn plan(mut self, from_s: u64, plan: impl Into<String>) -> Self {
        self.plans.push((from_s, plan.into()));
        self
    }

    /// The same with what must hold.
    pub(crate) fn must(mut self, must: &[Must]) -> Self {
        self.must = must.to_vec();
        self
    }

    /// The same with so many seeds.
    pub(crate) fn seeds(self, seeds: u64) -> Self {
        Self { seeds, ..self }
    }

    /// The same with another way to run haul, and without the peers.
    pub(crate) fn play(self, play: Play, contestants: &'static [Contestant]) -> Self {
        Self {
            play,
            contestants,
            ..self
        }
    }

    /// The same line with this seed.
    pub(crate) fn with_seed(&self, seed: u64) -> Self {
        let mut row = self.clone();
        if let Some(line) = &mut row.line {
            line.hop.seed = seed;
        }
        row
    }

    /// How many files the library sends.
    pub(crate) fn files(&self) -> u64 {
        match self.play {
            Play::InTurn(count) | Play::AtOnce(count) => count,
            Play::Once | Play::Killed(_) | Play::Twice => 1,
        }
    }

    /// The time that the bytes alone need, where the line has a rate that lasts.
    pub(crate) fn line_time(&self) -> Duration {
        let Some(line) = &self.line else {
            return Duration::ZERO;
        };
        let time = |bytes: u64, rate: u64| bytes as f64 * 8.0 / rate as f64;
        let seconds = match line.hop.fault {
            Some(LineFault::RateFalls {
                after_bytes,
                bits_per_s,
            }) => {
                let fast = time(after_bytes, line.bits_per_s);
                fast + time(self.size.saturating_sub(after_bytes), bits_per_s)
            }
            _ => time(self.size, line.bits_per_s),
        };
        Duration::from_secs_f64(seconds)
    }

    /// What a perfect uploader needs where a plain socket needs `raw`.
    pub(crate) fn possible(&self, raw: Duration) -> Duration {
        let fault = self.line.as_ref().and_then(|line| line.hop.fault);
        let limited = self.limit_bytes_per_s.map_or(Duration::ZERO, |limit| {
            Duration::from_secs_f64(self.size as f64 / limit as f64)
        });
        possible::possible(raw, fault).max(limited)
    }

    /// When a contestant is stopped: nothing here takes longer by right.
    pub(crate) fn limit(&self) -> Duration {
        self.possible(self.line_time()) * 2 + Duration::from_secs(180)
    }

    /// Whether the processor, not the line, may be what is measured when it does other things beside.
    pub(crate) fn is_fast(&self) -> bool {
        let rate = self.line.as_ref().map(|line| line.bits_per_s);
        rate.is_none_or(|rate| rate > FAST_BITS_PER_S)
    }

    /// What this machine lacks for it.
    pub(crate) fn lacks(&self) -> Option<String> {
        self.line.as_ref().and_then(|_| network::lacks())
    }

    /// The same without what goes wrong by plan. Latency and loss are the line's own, and so is a
    /// rate that falls: a plain socket goes through it.
    pub(crate) fn without_faults(&self) -> Self {
        let mut row = self.clone();
        row.plans.clear();
        if let Some(line) = &mut row.line {
            let is_own = |fault: &LineFault| matches!(fault, LineFault::RateFalls { .. });
            line.hop.fault = line.hop.fault.filter(is_own);
        }
        row
    }

    /// The same with an eighth of the bytes, for a quick look.
    pub(crate) fn quick(mut self) -> Self {
        self.size /= 8;
        let fault = self.line.as_mut().and_then(|line| line.hop.fault.as_mut());
        match fault {
            Some(
                LineFault::BlackHole { after_bytes }
                | LineFault::Dead { after_bytes, .. }
                | LineFault::RateFalls { after_bytes, .. },
            ) => *after_bytes /= 8,
            Some(LineFault::Resets { mean_bytes }) => *mean_bytes /= 8,
            Some(
                LineFault::CutOff { .. } | LineFault::Flapping { .. } | LineFault::Swallows { .. },
            )
            | None => {}
        }
        self
    }
}
