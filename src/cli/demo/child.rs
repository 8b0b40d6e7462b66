//! The uploading process of the demo: this program again, with `put`.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::cli::demo::{BUCKET, Demo, KEY, interrupted, unable};
use crate::cli::event::Event;
use crate::cli::progress::{Heard, Progress};
use crate::cli::terminal::Terminal;
use crate::config::Environment;
use crate::error::{Error, ErrorKind, words};
use crate::model::Stage;
use crate::stop::Stop;

/// How often the server is asked how much has come: often enough to hit the middle.
const LOOK: Duration = Duration::from_millis(20);

/// How long an upload goes on that lost its server: it ends soon when this process was killed.
const RETRY_BUDGET: &str = "60s";

/// An upload in a process of its own.
pub(super) struct Child<'a> {
    pub(super) demo: &'a Demo,
    pub(super) environment: &'a Environment,
    pub(super) terminal: &'a Terminal,
    pub(super) progress: &'a Progress,
    pub(super) stop: &'a Stop,
}

/// How the process ended.
pub(super) enum Ended {
    /// We killed it.
    Killed,
    /// It finished the upload.
    Done { resumed_bytes: u64 },
}

impl Child<'_> {
    /// Runs the upload; with `kill_at`, kills it as soon as so many bytes have reached the server.
    pub(super) async fn run(&self, kill_at: Option<u64>) -> Result<Ended, Error> {
        let mut child = self
            .command()?
            .spawn()
            .map_err(|error| unable("run haul once more", &error))?;
        let Some(out) = child.stdout.take() else {
            return Err(Error::bug("the demo's process has no stdout"));
        };
        let mut lines = BufReader::new(out).lines();
        let mut looks = tokio::time::interval(LOOK);
        let mut last = Value::Null;
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => last = self.hear(&line)?,
                    Ok(None) | Err(_) => break,
                },
                () = self.stop.stopped() => {
                    let killed = child.kill().await;
                    killed.map_err(|error| unable("end the upload", &error))?;
                    return Err(interrupted());
                }
                _ = looks.tick(), if kill_at.is_some() => {
                    let arrived = self.demo.server.requests().body_bytes();
                    if kill_at.is_some_and(|limit| arrived >= limit) {
                        // SIGKILL on Unix; it also waits for the end.
                        let killed = child.kill().await;
                        killed.map_err(|error| unable("kill the upload", &error))?;
                        return Ok(Ended::Killed);
                    }
                }
            }
        }
        // Its last line says how it ended; the exit code is the same in a number.
        let _ = child.wait().await;
        if last["event"] == "done" {
            return Ok(Ended::Done {
                resumed_bytes: number(&last, "resumed_bytes"),
            });
        }
        let why = last["message"]
            .as_str()
            .unwrap_or("it ended without a word");
        Err(Error::new(
            ErrorKind::Unfinished,
            format!("the demo's upload failed: {why}"),
        ))
    }

    /// `haul put FILE kodo://demo/object --json`, knowing nothing but the demo's server.
    fn command(&self) -> Result<Command, Error> {
        let program = std::env::current_exe().map_err(|error| unable("find haul", &error))?;
        let demo = self.demo;
        let keys = demo.server.credentials();
        let mut command = Command::new(program);
        command
            .arg("put")
            .arg(&demo.file)
            .arg(format!("kodo://{BUCKET}/{KEY}"))
            // With word of every cut that is mended at once.
            .args(["--json", "-v"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        for name in self.environment.names() {
            let text = name.to_string_lossy().to_ascii_uppercase();
            let ours = ["HAUL_", "QINIU_"];
            if ours.iter().any(|prefix| text.starts_with(prefix)) || text.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        command
            .env("HAUL_ACCESS_KEY", keys.access_key.as_str())
            .env("HAUL_SECRET_KEY", keys.secret_key.expose())
            .env("HAUL_ENDPOINT", demo.server.url())
            .env("HAUL_PROXY", "none")
            .env("HAUL_RETRY_BUDGET", RETRY_BUDGET)
            .env("HAUL_STATE_DIR", demo.dir.path().join("state"))
            // Nothing of the user's own settings: there is no config file at this place.
            .env("XDG_CONFIG_HOME", demo.dir.path())
            // Small files in lanes, too.
            .env("HAUL_THRESHOLD", "0");
        Ok(command)
    }

    /// Passes one event on.
    fn hear(&self, line: &str) -> Result<Value, Error> {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        let kind = event["event"].as_str().unwrap_or_default();
        if self.terminal.is_json() {
            // How the demo ends is said by its own last line.
            if kind != "failed" {
                self.terminal.raw(line)?;
            }
            return Ok(event);
        }
        let message = event["message"].as_str().unwrap_or_default();
        match kind {
            "started" => self.progress.begin(
                Some(self.demo.size),
                number(&event, "resumed_bytes"),
                event["protocol"].as_str().unwrap_or_default(),
            ),
            "progress" => self.progress.advance(Heard {
                safe: number(&event, "safe_bytes"),
                acknowledged: number(&event, "acknowledged_bytes"),
                // Lines for programs do not say; the demo's server answers soon.
                lost: 0,
                stage: Stage::Sending,
                size: Some(self.demo.size),
            }),
            "retrying" => {
                let wait = Duration::from_millis(number(&event, "wait_ms"));
                let attempt = number(&event, "attempts") + 1;
                let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
                self.progress.wait(wait, attempt, message);
                let wait = words::time(wait);
                let line = format!("retrying in {wait} (attempt {attempt}): {message}");
                self.progress.say(&line);
            }
            "attempt" if event["repeated"] == true => {
                let line = format!("{message}; goes on at once on a new connection");
                self.progress.say(&line);
            }
            "notice" => self.progress.say(&format!("note: {message}")),
            _ => {}
        }
        Ok(event)
    }

    /// Says what the demo did.
    pub(super) fn note(&self, message: &str) -> Result<(), Error> {
        self.progress.say(message);
        self.terminal.event(&Event::Notice { message })
    }
}

fn number(event: &Value, name: &str) -> u64 {
    event[name].as_u64().unwrap_or_default()
}
