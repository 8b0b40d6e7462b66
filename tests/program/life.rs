//! The library in a service: uploads with names of their own, and what is left of uploads.

use std::future::{Future, IntoFuture};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use haul::devserver::{FaultPlan, Operation};
use haul::kodo::Etag;
use haul::{Aborted, Done, Error, ErrorKind, Event, Protocol, Put};
use haul::{SourceState, Unfinished, Uploader};

use crate::world::{PATIENCE, Server, World, content};

/// Three lanes, the last one short.
pub(crate) const LEN: usize = (9 << 20) + 77;

/// What a commit weighs: a list of receipts.
pub(crate) const COMMIT_LEN_MAX: u64 = 4096;

pub(crate) fn uploader(server: &Server, world: &World, protocol: Protocol) -> Uploader {
    let keys = server.server.credentials();
    Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.server.url())
        .state_dir(world.path("state"))
        .protocol(protocol)
        .build()
        .unwrap()
}

/// Waits until `is_so`, as long as patience lasts.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            // A pause between two looks, so that those who are waited for get the processor.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "waited in vain: {what}");
}

/// What `uploader` has unfinished, once nothing is under way any more.
pub(crate) async fn unfinished(uploader: &Uploader) -> Vec<Unfinished> {
    let is_quiet = async || {
        let left = uploader.unfinished().await.unwrap();
        left.iter().all(|upload| !upload.is_held)
    };
    until("nothing is held", is_quiet).await;
    uploader.unfinished().await.unwrap()
}

/// Runs `put` until two answers are held and something is safe, then drops it.
pub(crate) async fn drop_half_way(server: &Server, put: Put) {
    let faults = server.server.faults();
    let watched = watched(put);
    let is_half_way =
        async || faults.held("h") >= 2 && watched.safe_bytes.load(Ordering::Relaxed) > 0;
    tokio::select! {
        ended = watched.upload => panic!("it ended: {ended:?}"),
        () = until("answers are held", is_half_way) => {}
    }
    faults.release("h");
}

/// How a job comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    SameName,
    OtherName,
    NoName,
    ById,
}

/// Holds all but the first answers, so that something is safe and something is in flight.
pub(crate) const HOLD: &str = "[[fault]]\noperation = [\"mkblk\", \"bput\"]\nfrom = 3\nhold = \"h\"\n\
                    [[fault]]\noperation = \"part\"\nnth = [2, 3]\nhold = \"h\"";

/// Dropped half-way, the job comes back with its file elsewhere: by its own name, or gone on with by the
/// upload's id. (How; protocol, whether it has a key, whether it goes on with what there was.)
#[test]
fn goes_on_under_its_own_name() {
    let rows = [
        (How::SameName, Protocol::V1, true, true),
        (How::SameName, Protocol::V2, true, true),
        (How::SameName, Protocol::V2, false, true),
        (How::OtherName, Protocol::V2, true, false),
        (How::NoName, Protocol::V1, true, false),
        (How::ById, Protocol::V1, true, true),
        (How::ById, Protocol::V2, false, true),
    ];
    for (how, protocol, has_key, goes_on) in rows {
        let story = format!("{how:?} {protocol:?} {has_key}");
        let server = Server::with(HOLD);
        let world = World::new();
        let file = world.file("spool/1", &content(LEN));
        let put = |uploader: &Uploader, path: &Path, name: Option<&str>| {
            let put = uploader.put_file("b", "k", path).mime_type("text/x-job");
            let put = if has_key { put } else { put.no_key() };
            name.into_iter().fold(put, Put::resume_id)
        };
        server.runtime.block_on(async {
            let first = uploader(&server, &world, protocol);
            drop_half_way(&server, put(&first, file.as_ref(), Some("job 7"))).await;
            server
                .server
                .faults()
                .replace(FaultPlan::default())
                .unwrap();
            drop(first);

            let second = uploader(&server, &world, protocol);
            let left = only(&unfinished(&second).await, has_key, &story);
            let before = server.body_bytes();
            let name = match how {
                How::SameName => Some("job 7"),
                How::OtherName => Some("job 8"),
                How::NoName | How::ById => None,
            };
            let put = match how {
                How::ById => second.resume(left.id.unwrap()),
                _ => {
                    let moved = world.path("spool/2");
                    std::fs::rename(&file, &moved).unwrap();
                    put(&second, &moved, name)
                }
            };
            let done = put.await.unwrap_or_else(|error| panic!("{story}: {error}"));
            let resumed = if goes_on { left.safe_bytes } else { 0 };
            assert_eq!(done.resumed_bytes, resumed, "{story}");
            let went = server.body_bytes() - before;
            assert!(
                went <= LEN as u64 - resumed + COMMIT_LEN_MAX,
                "{story}: {went}"
            );
            assert_eq!(done.hash, Etag::of(&content(LEN)).to_string(), "{story}");
            let stat = second.stat("b", done.key.unwrap()).await.unwrap();
            assert_eq!(stat.mime_type, "text/x-job", "{story}");
            let rest = unfinished(&second).await;
            assert_eq!(rest.len(), usize::from(!goes_on), "{story}: {rest:?}");
        });
    }
}

