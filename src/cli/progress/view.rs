//! Where an upload stands, in words and as a bar. Pure: time is an argument, and counts from any
//! fixed moment.

use std::time::Duration;

use crate::cli::progress::pace::Pace;
use crate::config::Config;
use crate::error::words::{seconds_in_words, size};
use crate::model::Stage;

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
    /// None for a stream that may have any length.
    size: Option<u64>,
    safe: u64,
    /// Never falls, even if the service loses what it had: a bar does not run backwards.
    acknowledged: u64,
    /// What of it is acknowledged now: less where attempts broke and send their bytes again.
    present: u64,
    /// An attempt broke: `present` may fall until it has caught up.
    broke: bool,
    /// What is waited for.
    stage: Stage,
    is_form: bool,
    pace: Pace,
    /// Since when nothing was acknowledged; for a fresh attempt, since it may begin.
    quiet_since: Duration,
    /// Since when nothing passes, while the line is down.
    down_since: Option<Duration>,
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

/// How far an upload has come, as it is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) safe: u64,
    pub(crate) acknowledged: u64,
    /// Acknowledged once, and to be sent again.
    pub(crate) lost: u64,
    pub(crate) stage: Stage,
    /// Of all of it, where that is known.
    pub(crate) size: Option<u64>,
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
    /// No connection opens to anywhere.
    Down { silence: Duration },
    /// Others have the line.
    Queued { silence: Duration },
    /// There is no connection yet.
    Connecting { silence: Duration },
    /// The source gives nothing more.
    Reading { silence: Duration },
    /// What was acknowledged before goes again.
    Repeating { left: u64 },
    /// Nothing was acknowledged for a while.
    Quiet { silence: Duration, limit: Duration },
    /// All that was sent is acknowledged, and the answer does not come.
    Unanswered { silence: Duration, limit: Duration },
}

impl View {
    pub(super) fn new(now: Duration, patience: Patience) -> Self {
        Self {
            patience,
            since: now,
            begun: false,
            size: None,
            safe: 0,
            acknowledged: 0,
            present: 0,
            broke: false,
            stage: Stage::Connecting,
            is_form: false,
            pace: Pace::new(now),
            quiet_since: now,
            down_since: None,
            retry: None,
        }
    }

    /// Nothing has passed since then, and no connection opens.
    pub(super) fn line_down(&mut self, since: Duration) {
        self.down_since = Some(since);
    }

    /// The line is back.
    pub(super) fn line_up(&mut self) {
        self.down_since = None;
    }

    /// An upload of `size` bytes, if that is known, begins; `safe` of them an earlier run has stored. `is_form`: it is
    /// one request, which is its own commit.
    pub(super) fn begin(&mut self, now: Duration, size: Option<u64>, safe: u64, is_form: bool) {
        self.begun = true;
        self.size = size;
        self.safe = self.bounded(safe);
        self.acknowledged = self.bounded(self.safe.max(self.acknowledged));
        self.present = self.safe;
        self.broke = self.present < self.acknowledged;
        self.stage = Stage::Connecting;
        self.is_form = is_form;
        self.pace = Pace::new(now);
        self.quiet_since = now;
        self.retry = None;
        self.since = now;
    }

    /// The upload has come so far.
    pub(super) fn advance(&mut self, now: Duration, heard: Heard) {
        self.size = self.size.or(heard.size);
        self.safe = self.bounded(heard.safe);
        let acknowledged = self.bounded(heard.acknowledged.max(heard.safe));
        self.acknowledged = self.acknowledged.max(acknowledged);
        let present = acknowledged.saturating_sub(heard.lost).max(self.safe);
        if self.stage != heard.stage {
            // Another wait begins, with a limit of its own.
            self.quiet_since = self.quiet_since.max(now);
            self.stage = heard.stage;
        }
        if present > self.present {
            self.pace.add(now, present - self.present);
            self.present = present;
            self.quiet_since = now;
            self.retry = None;
        } else if self.broke {
            self.present = present;
        }
        self.broke &= self.present < self.acknowledged;
    }

    /// An attempt broke: what it had may have to be sent again.
    pub(super) fn broken(&mut self) {
        self.broke = true;
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

    /// Whether there is an upload.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// How long its object is, where that is known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// `bytes`, and no more than there are.
    fn bounded(&self, bytes: u64) -> u64 {
        bytes.min(self.size.unwrap_or(u64::MAX))
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
        let rest = self.size? - self.present;
        let pace = self.bytes_per_s(now).filter(|pace| *pace > 0)?;
        let moves = matches!(self.state(now), State::Moving | State::Repeating { .. });
        moves.then(|| Duration::from_secs(rest.div_ceil(pace)))
    }

    pub(super) fn state(&self, now: Duration) -> State<'_> {
        if !self.begun {
            return State::Preparing;
        }
        let silence = now.saturating_sub(self.quiet_since);
        let is_whole = Some(self.present) == self.size;
        if let Some(since) = self.down_since {
            let silence = now.saturating_sub(since);
            return State::Down { silence };
        }
        match &self.retry {
            Some(retry) if now < retry.until => State::Waiting {
                left: retry.until - now,
                reason: &retry.reason,
                attempt: retry.attempt,
            },
            _ if silence >= QUIET => self.waiting_for(silence),
            Some(retry) => State::Again {
                reason: &retry.reason,
                attempt: retry.attempt,
            },
            None if is_whole => State::Finishing,
            None if self.present < self.acknowledged => State::Repeating {
                left: self.acknowledged - self.present,
            },
            None => State::Moving,
        }
    }

