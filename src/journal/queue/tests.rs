use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use proptest::prelude::*;
use tokio::runtime::Handle;

use crate::engine::record::{Checkpoint, Receipt, Record};
use crate::journal::Unavailable;
use crate::journal::disk::mend;
use crate::journal::file::JournalFile;
use crate::journal::frame::{self, LINE_LEN_MAX, Recovery};
use crate::journal::queue::{Batch, Journal, Queue};
use crate::journal::tests::{
    MIB, MemoryFile, SIZE, begun, committing, header, journal, ours, segment, story,
};

fn open(file: &MemoryFile) -> Journal {
    let mut file = file.clone();
    let mended = mend(&mut file, Path::new("memory"), header()).unwrap();
    let path = PathBuf::from("memory");
    Journal::new(Box::new(file), path, mended.start, Handle::current())
}

/// Records that wait while a sync runs share the next one, and no ticket resolves before its sync.
#[tokio::test]
async fn joined_syncs() {
    let file = MemoryFile::with(journal(&header(), &[begun()]));
    let journal = open(&file);
    assert_eq!(file.syncs(), 1, "what was read is synced");
    let (begun_sync, sync_begun) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    file.gate(begun_sync, may_go);

    let first = journal.append(&segment(0, 0));
    sync_begun.recv().unwrap();
    let mut waiting: Vec<_> = (1..12)
        .map(|lane| journal.append(&segment(lane, 0)))
        .collect();
    // The journal's own and its task's: a second task could overtake the first.
    assert_eq!(Arc::strong_count(&journal.shared), 2, "one task writes");
    go.send(()).unwrap();
    first.await.unwrap();
    sync_begun.recv().unwrap();
    assert_eq!(file.syncs(), 2);
    let last = waiting.last_mut().unwrap();
    let early = tokio::select! { biased; _ = last => true, () = std::future::ready(()) => false };
    assert!(!early, "resolved before its sync");
    go.send(()).unwrap();
    for ticket in waiting {
        ticket.await.unwrap();
    }
    assert_eq!(file.syncs(), 3, "eleven records, one sync");
    let expected: Vec<_> = (0..12).map(|lane| segment(lane, 0)).collect();
    assert_eq!(ours(&file.journal().unwrap()).records[1..], expected);
}

/// A new journal's first records come in one step, and a start over leaves nothing of what was.
#[tokio::test]
async fn begun_begins_a_file() {
    let file = MemoryFile::default();
    let journal = open(&file);
    assert_eq!(file.journal(), None);
    journal.append(&begun()).await.unwrap();
    journal.append(&segment(0, 0)).await.unwrap();
    let void = journal.append(&segment(0, 1));
    let anew = journal.append(&begun());
    let after = journal.append(&segment(9, 0));
    for ticket in [void, anew, after] {
        ticket.await.unwrap();
    }
    journal.close().await.unwrap();
    assert_eq!(
        ours(&file.journal().unwrap()).records,
        [begun(), segment(9, 0)]
    );
}

/// After one failed write nothing more is written, every ticket says why, and the journal can still
/// be removed.
#[tokio::test]
async fn a_full_disk() {
    let file = MemoryFile::with(journal(&header(), &[begun()]));
    let journal = open(&file);
    journal.append(&segment(0, 0)).await.unwrap();
    file.fail_from(1);
    let failed = journal.append(&segment(0, 1)).await;
    assert!(
        matches!(failed, Err(Unavailable::Io { doing: "write", .. })),
        "{failed:?}"
    );
    let calls = file.calls();
    assert!(journal.append(&segment(0, 2)).await.is_err());
    assert!(journal.append(&begun()).await.is_err());
    assert_eq!(file.calls(), calls, "nothing more is tried");
    file.fail_from(1000);
    journal.remove().await.unwrap();
    assert_eq!(file.journal(), None);
}

/// What waits while a write fails is not written either: it would follow a gap.
#[tokio::test]
async fn waiting_while_the_disk_fills() {
    let before = journal(&header(), &[begun()]);
    let file = MemoryFile::with(before.clone());
    let journal = open(&file);
    let (begun_sync, sync_begun) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    file.gate(begun_sync, may_go);
    let first = journal.append(&segment(0, 0));
    sync_begun.recv().unwrap();
    let second = journal.append(&segment(0, 1));
    let calls = file.calls();
    file.fail_from(0);
    go.send(()).unwrap();
    assert!(first.await.is_err());
    assert!(second.await.is_err());
    assert_eq!(file.calls(), calls + 1, "only the sync that failed");
    assert_eq!(file.crash(|_| 0).journal(), Some(before));
}

