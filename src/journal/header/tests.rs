use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::journal::header::{Header, Identity, RESUME_ID_LEN_MAX, ResumeId, SourcePath};
use crate::journal::tests::{header, journal, named, ours};
use crate::model::{Bucket, ObjectKey};

/// The identity is what a journal is found by for years. (Computed with another program.)
#[test]
fn golden() {
    let with_key = header();
    assert_eq!(
        with_key.identity().to_string(),
        "482365bfd5661b2043c6a5a46ba0eac38cbff72c"
    );
    let mut without_key = header();
    without_key.target.key = None;
    assert_eq!(
        without_key.identity().to_string(),
        "fad537c4ead679f916f072efbe6e001198be0075"
    );
    let identity = with_key.identity();
    assert_eq!(Identity::parse(&identity.to_string()), Some(identity));
    assert_eq!(
        Identity::parse("482365BFD5661B2043C6A5A46BA0EAC38CBFF72C"),
        None
    );
    assert_eq!(Identity::parse("482365"), None);
}

/// Two accounts, servers, buckets or keys never share a journal, nor do fields that would run
/// together alike; two sources share one only when they go to the same key.
#[test]
fn who_shares_an_identity() {
    let change = |change: &dyn Fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        header
    };
    let key = |text: &str| Some(ObjectKey::new(text).unwrap());
    let path = |text: &str| SourcePath::new(Path::new(text));
    let apart: &[(&str, Header)] = &[
        ("as it is", header()),
        (
            "another account",
            change(&|h| h.target.access_key = "AK-2".into()),
        ),
        (
            "another server",
            change(&|h| h.target.store = "http://127.0.0.1:1".into()),
        ),
        (
            "another service",
            change(&|h| h.target.service = "s3".into()),
        ),
        (
            "another bucket",
            change(&|h| h.target.bucket = Bucket::new("b").unwrap()),
        ),
        ("another key", change(&|h| h.target.key = key("other"))),
        ("the empty key", change(&|h| h.target.key = key(""))),
        ("no key", change(&|h| h.target.key = None)),
        (
            "no key, another path",
            change(&|h| (h.target.key, h.source.path) = (None, path("/other"))),
        ),
        (
            "no key, and the path is the key",
            change(&|h| (h.target.key, h.source.path) = (None, path("2026/报告 \"a\".pdf"))),
        ),
        (
            "fields that run together alike",
            change(&|h| {
                h.target.service = "kodoA".into();
                h.target.access_key = "K-of-someone".into();
            }),
        ),
    ];
    let mut seen = BTreeMap::new();
    for (story, header) in apart {
        let other = seen.insert(header.identity(), *story);
        assert_eq!(other, None, "{story}");
    }
    let together: &[(&str, Header)] = &[
        (
            "another path",
            change(&|h| h.source.path = path("/moved/here")),
        ),
        ("another size", change(&|h| h.source.size += 1)),
        ("another time", change(&|h| h.source.mtime_ns -= 1)),
        ("another file", change(&|h| h.source.inode += 1)),
        ("another day", change(&|h| h.created += 86_400)),
        ("another type", change(&|h| h.says = named().says)),
    ];
    for (story, other) in together {
        assert_eq!(other.identity(), header().identity(), "{story}");
    }
}

/// A resume id takes the place of the path, and is no other upload's name.
#[test]
fn who_shares_a_resume_id() {
    let key = |text: &str| Some(ObjectKey::new(text).unwrap());
    let path = |text: &str| SourcePath::new(Path::new(text));
    let id = |text: &str| Some(ResumeId::new(text).unwrap());
    let of = |key, id, path| {
        let mut header = header();
        (
            header.target.key,
            header.target.resume_id,
            header.source.path,
        ) = (key, id, path);
        header.identity()
    };
    let apart = [
        of(key("k"), None, path("/f")),
        of(key("k"), id("a"), path("/f")),
        of(key("k"), id("b"), path("/f")),
        of(None, id("a"), path("/f")),
        of(None, None, path("a")),
        of(key("a"), None, path("/f")),
    ];
    let all: BTreeSet<Identity> = apart.into_iter().collect();
    assert_eq!(all.len(), apart.len());
    for key in [key("k"), None] {
        let (here, there) = (path("/here"), path("/there"));
        assert_eq!(of(key.clone(), id("a"), here), of(key, id("a"), there));
    }
}

/// A resume id is text of some length that can be printed.
#[test]
fn resume_ids() {
    let longest = "x".repeat(RESUME_ID_LEN_MAX);
    for good in ["a", " ", "job/7?#é", longest.as_str()] {
        assert!(ResumeId::new(good).is_ok(), "{good:?}");
    }
    let long = format!("{longest}x");
    for bad in ["", "a\nb", "\u{7f}", "\u{85}", long.as_str()] {
        assert!(ResumeId::new(bad).is_err(), "{bad:?}");
    }
}

/// Headers survive the disk, also the odd ones; no key is not the empty key.
#[test]
fn odd_headers() {
    let mut odd = header();
    odd.source.mtime_ns = -1;
    odd.source.size = u64::MAX;
    odd.target.key = None;
    let mut empty_key = header();
    empty_key.target.key = Some(ObjectKey::new("").unwrap());
    for header in [odd, empty_key] {
        assert_eq!(ours(&journal(&header, &[])).header, header);
    }
}

/// A path that is no UTF-8 comes back byte by byte, and two such paths are two.
#[cfg(unix)]
#[test]
fn paths_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let of = |bytes: &[u8]| {
        let mut header = header();
        header.target.key = None;
        header.source.path = SourcePath::new(Path::new(OsStr::from_bytes(bytes)));
        header
    };
    let (one, two) = (of(b"/tmp/a\xff"), of(b"/tmp/a\xfe"));
    assert_eq!(ours(&journal(&one, &[])).header, one);
    assert_ne!(one.identity(), two.identity());
    assert_eq!(one.source.path.to_string(), "/tmp/a\u{fffd}");
    let path = Path::new(OsStr::from_bytes(b"/tmp/a\xff"));
    assert_eq!(one.source.path.to_path().as_deref(), Some(path));
    let text = String::from_utf8(journal(&one, &[])).unwrap();
    assert!(
        text.contains(r#""path":{"hex":"2f746d702f61ff"}"#),
        "{text}"
    );
}
