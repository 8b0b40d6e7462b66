//! A file that is read while the world goes on.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::model::{ByteSpan, Failure, FailureKind};
use crate::source::Source;

/// More than one read, and no multiple of one.
const LEN: usize = 700_001;

fn content() -> Vec<u8> {
    (0..LEN).map(|index| (index % 251) as u8).collect()
}

fn file_with(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

async fn read(source: &Source, span: ByteSpan) -> Result<Vec<u8>, Failure> {
    let mut reader = source.read(span);
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await {
        let bytes = bytes?;
        assert!(bytes.len() <= 256 * 1024);
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// Any span of the file, whatever was read before.
#[tokio::test]
async fn reads_by_position() {
    let content = content();
    let file = file_with(&content);
    let source = Source::open(file.path()).await.unwrap();
    assert_eq!(source.len(), LEN as u64);
    for (offset, len) in [(600_000, 100_001), (0, LEN), (0, 0), (LEN, 0), (262_143, 2)] {
        let span = ByteSpan::new(offset as u64, len as u64);
        assert_eq!(
            read(&source, span).await.unwrap(),
            content[offset..offset + len]
        );
    }
    source.check_unchanged().await.unwrap();
}

/// What is no regular file is refused by its name, and never waited for.
#[tokio::test]
async fn only_regular_files() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let mut rows = vec![
        (missing.as_path(), "no such file"),
        (dir.path(), "directory"),
    ];
    if cfg!(unix) {
        rows.push((Path::new("/dev/null"), "no regular file"));
    }
    for (path, expected) in rows {
        let failure = Source::open(path).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Source);
        assert!(failure.message.contains(expected), "{failure}");
        assert!(failure.message.contains(&path.display().to_string()));
    }
}

/// A FIFO without a writer would block an ordinary open for ever.
#[cfg(unix)]
#[tokio::test]
async fn a_fifo_does_not_hang() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo works");
    let opened = tokio::time::timeout(Duration::from_secs(10), Source::open(&path)).await;
    let failure = opened.expect("it returns at once").unwrap_err();
    assert!(failure.message.contains("no regular file"), "{failure}");
}

/// Every way in which a file may change under the reader, and how it is noticed.
#[tokio::test]
async fn changes_are_noticed() {
    type Change = fn(&std::fs::File, &Path);
    let rows: [(&str, Change, &str); 4] = [
        (
            "grown",
            |mut file, _| file.write_all(b"more").unwrap(),
            "its size went from 700001 to 700005 bytes",
        ),
        (
            "truncated",
            |file, _| file.set_len(5).unwrap(),
            "its size went from 700001 to 5 bytes",
        ),
        (
            "rewritten in place",
            |_, path| {
                let mut file = std::fs::File::options().write(true).open(path).unwrap();
                file.write_all(b"X").unwrap();
                let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
                file.set_modified(later).unwrap();
            },
            "it was written to, renamed or linked",
        ),
        (
            "rewritten, with the old modification time",
            |_, path| {
                let before = std::fs::metadata(path).unwrap().modified().unwrap();
                let mut file = std::fs::File::options().write(true).open(path).unwrap();
                file.write_all(b"X").unwrap();
                file.set_modified(before).unwrap();
            },
            "it was written to, renamed or linked",
        ),
    ];
    for (story, change, expected) in rows {
        if cfg!(not(unix)) && story.contains("old modification time") {
            continue;
        }
        let file = file_with(&content());
        let source = Source::open(file.path()).await.unwrap();
        // Change times have the resolution of the kernel's clock tick: change until it shows.
        let mut noticed = None;
        for _ in 0..10_000 {
            change(file.as_file(), file.path());
            noticed = source.check_unchanged().await.err();
            if noticed.is_some() {
                break;
            }
        }
        let failure = noticed.expect(story);
        assert_eq!(failure.kind, FailureKind::SourceChanged, "{story}");
        assert!(failure.message.contains(expected), "{story}: {failure}");
    }
}

/// A file cut while it is read gives an error, not fewer bytes.
#[tokio::test]
async fn a_short_read_is_a_failure() {
    let file = file_with(&content());
    let source = Source::open(file.path()).await.unwrap();
    file.as_file().set_len(300_000).unwrap();
    let whole = ByteSpan::new(0, LEN as u64);
    let failure = read(&source, whole).await.unwrap_err();
    assert!(
        failure.message.contains("it ends at byte 300000 now"),
        "{failure}"
    );
}

/// A file replaced by rename: the open descriptor goes on being the source.
#[tokio::test]
async fn a_replaced_file_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let other = file_with(b"other");
    let first = file_with(&content());
    std::fs::copy(first.path(), &path).unwrap();
    let source = Source::open(&path).await.unwrap();
    std::fs::copy(other.path(), dir.path().join("new")).unwrap();
    std::fs::rename(dir.path().join("new"), &path).unwrap();
    let whole = ByteSpan::new(0, LEN as u64);
    assert_eq!(read(&source, whole).await.unwrap(), content());
}

/// Bytes in memory are read like a file, and never change.
#[tokio::test]
async fn bytes_are_a_source() {
    let content = content();
    let source = Source::Bytes(content.clone().into());
    assert_eq!(source.len(), LEN as u64);
    for (offset, len) in [(600_000, 100_001), (0, LEN), (LEN, 0)] {
        let span = ByteSpan::new(offset as u64, len as u64);
        assert_eq!(
            read(&source, span).await.unwrap(),
            content[offset..offset + len]
        );
    }
    assert!(source.change().await.unwrap().is_none());
}
