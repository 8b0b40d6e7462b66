//! Small rules of good manners: no panics on the way, no exception without a reason, and one word
//! for one thing everywhere.

use crate::lexer::is_word;
use crate::{Complaint, SourceFile};

/// Words that have a better one here: what is said instead, from the house's vocabulary.
///
/// Only words without a second, fair meaning stand in this table.
const WORDS: &[(&str, &str)] = &[
    ("mock", "dev server, or fault plan"),
    ("mocked", "dev server, or fault plan"),
    ("stub", "dev server, or fault plan"),
    ("stubbed", "dev server, or fault plan"),
    ("upload session", "upload, or upload id"),
    ("upload task", "upload"),
    ("upload job", "upload"),
    ("progress file", "journal"),
    ("data source", "source"),
    ("parallelism", "window (lanes in flight)"),
    ("test double server", "dev server"),
    ("fake server", "dev server"),
];

/// `unwrap()` outside tests: say what failed and let the caller decide.
pub(crate) fn unwraps(file: &SourceFile) -> Vec<Complaint> {
    if file.is_test() {
        return Vec::new();
    }
    let tests = file.masked.test_spans();
    let calls = file.masked.words("unwrap").filter(|at| {
        let in_test = tests.iter().any(|(start, end)| (*start..*end).contains(at));
        !in_test && file.masked.code[*at..].starts_with("unwrap()")
    });
    calls
        .map(|at| file.complaint(at, "calls unwrap(): return an error that says what failed"))
        .collect()
}

/// `expect` attributes without a reason, and `allow` attributes, which outlive their reason unseen.
pub(crate) fn exceptions(file: &SourceFile) -> Vec<Complaint> {
    let code = &file.masked.code;
    let mut found = Vec::new();
    for (lint, start) in ["expect", "allow"]
        .into_iter()
        .flat_map(|lint| file.masked.words(lint).map(move |at| (lint, at)))
    {
        let attribute = code[..start].ends_with("#[") || code[..start].ends_with("#![");
        if !attribute {
            continue;
        }
        if lint == "allow" {
            found.push(file.complaint(start, "says #[allow]: say #[expect(…, reason = \"…\")]"));
        } else if !code[start..file.masked.closing(start)].contains("reason =") {
            found.push(file.complaint(start, "has #[expect] without a reason = \"…\""));
        }
    }
    found
}

/// Words of the table above, in code, comments and messages alike.
pub(crate) fn words(file: &SourceFile) -> Vec<Complaint> {
    // The table itself has to name them.
    if file.path == "tests/house/manners.rs" {
        return Vec::new();
    }
    let text = file.text.to_ascii_lowercase();
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    for (word, instead) in WORDS {
        for (at, _) in text.match_indices(word) {
            // In `mock_server` the word counts, so an underscore ends it.
            let edge = |byte: &u8| !is_word(*byte) || *byte == b'_';
            let before = at.checked_sub(1).is_none_or(|i| edge(&bytes[i]));
            if before && bytes.get(at + word.len()).is_none_or(edge) {
                found.push(file.complaint(at, format!("says `{word}`: it is called {instead}")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&SourceFile) -> Vec<Complaint>;

    /// Each row is a check and a text that it must complain about, once, on the second line.
    #[test]
    fn bad_manners_are_found() {
        let rows: [(Check, &str); 6] = [
            (unwraps, "fn f() {\n x.unwrap() }"),
            (exceptions, "fn f() {}\n#[expect(dead_code)]\nfn g() {}"),
            (exceptions, "//!\n#![expect(dead_code)]"),
            (exceptions, "//!\n#[allow(dead_code, reason = \"x\")]"),
            (words, "fn f() {}\n// A Mock."),
            (words, "fn f() {}\nlet mock_server = 1;"),
        ];
        for (check, text) in rows {
            let found = check(&SourceFile::new("src/a.rs", text));
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(found[0].line, 2, "{text}");
        }
    }

    /// Each row is a check and a text that it must let pass.
    #[test]
    fn good_manners_pass() {
        let rows: [(Check, &str); 5] = [
            (unwraps, "fn f() { x.unwrap_or(1); } // unwrap()"),
            (unwraps, "#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }"),
            (
                exceptions,
                "#[expect(dead_code, reason = \"the next issue uses it\")]",
            ),
            (exceptions, "x.expect(\"why\");"),
            (words, "// A hammock and a stubborn mocking bird."),
        ];
        for (check, text) in rows {
            assert_eq!(check(&SourceFile::new("src/a.rs", text)), [], "{text}");
        }
    }
}
