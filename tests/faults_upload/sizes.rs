//! Every size at which something changes, by every way: the right hash, and the right path there.

use haul::devserver::{DevServer, Operation, Requests};
use haul::{Protocol, Uploader, UploaderBuilder};

use crate::world::{Way, content, run};

const BLOCK: usize = 4 << 20;
const THRESHOLD: usize = 100_000;

/// Requests of each kind: form, mkblk, mkfile, initiate, part, complete.
fn counts(seen: &Requests) -> [u64; 6] {
    use Operation as O;
    let operations = [
        O::Form,
        O::Mkblk,
        O::Mkfile,
        O::Initiate,
        O::Part,
        O::Complete,
    ];
    operations.map(|operation| seen.of(operation).requests)
}

/// The requests that `len` bytes take when form ends at `threshold`.
fn due(way: Way, len: usize, threshold: usize) -> [u64; 6] {
    let lanes = len.div_ceil(BLOCK) as u64;
    match way {
        _ if len == 0 || len <= threshold => [1, 0, 0, 0, 0, 0],
        Way::V1 => [0, lanes, 1, 0, 0, 0],
        Way::V2 => [0, 0, 0, 1, lanes, 1],
        Way::Form => [1, 0, 0, 0, 0, 0],
    }
}

fn settings(way: Way, threshold: usize) -> UploaderBuilder {
    let protocol = match way {
        Way::V1 | Way::Form => Protocol::V1,
        Way::V2 => Protocol::V2,
    };
    Uploader::builder()
        .protocol(protocol)
        .threshold(threshold as u64)
}

async fn check(way: Way, len: usize, threshold: usize) {
    let server = DevServer::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(way, threshold).state_dir(dir.path().join("state"));
    let ended = run(&server, &dir, settings, content(len), |put| put).await;
    let done = ended
        .result
        .unwrap_or_else(|error| panic!("{way:?} {len}: {error}"));
    let parts = due(way, len, threshold)[4] > 0;
    let hashed_as = if parts { Way::V2 } else { Way::Form };
    let hash = hashed_as.hash(&ended.content, BLOCK as u64);
    assert_eq!(done.hash, hash.to_string(), "{way:?} {len}");
    assert_eq!(done.sent_bytes, len as u64, "{way:?} {len}");
    assert!(
        ended.stored.as_ref() == Some(&ended.content),
        "{way:?} {len}"
    );
    assert_eq!(
        counts(&ended.seen),
        due(way, len, threshold),
        "{way:?} {len}"
    );
}

/// Around the threshold, and around whole blocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_size_takes_its_path() {
    let around_threshold = [0, 1, THRESHOLD - 1, THRESHOLD, THRESHOLD + 1];
    let around_blocks = [1, 2].map(|n| [n * BLOCK - 1, n * BLOCK, n * BLOCK + 1]);
    for way in [Way::V1, Way::V2] {
        for len in around_threshold
            .into_iter()
            .chain(around_blocks.as_flattened().iter().copied())
        {
            check(way, len, THRESHOLD).await;
        }
        // Nothing is too small for lanes, when asked to.
        check(way, 1, 0).await;
    }
    for len in [0, 1]
        .into_iter()
        .chain(around_blocks.as_flattened().iter().copied())
    {
        check(Way::Form, len, usize::MAX).await;
    }
}
