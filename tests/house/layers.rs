//! Which room may use which: the dependency rule of the house, as a table.

use crate::lexer::leading_word;
use crate::{Complaint, SourceFile};

/// A ring: what its rooms may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ring {
    /// Decisions and bytes. No files, sockets, clocks, tasks, randomness.
    Pure,
    /// Thin; one seam each; no decisions.
    Io,
    /// Joins the others; may use every room and the crate's public names.
    Composition,
}

/// Every room of `src/` (a folder or a file): its ring, and the rooms it may use besides itself.
///
/// A new room is added here, and to the map in `src/lib.rs`.
const ROOMS: &[(&str, Ring, &[&str])] = &[
    ("model", Ring::Pure, &[]),
    ("kodo", Ring::Pure, &["model"]),
    ("engine", Ring::Pure, &["model"]),
    ("blocking", Ring::Io, &[]),
    ("clock", Ring::Io, &[]),
    ("telemetry", Ring::Io, &["guide", "model"]),
    (
        "journal",
        Ring::Io,
        &["blocking", "clock", "engine", "model"],
    ),
    ("source", Ring::Io, &["blocking", "clock", "kodo", "model"]),
    ("network", Ring::Io, &["model"]),
    (
        "transport",
        Ring::Io,
        &["clock", "kodo", "model", "network", "telemetry"],
    ),
    ("api", Ring::Io, &["clock", "kodo", "model", "network"]),
    (
        "devserver",
        Ring::Io,
        &["blocking", "clock", "kodo", "model"],
    ),
    ("uploader", Ring::Composition, &[]),
    ("client", Ring::Composition, &[]),
    ("events", Ring::Composition, &[]),
    ("stop", Ring::Composition, &[]),
    ("config", Ring::Composition, &[]),
    ("error", Ring::Composition, &[]),
    ("guide", Ring::Composition, &[]),
    ("cli", Ring::Composition, &[]),
    ("guide", Ring::Composition, &[]),
    ("lib", Ring::Composition, &[]),
    ("main", Ring::Composition, &[]),
];

/// What pure code may not name, and what to do instead.
const IMPURE: &[(&str, &str)] = &[
    ("std::fs", "take the bytes as an argument"),
    ("std::net", "return what to send; let transport send it"),
    ("std::env", "take the value as an argument"),
    ("std::process", "return the decision as a value"),
    ("std::thread", "return the decision as a value"),
    ("Instant::now", "take the time as an argument"),
    ("SystemTime::now", "take the time as an argument"),
    ("tokio", "return what to do; let the caller wait"),
    ("rand", "take the random number as an argument"),
    ("hyper", "use the `http` crate's types"),
    ("reqwest", "use the `http` crate's types"),
];

/// Complains about every use of a room, or of the outside world, that the tables do not allow.
pub(crate) fn check(file: &SourceFile) -> Vec<Complaint> {
    let Some(room) = room_of(&file.path) else {
        return Vec::new();
    };
    let Some((_, ring, allowed)) = ROOMS.iter().find(|(name, ..)| *name == room) else {
        let message = format!(
            "`{room}` is a new room: add it to ROOMS in tests/house/layers.rs, with its ring and \
             the rooms it may use, and to the map in src/lib.rs"
        );
        return vec![file.complaint(0, message)];
    };
    let mut found = parents(file);
    if *ring != Ring::Composition {
        found.extend(foreign_rooms(file, room, allowed));
    }
    if *ring == Ring::Pure {
        found.extend(impure_names(file));
    }
    found
}

/// The room that a file of `src/` belongs to.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

/// Uses of rooms that `allowed` does not name.
fn foreign_rooms(file: &SourceFile, room: &str, allowed: &[&str]) -> Vec<Complaint> {
    let mut found = Vec::new();
    for (name, at) in crate_paths(file) {
        if name == room || allowed.contains(&name) {
            continue;
        }
        let rooms = match allowed {
            [] => "nothing of this crate".to_owned(),
            rooms => format!("only {}", rooms.join(", ")),
        };
        found.push(file.complaint(
            at,
            format!("uses crate::{name}: `{room}` may use {rooms} (tests/house/layers.rs)"),
        ));
    }
    found
}

