//! What came of one run.

use std::time::Duration;

use crate::contestant::Contestant;
use crate::fate::News;

/// What one contestant did on one row.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) row: &'static str,
    pub(crate) contestant: Contestant,
    /// Of everything random on the line.
    pub(crate) seed: u64,
    pub(crate) verdict: Verdict,
    /// Of all processes together, where it was killed and run again.
    pub(crate) wall: Duration,
    /// Bytes of bodies that the server read; plain sockets have no bodies.
    pub(crate) body_bytes: Option<u64>,
    pub(crate) size: u64,
    pub(crate) cpu_s: f64,
    pub(crate) memory_mib: f64,
    /// What the row is about, beyond that.
    pub(crate) more: More,
}

/// What only some rows have.
#[derive(Clone, Debug, Default)]
pub(crate) struct More {
    /// What went wrong on the line by plan, and when.
    pub(crate) news: Vec<News>,
    /// The second of two uploads.
    pub(crate) second: Option<Second>,
    /// Bytes that were acknowledged when it was killed.
    pub(crate) kills: Vec<u64>,
    /// Each upload of a process with several, in the order of their ends.
    pub(crate) uploads: Vec<Upload>,
}

/// The second upload of a row that has two.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Second {
    /// Bytes of its bodies that the server read.
    pub(crate) body_bytes: u64,
    /// Its requests that failed: none, when the first upload has taught what passes.
    pub(crate) failed_requests: u64,
}

/// One upload of several in a process.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Upload {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// From the process's first call to its own begin and end.
    pub(crate) began_ms: u64,
    pub(crate) ended_ms: u64,
    /// Longest time in which nothing of it was acknowledged.
    pub(crate) silence_ms: u64,
    /// What it met, if it failed.
    pub(crate) error: Option<String>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It reported success, and the object is the file.
    Done,
    /// It reported a failure: its last words.
    Failed(String),
    /// It had to be stopped.
    Hangs,
    /// It reported success, and the object is another, or there is none.
    Wrong,
    /// The row could not be run.
    NotRun(String),
}

impl Verdict {
    pub(crate) fn is_done(&self) -> bool {
        *self == Self::Done
    }
}

impl More {
    /// From the line's return to the first byte that passed.
    pub(crate) fn back(&self) -> Option<Duration> {
        self.news.iter().find_map(|news| match news {
            News::Back { ms } => Some(Duration::from_millis(*ms)),
            News::Fault(_) | News::Reset { .. } | News::RateFalls { .. } => None,
        })
    }

    /// The longest silence of any of the uploads.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let longest = self.uploads.iter().map(|upload| upload.silence_ms).max();
        longest.map(Duration::from_millis)
    }

    /// All of it in words.
    pub(crate) fn words(&self) -> String {
        let s = |ms: u64| ms as f64 / 1_000.0;
        let mut words: Vec<String> = Vec::new();
        let is_reset = |news: &&News| matches!(news, News::Reset { .. });
        let resets = self.news.iter().filter(is_reset).count();
        if resets > 0 {
            words.push(format!("{resets} resets"));
        }
        for news in &self.news {
            words.push(match news {
                News::Reset { .. } => continue,
                News::Fault(what) => what.clone(),
                News::RateFalls { bits_per_s } => format!("the rate falls to {bits_per_s} bit/s"),
                News::Back { ms } => format!("first byte {:.2} s after its return", s(*ms)),
            });
        }
        for at in &self.kills {
            words.push(format!("killed at {at} bytes"));
        }
        if !self.uploads.is_empty() {
            let each = self.uploads.iter().map(|upload| {
                let ran = upload.ended_ms.saturating_sub(upload.began_ms);
                format!("#{} {:.1}", upload.number, s(ran))
            });
            let each: Vec<String> = each.collect();
            words.push(format!("each took, s: {}", each.join(" ")));
        }
        if let Some(silence) = self.silence() {
            words.push(format!("longest silence {:.1} s", silence.as_secs_f64()));
        }
        words.join(", ")
    }
}
