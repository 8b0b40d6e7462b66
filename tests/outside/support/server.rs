//! `haul serve` as a process of its own, which can be killed.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::support::http::{self, Answer, Request};

/// Settings of whoever runs the tests, which the program must not see.
const FOREIGN: [&str; 10] = [
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "all_proxy",
    "ALL_PROXY",
    "HAUL_ACCESS_KEY",
    "HAUL_SECRET_KEY",
    "HAUL_CONFIG",
    "QINIU_ACCESS_KEY",
    "QINIU_SECRET_KEY",
];

/// What `haul serve` says when it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// A running `haul serve`.
pub(crate) struct Server {
    /// Where it keeps objects: `--root` and a folder, or `--discard`.
    place: Vec<OsString>,
    pub(crate) child: Child,
    /// Kept, so that the server never writes into a closed pipe.
    _stdout: BufReader<ChildStdout>,
    pub(crate) listening: Listening,
}

impl Server {
    /// Starts a server that keeps its objects under `root`, on a port of its choice.
    pub(crate) fn start(root: &Path) -> Self {
        Self::start_at(vec!["--root".into(), root.into()], "127.0.0.1:0")
    }

    /// Starts a server with these flags for where it keeps objects.
    pub(crate) fn start_at(place: Vec<OsString>, listen: &str) -> Self {
        let mut child = haul()
            .args(["serve", "--json", "--listen", listen])
            .args(&place)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("haul starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says a line");
        Self {
            place,
            child,
            _stdout: stdout,
            listening: listening(&line),
        }
    }

    /// Kills the server with SIGKILL and starts it again: same folder, same port, same keys.
    pub(crate) fn crash(&mut self) {
        self.kill();
        self.restart();
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server was alive");
        self.child.wait().expect("it is gone");
    }

    /// Starts a killed server again: same folder, same port, same keys.
    pub(crate) fn restart(&mut self) {
        let before = self.listening.clone();
        let again = Self::start_at(self.place.clone(), &before.address.to_string());
        assert_eq!(again.listening, before, "same port, same keys");
        *self = again;
    }

    /// The bytes of an object, or the status that came instead.
    pub(crate) fn object(&self, bucket: &str, key: &str) -> Result<Answer, u16> {
        let target = format!("/.haul/objects/{bucket}/{}", http::percent(key));
        let request = Request {
            method: "GET",
            target,
            ..Request::default()
        };
        let answer =
            http::call(self.listening.address, &request).expect("the server answers whole");
        match answer.status {
            200 => Ok(answer),
            status => Err(status),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, in an environment without settings.
pub(crate) fn haul() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haul"));
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
}

/// Reads the line that says where the server listens.
fn listening(line: &str) -> Listening {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no event: {line:?}"));
    assert_eq!(event["event"], "listening", "{line}");
    let text = |name: &str| {
        let text = event[name].as_str();
        text.unwrap_or_else(|| panic!("no {name}: {line}"))
            .to_owned()
    };
    let url = text("url");
    let address = url.strip_prefix("http://").unwrap_or(&url);
    Listening {
        address: address.trim_end_matches('/').parse().expect("an address"),
        access_key: text("access_key"),
        secret_key: text("secret_key"),
        url,
    }
}