/// The one upload that is left: it was half-way, and is told of as it was begun.
#[track_caller]
fn only(left: &[Unfinished], has_key: bool, story: &str) -> Unfinished {
    let [left] = left else {
        panic!("{story}: {left:?}");
    };
    assert_eq!(left.resume_id.as_deref(), Some("job 7"), "{story}");
    assert_eq!(left.key.as_deref(), has_key.then_some("k"), "{story}");
    assert_eq!(
        (left.size, left.source_state),
        (LEN as u64, SourceState::Unchanged)
    );
    assert!(
        left.safe_bytes > 0 && left.expires.is_some(),
        "{story}: {left:?}"
    );
    left.clone()
}

/// What one says goes before what was remembered; what one does not say is as it was. Too much to be
/// remembered must be said again.
#[test]
fn what_was_said_is_said_again() {
    let long = "x".repeat(6000);
    // The variables' length, what is said on resuming, the type and the metadata that are stored; none
    // where it is refused.
    type Row<'a> = (&'a str, fn(Put) -> Put, Option<(&'a str, &'a str)>);
    let rows: [Row<'_>; 4] = [
        ("1", |put| put, Some(("text/x-job", "red"))),
        (
            "1",
            |put| put.mime_type("text/x-new"),
            Some(("text/x-new", "red")),
        ),
        (
            "1",
            |put| put.meta("color", "blue"),
            Some(("text/x-job", "blue")),
        ),
        (long.as_str(), |put| put, None),
    ];
    for (var, say, expected) in rows {
        let server = Server::with(HOLD);
        let world = World::new();
        let file = world.file("f", &content(LEN));
        server.runtime.block_on(async {
            let uploader = uploader(&server, &world, Protocol::V2);
            let put = uploader.put_file("b", "k", &file).var("number", var);
            let put = put.mime_type("text/x-job").meta("color", "red");
            drop_half_way(&server, put).await;
            let left = unfinished(&uploader).await;
            let resumed = say(uploader.resume(left[0].id.clone().unwrap())).await;
            let Some((mime_type, color)) = expected else {
                assert_eq!(resumed.unwrap_err().kind(), ErrorKind::Usage);
                return;
            };
            resumed.unwrap();
            let stat = uploader.stat("b", "k").await.unwrap();
            assert_eq!(stat.mime_type, mime_type);
            let metadata = format!("{:?}", stat.metadata);
            assert!(metadata.contains(color), "{metadata}");
        });
    }
}

/// What may be moved to another task and outlive its caller.
fn send_and_static<T: Send + 'static>(_: T) {}

/// Every call may run in a task of its own.
#[test]
fn futures_may_be_spawned() {
    let (server, world) = (Server::new(), World::new());
    let uploader = uploader(&server, &world, Protocol::Auto);
    let one = uploader.clone();
    send_and_static(async move { one.unfinished().await });
    let one = uploader.clone();
    send_and_static(async move { one.abort("a").await });
    let one = uploader.clone();
    send_and_static(async move { one.shutdown(PATIENCE).await });
    send_and_static(uploader.resume("a").into_future());
}

/// What is no name is refused before anything is sent; so is what nobody remembers.
#[test]
fn wrong_names() {
    let server = Server::new();
    let world = World::new();
    let file = world.file("f", b"hello");
    let with = uploader(&server, &world, Protocol::Auto);
    let keys = server.server.credentials();
    let without = Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.server.url())
        .build()
        .unwrap();
    let long = "x".repeat(257);
    server.runtime.block_on(async {
        for name in ["", "a\nb", long.as_str()] {
            let put = with.put_file("b", "k", &file).resume_id(name);
            assert_eq!(put.await.unwrap_err().kind(), ErrorKind::Usage, "{name:?}");
        }
        for (uploader, kind) in [(&with, ErrorKind::Usage), (&without, ErrorKind::Config)] {
            assert_eq!(uploader.unfinished().await.unwrap(), []);
            assert_eq!(uploader.resume("ab").await.unwrap_err().kind(), kind);
            assert_eq!(uploader.abort("ab").await.unwrap_err().kind(), kind);
        }
    });
    assert!(server.server.requests().operations.is_empty());
}

/// An upload under way, and how far it has told that it is safe.
pub(crate) struct Watched {
    pub(crate) upload: Pin<Box<dyn Future<Output = Result<Done, Error>> + Send>>,
    pub(crate) safe_bytes: Arc<AtomicU64>,
}

pub(crate) fn watched(put: Put) -> Watched {
    let safe_bytes = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&safe_bytes);
    let put = put.on_event(move |event| {
        if let Event::Progress { safe_bytes, .. } = event {
            told.store(*safe_bytes, Ordering::Relaxed);
        }
    });
    Watched {
        upload: put.into_future(),
        safe_bytes,
    }
}

/// How an upload id is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lost {
    Aborted,
    StartedOver,
    /// Nothing remembers an upload of bytes in memory.
    InMemory,
}

