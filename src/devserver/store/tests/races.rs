//! Several stores on one directory, as of several processes: OS locks do not tell them apart.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::devserver::store::{PartRecord, PutOutcome, UploadRecord, key_pair};

/// Racers per round.
const RACERS: usize = 4;
/// Enough for every interleaving that matters to come up, and half a second.
const ROUNDS: usize = 60;

/// Runs `race` on `RACERS` threads that begin together; `race` gets the racer's index.
fn race<T: Send>(racer: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(RACERS);
    thread::scope(|scope| {
        let run = |index| {
            let (start, racer) = (&start, &racer);
            scope.spawn(move || {
                start.wait();
                racer(index)
            })
        };
        let racers: Vec<_> = (0..RACERS).map(run).collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    })
}

/// As many stores on one directory as there are racers.
fn stores(folder: &tempfile::TempDir) -> Vec<Store> {
    let place = Place::Disk(folder.path().to_owned());
    (0..RACERS).map(|_| open(&place)).collect()
}

/// The bytes of racer `index` in `round`: none are a mixture of others.
fn body(round: usize, index: usize) -> Vec<u8> {
    format!("{round}:{index};")
        .repeat(1 + index * 40_000)
        .into_bytes()
}

/// Processes that start together on a new directory all get in, and get the same keys.
#[test]
fn opening_and_keys() {
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("new");
        let pairs = race(|index| {
            if index % 2 == 0 {
                open(&Place::Disk(root.clone()));
            }
            key_pair(&root).unwrap()
        });
        assert!(pairs.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(key_pair(&root).unwrap(), pairs[0], "kept");
    }
}

/// Concurrent uploads of one key end as one of them, whole; with `Never` exactly one succeeds.
#[test]
fn one_key() {
    let folder = tempfile::tempdir().unwrap();
    let stores = stores(&folder);
    for round in 0..ROUNDS {
        let rule = [
            Overwrite::Never,
            Overwrite::SameHashOnly,
            Overwrite::Replace,
        ][round % 3];
        let name = format!("round {round}");
        let outcomes = race(|index| {
            runtime().block_on(async {
                let data = vec![blob(&stores[index], &body(round, index), 50_000).await];
                let record = record(&format!("{index}"), data);
                let (demo, name) = (bucket("demo"), key(&name));
                let put = stores[index].put_object(&demo, &name, record, rule);
                put.await.unwrap()
            })
        });
        let count = |outcome| outcomes.iter().filter(|found| **found == outcome).count();
        assert_eq!(count(PutOutcome::Created), 1, "{rule:?} {outcomes:?}");
        let rest = if rule == Overwrite::Replace {
            PutOutcome::Replaced
        } else {
            PutOutcome::Refused
        };
        assert_eq!(count(rest), RACERS - 1, "{rule:?} {outcomes:?}");
        runtime().block_on(async {
            let object = stores[0]
                .object(&bucket("demo"), &key(&name))
                .await
                .unwrap()
                .unwrap();
            let winner: usize = object.hash.parse().unwrap();
            assert!(rule == Overwrite::Replace || outcomes[winner] == PutOutcome::Created);
            let found = bytes_of(&stores[1], &name).await.unwrap().unwrap();
            assert!(found == body(round, winner), "whole");
        });
    }
}

/// A part that arrives while its upload is being removed is either in before and removed with it,
/// or refused: nothing is left that belongs to no upload.
#[test]
fn parts_and_the_end_of_their_upload() {
    let folder = tempfile::tempdir().unwrap();
    let stores = stores(&folder);
    for _ in 0..ROUNDS {
        let expires = clock::unix_seconds(later());
        let new = UploadRecord {
            expires,
            ..UploadRecord::default()
        };
        let id = runtime().block_on(stores[0].create_upload(new)).unwrap();
        race(|index| {
            runtime().block_on(async {
                if index == 0 {
                    return assert!(stores[0].remove_upload(&id).await.unwrap());
                }
                let part = PartRecord {
                    number: index as u32,
                    extent: blob(&stores[index], b"part", 4).await,
                    etag: String::new(),
                    put_time: 0,
                    head: vec![],
                };
                stores[index].put_part(&id, part).await.unwrap();
            });
        });
        assert_eq!(runtime().block_on(stores[1].parts(&id)).unwrap(), vec![]);
    }
}

/// A sweep without any grace runs all the time: what was stored stays whole nevertheless, wherever
/// it is moved. An upload may be told that its bytes are gone; it then did not succeed.
#[test]
fn sweeping_against_storing_and_moving() {
    let folder = tempfile::tempdir().unwrap();
    let stores = stores(&folder);
    let done = AtomicBool::new(false);
    let stored = race(|index| {
        if index == 0 {
            while !done.load(Ordering::Relaxed) {
                stores[0]
                    .inner
                    .sweep(clock::wall(), Duration::ZERO, &|| true)
                    .unwrap();
            }
            return 0;
        }
        let _done = SetWhenDropped(&done);
        runtime().block_on(store_and_move(&stores[index], index))
    });
    assert!(
        stored[1..].iter().sum::<usize>() > 0,
        "the race was one: {stored:?}"
    );
}

/// Ends the sweeping also when a racer fails.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Stores and moves to and fro; says how often storing succeeded.
async fn store_and_move(store: &Store, index: usize) -> usize {
    let (demo, here, there) = (
        bucket("demo"),
        format!("here {index}"),
        format!("there {index}"),
    );
    let mut stored = 0;
    for round in 0..ROUNDS * 4 {
        let bytes = body(round, index);
        let data = vec![blob(store, &bytes, 50_000).await];
        let (here, there) = (key(&here), key(&there));
        let put = store.put_object(&demo, &here, record("", data), Overwrite::Replace);
        match put.await {
            Ok(_) => stored += 1,
            Err(StoreError::Missing { .. }) => continue,
            Err(error) => panic!("{error}"),
        }
        for (from, to) in [(&here, &there), (&there, &here)] {
            let moved = store.copy_object((&demo, from), (&demo, to), Overwrite::Replace, true);
            assert!(moved.await.unwrap().is_some());
            let found = bytes_of(store, to.as_str()).await.unwrap().unwrap();
            assert!(found == bytes, "whole after the move");
        }
    }
    stored
}