/// A record too long for a line ends the recording, not the upload; what was appended before it is
/// written.
#[tokio::test]
async fn a_record_too_long() {
    let file = MemoryFile::default();
    let journal = open(&file);
    let mut long = segment(0, 1);
    if let Record::Segment { receipt, .. } = &mut long {
        *receipt = Receipt {
            text: "x".repeat(LINE_LEN_MAX),
            host: None,
            expires: None,
        };
    }
    let before = [journal.append(&begun()), journal.append(&segment(0, 0))];
    assert!(matches!(
        journal.append(&long).await,
        Err(Unavailable::TooLong)
    ));
    assert!(matches!(
        journal.append(&segment(1, 0)).await,
        Err(Unavailable::TooLong)
    ));
    for ticket in before {
        ticket.await.unwrap();
    }
    journal.close().await.unwrap();
    assert_eq!(
        ours(&file.journal().unwrap()).records,
        [begun(), segment(0, 0)]
    );
}

/// The driver's future is `Send`: so must be what it holds while it waits.
#[test]
fn futures_are_send() {
    fn check<T: Send>(_: impl FnOnce(Journal) -> T) {}
    check(|journal| journal.close());
    check(|journal| journal.remove());
    check(|journal| journal.append(&begun()));
    check(|_| Journal::open(Path::new(""), header()));
}

/// A runtime that shuts down leaves nobody waiting.
#[test]
fn a_runtime_that_ends() {
    let build = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let gone = build();
    let file = MemoryFile::default();
    let journal = gone.block_on(async { open(&file) });
    drop(gone);
    let ended = build().block_on(journal.append(&begun()));
    assert!(matches!(ended, Err(Unavailable::Stopped)), "{ended:?}");
    let again = build().block_on(journal.close());
    assert!(matches!(again, Err(Unavailable::Stopped)), "{again:?}");
}

/// What a life of a process did to the disk, for the crash model below.
struct Life {
    /// The records that were in force when it began.
    base: Vec<Record>,
    /// What it appended.
    appended: Vec<Record>,
    /// How many of them it took for durable.
    durable: usize,
}

impl Life {
    /// What the journal holds after the first `count` of its records, from the last start over on.
    fn records(&self, count: usize) -> Vec<Record> {
        let all = [&self.base, &self.appended[..count]].concat();
        since_begun(&all)
    }

    /// Opens the journal and appends what `choices` say, in batches, until a call fails.
    fn live(file: &mut MemoryFile, choices: &[(u8, u64, bool)]) -> Option<Self> {
        let mended = mend(file, Path::new("memory"), header()).ok()?;
        if mended.start.broken.is_some() {
            // It goes on without recording, and promises nothing.
            return None;
        }
        let mut life = Self {
            base: records_in(file),
            appended: Vec::new(),
            durable: 0,
        };
        let mut queue = Queue {
            header: mended.start.header,
            chain: mended.start.chain,
            batch: Batch::default(),
            writing: false,
            broken: None,
        };
        let mut state = mended.checkpoint;
        for (kind, lane, flush) in choices {
            let record = sensible(&state, *kind, *lane);
            queue.push(&record).unwrap();
            life.appended.push(record);
            state = Checkpoint::replay(&life.records(life.appended.len()), SIZE).0;
            if *flush {
                if std::mem::take(&mut queue.batch).write(file).is_err() {
                    break;
                }
                life.durable = life.appended.len();
            }
        }
        Some(life)
    }

    /// What a crash left must be what this life wrote, and no less than it took for durable.
    fn check(&self, left: &MemoryFile) {
        let found = records_in(left);
        let mut possible = self.durable..=self.appended.len();
        assert!(
            possible.any(|count| self.records(count) == found),
            "durable were {:?}, found {found:?}",
            self.records(self.durable),
        );
    }
}

