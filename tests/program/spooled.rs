//! Streams by way of the disk, and what lies or happens there that should not.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::PathBuf;

use haul::devserver::FaultPlan;
use haul::{ErrorKind, Protocol, PutPolicy, Uploader};

use crate::life::{HOLD, LEN, drop_half_way, unfinished};
use crate::world::{Server, World, content};

fn uploader(server: &Server, world: &World) -> Uploader {
    let keys = server.server.credentials();
    Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.server.url())
        .state_dir(world.path("state"))
        .spool_dir(world.path("spool"))
        .protocol(Protocol::V2)
        .build()
        .unwrap()
}

fn no_faults(server: &Server) {
    let faults = server.server.faults();
    faults.replace(FaultPlan::default()).unwrap();
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
