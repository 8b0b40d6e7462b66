//! What killed processes, power cuts and strangers leave behind.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::devserver::store::{PutOutcome, UploadRecord, key_pair};

/// A story, and what it does to a record's bytes.
type Damage = (&'static str, fn(Vec<u8>) -> Vec<u8>);

/// A story, and what it does to a blob's file.
type Harm = (&'static str, fn(&Path));

/// All files under `root`, with their lengths.
fn files(root: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path(), metadata.len()));
            }
        }
    }
    found.sort();
    found
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().write_all(bytes).unwrap();
}

/// The one file under `folder` that is there now and was not there before.
fn new_file(folder: &Path, before: &[(PathBuf, u64)]) -> PathBuf {
    let now = files(folder);
    let mut new = now.into_iter().filter(|file| !before.contains(file));
    let (path, _) = new.next().unwrap();
    assert_eq!(new.next(), None);
    path
}

/// Directories that are not a store of ours are refused, with a message that helps, and untouched.
#[test]
fn strangers_are_refused_untouched() {
    let rows = [
        ("notes.txt", "my notes", "is no haul store"),
        (
            "format",
            "haul dev server store 2\n",
            "haul dev server store 2",
        ),
        ("format", "ext4", "`ext4`"),
        ("format", "", "format"),
        ("objects/demo/x", "", "is no haul store"),
    ];
    for (name, text, words) in rows {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join(name), text.as_bytes());
        let before = files(folder.path());
        let place = Place::Disk(folder.path().to_owned());
        let error = Store::open(&place, clock::wall()).unwrap_err().to_string();
        assert!(
            error.contains(words) && error.contains("nothing was touched"),
            "{error}"
        );
        assert!(key_pair(folder.path()).is_err());
        assert_eq!(files(folder.path()), before, "{name}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(Store::open(&Place::Disk(file.path().to_owned()), clock::wall()).is_err());
}

/// A record that is torn, changed, of another object or no record at all is as good as absent: it
/// can be replaced, is not listed, and does not harm its neighbours.
#[test]
fn damaged_records_count_as_absent() {
    let damages: [Damage; 6] = [
        ("torn", |mut bytes| {
            bytes.truncate(bytes.len() / 2);
            bytes
        }),
        ("empty", |_| vec![]),
        ("zeroed", |bytes| vec![0; bytes.len()]),
        ("one bit", |mut bytes| {
            bytes[20] ^= 1;
            bytes
        }),
        ("longer", |mut bytes| {
            bytes.push(b' ');
            bytes
        }),
        ("no record", |_| b"{\"key\":\"victim\"}".to_vec()),
    ];
    for (story, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&Place::Disk(folder.path().to_owned()));
        runtime().block_on(async {
            put(&store, "neighbour", b"safe").await;
            let objects = folder.path().join("objects");
            let before = files(&objects);
            put(&store, "victim", b"old").await;
            let path = new_file(&objects, &before);
            write(&path, &damage(fs::read(&path).unwrap()));
            assert!(bytes_of(&store, "victim").await.is_none(), "{story}");
            let all = PageQuery {
                limit: 9,
                ..PageQuery::default()
            };
            assert_eq!(names(&store, all).await, ["neighbour"], "{story}");
            sweep(&store);
            assert_eq!(
                bytes_of(&store, "neighbour").await.unwrap().unwrap(),
                b"safe"
            );
            put(&store, "victim", b"new").await;
            assert_eq!(
                bytes_of(&store, "victim").await.unwrap().unwrap(),
                b"new",
                "{story}"
            );
        });
    }
}

/// A record under another object's file name shows neither object under a wrong name.
#[test]
fn records_know_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&Place::Disk(folder.path().to_owned()));
    runtime().block_on(async {
        put(&store, "a", b"a").await;
        let objects = folder.path().join("objects");
        let a = files(&objects)[0].0.clone();
        let before = files(&objects);
        put(&store, "b", b"b").await;
        fs::copy(new_file(&objects, &before), &a).unwrap();
        assert!(bytes_of(&store, "a").await.is_none());
        assert_eq!(bytes_of(&store, "b").await.unwrap().unwrap(), b"b");
    });
}

/// Bytes that are gone, too few or too many make a clean error before the first one is given out;
/// and no record can be written that refers to them.
#[test]
fn damaged_bytes_are_not_served() {
    let rows: [Harm; 3] = [
        ("gone", |path| fs::remove_file(path).unwrap()),
        ("short", |path| write(path, b"byte")),
        ("long", |path| write(path, b"bytes and more")),
    ];
    for (story, damage) in rows {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&Place::Disk(folder.path().to_owned()));
        runtime().block_on(async {
            put(&store, "k", b"bytes").await;
            damage(&files(&folder.path().join("blobs"))[0].0);
            let error = bytes_of(&store, "k").await.unwrap().unwrap_err();
            let clean = matches!(
                error,
                StoreError::Missing { .. } | StoreError::Damaged { .. }
            );
            assert!(clean, "{story}: {error}");
            let (demo, k, copy) = (bucket("demo"), key("k"), key("copy"));
            let copied = store.copy_object((&demo, &k), (&demo, &copy), Overwrite::Never, true);
            assert!(copied.await.is_err(), "{story}");
            assert!(
                store.object(&demo, &copy).await.unwrap().is_none(),
                "{story}"
            );
            assert!(
                store.object(&demo, &k).await.unwrap().is_some(),
                "{story}: not lost"
            );
            put(&store, "k", b"again").await;
            assert_eq!(
                bytes_of(&store, "k").await.unwrap().unwrap(),
                b"again",
                "{story}"
            );
        });
    }
}

