//! Upload ids that could not be given back, and are given back later.

use std::future::IntoFuture;

use haul::devserver::Operation;
use haul::{Aborted, Protocol};

use crate::life::{HOLD, LEN, drop_half_way, unfinished, until, uploader};
use crate::world::{Server, World, content};

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
    let left = unfinished(&first).await;
    match lost {
        Lost::Aborted => {
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
