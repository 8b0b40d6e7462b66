//! `haul uploads`: what is unfinished is listed, shown and given up.

use crate::world::{Server, World, content, end, signal};

/// Holds the second segment's answer: a v1 chunk, or a v2 part.
const HOLD: &str = "[[fault]]\noperation = [\"bput\", \"part\"]\nnth = 2\nhold = \"h\"";

/// The only upload, as `list --json` has it.
fn only(world: &World) -> serde_json::Value {
    let ran = world.run(&["uploads", "--json"]);
    assert_eq!(ran.expect(0, &[]).out.lines().count(), 1, "{ran:#?}");
    ran.last_json()
}

/// Nothing begun; while it runs; after it was stopped; given up; finished.
#[test]
fn the_life_of_an_upload() {
    for (protocol, told) in [("v1", "expires"), ("v2", "told")] {
        let server = Server::with(HOLD);
        let world = World::beside(&server);
        let ran = world.run(&["uploads"]);
        assert_eq!(ran.expect(0, &["no unfinished uploads"]).out, "");

        let file = world.file("f.bin", &content(9 << 20));
        let line = ["put", &file, "kodo://b/dir/k", "--protocol", protocol];
        let child = world.start(&line);
        server.until_held("h");
        let held = only(&world);
        assert_eq!(
            (&held["event"], &held["held"]),
            (&"upload".into(), &true.into())
        );
        let id = held["id"].as_str().unwrap().to_owned();
        let ran = world.run(&["uploads", "abort", &id[..6]]);
        ran.expect(1, &["held by process", "stop that process first"]);

        signal(&child, "TERM");
        let stopped = end(child);
        stopped.expect(130, &[]);
        let left = only(&world);
        assert_eq!(left["held"], false);
        assert_eq!(
            (
                &left["destination"],
                &left["protocol"],
                &left["source_state"]
            ),
            (
                &"kodo://b/dir/k".into(),
                &protocol.into(),
                &"unchanged".into()
            )
        );
        assert_eq!(left["size"], 9 << 20);
        let listed = world.run(&["uploads", "list"]).out;
        assert!(listed.starts_with(&id[..12]), "{listed}");
        assert!(listed.contains("\tkodo://b/dir/k\t") && listed.contains(" of 9.0 MiB"));
        let shown = world.run(&["uploads", "show", &id]);
        let shown = &shown.expect(0, &[]).out;
        assert!(
            shown.contains(&file) && shown.contains("held_by      nobody"),
            "{shown}"
        );
        std::fs::remove_file(&file).unwrap();
        assert_eq!(only(&world)["source_state"], "missing");

        server.server.faults().release("h");
        let ran = world.run(&["uploads", "abort", &id[..12], "--json"]);
        let aborted = ran.expect(0, &["removed the journal"]).last_json();
        assert_eq!(
            (&aborted["event"], &aborted["service"]),
            (&"aborted".into(), &told.into())
        );
        world
            .run(&["uploads"])
            .expect(0, &["no unfinished uploads"]);
        world
            .run(&["uploads", "show", &id])
            .expect(2, &["begins with", "haul uploads list"]);
    }
}

/// What is no journal, is damaged, or is newer than this haul is said and left alone.
#[test]
fn strangers_are_left_alone() {
    let world = World::new();
    let dir = ".local/state/haul/uploads";
    let damaged = format!("{dir}/{}.journal", "a".repeat(40));
    for (name, bytes) in [(format!("{dir}/notes.txt"), "hello"), (damaged, "")] {
        let path = world.file(&name, bytes.as_bytes());
        let ran = world.run(&["uploads", "--json"]);
        ran.expect(0, &[]);
        assert!(ran.out.contains("\"event\":\"odd_journal\""), "{ran:#?}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes.as_bytes());
    }
}
