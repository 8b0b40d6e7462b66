//! A process that is killed while it stores: this test program, run again as a child.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// The child's test, as the test runner knows it.
const CHILD: &str = "devserver::store::tests::killed::child";
/// Kills of one store.
const KILLS: usize = 12;
/// Keys that the child replaces in turn.
const KEYS: u64 = 3;

/// The bytes of the child's step `number`.
fn body(number: u64) -> Vec<u8> {
    let len = (number * 77_777 % 700_000) as usize;
    (0..len).map(|at| (at as u64 + number) as u8).collect()
}

/// Not a test of its own: stores without end under the root that its standard input names, and
/// says so after each step.
#[test]
#[ignore = "run by killed_at_any_point"]
fn child() {
    let mut root = String::new();
    std::io::stdin().read_line(&mut root).unwrap();
    if root.trim().is_empty() {
        return;
    }
    runtime().block_on(async {
        let store = open(&Place::Disk(root.trim_end().into()));
        let mut number = 1 + clock::unix_seconds(clock::wall()) * 100_000;
        loop {
            let name = format!("{}", number % KEYS);
            let data = vec![blob(&store, &body(number), 30_000).await];
            let record = record(&number.to_string(), data);
            let (demo, name) = (bucket("demo"), key(&name));
            let put = store.put_object(&demo, &name, record, Overwrite::Replace);
            put.await.unwrap();
            println!("stored {number}");
            number += 1;
        }
    });
}

/// Runs the child until it has said so `steps` times, then kills it wherever it is; gives the last
/// number that it reported for each key.
fn run_and_kill(root: &str, steps: usize) -> BTreeMap<u64, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            CHILD,
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{root}").unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let numbers = lines
        .map(Result::unwrap)
        .filter_map(|line| line.split("stored ").nth(1)?.parse().ok());
    let reported = numbers
        .take(steps)
        .map(|number: u64| (number % KEYS, number));
    let reported = reported.collect();
    child.kill().unwrap();
    child.wait().unwrap();
    reported
}

/// Whatever a kill interrupts: what was reported as stored is there, whole, or has been replaced,
/// whole; and a sweep leaves exactly the bytes of the objects.
#[test]
fn killed_at_any_point() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    for kill in 0..KILLS {
        let reported = run_and_kill(root, 1 + kill % 5);
        runtime().block_on(async {
            let store = open(&Place::Disk(root.into()));
            for name in 0..KEYS {
                let (demo, k) = (bucket("demo"), key(&name.to_string()));
                let Some(object) = store.object(&demo, &k).await.unwrap() else {
                    assert!(!reported.contains_key(&name), "kill {kill}: lost");
                    continue;
                };
                let number: u64 = object.hash.parse().unwrap();
                assert!(Some(&number) >= reported.get(&name), "kill {kill}: older");
                let found = bytes_of(&store, k.as_str()).await.unwrap().unwrap();
                assert!(found == body(number), "kill {kill}: torn");
            }
            sweep(&store);
            let all = PageQuery {
                limit: 9,
                ..PageQuery::default()
            };
            let objects = store.list(&bucket("demo"), all).await.unwrap().len();
            let blobs = store.inner.blobs.ids().unwrap().len();
            // An object of no bytes has no blob.
            assert!(
                blobs <= objects,
                "kill {kill}: {blobs} blobs of {objects} objects"
            );
        });
    }
}
