//! What one call of the library may say, over what its uploader is set to, and what comes back.

use std::time::{Duration, SystemTime};

use haul::model::FailureKind;
use haul::{Done, Error, ErrorKind, Etag, Protocol, Put, PutPolicy, Uploader, Verified};

use crate::world::{Server, World, content};

fn uploader(server: &Server) -> Uploader {
    let keys = server.server.credentials();
    Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.server.url())
        .retry_budget(Duration::from_secs(10))
        .build()
        .unwrap()
}

fn run(server: &Server, put: Put) -> Result<Done, Error> {
    server.runtime.block_on(put.into_future())
}

/// What a service hands from task to task, and keeps.
#[test]
fn all_of_it_travels() {
    fn travels<T: Send + Sync + 'static>() {}
    fn is_sent<T: Send + 'static>(_: T) {}
    travels::<Done>();
    travels::<Error>();
    travels::<Put>();
    travels::<PutPolicy>();
    travels::<Uploader>();
    travels::<haul::Event>();
    travels::<haul::Report>();
    travels::<haul::UploadToken>();
    travels::<haul::Stop>();
    let uploader = Uploader::builder().credentials("a", "s").build().unwrap();
    is_sent(uploader.put_file("b", "k", "f").into_future());
    is_sent(uploader.put_data("b", "k", "x").into_future());
    // The others borrow their uploader; moved along with it, they are sent as well.
    is_sent(async move {
        uploader.stat("b", "k").await?;
        uploader.list("b", "", None).await?;
        uploader.delete("b", "k").await
    });
}

/// What one of thousands that wait for their turn takes, from the beginning to its end. The guarantees
/// allow an upload 48 KiB; the rest of it is its request under way, and what it remembers.
#[test]
fn a_future_is_small() {
    const FUTURE_BYTES_MAX: usize = 24 << 10;
    let uploader = Uploader::builder().credentials("a", "s").build().unwrap();
    // All calls are of one type.
    let put = uploader.put_data("b", "k", "x").into_future();
    let bytes = size_of_val(&*put);
    assert!(bytes <= FUTURE_BYTES_MAX, "{bytes}");
}

