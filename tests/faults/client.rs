//! A client that does nothing for itself: a socket, hand-written HTTP, and a plain word for what
//! came back.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use haul::devserver::{DevServer, DevServerBuilder, Fault, FaultPlan};
use haul::kodo::{PutPolicy, Scope, UploadToken};
use haul::model::{Bucket, ObjectKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a test that expects nothing waits for something. Too short could only hide a fault, never
/// fail a good server.
const SILENCE: Duration = Duration::from_millis(300);

/// How long a test that expects something waits for it: much longer than the busiest machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// 2100-01-01, the end of every token here.
const DEADLINE: u64 = 4_102_444_800;

/// What a client saw of one request.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    /// A whole answer; the connection is still open.
    Answer(Answer),
    /// RST.
    Reset,
    /// FIN after so many bytes of anything.
    Closed { bytes: Vec<u8> },
    /// Nothing, and the connection is still open.
    Silence,
}

/// A whole answer.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status_line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        let digits = self.status_line.split(' ').nth(1).unwrap_or_default();
        digits.parse().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("an answer in JSON")
    }
}

/// A raw connection, and whether a write was told that it is reset: a kernel tells only once.
pub(crate) struct Raw(pub(crate) TcpStream, bool);

impl Raw {
    pub(crate) async fn to(url: &str) -> Self {
        let address = url.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.expect("a connection");
        // Head and body are two writes: the second must not wait for the first one's delayed ACK.
        stream.set_nodelay(true).expect("no delay");
        Self(stream, false)
    }

    /// Sends a whole request and waits for what comes.
    pub(crate) async fn ask(&mut self, head: &str, body: &[u8]) -> Seen {
        self.send(head, body).await;
        self.look().await
    }

    /// Sends a whole request. A server that ends the connection meanwhile is seen by `look`.
    pub(crate) async fn send(&mut self, head: &str, body: &[u8]) {
        let len = body.len();
        let head = format!("{head}Host: dev\r\nContent-Length: {len}\r\n\r\n");
        let sent = async {
            self.0.write_all(head.as_bytes()).await?;
            self.0.write_all(body).await
        };
        if let Ok(Err(error)) = timeout(PATIENCE, sent).await {
            self.1 |= error.kind() == ErrorKind::ConnectionReset;
        }
    }

    /// What comes: a whole answer or an end.
    pub(crate) async fn look(&mut self) -> Seen {
        self.look_for(PATIENCE).await
    }

    /// What comes within the time in which nothing should.
    pub(crate) async fn look_in_vain(&mut self) -> Seen {
        self.look_for(SILENCE).await
    }

    async fn look_for(&mut self, patience: Duration) -> Seen {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = whole(&bytes) {
                return Seen::Answer(answer);
            }
            let mut buffer = [0; 16 * 1024];
            match timeout(patience, self.0.read(&mut buffer)).await {
                Err(_) if bytes.is_empty() => return Seen::Silence,
                Err(_) => panic!("half an answer: {:?}", String::from_utf8_lossy(&bytes)),
                Ok(Ok(0)) if self.1 => return Seen::Reset,
                Ok(Ok(0)) => return Seen::Closed { bytes },
                Ok(Ok(len)) => bytes.extend_from_slice(&buffer[..len]),
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => return Seen::Reset,
                Ok(Err(error)) => panic!("neither RST nor FIN: {error}"),
            }
        }
    }

    /// A whole answer, or a failed test.
    pub(crate) async fn answer(&mut self, head: &str, body: &[u8]) -> Answer {
        match self.ask(head, body).await {
            Seen::Answer(answer) => answer,
            other => panic!("no answer to {head:?}: {other:?}"),
        }
    }
}

/// The answer that `bytes` are, if they are a whole one.
fn whole(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head of text");
    let mut lines = head.split("\r\n");
    let status_line = lines.next()?.to_owned();
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let len: usize = headers.get("content-length")?.parse().ok()?;
    let body = bytes[end + 4..].to_vec();
    (body.len() >= len).then_some(Answer {
        status_line,
        headers,
        body,
    })
}

/// A server in memory that does this wrong.
pub(crate) async fn server_with(faults: impl Into<Vec<Fault>>) -> DevServer {
    start(DevServer::builder().faults(FaultPlan {
        faults: faults.into(),
        ..FaultPlan::default()
    }))
    .await
}

pub(crate) async fn start(builder: DevServerBuilder) -> DevServer {
    builder.start().await.expect("a dev server")
}

/// A token for one key of bucket `b`.
pub(crate) fn token(server: &DevServer, key: &str) -> UploadToken {
    let bucket = Bucket::new("b").expect("a bucket");
    let key = ObjectKey::new(key).expect("a key");
    UploadToken::sign(
        server.credentials(),
        &PutPolicy::new(Scope::Key(bucket, key), DEADLINE),
    )
}

/// The head of an upload request with a token for key `k`, up to where the length is added.
pub(crate) fn head(server: &DevServer, request_line: &str) -> String {
    let token = token(server, "k");
    format!(
        "{request_line} HTTP/1.1\r\nAuthorization: {}\r\n",
        token.authorization()
    )
}

/// The head of an `mkblk` of `len` bytes.
pub(crate) fn mkblk(server: &DevServer, len: usize) -> String {
    head(server, &format!("POST /mkblk/{len}"))
}

/// A form upload of `data` under `key`: head and body.
pub(crate) fn form(server: &DevServer, key: &str, data: &[u8]) -> (String, Vec<u8>) {
    let token = token(server, key);
    let mut body = format!(
        "--B\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n{}\r\n\
         --B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n{key}\r\n\
         --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n",
        token.expose()
    )
    .into_bytes();
    body.extend_from_slice(data);
    body.extend_from_slice(b"\r\n--B--\r\n");
    let head = "POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=B\r\n".to_owned();
    (head, body)
}

/// The stored bytes of an object of bucket `b`; `None` if there is none.
pub(crate) async fn stored(server: &DevServer, key: &str) -> Option<Vec<u8>> {
    let mut raw = Raw::to(server.url()).await;
    let head = format!("GET /.haul/objects/b/{key} HTTP/1.1\r\n");
    let answer = raw.answer(&head, b"").await;
    (answer.status() == 200).then_some(answer.body)
}
