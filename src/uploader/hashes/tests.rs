//! What was read is what is hashed, however it was cut, resumed or given up.

use std::fs::File as Disk;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::engine::record::Seal;
use crate::kodo::Etag;
use crate::model::{ByteSpan, FailureKind};
use crate::source::Source;
use crate::uploader::hashes::{LaneHashes, SegmentHashes, of_source};
use futures_util::StreamExt;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

struct File {
    _dir: TempDir,
    path: PathBuf,
    source: Source,
    content: Vec<u8>,
}

/// Writes a file's bytes in place.
fn write(path: &Path, content: &[u8]) {
    let mut file = Disk::create(path).unwrap();
    file.write_all(content).unwrap();
}

async fn file(len: usize) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let content: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
    write(&path, &content);
    let source = Source::open(&path).await.unwrap();
    File {
        _dir: dir,
        path,
        source,
        content,
    }
}

impl File {
    /// Reads a segment of lane 0 to its end, as a connection would.
    async fn read(&self, hashes: &LaneHashes, done: usize, len: usize) -> SegmentHashes {
        let span = ByteSpan::new(done as u64, len as u64);
        let (mut stream, reading) = hashes.stream(&self.source, 0, done as u64, span, None);
        let mut read = 0;
        while let Some(piece) = stream.next().await {
            read += piece.unwrap().len();
        }
        assert_eq!(read, len);
        reading.finish()
    }
}

/// A lane in segments of any length: each has its own hashes, the lane's go on, and an attempt that
/// was given up leaves nothing behind.
#[tokio::test]
async fn segments_make_lanes() {
    let len = MIB + 333;
    let file = file(len).await;
    for cuts in [
        vec![len],
        vec![1, len - 1],
        vec![500_000, 77, len - 500_077],
    ] {
        let hashes = LaneHashes::default();
        let mut done = 0;
        for cut in cuts {
            // Read to its end, and not acknowledged.
            file.read(&hashes, done, cut).await;
            assert_eq!(hashes.of_object(1), None);
            let segment = file.read(&hashes, done, cut).await;
            let bytes = &file.content[done..done + cut];
            assert_eq!(segment.etag, Etag::of(bytes));
            assert_eq!(segment.crc32, crc32fast::hash(bytes));
            done += cut;
            assert_eq!(segment.lane_crc32, crc32fast::hash(&file.content[..done]));
            hashes.keep(0, len as u64, segment);
        }
        let whole = Etag::of(&file.content);
        assert_eq!(hashes.of_object(1), Some(vec![(len as u64, whole)]));
        assert_eq!(hashes.of_object(2), None, "a lane that nobody read");
    }
}

/// What an earlier run sent is hashed again: the same bytes count and the lane goes on from them, one
/// other byte does not.
#[tokio::test]
async fn resumed_lanes_are_compared() {
    let len = 300_000;
    let file = file(len).await;
    let seal = |bytes: &[u8]| Seal {
        len: bytes.len() as u64,
        digest: crate::engine::record::Digest(Etag::of(bytes).digest()),
    };
    let seals = [
        seal(&file.content[..100_000]),
        seal(&file.content[100_000..200_000]),
    ];
    let lane = ByteSpan::new(0, len as u64);
    let hashes = LaneHashes::default();
    assert!(hashes.recheck(&file.source, 0, lane, &seals).await.unwrap());
    let rest = file.read(&hashes, 200_000, 100_000).await;
    assert_eq!(rest.lane_crc32, crc32fast::hash(&file.content));
    hashes.keep(0, len as u64, rest);
    let whole = Etag::of(&file.content);
    assert_eq!(hashes.of_object(1), Some(vec![(len as u64, whole)]));
    for at in [0, 99_999, 100_000, 199_999] {
        let mut other = file.content.clone();
        other[at] ^= 1;
        write(&file.path, &other);
        let same = hashes.recheck(&file.source, 0, lane, &seals).await.unwrap();
        assert!(!same, "byte {at} differs");
    }
}

/// A form's last piece stays here unless everything before and in it is what was hashed first.
#[tokio::test]
async fn the_last_piece_of_a_form_is_held_back() {
    let len = MIB + 1;
    let file = file(len).await;
    let (crc32, etag) = of_source(&file.source).await.unwrap();
    assert_eq!(
        (crc32, etag),
        (crc32fast::hash(&file.content), Etag::of(&file.content))
    );
    let whole = ByteSpan::new(0, len as u64);
    for changed_at in [None, Some(0), Some(len - 1)] {
        let mut now = file.content.clone();
        if let Some(at) = changed_at {
            now[at] ^= 1;
        }
        write(&file.path, &now);
        let hashes = LaneHashes::default();
        let (mut stream, _) = hashes.stream(&file.source, 0, 0, whole, Some(etag));
        let mut sent = 0;
        let mut failure = None;
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(bytes) => sent += bytes.len(),
                Err(why) => {
                    failure = Some(why.kind);
                    break;
                }
            }
        }
        match changed_at {
            None => assert_eq!((sent, failure), (len, None)),
            Some(at) => {
                assert!(sent < len, "byte {at}: all of it went out");
                assert_eq!(failure, Some(FailureKind::SourceChanged), "byte {at}");
            }
        }
    }
}
