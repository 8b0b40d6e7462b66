//! What people and programs see while an upload runs: a bar on a terminal, a plain line every 10 s
//! without one, JSON lines for programs.
//!
//! What is shown is decided in [`view`], without a clock and without a terminal. Here is the rest:
//! when it is shown, and to whom.

mod pace;
#[cfg(test)]
mod tests;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use crate::cli::attempt;
use crate::cli::event::{Event, Way};
use crate::cli::terminal::{Terminal, printable};
use crate::clock;
use crate::config::value::iec;
use crate::engine::expiry::Grant;
use crate::error::{Error, ErrorKind, words};
use crate::events;
use crate::model::Failure;

pub(crate) use view::{Heard, Patience};

use crate::cli::progress::view::{State, View};

/// How often the bar is drawn: it moves when the line does, and a countdown never skips a second.
const DRAW: Duration = Duration::from_millis(250);

/// A program is told every so many draws, if anything moved: once a second.
const DRAWS_PER_EVENT: u32 = 4;

/// Every so many draws there is a line even if nothing moved: silence looks like death. 10 s.
const DRAWS_PER_LINE: u32 = 40;

/// Shows one upload.
pub(crate) struct Progress {
    terminal: Arc<Terminal>,
    has_bar: bool,
    /// How much is said: 1 for every retry and choice, 2 for every request.
    verbose: u8,
    began: Instant,
    shown: Mutex<Shown>,
}

/// What changes while the upload runs.
struct Shown {
    view: View,
    /// Retries since the last plain line, and the reason of the last one.
    retries: Option<(u32, String)>,
    /// A program was told that nothing moves.
    told_stall: bool,
    /// What is safe is recorded.
    is_resumable: bool,
}

impl Shown {
    /// What the next run need not send.
    fn safe_bytes(&self) -> u64 {
        match self.is_resumable {
            true => self.view.safe(),
            false => 0,
        }
    }
}

impl Progress {
    /// Progress on `terminal`.
    pub(crate) fn new(terminal: &Arc<Terminal>, patience: Patience, verbose: u8) -> Self {
        let view = View::new(Duration::ZERO, patience);
        Self {
            terminal: Arc::clone(terminal),
            has_bar: terminal.takes_bar(),
            verbose,
            began: clock::instant(),
            shown: Mutex::new(Shown {
                view,
                retries: None,
                told_stall: false,
                is_resumable: true,
            }),
        }
    }

    /// Takes note of an event of the upload to `bucket` and `key`.
    pub(crate) fn hear(&self, event: &events::Event, bucket: &str, key: Option<&str>) {
        match event {
            events::Event::Started {
                size,
                protocol,
                resumed_bytes,
            } => {
                self.begin(*size, *resumed_bytes, protocol);
                self.emit(&Event::Started {
                    bucket,
                    key,
                    size: *size,
                    protocol,
                    resumed_bytes: *resumed_bytes,
                });
                if self.verbose > 0 {
                    let way = match *protocol {
                        "form" => "in one request (form)",
                        "v2" => "in parts (v2)",
                        _ => "in blocks (v1)",
                    };
                    let all = size.map_or_else(|| "all bytes".to_owned(), iec);
                    self.say(&format!("{all} go {way}"));
                }
            }
            events::Event::Progress {
                safe_bytes,
                acknowledged_bytes,
                lost_bytes,
                stage,
                size,
            } => self.advance(Heard {
                safe: *safe_bytes,
                acknowledged: *acknowledged_bytes,
                lost: *lost_bytes,
                stage: *stage,
                size: *size,
            }),
            events::Event::Retrying {
                failure,
                wait,
                attempts,
            } => self.retrying(failure, *wait, *attempts),
            events::Event::Pace {
                lanes,
                segment_bytes,
                bytes_per_s,
            } => self.pace(*lanes, *segment_bytes, *bytes_per_s),
            events::Event::LineDown { silence } => self.line_down(*silence),
            events::Event::LineUp { silence } => self.line_up(*silence),
            events::Event::Expiring { what, left, needed } => self.expiring(*what, *left, *needed),
            events::Event::Attempt(attempt) => self.attempt(attempt),
            events::Event::NotResumable(message) => {
                self.shown().is_resumable = false;
                self.emit(&Event::Notice { message });
                self.say(&format!("note: {message}"));
            }
            events::Event::Notice(message) => {
                self.emit(&Event::Notice { message });
                self.say(&format!("note: {message}"));
            }
        }
    }