/// The first name of every path that begins with `crate::`, and where it stands.
fn crate_paths(file: &SourceFile) -> Vec<(&str, usize)> {
    let code = &file.masked.code;
    let mut paths = Vec::new();
    for at in file.masked.words("crate") {
        // `$crate` belongs to a macro's caller.
        let macro_path = at > 0 && code.as_bytes()[at - 1] == b'$';
        let Some(tail) = code[at..].strip_prefix("crate::").filter(|_| !macro_path) else {
            continue;
        };
        let open = code.len() - tail.len();
        if !tail.starts_with('{') {
            paths.push((leading_word(tail), at));
            continue;
        }
        // A list of paths: one begins behind every comma of the outermost braces.
        let mut item = open + 1;
        let end = file.masked.closing(open);
        while item < end {
            let text = code[item..].trim_start();
            let start = code.len() - text.len();
            if !leading_word(text).is_empty() {
                paths.push((leading_word(text), start));
            }
            item = start;
            while item < end && code.as_bytes()[item] != b',' {
                item = match code.as_bytes()[item] {
                    b'{' => file.masked.closing(item),
                    _ => item + 1,
                };
            }
            item += 1;
        }
    }
    paths
}

/// Names of the outside world in pure code. Tests may read fixtures.
fn impure_names(file: &SourceFile) -> Vec<Complaint> {
    if file.is_test() {
        return Vec::new();
    }
    let tests = file.masked.test_spans();
    let mut found = Vec::new();
    for (name, instead) in IMPURE {
        for at in file.masked.words(name) {
            let in_test = tests
                .iter()
                .any(|(start, end)| (*start..*end).contains(&at));
            let called = file.masked.code[at + name.len()..].starts_with("::");
            // A crate is named by a path; a bare word of the same spelling is a variable.
            if in_test || !(called || name.contains("::")) {
                continue;
            }
            let message = format!("names {name}: ring 1 is pure; {instead}");
            found.push(file.complaint(at, message));
        }
    }
    found
}

/// `super::` outside tests: a full path can be searched for, and moved.
fn parents(file: &SourceFile) -> Vec<Complaint> {
    let tests = file.masked.test_spans();
    let uses = file.masked.words("super").filter(|at| {
        let in_test = tests.iter().any(|(start, end)| (*start..*end).contains(at));
        !in_test && file.masked.code[*at..].starts_with("super::")
    });
    if file.is_test() {
        return Vec::new();
    }
    uses.map(|at| file.complaint(at, "says super::; write the path from crate::"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row is a file that breaks the rule, and the complaint it must meet.
    #[test]
    fn bad_rooms_are_found() {
        let rows = [
            (
                "src/model/a.rs",
                "use crate::kodo::x;",
                "nothing of this crate",
            ),
            (
                "src/kodo/b.rs",
                "//!\nuse crate::{model::A, api};",
                "may use only model",
            ),
            (
                "src/kodo/b.rs",
                "fn f() { crate::api::g() }",
                "uses crate::api",
            ),
            (
                "src/kodo.rs",
                "use crate::Uploader;",
                "uses crate::Uploader",
            ),
            (
                "src/source/c.rs",
                "use crate::{a::{b, api}, model};",
                "uses crate::a",
            ),
            (
                "src/devserver/d.rs",
                "use crate::{kodo::{x}, uploader::y};",
                "crate::uploader",
            ),
            (
                "src/model/e.rs",
                "use std::fs;",
                "take the bytes as an argument",
            ),
            (
                "src/kodo/e.rs",
                "use std::time::Instant; fn f() { Instant::now() }",
                "the time",
            ),
            (
                "src/kodo/e.rs",
                "async fn f() { tokio::spawn(x) }",
                "let the caller wait",
            ),
            (
                "src/kodo/f.rs",
                "use super::etag;",
                "write the path from crate::",
            ),
            ("src/garden/mod.rs", "", "new room"),
        ];
        for (path, text, expected) in rows {
            let found = check(&SourceFile::new(path, text));
            let text = found.first().map(ToString::to_string).unwrap_or_default();
            assert!(text.contains(expected), "{path}: {text}");
            assert_eq!(found.len(), 1, "{path}: {found:?}");
        }
    }

    /// Each row is a file that keeps the rule.
    #[test]
    fn good_rooms_pass() {
        let rows = [
            (
                "src/model/a.rs",
                "use crate::model::Bucket; // crate::api std::fs",
            ),
            (
                "src/kodo/a.rs",
                "use crate::{kodo::{b, c}, model};\nlet rand = 1;",
            ),
            (
                "src/kodo/b.rs",
                "#[cfg(test)]\nmod tests { use super::*; use std::fs; }",
            ),
            ("src/kodo/tests.rs", "use super::x; use std::fs;"),
            ("src/cli/a.rs", "use crate::{api, Uploader}; use std::fs;"),
            (
                "src/devserver/a.rs",
                "use std::fs; pub(super) fn f() { $crate::x() }",
            ),
            ("tests/x.rs", "use haul::devserver; use super::x;"),
        ];
        for (path, text) in rows {
            assert_eq!(check(&SourceFile::new(path, text)), [], "{path}");
        }
    }
}
