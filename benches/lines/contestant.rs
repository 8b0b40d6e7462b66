//! Who runs, and by which command.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use haul::kodo::{AccessKey, Credentials, PutPolicy, Scope, SecretKey, UploadToken};
use haul::model::{Bucket, ObjectKey};

use crate::Failure;
use crate::network::Place;
use crate::play::library_command;
use crate::row_run::{Sent, Task};
use crate::server::{BUCKET, Server};
use crate::support::needs::{NODE_SDK, PYTHON_SDK};

/// How long curl's upload token is good: longer than any row.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// One who sends the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// One plain socket: the measure of the others.
    Raw,
    /// The same with a SHA-1 at both ends.
    RawHashed,
    /// `haul put`, as it comes.
    Haul,
    /// haul's library in a process with several uploads: the one that this bench was built with.
    Library,
    /// One form upload, without any limit of time.
    Curl,
    /// The official SDKs, by the call that they recommend, with its defaults.
    Python,
    Node,
}

impl Contestant {
    pub(crate) const ALL: [Self; 7] = [
        Self::Raw,
        Self::RawHashed,
        Self::Haul,
        Self::Library,
        Self::Curl,
        Self::Python,
        Self::Node,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::RawHashed => "raw-hashed",
            Self::Haul => "haul",
            Self::Library => "library",
            Self::Curl => "curl",
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// Whether it is a plain socket, which speaks to one of its kind and not to the dev server.
    pub(crate) fn is_plain(self) -> bool {
        matches!(self, Self::Raw | Self::RawHashed)
    }

    /// What it lacks on this machine, and how to get it.
    pub(crate) fn lacks(self) -> Option<String> {
        let need = match self {
            Self::Raw | Self::RawHashed | Self::Haul | Self::Library => return None,
            Self::Curl => {
                let found = Command::new("curl").arg("--version").output().is_ok();
                return (!found).then(|| "curl: install it".to_owned());
            }
            Self::Python => &PYTHON_SDK,
            Self::Node => &NODE_SDK,
        };
        need.find()
            .is_none()
            .then(|| format!("{}: {}", need.what, need.how))
    }

    /// The command that uploads `sent` to `server`: one file, but for the library.
    pub(crate) fn command(
        self,
        task: &Task,
        sent: &[Sent],
        place: Place,
        server: &Server,
    ) -> Result<Command, Failure> {
        let file = sent.first().ok_or("nothing to send")?;
        match self {
            Self::Haul => Ok(haul(task, file, place, server)),
            Self::Library => {
                let mut command = library_command(task, sent, place)?;
                server.give_keys(&mut command);
                Ok(command)
            }
            Self::Curl => curl(task, file, place, server),
            Self::Python => sdk(task, file, place, server, PYTHON_SDK.find(), "peer.py"),
            Self::Node => sdk(task, file, place, server, NODE_SDK.find(), "peer.mjs"),
            Self::Raw | Self::RawHashed => Err("a plain socket has no dev server".into()),
        }
    }
}

fn haul(task: &Task, file: &Sent, place: Place, server: &Server) -> Command {
    let mut command = place.command(&task.tools.haul);
    command
        .arg("put")
        .arg(&file.path)
        .arg(format!("kodo://{BUCKET}/{}", file.key));
    command
        .args(task.row.haul_flags)
        .args(&task.tools.haul_flags);
    server.give_keys(&mut command);
    command
        .env("HOME", &task.scratch)
        .env_remove("XDG_STATE_HOME");
    command
}

fn curl(task: &Task, file: &Sent, place: Place, server: &Server) -> Result<Command, Failure> {
    let keys = Credentials::new(
        AccessKey::new(&*server.access_key)?,
        SecretKey::new(&*server.secret_key)?,
    );
    let scope = Scope::Key(Bucket::new(BUCKET)?, ObjectKey::new(&*file.key)?);
    let deadline = crate::wall() + TOKEN_LIFE;
    let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let token = UploadToken::sign(&keys, &PutPolicy::new(scope, deadline));
    let mut command = place.command("curl");
    command
        .args(["--silent", "--show-error", "--fail"])
        .args(["-F", &format!("token={}", token.expose())])
        .args(["-F", &format!("key={}", file.key)])
        .args(["-F", &format!("file=@{}", file.path.display())])
        .arg(server.url())
        .env("HOME", &task.scratch);
    Ok(command)
}

/// An SDK: its interpreter as the tests find it, with the bench's own script.
fn sdk(
    task: &Task,
    file: &Sent,
    place: Place,
    server: &Server,
    found: Option<Vec<PathBuf>>,
    script: &str,
) -> Result<Command, Failure> {
    let found = found.ok_or("the SDK is gone")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/lines")
        .join(script);
    let mut command = place.command(&found[0]);
    command.arg(script);
    // Where the SDK is, for Node; the tests' own script stands between.
    command.args(found.get(2..).unwrap_or_default());
    command
        .args([
            server.url(),
            &*server.access_key,
            &*server.secret_key,
            BUCKET,
            &file.key,
        ])
        .arg(&file.path)
        .env("HOME", &task.scratch)
        .env("TMPDIR", &task.scratch);
    Ok(command)
}
