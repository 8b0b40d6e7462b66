//! An official SDK at work in a process of its own: one JSON request, one JSON answer.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::server::Listening;

/// Longest time that one call of an SDK may take. Their own limits are 30 s and 600 s.
const CALL_MAX: Duration = Duration::from_secs(120);

/// The bucket of all these tests.
pub(crate) const BUCKET: &str = "peer-bucket";

/// A running SDK.
pub(crate) struct Peer {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
}

impl Peer {
    /// Starts `command`, a peer's script, and points it at `server`. What the SDK keeps between runs
    /// it keeps in `scratch`.
    pub(crate) fn start(command: &[PathBuf], server: &Listening, scratch: &Path) -> Self {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .env("TMPDIR", scratch)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take().expect("a pipe");
        let mut peer = Self {
            child,
            stdin,
            answers,
        };
        let setup = json!({
            "url": server.url,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "bucket": BUCKET,
        });
        let hello = peer.ask(&setup);
        assert!(hello["sdk"].is_string(), "{hello}");
        peer
    }

    /// Sends a request and waits for its answer, or for a pause in the middle of it.
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        self.say(&request.to_string());
        self.hear()
    }

    /// Ends a pause and waits for the answer.
    pub(crate) fn go_on(&mut self) -> Value {
        self.say("");
        self.hear()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the peer listens");
    }

    fn hear(&mut self) -> Value {
        let line = self.answers.recv_timeout(CALL_MAX);
        let line = line.expect("the peer answers in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Drop for Peer {
    /// Kills it with SIGKILL, wherever it is.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
