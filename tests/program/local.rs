//! `local://`: no account, no server to start, several processes at once.

use crate::world::{World, content};

/// put, stat, ls, rm in processes of their own, over one store that only the user can read.
#[test]
fn everything_works_without_an_account() {
    let world = World::new();
    let file = world.file("README.md", &content(5 << 20));
    let out = world
        .run(&["put", &file, "local://demo/"])
        .expect(0, &[])
        .out
        .clone();
    assert!(out.starts_with("README.md\tl"), "{out}");
    let stat = world.run(&["stat", "local://demo/README.md"]);
    assert!(
        stat.expect(0, &[])
            .out
            .contains(&format!("size       {}", 5 << 20))
    );
    let listed = world.run(&["ls", "local://demo/"]).out;
    assert_eq!(listed, out);
    world.run(&["rm", "local://demo/README.md"]).expect(0, &[]);
    assert_eq!(world.run(&["ls", "local://demo/"]).out, "");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name: &str| {
            let metadata = std::fs::metadata(world.path(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(mode(".local/state/haul"), 0o700);
        assert_eq!(mode(".local/state/haul/local"), 0o700);
        assert_eq!(mode(".local/state/haul/local/keys.json"), 0o600);
    }
}

/// The account's keys, hosts and tokens play no part in `local://`.
#[test]
fn settings_of_the_account_do_not_leak_in() {
    let world = World::new()
        .set("HAUL_ACCESS_KEY", "a")
        .set("HAUL_SECRET_KEY", "s")
        .set("HAUL_ENDPOINT", "http://127.0.0.1:1")
        .set("HAUL_RS_URL", "http://127.0.0.1:1");
    let file = world.file("f", b"x");
    world.run(&["put", &file, "local://demo/k"]).expect(0, &[]);
    world.run(&["stat", "local://demo/k"]).expect(0, &[]);
}

/// Another state directory is another store; one that cannot be made is explained.
#[test]
fn state_dir() {
    let world = World::new();
    let file = world.file("f", b"x");
    world
        .run(&["put", &file, "local://demo/k", "--state-dir", "here"])
        .expect(0, &[]);
    assert!(world.path("here/local").is_dir());
    assert!(!world.path(".local").exists());
    let ran = world.run(&["stat", "local://demo/k"]);
    ran.expect(4, &["no such file"]);
    let ran = world.run(&["put", &file, "local://demo/k", "--state-dir", &file]);
    ran.expect(1, &["cannot open local://", "--state-dir"]);
    let homeless = World::new().set("HOME", "").set("USERPROFILE", "");
    let file = homeless.file("f", b"x");
    homeless
        .run(&["put", &file, "local://demo/k"])
        .expect(2, &["set --state-dir"]);
}

/// Several programs at once, over one fresh store: other keys all go through; of those with the same
/// key, whoever comes second is told who is at it.
#[test]
fn several_processes_at_once() {
    let world = World::new();
    let file = world.file("f", &content(3 << 20));
    let targets: Vec<String> = (0..6)
        .map(|index| format!("local://demo/k{}", index % 5))
        .collect();
    let children: Vec<_> = targets
        .iter()
        .map(|target| world.start(&["put", &file, target]))
        .collect();
    let ran: Vec<_> = children.into_iter().map(crate::world::end).collect();
    for (index, ran) in ran.iter().enumerate() {
        let twin = index % 5 == 0;
        if twin && ran.code == Some(1) {
            ran.expect(1, &["held by process"]);
        } else {
            ran.expect(0, &[]);
        }
    }
    assert!(ran[0].code == Some(0) || ran[5].code == Some(0));
    assert_eq!(world.run(&["ls", "local://demo/"]).out.lines().count(), 5);
}
