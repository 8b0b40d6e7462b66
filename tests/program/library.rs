//! The library as a program uses it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use haul::kodo::{PutPolicy, Scope, UploadToken};
use haul::model::{Bucket, ObjectKey};
use haul::{Error, ErrorKind, Event, Protocol, Put, Uploader, Verified};

use crate::world::{Server, World, content};

fn uploader(server: &Server) -> Uploader {
    let keys = server.server.credentials();
    Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.server.url())
        .build()
        .unwrap()
}

/// What may be moved to another task and outlive its caller.
fn send_and_static<T: Send + 'static>(value: T) -> T {
    value
}

/// `put_file(…).…().await`, on a spawned task, with events on the way and all of `Done`.
#[test]
fn put_file() {
    let server = Server::new();
    let world = World::new();
    let path = world.file("f.bin", &content(5_000_000));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let upload: Put = uploader(&server)
        .put_file("b", "k", path)
        .mime_type("text/plain")
        .meta("color", "red")
        .var("x:who", "me")
        .file_name("other.bin")
        .on_event(move |event| hear.lock().unwrap().push(event.clone()));
    let task = async { upload.await };
    let done = server.runtime.block_on(async {
        let task = tokio::spawn(send_and_static(task));
        task.await.unwrap().unwrap()
    });
    assert_eq!(
        (done.bucket.as_str(), done.key.as_deref()),
        ("b", Some("k"))
    );
    assert_eq!(
        (done.size, done.sent_bytes, done.verified),
        (5_000_000, 5_000_000, Verified::Object)
    );
    assert!(done.request_id.is_some());
    let answer = done.answer.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains(&done.hash.to_string()));
    let heard = heard.lock().unwrap();
    assert!(matches!(
        heard[0],
        Event::Started {
            size: Some(5_000_000),
            protocol: "v1",
            resumed_bytes: 0,
        }
    ));
    let mut last = 0;
    for event in heard.iter() {
        if let Event::Progress {
            safe_bytes,
            acknowledged_bytes,
            size,
            ..
        } = event
        {
            assert!(last <= *acknowledged_bytes && safe_bytes <= acknowledged_bytes);
            assert!(Some(*acknowledged_bytes) <= *size);
            last = *acknowledged_bytes;
        }
    }
    assert_eq!(last, 5_000_000);
}

/// stat, list and delete, and the kinds of their errors.
#[test]
fn management() {
    let server = Server::new();
    let world = World::new();
    let path = world.file("f", b"hello");
    let uploader = uploader(&server);
    server.runtime.block_on(async {
        uploader.put_file("b", "k", path).await.unwrap();
        assert_eq!(uploader.stat("b", "k").await.unwrap().size, 5);
        let page = uploader.list("b", "", None).await.unwrap();
        assert_eq!((page.items.len(), page.next()), (1, None));
        uploader.delete("b", "k").await.unwrap();
        let error = uploader.stat("b", "k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSuchObject);
        assert_eq!(error.failure().unwrap().status, Some(612));
        assert!(error.failure().unwrap().request_id.is_some());
    });
}

/// Without a key and without `insert_only`, automatic is not v1: v1 would replace what is there.
#[test]
fn automatic_avoids_what_overwrites() {
    let server = Server::new();
    let world = World::new();
    let path = world.file("f", &content(2 << 20));
    let protocol_of = |put: Put| -> &'static str {
        let heard = Arc::new(Mutex::new(""));
        let hear = Arc::clone(&heard);
        let put = put.on_event(move |event| {
            if let Event::Started { protocol, .. } = event {
                *hear.lock().unwrap() = protocol;
            }
        });
        server.runtime.block_on(put.into_future()).unwrap();
        *heard.lock().unwrap()
    };
    // One that has sent nothing yet: what a line carries decides what goes by form.
    let put = |key: &str| uploader(&server).put_file("b", key, &path);
    assert_eq!(protocol_of(put("k")), "v1");
    assert_eq!(protocol_of(put("").no_key()), "v2");
    assert_eq!(protocol_of(put("").no_key().insert_only()), "v1");
}

/// Every value that cannot be is refused by `build`, and no message or `Debug` holds a secret.
#[test]
fn wrong_setups() {
    let with = || Uploader::builder().credentials("ak", "HUSH");
    let rows = [
        with().part_size(1),
        with().endpoint("ftp://x"),
        with().rs_url("http://a/b"),
        with().uc_url("http://me@a"),
        with().upload_token("HUSH"),
        Uploader::builder().credentials("a:b", "HUSH"),
        Uploader::builder().credentials("a", "HUSH HUSH"),
    ];
    for builder in rows {
        let said = format!("{builder:?}");
        let error: Error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            !format!("{said}{error}{error:?}").contains("HUSH"),
            "{said} {error}"
        );
    }
    let uploader = with().protocol(Protocol::V2).threshold(0).build().unwrap();
    assert!(!format!("{uploader:?}").contains("HUSH"));
}

