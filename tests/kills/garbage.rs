//! What lies where the journal should be is no journal, or not a whole one: the upload goes on, and
//! what is not ours stays as it is.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::rig::{Rig, V1, V2, WINDOW, files_in, number};

/// Three lanes: two of them have been touched.
const LEN: usize = (8 << 20) + 5;

/// Makes something else of a journal.
type Damage = fn(&Path);

/// What is left of it when the upload is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    /// It was ours, and went as every journal goes.
    Nothing,
    /// It was not ours, and nobody touched it.
    AsItWas,
}

/// A story; what happens to the journal; what is left of it; what is said.
const ROWS: [(&str, Damage, Left, &str); 10] = [
    (
        "a torn tail",
        |path| cut(path, 7),
        Left::Nothing,
        "were torn",
    ),
    (
        "a cut first line",
        |path| keep(path, 40),
        Left::Nothing,
        "begins anew",
    ),
    ("an empty file", |path| keep(path, 0), Left::Nothing, ""),
    (
        "zeros",
        |path| put(path, &[0; 4096]),
        Left::Nothing,
        "begins anew",
    ),
    (
        "a flipped bit",
        |path| flip(path),
        Left::Nothing,
        "were torn",
    ),
    (
        "a letter",
        |path| put(path, b"Dear Sir or Madam,\n"),
        Left::AsItWas,
        "left alone",
    ),
    (
        "a newer journal",
        newer,
        Left::AsItWas,
        "use the newer haul",
    ),
    ("a directory", directory, Left::AsItWas, "left alone"),
    ("a pipe", pipe, Left::AsItWas, "left alone"),
    ("a link to elsewhere", link, Left::AsItWas, "left alone"),
];

/// Whatever it is: done, the right object, and what is not ours is left alone.
#[test]
fn in_the_journals_place() {
    for (flags, operation) in [(V1, "\"mkblk\", \"bput\""), (V2, "\"part\"")] {
        for (story, damage, left, said) in ROWS {
            let story = format!("{flags:?}: {story}");
            let plan = format!("[[fault]]\noperation = [{operation}]\nfrom = 2\nhold = \"h\"");
            let rig = Rig::new(flags, LEN, &plan);
            rig.start_until_held(WINDOW).kill();
            rig.heal();
            let journal = rig.journals().remove(0);
            damage(&journal);
            let before = shown(&journal);
            let ran = rig.run();
            assert_eq!(ran.code, Some(0), "{story}: {ran:#?}");
            assert!(ran.err.contains(said), "{story}: {ran:#?}");
            rig.expect_stored(&story);
            let kept = match left {
                Left::Nothing => None,
                Left::AsItWas => before,
            };
            assert_eq!(shown(&journal), kept, "{story}");
        }
    }
}

/// A journal under another upload's name speaks of another object: it is not believed.
#[test]
fn of_another_upload() {
    let plan = "[[fault]]\noperation = \"mkblk\"\nfrom = 2\nhold = \"h\"";
    let rig = Rig::new(V1, LEN, plan);
    rig.start_until_held(1).kill();
    let ours = rig.journals().remove(0);
    let other_line = rig.line(&rig.file, "kodo://b/other");
    let mut other = rig.world.start(&other_line);
    crate::rig::until("a second journal", || rig.journals().len() == 2);
    other.kill().unwrap();
    other.wait().unwrap();
    rig.heal();
    let others = rig.journals();
    let others = others.iter().find(|path| **path != ours).unwrap();
    std::fs::copy(&ours, others).unwrap();
    let before = std::fs::read(others).unwrap();

    let ran = rig.world.run(&other_line);
    ran.expect(0, &["left alone"]);
    assert_eq!(number(&ran, "resumed_bytes"), 0, "{ran:#?}");
    assert_eq!(std::fs::read(others).unwrap(), before);
    let stat = rig.world.run(&["stat", "kodo://b/other", "--json"]);
    assert_eq!(stat.last_json()["hash"], ran.last_json()["hash"]);

    let ran = rig.run();
    ran.expect(0, &[]);
    assert_eq!(
        files_in(&rig.world, "journal"),
        std::slice::from_ref(others)
    );
}

fn put(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(bytes).unwrap();
}

fn keep(path: &Path, len: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(len).unwrap();
}

fn cut(path: &Path, len: u64) {
    keep(path, std::fs::metadata(path).unwrap().len() - len);
}

/// Within the last line.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() - 20;
    bytes[at] ^= 1;
    put(path, &bytes);
}

/// The same journal as a later haul would have written it, with a right sum.
fn newer(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let json = text.lines().next().unwrap().splitn(4, ' ').last().unwrap();
    let words = "haul-journal 7 ";
    let sum = crc32fast::hash(format!("{words}{json}").as_bytes());
    put(
        path,
        format!("{words}{sum:08x} {json}\nwhatever\n").as_bytes(),
    );
}

fn directory(path: &Path) {
    std::fs::remove_file(path).unwrap();
    std::fs::create_dir(path).unwrap();
}

fn pipe(path: &Path) {
    std::fs::remove_file(path).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn link(path: &Path) {
    let elsewhere = path.with_extension("elsewhere");
    std::fs::rename(path, &elsewhere).unwrap();
    symlink(elsewhere, path).unwrap();
}

/// What lies at `path`: its kind, and its bytes if it has any.
fn shown(path: &Path) -> Option<(std::fs::FileType, Vec<u8>)> {
    let kind = std::fs::symlink_metadata(path).ok()?.file_type();
    let has_bytes = kind.is_file() || kind.is_symlink();
    let bytes = if has_bytes {
        std::fs::read(path).unwrap()
    } else {
        Vec::new()
    };
    Some((kind, bytes))
}
