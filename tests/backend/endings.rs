//! SIGTERM while an upload is under way: it may end in its time, and is stopped in words after it.

use std::cell::Cell;
use std::net::TcpStream;

use crate::process::{BUCKET, Backend, form, keys, stat, until};
use crate::support::content;
use crate::support::http::{self, Request};
use crate::support::server::{Listening, Server, haul};

/// Each row is the grace and what comes of an upload that was half sent when SIGTERM came. No new
/// connection is taken meanwhile, and the process ends well.
#[test]
fn sigterm() {
    for (grace, status) in [("60", 200), ("0", 503)] {
        let server = Server::start_at(vec!["--memory".into()], "127.0.0.1:0");
        let mut backend = Backend::start(&server, &[("BACKEND_GRACE_S", grace)]);
        let bytes = content::bytes(5, 9_000_000);
        let request = form(&[("name=\"f\"; filename=\"late.bin\"", &bytes)]);
        let (sent, is_told) = (Cell::new(0), Cell::new(false));
        let answer = http::call_counted(backend.address, &request, &|len| {
            sent.set(sent.get() + len);
            if sent.get() > 5_000_000 && !is_told.replace(true) {
                backend.signal("TERM");
                until("nobody is let in", || {
                    TcpStream::connect(backend.address).is_err()
                });
            }
        });
        let answer = answer.expect("whoever was let in is answered");
        let json = answer.json();
        assert_eq!(answer.status, status, "grace {grace} s: {json}");
        assert!(backend.ended_well(), "grace {grace} s");
        let logged = backend.until_logged("late.bin");
        if status == 200 {
            let key = json["stored"][0]["key"].as_str().expect("a key");
            assert_eq!(stat(&server, key), Ok(content::etag(&bytes)));
            assert!(logged.contains("stored 9000000 bytes"), "{logged}");
        } else {
            let error = json["error"].as_str().expect("words");
            assert!(error.contains("about to restart"), "{error}");
            assert_eq!(answer.header("retry-after"), Some("5"));
            assert_eq!(keys(&server), Vec::<String>::new());
        }
    }
}

/// What an earlier process left in the state directory is gone on with at the start: here the program's
/// own upload of a file, for which the service was out of order after the first segment.
#[test]
fn goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let [root, state, plan, source] =
        ["root", "state", "plan", "source"].map(|name| folder.path().join(name));
    let busy =
        "[[fault]]\noperation = [\"mkblk\", \"bput\"]\nfrom = 2\nanswer = { status = 503 }\n";
    content::write(&plan, busy);
    let bytes = content::bytes(8, 9_000_000);
    content::write(&source, &bytes);
    let place = ["--root".into(), root.clone().into()];
    let faults = ["--faults".into(), plan.into()];
    let mut server = Server::start_at([&place[..], &faults[..]].concat(), "127.0.0.1:0");
    let Listening {
        url,
        address,
        access_key,
        secret_key,
    } = server.listening.clone();
    let put = haul()
        .args([
            "put",
            "--retry-budget",
            "1s",
            "--uc-url",
            &url,
            "--state-dir",
        ])
        .args([&state, &source])
        .arg(format!("kodo://{BUCKET}/left"))
        .envs([
            ("HAUL_ACCESS_KEY", access_key),
            ("HAUL_SECRET_KEY", secret_key),
        ])
        .output();
    let put = put.expect("haul starts");
    let told = String::from_utf8_lossy(&put.stderr);
    assert_eq!(put.status.code(), Some(1), "{told}");
    server.kill();
    let server = Server::start_at(place.to_vec(), &address.to_string());
    let state = state.to_str().expect("a plain path");
    let backend = Backend::start(&server, &[("BACKEND_STATE_DIR", state)]);
    let line = backend.until_logged("left");
    assert!(line.contains("stored 9000000 bytes"), "{line}\n{told}");
    assert_eq!(stat(&server, "left"), Ok(content::etag(&bytes)));
}

/// Killed while files of browsers are on their way, with a spool directory: the next process brings them
/// all home, and sends nothing again that was acknowledged.
#[test]
fn killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let [state, spool, plan] = ["state", "spool", "plan"].map(|name| folder.path().join(name));
    // None is at its end before all of them are remembered.
    content::write(&plan, "[[fault]]\noperation = \"bput\"\nhold = \"h\"\n");
    let journals = state.join("uploads");
    let journals = || {
        let files = std::fs::read_dir(&journals).into_iter().flatten().flatten();
        let names = files.map(|file| file.path());
        names
            .filter(|path| path.extension().is_some_and(|it| it == "journal"))
            .count()
    };
    let [state, spool] = [&state, &spool].map(|path| path.to_str().expect("a plain path"));
    let held = ["--memory".into(), "--faults".into(), plan.into()];
    let server = Server::start_at(held.to_vec(), "127.0.0.1:0");
    let dirs = [("BACKEND_STATE_DIR", state), ("BACKEND_SPOOL_DIR", spool)];
    let mut backend = Backend::start(&server, &dirs);
    let files = [1, 2, 3].map(|seed| content::bytes(seed, 5_000_000));
    std::thread::scope(|scope| {
        for bytes in &files {
            let (request, address) = (
                form(&[("name=\"f\"; filename=\"a.bin\"", bytes)]),
                backend.address,
            );
            // Nobody is left to answer.
            scope.spawn(move || http::call(address, &request).ok());
        }
        let acknowledged = "haul_bytes_acknowledged_total";
        until("all are under way, and some of it is stored", || {
            journals() == files.len() && backend.number(acknowledged) > 0
        });
        backend.signal("KILL");
        assert!(!backend.ended_well());
    });
    no_faults(&server);
    let backend = Backend::start(&server, &dirs);
    for _ in &files {
        backend.until_logged("stored 5000000 bytes");
    }
    let hashes = files.each_ref().map(|bytes| content::etag(bytes));
    let stored = keys(&server).into_iter().map(|key| stat(&server, &key));
    let stored: Vec<_> = stored.map(|hash| hash.expect("it is there")).collect();
    assert!(
        hashes.iter().all(|hash| stored.contains(hash)),
        "{stored:?}"
    );
    let left = std::fs::read_dir(spool).expect("the directory").count();
    assert_eq!(left, 0, "files are left in the spool directory");
}

/// Without an account it brings a dev server, with the fault plan that it was given.
#[test]
fn alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("plan");
    let refusal = "[[fault]]\nnth = 1\noperation = \"form\"\nanswer = { status = 403 }\n";
    content::write(&plan, refusal);
    let plan = plan.to_str().expect("a plain path");
    let mut backend = Backend::start_with(&[("BACKEND_FAULTS", plan)]);
    let refused = backend.post(&form(&[("name=\"f\"; filename=\"a.bin\"", b"refused")]));
    assert_eq!(refused.status, 500, "{}", refused.json());
    assert_eq!(backend.number("backend_refused_total{status=\"500\"}"), 1);
    let answer = backend.post(&form(&[("name=\"f\"; filename=\"a.bin\"", b"alone")]));
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert!(backend.logged()[0].starts_with("no account: objects go to http://127.0.0.1:"));
    backend.signal("INT");
    assert!(backend.ended_well());
}

/// The server behaves from here on.
fn no_faults(server: &Server) {
    let request = Request {
        method: "PUT",
        target: "/.haul/control/faults".to_owned(),
        ..Request::default()
    };
    let answer = http::call(server.listening.address, &request).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
}
