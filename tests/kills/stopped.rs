//! The process is stopped for longer than every limit, and goes on: a laptop that slept, a debugger, a
//! machine that was moved.

use std::process::Command;
use std::time::Duration;

use crate::rig::{Held, LEN, Rig, V1, V2, WINDOW, number};

/// A limit that must not be over for what was not observed. Much longer than what a busy machine
/// needs from the answers that are held to the stop.
const LIMIT: &str = "8s";

/// How long nothing runs: longer than that.
const STOPPED: Duration = Duration::from_secs(10);

const V1_FLAGS: &[&str] = &[
    "--protocol",
    "v1",
    "--threshold",
    "0",
    "--stall-timeout",
    LIMIT,
    "--response-timeout",
    LIMIT,
];
const V2_FLAGS: &[&str] = &[
    "--protocol",
    "v2",
    "--threshold",
    "0",
    "--stall-timeout",
    LIMIT,
    "--response-timeout",
    LIMIT,
];

/// SIGSTOP while answers are due, SIGCONT long after: the upload goes on where it was. Nothing is sent
/// twice, whether the answers came meanwhile or come after.
#[test]
fn longer_than_every_limit() {
    let rows = [
        (V1, V1_FLAGS, "\"mkblk\"", true),
        (V2, V2_FLAGS, "\"part\"", false),
    ];
    for (name, flags, operation, answers_meanwhile) in rows {
        // The first segment is alone; the two after it are held.
        let plan = format!("[[fault]]\noperation = {operation}\nnth = [2, 3]\nhold = \"h\"");
        let rig = Rig::new(flags, LEN, &plan);
        let held = rig.start_until_held(WINDOW);
        signal(&held, "-STOP");
        if answers_meanwhile {
            rig.server.server.faults().release("h");
        }
        pause();
        signal(&held, "-CONT");
        rig.server.server.faults().release("h");
        let ran = held.end();
        assert_eq!(ran.code, Some(0), "{name:?}: {ran:#?}");
        rig.expect_stored("stopped");
        assert_eq!(number(&ran, "resent_bytes"), 0, "{name:?}: {ran:#?}");
        assert!(!ran.out.contains("\"retrying\""), "{name:?}: {ran:#?}");
    }
}

fn signal(held: &Held, name: &str) {
    let pid = held.child.id().to_string();
    let sent = Command::new("kill").args([name, &pid]).status();
    assert!(sent.unwrap().success(), "kill {name} {pid}");
}

/// The time is what this is about: there is nothing else to wait for.
#[expect(
    clippy::disallowed_methods,
    reason = "the stopped process sees no time"
)]
fn pause() {
    std::thread::sleep(STOPPED);
}
