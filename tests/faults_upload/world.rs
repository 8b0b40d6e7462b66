//! One upload in a world of its own: a server, a file, a state directory, and what came of it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use haul::devserver::{DevServer, FaultPlan, Operation, Requests};
use haul::kodo::Etag;
use haul::{Done, Error, Protocol, Put, Uploader, UploaderBuilder};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::numbers::Numbers;

/// Longest wait for the end of an upload: much longer than the busiest machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Length of v2 parts here: one that can still be halved.
pub(crate) const PART_LEN: u64 = 2 << 20;

/// Length of what goes in lanes: two blocks or three parts, the last ones short.
const LANES_LEN: usize = (5 << 20) + 77;

/// Length of what goes by form: a few pieces.
const FORM_LEN: usize = 300_000;

/// The same where an answer is waited for: the library waits longer for longer bodies.
const FORM_LEN_SHORT: usize = 3_000;

/// A way to bring an object to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    V1,
    V2,
    Form,
}

pub(crate) const ALL: &[Way] = &[Way::V1, Way::V2, Way::Form];
pub(crate) const LANES: &[Way] = &[Way::V1, Way::V2];

impl Way {
    /// The plan for this way: `FIRST`, `SEGMENT` and `COMMIT` become the names of its operations.
    fn plan(self, text: &str) -> FaultPlan {
        let [first, segment, commit] = match self {
            Self::V1 => ["mkblk", "bput", "mkfile"],
            Self::V2 => ["initiate", "part", "complete"],
            Self::Form => ["form"; 3],
        };
        let text = text
            .replace("FIRST", &format!("\"{first}\""))
            .replace("SEGMENT", &format!("\"{segment}\""))
            .replace("COMMIT", &format!("\"{commit}\""));
        text.parse()
            .unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// The longest segment: v1's grow with each acknowledgement of any lane, so the longest is all of
    /// a block of 4 MiB behind its first chunk of 512 KiB.
    pub(crate) fn segment_len(self, len: usize) -> u64 {
        match self {
            Self::V1 => (4 << 20) - (512 << 10),
            Self::V2 => PART_LEN,
            Self::Form => len as u64,
        }
    }

    /// The hash that the service gives to `content`.
    pub(crate) fn hash(self, content: &[u8], part_len: u64) -> Etag {
        match self {
            Self::V1 | Self::Form => Etag::of(content),
            Self::V2 => {
                let parts = content.chunks(usize::try_from(part_len).unwrap());
                let parts: Vec<_> = parts
                    .map(|part| (part.len() as u64, Etag::of(part)))
                    .collect();
                Etag::of_parts(&parts)
            }
        }
    }

    fn settings(self) -> UploaderBuilder {
        let builder = Uploader::builder().part_size(PART_LEN);
        match self {
            Self::V1 => builder.protocol(Protocol::V1),
            Self::V2 => builder.protocol(Protocol::V2),
            Self::Form => builder.threshold(u64::MAX),
        }
    }
}

/// What came of one upload.
pub(crate) struct Ended {
    pub(crate) result: Result<Done, Error>,
    pub(crate) seen: Requests,
    pub(crate) content: Vec<u8>,
    /// What is stored under the key; none if nothing is.
    pub(crate) stored: Option<Vec<u8>>,
}

impl Ended {
    /// Body bytes that carried the object.
    pub(crate) fn object_bytes(&self) -> u64 {
        let carriers = [
            Operation::Form,
            Operation::Mkblk,
            Operation::Bput,
            Operation::Part,
        ];
        carriers
            .iter()
            .map(|operation| self.seen.of(*operation).body_bytes)
            .sum()
    }
}

/// Writes a file. Nobody reads it before, so it need not be atomic.
pub(crate) fn write(path: &Path, content: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(content).unwrap();
}

/// `len` bytes that repeat nowhere soon.
pub(crate) fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Uploads one file by `way` to a server that follows `plan`, with what `adjust` sets.
pub(crate) async fn upload(
    way: Way,
    plan: &str,
    adjust: impl FnOnce(UploaderBuilder) -> UploaderBuilder,
) -> Ended {
    upload_as(way, plan, adjust, |put| put).await
}

/// The same with what `ask` sets for this one object.
pub(crate) async fn upload_as(
    way: Way,
    plan: &str,
    adjust: impl FnOnce(UploaderBuilder) -> UploaderBuilder,
    ask: impl FnOnce(Put) -> Put,
) -> Ended {
    let waits = plan.contains("hang") || plan.contains("silent");
    let len = match way {
        Way::Form if waits => FORM_LEN_SHORT,
        Way::Form => FORM_LEN,
        Way::V1 | Way::V2 => LANES_LEN,
    };
    let hosts = if plan.contains("[[host]]") { 2 } else { 1 };
    let server = DevServer::builder()
        .hosts(hosts)
        .faults(way.plan(plan))
        .start()
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut settings = way.settings().state_dir(dir.path().join("state"));
    if waits {
        // Long enough that nothing but the fault takes so long, also where a thread waits for its turn.
        settings = settings
            .response_timeout(Duration::from_secs(4))
            .commit_timeout(Duration::from_secs(4))
            .part_timeout(Duration::from_secs(12));
    }
    run(&server, &dir, adjust(settings), content(len), ask).await
}

/// Uploads `content` with `settings` to `server`.
pub(crate) async fn run(
    server: &DevServer,
    dir: &TempDir,
    mut settings: UploaderBuilder,
    content: Vec<u8>,
    ask: impl FnOnce(Put) -> Put,
) -> Ended {
    let path = dir.path().join("file");
    write(&path, &content);
    for url in server.urls() {
        settings = settings.endpoint(url);
    }
    let keys = server.credentials();
    let uploader = settings
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .rs_url(server.urls().last().unwrap())
        .build()
        .unwrap();
    let put = ask(uploader.put_file("b", "k", &path)).into_future();
    let numbers = Numbers::default();
    let ended = numbers.of(tokio::time::timeout(PATIENCE, put)).await;
    let seen = server.requests();
    server.faults().replace(FaultPlan::default()).unwrap();
    let ended = Ended {
        result: ended.expect("the upload ends"),
        seen,
        content,
        stored: object(server).await,
    };
    let resumes = ended
        .result
        .as_ref()
        .is_ok_and(|done| done.resumed_bytes > 0);
    if !resumes {
        numbers.check(&ended, &format!("{:?}", ended.result));
    }
    ended
}

/// The bytes that the server keeps.
async fn object(server: &DevServer) -> Option<Vec<u8>> {
    let address = server.urls().last().unwrap().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "GET /.haul/objects/b/k HTTP/1.1\r\nHost: dev\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = answer.split_off(end.expect("a whole head") + 4);
    answer.starts_with(b"HTTP/1.1 200").then_some(body)
}
