//! SIGTERM while an upload is under way: it may end in its time, and is stopped in words after it.

use std::cell::Cell;
use std::net::TcpStream;

use crate::process::{Backend, form, keys, stat, until};
use crate::support::content;
use crate::support::http;
use crate::support::server::Server;

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

/// Without an account it brings a dev server, and follows a fault plan; nobody's upload keeps it when
/// it shall end.
#[test]
fn alone() {
    let mut backend = Backend::start_with(&[]);
    let answer = backend.post(&form(&[("name=\"f\"; filename=\"a.bin\"", b"alone")]));
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert!(backend.logged()[0].starts_with("no account: objects go to http://127.0.0.1:"));
    backend.signal("INT");
    assert!(backend.ended_well());
}
