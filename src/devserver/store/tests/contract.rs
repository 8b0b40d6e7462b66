//! One suite for the three places: what differs is only whether bytes can be read back.

use proptest::prelude::*;

use super::*;
use crate::devserver::store::{ContextRecord, PartRecord, PutOutcome, UploadRecord};
use crate::model::KEY_LEN_MAX;

/// Runs `suite` on a store of every place, and on a second one opened on the same directory.
fn on_every_place(suite: impl AsyncFn(Store)) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Place::Disk(folder.path().join("new/store"));
    for place in [disk, Place::Memory, Place::Discard] {
        runtime().block_on(suite(open(&place)));
    }
}

/// Not yet expired: opening a store may sweep at any moment.
fn soon() -> u64 {
    clock::unix_seconds(clock::wall()) + 60
}

fn keeps_bytes(store: &Store) -> bool {
    !matches!(
        store.inner.blobs,
        crate::devserver::store::blobs::Blobs::Discard
    )
}

/// The overwrite rules of the protocol reference, section 7.2.
#[test]
fn objects_are_replaced_by_rule() {
    use Overwrite::{Never, Replace, SameHashOnly};
    use PutOutcome::{Created, Refused, Replaced, SameContent};
    let rows = [
        // before, new, rule, outcome, hash afterwards
        (None, "a", Replace, Created, "a"),
        (None, "a", SameHashOnly, Created, "a"),
        (None, "a", Never, Created, "a"),
        (Some("a"), "a", Replace, Replaced, "a"),
        (Some("a"), "b", Replace, Replaced, "b"),
        (Some("a"), "a", SameHashOnly, SameContent, "a"),
        (Some("a"), "b", SameHashOnly, Refused, "a"),
        (Some("a"), "a", Never, Refused, "a"),
        (Some("a"), "b", Never, Refused, "a"),
    ];
    on_every_place(async |store| {
        for (index, (before, hash, rule, outcome, after)) in rows.into_iter().enumerate() {
            let (demo, key) = (bucket("demo"), key(&format!("row {index}")));
            if let Some(before) = before {
                let old = ObjectRecord {
                    put_time: 1,
                    ..record(before, vec![])
                };
                store.put_object(&demo, &key, old, Replace).await.unwrap();
            }
            let new = ObjectRecord {
                put_time: 2,
                ..record(hash, vec![])
            };
            let found = store.put_object(&demo, &key, new, rule).await.unwrap();
            assert_eq!(found, outcome, "row {index}");
            let object = store.object(&demo, &key).await.unwrap().unwrap();
            let put_time = if outcome == Refused { 1 } else { 2 };
            assert_eq!(
                (object.hash.as_str(), object.put_time),
                (after, put_time),
                "row {index}"
            );
        }
    });
}

/// What is written comes back, whatever the pieces, and so does every span of it.
#[test]
fn bytes_come_back() {
    let len = 600_000;
    let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    on_every_place(async |store| {
        let mut data = Vec::new();
        for (range, piece_len) in [
            (0..1, 1),
            (1..1, 1),
            (1..300_000, 7_000),
            (300_000..len, len),
        ] {
            data.push(blob(&store, &bytes[range], piece_len).await);
        }
        let lens: Vec<u64> = data.iter().map(|extent| extent.len).collect();
        assert_eq!(lens, [1, 0, 299_999, 300_000]);
        for (start, end) in [
            (0, len),
            (0, 1),
            (1, 2),
            (0, 0),
            (299_999, 300_002),
            (5, 599_999),
        ] {
            let span = ByteSpan::new(start as u64, (end - start) as u64);
            match read(&store, &data, span).await {
                Ok(found) => assert!(found == bytes[start..end], "{start}..{end}"),
                Err(StoreError::Discarded) => assert!(!keeps_bytes(&store)),
                Err(error) => panic!("{error}"),
            }
        }
    });
}

