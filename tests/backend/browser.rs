//! The page, in a real browser, with real files.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::{BUCKET, Backend, keys, stat};
use crate::support::content;
use crate::support::needs::CHROMIUM;
use crate::support::server::Server;

/// The page of `backend` in a browser whose user chooses `files`: what each row says at last.
fn upload(command: &[PathBuf], backend: &Backend, files: &[PathBuf]) -> Vec<Value> {
    let output = Command::new(&command[0])
        .args(&command[1..])
        .arg(backend.url("/"))
        .args(files)
        .output()
        .expect("the browser starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Writes a file with bytes that its name decides.
fn file(folder: &Path, name: &str, len: usize) -> (PathBuf, Vec<u8>) {
    let path = folder.join(name);
    let bytes = content::bytes(len as u64, len);
    content::write(&path, &bytes);
    (path, bytes)
}

/// Several files, chosen together: each has its row; the bar of the long one moves, forwards; and where the page says that they are stored, they are.
#[test]
fn stores() {
    let Some(command) = CHROMIUM.ask() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_at(vec!["--memory".into()], "127.0.0.1:0");
    let backend = Backend::start(&server, &[]);
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let files = [
        file(folder.path(), "großes Bild 目录 <b>.png", 9_000_000),
        file(folder.path(), "empty", 0),
        file(folder.path(), "q?x=1#f%2F.txt", 100_000),
        (readme.clone(), std::fs::read(&readme).expect("a page")),
    ];
    let paths = files.each_ref().map(|(path, _)| path.clone());
    let rows = upload(&command, &backend, &paths);
    for (row, (path, bytes)) in rows.iter().zip(&files) {
        let name = path.file_name().and_then(|name| name.to_str());
        assert_eq!(row["name"].as_str(), name, "{row}");
        assert_eq!(row["state"], "stored", "{row}");
        let words = row["words"].as_str().expect("words");
        let key = words.strip_prefix(&format!("Stored {} bytes as ", bytes.len()));
        let key = key.unwrap_or_else(|| panic!("{words}"));
        assert!(
            key.ends_with(&format!("/{}", name.expect("a name"))),
            "{key}"
        );
        let object = server.object(BUCKET, key).expect("it is there");
        assert!(object.body == *bytes, "{key}: other bytes are stored");
    }
    let seen = rows[0]["seen"].as_array().expect("a list");
    let seen: Vec<_> = seen.iter().filter_map(Value::as_f64).collect();
    assert!(seen.is_sorted() && seen.last() == Some(&1.0), "{seen:?}");
    let between = seen.iter().filter(|at| (0.01..0.99).contains(*at)).count();
    assert!(between >= 3, "it moved: {seen:?}");
}

/// What cannot be stored is told in its row, in words, and why: refused by the storage for good, or too
/// large to be sent at all. What is chosen beside it is stored.
#[test]
fn tells_failures() {
    let Some(command) = CHROMIUM.ask() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("faults.toml");
    let refusal = "[[fault]]\noperation = \"mkblk\"\nanswer = { status = 403 }\n";
    content::write(&plan, refusal);
    let place = ["--memory".into(), "--faults".into(), plan.into()].to_vec();
    let server = Server::start_at(place, "127.0.0.1:0");
    let backend = Backend::start(&server, &[("BACKEND_FILE_MAX", "10000000")]);
    let (small, bytes) = file(folder.path(), "small.bin", 1000);
    let (refused, _) = file(folder.path(), "refused.bin", 9_000_000);
    let (large, _) = file(folder.path(), "large.bin", 10_000_001);
    let rows = upload(&command, &backend, &[refused, large, small]);
    let expected = [
        (
            "failed",
            "Failed: the file could not be stored: this is the service's fault.",
        ),
        (
            "failed",
            "Not sent: a file may have 10000000 bytes, this one has 10000001.",
        ),
        ("stored", "Stored 1000 bytes as uploads/"),
    ];
    for (row, (state, words)) in rows.iter().zip(expected) {
        assert_eq!(row["state"], state, "{row}");
        let told = row["words"].as_str().expect("words");
        assert!(told.starts_with(words), "{row}");
    }
    let [key] = &keys(&server)[..] else {
        panic!("one is stored: {:?}", keys(&server));
    };
    assert_eq!(stat(&server, key), Ok(content::etag(&bytes)));
    let line = backend.until_logged("refused.bin");
    assert!(line.contains("403"), "the log says more: {line}");
}
