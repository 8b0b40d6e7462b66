//! What the tests of this folder share: a header, a long story of records, a file in memory.

mod memory;

use std::path::Path;

use crate::engine::plan::{Layout, Protocol};
use crate::engine::record::{Announced, Checkpoint, Digest, Receipt, Record};
use crate::journal::frame::{self, Chain, Recovered, Recovery};
use crate::journal::header::{Header, ResumeId, Source, SourcePath, Target};
use crate::journal::said::Said;
use crate::model::{Bucket, ObjectKey};

pub(crate) use crate::journal::tests::memory::MemoryFile;

pub(crate) const MIB: u64 = 1024 * 1024;

/// Size of the source in [`header`]: as many blocks as [`story`] can need.
pub(crate) const SIZE: u64 = 1024 * MIB;

/// The present, in all tests.
pub(crate) const NOW: u64 = 1_763_650_000;

pub(crate) fn header() -> Header {
    Header {
        target: Target {
            service: "kodo".to_owned(),
            access_key: "AK-of-someone".to_owned(),
            store: "https://uc.example.com".to_owned(),
            bucket: Bucket::new("my-bucket").unwrap(),
            key: Some(ObjectKey::new("2026/报告 \"a\".pdf").unwrap()),
            resume_id: None,
        },
        source: Source {
            path: SourcePath::new(Path::new("/home/someone/报告.pdf")),
            size: SIZE,
            mtime_ns: 1_763_649_999_123_456_789,
            ctime_ns: 1_763_649_999_123_456_790,
            device: 2049,
            inode: 131_072,
        },
        created: NOW,
        says: None,
    }
}

/// The same with a resume id, and something said of the object.
pub(crate) fn named() -> Header {
    let mut named = header();
    named.target.resume_id = Some(ResumeId::new("job 7").unwrap());
    named.says = Some(Said {
        mime_type: Some("text/plain".to_owned()),
        vars: vec![("who".to_owned(), "me".to_owned())],
        insert_only: true,
        keep_last_modified: true,
        has_own_right: true,
        ..Said::default()
    });
    named
}

pub(crate) fn begun() -> Record {
    Record::Begun {
        layout: Layout {
            protocol: Protocol::Blocks,
            lane_len: 4 * MIB,
        },
        upload_id: None,
        expires: None,
    }
}

/// Segment `index` (512 KiB) of `lane`.
pub(crate) fn segment(lane: u64, index: u64) -> Record {
    let mark = u8::try_from(lane % 251).unwrap() ^ u8::try_from(index).unwrap();
    Record::Segment {
        lane,
        offset: index * MIB / 2,
        len: MIB / 2,
        digest: Digest([mark; 20]),
        receipt: Receipt {
            text: format!("ctx-{lane}-{index}-\u{1}\"\\"),
            host: Some("http://up.example.com".to_owned()),
            expires: Some(NOW + 604_800 + lane),
        },
    }
}

/// A commit that may have been sent at `server_time`.
pub(crate) fn committing(server_time: u64) -> Record {
    Record::Committing(Announced {
        server_time,
        says: Digest([7; 20]),
    })
}

/// The first `len` records of an upload in which everything happens, one sensible record after the
/// other.
pub(crate) fn story(len: usize) -> Vec<Record> {
    let mut records = vec![begun(), segment(3, 0), committing(0), begun()];
    let mut lane = 0;
    while records.len() < len {
        records.extend([segment(lane, 0), segment(lane, 1), segment(lane + 1, 0)]);
        records.push(Record::LaneReset { lane });
        records.extend([segment(lane, 0), committing(NOW + lane)]);
        if lane.is_multiple_of(4) {
            records.extend([Record::CommitRefused, committing(NOW + lane)]);
        }
        lane += 2;
    }
    records.truncate(len);
    let (_, sensible) = Checkpoint::replay(&records, SIZE);
    assert_eq!(sensible, len);
    records
}

/// A journal of `records`, line by line, the header's first.
pub(crate) fn lines(header: &Header, records: &[Record]) -> Vec<Vec<u8>> {
    let mut first = Vec::new();
    let mut chain = Chain::begin(header, &mut first).unwrap();
    let mut lines = vec![first];
    for record in records {
        let mut line = Vec::new();
        chain.push(record, &mut line).unwrap();
        lines.push(line);
    }
    lines
}

pub(crate) fn journal(header: &Header, records: &[Record]) -> Vec<u8> {
    lines(header, records).concat()
}

/// Recovers what must be one of our journals.
pub(crate) fn ours(bytes: &[u8]) -> Recovered {
    match frame::recover(bytes) {
        Recovery::Ours(recovered) => *recovered,
        other => panic!("not ours but {other:?}: {}", String::from_utf8_lossy(bytes)),
    }
}
