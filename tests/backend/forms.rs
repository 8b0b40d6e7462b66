//! Forms that browsers send, and forms that nobody should: what is stored, and what is said.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use crate::process::{Backend, Field, form, keys, stat, until};
use crate::support::content;
use crate::support::http::Request;
use crate::support::server::Server;

/// Largest file of these tests, in bytes.
const FILE_MAX: &str = "200000";

/// Uploads that the example takes at the same time.
const UPLOADS_MAX: u64 = 256;

fn stage() -> (Server, Backend) {
    let server = Server::start_at(vec!["--memory".into()], "127.0.0.1:0");
    let backend = Backend::start(&server, &[("BACKEND_FILE_MAX", FILE_MAX)]);
    (server, backend)
}

/// Whatever a client calls its file, the key is a place of its own and one last segment; and the bytes
/// are stored under it.
#[test]
fn names() {
    let (server, backend) = stage();
    let long = "é".repeat(200);
    let rows = [
        ("plain.txt", "plain.txt"),
        ("plain.txt", "plain.txt"),
        ("../../etc/passwd", "passwd"),
        (r"C:\\Users\\me\\photo.jpg", "photo.jpg"),
        ("/", "unnamed"),
        ("..", "unnamed"),
        ("a/..", "unnamed"),
        ("目录 é?x=1#f%2F.txt", "目录 é?x=1#f%2F.txt"),
        (" blank ", " blank "),
        ("a\ttab", "atab"),
        ("$(key) ${key} <b>&amp;", "$(key) ${key} <b>&amp;"),
        (&long, &long[..254]),
    ];
    for (seed, (name, last)) in rows.into_iter().enumerate() {
        let bytes = content::bytes(seed as u64, 1000);
        let head = format!("name=\"file\"; filename=\"{name}\"");
        let answer = backend.post(&form(&[(&head, &bytes)]));
        let json = answer.json();
        assert_eq!(answer.status, 200, "{name:?}: {json}");
        let key = json["stored"][0]["key"].as_str().expect("a key");
        let (place, rest) = key.split_at("uploads/".len() + 32);
        assert!(place.starts_with("uploads/"), "{name:?}: {key:?}");
        assert_eq!(rest, format!("/{last}"), "{name:?}: {key:?}");
        assert_eq!(stat(&server, key), Ok(content::etag(&bytes)), "{name:?}");
    }
    // Those of the same name are two.
    assert_eq!(keys(&server).len(), rows.len());
}

/// Several files in a form, with text between them: each is stored. The first that fails ends it, and
/// what is stored is told.
#[test]
fn several() {
    let (server, backend) = stage();
    let [a, b, large] = [1, 2, 200_001].map(|len| content::bytes(7, len));
    fn file(bytes: &[u8]) -> Field<'_> {
        ("name=\"f\"; filename=\"same.bin\"", bytes)
    }
    let text: Field<'_> = ("name=\"comment\"", b"of no interest");
    type Row<'a> = (&'a [Field<'a>], u16, &'a [&'a Vec<u8>]);
    let rows: [Row<'_>; 2] = [
        (&[file(&a), text, file(&b)], 200, &[&a, &b]),
        (&[file(&a), text, file(&large), file(&b)], 413, &[&a]),
    ];
    for (fields, status, stored) in rows {
        let answer = backend.post(&form(fields));
        let json = answer.json();
        assert_eq!(answer.status, status, "{json}");
        let told = json["stored"].as_array().expect("a list");
        let told: Vec<_> = told.iter().map(|file| file["hash"].clone()).collect();
        let hashes: Vec<_> = stored.iter().map(|bytes| content::etag(bytes)).collect();
        assert_eq!(told, hashes, "{json}");
    }
    assert_eq!(keys(&server).len(), 3);
}

/// What is no form with a file is refused in words, and leaves no object.
#[test]
fn refused() {
    let (server, backend) = stage();
    let large = content::bytes(1, 200_001);
    let text: Field<'_> = ("name=\"comment\"", b"no file");
    let no_form = Request {
        headers: Vec::new(),
        ..form(&[text])
    };
    let mut cut = form(&[("name=\"f\"; filename=\"cut.bin\"", &large[..100_000])]);
    cut.body.truncate(50_000);
    let bell = form(&[("name=\"f\"; filename=\"bell\u{7}\"", b"x")]);
    let rows = [
        ("no field", form(&[]), 400, "the form has no file"),
        ("text only", form(&[text]), 400, "the form has no file"),
        (
            "no file chosen",
            form(&[("name=\"file\"; filename=\"\"", b"")]),
            400,
            "the form has no file",
        ),
        ("no form", no_form, 400, "boundary"),
        ("a form that ends early", cut, 400, "incomplete"),
        (
            "a large file",
            form(&[("name=\"f\"; filename=\"large.bin\"", &large)]),
            413,
            "200000 bytes",
        ),
        (
            "a large text",
            form(&[("name=\"comment\"", &large[..70_000])]),
            413,
            "65536 bytes",
        ),
        ("a name that rings", bell, 400, "headers"),
        ("many fields", form(&[text; 101]), 400, "100 fields"),
    ];
    for (name, request, status, word) in rows {
        let answer = backend.post(&request);
        let json = answer.json();
        assert_eq!(answer.status, status, "{name}: {json}");
        let error = json["error"].as_str().expect("words");
        assert!(error.contains(word), "{name}: {error}");
    }
    assert_eq!(keys(&server), Vec::<String>::new());
}

/// Who comes when as many uploads are under way as may be is told to come again, and is taken when there
/// is room.
#[test]
fn full() {
    let (server, backend) = stage();
    let bytes = content::bytes(4, 1000);
    let request = form(&[("name=\"f\"; filename=\"one.bin\"", &bytes)]);
    let waiting: Vec<_> = (0..UPLOADS_MAX)
        .map(|_| begin(&backend, &request, request.body.len() / 2))
        .collect();
    until("all are under way", || {
        backend.number("haul_uploads_running") == UPLOADS_MAX
    });
    let answer = backend.post(&request);
    assert_eq!(answer.status, 503, "{}", answer.json());
    assert_eq!(answer.header("retry-after"), Some("5"));
    drop(waiting);
    until("there is room", || backend.post(&request).status == 200);
    assert_eq!(keys(&server).len(), 1);
}

/// Begins a request whose body stops after `len` bytes.
fn begin(backend: &Backend, request: &Request, len: usize) -> TcpStream {
    let mut stream = TcpStream::connect(backend.address).expect("it listens");
    let (content_type, body) = (&request.headers[0].1, &request.body);
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    stream.write_all(&body[..len]).expect("it reads");
    stream
}

/// A client that goes away half-way ends its upload with a word in the log, and leaves no object:
/// whether it closes its side in good order, or is gone altogether.
#[test]
fn gone() {
    let (server, backend) = stage();
    let bytes = content::bytes(3, 150_000);
    let request = form(&[("name=\"f\"; filename=\"half.bin\"", &bytes)]);
    for way in [Shutdown::Write, Shutdown::Both] {
        let stream = begin(&backend, &request, 100_000);
        stream.shutdown(way).expect("it was open");
        let line = backend.until_logged("half.bin");
        assert!(line.contains("the stream failed after"), "{line}");
    }
    until("both are counted, and over", || {
        let failed = backend.number("haul_uploads_total{outcome=\"source\"}");
        (failed, backend.number("haul_uploads_running")) == (2, 0)
    });
    assert_eq!(keys(&server), Vec::<String>::new());
}
