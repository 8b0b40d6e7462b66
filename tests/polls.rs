//! An upload's future is polled so many times and dropped, at every stage until it completes: nothing is
//! left of it, and nothing that it told as safe is lost or sent again.
//!
//! A binary of its own: it counts what the whole process has open.
#![cfg(all(feature = "devserver", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "program/world.rs"]
#[expect(dead_code, reason = "the tests of the program use more of it")]
mod world;

use std::cell::Cell;
use std::future::{Future, IntoFuture, poll_fn};
use std::io::Cursor;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use haul::kodo::Etag;
use haul::{Done, Error, Event, Protocol, Put, Uploader};
use tokio::runtime::Runtime;

use crate::world::{PATIENCE, Server, World, content};

/// Two lanes of v1, of several chunks, and two parts of v2.
const LANES_LEN: usize = (5 << 20) + 77;

/// By form.
const FORM_LEN: usize = 300_000;

/// What a commit weighs: a list of receipts.
const COMMIT_LEN_MAX: u64 = 4096;

/// Polls that are tried one by one; from there on every so-manieth: the middle of an upload repeats
/// itself.
const ONE_BY_ONE: usize = 40;
const STRIDE: usize = 7;

/// Looks without a change after which a number stands still: a server closes a connection whose client
/// is gone within milliseconds.
const STILL_LOOKS: u32 = 200;

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    File,
    Data,
    /// From memory.
    Stream,
    /// By way of the disk.
    Spooled,
}

impl What {
    /// What is safe of it outlives the upload's future.
    fn is_kept(self) -> bool {
        matches!(self, Self::File | Self::Spooled)
    }
}

/// How an upload goes; the size of its object.
const WAYS: &[(&str, Protocol, u64, usize)] = &[
    ("form", Protocol::Auto, u64::MAX, FORM_LEN),
    ("v1", Protocol::V1, 0, LANES_LEN),
    ("v2", Protocol::V2, 0, LANES_LEN),
];

/// Waits until `is_so`, as long as patience lasts.
#[expect(clippy::disallowed_methods, reason = "tests bound their waits")]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "waited in vain: {what}");
        // A pause between two looks, so that those who are waited for get the processor.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// What this process has open: files and sockets, those of the server too.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Polls `upload` at most `polls` times; none if that was not enough.
