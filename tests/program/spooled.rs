//! Streams by way of the disk, and what lies or happens there that should not.

use std::fs::{self, File};
use std::future::IntoFuture;
use std::io::{self, Cursor};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use haul::kodo::Etag;
use haul::{ErrorKind, Protocol, PutPolicy, SourceState, Uploader, UploaderBuilder};

use crate::again::no_faults;
use crate::life::{HOLD, LEN, drop_half_way, unfinished};
use crate::streams::pieces;
use crate::world::{Server, World, content};

const MIB: usize = 1024 * 1024;

/// One that spools and could not find the streams again.
fn forgetful(server: &Server, world: &World) -> UploaderBuilder {
    let keys = server.server.credentials();
    Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.server.url())
        .spool_dir(world.path("spool"))
}

fn builder(server: &Server, world: &World) -> UploaderBuilder {
    forgetful(server, world).state_dir(world.path("state"))
}

fn uploader(server: &Server, world: &World) -> Uploader {
    let builder = builder(server, world).protocol(Protocol::V2);
    builder.build().unwrap()
}

/// With a spool directory a stream outlives its process: it goes on by its id, or when the same stream is
/// given again; nothing acknowledged is sent twice, and no file is left in the end.
#[test]
fn spooled() {
    let bytes = content(21 * MIB);
    for is_given_again in [false, true] {
        let server = Server::with("[[fault]]\noperation = \"mkblk\"\nnth = 5\nhold = \"h\"\n");
        let world = World::new();
        let build = || builder(&server, &world).window(1).build().unwrap();
        let files = || fs::read_dir(world.path("spool")).unwrap().count();
        let again = |uploader: &Uploader| {
            uploader
                .put_stream("b", "k", pieces(&bytes))
                .resume_id("job 7")
                .mime_type("text/plain")
        };
        server.runtime.block_on(async {
            let uploader = build();
            tokio::select! {
                ended = again(&uploader).into_future() => panic!("{ended:?}"),
                () = server.server.faults().until_held("h") => {}
            }
        });
        server.server.faults().release("h");
        assert_eq!(files(), 1);
        server.runtime.block_on(async {
            let uploader = build();
            let left = uploader.unfinished().await.unwrap();
            let [left] = &left[..] else {
                panic!("{left:?}")
            };
            assert_eq!(left.resume_id.as_deref(), Some("job 7"));
            assert_eq!(left.size, bytes.len() as u64);
            // How far it came: a starved machine sends a block again now and then.
            assert!((1..left.size).contains(&left.safe_bytes), "{left:?}");
            let put = match is_given_again {
                true => again(&uploader),
                false => uploader.resume(left.id.clone().unwrap()),
            };
            let done = put.await.unwrap();
            assert_eq!(done.hash, Etag::of(&bytes));
            assert_eq!(done.resumed_bytes, left.safe_bytes);
            let stat = uploader.stat("b", "k").await.unwrap();
            assert_eq!(stat.mime_type, "text/plain");
            assert_eq!(uploader.unfinished().await.unwrap(), []);
        });
        assert_eq!(files(), 0, "given again: {is_given_again}");
    }
}

/// Two streams to one key at once: the second is refused before it is read to its end, and takes nothing
/// from the first, which stays resumable. Another name is another upload.
#[test]
fn spooled_twice() {
    // A commit is waited for: a segment would be sent again after some seconds.
    let server = Server::with("[[fault]]\noperation = \"mkfile\"\nnth = 1\nhold = \"h\"\n");
    let world = World::new();
    // As of two processes.
    let build = || builder(&server, &world).build().unwrap();
    let (uploader, beside) = (build(), build());
    let files = || fs::read_dir(world.path("spool")).unwrap().count();
    let bytes = content(9 * MIB);
    server.runtime.block_on(async {
        let first = uploader.put_stream("b", "k", pieces(&bytes));
        let second = async {
            server.server.faults().until_held("h").await;
            // One that would never end.
            let endless = stream::repeat_with(|| io::Result::Ok(Bytes::from_static(&[7; 4096])));
            let refused = beside.put_stream("b", "k", endless).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Held, "{refused}");
            assert_eq!(files(), 1);
            let other = uploader.put_stream("b", "k", pieces(&content(3 * MIB)));
            other.resume_id("another").await.unwrap();
            let left = uploader.unfinished().await.unwrap();
            let [left] = &left[..] else {
                panic!("{left:?}")
            };
            assert_eq!(left.source_state, SourceState::Unchanged);
        };
        tokio::select! {
            ended = first.into_future() => panic!("{ended:?}"),
            () = second => {}
        }
    });
    server.server.faults().release("h");
    let left = server.runtime.block_on(uploader.unfinished()).unwrap();
    let put = beside.resume(left[0].id.clone().unwrap());
    let done = server.runtime.block_on(put.into_future()).unwrap();
    assert_eq!(done.hash, Etag::of(&bytes));
    assert!(done.resumed_bytes > 0);
    assert_eq!(files(), 0);
}

