//! How fast the dev server takes 1 GiB, and in how much memory.
//!
//! `cargo bench --bench devserver` sends 1 GiB over loopback by v1, by v2 in parts of 4 and of 64
//! MiB, and by form, to `haul serve` with `--discard` and with `--root`, and in the same round to a
//! bare loop: a plain TCP server, one thread, that reads the same requests and computes the hashes
//! that the protocol's answers need, and nothing else; against `--root` it writes each body into a
//! file as well. Both are processes of their own, the client is the same, and files are in memory
//! (`/dev/shm`) where there is such a place: the disk is not what is measured. The best of the
//! rounds counts, since whatever else the machine does only slows down. A word as argument
//! (`-- v1`) picks the ways whose name holds it.
//!
//! It must hold that the dev server's rate is at least half of the bare loop's, and that its peak of
//! resident memory stays within 32 MiB (read from /proc, so on Linux only); else the exit code is 1.

#![expect(clippy::print_stdout, reason = "to print is what it is for")]

#[path = "../tests/outside/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};

use md5::Md5;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use support::content::{self, BLOCK, MIB, b64u};
use support::server::{Listening, Server};
use support::sign;

/// What is sent: 1 GiB.
const LEN: usize = 1024 * MIB;

/// Rounds of every measurement; the best counts.
const ROUNDS: usize = 5;

/// Least rate of the dev server, as a share of the bare loop's.
const RATIO_MIN: f64 = 0.5;

/// Most resident memory of the dev server, in MiB.
const MEMORY_MAX_MIB: f64 = 32.0;

/// The bucket of the bench.
const BUCKET: &str = "bench-bucket";

/// A way to upload, as the server's work differs.
#[derive(Clone, Copy)]
enum Way {
    V1,
    V2 { part_len: usize },
    Form,
}

const WAYS: [(&str, Way); 4] = [
    ("v1, blocks of 4 MiB", Way::V1),
    ("v2, parts of 4 MiB", Way::V2 { part_len: 4 * MIB }),
    ("v2, parts of 64 MiB", Way::V2 { part_len: 64 * MIB }),
    ("form", Way::Form),
];

/// One measurement.
struct Run {
    mib_per_s: f64,
    /// Peak of resident memory, where the system tells.
    memory_mib: Option<f64>,
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--bare") {
        return match bare_server() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let block = content::bytes(1, BLOCK);
    let mut held = true;
    println!("1 GiB over loopback, best of {ROUNDS} rounds\n");
    println!("way                  place        MiB/s   bare MiB/s   ratio   peak MiB");
    // cargo adds `--bench`.
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    let wanted: Vec<_> = wanted.iter().filter(|it| !it.starts_with('-')).collect();
    for (name, way) in WAYS {
        if !wanted.is_empty() && !wanted.iter().any(|it| name.contains(it.as_str())) {
            continue;
        }
        let mut places = ["--discard", "--root"].map(|place| (place, Vec::new(), Vec::new()));
        for _ in 0..ROUNDS {
            for (place, bare, haul) in &mut places {
                bare.push(run_bare(way, place, &block));
                haul.push(run_haul(way, place, &block));
            }
        }
        for (place, bare, haul) in places {
            held &= show(name, place, &bare, &haul);
        }
    }
    println!("\nto hold: ratio at least {RATIO_MIN}, peak at most {MEMORY_MAX_MIB} MiB");
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints a line of the table; says whether it holds.
fn show(name: &str, place: &str, bare: &[Run], haul: &[Run]) -> bool {
    let (bare, rate) = (best(bare), best(haul));
    let memory = haul.iter().filter_map(|run| run.memory_mib);
    let memory = memory.fold(0.0, f64::max);
    let ratio = rate / bare;
    let fine = ratio >= RATIO_MIN && memory <= MEMORY_MAX_MIB;
    let verdict = if fine { "" } else { "   MISSED" };
    println!("{name:<20} {place:<10} {rate:7.0} {bare:12.0} {ratio:7.2} {memory:10.1}{verdict}");
    fine
}

/// A folder for files that are dropped with it: in memory, where the system has such a place.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")))
        .expect("a folder")
}

