//! The public API of the library as a list, `tests/public_api/list.txt`: who changes it sees so here, and in
//! the diff of his change.
//!
//! It is read from the sources with `syn`, since what rustdoc can tell machines needs a nightly toolchain.
//! `HAUL_BLESS=1 cargo test --test public_api` writes the list anew.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod names;
mod surface;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::names::Crate;

/// Where the list is.
const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/public_api/list.txt");

/// The sources, by their paths below `src`.
fn sources(dir: &Path, below: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            sources(&path, &format!("{below}{name}/"), found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.insert(format!("{below}{name}"), text);
        }
    }
}

/// Writes the list anew, if that is asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever asks for it looks at the diff before it counts"
)]
fn bless(text: &str) {
    if std::env::var_os("HAUL_BLESS").is_some() {
        fs::write(LIST, text).unwrap();
    }
}

/// The list is what the sources say.
#[test]
fn the_list_is_true() {
    let mut files = BTreeMap::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&src, "", &mut files);
    let lines = surface::list(&Crate::read(&files));
    let text = lines
        .iter()
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    bless(&text);
    let listed = fs::read_to_string(LIST).unwrap_or_default();
    let before: BTreeSet<&str> = listed.lines().collect();
    let now: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    let gone: Vec<String> = before
        .difference(&now)
        .map(|line| format!("- {line}"))
        .collect();
    let new: Vec<String> = now
        .difference(&before)
        .map(|line| format!("+ {line}"))
        .collect();
    assert!(
        listed == text,
        "the public API is not what {LIST} says:\n{}\n{}\nIf that is meant, and told in CHANGELOG.md: \
         HAUL_BLESS=1 cargo test --test public_api",
        gone.join("\n"),
        new.join("\n")
    );
}

/// What is public is found wherever it is defined, under the path that users write; what is hidden, of tests,
/// or of the crate alone is not.
#[test]
fn what_is_found() {
    let files = [
        (
            "lib.rs",
            "mod inner; pub mod open; #[doc(hidden)] pub mod hidden; pub use inner::{Thing, deep::Deep as \
             Renamed}; #[cfg(feature = \"x\")] pub fn free(n: u8) -> u8 { n } pub(crate) fn own() {}",
        ),
        (
            "inner/mod.rs",
            "mod more; pub mod deep; #[derive(Debug, Clone)] #[non_exhaustive] pub struct Thing { pub a: \
             Vec<u8>, b: u8 } #[cfg(test)] impl Thing { pub fn of_tests() {} } pub struct Private;",
        ),
        (
            "inner/more.rs",
            "use crate::inner::Thing; impl Thing { pub async fn go(&self) -> u8 { 1 } fn own(&self) {} } \
             impl std::fmt::Display for Thing {} struct Other; impl Other { pub fn none() {} }",
        ),
        (
            "inner/deep.rs",
            "pub enum Deep { One, Two(u8), Three { c: char } }",
        ),
        (
            "open.rs",
            "pub use crate::inner::Thing as Again; pub const MAX: u8 = 1; pub trait Do { fn it(); }",
        ),
        ("hidden.rs", "pub struct Hidden;"),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let lines = surface::list(&Crate::read(&BTreeMap::from(files)));
    let expected = [
        "haul::Renamed: enum",
        "haul::Renamed::One",
        "haul::Renamed::Three { c: char }",
        "haul::Renamed::Two(u8)",
        "haul::Thing: struct, non_exhaustive; Clone, Debug, std::fmt::Display",
        "haul::Thing::a: Vec<u8>",
        "haul::Thing::go: async fn go(&self) -> u8",
        "haul::free: fn free(n: u8) -> u8; feature x",
        "haul::open: mod",
        "haul::open::Again: = haul::Thing",
        "haul::open::Do: trait",
        "haul::open::Do::it: fn it()",
        "haul::open::MAX: const MAX: u8",
    ];
    assert_eq!(lines, expected);
}
