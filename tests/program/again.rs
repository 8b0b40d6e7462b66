//! What an upload that is gone on with makes of its object: what the first call asked for, or a clear no.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};

use haul::devserver::FaultPlan;
use haul::kodo::Etag;
use haul::{ErrorKind, Event, Protocol, Put, PutPolicy, Uploader};

use crate::life::{HOLD, LEN, drop_half_way, unfinished, uploader};
use crate::world::{PATIENCE, Server, World, content};

/// A policy whose answer shows what the service was told of the file's name.
fn policy() -> PutPolicy {
    PutPolicy::for_key("b", "k").return_body(r#"{"name":$(fname),"job":$(x:job)}"#)
}

/// Metadata and variables, type and time: what is not said again is as it was, or the upload is refused
/// before anything is stored. (Story; what is said at first, and when it goes on; whether it does.)
#[test]
fn nothing_said_is_lost() {
    type Say = fn(Put) -> Put;
    let rows: [(&str, Say, Say, bool); 8] = [
        ("time", Put::keep_last_modified, |put| put, true),
        ("policy", |put| put.policy(policy()), |put| put, false),
        (
            "policy again",
            |put| put.policy(policy()).var("job", "7"),
            |put| put.policy(policy()),
            true,
        ),
        ("token", |put| put, |put| put, false),
        (
            "long variables",
            |put| long(put).mime_type("text/x-job").meta("color", "red"),
            long,
            true,
        ),
        ("long variables, not again", long, |put| put, false),
        (
            "long name",
            |put| put.file_name("x".repeat(6000)).mime_type("text/x-job"),
            |put| put.file_name("x".repeat(6000)),
            false,
        ),
        (
            "long name again",
            |put| put.file_name("x".repeat(6000)).mime_type("text/x-job"),
            |put| put.file_name("x".repeat(6000)).mime_type("text/x-job"),
            true,
        ),
    ];
    for (story, say, say_again, goes_on) in rows {
        let server = Server::with(HOLD);
        let token = server.token("k", |_| ());
        let with_token = |put: Put| match story {
            "token" => put.upload_token(&token),
            _ => put,
        };
        let world = World::new();
        let file = world.file("f", &content(LEN));
        server.runtime.block_on(async {
            let uploader = uploader(&server, &world, Protocol::V2);
            let first = with_token(say(uploader.put_file("b", "k", &file)));
            drop_half_way(&server, first).await;
            no_faults(&server);
            let left = unfinished(&uploader).await;
            let resumed = say_again(uploader.resume(left[0].id.clone().unwrap())).await;
            let stored = uploader.stat("b", "k").await;
            if !goes_on {
                let error = resumed.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Usage, "{story}: {error}");
                assert!(error.next_step().is_some(), "{story}: {error}");
                assert_eq!(stored.unwrap_err().kind(), ErrorKind::NoSuchObject);
                assert_eq!(unfinished(&uploader).await, left, "{story}");
                return;
            }
            let (resumed, stored) = (resumed.unwrap(), stored.unwrap());
            let whole = say(uploader.put_file("b", "k", &file)).await.unwrap();
            let wanted = uploader.stat("b", "k").await.unwrap();
            assert_eq!(resumed.answer, whole.answer, "{story}");
            assert_eq!(stored.mime_type, wanted.mime_type, "{story}");
            assert_eq!(stored.metadata, wanted.metadata, "{story}");
        });
    }
}

fn long(put: Put) -> Put {
    put.var("long", "x".repeat(6000))
}

pub(crate) fn no_faults(server: &Server) {
    let faults = server.server.faults();
    faults.replace(FaultPlan::default()).unwrap();
}

/// The name that a link has is the file's name, also when the upload goes on from where the link led.
#[cfg(unix)]
#[test]
fn a_link_keeps_its_name() {
    let server = Server::with(HOLD);
    let world = World::new();
    let file = world.file("blobs/7f3a", &content(LEN));
    let link = world.path("report.pdf");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    server.runtime.block_on(async {
        let uploader = uploader(&server, &world, Protocol::V2);
        drop_half_way(&server, uploader.put_file("b", "k", &link).policy(policy())).await;
        no_faults(&server);
        let left = unfinished(&uploader).await;
        let resumed = uploader.resume(left[0].id.clone().unwrap());
        let done = resumed.policy(policy()).await.unwrap();
        let answer = format!("{:?}", done.answer);
        assert!(answer.contains("report.pdf"), "{answer}");
    });
}

