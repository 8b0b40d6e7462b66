//! Streams, as a program gives them to the library, and as a shell pipes them into `haul put -`.

use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use haul::kodo::Etag;
use haul::{Done, Error, ErrorKind, Event, Protocol, Put, Uploader};

use crate::world::{PATIENCE, Ran, Server, World, content};

const MIB: usize = 1024 * 1024;

/// The pieces that a connection gives: of odd lengths, and sometimes empty.
pub(crate) fn pieces(bytes: &[u8]) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut pieces = Vec::new();
    let mut at = 0;
    for len in [0, 1, 70_001, 13, 300_000].into_iter().cycle() {
        if at == bytes.len() {
            break;
        }
        let end = bytes.len().min(at + len);
        pieces.push(Ok(bytes.slice(at..end)));
        at = end;
    }
    stream::iter(pieces)
}

fn uploader(server: &Server, protocol: Protocol) -> Uploader {
    let keys = server.server.credentials();
    Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.server.url())
        .protocol(protocol)
        .build()
        .unwrap()
}

/// Runs `put`; what came of it, how it was sent, and the size that was told at first and at last.
fn run(server: &Server, put: Put) -> (Result<Done, Error>, &'static str, [Option<u64>; 2]) {
    let heard = Arc::new(Mutex::new(("", [None; 2])));
    let hear = Arc::clone(&heard);
    let put = put.on_event(move |event| {
        let mut heard = hear.lock().unwrap();
        match event {
            Event::Started { size, protocol, .. } => *heard = (protocol, [*size; 2]),
            Event::Progress { size, .. } => heard.1[1] = *size,
            _ => {}
        }
    });
    let done = server.runtime.block_on(put.into_future());
    let (protocol, sizes) = *heard.lock().unwrap();
    (done, protocol, sizes)
}

/// Streams of any length become their object, small ones in one request; where the length was not said,
/// nobody is told one before the end.
#[test]
fn any_length() {
    let server = Server::new();
    let rows = [
        ("nothing", 0, false, Protocol::Auto, "form"),
        ("a byte", 1, true, Protocol::Auto, "form"),
        ("the threshold", MIB, false, Protocol::Auto, "form"),
        ("a block", 4 * MIB, false, Protocol::Auto, "v1"),
        ("some blocks", 21 * MIB + 5, false, Protocol::Auto, "v1"),
        ("whole blocks", 12 * MIB, true, Protocol::Auto, "v1"),
        ("parts", 13 * MIB + 1, false, Protocol::V2, "v2"),
        ("parts of known length", 8 * MIB, true, Protocol::V2, "v2"),
    ];
    for (story, len, is_known, wished, expected) in rows {
        let bytes = content(len);
        let uploader = uploader(&server, wished);
        let mut put = uploader.put_stream("b", story, pieces(&bytes));
        if is_known {
            put = put.size(len as u64);
        }
        let (done, protocol, sizes) = run(&server, put);
        let done = done.unwrap();
        assert_eq!(protocol, expected, "{story}");
        assert_eq!(
            (done.size, done.sent_bytes),
            (len as u64, len as u64),
            "{story}"
        );
        let stat = server.runtime.block_on(uploader.stat("b", story)).unwrap();
        let hash = Etag::of(&bytes);
        assert_eq!(stat.size, len as u64, "{story}");
        assert_eq!(stat.hash, done.hash.to_string(), "{story}");
        if wished == Protocol::Auto {
            assert_eq!(hash, done.hash, "{story}");
        }
        // What fits into a block is known before the first request.
        let told_early = is_known || len < 4 * MIB;
        let first = told_early.then_some(len as u64);
        assert_eq!(sizes, [first, Some(len as u64)], "{story}");
    }
}

/// With the least memory that there may be, many streams at once wait for one another and all come through,
/// whatever their lengths, and although what was sent is needed again after resets.
#[test]
fn with_the_least_memory() {
    let server = Server::with(
        "[[fault]]\noperation = [\"mkblk\", \"bput\", \"part\"]\nprobability = 0.2\n\
         reset = { after_body_bytes = 30000 }\n",
    );
    let lens = [
        0,
        1,
        MIB,
        4 * MIB - 1,
        4 * MIB,
        4 * MIB + 1,
        8 * MIB,
        9 * MIB,
    ];
    for wished in [Protocol::Auto, Protocol::V2] {
        let keys = server.server.credentials();
        let uploader = Uploader::builder()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .endpoint(server.server.url())
            .stream_memory(8 * MIB as u64)
            .protocol(wished)
            .build()
            .unwrap();
        let puts = lens.iter().enumerate().map(|(at, len)| {
            let bytes = content(*len);
            let put = uploader.put_stream("b", format!("{at}"), pieces(&bytes));
            async move {
                let done = put.await.unwrap_or_else(|error| panic!("{len}: {error}"));
                assert_eq!(done.size, *len as u64);
                if wished == Protocol::Auto {
                    assert_eq!(done.hash, Etag::of(&bytes), "{len}");
                }
            }
        });
        let all = futures_util::future::join_all(puts);
        let ended = server
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, all).await });
        ended.unwrap_or_else(|_| panic!("{wished:?}: somebody waits for ever"));
    }
}

