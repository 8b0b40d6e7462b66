//! `haul demo [FILE]`: the story in half a minute, without an account.
//!
//! A dev server in this process stands behind a slow line. The upload is a process of its own, this
//! very program with `put`, so that it can be killed the way a power cut would: SIGKILL, no word of
//! farewell. The line is cut once, the process killed once, the same line run again, and then the
//! hash of what is stored is compared with the file's. However it ends, nothing is left behind.

mod child;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::cli::demo::child::{Child, Ended};
use crate::cli::event::Event;
use crate::cli::progress::{Patience, Progress};
use crate::cli::signals::Signals;
use crate::cli::terminal::Terminal;
use crate::client::Uploader;
use crate::config::value::iec;
use crate::config::{Config, Environment};
use crate::devserver::{DevServer, FaultPlan, Operation, Place, Rate};
use crate::error::{Error, ErrorKind};
use crate::stop::Stop;

/// Length of the file that is made when none is given: two lanes of two blocks each, in segments.
const FILE_LEN: u64 = 8 << 20;

/// How long the file takes over the line, in seconds: long enough to watch, short enough to wait for.
const DURATION_S: u64 = 25;

/// The slowest line, in bytes a second (2 Mbit/s): a small file need not be made to crawl.
const RATE_MIN: u64 = 250_000;

/// Where the object goes.
const BUCKET: &str = "demo";

/// Its key.
const KEY: &str = "object";

/// Files from this length have a second segment, and it is that one which is cut: something else is
/// acknowledged or on the way by then.
const TWO_SEGMENTS: u64 = 1 << 20;

/// Everything that one demonstration needs; gone when it is dropped.
struct Demo {
    server: DevServer,
    file: PathBuf,
    size: u64,
    dir: TempDir,
}

/// What came of it.
struct Shown {
    killed: bool,
    resumed_bytes: u64,
    local_hash: String,
    stored_hash: String,
}

/// Shows the story with `file`, or with one made for it.
pub(crate) async fn demo(
    file: Option<&Path>,
    config: &Config,
    environment: &Environment,
    terminal: &Arc<Terminal>,
) -> Result<(), Error> {
    let mut signals = Signals::new();
    let demo = Demo::set_up(file).await?;
    let progress = Progress::new(terminal, Patience::of(config), config.verbose);
    progress.say(&format!(
        "{}, to a server on this machine behind a line of {:.1} Mbit/s",
        iec(demo.size),
        rate_of(demo.size) as f64 * 8.0 / 1e6,
    ));
    let stop = Stop::new();
    let child = Child {
        demo: &demo,
        environment,
        terminal,
        progress: &progress,
        stop: &stop,
    };
    let shown = {
        let story = demo.play(&child);
        // Programs get the upload's own events.
        let story = async {
            match terminal.is_json() {
                true => story.await,
                false => progress.watch(story).await,
            }
        };
        let mut story = std::pin::pin!(story);
        tokio::select! {
            shown = &mut story => shown,
            () = signals.next() => {
                stop.stop();
                // The process is killed and waited for; a second signal does not wait.
                tokio::select! {
                    shown = &mut story => shown,
                    () = signals.next() => Err(interrupted()),
                }
            }
        }
    };
    progress.clear();
    let told = shown.and_then(|shown| demo.tell(&shown, terminal));
    let removed = demo.end().await;
    told.and(removed)
}

impl Demo {
    async fn set_up(file: Option<&Path>) -> Result<Self, Error> {
        let made = tempfile::Builder::new().prefix("haul-demo-").tempdir();
        let dir = made.map_err(|error| unable("make a temporary directory", &error))?;
        let file = match file {
            Some(file) => std::path::absolute(file)
                .map_err(|error| unable("find the current directory", &error))?,
            None => make_file(dir.path()).map_err(|error| unable("make a file", &error))?,
        };
        let source = crate::source::FileSource::open(&file).await;
        let source = source.map_err(|failure| Error::from_failure("open the file", failure))?;
        let size = source.len();
        if size == 0 {
            return Err(
                Error::new(ErrorKind::Usage, "an empty file has nothing to show")
                    .next("name another one, or none"),
            );
        }
        let rate = Rate::from_bits_per_s(rate_of(size).saturating_mul(8));
        let rate = rate.ok_or_else(|| Error::bug("the demo's line has no rate"))?;
        let server = DevServer::builder()
            .place(Place::Disk(dir.path().join("server")))
            .rate(rate)
            .faults(one_cut(size)?)
            .start()
            .await
            .map_err(|error| unable("start a server", &error))?;
        Ok(Self {
            server,
            file,
            size,
            dir,
        })
    }

