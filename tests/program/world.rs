//! A home of its own for every test, a dev server beside it, and the program's output as values.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use haul::devserver::{DevServer, DevServerBuilder, FaultPlan};
use haul::kodo::{PutPolicy, Scope, UploadToken};
use haul::model::{Bucket, ObjectKey};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest wait for something that takes milliseconds: a loaded machine is not a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that is home, state and work directory of the program.
pub(crate) struct World {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// A world whose settings point to `server`, by `endpoint` alone.
    pub(crate) fn beside(server: &Server) -> Self {
        let keys = server.server.credentials();
        Self::new()
            .set("HAUL_ACCESS_KEY", keys.access_key.as_str())
            .set("HAUL_SECRET_KEY", keys.secret_key.expose())
            .set("HAUL_ENDPOINT", server.server.url())
    }

    /// With one variable more, or another value of it; "" takes it away.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file; its path as text.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(content).unwrap();
        path.display().to_string()
    }

    /// The program, about to be run with `arguments`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("haul"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("USERPROFILE", self.dir.path())
            .stdin(Stdio::null())
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::new(self.command(arguments).output().unwrap())
    }

    /// Starts the program, its output to be read later.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Ran {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The run ended with this code and said all of this on stderr.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, said: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for words in said {
            assert!(self.err.contains(words), "`{words}` is not in {self:#?}");
        }
        self
    }

    /// The last line of stdout, as JSON.
    #[track_caller]
    pub(crate) fn last_json(&self) -> serde_json::Value {
        let line = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A dev server in this process, with a runtime of its own.
pub(crate) struct Server {
    pub(crate) server: DevServer,
    pub(crate) runtime: Runtime,
}

impl Server {
    /// In memory, without faults.
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// In memory, with this fault plan.
    pub(crate) fn with(plan: &str) -> Self {
        let plan: FaultPlan = plan.parse().unwrap();
        Self::built(|builder| builder.faults(plan))
    }

    pub(crate) fn built(build: impl FnOnce(DevServerBuilder) -> DevServerBuilder) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(build(DevServer::builder()).start());
        Self {
            server: server.unwrap(),
            runtime,
        }
    }

    /// A token for `bucket:key` that `change` has altered.
    pub(crate) fn token(&self, key: &str, change: impl FnOnce(&mut PutPolicy)) -> String {
        let (bucket, key) = (Bucket::new("b").unwrap(), ObjectKey::new(key).unwrap());
        let mut policy = PutPolicy::new(Scope::Key(bucket, key), 4_000_000_000);
        change(&mut policy);
        let token = UploadToken::sign(self.server.credentials(), &policy);
        token.expose().to_owned()
    }

    /// Waits until an answer is held under `name`.
    pub(crate) fn until_held(&self, name: &str) {
        let held = self.server.faults().until_held(name);
        let held = async { tokio::time::timeout(PATIENCE, held).await };
        self.runtime.block_on(held).expect("an answer is held");
    }

    /// How many requests have come in all.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.server.requests().body_bytes()
    }
}

/// Waits for a child's end.
#[expect(clippy::disallowed_methods, reason = "the child needs the processor")]
pub(crate) fn end(mut child: Child) -> Ran {
    let until = now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if now() > until {
            child.kill().unwrap();
            panic!("the program does not end: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ran::new(child.wait_with_output().unwrap())
}

/// Sends a signal by its name.
#[cfg(unix)]
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// The present, for waits that must end.
#[expect(clippy::disallowed_methods, reason = "tests bound their waits")]
fn now() -> Instant {
    Instant::now()
}

/// `len` bytes that repeat nowhere near a chunk, a block or a part.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 65_521 % 253) as u8).collect()
}

/// Whether this user may read everything, so that no file is unreadable.
#[cfg(unix)]
pub(crate) fn reads_everything(path: &Path) -> bool {
    std::fs::File::open(path).is_ok()
}
