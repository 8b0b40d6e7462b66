//! What some tests need beyond the Rust toolchain.
//!
//! A test that needs one of these asks for it. It is there, and the test runs; or it is not, and the
//! test passes without having looked at anything, and `tests/left_out.rs` says so at the end of the
//! run; or `HAUL_REQUIRE_ALL=1` is set, and the test fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The official Python SDK.
pub(crate) const PYTHON_SDK: Need = Need {
    what: "the official Python SDK (qiniu 7.18.0)",
    how: "sh tests/peers/install.sh",
    find: find_python,
};

/// The official Node SDK.
pub(crate) const NODE_SDK: Need = Need {
    what: "the official Node SDK (qiniu 7.15.2)",
    how: "sh tests/peers/install.sh",
    find: find_node,
};

/// An HTTP proxy that others wrote.
pub(crate) const TINYPROXY: Need = Need {
    what: "tinyproxy",
    how: "sh tests/peers/install.sh, or the system's package",
    find: || find_program("tinyproxy"),
};

/// A SOCKS5 proxy that others wrote.
pub(crate) const MICROSOCKS: Need = Need {
    what: "microsocks",
    how: "sh tests/peers/install.sh, or the system's package",
    find: || find_program("microsocks"),
};

/// The client that every backend is tried with first.
pub(crate) const CURL: Need = Need {
    what: "curl",
    how: "the system's package",
    find: || find_program("curl"),
};

/// A browser, and what drives it.
pub(crate) const CHROMIUM: Need = Need {
    what: "chromium in /usr/bin, and playwright-core 1.64.1",
    how: "sh tests/peers/install.sh && sh tests/backend/install.sh",
    find: find_chromium,
};

/// One thing that tests may need.
pub(crate) struct Need {
    /// Its name, for people.
    pub(crate) what: &'static str,
    /// How to get it.
    pub(crate) how: &'static str,
    /// Looks for it: the command that runs a peer's script, up to the script itself.
    find: fn() -> Option<Vec<PathBuf>>,
}

impl Need {
    /// The command, or nothing where the machine does not have it.
    pub(crate) fn find(&self) -> Option<Vec<PathBuf>> {
        (self.find)()
    }

    /// The command, or nothing where it may be left out.
    ///
    /// # Panics
    ///
    /// When nothing may be left out and it is missing.
    pub(crate) fn ask(&self) -> Option<Vec<PathBuf>> {
        let found = self.find();
        assert!(
            found.is_some() || !all_required(),
            "HAUL_REQUIRE_ALL=1, but {} is missing: {}",
            self.what,
            self.how
        );
        found
    }
}

/// Whether a missing need is a failure: `.ci/run` sets `HAUL_REQUIRE_ALL=1`.
#[expect(
    clippy::disallowed_methods,
    reason = "a test run's own setting; nothing of the package reads it"
)]
pub(crate) fn all_required() -> bool {
    std::env::var("HAUL_REQUIRE_ALL").is_ok_and(|value| value == "1")
}

/// Where `tests/peers/install.sh` puts the peers: `peers` in the build folder.
fn peers() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap_or(tmp).join("peers")
}

/// A script of `tests/peers`.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(name)
}

fn find_python() -> Option<Vec<PathBuf>> {
    let check = "import qiniu, sys; sys.exit(qiniu.__version__ != '7.18.0')";
    [peers().join("python/bin/python"), PathBuf::from("python3")]
        .into_iter()
        .find(|python| succeeds(Command::new(python).args(["-c", check])))
        .map(|python| vec![python, script("peer.py")])
}

fn find_node() -> Option<Vec<PathBuf>> {
    node_with("qiniu", "7.15.2", script("peer.mjs"))
}

fn find_chromium() -> Option<Vec<PathBuf>> {
    let script = script("../backend/browser.mjs");
    let command = node_with("playwright-core", "1.64.1", script);
    // Where the script looks for it, and nowhere else.
    command.filter(|_| Path::new("/usr/bin/chromium").is_file())
}

/// What runs `script` with the folder of a package, if that has this version.
fn node_with(package: &str, version: &str, script: PathBuf) -> Option<Vec<PathBuf>> {
    let folder = peers().join("node");
    let manifest = folder
        .join("node_modules")
        .join(package)
        .join("package.json");
    let check = format!("process.exit(require({manifest:?}).version === '{version}' ? 0 : 1)");
    succeeds(Command::new("node").args(["-e", &check]))
        .then(|| vec![PathBuf::from("node"), script, folder])
}

/// A program of the system, or of `tests/peers/install.sh`.
fn find_program(name: &str) -> Option<Vec<PathBuf>> {
    [
        peers().join("proxies/usr/bin"),
        "/usr/bin".into(),
        "/usr/local/bin".into(),
    ]
    .into_iter()
    .map(|folder| folder.join(name))
    .find(|path| path.is_file())
    .map(|path| vec![path])
}

/// Whether `command` can be started and ends well; it says nothing.
fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
