use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::record::{Checkpoint, Record};
use crate::journal::disk::{LOCK_LOOKS_OWN, LOCK_PAUSE, Note, Opened, mend};
use crate::journal::file::{journal_path, lock_path, make_dir, uploads_dir};
use crate::journal::header::{Header, SourcePath};
use crate::journal::lock::Owner;
use crate::journal::queue::Journal;
use crate::journal::tests::{
    MIB, MemoryFile, NOW, SIZE, begun, committing, header, journal, lines, ours, segment, story,
};
use crate::journal::{OpenError, Unavailable};

/// A state directory that holds `bytes` as the journal of [`header`].
fn state_with(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let state = tempfile::tempdir().unwrap();
    let dir = uploads_dir(state.path());
    fs::create_dir_all(&dir).unwrap();
    let path = journal_path(&dir, header().identity());
    fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut fs::File::create(&path).unwrap(), bytes).unwrap();
    (state, path)
}

async fn open(state_dir: &Path) -> Opened {
    Journal::open(state_dir, header()).await.unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = names
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// An upload from its first record to its last, in three runs; at its end nothing is left behind.
#[tokio::test]
async fn three_runs() {
    let state = tempfile::tempdir().unwrap();
    let dir = uploads_dir(&state.path().join("deep/haul"));
    let state_dir = state.path().join("deep/haul");
    let first = open(&state_dir).await;
    assert_eq!(
        (first.checkpoint, first.notes.len()),
        (Checkpoint::default(), 0)
    );
    assert_eq!(
        files(&dir).len(),
        1,
        "a lock, no journal before the first record"
    );
    let tickets: Vec<_> = story(30)
        .iter()
        .map(|record| first.journal.append(record))
        .collect();
    for ticket in tickets {
        ticket.await.unwrap();
    }
    // Dropped, as by a stopped upload: the next run waits for it, even without its tickets.
    let last = first.journal.append(&segment(200, 0));
    drop((last, first.journal));

    let second = open(&state_dir).await;
    let mut records = story(30);
    records.push(segment(200, 0));
    assert_eq!(second.checkpoint, Checkpoint::replay(&records, SIZE).0);
    assert_eq!(second.notes.len(), 0, "{:?}", second.notes);
    second.journal.append(&segment(201, 0)).await.unwrap();
    second.journal.close().await.unwrap();

    let third = open(&state_dir).await;
    records.push(segment(201, 0));
    assert_eq!(third.checkpoint, Checkpoint::replay(&records, SIZE).0);
    third.journal.remove().await.unwrap();
    assert_eq!(files(&dir), Vec::<String>::new());
    drop(open(&state_dir).await);
    assert_eq!(files(&dir), Vec::<String>::new(), "no record, no trace");
}

/// A spoilt journal is cut to what is valid, and what is appended then is found again.
#[tokio::test]
async fn appending_after_recovery() {
    let records = story(16);
    let lines = lines(&header(), &records);
    let good = lines.concat();
    let torn = good.len() - 5;
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 4;
    let mut senseless = records.clone();
    senseless.extend([segment(9, 1), segment(10, 0)]);
    let other_size = |header: &mut Header| header.source.size = 3 * MIB;
    let mut small = header();
    other_size(&mut small);
    // (story, bytes, the notes that are due)
    let rows: &[(&str, Vec<u8>, &str)] = &[
        ("whole", good.clone(), ""),
        ("long", journal(&header(), &story(700)), ""),
        ("torn", good[..torn].to_vec(), "TailCut"),
        ("doubled", [good.as_slice(), &good].concat(), "TailCut"),
        (
            "zeros at its end",
            [good.as_slice(), &[0; 999]].concat(),
            "TailCut",
        ),
        ("flipped in its middle", flipped, "TailCut"),
        ("gap in a lane", journal(&header(), &senseless), "Senseless"),
        ("header only", journal(&header(), &[]), ""),
        ("empty", Vec::new(), ""),
        ("zeros", vec![0; 4096], "Damaged"),
        ("header torn", good[..99].to_vec(), "Damaged"),
        (
            "of another size",
            journal(&small, &[begun(), segment(0, 0)]),
            "Resized",
        ),
    ];
    for (story, bytes, expected) in rows {
        let (state, path) = state_with(bytes);
        let opened = open(state.path()).await;
        let notes = format!("{:?}", opened.notes);
        assert!(notes.contains(expected), "{story}: {notes}");
        assert_eq!(notes.len() == 2, expected.is_empty(), "{story}: {notes}");
        // What is there is a beginning of what was, to which one can append.
        let mut appended = Vec::new();
        if opened.checkpoint.layout.is_none() {
            appended.push(begun());
        }
        appended.push(segment(250, 0));
        for record in &appended {
            opened.journal.append(record).await.unwrap();
        }
        opened.journal.close().await.unwrap();
        let found = ours(&fs::read(&path).unwrap());
        assert!(found.records.ends_with(&appended), "{story}");
        if *story == "long" {
            assert_eq!(
                opened.checkpoint,
                Checkpoint::replay(&crate::journal::tests::story(700), SIZE).0
            );
        }
        assert_eq!(found.header, header(), "{story}");
        let again = open(state.path()).await;
        assert_eq!(again.notes.len(), 0, "{story}: {:?}", again.notes);
        let mut expected = opened.checkpoint;
        let lane = again.checkpoint.lanes[&250].clone();
        expected.lanes.insert(250, lane);
        expected.layout = again.checkpoint.layout;
        assert_eq!(again.checkpoint, expected, "{story}");
    }
}

/// What is not ours, or newer, is left as it is.
#[tokio::test]
async fn left_alone() {
    let mut other = header();
    other.target.access_key = "someone-else".to_owned();
    let of_another = journal(&other, &[begun()]);
    let sum = crc32fast::hash(b"haul-journal 7 {}");
    let newer = format!("haul-journal 7 {sum:08x} {{}}\nmore\n");
    let big = vec![b'x'; 300_000];
    let rows: &[(&str, &[u8])] = &[
        ("a note to oneself", b"do not lose this"),
        ("a big file", &big),
        ("another upload's journal", &of_another),
        ("a newer journal", newer.as_bytes()),
    ];
    for (story, bytes) in rows {
        let (state, path) = state_with(bytes);
        let refused = Journal::open(state.path(), header()).await.unwrap_err();
        let newer = matches!(
            refused,
            OpenError::Unavailable(Unavailable::Newer { version: 7, .. })
        );
        let foreign = matches!(refused, OpenError::Unavailable(Unavailable::Foreign { .. }));
        assert!(newer || foreign, "{story}: {refused:?}");
        assert_eq!(newer, *story == "a newer journal");
        assert_eq!(fs::read(&path).unwrap(), *bytes, "{story}");
    }
    let (state, path) = state_with(b"");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let refused = Journal::open(state.path(), header()).await.unwrap_err();
    assert!(matches!(
        refused,
        OpenError::Unavailable(Unavailable::Foreign { .. })
    ));
}

/// The source as it is now replaces what the header said of it; the birthday stays.
#[tokio::test]
async fn the_source_changed_between_runs() {
    let records = [begun(), segment(0, 0), segment(1, 0), committing(1)];
    let mut touched = header();
    touched.source.mtime_ns += 1;
    touched.source.path = SourcePath::new(Path::new("/moved"));
    touched.created += 60;
    let mut resized = touched.clone();
    resized.source.size = 5 * MIB;
    for (now, kept, safe) in [(touched, 4, MIB), (resized, 2, MIB / 2)] {
        let (state, path) = state_with(&journal(&header(), &records));
        let opened = Journal::open(state.path(), now.clone()).await.unwrap();
        match opened.notes.as_slice() {
            [Note::Touched { was }] => assert_eq!((was, kept), (&header().source, 4)),
            [
                Note::Resized {
                    was, safe_bytes, ..
                },
            ] => {
                assert_eq!((*was, *safe_bytes), (SIZE, (MIB, MIB / 2)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(opened.checkpoint.safe_bytes(), safe);
        assert_eq!(opened.checkpoint.committing.is_some(), kept == 4);
        let found = ours(&fs::read(&path).unwrap());
        assert_eq!(found.records, records[..kept]);
        assert_eq!(found.header.source, now.source);
        assert_eq!(found.header.created, header().created);
    }
}

/// A journal does not grow without end: what is void is left out when it becomes too much.
#[tokio::test]
async fn void_records_go() {
    let restarts = |count: u64| {
        let mut records = vec![begun(), segment(1, 0)];
        for _ in 0..count {
            records.extend([segment(0, 0), Record::LaneReset { lane: 0 }]);
        }
        records
    };
    for (count, rewritten) in [(32, false), (33, true)] {
        let before = journal(&header(), &restarts(count));
        let (state, path) = state_with(&before);
        let opened = open(state.path()).await;
        assert_eq!(opened.notes.len(), 0);
        assert_eq!(opened.checkpoint.safe_bytes(), MIB / 2);
        let after = fs::read(&path).unwrap();
        assert_eq!(after != before, rewritten, "{count} restarts");
        opened.journal.append(&segment(1, 1)).await.unwrap();
        let found = ours(&fs::read(&path).unwrap()).records;
        assert_eq!(found.last(), Some(&segment(1, 1)));
        assert_eq!(found.len() == 3, rewritten);
    }
}

/// A second one is refused and told who holds it, also within one process, until the first is gone.
/// A lock's owner record that is not written yet keeps nobody waiting.
#[tokio::test(start_paused = true)]
async fn one_at_a_time() {
    let state = tempfile::tempdir().unwrap();
    let first = open(state.path()).await;
    let refused = Journal::open(state.path(), header()).await.unwrap_err();
    let OpenError::Held { owner: Some(owner) } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*owner, Owner::this_process(NOW));
    let text = refused.to_string();
    let pid = format!("process {}", std::process::id());
    assert!(
        text.contains(&pid) && text.contains("since Thu, 20 Nov 2025"),
        "{text}"
    );
    // Another key is another upload.
    let mut other = header();
    other.target.key = None;
    Journal::open(state.path(), other).await.unwrap();

    let lock = lock_path(&uploads_dir(state.path()), header().identity());
    fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&lock)
        .unwrap();
    let refused = Journal::open(state.path(), header()).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::Held { owner: None }),
        "{refused:?}"
    );
    // Nor is another process waited for as if it were this one.
    let other = br#"{"pid":1,"since":1,"host":"elsewhere"}"#;
    let mut file = fs::OpenOptions::new().write(true).open(&lock).unwrap();
    std::io::Write::write_all(&mut file, other).unwrap();
    let begun = tokio::time::Instant::now();
    Journal::open(state.path(), header()).await.unwrap_err();
    assert!(begun.elapsed() < LOCK_PAUSE * LOCK_LOOKS_OWN / 2);
    drop(first.journal);
    open(state.path()).await;
}

/// An upload that was just dropped may still be writing: the next of this process waits for it.
#[tokio::test(start_paused = true)]
async fn waiting_for_oneself() {
    let state = tempfile::tempdir().unwrap();
    let first = open(state.path()).await;
    let dropping = tokio::spawn(async move {
        tokio::time::sleep(LOCK_PAUSE * (LOCK_LOOKS_OWN - 20)).await;
        drop(first);
    });
    open(state.path()).await;
    dropping.await.unwrap();
}

/// Directories and files are for their owner only, whatever was there before.
#[cfg(unix)]
#[tokio::test]
async fn permissions() {
    use std::os::unix::fs::PermissionsExt;

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let state = tempfile::tempdir().unwrap();
    let state_dir = state.path().join("haul");
    let opened = open(&state_dir).await;
    opened.journal.append(&begun()).await.unwrap();
    let dir = uploads_dir(&state_dir);
    assert_eq!((mode(&state_dir), mode(&dir)), (0o700, 0o700));
    for file in files(&dir) {
        assert_eq!(mode(&dir.join(&file)), 0o600, "{file}");
    }
    opened.journal.close().await.unwrap();
    // Nothing is given, only taken.
    for (before, after) in [(0o755, 0o700), (0o701, 0o700), (0o500, 0o500)] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(before)).unwrap();
        make_dir(&dir).unwrap();
        assert_eq!(mode(&dir), after, "{before:o}");
    }
}

