use std::fs;
use std::path::Path;

use crate::engine::record::{Checkpoint, Record};
use crate::journal::file::{journal_path, lock_path, uploads_dir};
use crate::journal::header::{Header, Identity};
use crate::journal::index::{Entry, FindError, find, list, look, remove, sweep};
use crate::journal::lock::Owner;
use crate::journal::queue::Journal;
use crate::journal::tests::{NOW, SIZE, begun, header, journal, segment, story};
use crate::journal::{OpenError, Unavailable};
use crate::model::ObjectKey;

fn header_of(key: &str, created: u64) -> Header {
    let mut header = header();
    header.target.key = Some(ObjectKey::new(key).unwrap());
    header.created = created;
    header
}

fn put(dir: &Path, name: impl AsRef<Path>, bytes: &[u8]) {
    let mut file = fs::File::create(dir.join(name)).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

fn put_journal(dir: &Path, header: &Header, records: &[Record]) {
    let path = journal_path(dir, header.identity());
    put(dir, path, &journal(header, records));
}

/// A spoilt journal, a newer one, `of_another` under a name that is not its own, and strangers.
fn put_what_is_no_upload(dir: &Path, of_another: &Header) {
    let spoilt = header_of("spoilt", NOW).identity();
    put(dir, journal_path(dir, spoilt), b"haul-journal 1 0000");
    let sum = crc32fast::hash(b"haul-journal 3 {}");
    let newer = header_of("newer", NOW).identity();
    let text = format!("haul-journal 3 {sum:08x} {{}}\n");
    put(dir, journal_path(dir, newer), text.as_bytes());
    let copied = journal_path(dir, header_of("copied", NOW).identity());
    put(dir, &copied, &journal(of_another, &[]));
    let folder = journal_path(dir, header_of("folder", NOW).identity());
    fs::create_dir(&folder).unwrap();
    put(dir, "notes.txt", b"mine");
    put(dir, lock_path(dir, header_of("left", NOW).identity()), b"");
    fs::create_dir(dir.join("folder")).unwrap();
}

/// A directory in which everything lies about: what is listed, in which order, and what is said of
/// each; nothing of it is changed by looking.
#[tokio::test]
async fn listing() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(
        list(state.path()).unwrap().len(),
        0,
        "no directory, no uploads"
    );
    let dir = uploads_dir(state.path());
    let held = Journal::open(state.path(), header_of("held", NOW))
        .await
        .unwrap();
    held.journal.append(&begun()).await.unwrap();
    let old = header_of("old", NOW - 1000);
    put_journal(&dir, &old, &story(50));
    let torn = header_of("torn", NOW + 5);
    let bytes = journal(&torn, &[begun(), segment(0, 0)]);
    put(
        &dir,
        journal_path(&dir, torn.identity()),
        &bytes[..bytes.len() - 3],
    );
    put_what_is_no_upload(&dir, &old);

    let entries = list(state.path()).unwrap();
    let uploads: Vec<_> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Upload(upload) => Some(upload),
            _ => None,
        })
        .collect();
    let keys = uploads
        .iter()
        .map(|upload| upload.header.target.key.as_ref().unwrap().as_str());
    assert_eq!(keys.collect::<Vec<_>>(), ["old", "held", "torn"]);
    assert_eq!(
        uploads[0].checkpoint,
        Checkpoint::replay(&story(50), SIZE).0
    );
    assert_eq!(uploads[0].header, old);
    assert_eq!(uploads[0].identity, old.identity());
    assert_eq!(uploads[0].holder, None);
    assert_eq!(uploads[1].holder, Some(Some(Owner::this_process(NOW))));
    assert_eq!((uploads[1].torn_bytes, uploads[0].torn_bytes), (0, 0));
    assert!(uploads[2].torn_bytes > 0);
    assert_eq!(uploads[2].checkpoint.safe_bytes(), 0);
    let mut others: Vec<_> = entries[3..]
        .iter()
        .map(|entry| format!("{entry:?}"))
        .collect();
    others.sort();
    let kinds: Vec<_> = others
        .iter()
        .map(|text| text.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "Damaged", "Foreign", "Foreign", "Foreign", "Foreign", "Newer"
        ]
    );

    // Looking took nothing from the one who holds it.
    held.journal.append(&segment(0, 0)).await.unwrap();
    let Some(Entry::Upload(upload)) = look(state.path(), header_of("held", NOW).identity()) else {
        panic!("gone");
    };
    assert_eq!(upload.checkpoint.lanes.len(), 1);
}