/// Dropping the future stops the upload and closes its connection: the server sees the end.
#[test]
fn dropping_the_future_stops_it() {
    let server = Server::with("[[fault]]\noperation = \"mkblk\"\nhold = \"h\"");
    let world = World::new();
    let path = world.file("f", &content(2 << 20));
    let uploader = uploader(&server);
    server.runtime.block_on(async {
        let upload = uploader.put_file("b", "k", path).into_future();
        tokio::select! {
            _ = upload => panic!("the answer is held"),
            () = server.server.faults().until_held("h") => {}
        }
    });
    server.server.faults().release("h");
    let missing = server
        .runtime
        .block_on(uploader.stat("b", "k"))
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NoSuchObject);
}

/// Data in memory goes like a file: by form and in lanes, and an empty one too.
#[test]
fn put_data() {
    let server = Server::new();
    let uploader = uploader(&server);
    server.runtime.block_on(async {
        for len in [0, 1, 1 << 20, (1 << 20) + 1, 5_000_000] {
            let data: Vec<u8> = (0..len).map(|index| (index % 253) as u8).collect();
            let etag = haul::kodo::Etag::of(&data);
            let done = uploader
                .put_data("b", "data", data)
                .meta("color", "red")
                .await
                .unwrap();
            assert_eq!((done.size, done.verified), (len, Verified::Object));
            assert_eq!(done.hash, etag.to_string());
            let stored = uploader.stat("b", "data").await.unwrap();
            assert_eq!(
                (stored.size, &done.hash),
                (len, &stored.hash.parse().unwrap())
            );
        }
    });
}

/// A provider is asked for the upload's token, and once more when the service refuses that one; one
/// that has none ends the upload with its own words.
#[test]
fn token_provider() {
    let refused_once = "[[fault]]\noperation = \"mkblk\"\nnth = 1\nexpire = \"token\"\n";
    for (plan, calls) in [("", 1), (refused_once, 2)] {
        let server = Server::with(plan);
        let keys = server.server.credentials().clone();
        let asked = Arc::new(AtomicU32::new(0));
        let provider = {
            let asked = Arc::clone(&asked);
            move || {
                asked.fetch_add(1, Ordering::Relaxed);
                let scope = Scope::Key(Bucket::new("b").unwrap(), ObjectKey::new("k").unwrap());
                let token = UploadToken::sign(&keys, &PutPolicy::new(scope, u64::from(u32::MAX)));
                async move { Ok::<_, String>(token.expose().to_owned()) }
            }
        };
        let builder = Uploader::builder().endpoint(server.server.url());
        let uploader = builder.token_provider(provider).build().unwrap();
        let upload = async { uploader.put_data("b", "k", vec![7; 3 << 20]).await };
        assert_eq!(server.runtime.block_on(upload).unwrap().size, 3 << 20);
        assert_eq!(asked.load(Ordering::Relaxed), calls, "{plan}");
    }

    let server = Server::new();
    let builder = Uploader::builder().endpoint(server.server.url());
    let nobody = || async { Err::<String, _>("the signer is on holiday") };
    let builder = builder.retry_budget(std::time::Duration::from_millis(100));
    let uploader = builder.token_provider(nobody).build().unwrap();
    let error = server
        .runtime
        .block_on(async { uploader.put_data("b", "k", "x").await });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("on holiday"), "{error}");
}

/// A program can ask an error for everything that its text says.
#[test]
fn errors_explain() {
    let server = Server::with("[[fault]]\noperation = \"mkblk\"\nanswer = { status = 503 }");
    let keys = server.server.credentials();
    let uploader = Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.server.url())
        .retry_budget(std::time::Duration::from_millis(500))
        .build()
        .unwrap();
    let upload = async { uploader.put_data("b", "k", vec![7; 3 << 20]).await };
    let error = server.runtime.block_on(upload).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unfinished, "{error}");
    assert!(
        error.attempts() >= 1 && !error.elapsed().is_zero(),
        "{error:?}"
    );
    let failure = error.failure().unwrap();
    assert_eq!(failure.status, Some(503));
    assert!(failure.request_id.is_some());
    let trace = error.trace().unwrap();
    assert_eq!(trace.endpoint.to_string(), server.server.url());
    assert!(trace.address.as_ref().unwrap().starts_with("127.0.0.1:"));
    assert!(trace.body_len > 0, "{trace:?}");
    let names: Vec<&str> = error.facts().iter().map(|fact| fact.name).collect();
    assert_eq!(names, ["phase", "host", "attempts", "safe"]);
    let text = error.to_string();
    assert!(text.starts_with(error.message()), "{text}");
    for fact in error.facts() {
        assert!(text.contains(&fact.text), "{}: {text}", fact.name);
    }
    // Nothing was recorded: there is no state directory.
    assert_eq!(error.safe_bytes(), 0);
}