    /// The upload begins with `resumed_bytes` of `size` safe already.
    pub(crate) fn begin(&self, size: Option<u64>, resumed_bytes: u64, protocol: &str) {
        let now = self.now();
        let is_form = protocol == "form";
        self.shown().view.begin(now, size, resumed_bytes, is_form);
        if resumed_bytes > 0 {
            let safe = iec(resumed_bytes);
            let all = size.map(|size| format!(" of {}", iec(size)));
            let all = all.unwrap_or_default();
            self.say(&format!("resuming: {safe}{all} are stored already"));
        }
    }

    /// The upload has come so far.
    pub(crate) fn advance(&self, heard: Heard) {
        let now = self.now();
        self.shown().view.advance(now, heard);
    }

    /// Attempt `attempt` follows after `wait`, because of `reason`.
    pub(crate) fn wait(&self, wait: Duration, attempt: u32, reason: &str) {
        let now = self.now();
        let mut shown = self.shown();
        // As a server may have said it: it must not write on the terminal.
        shown.view.broken();
        shown.view.retry(now, wait, attempt, &printable(reason));
        let count = shown.retries.take().map_or(0, |(count, _)| count);
        shown.retries = Some((count + 1, reason.to_owned()));
    }

    fn retrying(&self, failure: &Failure, wait: Duration, failed: u32) {
        let message = failure.to_string();
        self.emit(&Event::Retrying {
            message: &message,
            wait_ms: millis(wait),
            attempts: failed,
            way: failure.trace.as_deref().map(Way::new),
        });
        let next = failed.saturating_add(1);
        // The bar has no room for more.
        let short = match failure.status {
            Some(status) => format!("{} (status {status})", failure.message),
            None => failure.message.clone(),
        };
        self.wait(wait, next, &short);
        if self.verbose > 0 {
            let mut line = format!(
                "retrying in {} (attempt {next}): {message}",
                words::time(wait)
            );
            // With more detail the attempt has said that itself.
            if let (1, Some(trace)) = (self.verbose, &failure.trace) {
                line = format!("{line}; {}", attempt::way(trace));
            }
            self.say(&line);
        }
    }

    fn pace(&self, lanes: usize, segment_bytes: u64, bytes_per_s: Option<u64>) {
        self.emit(&Event::Pace {
            lanes,
            segment_bytes,
            bytes_per_s,
        });
        if self.verbose > 0 {
            let lanes = match lanes {
                1 => "one lane".to_owned(),
                _ => format!("{lanes} lanes"),
            };
            let at = bytes_per_s.map(|pace| format!(", at {}/s", iec(pace)));
            let (len, at) = (iec(segment_bytes), at.unwrap_or_default());
            self.say(&format!("{lanes}, segments of {len}{at}"));
        }
    }

    fn line_down(&self, silence: Duration) {
        let now = self.now();
        self.shown().view.line_down(now.saturating_sub(silence));
        self.emit(&Event::LineDown {
            silence_ms: millis(silence),
        });
        if self.verbose > 0 {
            self.say("no connection opens: trying every 2 s");
        }
    }

    fn expiring(&self, what: Grant, left: Duration, needed: Duration) {
        self.emit(&Event::Expiring {
            what: what.as_str(),
            left_ms: millis(left),
            needed_ms: millis(needed),
        });
        self.say(&format!("note: {}", told_expiring(what, left, needed)));
    }

    fn line_up(&self, silence: Duration) {
        self.shown().view.line_up();
        self.emit(&Event::LineUp {
            silence_ms: millis(silence),
        });
        if self.verbose > 0 {
            let silence = words::time(silence);
            self.say(&format!("a connection opens again after {silence}"));
        }
    }

    fn attempt(&self, ended: &events::Attempt) {
        if ended.failure.is_some() {
            self.shown().view.broken();
        }
        if self.verbose < 2 && !(self.verbose == 1 && ended.is_repeated) {
            return;
        }
        self.emit(&Event::Attempt(Box::new(attempt::event(ended))));
        let since = self.now().as_secs_f64();
        self.say(&format!("{since:7.1} s  {}", attempt::line(ended)));
    }

