//! A service is redeployed while uploads run.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use haul::{ErrorKind, Protocol, Unfinished, Uploader};

use crate::life::{COMMIT_LEN_MAX, LEN, Watched, unfinished, until, uploader, watched};
use crate::world::{PATIENCE, Server, World, content};

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
            // Each needs some seconds for its first segment, and all of them twenty to end by themselves.
            first.set_limit_rate(Some(2 << 20)).unwrap();
            let begin = |number| begin(&first, &world, number);
            let uploads: Vec<Watched> = (0..5).map(begin).collect();
            let told: Vec<_> = uploads
                .iter()
                .map(|it| Arc::clone(&it.safe_bytes))
                .collect();
            let all = tokio::spawn(join_all(uploads.into_iter().map(|it| it.upload)));
            let under_way = async || told.iter().all(|it| it.load(Ordering::Relaxed) > 0);
            until("each has something safe", under_way).await;
            let (left, ()) = tokio::join!(first.shutdown(PATIENCE), async {
                first.set_limit_rate(None).unwrap();
            });
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

/// One of five uploads, each of its own bytes.
fn begin(uploader: &Uploader, world: &World, number: usize) -> Watched {
    let content = content(LEN);
    let content: Vec<u8> = content.iter().map(|byte| byte ^ number as u8).collect();
    let file = world.file(&format!("f{number}"), &content);
    let put = uploader.put_file("b", format!("k{number}"), file);
    watched(put.part_size(1 << 20))
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