fn records_in(file: &MemoryFile) -> Vec<Record> {
    match frame::recover(&file.journal().unwrap_or_default()) {
        Recovery::Ours(found) => since_begun(&found.records),
        Recovery::Damaged => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn since_begun(records: &[Record]) -> Vec<Record> {
    let is_begun = |record: &Record| matches!(record, Record::Begun { .. });
    let start = records.iter().rposition(is_begun).unwrap_or(0);
    records[start..].to_vec()
}

/// A record that makes sense after `state`.
fn sensible(state: &Checkpoint, kind: u8, lane: u64) -> Record {
    let done = state
        .lanes
        .get(&lane)
        .map_or(0, |(seals, _)| seals.len() as u64);
    match kind {
        _ if state.layout.is_none() => begun(),
        0 => begun(),
        1 if state.committing.is_some() => Record::CommitRefused,
        1 => committing(lane),
        2 if done > 0 => Record::LaneReset { lane },
        _ if done * MIB / 2 < 4 * MIB => segment(lane, done),
        _ => Record::LaneReset { lane },
    }
}

/// Every crash point of one story of appends, start over and all, with nothing, half and all of what
/// was not synced kept, in the file and in the directory.
#[test]
fn every_crash_point() {
    let mut choices: Vec<_> = (0..12).map(|lane| (9, lane % 3, lane % 4 == 3)).collect();
    choices.extend([
        (0, 0, true),
        (9, 0, false),
        (2, 0, true),
        (1, 5, true),
        (9, 1, true),
    ]);
    for start in [None, Some(journal(&header(), &story(20))), Some(Vec::new())] {
        let mut fuse = 0;
        loop {
            let mut file = start
                .clone()
                .map_or_else(MemoryFile::default, MemoryFile::with);
            file.fail_from(fuse);
            let life = Life::live(&mut file, &choices);
            for (names, bytes) in [
                (0, 0),
                (0, 1),
                (0, 2),
                (1, 0),
                (1, 1),
                (2, 0),
                (2, 1),
                (2, 2),
            ] {
                let mut picks = [names, bytes, bytes].into_iter();
                let left = file.crash(|max| max * picks.next().unwrap() / 2);
                if let Some(life) = &life {
                    life.check(&left);
                }
            }
            if life.is_some_and(|life| life.durable == choices.len()) {
                break;
            }
            fuse += 1;
        }
        assert!(fuse > 10, "only {fuse} crash points");
    }
}

/// A process killed at any point, a second one that only opens the journal, then a power cut: what
/// the second one saw is there, for it may have acted on it.
#[test]
fn what_is_read_is_durable() {
    let choices: Vec<_> = (0..9).map(|lane| (9, lane % 3, lane % 3 == 2)).collect();
    for torn in [0, 7] {
        for fuse in 0..40 {
            let mut start = journal(&header(), &story(20));
            start.truncate(start.len() - torn);
            let mut file = MemoryFile::with(start);
            file.fail_from(fuse);
            Life::live(
                &mut file,
                &[&choices[..6], &[(0, 0, true)], &choices].concat(),
            );
            file.fail_from(1000);
            let second = Life::live(&mut file, &[]).unwrap();
            second.check(&file.crash(|_| 0));
        }
    }
}

/// Removing is one step, whenever the crash comes.
#[test]
fn crash_while_removing() {
    let records = story(9);
    for kept in [0, 1] {
        let mut file = MemoryFile::with(journal(&header(), &records));
        file.unlink().unwrap();
        match file.crash(|max| max.min(kept)).journal() {
            Some(bytes) => assert_eq!(ours(&bytes).records, records),
            None => assert_eq!(kept, 1),
        }
        file.sync_names().unwrap();
        assert_eq!(file.crash(|_| 0).journal(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Lives that end in power cuts or kills: nothing that was taken for durable is ever lost,
    /// nothing that was not written is ever found.
    #[test]
    fn many_lives(
        lives in prop::collection::vec(
            (
                prop::collection::vec((0..8_u8, 0..4_u64, any::<bool>()), 0..12),
                0..30_u32,
                prop::option::of(prop::collection::vec(any::<prop::sample::Index>(), 3)),
            ),
            1..5,
        )
    ) {
        let mut file = MemoryFile::default();
        for (choices, fuse, picks) in lives {
            file.fail_from(fuse);
            let life = Life::live(&mut file, &choices);
            // A kill takes nothing from the kernel.
            let left = picks.map_or(file.clone(), |picks| {
                let mut picks = picks.into_iter();
                file.crash(|max| picks.next().map_or(0, |pick| pick.index(max + 1)))
            });
            if let Some(life) = life {
                life.check(&left);
            }
            file = left;
        }
    }
}
