//! Where an upload stands, in words and as a bar. Pure: time is an argument, and counts from any
//! fixed moment.

use std::time::Duration;

use crate::cli::progress::pace::Pace;
use crate::config::Config;
use crate::error::words::{seconds_in_words, size};

/// Silence that is worth a word. Shorter ones are ordinary on slow lines.
const QUIET: Duration = Duration::from_secs(5);

/// Longest bar, in columns between its brackets: what 80 columns leave it beside the longest numbers
/// that are usual, so that it does not change its length as they do.
const BAR_MAX: usize = 20;

/// Shortest one; with less room there is none.
const BAR_MIN: usize = 10;

/// How long the upload waits for what before it gives a connection up: the settings, for telling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// `stall_timeout`.
    pub(crate) stall: Duration,
    /// `response_timeout`.
    pub(crate) response: Duration,
    /// `commit_timeout`.
    pub(crate) commit: Duration,
}

impl Patience {
    /// What the settings say.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            stall: config.stall_timeout,
            response: config.response_timeout,
            commit: config.commit_timeout,
        }
    }
}

/// Where an upload stands.
#[derive(Clone, Debug)]
pub(super) struct View {
    patience: Patience,
    /// When the program began; then, when the upload did.
    since: Duration,
    begun: bool,
    size: u64,
    safe: u64,
    /// Never falls, even if the service loses what it had: a bar does not run backwards.
    acknowledged: u64,
    pace: Pace,
    /// Since when nothing was acknowledged; for a fresh attempt, since it may begin.
    quiet_since: Duration,
    retry: Option<Retry>,
}

/// What the upload met last, until something moves again.
#[derive(Clone, Debug)]
struct Retry {
    until: Duration,
    reason: String,
    /// Number of the attempt that comes.
    attempt: u32,
}

/// What there is to say beside the numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State<'a> {
    /// Hosts are asked for, the journal is read: no byte has gone yet.
    Preparing,
    /// Bytes are acknowledged, or were a moment ago.
    Moving,
    /// The same, and all bytes are acknowledged.
    Finishing,
    /// Nothing is being sent before this wait is over.
    Waiting {
        left: Duration,
        reason: &'a str,
        attempt: u32,
    },
    /// The wait is over, and nothing was acknowledged since.
    Again { reason: &'a str, attempt: u32 },
    /// Nothing was acknowledged for a while.
    Quiet { silence: Duration, limit: Duration },
    /// All bytes are acknowledged, and the answer does not come.
    Unanswered { silence: Duration, limit: Duration },
}

impl View {
    pub(super) fn new(now: Duration, patience: Patience) -> Self {
        Self {
            patience,
            since: now,
            begun: false,
            size: 0,
            safe: 0,
            acknowledged: 0,
            pace: Pace::new(now),
            quiet_since: now,
            retry: None,
        }
    }

    /// An upload of `size` bytes begins; `safe` of them an earlier run has stored.
    pub(super) fn begin(&mut self, now: Duration, size: u64, safe: u64) {
        self.begun = true;
        self.size = size;
        self.safe = safe.min(size);
        self.acknowledged = self.safe.max(self.acknowledged).min(size);
        self.pace = Pace::new(now);
        self.quiet_since = now;
        self.retry = None;
        self.since = now;
    }

    /// So many bytes are safe, so many acknowledged.
    pub(super) fn advance(&mut self, now: Duration, safe: u64, acknowledged: u64) {
        self.safe = safe.min(self.size);
        let acknowledged = acknowledged.max(safe).min(self.size);
        if acknowledged <= self.acknowledged {
            return;
        }
        self.pace.add(now, acknowledged - self.acknowledged);
        self.acknowledged = acknowledged;
        self.quiet_since = now;
        self.retry = None;
    }

    /// Attempt `attempt` follows after `wait`, because of `reason`.
    pub(super) fn retry(&mut self, now: Duration, wait: Duration, attempt: u32, reason: &str) {
        let until = now + wait;
        self.quiet_since = self.quiet_since.max(until);
        self.retry = Some(Retry {
            until,
            reason: reason.to_owned(),
            attempt,
        });
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.begun.then_some(self.size)
    }

    /// What the next run need not send again.
    pub(super) fn safe(&self) -> u64 {
        self.safe
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Bytes a second; none while unknown.
    pub(super) fn bytes_per_s(&self, now: Duration) -> Option<u64> {
        self.begun.then(|| self.pace.bytes_per_s(now)).flatten()
    }

    /// How long it still takes; none while that cannot be told.
    pub(super) fn time_left(&self, now: Duration) -> Option<Duration> {
        let rest = self.size - self.acknowledged;
        let pace = self.bytes_per_s(now).filter(|pace| *pace > 0)?;
        let moves = self.state(now) == State::Moving;
        moves.then(|| Duration::from_secs(rest.div_ceil(pace)))
    }

    pub(super) fn state(&self, now: Duration) -> State<'_> {
        if !self.begun {
            return State::Preparing;
        }
        let silence = now.saturating_sub(self.quiet_since);
        let is_whole = self.acknowledged == self.size;
        match &self.retry {
            Some(retry) if now < retry.until => State::Waiting {
                left: retry.until - now,
                reason: &retry.reason,
                attempt: retry.attempt,
            },
            _ if silence >= QUIET && is_whole => State::Unanswered {
                silence,
                limit: match self.safe == self.size {
                    true => self.patience.commit,
                    false => self.patience.response,
                },
            },
            _ if silence >= QUIET => State::Quiet {
                silence,
                limit: self.patience.stall,
            },
            Some(retry) => State::Again {
                reason: &retry.reason,
                attempt: retry.attempt,
            },
            None if is_whole => State::Finishing,
            None => State::Moving,
        }
    }