/// The highest rate.
fn best(runs: &[Run]) -> f64 {
    runs.iter().map(|run| run.mib_per_s).fold(0.0, f64::max)
}

/// Sends to `haul serve`.
fn run_haul(way: Way, place: &str, block: &[u8]) -> Run {
    let folder = folder();
    let mut flags: Vec<OsString> = vec![place.into()];
    if place == "--root" {
        flags.push(folder.path().into());
    }
    let server = Server::start_at(flags, "127.0.0.1:0");
    let mib_per_s = send(way, &server.listening, block);
    Run {
        mib_per_s,
        memory_mib: peak_memory_mib(server.child.id()),
    }
}

/// Sends to the bare loop.
fn run_bare(way: Way, place: &str, block: &[u8]) -> Run {
    let folder = folder();
    let program = std::env::current_exe().expect("this program");
    let hashes = match way {
        Way::V1 | Way::Form => "crc32",
        Way::V2 { .. } => "md5",
    };
    let mut child: Child = Command::new(program)
        .args(["--bare", hashes, place])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let address: SocketAddr = line.trim().parse().expect("an address");
    let listening = Listening {
        url: format!("http://{address}"),
        address,
        access_key: "access".to_owned(),
        secret_key: "secret".to_owned(),
    };
    let mib_per_s = send(way, &listening, block);
    let _ = child.kill();
    let _ = child.wait();
    Run {
        mib_per_s,
        memory_mib: None,
    }
}

