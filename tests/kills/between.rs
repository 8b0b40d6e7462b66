//! The source changes between a kill and the next run: what is stored is what the file holds then.

use std::fs::{File, FileTimes};
use std::os::unix::fs::FileExt;
use std::path::Path;

use haul::devserver::Operation;

use crate::rig::{FORM, LEN, Rig, SEGMENT_LEN_MAX, V1, V2, WINDOW, files_in, number};
use crate::world::content;

/// Enough for a commit of a block and a crumb.
const SHORT_LEN: usize = (4 << 20) + 5;

/// What happens to the file.
type Change = fn(&Path);

/// Replaces one byte in place, and sets the times back.
pub(crate) fn overwrite(path: &Path, offset: u64) {
    let before = times(path);
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"\xff", offset).unwrap();
    file.set_times(before).unwrap();
}

/// Rewrites every byte in place, and sets the times back.
pub(crate) fn rewrite(path: &Path) {
    let before = times(path);
    let other: Vec<u8> = content(len(path) as usize)
        .iter()
        .map(|byte| byte ^ 0x55)
        .collect();
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&other, 0).unwrap();
    file.set_times(before).unwrap();
}

/// Cuts the file to `len` bytes or fills it up to them with zeros, and sets the times back.
pub(crate) fn resize(path: &Path, len: u64) {
    let before = times(path);
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(len).unwrap();
    file.set_times(before).unwrap();
}

/// Puts another file in its place; `change` makes it differ.
pub(crate) fn replace(path: &Path, change: impl FnOnce(&Path)) {
    let other = path.with_extension("other");
    std::fs::copy(path, &other).unwrap();
    File::options()
        .write(true)
        .open(&other)
        .unwrap()
        .set_times(times(path))
        .unwrap();
    change(&other);
    std::fs::rename(&other, path).unwrap();
}

fn len(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

fn times(path: &Path) -> FileTimes {
    let metadata = std::fs::metadata(path).unwrap();
    FileTimes::new()
        .set_accessed(metadata.accessed().unwrap())
        .set_modified(metadata.modified().unwrap())
}

/// A story; what happens; how many lanes of 4 MiB differ afterwards, where the cut of the file into
/// lanes stays, so that no others may be sent again.
const CHANGES: [(&str, Change, Option<u64>); 9] = [
    ("nothing", |_| {}, Some(0)),
    ("its first byte", |path| overwrite(path, 0), Some(1)),
    (
        "its last byte",
        |path| overwrite(path, len(path) - 1),
        Some(1),
    ),
    ("every byte", rewrite, None),
    ("a cut in a sent lane", |path| resize(path, 1_000_000), None),
    ("a cut to a crumb", |path| resize(path, 10), None),
    ("a cut to nothing", |path| resize(path, 0), None),
    ("growth", |path| resize(path, len(path) + 5_000_000), None),
    (
        "another file of the same bytes",
        |path| replace(path, |_| {}),
        Some(0),
    ),
];

/// Two segments are in flight when it is killed, and others acknowledged.
#[test]
fn among_segments() {
    for (flags, operation) in [(V1, "\"mkblk\", \"bput\""), (V2, "\"part\"")] {
        for (story, change, lanes) in CHANGES {
            let story = format!("{flags:?}: {story}");
            let plan = format!("[[fault]]\noperation = [{operation}]\nfrom = 4\nhold = \"h\"");
            let rig = Rig::new(flags, LEN, &plan);
            rig.start_until_held(WINDOW).kill();
            rig.heal();
            change(rig.file.as_ref());
            let ran = rig.finish(&story);
            if let Some(lanes) = lanes {
                let safe = number(&ran, "resumed_bytes");
                let most = LEN as u64 - safe + lanes * SEGMENT_LEN_MAX;
                let sent = number(&ran, "sent_bytes");
                assert!(sent <= most, "{story}: {sent} bytes went out, not {most}");
            }
        }
    }
}

/// The commit was sent, and took effect or did not: that object is not the one of the present file.
#[test]
fn at_the_commit() {
    let rows = [
        (V1, "mkfile", Operation::Mkfile),
        (V2, "complete", Operation::Complete),
        (FORM, "form", Operation::Form),
    ];
    for (flags, name, operation) in rows {
        // Where it took no effect, two rows stand for all.
        for (fault, count) in [
            ("hold = \"h\"", CHANGES.len()),
            ("hang = \"after_body\"", 2),
        ] {
            for (story, change, _) in &CHANGES[..count] {
                let story = format!("{name}, {fault}: {story}");
                let plan = format!("[[fault]]\noperation = \"{name}\"\nnth = 1\n{fault}");
                let rig = Rig::new(flags, SHORT_LEN, &plan);
                rig.start_until_stuck(operation, fault).kill();
                rig.heal();
                change(rig.file.as_ref());
                rig.finish(&story);
            }
        }
    }
}

/// A file that is gone is no upload: exit 5, nothing is stored, and the journal waits for its return.
#[test]
fn deleted() {
    for (flags, operation) in [(V1, "mkblk"), (V2, "part")] {
        let plan = format!("[[fault]]\noperation = \"{operation}\"\nfrom = 3\nhold = \"h\"");
        let rig = Rig::new(flags, LEN, &plan);
        rig.start_until_held(WINDOW).kill();
        rig.heal();
        let away = rig.world.path("away");
        std::fs::rename(&rig.file, &away).unwrap();
        rig.run().expect(5, &["there is no such file"]);
        let stat = rig.world.run(&["stat", "kodo://b/k"]);
        stat.expect(4, &["status 612"]);

        std::fs::rename(&away, &rig.file).unwrap();
        let ran = rig.finish("it is back");
        assert!(number(&ran, "resumed_bytes") > 0, "{ran:#?}");
    }
}

/// The next line says it in other words: another path to the same bytes, another protocol. What is
/// safe stays safe.
#[test]
fn another_line() {
    let plan = "[[fault]]\noperation = [\"mkblk\", \"bput\", \"part\"]\nfrom = 4\nhold = \"h\"";
    for (flags, others) in [(V1, V2), (V2, V1)] {
        let rig = Rig::new(flags, LEN, plan);
        rig.start_until_held(WINDOW).kill();
        rig.heal();
        let copy = rig.world.path("copy");
        std::fs::copy(&rig.file, &copy).unwrap();
        let line = [&["put", "copy", "kodo://b/k", "--json"], others].concat();
        let ran = rig.world.run(&line);
        ran.expect(0, &["an earlier run began this upload"]);
        rig.expect_stored(&format!("{flags:?}, then {others:?}"));
        assert!(number(&ran, "resumed_bytes") > 0, "{ran:#?}");
        let sent = number(&ran, "sent_bytes") + number(&ran, "resumed_bytes");
        assert_eq!(sent, LEN as u64, "{ran:#?}");
        assert_eq!(files_in(&rig.world, "").len(), 0);
    }
}
