//! Many uploads at the same time, each with its own bytes, and what comes of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::process::{Backend, form, stat};
use crate::support::content;
use crate::support::http;
use crate::support::server::Server;

/// What goes wrong behind the example: connections that are reset, hosts that are busy or throttle, and
/// answers that are lost after they took effect. Nothing that should make an upload fail.
pub(crate) const FAULTS: &str = r#"
seed = 11
[[fault]]
operation = ["mkblk", "bput", "form"]
probability = 0.05
reset = { after_body_bytes = 50000 }
[[fault]]
operation = ["mkblk", "bput", "mkfile", "form"]
probability = 0.05
answer = { status = 503 }
[[fault]]
operation = ["mkblk", "bput", "mkfile", "form"]
probability = 0.05
answer = { status = 573 }
[[fault]]
operation = ["mkblk", "bput", "mkfile", "form"]
probability = 0.05
lose_answer = "reset"
"#;

/// Sizes of the files: nothing, little, a form's, and several blocks.
const SIZES: [usize; 6] = [0, 1, 100_000, 700_000, 2_000_000, 6_000_000];

/// What came of a round.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Reported stored, and stored right.
    pub(crate) stored: u64,
    /// Reported failed, in words.
    pub(crate) failed: u64,
}

/// `count` uploads at the same time.
///
/// # Panics
///
/// When one is reported stored and is not, or is not answered at all.
pub(crate) fn round(backend: &Backend, server: &Server, count: u64, seed: u64) -> Tally {
    let [stored, failed] = [const { AtomicU64::new(0) }; 2];
    thread::scope(|scope| {
        for index in 0..count {
            let (stored, failed) = (&stored, &failed);
            scope.spawn(move || {
                let counter = match upload(backend, server, seed * count + index) {
                    Ok(()) => stored,
                    Err(_) => failed,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    Tally {
        stored: stored.into_inner(),
        failed: failed.into_inner(),
    }
}

/// One of them; the words of its failure.
fn upload(backend: &Backend, server: &Server, seed: u64) -> Result<(), String> {
    let len = SIZES[seed as usize % SIZES.len()];
    let bytes = content::bytes(seed, len);
    let head = format!("name=\"file\"; filename=\"{seed}.bin\"");
    let answer = http::call(backend.address, &form(&[(&head, &bytes)]));
    let answer = answer.unwrap_or_else(|error| panic!("{seed} is not answered: {error}"));
    let json = answer.json();
    if answer.status != 200 {
        return Err(json["error"].as_str().expect("words").to_owned());
    }
    let key = json["stored"][0]["key"].as_str().expect("a key");
    assert_eq!(stat(server, key), Ok(content::etag(&bytes)), "{key}");
    Ok(())
}
