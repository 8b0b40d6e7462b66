//! Several uploads in one process, by the library as a program calls it: a role of the bench.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use haul::{Event, Uploader};

use crate::outcome::Upload;
use crate::server::BUCKET;
use crate::{Failure, now};

/// Uploads `files`, each a key and a path, one after the other or at once, to the server that the
/// environment names as it does for `haul`. Prints each one's [`Upload`] as it ends.
pub(crate) fn run(order: &str, state_dir: &Path, files: &[String]) -> Result<(), Failure> {
    let (access_key, secret_key) = (variable("HAUL_ACCESS_KEY")?, variable("HAUL_SECRET_KEY")?);
    let endpoints = variable("HAUL_ENDPOINT")?;
    let mut builder = Uploader::builder()
        .credentials(access_key, secret_key)
        .state_dir(state_dir);
    for url in endpoints.split(',') {
        builder = builder.endpoint(url);
    }
    let uploader = builder.build()?;
    let files: Vec<(String, PathBuf)> = files
        .chunks_exact(2)
        .map(|file| (file[0].clone(), file[1].clone().into()))
        .collect();
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(async {
        let started = now();
        let (mut running, mut ended) = (tokio::task::JoinSet::new(), Vec::new());
        for (number, (key, path)) in (1..).zip(files) {
            running.spawn(one(uploader.clone(), started, number, key, path));
            if order == "in-turn" {
                ended.extend(running.join_next().await);
            }
        }
        while let Some(one) = running.join_next().await {
            ended.push(one);
        }
        ended
    });
    let mut failures = Vec::new();
    for upload in ended {
        failures.extend(upload??.error);
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("; ").into()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a role is told as the program is: secrets in the environment only"
)]
fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("there is no {name}"))
}

/// One upload, and how it went.
async fn one(
    uploader: Uploader,
    started: Instant,
    number: usize,
    key: String,
    path: PathBuf,
) -> std::io::Result<Upload> {
    let began = now();
    let watch = Arc::new(Mutex::new(Watch {
        acknowledged_bytes: 0,
        moved: began,
        silence: Duration::ZERO,
    }));
    let heard = Arc::clone(&watch);
    let put = uploader.put_file(BUCKET, key, path).on_event(move |event| {
        if let Event::Progress {
            acknowledged_bytes, ..
        } = event
        {
            lock(&heard).hear(*acknowledged_bytes);
        }
    });
    let done = put.await;
    lock(&watch).hear(u64::MAX);
    let ms = |time: Duration| time.as_millis() as u64;
    let upload = Upload {
        number,
        began_ms: ms(began - started),
        ended_ms: ms(started.elapsed()),
        silence_ms: ms(lock(&watch).silence),
        error: done.err().map(|error| error.to_string()),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&upload)?)?;
    stdout.flush()?;
    Ok(upload)
}

/// Looks for the longest time in which nothing was acknowledged.
struct Watch {
    acknowledged_bytes: u64,
    moved: Instant,
    silence: Duration,
}

impl Watch {
    fn hear(&mut self, acknowledged_bytes: u64) {
        if acknowledged_bytes > self.acknowledged_bytes {
            self.acknowledged_bytes = acknowledged_bytes;
            self.silence = self.silence.max(self.moved.elapsed());
            self.moved = now();
        }
    }
}

/// A number is set whole or not at all: a panic in between leaves nothing half done.
fn lock(watch: &Mutex<Watch>) -> std::sync::MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}
