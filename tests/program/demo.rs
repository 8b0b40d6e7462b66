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
    assert_eq!(shown["cut"], true, "{shown}");
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

/// Stopped by whatever signal, it ends its uploading process and removes all it had made.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_left_behind() {
    use crate::world::{end, signal};
    use std::io::{BufRead, BufReader};
    // Under `nohup` haul leaves SIGHUP alone.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find(|line| line.starts_with("SigIgn:"));
    let heeds_hangup =
        ignored.is_some_and(|line| line.ends_with(['0', '2', '4', '6', '8', 'a', 'c', 'e']));
    for name in ["INT", "TERM", "HUP"] {
        if name == "HUP" && !heeds_hangup {
            continue;
        }
        let world = World::new();
        let temporary = world.path("tmp");
        std::fs::create_dir(&temporary).unwrap();
        let world = world.set("TMPDIR", temporary.to_str().unwrap());
        let file = world.file("f.bin", &content(8 << 20));
        let mut child = world.start(&["demo", &file, "--json"]);
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("progress") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ends too soon");
        }
        assert_eq!(uploading(&file), 1, "{name}");
        signal(&child, name);
        let ran = end(child);
        assert_eq!(ran.code, Some(130), "{name}: {ran:?}");
        assert_eq!(uploading(&file), 0, "{name}");
        let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

/// How many processes upload `file`.
#[cfg(target_os = "linux")]
fn uploading(file: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines
        .filter(|line| {
            let line = String::from_utf8_lossy(line);
            line.contains("\0put\0") && line.contains(file)
        })
        .count()
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
