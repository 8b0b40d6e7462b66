//! What must hold on a row, and whether it does.

use std::path::Path;
use std::time::Duration;

use crate::contestant::Contestant;
use crate::outcome::Outcome;
use crate::row::Row;

/// Something that must hold for haul, beside that every run is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Must {
    /// Done, and no more is asked.
    BeDone,
    /// The wall is at most, or at least, so many times what is possible.
    Wall(f64),
    WallFrom(f64),
    /// The wall is at most so many seconds longer than what is possible.
    Extra(f64),
    /// Bodies are at most so many times the file.
    Body(f64),
    /// The same for the second of two uploads, of whose requests none fails: it knows what passes.
    SecondBody(f64),
    /// A byte passes at most so many seconds after the line's return; the second where the kernel
    /// can limit the time between retransmissions (Linux 6.15).
    Back(f64, f64),
    /// None of a process's uploads stood still for more than so many seconds.
    Silence(f64),
}

/// Where a kernel that limits the time between retransmissions shows it.
const RTO_MAX: &str = "/proc/sys/net/ipv4/tcp_rto_max_ms";

/// All runs of one contestant on one row, as one: the mean where seeds make them differ, else the
/// median.
pub(crate) struct Summary<'a> {
    pub(crate) runs: Vec<&'a Outcome>,
    pub(crate) wall_s: f64,
    /// What a perfect uploader could reach, where the plain socket came through.
    pub(crate) possible_s: Option<f64>,
    pub(crate) body: Option<f64>,
    pub(crate) second_body: Option<f64>,
    pub(crate) second_failed: Option<f64>,
    pub(crate) back_s: Option<f64>,
    pub(crate) silence_s: Option<f64>,
    pub(crate) cpu_s: f64,
    pub(crate) memory_mib: f64,
}

impl<'a> Summary<'a> {
    /// None where the contestant did not run on the row.
    pub(crate) fn new(row: &Row, contestant: Contestant, outcomes: &'a [Outcome]) -> Option<Self> {
        let of = |contestant| {
            let all = outcomes.iter();
            let mine = all.filter(move |it| it.row == row.name && it.contestant == contestant);
            mine.collect::<Vec<&Outcome>>()
        };
        let runs = of(contestant);
        let first = *runs.first()?;
        let middle: fn(Vec<f64>) -> f64 = if row.seeds > 1 { mean } else { median };
        let one =
            |value: &dyn Fn(&Outcome) -> f64| middle(runs.iter().map(|run| value(run)).collect());
        let some = |value: &dyn Fn(&Outcome) -> Option<f64>| {
            let all: Option<Vec<f64>> = runs.iter().map(|run| value(run)).collect();
            all.map(middle)
        };
        let raw = of(Contestant::Raw);
        let raw = raw.iter().filter(|run| run.verdict.is_done());
        let raw: Vec<f64> = raw.map(|run| run.wall.as_secs_f64()).collect();
        let raw = (!raw.is_empty()).then(|| Duration::from_secs_f64(middle(raw)));
        let size = first.size as f64;
        Some(Self {
            wall_s: one(&|run| run.wall.as_secs_f64()),
            possible_s: raw.map(|raw| row.possible(raw).as_secs_f64()),
            body: some(&|run| Some(run.body_bytes? as f64 / size)),
            second_body: some(&|run| Some(run.more.second?.body_bytes as f64 / size)),
            second_failed: some(&|run| Some(run.more.second?.failed_requests as f64)),
            back_s: some(&|run| Some(run.more.back()?.as_secs_f64())),
            silence_s: some(&|run| Some(run.more.silence()?.as_secs_f64())),
            cpu_s: one(&|run| run.cpu_s),
            memory_mib: one(&|run| run.memory_mib),
            runs,
        })
    }

    /// Whether every run was done: the wall of a failure is no achievement.
    pub(crate) fn is_done(&self) -> bool {
        self.runs.iter().all(|run| run.verdict.is_done())
    }

    /// The wall as a multiple of what is possible, and what it is more in seconds.
    pub(crate) fn against_possible(&self) -> Option<(f64, f64)> {
        let possible = self.possible_s.filter(|_| self.is_done())?;
        Some((self.wall_s / possible, self.wall_s - possible))
    }

    /// What of `must` does not hold, in words.
    pub(crate) fn misses(&self, must: &[Must]) -> Vec<String> {
        if !must.is_empty() && !self.is_done() {
            return vec!["not done".to_owned()];
        }
        must.iter().filter_map(|must| self.miss(*must)).collect()
    }

    fn miss(&self, must: Must) -> Option<String> {
        let at_most = |what: &str, value: Option<f64>, limit: f64| match value {
            Some(value) if value <= limit => None,
            Some(value) => Some(format!("{what} {value:.3} > {limit}")),
            None => Some(format!("{what} not known")),
        };
        let (ratio, extra) = self.against_possible().unzip();
        match must {
            Must::BeDone => None,
            Must::Wall(limit) => at_most("wall", ratio.map(thousandths), limit),
            Must::WallFrom(limit) => match ratio {
                Some(ratio) if ratio < limit => Some(format!("wall {ratio:.3} < {limit}")),
                _ => None,
            },
            Must::Extra(limit) => at_most("extra s", extra, limit),
            Must::Body(limit) => at_most("body", self.body.map(thousandths), limit),
            Must::SecondBody(limit) => at_most("second body", self.second_body, limit)
                .or_else(|| at_most("second's failed requests", self.second_failed, 0.0)),
            Must::Back(limit, limit_with_option) => {
                let has_option = Path::new(RTO_MAX).exists();
                let limit = if has_option { limit_with_option } else { limit };
                at_most("back after s", self.back_s, limit)
            }
            Must::Silence(limit) => at_most("silence s", self.silence_s, limit),
        }
    }
}

/// Whether what must hold is asked of this contestant.
pub(crate) fn is_judged(contestant: Contestant) -> bool {
    matches!(contestant, Contestant::Haul | Contestant::Library)
}

/// As many digits as the table shows.
fn thousandths(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn mean(values: Vec<f64>) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The middle one; of an even number the lower of both.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values
        .get(values.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}
