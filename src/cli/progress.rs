//! What people and programs see while an upload runs: a bar on a terminal, a plain line every 10 s
//! without one, JSON lines for programs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::event::Event;
use crate::cli::terminal::{Terminal, printable};
use crate::clock;
use crate::config::value::iec;
use crate::error::{Error, ErrorKind};
use crate::events;

/// How often a program is told, if anything moved.
const TICK: Duration = Duration::from_secs(1);

/// Every so many ticks there is a line even if nothing moved: silence looks like death. 10 s.
const TICKS_PER_LINE: u32 = 10;

/// Shows one upload.
pub(crate) struct Progress {
    terminal: Arc<Terminal>,
    bar: Option<ProgressBar>,
    latest: Mutex<Latest>,
}

/// Where the upload stands.
#[derive(Clone, Copy, Default)]
struct Latest {
    /// Never falls, even if the service loses what it had: a bar does not run backwards.
    acknowledged: u64,
    handed_over: u64,
    size: u64,
    /// What was safe when the upload began, and when that was.
    began: Option<(u64, Instant)>,
}

impl Progress {
    /// Progress on `terminal`; `with_bar` if nothing else is going to write there.
    pub(crate) fn new(terminal: &Arc<Terminal>, with_bar: bool) -> Self {
        let bar = with_bar && terminal.err_is_terminal() && !terminal.is_json();
        Self {
            terminal: Arc::clone(terminal),
            bar: bar.then(new_bar),
            latest: Mutex::default(),
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
                self.begin(*size, *resumed_bytes);
                self.emit(&Event::Started {
                    bucket,
                    key,
                    size: *size,
                    protocol,
                    resumed_bytes: *resumed_bytes,
                });
            }
            events::Event::Progress {
                safe_bytes,
                acknowledged_bytes,
                ..
            } => self.advance(*safe_bytes, *acknowledged_bytes),
            events::Event::Retrying {
                failure,
                wait,
                attempts,
            } => {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                let message = failure.to_string();
                self.emit(&Event::Retrying {
                    message: &message,
                    wait_ms,
                    attempts: *attempts,
                });
                self.say(&retrying(&message, wait_ms, u64::from(*attempts)));
            }
            events::Event::Attempt(_) => {}
            events::Event::Notice(message) => {
                self.emit(&Event::Notice { message });
                self.say(&format!("note: {message}"));
            }
        }
    }

    /// The upload begins with `resumed_bytes` of `size` safe already.
    pub(crate) fn begin(&self, size: u64, resumed_bytes: u64) {
        self.update(|latest| {
            latest.size = size;
            latest.acknowledged = resumed_bytes.min(size).max(latest.acknowledged);
            latest.began = Some((resumed_bytes, clock::instant()));
        });
        if let Some(bar) = &self.bar {
            bar.set_length(size);
            let latest = self.latest();
            bar.set_position(latest.acknowledged);
            bar.set_message(plain_line(&latest));
        }
        if resumed_bytes > 0 {
            let (safe, all) = (iec(resumed_bytes), iec(size));
            self.say(&format!("resuming: {safe} of {all} are stored already"));
        }
    }

    /// So many bytes are safe, and so many have left.
    pub(crate) fn advance(&self, acknowledged: u64, handed_over: u64) {
        self.update(|latest| {
            latest.acknowledged = latest.acknowledged.max(acknowledged).min(latest.size);
            latest.handed_over = handed_over.min(latest.size);
        });
        if let Some(bar) = &self.bar {
            let latest = self.latest();
            bar.set_position(latest.acknowledged);
            bar.set_message(plain_line(&latest));
        }
    }

    /// Runs `work` and shows how it goes meanwhile.
    pub(crate) async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once.
        ticks.tick().await;
        let mut told = self.latest();
        let mut silent_ticks = 0;
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => {
                    self.clear();
                    return result;
                }
                _ = ticks.tick() => {
                    silent_ticks += 1;
                    let latest = self.latest();
                    let moved = (latest.acknowledged, latest.handed_over)
                        != (told.acknowledged, told.handed_over);
                    let due = silent_ticks >= TICKS_PER_LINE;
                    if due || (self.terminal.is_json() && moved) {
                        self.tell(latest);
                        told = latest;
                        silent_ticks = 0;
                    }
                    if let Some(bar) = self.bar.as_ref().filter(|_| latest.began.is_some()) {
                        bar.set_message(plain_line(&latest));
                    }
                }
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// The error of an upload that was not waited for.
    pub(crate) fn interrupted(&self) -> Error {
        let Latest {
            acknowledged,
            size,
            began,
            ..
        } = self.latest();
        let what = match began {
            Some(_) => format!("stopped with {acknowledged} of {size} bytes safe"),
            None => "stopped before the upload had begun".to_owned(),
        };
        Error::new(ErrorKind::Interrupted, what).safe(acknowledged)
    }

    /// A line for people, above the bar if there is one.
    pub(crate) fn say(&self, line: &str) {
        let line = printable(line);
        match &self.bar {
            Some(bar) => bar.suspend(|| self.terminal.say(&line)),
            None => self.terminal.say(&line),
        }
    }

    /// One line about where the upload stands.
    fn tell(&self, latest: Latest) {
        if self.terminal.is_json() {
            self.emit(&Event::Progress {
                acknowledged_bytes: latest.acknowledged,
                handed_over_bytes: latest.handed_over.max(latest.acknowledged),
                size: latest.size,
            });
        } else if self.bar.is_none() {
            self.terminal.say(&plain_line(&latest));
        }
    }

    /// A line for programs. The upload goes on even if stdout cannot take it: the end of the
    /// command reports that.
    fn emit(&self, event: &Event<'_>) {
        let _ = self.terminal.event(event);
    }

    fn latest(&self) -> Latest {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Latest)) {
        change(&mut self.latest.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// An attempt failed, in words.
pub(crate) fn retrying(message: &str, wait_ms: u64, attempts: u64) -> String {
    let (seconds, tenths) = (wait_ms / 1000, wait_ms % 1000 / 100);
    format!("retrying in {seconds}.{tenths} s (attempt {attempts} failed): {message}")
}

/// Where the upload stands, with its mean pace in this run.
fn plain_line(latest: &Latest) -> String {
    let percent = u128::from(latest.acknowledged) * 100 / u128::from(latest.size.max(1));
    let (done, size) = (iec(latest.acknowledged), iec(latest.size));
    let mut line = format!("{done} of {size} stored ({percent} %)");
    if let Some((resumed_bytes, began)) = latest.began {
        let elapsed = clock::instant().saturating_duration_since(began);
        let pace = (latest.acknowledged.saturating_sub(resumed_bytes)) as f64
            / elapsed.as_secs_f64().max(0.001);
        if pace >= 1.0 {
            let rest = (latest.size - latest.acknowledged) as f64 / pace;
            let rest = humantime::format_duration(Duration::from_secs(rest as u64));
            line.push_str(&format!(", {}/s, {rest} left", iec(pace as u64)));
        }
    }
    let way = on_the_way(latest);
    if !way.is_empty() {
        line.push_str(&format!(" ({way})"));
    }
    line
}

/// What has left the source and is not acknowledged yet.
fn on_the_way(latest: &Latest) -> String {
    match latest.handed_over.saturating_sub(latest.acknowledged) {
        0 => String::new(),
        len => format!("+{} on the way", iec(len)),
    }
}

/// A bar that counts acknowledged bytes only.
fn new_bar() -> ProgressBar {
    // Pace and time left are ours: what an earlier run did says nothing about the pace of this one.
    let style = ProgressStyle::with_template("{bar:30} {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::Streams;

    fn progress() -> Progress {
        let streams = Streams {
            out: Box::new(std::io::sink()),
            err: Box::new(std::io::sink()),
            err_is_terminal: false,
        };
        Progress::new(&Arc::new(Terminal::new(streams)), true)
    }

    /// It starts at what is safe, never goes back when the service forgets, never past the end.
    #[tokio::test(start_paused = true)]
    async fn never_backwards_never_past_the_end() {
        let progress = progress();
        progress.begin(1000, 400);
        assert_eq!(progress.latest().acknowledged, 400);
        tokio::time::advance(Duration::from_secs(10)).await;
        progress.advance(600, 700);
        let line = plain_line(&progress.latest());
        assert_eq!(
            line,
            "600 B of 1000 B stored (60 %), 20 B/s, 20s left (+100 B on the way)"
        );
        for (acknowledged, expected) in [(0, 600), (900, 900), (2000, 1000)] {
            progress.advance(acknowledged, 2000);
            assert_eq!(progress.latest().acknowledged, expected);
        }
        assert!(plain_line(&progress.latest()).contains("(100 %)"));
    }

    /// What was safe when the second signal came is told.
    #[test]
    fn interrupted() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(async {
            let progress = progress();
            progress.begin(10, 4);
            assert_eq!(progress.interrupted().safe_bytes(), 4);
        });
    }
}
