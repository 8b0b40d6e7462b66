//! What an upload tells on its way: to people by verbosity, to programs by events.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::world::{Ran, Server, World, content};

/// One chunk, and two more.
const LEN: usize = 2 << 20;

/// The second chunk meets a closed connection, which is mended at once, and then a busy server.
const PLAN: &str = "[[fault]]\noperation = \"bput\"\nnth = 1\nreset = { after_body_bytes = 1000 }\n\
    [[fault]]\noperation = \"bput\"\nnth = 2\nanswer = { status = 503 }";

fn put(flags: &[&str]) -> Ran {
    let server = Server::with(PLAN);
    let world = World::beside(&server);
    let file = world.file("f.bin", &content(LEN));
    let ran = world.run(&[&["put", &file, "kodo://b/k"], flags].concat());
    ran.expect(0, &[]);
    ran
}

/// How many events of each name a run told.
fn events(ran: &Ran) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in ran.out.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["v"], 1, "{line}");
        let name = event["event"].as_str().unwrap().to_owned();
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// Nothing without trouble worth a word, every retry and choice with `-v`, every request with `-vv`.
#[test]
fn by_verbosity() {
    let none = put(&[]).err;
    assert!(
        !none.contains("broke"),
        "what passes by itself needs nobody: {none}"
    );
    let some = put(&["-v", "--limit-rate", "1GB/s"]).err;
    for words in [
        "limited to 1 GB/s",
        "upload hosts of `b`: http://127.0.0.1:",
        "go in blocks (v1)",
        "repeated at once on a new connection",
        "(attempt 2): fault plan (status 503, request id ",
    ] {
        assert!(some.contains(words), "{words}: {some}");
    }
    assert!(!some.contains(" mkblk http"), "{some}");
    let all = put(&["-vv"]).err;
    let line = all.lines().find(|line| line.contains(" mkblk http"));
    let line = line.unwrap_or_else(|| panic!("{all}"));
    for words in [
        " (127.0.0.1:",
        ", fresh) 512.0 KiB of 512.0 KiB; connect ",
        ", send ",
        ", answer ",
        ": 200, request id ",
    ] {
        assert!(line.contains(words), "{words}: {line}");
    }
    for words in [
        " bput http",
        ", reused) ",
        ": 503, request id ",
        " mkfile http",
    ] {
        assert!(all.contains(words), "{words}: {all}");
    }
}

/// The same as events.
#[test]
fn as_events() {
    for (flags, attempts) in [(&["--json"][..], 0), (&["--json", "-v"], 1)] {
        let told = events(&put(flags));
        assert_eq!(
            told.get("attempt").copied().unwrap_or(0),
            attempts,
            "{told:?}"
        );
        for name in ["started", "retrying", "done"] {
            assert_eq!(told.get(name), Some(&1), "{name}: {told:?}");
        }
    }
    let ran = put(&["--json", "-vv"]);
    let attempts: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Value| event["event"] == "attempt")
        .collect();
    let of = |operation: &str| {
        let attempts = attempts.iter();
        attempts
            .filter(|attempt| attempt["operation"] == operation)
            .count()
    };
    assert_eq!((of("mkblk"), of("mkfile")), (1, 1), "{}", ran.out);
    assert!(of("bput") >= 3, "{}", ran.out);
    let repeated = attempts
        .iter()
        .filter(|attempt| attempt["repeated"] == true);
    assert_eq!(repeated.count(), 1, "{}", ran.out);
}

/// Connections use BBR if a flag, a variable or the config file says so, and `-v` and events tell; near ones
/// do not of their own accord. A machine that does not let haul have it refuses what cannot be.
#[test]
fn congestion_control() {
    let server = Server::new();
    let rows: [(&str, &[&str], &str, &str, bool); 5] = [
        ("flag", &["--congestion-control", "bbr"], "", "", true),
        ("variable", &[], "bbr", "", true),
        ("file", &[], "", "bbr", true),
        (
            "flag before variable",
            &["--congestion-control", "system"],
            "bbr",
            "",
            false,
        ),
        ("near", &[], "", "auto", false),
    ];
    for (story, flags, variable, in_file, expected) in rows {
        let mut world = World::beside(&server);
        if !variable.is_empty() {
            world = world.set("HAUL_CONGESTION_CONTROL", variable);
        }
        let setting = format!("congestion_control = {in_file:?}\n");
        let setting = if in_file.is_empty() { "" } else { &setting };
        let config = world.file("config.toml", setting.as_bytes());
        let file = world.file("f", b"hello");
        let mut arguments = vec![
            "put",
            &file,
            "kodo://b/k",
            "--config",
            &config,
            "-vv",
            "--json",
        ];
        arguments.extend(flags);
        let ran = world.run(&arguments);
        if expected && ran.code == Some(2) {
            // This machine has none, or not for everybody.
            assert!(
                ran.err.contains("cannot be bbr here: "),
                "{story}: {}",
                ran.err
            );
            continue;
        }
        ran.expect(0, &[]);
        assert_eq!(
            ran.err.contains(" uses BBR: "),
            expected,
            "{story}: {}",
            ran.err
        );
        let attempts = ran
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let attempts = attempts.filter(|event: &Value| event["event"] == "attempt");
        let told: Vec<Value> = attempts.map(|attempt| attempt["bbr"].clone()).collect();
        assert_eq!(told, [expected], "{story}: {}", ran.out);
    }
}