/// Each value that cannot be is refused before anything is sent, with the words of the builder.
#[test]
fn values_that_cannot_be() {
    let server = Server::new();
    let ready = server.token("k", |_| ());
    type Say<'a> = Box<dyn Fn(Put) -> Put + 'a>;
    let rows: [(Say<'_>, ErrorKind, &str); 11] = [
        (Box::new(|it| it.window(17)), ErrorKind::Config, "17 lanes"),
        (
            Box::new(|it| it.part_size(1)),
            ErrorKind::Config,
            "a part of 1 bytes",
        ),
        (
            Box::new(|it| it.stall_timeout(Duration::from_millis(999))),
            ErrorKind::Config,
            "a stall_timeout of 999ms is too short: it must be at least 1s",
        ),
        (
            Box::new(|it| it.retry_budget(Duration::ZERO)),
            ErrorKind::Config,
            "retry_budget of 0ns",
        ),
        (
            Box::new(|it| it.endpoint("ftp://x")),
            ErrorKind::Config,
            "ftp://x",
        ),
        (
            Box::new(|it| it.upload_token("none")),
            ErrorKind::Config,
            "upload token",
        ),
        (
            Box::new(|it| it.policy(PutPolicy::for_key("b", "other"))),
            ErrorKind::Forbidden,
            "the put policy is for `b:other`, and the upload names `k`",
        ),
        (
            Box::new(|it| it.policy(PutPolicy::for_bucket("c"))),
            ErrorKind::Config,
            "the put policy is for bucket `c`, and the destination is in `b`",
        ),
        (
            Box::new(|it| it.policy(PutPolicy::for_bucket("b").callback_url("http://c"))),
            ErrorKind::Usage,
            "`callbackBody` is required",
        ),
        (
            Box::new(|it| it.policy(PutPolicy::for_key("b", "k")).upload_token(&ready)),
            ErrorKind::Config,
            "a token that somebody else signed",
        ),
        (
            Box::new(|it| it.mime_type("")),
            ErrorKind::Usage,
            "no mime type",
        ),
    ];
    let uploader = uploader(&server);
    for (say, kind, expected) in rows {
        let error = run(&server, say(uploader.put_data("b", "k", "x"))).expect_err(expected);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(server.body_bytes(), 0);
    let tokenless = Uploader::builder().upload_token(&ready).build().unwrap();
    let put = tokenless.put_data("b", "k", "x");
    let error = run(&server, put.policy(PutPolicy::for_key("b", "k"))).unwrap_err();
    assert!(error.to_string().contains("there are no keys"), "{error}");
}

/// An uploader that goes nowhere and knows nobody; the call says all: host, token, protocol, sizes.
#[test]
fn a_call_says_it_all() {
    let server = Server::new();
    let nowhere = Uploader::builder()
        .credentials("somebody", "else")
        .endpoint("http://127.0.0.1:9")
        .protocol(Protocol::V1)
        .part_size(8 << 20)
        .build()
        .unwrap();
    let put = nowhere
        .put_data("b", "k", content(5 << 20))
        .endpoint(server.server.url())
        .upload_token(server.token("k", |_| ()))
        .protocol(Protocol::V2)
        .threshold(0)
        .part_size(1 << 20)
        .window(3)
        .min_rate(0)
        .part_attempts(3)
        .stall_timeout(Duration::from_secs(20))
        .response_timeout(Duration::from_secs(20))
        .commit_timeout(Duration::from_secs(20))
        .part_timeout(Duration::from_secs(50))
        .retry_budget(Duration::from_secs(20));
    let done = run(&server, put).unwrap();
    let report = &done.report;
    assert_eq!((report.protocol, report.lane_bytes), ("v2", 1 << 20));
    assert_eq!(report.hosts, [server.server.url()]);
    assert_eq!((report.attempts, report.failed_attempts), (7, 0));
    let lanes: Vec<Etag> = content(5 << 20).chunks(1 << 20).map(Etag::of).collect();
    assert_eq!(report.lane_hashes, lanes);
    assert_eq!(report.hash_of_lanes(done.size), done.hash);
}

/// However it went, the lanes' hashes make the object's, and the report can be kept as JSON.
#[test]
fn reports() {
    let plan = "[[fault]]\noperation = \"mkblk\"\nnth = 1\nanswer = { status = 503 }";
    let server = Server::with(plan);
    let uploader = uploader(&server);
    let rows = [
        (100, Protocol::Auto, "form", 1, 0),
        (0, Protocol::V2, "form", 1, 0),
        (9 << 20, Protocol::V1, "v1", 3, 1),
        (9 << 20, Protocol::V2, "v2", 3, 0),
    ];
    for (len, protocol, name, lanes, failed) in rows {
        let data = content(len);
        let hash = Etag::of(&data);
        let put = uploader.put_data("b", "k", data).protocol(protocol);
        let done = run(&server, put).unwrap();
        let report = &done.report;
        assert_eq!((report.protocol, report.lane_hashes.len()), (name, lanes));
        assert_eq!(done.hash, hash, "{name}");
        assert_eq!(report.hash_of_lanes(done.size), hash, "{name}");
        assert_eq!(report.failed_attempts, failed, "{report:?}");
        assert!(report.attempts > failed, "{report:?}");
        let kept = serde_json::to_value(&done).unwrap();
        assert_eq!(kept["hash"], hash.to_string());
        assert_eq!(kept["verified"], "object");
        assert_eq!(
            kept["report"]["lane_hashes"].as_array().unwrap().len(),
            lanes
        );
        assert!(kept["report"]["began_unix_s"].as_u64() > Some(1_600_000_000));
    }
}

/// What the policy of one upload does, in every way to travel: its answer, the object's name, its
/// limits, and that nothing is replaced.
#[test]
fn policies() {
    let server = Server::new();
    let uploader = uploader(&server);
    for (protocol, threshold) in [
        (Protocol::Auto, 1 << 30),
        (Protocol::V1, 0),
        (Protocol::V2, 0),
    ] {
        let put = |key: &str, text: &'static str| {
            let put = uploader.put_data("b", key, text);
            put.protocol(protocol).threshold(threshold)
        };
        let policy = PutPolicy::for_prefix("b", "p/").return_body(r#"{"k":$(key),"v":$(x:a)}"#);
        let key = format!("p/{protocol:?}");
        let done = run(
            &server,
            put(&key, "one").var("a", "1").policy(policy.clone()),
        )
        .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&done.answer.unwrap()).unwrap();
        assert_eq!(answer["k"], key, "{protocol:?}");
        assert_eq!(answer["v"], "1", "{protocol:?}");
        assert_eq!(done.verified, Verified::Parts);

        let again = run(&server, put(&key, "another").insert_only().policy(policy));
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Exists, "{protocol:?}");

        let small = PutPolicy::for_bucket("b").insert_only().fsize_limit(3);
        let error = run(&server, put("large", "1234").policy(small)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{protocol:?} {error}");
        assert!(!error.is_retryable() && !error.needs_new_token());
        assert_eq!(error.status(), Some(413));
        assert!(error.request_id().is_some());
        assert!(
            error.explain().starts_with("error: could not"),
            "{}",
            error.explain()
        );

        let nobody = PutPolicy::for_bucket("b").insert_only();
        let nobody = nobody
            .callback_url("http://127.0.0.1:1/")
            .callback_body("k=$(key)");
        let key = format!("called {protocol:?}");
        let error = run(&server, put(&key, "x").policy(nobody)).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::CallbackFailed,
            "{protocol:?} {error}"
        );
        assert!(!error.is_retryable());
        server.runtime.block_on(uploader.stat("b", key)).unwrap();

        let named = PutPolicy::for_prefix("b", "the").force_save_key("theirs");
        let done = run(&server, put("mine", "x").policy(named)).unwrap();
        assert_eq!(done.key.as_deref(), Some("theirs"), "{protocol:?}");
    }
}

