//! The house rules, checked by `cargo test`: what is not checked is not a rule.
//!
//! *Layers*: pure code imports only pure code, I/O imports pure code, composition joins them; the
//! table of rooms is in `layers.rs`. *Sizes*: no file above 500 lines, no function above 70.
//! *Manners*: no `unwrap` outside tests, a reason with every `expect` attribute, one word for one
//! thing. Each check is a function from text to complaints, and has a test that it can fail.

mod layers;
mod lexer;
mod manners;
mod sizes;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use lexer::Masked;

/// Folders whose Rust files the rules are for.
const FOLDERS: [&str; 4] = ["src", "tests", "benches", "examples"];

/// One Rust file as the checks see it.
struct SourceFile {
    /// Path from the package's folder, with `/` between its segments.
    path: String,
    /// Its text as it stands.
    text: String,
    /// Its text with comments, strings and characters blanked out.
    masked: Masked,
}

impl SourceFile {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            masked: Masked::new(text),
        }
    }

    /// Whether the whole file is test code: it lies in a folder `tests`, or is a `tests.rs`.
    fn is_test(&self) -> bool {
        self.path
            .split('/')
            .any(|segment| segment == "tests" || segment == "tests.rs")
    }

    /// A complaint about the line of `offset`, a position in the text.
    fn complaint(&self, offset: usize, message: impl Into<String>) -> Complaint {
        Complaint {
            path: self.path.clone(),
            line: self.masked.line(offset),
            message: message.into(),
        }
    }
}

/// What a check found: where, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    path: String,
    line: usize,
    message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.path, self.line, self.message)
    }
}

/// Every Rust file of the house, in order of path.
fn house() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).expect("a Rust file is readable UTF-8");
            let path = path.strip_prefix(root).expect("it lies in the package");
            SourceFile::new(&path.to_string_lossy().replace('\\', "/"), &text)
        })
        .collect()
}

/// Adds every `.rs` file below `folder`, which need not exist.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Runs `check` on every file and fails with all it found.
fn hold(check: fn(&SourceFile) -> Vec<Complaint>) {
    let files = house();
    assert!(files.iter().any(|file| file.path == "src/lib.rs"));
    let found: Vec<_> = files.iter().flat_map(check).collect();
    let list: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "house rules broken:\n{}", list.join("\n"));
}

#[test]
fn layers_hold() {
    hold(layers::check);
}

#[test]
fn files_are_short() {
    hold(sizes::files);
}

#[test]
fn functions_are_short() {
    hold(sizes::functions);
}

#[test]
fn nothing_unwraps_outside_tests() {
    hold(manners::unwraps);
}

#[test]
fn every_exception_has_its_reason() {
    hold(manners::exceptions);
}

#[test]
fn one_word_for_one_thing() {
    hold(manners::words);
}

/// Shows how much of each file explains the rest, for whoever runs it with `--nocapture`. Nothing
/// is enforced: a comment written for a quota explains nothing.
#[test]
fn share_of_comments() {
    for file in house().iter().filter(|file| !file.is_test()) {
        let lines = file.text.lines().count().max(1);
        let comments = sizes::comment_lines(file);
        println!("{:3} % of {}", 100 * comments / lines, file.path);
    }
}
