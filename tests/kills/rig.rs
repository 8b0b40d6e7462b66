//! An upload that can be killed at a chosen moment and begun again with the same line.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Child;

use haul::devserver::{FaultPlan, Operation};
use haul::kodo::Etag;

use crate::world::{PATIENCE, Ran, Server, World, content};

/// The size of most uploads here: blocks of 4 MiB, and a short last one.
pub(crate) const LEN: usize = (20 << 20) + 5;

/// The lanes that a run has in flight at most: the default window.
pub(crate) const WINDOW: usize = 2;

/// Longest segment of v1 and of v2 as these tests use them.
pub(crate) const SEGMENT_LEN_MAX: u64 = 4 << 20;

/// What commits weigh: a list of receipts.
pub(crate) const COMMIT_LEN_MAX: u64 = 4096;

/// How an upload goes, as flags.
pub(crate) const V1: &[&str] = &["--protocol", "v1", "--threshold", "0"];
pub(crate) const V2: &[&str] = &["--protocol", "v2", "--threshold", "0"];
pub(crate) const FORM: &[&str] = &["--threshold", "64MiB"];

/// One file, one destination, one server.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) world: World,
    pub(crate) file: String,
    flags: &'static [&'static str],
}

/// A run that is held.
pub(crate) struct Held {
    pub(crate) child: Child,
}

impl Rig {
    /// A file of `len` bytes, and a server with this fault plan.
    pub(crate) fn new(flags: &'static [&'static str], len: usize, plan: &str) -> Self {
        Self::beside(Server::with(plan), flags, len)
    }

    /// A file of `len` bytes beside this server.
    pub(crate) fn beside(server: Server, flags: &'static [&'static str], len: usize) -> Self {
        let world = World::beside(&server);
        let file = world.file("f.bin", &content(len));
        Self {
            server,
            world,
            file,
            flags,
        }
    }

    pub(crate) fn line<'a>(&'a self, file: &'a str, destination: &'a str) -> Vec<&'a str> {
        [&["put", file, destination, "--json"], self.flags].concat()
    }

    /// Starts the upload.
    pub(crate) fn start(&self) -> Child {
        self.world.start(&self.line(&self.file, "kodo://b/k"))
    }

    /// Runs the upload to its end.
    pub(crate) fn run(&self) -> Ran {
        self.world.run(&self.line(&self.file, "kodo://b/k"))
    }

    /// Starts the upload and waits until `count` answers are held under "h": nothing else is in
    /// flight if that is the window.
    pub(crate) fn start_until_held(&self, count: usize) -> Held {
        let child = self.start();
        let faults = self.server.server.faults();
        until("answers are held", || faults.held("h") >= count);
        Held { child }
    }

    /// Starts the upload and waits until a request of `operation` is stuck in `fault`: its answer
    /// is held, or it never takes effect.
    pub(crate) fn start_until_stuck(&self, operation: Operation, fault: &str) -> Held {
        let child = self.start();
        let held = || self.server.server.faults().held("h") > 0;
        let came = || self.server.server.requests().of(operation).requests > 0;
        match fault.starts_with("hold") {
            true => until("an answer is held", held),
            false => until("a request comes", came),
        }
        Held { child }
    }

    /// No faults from here on.
    pub(crate) fn heal(&self) {
        let faults = self.server.server.faults();
        faults.replace(FaultPlan::default()).unwrap();
    }

    /// The journals there are.
    pub(crate) fn journals(&self) -> Vec<PathBuf> {
        files_in(&self.world, "journal")
    }

    /// The next run is done and stores what the file holds now; nothing is left of the journal.
    #[track_caller]
    pub(crate) fn finish(&self, story: &str) -> Ran {
        let ran = self.run();
        assert_eq!(ran.code, Some(0), "{story}: {ran:#?}");
        let hash = self.expect_stored(story);
        assert_eq!(ran.last_json()["hash"], hash.as_str(), "{story}: {ran:#?}");
        assert_eq!(files_in(&self.world, ""), Vec::<PathBuf>::new(), "{story}");
        ran
    }

    /// What is stored is what the file holds now; its hash.
    #[track_caller]
    pub(crate) fn expect_stored(&self, story: &str) -> String {
        let now = std::fs::read(&self.file).unwrap();
        let hash = Etag::of(&now).to_string();
        let stat = self.world.run(&["stat", "kodo://b/k", "--json"]);
        let stat = stat.last_json();
        assert_eq!(stat["hash"], hash.as_str(), "{story}: what is stored");
        assert_eq!(stat["size"], now.len() as u64, "{story}: what is stored");
        hash
    }
}

impl Held {
    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> Ran {
        end(self.child)
    }
}

/// Waits for a child's end, reading what it says meanwhile.
pub(crate) fn end(child: Child) -> Ran {
    let (tell, told) = std::sync::mpsc::channel();
    let pid = child.id();
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    match told.recv_timeout(PATIENCE) {
        Ok(output) => Ran::new(output.unwrap()),
        Err(_) => panic!("process {pid} does not end"),
    }
}

/// Waits until `is_so`, as long as patience lasts.
#[expect(clippy::disallowed_methods, reason = "tests bound their waits")]
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "waited in vain: {what}");
        // A pause between two looks, so that those who are waited for get the processor.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Where the program of `world` remembers uploads.
pub(crate) fn uploads_dir(world: &World) -> PathBuf {
    world.path(".local/state/haul/uploads")
}

/// The files there with this extension; all of them for "".
pub(crate) fn files_in(world: &World, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(uploads_dir(world)) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let wanted = |path: &PathBuf| {
        extension.is_empty() || path.extension().is_some_and(|found| found == extension)
    };
    paths.filter(wanted).collect()
}

/// Everything under the state directory is for its owner only.
#[track_caller]
pub(crate) fn expect_private(world: &World) {
    let mut dirs = vec![world.path(".local/state/haul")];
    while let Some(dir) = dirs.pop() {
        let mode = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&dir), 0o700, "{}", dir.display());
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
}

/// A number of a run's last line.
#[track_caller]
pub(crate) fn number(ran: &Ran, name: &str) -> u64 {
    let line = ran.last_json();
    line[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {line}"))
}
