//! curl, as it is, with real files.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::{BUCKET, Backend, keys, until};
use crate::support::content;
use crate::support::needs::CURL;
use crate::support::server::Server;

/// Sends `path` as a form's file.
fn curl(program: &Path, backend: &Backend, path: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--silent", "--show-error", "--form"])
        .arg(format!("file=@{}", path.display()))
        .arg(backend.url("/upload"));
    command
}

/// Files of every size come back from the storage byte by byte.
#[test]
fn sizes() {
    let Some(program) = CURL.ask() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_at(vec!["--memory".into()], "127.0.0.1:0");
    let backend = Backend::start(&server, &[]);
    for len in [0, 1, 100_000, 9_000_000] {
        let path = folder.path().join(format!("{len} bytes.bin"));
        let bytes = content::bytes(len as u64, len);
        content::write(&path, &bytes);
        let output = curl(&program[0], &backend, &path)
            .output()
            .expect("curl starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{len} bytes: {told}");
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let file = &json["stored"][0];
        assert_eq!(file["size"], len, "{json}");
        assert_eq!(file["hash"], content::etag(&bytes), "{json}");
        assert_eq!(file["name"], format!("{len} bytes.bin"), "{json}");
        let key = file["key"].as_str().expect("a key");
        let object = server.object(BUCKET, key).expect("it is there");
        assert!(object.body == bytes, "{len} bytes: others are stored");
    }
    assert_eq!(backend.number("haul_uploads_total{outcome=\"done\"}"), 4);
}

/// curl is killed half-way: no object, and a word in the log.
#[test]
fn killed() {
    let Some(program) = CURL.ask() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_at(vec!["--memory".into()], "127.0.0.1:0");
    let backend = Backend::start(&server, &[]);
    let path = folder.path().join("killed.bin");
    content::write(&path, content::bytes(1, 9_000_000));
    let mut command = curl(&program[0], &backend, &path);
    // Slow enough to be met in the middle: it would take a minute and a half.
    command.args(["--limit-rate", "100K"]).stdout(Stdio::null());
    let mut child = command.spawn().expect("curl starts");
    until("some of it has come", || {
        backend.number("haul_uploads_running") > 0
    });
    child.kill().expect("it was under way");
    child.wait().expect("it is ours");
    let line = backend.until_logged("killed.bin");
    assert!(line.contains("the stream failed after"), "{line}");
    assert_eq!(keys(&server), Vec::<String>::new());
}