async fn polled<T>(mut upload: Pin<Box<dyn Future<Output = T> + Send>>, polls: usize) -> Option<T> {
    let mut polled = 0;
    poll_fn(move |context| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        match upload.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if polled == polls => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A server, and the runtime of its client.
struct Rig {
    server: Server,
    runtime: Runtime,
    world: World,
    file: String,
    bytes: Vec<u8>,
    what: What,
    protocol: Protocol,
    threshold: u64,
}

impl Rig {
    fn uploader(&self) -> Uploader {
        let keys = self.server.server.credentials();
        let builder = Uploader::builder()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .endpoint(self.server.server.url())
            .state_dir(self.world.path("state"))
            .protocol(self.protocol)
            .threshold(self.threshold);
        let builder = match self.what {
            What::Spooled => builder.spool_dir(self.world.path("spool")),
            _ => builder,
        };
        builder.build().unwrap()
    }

    fn put(&self, uploader: &Uploader, key: &str) -> Put {
        match self.what {
            What::File => uploader.put_file("b", key, &self.file),
            What::Data => uploader.put_data("b", key, self.bytes.clone()),
            What::Stream | What::Spooled => {
                uploader.put_reader("b", key, Cursor::new(self.bytes.clone()))
            }
        }
    }

    /// Polls an upload to `key` so often; how it ended, and how much it told as safe.
    fn poll(&self, key: &str, polls: usize) -> (Option<Result<Done, Error>>, u64) {
        let safe = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&safe);
        let uploader = self.uploader();
        let put = self.put(&uploader, key).on_event(move |event| {
            if let Event::Progress { safe_bytes, .. } = event {
                told.store(*safe_bytes, Ordering::Relaxed);
            }
        });
        let ended = self.runtime.block_on(polled(put.into_future(), polls));
        (ended, safe.load(Ordering::Relaxed))
    }

    /// Nothing runs, and nothing is open that was not before.
    fn expect_nothing_left(&self, open_before: usize, story: &str) {
        until(&format!("{story}: no task is left"), || {
            self.runtime.metrics().num_alive_tasks() == 0
        });
        until(&format!("{story}: nothing is open"), || {
            descriptors() <= open_before
        });
        until(&format!("{story}: no half file is left"), || {
            let spooled = std::fs::read_dir(self.world.path("spool"));
            let paths = spooled
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path());
            paths
                .filter(|path| path.extension().is_some_and(|it| it == "part"))
                .count()
                == 0
        });
    }

    /// What is recorded is what was told, and the next run needs no more than the rest.
    fn finish(&self, key: &str, told: u64, story: &str) {
        let uploader = self.uploader();
        let size = self.bytes.len() as u64;
        let recorded = self.runtime.block_on(async {
            let left = uploader.unfinished().await.unwrap();
            left.iter().map(|upload| upload.safe_bytes).sum::<u64>()
        });
        let told = if self.what.is_kept() { told } else { 0 };
        // The last record and the removal of the journal may both have come after the last word.
        let before = self.server.body_bytes();
        let put = self.put(&uploader, key);
        let done = self.runtime.block_on(put.into_future());
        let done = done.unwrap_or_else(|error| panic!("{story}: {error}"));
        assert_eq!(done.hash, Etag::of(&self.bytes).to_string(), "{story}");
        let went = self.server.body_bytes() - before;
        if told < size {
            assert!(
                recorded >= told,
                "{story}: {recorded} of {told} are recorded"
            );
        }
        assert!(done.resumed_bytes >= recorded, "{story}: {done:?}");
        assert!(
            went <= size - done.resumed_bytes + COMMIT_LEN_MAX,
            "{story}: {went} bytes went, and {} were there",
            done.resumed_bytes
        );
    }
}

/// Every way, from a file, from memory and from streams; after 1, 2, 3 … polls.
#[test]
fn dropped_after_so_many_polls() {
    for &(name, protocol, threshold, len) in WAYS {
        for what in [What::File, What::Data, What::Stream, What::Spooled] {
            let world = World::new();
            let bytes = content(len);
            let rig = Rig {
                server: Server::new(),
                runtime: tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .unwrap(),
                file: world.file("f", &bytes),
                world,
                bytes,
                what,
                protocol,
                threshold,
            };
            // Once to its end: what a process opens once and keeps is open then.
            let (ended, _) = rig.poll("first", usize::MAX);
            ended.unwrap().unwrap();
            until("the first run's tasks are over", || {
                rig.runtime.metrics().num_alive_tasks() == 0
            });
            let open_before = rig.settled();
            let mut polls = 0;
            loop {
                polls += if polls < ONE_BY_ONE { 1 } else { STRIDE };
                let story = format!("{name} {what:?} after {polls} polls");
                let key = format!("k{polls}");
                let (ended, told) = rig.poll(&key, polls);
                rig.expect_nothing_left(open_before, &story);
                if let Some(done) = ended {
                    done.unwrap_or_else(|error| panic!("{story}: {error}"));
                    break;
                }
                // The next run is dropped, too: while it looks at what there is, or later.
                let (_, again) = rig.poll(&key, polls / 2 + 1);
                rig.expect_nothing_left(open_before, &story);
                rig.finish(&key, told.max(again), &story);
                rig.expect_nothing_left(open_before, &story);
            }
        }
    }
}

impl Rig {
    /// What is open, once the server has closed its ends of connections that are gone.
    fn settled(&self) -> usize {
        let (least, looks) = (Cell::new(descriptors()), Cell::new(0));
        until("the number of descriptors stands still", || {
            let now = descriptors();
            let is_less = now < least.replace(now.min(least.get()));
            looks.set(if is_less { 0 } else { looks.get() + 1 });
            looks.get() > STILL_LOOKS
        });
        least.get()
    }
}