    /// Runs `work` and shows how it goes meanwhile.
    pub(crate) async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        let mut draws = interval(DRAW);
        draws.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = self.shown().view.acknowledged();
        let mut since_event = 0;
        let mut since_line = 0;
        let mut work = std::pin::pin!(work);
        // The first tick comes at once.
        draws.tick().await;
        loop {
            tokio::select! {
                result = &mut work => {
                    self.clear();
                    return result;
                }
                _ = draws.tick() => {
                    self.draw();
                    since_event += 1;
                    since_line += 1;
                    let acknowledged = self.shown().view.acknowledged();
                    let moved = acknowledged != told && since_event >= DRAWS_PER_EVENT;
                    if self.terminal.is_json() {
                        self.tell_stall();
                    }
                    if since_line >= DRAWS_PER_LINE || (self.terminal.is_json() && moved) {
                        self.tell();
                        told = acknowledged;
                        since_event = 0;
                        since_line = 0;
                    }
                }
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.terminal.draw(&[]);
    }

    /// The error of an upload that was not waited for.
    pub(crate) fn interrupted(&self) -> Error {
        let shown = self.shown();
        let safe = shown.safe_bytes();
        let size = shown.view.size();
        let size = size.map_or_else(String::new, |size| format!(" of {size}"));
        let what = match shown.view.has_begun() {
            true if !shown.is_resumable => {
                "stopped at once, with nothing recorded: the next run sends everything".to_owned()
            }
            true => format!("stopped at once, with {safe}{size} bytes stored"),
            false => "stopped before the upload had begun".to_owned(),
        };
        Error::new(ErrorKind::Interrupted, what).safe(safe)
    }

    /// A line for people, above the bar if there is one.
    pub(crate) fn say(&self, line: &str) {
        self.terminal.say(&printable(line));
    }

    fn draw(&self) {
        if self.has_bar {
            let lines = self.shown().view.bar(self.now(), self.terminal.bar_width());
            self.terminal.draw(&lines);
        }
    }

    /// One line about where the upload stands.
    fn tell(&self) {
        let now = self.now();
        if self.terminal.is_json() {
            let shown = self.shown();
            if !shown.view.has_begun() {
                return;
            }
            self.emit(&Event::Progress {
                safe_bytes: shown.safe_bytes(),
                acknowledged_bytes: shown.view.acknowledged(),
                size: shown.view.size(),
                bytes_per_s: shown.view.bytes_per_s(now),
                left_ms: shown.view.time_left(now).map(millis),
            });
        } else if !self.has_bar {
            let mut shown = self.shown();
            let mut line = shown.view.plain(now);
            let is_told = matches!(
                shown.view.state(now),
                State::Waiting { .. } | State::Again { .. }
            );
            if let Some((count, reason)) = shown.retries.take().filter(|_| !is_told) {
                let times = if count == 1 { "once" } else { "times" };
                let count = if count == 1 {
                    String::new()
                } else {
                    format!("{count} ")
                };
                line = format!("{line}; retried {count}{times}: {reason}");
            }
            drop(shown);
            self.say(&line);
        }
    }

    /// Tells a program, once, that nothing moves any more.
    fn tell_stall(&self) {
        let now = self.now();
        let mut shown = self.shown();
        let (silence, limit) = match shown.view.state(now) {
            State::Quiet { silence, limit } | State::Unanswered { silence, limit } => {
                (silence, limit)
            }
            _ => {
                shown.told_stall = false;
                return;
            }
        };
        if !std::mem::replace(&mut shown.told_stall, true) {
            drop(shown);
            self.emit(&Event::Stalled {
                silence_ms: millis(silence),
                limit_ms: millis(limit),
            });
        }
    }

    /// A line for programs. The upload goes on even if stdout cannot take it: the end of the
    /// command reports that.
    fn emit(&self, event: &Event<'_>) {
        let _ = self.terminal.event(event);
    }

    fn now(&self) -> Duration {
        clock::instant().saturating_duration_since(self.began)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What ends too early, in words.
fn told_expiring(what: Grant, left: Duration, needed: Duration) -> String {
    let (what, then) = match what {
        Grant::Token => (
            "the upload token",
            "with one that lives longer the upload goes on",
        ),
        Grant::UploadId => (
            "the service's id of this upload",
            "without it all goes again",
        ),
        _ => (
            "what the service gave for the first blocks",
            "without it they go again",
        ),
    };
    let needed = words::time(needed);
    let ends = match left.is_zero() {
        true => "has ended".to_owned(),
        false => format!("ends in {}", words::time(left)),
    };
    format!("{what} {ends}, and the upload takes {needed} more at this pace: {then}")
}