/// A stream that breaks, or is not as long as was said, makes no object, and the error says how far it
/// came. So does one whose bytes the service lost after they were let go.
#[test]
fn no_object() {
    let broken = |bytes: &[u8]| {
        let end = stream::iter([Err(io::Error::other("the client went away"))]);
        pieces(bytes).chain(end).boxed()
    };
    let long = content(13 * MIB);
    let whole = || pieces(&long).boxed();
    let rows = [
        (
            "broken early",
            broken(&long[..1000]),
            None,
            "",
            "failed after 1000 bytes: the client",
        ),
        (
            "broken late",
            broken(&long),
            None,
            "",
            "failed after 13631488 bytes: the client",
        ),
        (
            "too short",
            whole(),
            Some(14 * MIB),
            "",
            "ended after 13631488 bytes, and was said",
        ),
        (
            "too long",
            whole(),
            Some(13 * MIB - 1),
            "",
            "longer than the 13631487 bytes",
        ),
        (
            "forgotten",
            whole(),
            None,
            "[[fault]]\noperation = \"mkfile\"\nnth = 1\nexpire = \"ctx\"\n",
            "cannot give it again",
        ),
    ];
    for (story, stream, size, plan, expected) in rows {
        let server = Server::with(plan);
        let uploader = uploader(&server, Protocol::Auto);
        let mut put = uploader.put_stream("b", "k", stream);
        if let Some(size) = size {
            put = put.size(size as u64);
        }
        let (done, _, _) = run(&server, put);
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source, "{story}: {error}");
        assert!(error.to_string().contains(expected), "{story}: {error}");
        assert_eq!(error.safe_bytes(), 0, "{story}");
        let next = error.next_step().unwrap();
        assert!(next.contains("upload the stream again"), "{story}: {next}");
        let stat = server.runtime.block_on(uploader.stat("b", "k"));
        assert_eq!(stat.unwrap_err().kind(), ErrorKind::NoSuchObject, "{story}");
    }
}

/// Parts of which no two fit into the memory are refused before anything is read; those that are as long
/// as they must be for the length that was said, too. By way of the disk they need no memory.
#[test]
fn parts_without_memory() {
    let server = Server::new();
    let rows = [
        ("one of two fits", 5, None, false, false),
        ("two fit", 4, None, false, true),
        (
            "long for the length that was said",
            1,
            Some(1 << 40),
            false,
            false,
        ),
        ("from the disk", 64, None, true, true),
    ];
    for (story, part_mib, size, is_spooled, goes) in rows {
        let world = World::new();
        let keys = server.server.credentials();
        let mut builder = Uploader::builder()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .endpoint(server.server.url())
            .protocol(Protocol::V2)
            .part_size(part_mib << 20)
            .stream_memory(8 << 20);
        if is_spooled {
            builder = builder.state_dir(world.path("state"));
            builder = builder.spool_dir(world.path("spool"));
        }
        let reader = io::Cursor::new(content(9 * MIB));
        let mut put = builder.build().unwrap().put_reader("b", "k", reader);
        if let Some(size) = size {
            put = put.size(size);
        }
        match run(&server, put).0 {
            Ok(done) => assert!(goes && done.size == 9 << 20, "{story}"),
            Err(error) => {
                assert!(!goes, "{story}: {error}");
                assert_eq!(error.kind(), ErrorKind::Config, "{story}: {error}");
            }
        }
    }
}

/// A stream is read once: its upload's clone says so, and does not make an empty object.
#[test]
fn once() {
    let server = Server::new();
    let uploader = uploader(&server, Protocol::Auto);
    let put = uploader.put_reader("b", "k", io::Cursor::new(content(10)));
    let (first, second) = (run(&server, put.clone()).0, run(&server, put).0);
    assert_eq!(first.unwrap().size, 10);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Usage);
}

/// `… | haul put - DEST`: any length, and one that was said.
#[test]
fn standard_input() {
    let server = Server::new();
    let world = World::beside(&server);
    let piped = |bytes: &[u8], arguments: &[&str]| {
        let mut command = world.command(&[&["put", "-"], arguments].concat());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // Who is refused early does not read.
            scope.spawn(move || io::Write::write_all(&mut stdin, bytes).ok());
            Ran::new(child.wait_with_output().unwrap())
        })
    };
    let long = content(9 * MIB);
    for bytes in [&long[..], &long[..100], b""] {
        let ran = piped(bytes, &["kodo://b/dir/k"]);
        let said: &[&str] = match bytes.is_empty() {
            true => &["note: standard input was empty"],
            false => &[],
        };
        ran.expect(0, said);
        let expected = format!("dir/k\t{}\t{}\n", Etag::of(bytes), bytes.len());
        assert_eq!(ran.out, expected);
    }
    let ran = piped(&long, &["kodo://b/k", "--size", "10000000"]);
    ran.expect(
        5,
        &["ended after 9437184 bytes, and was said to have 10000000"],
    );
    // With a spool directory: the same pipe again goes on where a kill ended it.
    let spooled = ["kodo://b/s", "--spool-dir", "spool", "-v"];
    let ran = piped(&long, &spooled);
    ran.expect(0, &[]);
    assert_eq!(std::fs::read_dir(world.path("spool")).unwrap().count(), 0);
    piped(b"", &["kodo://b/dir/"]).expect(2, &["standard input has no name", "kodo://BUCKET/KEY"]);
    let file = world.file("f", b"x");
    let ran = world.run(&["put", &file, "kodo://b/k", "--size", "1"]);
    ran.expect(2, &["--size is the length of standard input"]);
}
