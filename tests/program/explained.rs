//! What people and programs read when an upload fails: a dozen failures, as they stand.
//!
//! Every snapshot has the exit code, all of stderr, and the last JSON line. What differs from run to
//! run is replaced: ports, request ids, the program's path, and how far and how long it was. How
//! those rows read is the business of `cli::explain`'s own tests.

use serde_json::Value;

use crate::world::{Ran, Server, World, content};

/// One chunk and what the rest of the block is.
const LEN: usize = 2 << 20;

/// Soon given up: nothing here passes by itself.
const SOON: &[&str] = &["--retry-budget", "1s"];

/// Runs `put` with `flags`; what is read then.
fn put(world: &World, flags: &[&str]) -> String {
    let file = world.file("f.bin", &content(LEN));
    let line = ["put", &file, "kodo://b/k", "--json"];
    shown(&world.run(&[&line[..], flags].concat()))
}

fn shown(ran: &Ran) -> String {
    let code = ran.code.unwrap_or(-1);
    let err: Vec<String> = ran.err.lines().map(line).collect();
    let mut failed = ran.last_json();
    settle(&mut failed);
    let failed = serde_json::to_string_pretty(&failed).unwrap();
    format!("exit {code}\n\n{}\n\n{failed}\n", err.join("\n"))
}

/// A line of stderr, with what differs from run to run replaced.
fn line(text: &str) -> String {
    match ["  phase     ", "  attempts  "]
        .iter()
        .find(|row| text.starts_with(**row))
    {
        Some(row) => format!("{row}…"),
        None => same(text)
            .replace(", fresh connection", "…")
            .replace(", reused connection", "…"),
    }
}

/// Ports, request ids and temporary paths replaced.
fn same(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = ["127.0.0.1:", "request id ", "/tmp", "/var/folders"]
        .iter()
        .filter_map(|mark| rest.find(mark).map(|at| at + mark.len()))
        .min()
    {
        let (head, tail) = rest.split_at(at);
        let end = tail
            .find([' ', ',', ')', ';', ':', '\''])
            .unwrap_or(tail.len());
        shown.push_str(head);
        shown.push('…');
        rest = &tail[end..];
    }
    shown + rest
}

/// The same for JSON.
fn settle(value: &mut Value) {
    const VARY: [&str; 6] = [
        "attempts",
        "acknowledged_bytes",
        "body_bytes",
        "reused",
        "bbr",
        "phase",
    ];
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let varies = name.ends_with("_ms") || VARY.contains(&name.as_str());
                match value {
                    _ if varies => *value = "…".into(),
                    Value::String(_) if name == "request_id" => *value = "…".into(),
                    value => settle(value),
                }
            }
        }
        Value::String(text) => *text = same(text),
        _ => {}
    }
}

/// A server with one fault for ever, and what is read at the end.
fn with_fault(fault: &str, flags: &[&str]) -> String {
    let server = Server::with(&format!("[[fault]]\n{fault}"));
    put(&World::beside(&server), flags)
}

/// Broken off: the line or the server is to blame.
#[test]
fn the_line() {
    // A limit of a second is for those alone who wait in vain: a busy machine may take one for its work.
    // Who gives up by himself needs none.
    let rows = [
        (
            "reset",
            "operation = \"bput\"\nreset = { after_body_bytes = 1000 }",
            SOON,
        ),
        (
            "no_answer",
            "operation = \"mkblk\"\nlose_answer = \"hang\"",
            &[SOON, &["--response-timeout", "1s"]].concat(),
        ),
        (
            "no_answer_to_the_commit",
            "operation = \"mkfile\"\nlose_answer = \"close\"",
            SOON,
        ),
        (
            "busy",
            "operation = \"bput\"\nanswer = { status = 503 }",
            SOON,
        ),
        (
            "portal",
            "answer = { status = 200, body = '<html>Log in</html>' }\nomit_reqid = true",
            SOON,
        ),
        (
            "body_limit",
            "operation = \"bput\"\nanswer = { status = 413, body = 'too large' }\nomit_reqid = true",
            &[],
        ),
    ];
    for (name, fault, flags) in rows {
        insta::assert_snapshot!(name, with_fault(fault, flags));
    }
    // Whether its kernel still takes bytes when it has stopped to read is the kernel's business.
    let stalled = with_fault(
        "operation = \"bput\"\nstop_reading = { after_bytes = 1000, for = \"300s\" }",
        &[SOON, &["--stall-timeout", "1s"]].concat(),
    );
    for words in [
        "nothing was acknowledged for 1 s (stall_timeout)",
        "safe      512.0 KiB of 2.0 MiB",
    ] {
        assert!(stalled.contains(words), "{words}: {stalled}");
    }
}

/// Nobody there, or nobody who can be talked to.
#[test]
fn the_way() {
    let world = |endpoint: &str| {
        World::new()
            .set("HAUL_ACCESS_KEY", "a")
            .set("HAUL_SECRET_KEY", "s")
            .set("HAUL_ENDPOINT", endpoint)
    };
    insta::assert_snapshot!("refused", put(&world("http://127.0.0.1:1"), SOON));
    let server = Server::new();
    let https = server.server.url().replace("http://", "https://");
    insta::assert_snapshot!("tls", put(&world(&https), SOON));
    // Each system has its own words for it.
    let ran = put(&world("http://no-such-host.invalid"), SOON);
    for words in [
        "exit 6",
        "http://no-such-host.invalid",
        "next: check the network, and the host's name",
    ] {
        assert!(ran.contains(words), "{words}: {ran}");
    }
}

/// Refused, in the service's own words.
#[test]
fn the_service() {
    let server = Server::built(|builder| builder.buckets([haul::model::Bucket::new("b").unwrap()]));
    let with_token = |change: fn(&mut haul::kodo::PutPolicy)| {
        World::beside(&server).set("HAUL_UPLOAD_TOKEN", &server.token("k", change))
    };
    let forbidden = with_token(|policy| policy.mime_limit = Some("image/*".into()));
    insta::assert_snapshot!("forbidden", put(&forbidden, &["--mime-type", "text/plain"]));
    let too_large = with_token(|policy| policy.fsize_limit = Some(4));
    insta::assert_snapshot!("too_large", put(&too_large, &[]));
    let keys = World::beside(&server).set("HAUL_SECRET_KEY", "another");
    insta::assert_snapshot!("unauthorized", put(&keys, &[]));
    let world = World::beside(&server);
    let other = world.file("other.bin", b"other");
    world.run(&["put", &other, "kodo://b/k"]).expect(0, &[]);
    insta::assert_snapshot!("exists", put(&world, &["--insert-only"]));
}

/// Stopped by hand: what is safe, and the line that goes on.
#[cfg(unix)]
#[test]
fn interrupted() {
    use crate::world::{end, signal};
    let server = Server::with("[[fault]]\noperation = \"bput\"\nnth = 1\nhold = \"h\"");
    let world = World::beside(&server);
    let file = world.file("a file", &content(LEN));
    let child = world.start(&["put", &file, "kodo://b/k", "--json"]);
    server.until_held("h");
    signal(&child, "INT");
    let mut ran = end(child);
    let program = assert_cmd::cargo::cargo_bin!("haul");
    for text in [&mut ran.out, &mut ran.err] {
        *text = text
            .replace(&program.display().to_string(), "haul")
            .replace(&world.path("").display().to_string(), "/home/me/");
    }
    insta::assert_snapshot!("interrupted", shown(&ran));
}