/// What cannot be looked at is said, and not taken for no uploads.
#[test]
fn not_to_be_looked_at() {
    let state = tempfile::tempdir().unwrap();
    let identity = header().identity();
    assert!(look(state.path(), identity).is_none(), "no directory");
    put(state.path(), "file", b"");
    put(state.path(), "uploads", b"");
    let refused = list(state.path()).unwrap_err();
    assert!(refused.to_string().starts_with("cannot list "), "{refused}");
    let state_dir = state.path().join("file");
    let entry = look(&state_dir, identity).expect("no answer is not nothing");
    assert!(matches!(entry, Entry::Unreadable(_)), "{entry:?}");
}

/// An upload is found by as much of its identity as tells it from the others.
#[test]
fn finding() {
    let state = tempfile::tempdir().unwrap();
    let dir = uploads_dir(state.path());
    fs::create_dir_all(&dir).unwrap();
    let missing = find(state.path(), "ab").unwrap_err();
    assert_eq!(
        missing.to_string(),
        "no unfinished upload's identity begins with `ab`"
    );
    let identity = |digits: &str| Identity::parse(&format!("{digits:0<40}")).unwrap();
    put(&dir, journal_path(&dir, identity("cd")), b"");
    let careless = find(state.path(), "").unwrap_err();
    assert!(
        matches!(careless, FindError::Several { .. }),
        "an empty variable in a script"
    );
    for digits in ["ab1", "ab2"] {
        put(&dir, journal_path(&dir, identity(digits)), b"");
    }
    assert_eq!(find(state.path(), "c").unwrap(), identity("cd"));
    assert_eq!(find(state.path(), "AB2").unwrap(), identity("ab2"));
    let whole = identity("ab1").to_string();
    assert_eq!(find(state.path(), &whole).unwrap(), identity("ab1"));
    let several = find(state.path(), "ab").unwrap_err();
    assert!(
        several.to_string().starts_with("2 unfinished uploads"),
        "{several}"
    );
    let FindError::Several { found, .. } = several else {
        panic!("{several:?}");
    };
    assert_eq!(found, [identity("ab1"), identity("ab2")]);
    assert!(matches!(
        find(state.path(), "").unwrap_err(),
        FindError::Several { .. }
    ));
    assert!(matches!(
        find(state.path(), "e").unwrap_err(),
        FindError::None { .. }
    ));
}

/// One upload is removed with all that belongs to it; what is held, newer or not ours stays.
#[tokio::test]
async fn removing() {
    let state = tempfile::tempdir().unwrap();
    let dir = uploads_dir(state.path());
    let identity = header().identity();
    assert!(
        !remove(state.path(), identity, NOW).unwrap(),
        "no directory"
    );
    let opened = Journal::open(state.path(), header()).await.unwrap();
    opened.journal.append(&begun()).await.unwrap();
    let refused = remove(state.path(), identity, NOW).unwrap_err();
    assert!(
        matches!(refused, OpenError::Held { owner: Some(_) }),
        "{refused:?}"
    );
    opened.journal.close().await.unwrap();
    assert!(remove(state.path(), identity, NOW).unwrap());
    assert!(!remove(state.path(), identity, NOW).unwrap());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);

    let path = journal_path(&dir, identity);
    put(&dir, &path, b"haul-journal 1 spoilt");
    assert!(remove(state.path(), identity, NOW).unwrap());
    put(&dir, &path, b"not ours");
    let refused = remove(state.path(), identity, NOW).unwrap_err();
    assert!(matches!(
        refused,
        OpenError::Unavailable(Unavailable::Foreign { .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), b"not ours");
}

/// Leftovers of crashes go, those in use and the journals stay.
#[tokio::test]
async fn sweeping() {
    let state = tempfile::tempdir().unwrap();
    sweep(state.path(), NOW).unwrap();
    let dir = uploads_dir(state.path());
    let opened = Journal::open(state.path(), header_of("in use", NOW))
        .await
        .unwrap();
    let left = header_of("left", NOW).identity();
    put(&dir, lock_path(&dir, left), b"{\"pid\":1");
    put(
        &dir,
        journal_path(&dir, left).with_extension("draft"),
        b"haul-jour",
    );
    let stays = header_of("stays", NOW);
    put_journal(&dir, &stays, &[begun()]);
    put(&dir, lock_path(&dir, stays.identity()), b"");
    // Not even a draft beside a journal is touched: its upload may be about to begin.
    let draft = journal_path(&dir, stays.identity()).with_extension("draft");
    put(&dir, &draft, b"haul-jour");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 6);
    sweep(state.path(), NOW).unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 4);
    opened.journal.append(&begun()).await.unwrap();
}