/// A stream that breaks on its way to the disk leaves nothing there, and no upload.
#[test]
fn spooled_in_vain() {
    let server = Server::new();
    let world = World::new();
    let error = forgetful(&server, &world).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let uploader = builder(&server, &world).build().unwrap();
    let end = stream::iter([Err(io::Error::other("the client went away"))]);
    let broken = pieces(&content(3 * MIB)).chain(end);
    let put = uploader.put_stream("b", "k", broken);
    let error = server.runtime.block_on(put.into_future()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Source, "{error}");
    assert_eq!(fs::read_dir(world.path("spool")).unwrap().count(), 0);
    assert_eq!(server.runtime.block_on(uploader.unfinished()).unwrap(), []);
    let require = builder(&server, &world).require_resume();
    let put = require.build().unwrap();
    let put = put.put_stream("b", "k", pieces(&content(3 * MIB)));
    let done = server.runtime.block_on(put.into_future());
    assert_eq!(done.unwrap().size, 3 * MIB as u64);
}

/// A file of the user's in the spool directory is uploaded like any other: it keeps its name, and stays.
#[test]
fn a_file_of_somebody_elses() {
    let server = Server::new();
    let world = World::new();
    let file = world.file("spool/mine.spool", &content(300));
    let policy = PutPolicy::for_key("b", "k").return_body(r#"{"name":$(fname)}"#);
    server.runtime.block_on(async {
        let uploader = uploader(&server, &world);
        let done = uploader.put_file("b", "k", &file).policy(policy).await;
        let answer = format!("{:?}", done.unwrap().answer);
        assert!(answer.contains("mine.spool"), "{answer}");
        assert_eq!(fs::read(&file).unwrap(), content(300));
    });
}

/// Two jobs of one name, without a key and with the empty one, are two: each goes on with its own stream.
#[test]
fn no_key_is_not_the_empty_one() {
    let server = Server::with(HOLD);
    let world = World::new();
    let other: Vec<u8> = content(LEN).iter().map(|byte| byte ^ 1).collect();
    server.runtime.block_on(async {
        let uploader = uploader(&server, &world);
        let put = |key: Option<&str>, bytes: &[u8]| {
            let reader = Cursor::new(bytes.to_vec());
            let put = uploader.put_reader("b", key.unwrap_or_default(), reader);
            let put = put.resume_id("job 7");
            if key.is_none() { put.no_key() } else { put }
        };
        drop_half_way(&server, put(None, &content(LEN))).await;
        let faults = server.server.faults();
        faults.replace(HOLD.parse().unwrap()).unwrap();
        drop_half_way(&server, put(Some(""), &other)).await;
        no_faults(&server);
        let left = unfinished(&uploader).await;
        assert_eq!(left.len(), 2, "{left:?}");
        for upload in left {
            let done = uploader.resume(upload.id.unwrap()).await.unwrap();
            let whole = match upload.key {
                None => uploader.put_data("b", "whole", content(LEN)).await,
                Some(_) => uploader.put_data("b", "whole", other.clone()).await,
            };
            assert_eq!(done.hash, whole.unwrap().hash, "{:?}", upload.key);
        }
    });
}

/// A spool file that is shorter or longer than what was written there becomes no object: nothing else can
/// have been the stream.
#[test]
fn damaged() {
    for len in [0, LEN - 5_000_000, LEN - 1, LEN + 1] {
        let server = Server::with(HOLD);
        let world = World::new();
        server.runtime.block_on(async {
            let uploader = uploader(&server, &world);
            let put = uploader.put_reader("b", "k", Cursor::new(content(LEN)));
            drop_half_way(&server, put).await;
            no_faults(&server);
            let left = unfinished(&uploader).await;
            let path: PathBuf = left[0].source.clone().unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(len as u64).unwrap();
            let id = left[0].id.clone().unwrap();
            let error = uploader.resume(id.as_str()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Source, "{len}: {error}");
            let stored = uploader.stat("b", "k").await.unwrap_err();
            assert_eq!(stored.kind(), ErrorKind::NoSuchObject, "{len}");
            // Given again, the stream takes its place.
            let put = uploader.put_reader("b", "k", Cursor::new(content(LEN)));
            assert_eq!(put.await.unwrap().size, LEN as u64);
            assert_eq!(fs::read_dir(world.path("spool")).unwrap().count(), 0);
        });
    }
}

/// A directory that cannot be written is this machine's trouble, not the stream's, and what to mend is said.
#[test]
fn no_directory() {
    let server = Server::new();
    let world = World::new();
    world.file("spool", b"a file");
    server.runtime.block_on(async {
        let uploader = uploader(&server, &world);
        let put = uploader.put_reader("b", "k", Cursor::new(content(LEN)));
        let error = put.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Local, "{error}");
        let next = error.next_step().unwrap();
        assert!(next.contains("`spool_dir`"), "{next}");
    });
}
