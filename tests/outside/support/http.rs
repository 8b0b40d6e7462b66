//! One request on one connection, and the whole answer: a client too plain to hide anything.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest silence of a server on this machine. Far above what a loaded machine needs; a test that
/// meets it has found a server that hangs.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Bodies leave in pieces of at most this many bytes, and in two at least, so that a test can act in
/// the middle of one.
const PIECE_MAX: usize = 64 * 1024;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// One request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// Sends one request and reads its answer to the end. An answer that is cut is an error.
pub(crate) fn call(address: SocketAddr, request: &Request) -> io::Result<Answer> {
    call_counted(address, request, &|_| {})
}

/// The same; `on_sent` hears of every piece of the body that has left.
pub(crate) fn call_counted(
    address: SocketAddr,
    request: &Request,
    on_sent: &dyn Fn(usize),
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let Request { method, target, .. } = request;
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", request.body.len());
    stream.write_all(head.as_bytes())?;
    let piece_len = (request.body.len() / 2).clamp(1, PIECE_MAX);
    for piece in request.body.chunks(piece_len) {
        stream.write_all(piece)?;
        on_sent(piece.len());
    }
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw)?;
    parse(&raw).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The answer in `raw`, or nothing when it is cut.
fn parse(raw: &[u8]) -> Option<Answer> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&raw[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        headers,
        body: raw[end + 4..].to_vec(),
    };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunk(&answer.body)?;
    } else {
        let len: usize = answer.header("content-length")?.parse().ok()?;
        (answer.body.len() == len).then_some(())?;
    }
    Some(answer)
}

/// The content of a chunked body, or nothing when its last chunk is missing.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let len = std::str::from_utf8(&rest[..end]).ok()?;
        let len = usize::from_str_radix(len, 16).ok()?;
        if len == 0 {
            return Some(content);
        }
        content.extend_from_slice(rest.get(end + 2..end + 2 + len)?);
        rest = rest.get(end + 2 + len + 2..)?;
    }
}

/// `text` as it may stand in a path: everything but letters and digits is encoded, slashes too.
pub(crate) fn percent(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
