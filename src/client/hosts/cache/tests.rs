use super::*;
use crate::model::Endpoint;
use std::fs;

fn host(text: &str) -> Endpoint {
    Endpoint::parse(text, true).unwrap()
}

fn subject(bucket: &str) -> Subject {
    let access_key = AccessKey::new("ak").unwrap();
    let bucket = Bucket::new(bucket).unwrap();
    Subject::new(&access_key, &bucket, false, &[host("uc.example")])
}

fn entry() -> Entry {
    let region = |id: &str| Region {
        id: id.to_owned(),
        ttl: Duration::from_secs(60),
        up: vec![host("up.example"), host("http://up.example:8080")],
        up_old: vec![host("old.example")],
        up_accelerated: Vec::new(),
        rs: vec![host("rs.example")],
        rsf: Vec::new(),
    };
    Entry {
        regions: Regions::of(vec![region("z0"), region("z1")]),
        followed: vec![host("up-z2.example")],
        learned_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        life: Duration::from_secs(60),
    }
}

/// What is kept is found again by later processes, by its own subject only, in a private file.
#[tokio::test]
async fn what_is_kept_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let cache = Cache::new(Some(&state));
    assert_eq!(cache.load(&subject("b")).await, None);
    cache.store(&subject("b"), &entry()).await;
    let later = Cache::new(Some(&state));
    assert_eq!(later.load(&subject("b")).await, Some(entry()));
    assert_eq!(later.load(&subject("c")).await, None);
    let named = Subject {
        is_named: true,
        ..subject("b")
    };
    assert_eq!(later.load(&named).await, None);
    let names: Vec<_> = fs::read_dir(state.join("regions")).unwrap().collect();
    assert_eq!(names.len(), 1, "no draft stays: {names:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = names[0].as_ref().unwrap().path();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&state)), (0o600, 0o700));
    }
    let none = Cache::new(None);
    none.store(&subject("b"), &entry()).await;
    assert_eq!(none.load(&subject("b")).await, None);
}

/// A file that is torn anywhere, or in which any bit is flipped, is another version's or another
/// bucket's tells nothing. A flip that JSON reads as the same is the one exception, and harmless.
#[test]
fn damage_is_seen() {
    let bytes = encode(&subject("b"), &entry());
    assert_eq!(decode(&bytes, &subject("b")), Some(entry()));
    assert_eq!(decode(&bytes, &subject("c")), None);
    for len in 0..bytes.len() {
        assert_eq!(decode(&bytes[..len], &subject("b")), None, "{len}");
    }
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        let read = decode(&flipped, &subject("b"));
        assert!(read.is_none() || read == Some(entry()), "bit {at}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert_eq!(decode(newer.as_bytes(), &subject("b")), None);
}

/// Anything that lies where the file would be is passed over.
#[cfg(unix)]
#[tokio::test]
async fn what_is_no_file_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(Some(dir.path()));
    let path = dir.path().join("regions").join(subject("b").file_name());
    fs::create_dir_all(&path).unwrap();
    assert_eq!(cache.load(&subject("b")).await, None);
    cache.store(&subject("b"), &entry()).await;
    assert_eq!(cache.load(&subject("b")).await, None);
}

/// It is believed for its life, and not at all by a clock that was set back.
#[test]
fn lives() {
    let entry = entry();
    let later = |seconds| entry.learned_at + Duration::from_secs(seconds);
    assert_eq!(entry.until(later(0)), later(60));
    assert_eq!(entry.until(later(1000)), later(60));
    let before = entry.learned_at - Duration::from_secs(1);
    assert_eq!(entry.until(before), SystemTime::UNIX_EPOCH);
}