/// Every kind of leftover goes with a sweep; what lives stays, also a body that arrives slowly.
#[test]
fn leftovers_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&Place::Disk(folder.path().to_owned()));
    runtime().block_on(async {
        put(&store, "k", b"bytes").await;
        let mut slow = store.blob().await.unwrap();
        // Enough for a first write, which makes the file.
        slow.write(&Bytes::from(vec![1; 300_000])).await.unwrap();
        slow.write(&Bytes::from(vec![1; 300_000])).await.unwrap();
        let id = "0".repeat(32);
        let leftovers = [
            format!("incoming/{id}"),
            format!("blobs/00/{id}"),
            format!("uploads/{id}/parts/1.json"),
        ];
        for name in &leftovers {
            write(&folder.path().join(name), b"half");
        }
        sweep(&store);
        for name in &leftovers {
            assert!(!folder.path().join(name).exists(), "{name}");
        }
        assert!(!folder.path().join(format!("uploads/{id}")).exists());
        let extent = slow.finish().await.unwrap();
        let (demo, name, record) = (bucket("demo"), key("slow"), record("s", vec![extent]));
        let put = store.put_object(&demo, &name, record, Overwrite::Never);
        assert_eq!(put.await.unwrap(), PutOutcome::Created);
        assert_eq!(
            bytes_of(&store, "slow").await.unwrap().unwrap().len(),
            600_000
        );
        assert_eq!(bytes_of(&store, "k").await.unwrap().unwrap(), b"bytes");
        assert!(files(&folder.path().join("incoming")).is_empty());
    });
}

/// A reopened store has everything; a damaged key pair is made anew, a whole one kept.
#[test]
fn reopening() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::Disk(folder.path().to_owned());
    let expires = clock::unix_seconds(later());
    let new = UploadRecord {
        expires,
        ..UploadRecord::default()
    };
    let id = runtime().block_on(async {
        let store = open(&place);
        put(&store, "k", b"bytes").await;
        store.create_upload(new.clone()).await.unwrap()
    });
    runtime().block_on(async {
        let store = open(&place);
        assert_eq!(bytes_of(&store, "k").await.unwrap().unwrap(), b"bytes");
        assert_eq!(store.upload(&id).await.unwrap(), Some(new));
    });
    let pair = key_pair(folder.path()).unwrap();
    assert_eq!(key_pair(folder.path()).unwrap(), pair);
    assert!(!format!("{pair:?}").contains(&pair.secret_key));
    write(&folder.path().join("keys.json"), b"{");
    let other = key_pair(folder.path()).unwrap();
    assert_ne!(other.secret_key, pair.secret_key);
    assert_eq!(key_pair(folder.path()).unwrap(), other);
}

/// What is stored is for its owner alone.
#[cfg(unix)]
#[test]
fn nobody_else_may_look() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/store");
    runtime().block_on(put(&open(&Place::Disk(root.clone())), "k", b"bytes"));
    key_pair(&root).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let found = files(&root);
    assert!(found.len() >= 6, "{found:?}");
    for (path, _) in found {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let folders = path.ancestors().skip(1);
        for folder in folders.take_while(|folder| folder.starts_with(&root)) {
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
        }
    }
}

/// Whoever reads an old object when it is replaced or deleted has a while to finish: the grace of its
/// bytes begins then, and not when they came.
#[test]
fn readers_of_what_goes_are_spared() {
    let grace = Duration::from_secs(60);
    for is_deleted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&Place::Disk(folder.path().to_owned()));
        runtime().block_on(async {
            let data = vec![
                blob(&store, b"one ", 9).await,
                blob(&store, b"two", 9).await,
            ];
            let (demo, name) = (bucket("demo"), key("k"));
            let object = record("hash", data.clone());
            let stored = store.put_object(&demo, &name, object, Overwrite::Replace);
            stored.await.unwrap();
            let hour = Duration::from_secs(60 * 60);
            for (path, _) in files(&folder.path().join("blobs")) {
                let file = File::options().write(true).open(path).unwrap();
                file.set_modified(clock::wall() - hour).unwrap();
            }
            let mut reading = store.read(&data, ByteSpan::new(0, 7)).await.unwrap();
            let first = reading.try_next().await.unwrap();
            if is_deleted {
                store.delete_object(&demo, &name).await.unwrap();
            } else {
                put(&store, "k", b"new").await;
            }
            sweep_at(&store, clock::wall(), grace);
            let rest = reading.try_next().await.unwrap();
            let both = [first.unwrap(), rest.unwrap()].concat();
            assert_eq!(both, b"one two", "deleted: {is_deleted}");
        });
    }
}