/// The high-water mark of a process's resident memory.
fn peak_memory_mib(id: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

// ----- the client

/// One connection that is kept alive, as SDKs do.
struct Client {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

/// Uploads 1 GiB, `block` again and again, and says how fast that was.
fn send(way: Way, server: &Listening, block: &[u8]) -> f64 {
    let token = sign::up_token(server, &format!("{BUCKET}:k"));
    let authorization = format!("Authorization: UpToken {token}\r\n");
    let stream = TcpStream::connect(server.address).expect("it listens");
    stream.set_nodelay(true).expect("an option of every socket");
    let mut client = Client {
        stream: BufReader::new(stream),
        address: server.address,
    };
    let start = now();
    match way {
        Way::V1 => client.v1(&authorization, block),
        Way::V2 { part_len } => client.v2(&authorization, block, part_len),
        Way::Form => client.form(&token, block),
    }
    (LEN / MIB) as f64 / start.elapsed().as_secs_f64()
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

impl Client {
    fn v1(&mut self, authorization: &str, block: &[u8]) {
        let mut contexts = Vec::new();
        for _ in 0..LEN / BLOCK {
            let target = format!("/mkblk/{BLOCK}");
            let answer = self.call("POST", &target, authorization, &[], block, 1, &[]);
            contexts.push(answer["ctx"].as_str().unwrap_or_default().to_owned());
        }
        let target = format!("/mkfile/{LEN}/key/{}", b64u("k"));
        let list = contexts.join(",");
        self.call("POST", &target, authorization, &[], list.as_bytes(), 1, &[]);
    }

    fn v2(&mut self, authorization: &str, block: &[u8], part_len: usize) {
        let uploads = format!("/buckets/{BUCKET}/objects/{}/uploads", b64u("k"));
        let answer = self.call("POST", &uploads, authorization, &[], &[], 0, &[]);
        let upload = format!("{uploads}/{}", answer["uploadId"].as_str().unwrap_or("u"));
        let mut parts = Vec::new();
        for number in 1..=LEN / part_len {
            let target = format!("{upload}/{number}");
            let times = part_len / block.len();
            let answer = self.call("PUT", &target, authorization, &[], block, times, &[]);
            parts.push(json!({"partNumber": number, "etag": answer["etag"]}));
        }
        let body = json!({ "parts": parts }).to_string();
        self.call("POST", &upload, authorization, &[], body.as_bytes(), 1, &[]);
    }

    fn form(&mut self, token: &str, block: &[u8]) {
        let part = |name: &str, value: &str| {
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let mut crc32 = crc32fast::Hasher::new();
        for _ in 0..LEN / BLOCK {
            crc32.update(block);
        }
        let crc32 = crc32.finalize().to_string();
        let file = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\
                    Content-Type: application/octet-stream\r\n\r\n";
        let before = part("token", token) + &part("key", "k") + &part("crc32", &crc32) + file;
        let content_type = "Content-Type: multipart/form-data; boundary=B\r\n";
        let times = LEN / block.len();
        let after = b"\r\n--B--\r\n";
        self.call(
            "POST",
            "/",
            content_type,
            before.as_bytes(),
            block,
            times,
            after,
        );
    }

    /// Sends `before`, `times` times `body`, and `after`; reads the answer, which must be a 200.
    #[expect(
        clippy::too_many_arguments,
        reason = "a request's parts, in the order they leave"
    )]
    fn call(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        before: &[u8],
        body: &[u8],
        times: usize,
        after: &[u8],
    ) -> Value {
        let len = before.len() + times * body.len() + after.len();
        let address = self.address;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {len}\r\n\r\n"
        );
        let mut stream = self.stream.get_ref();
        stream
            .write_all(&[head.as_bytes(), before].concat())
            .expect("sent");
        for _ in 0..times {
            stream.write_all(body).expect("sent");
        }
        stream.write_all(after).expect("sent");
        let (first, len) = read_head(&mut self.stream).expect("an answer");
        let mut answer = vec![0; len];
        self.stream.read_exact(&mut answer).expect("a whole answer");
        assert!(
            first.contains(" 200 "),
            "{first} {}",
            String::from_utf8_lossy(&answer)
        );
        serde_json::from_slice(&answer).expect("JSON")
    }
}

/// Reads a request's or an answer's head: its first line and its `Content-Length`.
fn read_head(stream: &mut impl BufRead) -> io::Result<(String, usize)> {
    let mut first = String::new();
    let mut len = 0;
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 && line != "\r\n" {
        if first.is_empty() {
            first.clone_from(&line);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            len = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    Ok((first, len))
}

// ----- the bare loop

/// Reads requests, hashes their bodies, writes them if need be, and answers; for one client.
fn bare_server() -> io::Result<()> {
    let is_asked = |word: &str| std::env::args().any(|argument| argument == word);
    let (with_md5, with_files) = (is_asked("md5"), is_asked("--root"));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(256 * 1024, stream);
    for number in 0.. {
        let (first, len) = read_head(&mut reader)?;
        if first.is_empty() {
            break;
        }
        let mut file = match with_files && len > 0 {
            true => Some(File::create(number.to_string())?),
            false => None,
        };
        let sum = hash_body(&mut reader, len, with_md5, file.as_mut())?;
        // The sum goes into the answer, so that nothing of the work can be left out.
        let body = json!({"ctx": sum, "etag": sum, "uploadId": sum}).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        reader.get_mut().write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// SHA-1 of every block, and crc32 or md5 of the whole, of the next `len` bytes, which go into `file`.
fn hash_body(
    reader: &mut impl BufRead,
    mut len: usize,
    with_md5: bool,
    mut file: Option<&mut File>,
) -> io::Result<String> {
    let mut sha1 = Sha1::new();
    let mut in_block = 0;
    let mut sum = Vec::new();
    let mut md5 = Md5::new();
    let mut crc32 = crc32fast::Hasher::new();
    while len > 0 {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = bytes.len().min(len).min(BLOCK - in_block);
        let bytes = &bytes[..count];
        sha1.update(bytes);
        if with_md5 {
            md5.update(bytes);
        } else {
            crc32.update(bytes);
        }
        if let Some(file) = &mut file {
            file.write_all(bytes)?;
        }
        in_block += count;
        len -= count;
        reader.consume(count);
        if in_block == BLOCK {
            sum.extend_from_slice(&sha1.finalize_reset());
            in_block = 0;
        }
    }
    sum.extend_from_slice(&sha1.finalize());
    sum.extend_from_slice(&md5.finalize());
    sum.extend_from_slice(&crc32.finalize().to_le_bytes());
    let short: Vec<u8> = sum
        .chunks(24)
        .flat_map(|chunk| chunk.first().copied())
        .collect();
    Ok(b64u(short).trim_end_matches('=').chars().take(40).collect())
}
