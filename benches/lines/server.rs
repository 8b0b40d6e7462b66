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

/// The bucket of every upload here, and the key of the only one where nothing else is said.
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
    /// One for every host. The last is well in every row.
    pub(crate) urls: Vec<String>,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

impl Server {
    /// Starts one in `place`, with a host at each of `ips`, which follows the fault plan in the file,
    /// if there is one: a control call would count as a connection.
    pub(crate) fn start(
        tools: &Tools,
        place: Place,
        ips: &[Ipv4Addr],
        faults: Option<&Path>,
    ) -> Result<Self, Failure> {
        let mut command = place.command(&tools.server);
        command.args(["serve", "--json", "--discard", "--bucket", BUCKET]);
        for ip in ips {
            command.args(["--listen", &format!("{ip}:0")]);
        }
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
        let others = event["other_urls"].as_array().into_iter().flatten();
        let others = others.filter_map(|url| url.as_str().map(str::to_owned));
        Ok(Self {
            child,
            place,
            _stdout: stdout,
            urls: [text("url")].into_iter().chain(others).collect(),
            access_key: text("access_key"),
            secret_key: text("secret_key"),
        })
    }

    /// The host that is well.
    pub(crate) fn url(&self) -> &str {
        self.urls.last().map_or("", String::as_str)
    }

    /// Follows this fault plan from now on.
    pub(crate) fn follow(&self, plan: &str) -> Result<(), Failure> {
        self.control("PUT faults", plan).map(|_| ())
    }

    /// What a control call gives. The server hears such calls from its own machine only: from inside
    /// its namespace.
    fn control(&self, call: &str, body: &str) -> Result<Value, Failure> {
        let program = std::env::current_exe()?;
        let mut command = self.place.command(program);
        let output = command
            .args(["--role", "ask", self.url(), call, body])
            .stdin(Stdio::null())
            .output()?;
        match output.status.success() {
            true => Ok(serde_json::from_slice(&output.stdout)?),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
        }
    }

    /// Bytes of bodies that it has read.
    pub(crate) fn body_bytes(&self) -> Result<u64, Failure> {
        let seen = self.control("GET requests", "")?;
        let operations = seen["operations"].as_object().ok_or("no counters")?;
        let counts = operations.values();
        Ok(counts
            .filter_map(|count| count["body_bytes"].as_u64())
            .sum())
    }

    /// The hash and the size of what is stored under the key, if anything is.
    pub(crate) fn stored(
        &self,
        tools: &Tools,
        state: &Path,
        key: &str,
    ) -> Result<Option<(String, u64)>, Failure> {
        let mut command = self.place.command(&tools.server);
        command.args(["stat", "--json", &format!("kodo://{BUCKET}/{key}")]);
        self.give_keys(&mut command);
        command
            .env("HAUL_ENDPOINT", self.url())
            .env("HOME", state)
            .stdin(Stdio::null());
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
            .env("HAUL_ENDPOINT", self.urls.join(","))
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

/// Makes a control call, such as `GET requests`, to the server at `url`, and prints the answer. The
/// server hears only callers whose address is this machine's own: 127.0.0.1, wherever it listens.
#[expect(clippy::print_stdout, reason = "the answer is for the bench")]
pub(crate) fn ask(url: &str, call: &str, body: &str) -> Result<(), Failure> {
    let (method, name) = call.split_once(' ').ok_or("no call")?;
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
        "{method} /.haul/control/{name} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("a cut answer")?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(body.into());
    }
    println!("{body}");
    Ok(())
}