    /// What has not come for so long.
    fn waiting_for(&self, silence: Duration) -> State<'_> {
        let is_commit = self.is_form || Some(self.safe) == self.size;
        match self.stage {
            Stage::Waiting => State::Queued { silence },
            Stage::Connecting => State::Connecting { silence },
            Stage::Reading => State::Reading { silence },
            Stage::Answering => State::Unanswered {
                silence,
                limit: match is_commit {
                    true => self.patience.commit,
                    false => self.patience.response,
                },
            },
            _ => State::Quiet {
                silence,
                limit: self.patience.stall,
            },
        }
    }

    /// What a terminal of `width` columns shows: the bar, and below it what there is to say. Each
    /// line has at most `width` columns, as far as its characters have one each.
    pub(super) fn bar(&self, now: Duration, width: usize) -> Vec<String> {
        let state = self.state(now);
        if state == State::Preparing {
            return vec![cut(self.preparing(now), width)];
        }
        let mut numbers = match self.size {
            Some(size) => format!(" {:>3} %  {}", self.percent(size), self.done()),
            None => self.done(),
        };
        if state.moves() {
            for more in self.pace_and_rest(now, &state) {
                numbers = format!("{numbers}  {more}");
            }
        }
        let room = width.saturating_sub(numbers.chars().count() + 2);
        if let Some(size) = self.size.filter(|_| room >= BAR_MIN) {
            numbers = format!("[{}]{numbers}", self.filled(size, room.min(BAR_MAX)));
        }
        let mut lines = vec![cut(numbers, width)];
        lines.extend(in_words(&state, width).map(|words| cut(words, width)));
        lines
    }

    /// The same as one line, for where there is no terminal.
    pub(super) fn plain(&self, now: Duration) -> String {
        let state = self.state(now);
        if state == State::Preparing {
            return self.preparing(now);
        }
        let mut line = match self.size {
            Some(size) => format!("{} ({} %)", self.done(), self.percent(size)),
            None => self.done(),
        };
        let mut words = Vec::new();
        if state.moves() {
            words = self.pace_and_rest(now, &state);
        }
        words.extend(in_words(&state, usize::MAX));
        for word in words {
            line = format!("{line}, {word}");
        }
        line
    }

    /// What is said before the first byte.
    fn preparing(&self, now: Duration) -> String {
        let silence = now.saturating_sub(self.since);
        let words = match silence < QUIET {
            true => "preparing".to_owned(),
            false => format!("preparing for {}", seconds_in_words(silence.as_secs())),
        };
        match &self.retry {
            Some(retry) => format!("{words}: {}", retry.reason),
            None => words,
        }
    }

    /// Whole percents; 100 only when nothing is missing.
    fn percent(&self, size: u64) -> u64 {
        let percent = u128::from(self.acknowledged) * 100 / u128::from(size.max(1));
        match size {
            0 => 100,
            _ => u64::try_from(percent).unwrap_or(100),
        }
    }

    fn done(&self) -> String {
        let done = size(self.acknowledged);
        match self.size {
            Some(all) => format!("{done} of {}", size(all)),
            None => format!("{done} so far"),
        }
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
    fn filled(&self, size: u64, room: usize) -> String {
        let share = u128::from(self.acknowledged) * room as u128 / u128::from(size.max(1));
        let full = if size == 0 { room } else { share as usize };
        let mut inside = "=".repeat(full);
        if full < room {
            inside.push('>');
        }
        // ASCII: some terminals draw blocks and lines two columns wide, and the bar would wrap.
        format!("{inside:<room$}")
    }
}

impl State<'_> {
    /// Whether there is a pace worth showing.
    fn moves(&self) -> bool {
        matches!(
            self,
            State::Moving | State::Finishing | State::Repeating { .. }
        )
    }
}

/// What a state says in words; nothing when all goes well. Reasons are shortened, as far as `width`
/// columns ask for it: what follows them is worth more.
fn in_words(state: &State<'_>, width: usize) -> Option<String> {
    let seconds = |time: &Duration| seconds_in_words(time.as_secs());
    match state {
        State::Preparing | State::Moving | State::Finishing => None,
        State::Waiting {
            left,
            reason,
            attempt,
        } => {
            // A countdown ends with 1, not with a second of 0.
            let left = left.as_secs() + u64::from(left.subsec_millis() > 0);
            let head = format!("retrying in {}: ", seconds_in_words(left));
            let tail = format!(" (attempt {attempt})");
            let room = width.saturating_sub(head.len() + tail.len());
            Some(head + &cut((*reason).to_owned(), room) + &tail)
        }
        State::Again { reason, attempt } => Some(format!("attempt {attempt}, after: {reason}")),
        State::Down { silence } => Some(format!(
            "no connection opens for {}; trying every 2 s",
            seconds(silence)
        )),
        State::Queued { silence } => Some(format!("waiting for {}", seconds(silence))),
        State::Connecting { silence } => Some(format!("connecting for {}", seconds(silence))),
        State::Reading { silence } => Some(format!(
            "the source has given nothing for {}",
            seconds(silence)
        )),
        State::Repeating { left } => Some(format!("{} to be sent again", size(*left))),
        State::Quiet { silence, limit } => {
            let mut words = format!("no acknowledgement for {}", seconds(silence));
            if silence < limit {
                let limit = seconds(limit);
                words.push_str(&format!("; this connection is given up at {limit}"));
            }
            Some(words)
        }
        State::Unanswered { silence, limit } => {
            let mut words = format!("all is acknowledged, no answer for {}", seconds(silence));
            if silence < limit {
                words.push_str(&format!("; waiting until {}", seconds(limit)));
            }
            Some(words)
        }
    }
}

/// `text` in at most `width` columns.
fn cut(text: String, width: usize) -> String {
    console::truncate_str(&text, width, "…").into_owned()
}