/// A blob that nobody finished leaves nothing, and one that is finished stays while it is used.
#[test]
fn sweeping_takes_only_what_nothing_refers_to() {
    on_every_place(async |store| {
        let (demo, src, dst) = (bucket("demo"), key("source"), key("target"));
        let count = |store: &Store| store.inner.blobs.ids().unwrap().len();
        put(&store, "source", b"one").await;
        blob(&store, b"of nobody", 4).await;
        let context = ContextRecord {
            data: vec![blob(&store, b"two", 1).await],
            expires: clock::unix_seconds(later()),
            ..ContextRecord::default()
        };
        let ctx = store.save_context(context).await.unwrap();
        let mut unfinished = store.blob().await.unwrap();
        unfinished
            .write(&Bytes::from(vec![7; 400_000]))
            .await
            .unwrap();
        drop(unfinished);
        let hour = Duration::from_secs(60 * 60);
        sweep_at(&store, clock::wall(), hour);
        let kept = if keeps_bytes(&store) { 1 } else { 0 };
        assert_eq!(count(&store), 3 * kept, "all are young");
        sweep(&store);
        assert_eq!(count(&store), 2 * kept, "the one of nobody is gone");
        let copied = store.copy_object((&demo, &src), (&demo, &dst), Overwrite::Never, true);
        assert_eq!(copied.await.unwrap(), Some(PutOutcome::Created));
        store.forget_context(&ctx).await.unwrap();
        sweep(&store);
        assert_eq!(count(&store), kept, "moved, not lost");
        assert!(store.object(&demo, &src).await.unwrap().is_none());
        assert!(store.delete_object(&demo, &dst).await.unwrap());
        assert!(!store.delete_object(&demo, &dst).await.unwrap());
        sweep(&store);
        assert_eq!(count(&store), 0);
    });
}

/// v1: each chunk makes a new ctx; only the first bput that continues one is told so.
#[test]
fn contexts() {
    on_every_place(async |store| {
        let record = ContextRecord {
            block_len: 9,
            offset: 3,
            expires: soon(),
            ..ContextRecord::default()
        };
        let ctx = store.save_context(record.clone()).await.unwrap();
        assert!(
            !ctx.contains(|char: char| !char.is_ascii_alphanumeric()),
            "{ctx}"
        );
        assert_eq!(store.context(&ctx).await.unwrap(), Some(record.clone()));
        assert!(store.mark_context_used(&ctx).await.unwrap());
        assert!(!store.mark_context_used(&ctx).await.unwrap());
        let used = ContextRecord {
            used: true,
            ..record
        };
        assert_eq!(store.context(&ctx).await.unwrap(), Some(used));
        store.forget_context(&ctx).await.unwrap();
        for ctx in [ctx.as_str(), "", "..", "%2e%2e", &"0".repeat(32)] {
            assert_eq!(store.context(ctx).await.unwrap(), None);
            assert!(!store.mark_context_used(ctx).await.unwrap());
            store.forget_context(ctx).await.unwrap();
        }
    });
}

/// v2: parts are replaced by number and come back in order; nothing can be added to what is gone.
#[test]
fn uploads() {
    let part = |number, etag: &str, extent: &Extent| PartRecord {
        number,
        extent: extent.clone(),
        etag: etag.to_owned(),
        put_time: 5,
        head: vec![],
    };
    on_every_place(async |store| {
        let record = UploadRecord {
            object_segment: "~".into(),
            expires: soon(),
            ..UploadRecord::default()
        };
        let id = store.create_upload(record.clone()).await.unwrap();
        let other = store.create_upload(record.clone()).await.unwrap();
        assert_eq!(store.upload(&id).await.unwrap(), Some(record));
        let extent = blob(&store, b"part", 4).await;
        for (number, etag) in [(10_000, "d"), (2, "b"), (1, "a"), (2, "c")] {
            assert!(
                store
                    .put_part(&id, part(number, etag, &extent))
                    .await
                    .unwrap()
            );
        }
        let parts = store.parts(&id).await.unwrap();
        let found: Vec<_> = parts
            .iter()
            .map(|part| (part.number, part.etag.as_str()))
            .collect();
        assert_eq!(found, [(1, "a"), (2, "c"), (10_000, "d")]);
        assert!(store.remove_upload(&id).await.unwrap());
        assert!(!store.remove_upload(&id).await.unwrap());
        for id in [id.as_str(), "", "..", "../objects"] {
            assert_eq!(store.upload(id).await.unwrap(), None);
            assert_eq!(store.parts(id).await.unwrap(), vec![]);
            assert!(!store.put_part(id, part(1, "a", &extent)).await.unwrap());
        }
        assert!(store.upload(&other).await.unwrap().is_some());
        sweep(&store);
        assert!(
            store.upload(&other).await.unwrap().is_none(),
            "expired long ago"
        );
    });
}