    /// What a terminal of `width` columns shows: the bar, and below it what there is to say. Each
    /// line has at most `width` columns, as far as its characters have one each.
    pub(super) fn bar(&self, now: Duration, width: usize) -> Vec<String> {
        let state = self.state(now);
        if state == State::Preparing {
            return vec![cut(preparing(now.saturating_sub(self.since)), width)];
        }
        let mut numbers = format!(" {:>3} %  {}", self.percent(), self.done());
        if matches!(state, State::Moving | State::Finishing) {
            for more in self.pace_and_rest(now, &state) {
                numbers = format!("{numbers}  {more}");
            }
        }
        let room = width.saturating_sub(numbers.chars().count() + 2);
        if room >= BAR_MIN {
            numbers = format!("[{}]{numbers}", self.filled(room.min(BAR_MAX)));
        }
        let mut lines = vec![cut(numbers, width)];
        lines.extend(in_words(&state).map(|words| cut(words, width)));
        lines
    }

    /// The same as one line, for where there is no terminal.
    pub(super) fn plain(&self, now: Duration) -> String {
        let state = self.state(now);
        if state == State::Preparing {
            return preparing(now.saturating_sub(self.since));
        }
        let mut line = format!("{} ({} %)", self.done(), self.percent());
        let words = match in_words(&state) {
            Some(words) => vec![words],
            None => self.pace_and_rest(now, &state),
        };
        for word in words {
            line = format!("{line}, {word}");
        }
        line
    }

    /// Whole percents; 100 only when nothing is missing.
    fn percent(&self) -> u64 {
        let percent = u128::from(self.acknowledged) * 100 / u128::from(self.size.max(1));
        match self.size {
            0 => 100,
            _ => u64::try_from(percent).unwrap_or(100),
        }
    }

    fn done(&self) -> String {
        format!("{} of {}", size(self.acknowledged), size(self.size))
    }

    fn pace_and_rest(&self, now: Duration, state: &State<'_>) -> Vec<String> {
        let pace = self.bytes_per_s(now);
        let mut words: Vec<String> = pace
            .map(|pace| format!("{}/s", size(pace)))
            .into_iter()
            .collect();
        if *state == State::Finishing {
            words.push("finishing".to_owned());
        }
        let left = self.time_left(now);
        words.extend(left.map(|left| format!("{} left", seconds_in_words(left.as_secs()))));
        words
    }

    /// The inside of a bar of `room` columns.
    fn filled(&self, room: usize) -> String {
        let share = u128::from(self.acknowledged) * room as u128 / u128::from(self.size.max(1));
        let full = if self.size == 0 { room } else { share as usize };
        let mut inside = "=".repeat(full);
        if full < room {
            inside.push('>');
        }
        // ASCII: some terminals draw blocks and lines two columns wide, and the bar would wrap.
        format!("{inside:<room$}")
    }
}

/// What a state says in words; nothing when all goes well.
fn in_words(state: &State<'_>) -> Option<String> {
    let seconds = |time: &Duration| seconds_in_words(time.as_secs());
    match state {
        State::Preparing | State::Moving | State::Finishing => None,
        State::Waiting {
            left,
            reason,
            attempt,
        } => Some(format!(
            "retrying in {}: {reason} (attempt {attempt})",
            // A countdown ends with 1, not with a second of 0.
            seconds_in_words(left.as_secs() + u64::from(left.subsec_millis() > 0))
        )),
        State::Again { reason, attempt } => Some(format!("attempt {attempt}, after: {reason}")),
        State::Quiet { silence, limit } => {
            let mut words = format!("no acknowledgement for {}", seconds(silence));
            if silence < limit {
                let limit = seconds(limit);
                words.push_str(&format!("; this connection is given up at {limit}"));
            }
            Some(words)
        }
        State::Unanswered { silence, limit } => {
            let mut words = format!("all is sent, no answer for {}", seconds(silence));
            if silence < limit {
                words.push_str(&format!("; it is waited for until {}", seconds(limit)));
            }
            Some(words)
        }
    }
}

/// What is said before the first byte.
fn preparing(silence: Duration) -> String {
    match silence < QUIET {
        true => "preparing".to_owned(),
        false => format!("preparing for {}", seconds_in_words(silence.as_secs())),
    }
}

/// `text` in at most `width` columns.
fn cut(text: String, width: usize) -> String {
    console::truncate_str(&text, width, "…").into_owned()
}