/// How an upload goes on.
#[derive(Clone, Copy, Debug)]
enum How {
    ById,
    ByPath,
}

/// A file that has another size by now becomes an object as it is now, and that is said; by its id as by
/// its path.
#[test]
fn another_size() {
    for how in [How::ById, How::ByPath] {
        for (protocol, len) in [
            (Protocol::V1, LEN + 5_000_000),
            (Protocol::V1, LEN - 5_000_000),
            (Protocol::V2, LEN + 5_000_000),
            (Protocol::V2, LEN - 5_000_000),
            (Protocol::V2, 100),
            (Protocol::V1, 0),
        ] {
            let story = format!("{how:?} {protocol:?} {len}");
            let server = Server::with(HOLD);
            let world = World::new();
            let file = world.file("f", &content(LEN));
            server.runtime.block_on(async {
                let uploader: Uploader = uploader(&server, &world, protocol);
                drop_half_way(&server, uploader.put_file("b", "k", &file)).await;
                no_faults(&server);
                let left = unfinished(&uploader).await;
                world.file("f", &content(len));
                let put = match how {
                    How::ById => uploader.resume(left[0].id.clone().unwrap()),
                    How::ByPath => uploader.put_file("b", "k", &file),
                };
                let notices = Arc::new(Mutex::new(Vec::new()));
                let heard = Arc::clone(&notices);
                let put = put.on_event(move |event| {
                    if let Event::Notice(notice) = event {
                        heard.lock().unwrap().push(notice.clone());
                    }
                });
                let done = put.into_future().await;
                let done = done.unwrap_or_else(|error| panic!("{story}: {error}"));
                assert_eq!(done.size, len as u64, "{story}");
                if matches!(protocol, Protocol::V1) {
                    assert_eq!(done.hash, Etag::of(&content(len)), "{story}");
                }
                let said = format!("the source went from {LEN} to {len} bytes");
                let notices = notices.lock().unwrap().clone();
                let is_said = notices.iter().any(|notice| notice.contains(&said));
                assert!(is_said, "{story}: {notices:?}");
            });
        }
    }
}

/// Streams whose parts are no blocks, since v2 stands in for v1, share the least memory there may be: none
/// waits for the other for ever.
#[test]
fn streams_share_memory() {
    for part_len in [3 << 20, 4 << 20] {
        let server = Server::new();
        let keys = server.server.credentials();
        let uploader = Uploader::builder()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .endpoint(server.server.url())
            .stream_memory(8 << 20)
            .part_size(part_len)
            .build()
            .unwrap();
        server.runtime.block_on(async {
            let put = |len| {
                let reader = std::io::Cursor::new(content(len));
                uploader.put_reader("b", "k", reader).no_key().into_future()
            };
            let both = async { tokio::join!(put(13 << 20), put(14 << 20)) };
            let both = tokio::time::timeout(PATIENCE, both).await;
            let (first, second) = both.expect("they share");
            let sizes = [first.unwrap().size, second.unwrap().size];
            assert_eq!(sizes, [13 << 20, 14 << 20]);
        });
    }
}

/// An upload to hosts of its own goes on by its id where these are named again.
#[test]
fn hosts_of_its_own() {
    let server = Server::with(HOLD);
    let world = World::new();
    let file = world.file("f", &content(LEN));
    let own = server.server.url().replace("127.0.0.1", "localhost");
    server.runtime.block_on(async {
        let uploader = uploader(&server, &world, Protocol::V1);
        let put = uploader.put_file("b", "k", &file).endpoint(own.as_str());
        drop_half_way(&server, put).await;
        no_faults(&server);
        assert_eq!(unfinished(&uploader).await, []);
        let journals = std::fs::read_dir(world.path("state/uploads")).unwrap();
        let names = journals.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let id = names.filter_map(|name| Some(name.strip_suffix(".journal")?.to_owned()));
        let id = id.last().unwrap();
        let resume = || uploader.resume(id.as_str());
        let mut done = resume().endpoint(own.as_str()).await;
        while done
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Held)
        {
            // The one that was dropped brings its last records to the disk.
            done = resume().endpoint(own.as_str()).await;
        }
        assert!(done.unwrap().resumed_bytes > 0);
        assert_eq!(resume().await.unwrap_err().kind(), ErrorKind::Usage);
    });
}