/// Pages of a bucket, in byte order, with prefix, delimiter and continuation.
#[test]
fn pages() {
    let query = |prefix: &str, after: Option<&str>, delimiter: &str, limit| PageQuery {
        prefix: prefix.to_owned(),
        after: after.map(str::to_owned),
        delimiter: delimiter.to_owned(),
        limit,
    };
    let rows = [
        (query("", None, "", 9), "|a|a/1|a/2|a/b/3|b/1|目"),
        (query("", None, "", 2), "|a"),
        (query("", Some("a"), "", 2), "a/1|a/2"),
        (query("", Some("a/1"), "", 2), "a/2|a/b/3"),
        (query("a/", None, "", 9), "a/1|a/2|a/b/3"),
        (query("a/", None, "/", 9), "a/1|a/2|[a/b/]"),
        (query("", None, "/", 9), "|a|[a/]|[b/]|目"),
        (query("", Some("a"), "/", 1), "[a/]"),
        (query("", Some("a/"), "/", 1), "[b/]"),
        (query("", Some("b/"), "/", 9), "目"),
        (query("none", None, "", 9), ""),
    ];
    on_every_place(async |store| {
        for name in ["b/1", "目", "a", "a/b/3", "a/2", "", "a/1"] {
            put(&store, name, b"x").await;
        }
        for (query, expected) in &rows {
            let found = names(&store, query.clone()).await.join("|");
            assert_eq!(&found, expected, "{query:?}");
        }
        let elsewhere = store.list(&bucket("other"), query("", None, "", 9)).await;
        assert!(elsewhere.unwrap().is_empty());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Any UTF-8 text of at most 750 bytes is a key: it can be read back, and all come in byte order.
    #[test]
    fn any_key_is_a_key(keys in prop::collection::btree_set(any_key(), 1..8)) {
        on_every_place(async |store| {
            for name in &keys {
                put(&store, name, name.as_bytes()).await;
            }
            for name in &keys {
                match bytes_of(&store, name).await.unwrap() {
                    Ok(bytes) => assert_eq!(bytes, name.as_bytes()),
                    Err(_) => assert!(!keeps_bytes(&store)),
                }
            }
            let all = PageQuery { limit: 1000, ..PageQuery::default() };
            assert_eq!(names(&store, all).await, keys.iter().cloned().collect::<Vec<_>>());
        });
    }
}

fn any_key() -> impl Strategy<Value = String> {
    let odd = [
        "",
        "/",
        "..",
        "../../x",
        "\r\n?&r=1k",
        "\0",
        "a:b",
        "~",
        "con",
        "x/",
        "\u{10ffff}",
    ];
    let odd = prop::sample::select(odd.map(str::to_owned).to_vec());
    let short = prop::collection::vec(any::<char>(), 0..30).prop_map(String::from_iter);
    let long = any::<char>().prop_map(|char| {
        let count = KEY_LEN_MAX / char.len_utf8();
        String::from_iter(std::iter::repeat_n(char, count))
    });
    prop_oneof![odd, short, long]
}