    /// Uploads, kills, uploads again, compares.
    async fn play(&self, child: &Child<'_>) -> Result<Shown, Error> {
        let mut ended = child.run(Some(self.size / 2)).await?;
        let killed = matches!(ended, Ended::Killed);
        if killed {
            child.note("the uploading process was killed; the same line runs again")?;
            ended = child.run(None).await?;
        }
        let resumed_bytes = match ended {
            Ended::Done { resumed_bytes } => resumed_bytes,
            Ended::Killed => return Err(Error::bug("the second run was killed")),
        };
        let (local_hash, _) = crate::cli::small::etag_of(&self.file)
            .await
            .map_err(|failure| Error::from_failure("hash the file", failure))?;
        let keys = self.server.credentials();
        let looker = Uploader::builder()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .endpoint(self.server.url())
            .build()?;
        let stored_hash = looker.stat(BUCKET, KEY).await?.hash;
        Ok(Shown {
            killed,
            resumed_bytes,
            local_hash,
            stored_hash,
        })
    }

    /// The summary; an error if the object is not the file.
    fn tell(&self, shown: &Shown, terminal: &Terminal) -> Result<(), Error> {
        let requests = self.server.requests();
        let of = |operation| requests.of(operation).body_bytes;
        let sent_bytes = of(Operation::Mkblk) + of(Operation::Bput);
        let resent_bytes = sent_bytes.saturating_sub(self.size);
        let cut = match requests.resets {
            0 => "not cut: the file is too small for it",
            _ => "cut once",
        };
        let (killed, runs) = match shown.killed {
            true => ("killed once", "both runs"),
            false => ("not killed: it was done too soon", "one run"),
        };
        let lines = [
            format!("the line was {cut}; the upload was {killed}"),
            format!(
                "resumed  {} that were safe before the kill",
                iec(shown.resumed_bytes)
            ),
            format!(
                "sent     {} in {runs}, for a file of {}",
                iec(sent_bytes),
                iec(self.size)
            ),
            format!("re-sent  {} that were in flight then", iec(resent_bytes)),
            format!("stored   {}", shown.stored_hash),
            format!("local    {}", shown.local_hash),
        ];
        let event = Event::Demo {
            size: self.size,
            cut: requests.resets > 0,
            killed: shown.killed,
            resumed_bytes: shown.resumed_bytes,
            sent_bytes,
            resent_bytes,
            stored_hash: &shown.stored_hash,
            local_hash: &shown.local_hash,
        };
        terminal.data(&lines.join("\n"), &event)?;
        if shown.stored_hash != shown.local_hash {
            return Err(Error::new(
                ErrorKind::Mismatch,
                "the stored object is not the file",
            ));
        }
        terminal.say("the same: the object is the file");
        Ok(())
    }

    /// Ends the server, then removes all there was.
    async fn end(self) -> Result<(), Error> {
        self.server.stop().await;
        let dir = self.dir.path().display().to_string();
        let removed = self.dir.close();
        removed.map_err(|error| unable(&format!("remove {dir}"), &error))
    }
}

/// The error of a demonstration that was stopped.
fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "interrupted").next("run the same line again")
}

/// The line's rate for a file of `size` bytes, in bytes a second.
fn rate_of(size: u64) -> u64 {
    (size / DURATION_S).max(RATE_MIN)
}

/// A plan that cuts the line once, in the middle of a segment.
fn one_cut(size: u64) -> Result<FaultPlan, Error> {
    let (nth, after) = match size < TWO_SEGMENTS {
        true => (1, size / 4),
        false => (2, 100_000),
    };
    let plan = format!(
        "[[fault]]\noperation = [\"mkblk\", \"bput\"]\nnth = {nth}\n\
         reset = {{ after_body_bytes = {after} }}"
    );
    plan.parse()
        .map_err(|error| Error::bug(&format!("the demo's fault plan: {error}")))
}

/// Makes a file whose bytes repeat nowhere.
fn make_file(dir: &Path) -> std::io::Result<PathBuf> {
    let path = dir.join("demo.bin");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
    // Xorshift: any bytes will do, as long as no two segments are the same.
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    for _ in 0..FILE_LEN / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    file.flush()?;
    Ok(path)
}

/// The error of what this machine refuses.
fn unable(doing: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::Local, format!("cannot {doing}: {error}"))
}
