//! The example as a process, and what can be seen of it from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::content::b64u;
use crate::support::http::{self, Answer, Request};
use crate::support::server::{Listening, Server};
use crate::support::sign;

/// Where the example stores, unless told otherwise.
pub(crate) const BUCKET: &str = "my-bucket";

/// Boundary of forms; no content of these tests contains it.
const BOUNDARY: &str = "boundary-of-the-backend-tests";

/// Longest wait for what must come. Far above what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running example.
pub(crate) struct Backend {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it logs, line by line.
    log: Mutex<Receiver<String>>,
}

impl Backend {
    /// Starts it in front of `server`, with these variables.
    pub(crate) fn start(server: &Server, variables: &[(&str, &str)]) -> Self {
        let Listening {
            url,
            access_key,
            secret_key,
            ..
        } = &server.listening;
        let account = [
            ("HAUL_UC_URL", url.as_str()),
            ("HAUL_ACCESS_KEY", access_key),
            ("HAUL_SECRET_KEY", secret_key),
        ];
        Self::start_with(&[&account, variables].concat())
    }

    /// Starts it with these variables and no other setting.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(example())
            .env_clear()
            .env("BACKEND_LISTEN", "127.0.0.1:0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, log) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Read to the end even when nobody listens: a full pipe would block the example.
                let _ = sender.send(line);
            }
        });
        let stdout = child.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it says a line");
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("it listens: {line:?}"));
        Self {
            child,
            address: address.parse().expect("an address"),
            log: Mutex::new(log),
        }
    }

    /// Its address for a browser.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits for a line of log that holds `word`.
    pub(crate) fn until_logged(&self, word: &str) -> String {
        let log = self.log();
        let mut before = Vec::new();
        loop {
            match log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(word) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("no {word:?} is logged, but {before:?}: {error}"),
            }
        }
    }

    /// Every line of log that has come since the last was asked for.
    pub(crate) fn logged(&self) -> Vec<String> {
        self.log().try_iter().collect()
    }

    fn log(&self) -> MutexGuard<'_, Receiver<String>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number of `/metrics`; 0 where it is not counted yet.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let request = Request {
            method: "GET",
            target: "/metrics".to_owned(),
            ..Request::default()
        };
        let answer = http::call(self.address, &request).expect("it tells its numbers");
        assert_eq!(answer.status, 200, "{answer:?}");
        let text = String::from_utf8(answer.body).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().expect("a number"))
    }

    /// Uploads a form and gives the whole answer.
    pub(crate) fn post(&self, request: &Request) -> Answer {
        http::call(self.address, request).expect("it answers")
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for its end; whether that was a good one.
    pub(crate) fn ended_well(&mut self) -> bool {
        let mut status = None;
        until("the example ends", || {
            status = self.child.try_wait().expect("it is ours");
            status.is_some()
        });
        status.is_some_and(|status| status.success())
    }

    /// Resident memory in KiB, and open descriptors. Linux only.
    pub(crate) fn weight(&self) -> (u64, usize) {
        let process = Path::new("/proc").join(self.child.id().to_string());
        let status = fs::read_to_string(process.join("status")).expect("Linux tells");
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|rss| rss.trim().strip_suffix(" kB"));
        let rss = rss.and_then(|rss| rss.parse().ok());
        let descriptors = fs::read_dir(process.join("fd")).expect("Linux tells");
        (rss.expect("a number"), descriptors.count())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A part of a form: the field's head behind `form-data; `, and its content.
pub(crate) type Field<'a> = (&'a str, &'a [u8]);

/// A form of these fields.
pub(crate) fn form(fields: &[Field<'_>]) -> Request {
    let mut body = Vec::new();
    for (head, content) in fields {
        let head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n").into_bytes();
        body.extend_from_slice(&[&head, *content, b"\r\n"].concat());
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    Request {
        method: "POST",
        target: "/upload".to_owned(),
        headers: vec![("Content-Type", content_type)],
        body,
    }
}

/// The keys of all objects in the bucket.
pub(crate) fn keys(server: &Server) -> Vec<String> {
    let target = format!("/list?bucket={BUCKET}&limit=1000");
    let answer = manage(server, target);
    assert_eq!(answer.status, 200, "{answer:?}");
    let items = answer.json()["items"].take();
    let items = items.as_array().expect("items");
    let keys = items.iter().filter_map(|item| item["key"].as_str());
    keys.map(str::to_owned).collect()
}

/// The hash of an object, as stat tells it, or the status that came instead.
pub(crate) fn stat(server: &Server, key: &str) -> Result<String, u16> {
    let entry = b64u(format!("{BUCKET}:{key}"));
    let answer = manage(server, format!("/stat/{entry}"));
    match answer.status {
        200 => Ok(answer.json()["hash"].as_str().expect("a hash").to_owned()),
        status => Err(status),
    }
}

fn manage(server: &Server, target: String) -> Answer {
    let authorization = sign::qbox_header(&server.listening, &target);
    let request = Request {
        method: "POST",
        target,
        headers: vec![("Authorization", authorization)],
        body: Vec::new(),
    };
    http::call(server.listening.address, &request).expect("the server answers")
}

/// Waits for what must come.
#[expect(clippy::disallowed_methods, reason = "tests bound their waits")]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        // A pause between two looks, so that those who are waited for get the processor.
        thread::sleep(Duration::from_millis(1));
    }
}

/// The example, built as it is now: `cargo test --test backend` alone would leave it as it was.
fn example() -> &'static Path {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLE.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        // What cargo says to a test about its package would make it build the dependencies anew that
        // listen to it.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&*name);
            }
        }
        cargo.args(["build", "--quiet", "--offline", "--locked"]);
        cargo.args(["--example", "backend"]);
        // The folder of the build that runs: `debug`, or `release` for a bench.
        let folder = Path::new(env!("CARGO_BIN_EXE_haul")).parent();
        let folder = folder.expect("a build folder");
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let built = cargo.status().expect("cargo starts");
        assert!(built.success(), "the example builds");
        folder.join("examples/backend")
    })
}
