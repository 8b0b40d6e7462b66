//! The source changes while it is being uploaded: other bytes end the upload, another place does not.

use std::fs::File;
use std::path::Path;

use crate::between::{overwrite, replace, resize, rewrite};
use crate::rig::{FORM, Rig, files_in};
use crate::world::{Server, content};

use haul::devserver::Operation;
use haul::kodo::Etag;

/// Three lanes: the first has an answer that is held, the others have not been read.
const LEN: usize = (8 << 20) + 5;

/// A story; what happens; the exit code; what is said.
type Row = (&'static str, fn(&Path), i32, &'static str);

const CHANGES: [Row; 11] = [
    ("a sent byte", |path| overwrite(path, 3), 5, OTHER_BYTES),
    ("every byte", rewrite, 5, OTHER_BYTES),
    (
        "a cut of unsent bytes",
        |path| resize(path, 8 << 20),
        5,
        RESIZED,
    ),
    ("a cut of sent bytes", |path| resize(path, 10), 5, RESIZED),
    ("a cut to nothing", |path| resize(path, 0), 5, RESIZED),
    ("growth", |path| resize(path, LEN as u64 + 1), 5, RESIZED),
    (
        "a byte not sent yet",
        |path| overwrite(path, LEN as u64 - 1),
        0,
        "",
    ),
    ("its mtime", touch, 0, "compared with what was sent"),
    (
        "another file in its place",
        |path| replace(path, |other| overwrite(other, 9)),
        0,
        "another file has taken its place",
    ),
    (
        "renamed away",
        rename_away,
        0,
        "there is no such file any more",
    ),
    (
        "deleted",
        |path| std::fs::remove_file(path).unwrap(),
        0,
        "there is no such file any more",
    ),
];

const OTHER_BYTES: &str = "it has other bytes than were sent";
const RESIZED: &str = "the file changed while it was being uploaded";

fn touch(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
}

fn rename_away(path: &Path) {
    std::fs::rename(path, path.with_extension("away")).unwrap();
}

/// The first answer is held, the file changes, the answer comes. Where it ends with exit 5 nothing is
/// stored; where it is done, the object is what was read.
#[test]
fn beside_segments() {
    // One lane: others would send the rest of the file meanwhile.
    const ONE_V1: &[&str] = &["--protocol", "v1", "--threshold", "0", "--window", "1"];
    const ONE_V2: &[&str] = &["--protocol", "v2", "--threshold", "0", "--window", "1"];
    for (flags, operation) in [(ONE_V1, "\"mkblk\", \"bput\""), (ONE_V2, "\"part\"")] {
        for (story, change, code, said) in CHANGES {
            let story = format!("{flags:?}: {story}");
            let plan = format!("[[fault]]\noperation = [{operation}]\nnth = 1\nhold = \"h\"");
            let rig = Rig::new(flags, LEN, &plan);
            let held = rig.start_until_held(1);
            let mut expected = content(LEN);
            if story.ends_with("not sent yet") {
                expected[LEN - 1] = 0xff;
            }
            change(rig.file.as_ref());
            rig.server.server.faults().release("h");
            let ran = held.end();
            assert_eq!(ran.code, Some(code), "{story}: {ran:#?}");
            assert!(ran.err.contains(said), "{story}: {ran:#?}");
            expect_stored(&rig, &story, (code == 0).then_some(&expected));
        }
    }
}

/// A form is hashed before it is sent. It changes while the server reads slowly: its last bytes then
/// stay here, so that the object never comes to be.
#[test]
fn within_a_form() {
    const LEN: usize = 24 << 20;
    let rows: [Row; 4] = [
        (
            "its last byte",
            |path| overwrite(path, LEN as u64 - 1),
            5,
            "it has other bytes",
        ),
        (
            "a cut",
            |path| resize(path, LEN as u64 - 1),
            5,
            "ends at byte",
        ),
        (
            "growth",
            |path| resize(path, LEN as u64 + 1),
            5,
            "its size went from",
        ),
        (
            "another file in its place",
            |path| replace(path, |other| overwrite(other, 9)),
            0,
            "another file has taken its place",
        ),
    ];
    for (story, change, code, said) in rows {
        // It takes 3 s to go over this line: far more than the buffers of both ends hold is still
        // to be read when the file changes.
        let server = Server::built(|builder| builder.rate("64Mbit/s".parse().unwrap()));
        let rig = Rig::beside(server, FORM, LEN);
        let held = rig.start_until_stuck(Operation::Form, "a line");
        change(rig.file.as_ref());
        let ran = held.end();
        assert_eq!(ran.code, Some(code), "{story}: {ran:#?}");
        assert!(ran.err.contains(said), "{story}: {ran:#?}");
        expect_stored(&rig, story, (code == 0).then_some(&content(LEN)));
    }
}

/// What is under the key is `expected`, or nothing at all.
#[track_caller]
fn expect_stored(rig: &Rig, story: &str, expected: Option<&Vec<u8>>) {
    let stat = rig.world.run(&["stat", "kodo://b/k", "--json"]);
    match expected {
        Some(bytes) => {
            let hash = Etag::of(bytes).to_string();
            assert_eq!(stat.last_json()["hash"], hash.as_str(), "{story}");
            assert!(files_in(&rig.world, "").is_empty(), "{story}");
        }
        None => {
            stat.expect(4, &["status 612"]);
        }
    }
}