/// How it is given back.
#[derive(Clone, Copy, Debug)]
enum Back {
    NextUpload,
    Listing,
    Program,
}

/// The first abort is refused.
const REFUSE: &str = "[[fault]]\noperation = \"abort\"\nnth = 1\nanswer = { status = 503 }\n";

/// An upload id that cannot be given back is remembered, and given back beside the next upload, by the
/// listing of uploads, or by the program.
#[test]
fn orphans_are_given_back() {
    for (lost, back) in [
        (Lost::Aborted, Back::NextUpload),
        (Lost::Aborted, Back::Listing),
        (Lost::Aborted, Back::Program),
        (Lost::StartedOver, Back::NextUpload),
        (Lost::InMemory, Back::NextUpload),
    ] {
        let story = format!("{lost:?} {back:?}");
        let refused = u64::from(lost != Lost::InMemory);
        let server = match lost {
            Lost::InMemory => Server::with(HOLD),
            _ => Server::with(&format!("{REFUSE}{HOLD}")),
        };
        let world = World::beside(&server);
        let state = world.path("state");
        let world = world.set("HAUL_STATE_DIR", state.to_str().unwrap());
        let orphans = || std::fs::read_dir(state.join("orphans")).map_or(0, Iterator::count);
        let aborts = || server.server.requests().of(Operation::Abort).requests;
        server.runtime.block_on(lose(&server, &world, lost));
        server
            .runtime
            .block_on(until("it is remembered", async || orphans() == 1));
        assert_eq!(aborts(), refused, "{story}");
        let next = uploader(&server, &world, Protocol::V2);
        match back {
            Back::NextUpload => {
                let put = next.put_data("b", "next", "hello");
                server.runtime.block_on(put.into_future()).unwrap();
            }
            Back::Listing => {
                let left = server.runtime.block_on(next.unfinished()).unwrap();
                assert_eq!(left, []);
            }
            Back::Program => clean(&world),
        }
        assert_eq!((orphans(), aborts()), (0, refused + 1), "{story}");
    }
}

/// Begins a v2 upload and loses its upload id; the service does not take it back.
async fn lose(server: &Server, world: &World, lost: Lost) {
    let file = world.file("f", &content(LEN));
    let first = uploader(server, world, Protocol::V2);
    let put = match lost {
        Lost::InMemory => first.put_data("b", "k", content(LEN)),
        _ => first.put_file("b", "k", &file),
    };
    drop_half_way(server, put).await;
    match lost {
        Lost::Aborted => {
            let left = unfinished(&first).await;
            let aborted = first.abort(left[0].id.clone().unwrap()).await;
            assert_eq!(aborted.unwrap(), Aborted::Later);
        }
        Lost::InMemory => {}
        Lost::StartedOver => {
            // A part that the list has as well is refused for ever: everything goes again, once.
            let refused = "[[fault]]\noperation = \"complete\"\nanswer = { status = 400 }";
            let plan = format!("{REFUSE}{refused}").parse().unwrap();
            server.server.faults().replace(plan).unwrap();
            first.put_file("b", "k", &file).await.unwrap_err();
        }
    }
}

/// The program tells of the orphan, and gives it back.
#[track_caller]
fn clean(world: &World) {
    let listed = world.run(&["uploads"]);
    listed.expect(0, &["1 upload ids wait", "haul uploads clean"]);
    let cleaned = world.run(&["uploads", "clean", "--json"]);
    let cleaned = cleaned.expect(0, &[]).last_json();
    assert_eq!(
        (&cleaned["given_back"], &cleaned["left"]),
        (&1.into(), &0.into())
    );
    let again = world.run(&["uploads", "clean"]);
    again.expect(0, &["nothing to clean"]);
}

/// Whoever listens panics, at one event or another: he is told no more, and the upload is done.
#[test]
fn a_listener_that_panics() {
    let is_started: fn(&Event) -> bool = |event| matches!(event, Event::Started { .. });
    let is_safe: fn(&Event) -> bool = |event| match event {
        Event::Progress { safe_bytes, .. } => *safe_bytes > 0,
        _ => false,
    };
    let is_attempt: fn(&Event) -> bool = |event| matches!(event, Event::Attempt(_));
    for (moment, protocol) in [
        (is_started, Protocol::V1),
        (is_safe, Protocol::V1),
        (is_safe, Protocol::V2),
        (is_attempt, Protocol::V2),
    ] {
        let server = Server::new();
        let world = World::new();
        let file = world.file("f", &content(LEN));
        let panics = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&panics);
        let put = uploader(&server, &world, protocol)
            .put_file("b", "k", &file)
            .on_event(move |event| {
                // Poisoned by the first panic, it would panic again, were it called again.
                let mut counted = counted.lock().unwrap();
                if moment(event) {
                    *counted += 1;
                    panic!("as the test wants it");
                }
            });
        let done = server.runtime.block_on(put.into_future()).unwrap();
        assert_eq!((done.size, done.resent_bytes), (LEN as u64, 0));
        assert_eq!(*panics.lock().unwrap_err().into_inner(), 1);
    }
}