/// A state directory that cannot be is no reason to fail, and says what is wrong with it.
#[tokio::test]
async fn no_state_directory() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    fs::File::create(&file).unwrap();
    let refused = Journal::open(&file, header()).await.unwrap_err();
    let text = refused.to_string();
    assert!(
        matches!(refused, OpenError::Unavailable(Unavailable::Io { .. })),
        "{text}"
    );
    assert!(
        text.starts_with("cannot make ") && text.contains("file/uploads"),
        "{text}"
    );
    let (state, path) = state_with(b"");
    fs::create_dir(path.with_extension("draft")).unwrap();
    let refused = Journal::open(state.path(), header()).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.starts_with("cannot remove "), "{text}");
}

/// On a full disk a journal that must be mended is still believed, but takes no more records.
#[test]
fn full_while_mending() {
    let records = story(16);
    let good = journal(&header(), &records);
    let mut touched = header();
    touched.source.inode += 1;
    for (bytes, header) in [
        (good.clone(), touched),
        (good[..good.len() - 1].to_vec(), header()),
        (good.clone(), header()),
    ] {
        let mut file = MemoryFile::with(bytes);
        file.fail_from(1);
        let mended = mend(&mut file, Path::new("memory"), header).unwrap();
        assert!(mended.checkpoint.safe_bytes() > 0);
        assert!(mended.start.broken.is_some());
        assert!(matches!(mended.notes.last(), Some(Note::Unavailable(_))));
    }
    let mut file = MemoryFile::with(good);
    file.fail_from(0);
    let unread = mend(&mut file, Path::new("memory"), header()).unwrap_err();
    assert!(
        unread.to_string().starts_with("cannot read memory: "),
        "{unread}"
    );
}
