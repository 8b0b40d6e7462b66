//! What people and programs see while an upload runs: a bar on a terminal, a plain line every 10 s
//! without one, JSON lines for programs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::event::Event;
use crate::cli::terminal::Terminal;
use crate::config::value::iec;
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

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Latest {
    acknowledged: u64,
    handed_over: u64,
    size: u64,
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
                self.update(|latest| latest.size = *size);
                if let Some(bar) = &self.bar {
                    bar.set_length(*size);
                }
                self.emit(&Event::Started {
                    bucket,
                    key,
                    size: *size,
                    protocol,
                    resumed_bytes: *resumed_bytes,
                });
            }
            events::Event::Progress {
                acknowledged,
                handed_over,
                ..
            } => {
                self.update(|latest| {
                    latest.acknowledged = *acknowledged;
                    latest.handed_over = *handed_over;
                });
                if let Some(bar) = &self.bar {
                    bar.set_position(*acknowledged);
                    bar.set_message(on_the_way(*acknowledged, *handed_over));
                }
            }
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
                let seconds = wait.as_secs_f64();
                self.say(&format!(
                    "retrying in {seconds:.1} s (attempt {attempts} failed): {message}"
                ));
            }
            events::Event::Notice(message) => {
                self.emit(&Event::Notice { message });
                self.say(&format!("note: {message}"));
            }
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
                    if let Some(bar) = &self.bar {
                        bar.finish_and_clear();
                    }
                    return result;
                }
                _ = ticks.tick() => {
                    silent_ticks += 1;
                    let latest = self.latest();
                    let due = silent_ticks >= TICKS_PER_LINE;
                    if due || (self.terminal.is_json() && latest != told) {
                        self.tell(latest);
                        told = latest;
                        silent_ticks = 0;
                    }
                    if let Some(bar) = &self.bar {
                        bar.tick();
                    }
                }
            }
        }
    }

    /// One line about where the upload stands.
    fn tell(&self, latest: Latest) {
        if self.terminal.is_json() {
            self.emit(&Event::Progress {
                acknowledged_bytes: latest.acknowledged,
                handed_over_bytes: latest.handed_over,
                size: latest.size,
            });
        } else if self.bar.is_none() {
            let percent = latest.acknowledged.saturating_mul(100) / latest.size.max(1);
            let (done, size) = (iec(latest.acknowledged), iec(latest.size));
            let way = on_the_way(latest.acknowledged, latest.handed_over);
            self.terminal
                .say(&format!("{done} of {size} stored ({percent} %) {way}"));
        }
    }

    /// A line for people, above the bar if there is one.
    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.terminal.say(line)),
            None => self.terminal.say(line),
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

/// What has left the source and is not acknowledged yet.
fn on_the_way(acknowledged: u64, handed_over: u64) -> String {
    match handed_over.saturating_sub(acknowledged) {
        0 => String::new(),
        len => format!("+{} on the way", iec(len)),
    }
}

/// A bar that counts acknowledged bytes only.
fn new_bar() -> ProgressBar {
    let template =
        "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} eta {eta} {msg}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar
}
