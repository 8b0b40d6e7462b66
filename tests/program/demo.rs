//! `haul demo`: the story with a small file, so that it takes seconds.

use crate::world::{World, content};

/// Cut, killed, resumed: the object is the file, and nothing is left behind.
#[cfg(unix)]
#[test]
fn the_story() {
    let world = World::new();
    let temporary = world.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    // What the user has set plays no part.
    let world = world
        .set("TMPDIR", temporary.to_str().unwrap())
        .set("HAUL_ENDPOINT", "http://127.0.0.1:1")
        .set("HAUL_PROTOCOL", "v2");
    let file = world.file("f.bin", &content(3 << 20));
    let ran = world.run(&["demo", &file, "--json"]);
    let shown = ran
        .expect(0, &["the same: the object is the file"])
        .last_json();
    assert_eq!(
        (&shown["event"], &shown["killed"]),
        (&"demo".into(), &true.into())
    );
    assert_eq!(shown["stored_hash"], shown["local_hash"]);
    assert!(shown["resumed_bytes"].as_u64() > Some(0), "{shown}");
    assert!(
        shown["sent_bytes"].as_u64() >= shown["size"].as_u64(),
        "{shown}"
    );
    for event in ["started", "notice", "done"] {
        assert!(
            ran.out.contains(&format!(r#""event":"{event}""#)),
            "{event}: {ran:#?}"
        );
    }
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    assert!(
        !world.path(".local").exists(),
        "nothing but the temporary directory"
    );
}

/// What cannot be shown is refused, and explained.
#[test]
fn refusals() {
    let world = World::new();
    world
        .run(&["demo", "missing"])
        .expect(5, &["there is no such file"]);
    let empty = world.file("empty", b"");
    world.run(&["demo", &empty]).expect(2, &["an empty file"]);
}
