//! The library in a service that is redeployed: uploads with names of their own, a shutdown, and what
//! is left of both.

use std::future::{Future, IntoFuture};
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use haul::devserver::FaultPlan;
use haul::kodo::Etag;
use haul::{Done, Error, ErrorKind, Event, Protocol, Put};
use haul::{SourceState, Unfinished, Uploader};

use crate::world::{PATIENCE, Server, World, content};

/// Three lanes, the last one short.
pub(crate) const LEN: usize = (9 << 20) + 77;

/// What a commit weighs: a list of receipts.
const COMMIT_LEN_MAX: u64 = 4096;

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
            tokio::task::yield_now().await;
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
    type Say = fn(Put) -> Put;
    type Row<'a> = (&'a str, Say, Option<(&'a str, &'a str)>);
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
struct Watched {
    upload: Pin<Box<dyn Future<Output = Result<Done, Error>> + Send>>,
    safe_bytes: Arc<AtomicU64>,
}

fn watched(put: Put) -> Watched {
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

/// Five uploads are under way when the service is redeployed: what is in flight is acknowledged, nothing
/// more is begun; the next process lists them and goes on with each, and nothing acknowledged is sent
/// again.
#[test]
fn a_shutdown_in_the_middle_of_five() {
    for protocol in [Protocol::V1, Protocol::V2] {
        let server = Server::new();
        let world = World::new();
        server.runtime.block_on(async {
            let first = uploader(&server, &world, protocol);
            first.set_limit_rate(Some(12 << 20)).unwrap();
            let begin = |number: usize| {
                let content: Vec<u8> = content(LEN)
                    .iter()
                    .map(|byte| byte ^ number as u8)
                    .collect();
                let file = world.file(&format!("f{number}"), &content);
                watched(first.put_file("b", format!("k{number}"), file))
            };
            let uploads: Vec<Watched> = (0..5).map(begin).collect();
            let told: Vec<_> = uploads
                .iter()
                .map(|it| Arc::clone(&it.safe_bytes))
                .collect();
            let all = tokio::spawn(join_all(uploads.into_iter().map(|it| it.upload)));
            let under_way = async || told.iter().all(|it| it.load(Ordering::Relaxed) > 0);
            until("each has something safe", under_way).await;
            let left = first.clone().shutdown(PATIENCE).await;
            let ended = all.await.unwrap();
            let sent = server.body_bytes();
            let refused = first.put_data("b", "late", "x").await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ShutDown, "{refused}");
            assert_eq!(first.shutdown(PATIENCE).await, left);

            let safe_bytes: u64 = left.iter().map(|upload| upload.safe_bytes).sum();
            // Everything that went out was acknowledged, and everything acknowledged is safe.
            let done = ended.iter().filter(|it| it.is_ok()).count();
            assert_eq!(left.len() + done, 5, "{protocol:?}: {left:?} {ended:?}");
            assert!(
                !left.is_empty(),
                "{protocol:?}: the limit lets nobody finish before"
            );
            let whole = done as u64 * LEN as u64;
            let slack = done as u64 * COMMIT_LEN_MAX;
            assert!(
                sent - whole - safe_bytes <= slack,
                "{protocol:?}: {sent} {safe_bytes}"
            );
            for error in ended.into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
                assert!(left.iter().any(|it| it.safe_bytes == error.safe_bytes()));
            }

            let second = uploader(&server, &world, protocol);
            let left = by_key(left);
            assert_eq!(by_key(unfinished(&second).await), left, "{protocol:?}");
            let goes_on = left
                .iter()
                .map(|it| second.resume(it.id.clone().unwrap()).into_future());
            for (upload, done) in left.iter().zip(join_all(goes_on).await) {
                let done = done.unwrap();
                assert_eq!(done.resumed_bytes, upload.safe_bytes, "{protocol:?}");
                assert_eq!(done.key, upload.key, "{protocol:?}");
            }
            let rest = 5 * LEN as u64 - whole - safe_bytes;
            let went = server.body_bytes() - sent;
            assert!(
                went <= rest + 5 * COMMIT_LEN_MAX,
                "{protocol:?}: {went} of {rest}"
            );
            assert_eq!(second.unfinished().await.unwrap(), []);
        });
    }
}

/// What came to a listing in the same second has no order.
fn by_key(mut uploads: Vec<Unfinished>) -> Vec<Unfinished> {
    uploads.sort_by(|one, other| one.key.cmp(&other.key));
    uploads
}

/// Uploads that a shutdown meets in odd moments: what it tells of them, and how they end.
#[test]
fn a_shutdown_in_odd_moments() {
    // A commit's answer is on its way: it is waited for.
    let server = Server::with("[[fault]]\noperation = \"mkfile\"\nhold = \"h\"");
    let world = World::new();
    let file = world.file("f", &content(LEN));
    server.runtime.block_on(async {
        let first = uploader(&server, &world, Protocol::V1);
        let upload = tokio::spawn(first.put_file("b", "k", &file).into_future());
        server.server.faults().until_held("h").await;
        let (left, ()) = tokio::join!(first.shutdown(PATIENCE), async {
            server.server.faults().release("h");
        });
        assert_eq!(left, []);
        assert_eq!(upload.await.unwrap().unwrap().size, LEN as u64);
    });

    // Bytes in memory: named, and not remembered. And an upload that nobody polls any more.
    let server =
        Server::with("[[fault]]\noperation = [\"mkblk\", \"form\"]\nfrom = 2\nhold = \"h\"");
    server.runtime.block_on(async {
        let first = uploader(&server, &world, Protocol::V1);
        let in_memory = tokio::spawn(first.put_data("b", "data", content(LEN)).into_future());
        until("the first lane is held", async || {
            server.server.faults().held("h") > 0
        })
        .await;
        let mut still = watched(first.put_file("b", "still", &file).resume_id("job"));
        let held = until("its lanes are held", async || {
            server.server.faults().held("h") > 3
        });
        tokio::select! {
            ended = &mut still.upload => panic!("it ended: {ended:?}"),
            () = held => {}
        }
        let left = first.shutdown(Duration::from_millis(500)).await;
        let told: Vec<_> = left
            .iter()
            .map(|it| {
                (
                    it.key.as_deref().unwrap(),
                    it.resume_id.as_deref(),
                    it.source.is_some(),
                )
            })
            .collect();
        assert_eq!(told, [("data", None, false), ("still", Some("job"), true)]);
        assert_eq!((&left[0].id, left[0].size), (&None, LEN as u64));
        assert!(!left[0].is_held && left[1].is_held, "{left:?}");
        let error = in_memory.await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.safe_bytes()),
            (ErrorKind::Interrupted, 0)
        );
        let error = still.upload.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
        // Dropped futures are nobody's: there is nothing to wait for.
        let second = uploader(&server, &world, Protocol::V1);
        drop(second.put_file("b", "k", &file).into_future());
        assert_eq!(second.shutdown(PATIENCE).await, []);
    });
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