/// The empty key is a key in every way that is taken unasked, and no key is another thing.
#[test]
fn the_empty_key() {
    let server = Server::new();
    let uploader = uploader(&server);
    for (len, protocol) in [(10, "form"), (3 << 20, "v2")] {
        let done = run(&server, uploader.put_data("b", "", content(len))).unwrap();
        assert_eq!(done.key.as_deref(), Some(""));
        assert_eq!(done.report.protocol, protocol);
        let stat = server.runtime.block_on(uploader.stat("b", "")).unwrap();
        assert_eq!(stat.size, len as u64);
    }
    let done = run(&server, uploader.put_data("b", "", "x").no_key()).unwrap();
    assert_eq!(done.key, Some(done.hash.to_string()));
}

/// The file's time of change goes with the object, in every way to travel; bytes have none.
#[test]
fn last_modified() {
    let server = Server::new();
    let world = World::new();
    let uploader = uploader(&server);
    let path = world.file("f", &content(2 << 20));
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(784_111_777, 5);
    file.set_modified(time).unwrap();
    for (protocol, threshold) in [
        (Protocol::Auto, 1 << 30),
        (Protocol::V1, 0),
        (Protocol::V2, 0),
    ] {
        let put = uploader.put_file("b", "k", &path).keep_last_modified();
        run(&server, put.protocol(protocol).threshold(threshold)).unwrap();
        let stat = server.runtime.block_on(uploader.stat("b", "k")).unwrap();
        assert_eq!(
            stat.metadata.get("!last-modified").map(String::as_str),
            Some("Sun, 06 Nov 1994 08:49:37 GMT"),
            "{protocol:?} {:?}",
            stat.metadata
        );
    }
    let put = uploader.put_data("b", "k", "x").keep_last_modified();
    run(&server, put).unwrap();
    let stat = server.runtime.block_on(uploader.stat("b", "k")).unwrap();
    assert!(stat.metadata.is_empty());
}

/// A file that changes under the upload is told from one that is not there.
#[test]
fn sources() {
    let server = Server::with("[[fault]]\noperation = \"mkblk\"\nhold = \"h\"");
    let world = World::new();
    let uploader = uploader(&server);
    let missing = run(&server, uploader.put_file("b", "k", world.path("none"))).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Source);
    assert!(!missing.is_retryable());
    let path = world.file("f", &content(2 << 20));
    let put = uploader.put_file("b", "k", &path).into_future();
    let task = server.runtime.spawn(put);
    server.until_held("h");
    world.file("f", &content(1 << 20));
    server.server.faults().release("h");
    let changed = server.runtime.block_on(task).unwrap().unwrap_err();
    assert_eq!(changed.kind(), ErrorKind::SourceChanged, "{changed}");
    assert_eq!(changed.failure().unwrap().kind, FailureKind::SourceChanged);
    assert!(changed.is_retryable());
}
