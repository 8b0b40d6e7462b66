//! Dropping an upload's future stops it: what was acknowledged is kept, and nothing is left running.

use std::pin::pin;

use haul::{Protocol, Uploader};

use crate::rig::{SEGMENT_LEN_MAX, until};
use crate::world::{PATIENCE, Server, World, content};

/// Five lanes.
const LEN: usize = (16 << 20) + 5;

fn uploader(server: &Server, world: &World, protocol: Protocol) -> Uploader {
    let keys = server.server.credentials();
    Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.server.url())
        .state_dir(world.path("state"))
        .require_resume()
        .protocol(protocol)
        .build()
        .unwrap()
}

/// Connections of this machine to `server` that stand; none on machines that cannot tell.
fn connections(server: &Server) -> usize {
    let port: u16 = server
        .server
        .url()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let there = format!(":{port:04X} ");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap_or_default();
    let established = |line: &&str| {
        let mut fields = line.split_whitespace();
        let remote = fields.nth(2).unwrap_or_default().to_owned() + " ";
        remote.ends_with(&there) && fields.next() == Some("01")
    };
    table.lines().filter(established).count()
}

/// Dropped while two answers are held, and again at the commit; then once more, to its end. A put
/// right after a drop finds the journal free.
#[test]
fn goes_on_where_it_was() {
    for (protocol, operation) in [
        (Protocol::V1, "\"mkblk\", \"bput\""),
        (Protocol::V2, "\"part\""),
    ] {
        let commit = "[[fault]]\noperation = [\"mkfile\", \"complete\"]\nnth = 1\nhold = \"c\"";
        let plan =
            format!("[[fault]]\noperation = [{operation}]\nnth = [4, 5]\nhold = \"h\"\n{commit}");
        let server = Server::with(&plan);
        let world = World::new();
        let file = world.file("f", &content(LEN));
        // A runtime of its own, so that its tasks can be counted.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let tasks = || runtime.metrics().num_alive_tasks();
        let uploader = uploader(&server, &world, protocol);
        for (name, count) in [("h", 2), ("c", 1)] {
            let faults = server.server.faults();
            runtime.block_on(async {
                let mut put = pin!(uploader.put_file("b", "k", &file).into_future());
                let held = async {
                    while faults.held(name) < count {
                        tokio::task::yield_now().await;
                    }
                };
                let held = tokio::time::timeout(PATIENCE, held);
                tokio::select! {
                    ended = &mut put => panic!("{protocol:?}: it ended: {ended:?}"),
                    held = held => held.expect("answers are held"),
                }
            });
            faults.release("h");
            if name == "h" {
                until("both connections are closed", || connections(&server) == 0);
                until("no task is left", || tasks() == 0);
            }
        }
        let before = server.body_bytes();
        let put = uploader.put_file("b", "k", &file);
        let done = runtime.block_on(put.into_future()).unwrap();
        assert_eq!(
            (done.resumed_bytes, done.sent_bytes),
            (LEN as u64, 0),
            "{protocol:?}"
        );
        let both = server.body_bytes();
        assert!(
            before <= LEN as u64 + 2 * SEGMENT_LEN_MAX + 4096,
            "{protocol:?}: {before}"
        );
        assert!(both <= before + 4096, "{protocol:?}: {both}");
        drop(uploader);
        until("no connection is left", || connections(&server) == 0);
        until("no task is left", || tasks() == 0);
    }
}
