//! The dev server as a process in the server's place: it drops the bytes, and counts and hashes
//! them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::network::Place;
use crate::{Failure, Tools};

/// The bucket and the key of every upload here.
pub(crate) const BUCKET: &str = "bench-bucket";
pub(crate) const KEY: &str = "folder/file.bin";

/// Longest wait for the server's answer to a control call, which it gives at once.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A server that is up.
pub(crate) struct Server {
    child: Child,
    place: Place,
    /// Kept, so that the server never writes into a closed pipe.
    _stdout: BufReader<ChildStdout>,
    pub(crate) url: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

impl Server {
    /// Starts one at `ip`, in `place`, which follows the fault plan in the file, if there is one.
    pub(crate) fn start(
        tools: &Tools,
        place: Place,
        ip: &str,
        faults: Option<&Path>,
    ) -> Result<Self, Failure> {
        let mut command = place.command(&tools.haul);
        command.args(["serve", "--json", "--discard", "--bucket", BUCKET]);
        command.args(["--listen", &format!("{ip}:0")]);
        if let Some(plan) = faults {
            command.arg("--faults").arg(plan);
        }
        for name in ["HAUL_ACCESS_KEY", "HAUL_SECRET_KEY", "HAUL_CONFIG"] {
            command.env_remove(name);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let event: Value = serde_json::from_str(&line)
            .map_err(|_| format!("the dev server does not start; it says `{line}`"))?;
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            child,
            place,
            _stdout: stdout,
            url: text("url"),
            access_key: text("access_key"),
            secret_key: text("secret_key"),
        })
    }

    /// Bytes of bodies that it has read.
    pub(crate) fn body_bytes(&self) -> Result<u64, Failure> {
        // It hears such calls from its own machine only: from inside its namespace.
        let program = std::env::current_exe()?;
        let mut command = self.place.command(program);
        let output = command.args(["--role", "ask", &self.url]).output()?;
        let seen: Value = serde_json::from_slice(&output.stdout)?;
        let operations = seen["operations"].as_object().ok_or("no counters")?;
        let counts = operations.values();
        Ok(counts
            .filter_map(|count| count["body_bytes"].as_u64())
            .sum())
    }

    /// The hash and the size of what is stored, if anything is.
    pub(crate) fn stored(
        &self,
        tools: &Tools,
        state: &Path,
    ) -> Result<Option<(String, u64)>, Failure> {
        let mut command = self.place.command(&tools.haul);
        command.args(["stat", "--json", &format!("kodo://{BUCKET}/{KEY}")]);
        self.give_keys(&mut command);
        command.env("HOME", state).stdin(Stdio::null());
        let output = command.output()?;
        if !output.status.success() {
            return Ok(None);
        }
        let object: Value = serde_json::from_slice(&output.stdout)?;
        let hash = object["hash"].as_str().unwrap_or_default().to_owned();
        Ok(Some((hash, object["size"].as_u64().unwrap_or_default())))
    }

    /// Tells a `haul` where the server is, and the keys.
    pub(crate) fn give_keys(&self, command: &mut std::process::Command) {
        command
            .env_remove("HAUL_CONFIG")
            .env("HAUL_ENDPOINT", &self.url)
            .env("HAUL_ACCESS_KEY", &self.access_key)
            .env("HAUL_SECRET_KEY", &self.secret_key);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prints the counters of the server at `url`, which hears only callers whose address is this
/// machine's own: 127.0.0.1, wherever the server listens.
#[expect(clippy::print_stdout, reason = "the answer is for the bench")]
pub(crate) fn ask(url: &str) -> Result<(), Failure> {
    let address: SocketAddr = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.connect(&address.into())?;
    let mut stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(
        stream,
        "GET /.haul/control/requests HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("a cut answer")?;
    println!("{body}");
    Ok(())
}
