//! The source changes while it is being uploaded: never a wrong object, never a false success.
#![cfg(unix)]

use std::io::Write;
use std::path::Path;

use crate::world::{Server, World, content, end};

const LEN: usize = (4 << 20) + 5;

/// What happens to the file while an answer is held.
type Change = fn(&Path);

/// Overwrites one byte in place, at `offset`; the modification time goes back to what it was.
fn overwrite(path: &Path, offset: u64) {
    use std::os::unix::fs::FileExt;
    let before = std::fs::metadata(path).unwrap().modified().unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"\xff", offset).unwrap();
    file.set_modified(before).unwrap();
}

/// A story, what happens, the exit code, and what is said.
const CHANGES: [(&str, Change, i32, &str); 5] = [
    (
        "a sent byte",
        |path| overwrite(path, 3),
        5,
        "it has other bytes than were sent",
    ),
    (
        "growth",
        |path| {
            let mut file = std::fs::File::options().append(true).open(path).unwrap();
            file.write_all(b"more").unwrap();
        },
        5,
        "its size went from",
    ),
    (
        "a cut",
        |path| {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_len(600_000).unwrap();
        },
        5,
        " 600000",
    ),
    (
        "a replacing rename",
        |path| {
            let other = path.with_extension("other");
            std::fs::copy(path, &other).unwrap();
            overwrite(&other, 9);
            std::fs::rename(&other, path).unwrap();
        },
        0,
        "its bytes are compared",
    ),
    (
        "a change of its mode only",
        |path| {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path, mode).unwrap();
        },
        0,
        "its bytes are compared",
    ),
];

/// A byte that was sent, one that was not, growth, a cut: exit 5, and nothing is stored. A rename
/// that puts another file in its place: the open one goes on and is what is stored.
#[test]
fn changes_during_the_upload() {
    for (story, change, code, said) in CHANGES {
        for (protocol, held) in [("v1", "mkblk"), ("v2", "initiate")] {
            // Nothing of the file has gone out when v2 initiates: a byte that changes then is sent
            // as it is now, and that is no change.
            let held = if protocol == "v2" && story == "a sent byte" {
                "part"
            } else {
                held
            };
            let plan = format!("[[fault]]\noperation = \"{held}\"\nnth = 1\nhold = \"h\"");
            let server = Server::with(&plan);
            let world = World::beside(&server);
            let file = world.file("f.bin", &content(LEN));
            let etag = world.run(&["etag", &file]).out;
            // One lane: others would send the rest of the file meanwhile.
            let one_lane = ["--protocol", protocol, "--window", "1"];
            let child = world.start(&[&["put", &file, "kodo://b/k"][..], &one_lane].concat());
            server.until_held("h");
            change(file.as_ref());
            server.server.faults().release("h");
            let ran = end(child);
            ran.expect(code, &[said]);
            let stat = world.run(&["stat", "kodo://b/k", "--json"]);
            if code == 0 {
                let hash = stat.last_json()["hash"].clone();
                assert!(
                    etag.starts_with(hash.as_str().unwrap()),
                    "{story} {protocol}"
                );
            } else {
                stat.expect(4, &["status 612"]);
            }
        }
    }
}
