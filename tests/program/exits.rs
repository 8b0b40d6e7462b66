//! The table of exit codes, a row at a time, each with its message.

use crate::world::{Ran, Server, World, content};

/// Runs `put` of a file of `len` bytes with these flags; it soon stops trying again.
fn put(world: &World, len: usize, flags: &[&str]) -> Ran {
    let file = world.file("f.bin", &content(len));
    let mut line = vec!["put", file.as_str(), "kodo://b/k"];
    line.extend(["--retry-budget", "300ms"]);
    line.extend(flags);
    world.run(&line)
}

const LARGE: usize = 2 << 20;

/// Faults that may pass, and here do not before the retry budget is spent: the file's size, the protocol, the fault, and what is said.
const PASSING: [(usize, &str, &str, &str); 14] = [
    (
        LARGE,
        "",
        "operation = \"bput\"\nreset = { after_body_bytes = 1000 }",
        "the connection broke",
    ),
    (
        LARGE,
        "v2",
        "operation = \"part\"\nclose = \"after_body\"",
        "the connection broke",
    ),
    (
        LARGE,
        "",
        "operation = \"mkblk\"\nanswer = { status = 503 }",
        "status 503",
    ),
    (
        LARGE,
        "",
        "operation = \"mkfile\"\nanswer = { status = 599 }",
        "status 599",
    ),
    (
        LARGE,
        "v2",
        "operation = \"complete\"\nexpire = \"upload_id\"",
        "status 612",
    ),
    (
        LARGE,
        "",
        "operation = \"bput\"\nanswer = { status = 573 }",
        "status 573",
    ),
    (
        LARGE,
        "",
        "operation = \"mkblk\"\nflip_byte = 7",
        "other bytes than were sent",
    ),
    (
        LARGE,
        "v2",
        "operation = \"part\"\nflip_byte = 7",
        "its hash is not",
    ),
    (5, "", "operation = \"form\"\nflip_byte = 1", "crc32"),
    (
        LARGE,
        "",
        "operation = \"mkblk\"\nwrong = \"crc32\"",
        "crc32",
    ),
    (
        LARGE,
        "",
        "operation = \"mkfile\"\nwrong = \"hash\"",
        "the stored object has hash",
    ),
    (
        LARGE,
        "v2",
        "operation = \"complete\"\nwrong = \"hash\"",
        "the stored object has hash",
    ),
    (
        5,
        "",
        "operation = \"form\"\nwrong = \"hash\"",
        "the stored object has hash",
    ),
    (
        5,
        "",
        "operation = \"form\"\nwrong = \"key\"",
        "was asked for",
    ),
];

/// 1: something broke that may go better the next time; the message says what to do.
#[test]
fn exit_1_not_finished() {
    for (len, protocol, fault, expected) in PASSING {
        let server = Server::with(&format!("[[fault]]\n{fault}"));
        let protocol = if protocol.is_empty() {
            "auto"
        } else {
            protocol
        };
        let ran = put(&World::beside(&server), len, &["--protocol", protocol]);
        ran.expect(1, &["error: ", expected, "next: run the same line again"]);
        assert_eq!(ran.out, "", "{fault}");
    }
}

/// 4: the service refuses, each time for its own reason.
#[test]
fn exit_4_refused() {
    let server = Server::built(|builder| builder.buckets([haul::model::Bucket::new("b").unwrap()]));
    let world = || World::beside(&server);
    for len in [5, LARGE] {
        let other_key = world().set("HAUL_SECRET_KEY", "another");
        put(&other_key, len, &[]).expect(4, &["status 401", "check the access key"]);
        let elsewhere = world();
        let file = elsewhere.file("f", &content(len));
        let ran = elsewhere.run(&["put", &file, "kodo://nowhere/k"]);
        ran.expect(4, &["status 631", "check the bucket's name"]);

        put(&world(), len, &[]).expect(0, &[]);
        let other = world();
        let file = other.file("f", &content(len + 1));
        let ran = other.run(&["put", &file, "kodo://b/k", "--insert-only", "--json"]);
        ran.expect(4, &["status 614", "choose another key"]);
        let failed = ran.last_json();
        assert_eq!(
            (&failed["kind"], &failed["exit"]),
            (&"exists".into(), &4.into())
        );

        let small = server.token("k", |policy| policy.fsize_limit = Some(4));
        let limited = world().set("HAUL_UPLOAD_TOKEN", &small);
        put(&limited, len, &[]).expect(4, &["status 413", "fsizeLimit"]);
        let images = server.token("k", |policy| policy.mime_limit = Some("image/*".into()));
        let limited = world().set("HAUL_UPLOAD_TOKEN", &images);
        let ran = put(&limited, len, &["--mime-type", "text/plain"]);
        ran.expect(4, &["status 403", "check the put policy"]);
    }
    world()
        .run(&["stat", "kodo://b/missing"])
        .expect(4, &["status 612", "check the key"]);
    world()
        .run(&["rm", "kodo://b/missing"])
        .expect(4, &["status 612"]);
    world()
        .run(&["ls", "kodo://nowhere/"])
        .expect(4, &["status 631"]);
}

/// 4, before a byte is sent: a ready token that cannot work.
#[test]
fn exit_4_expired_token() {
    let server = Server::new();
    let expired = server.token("k", |policy| policy.deadline = 1_000_000_000);
    let world = World::beside(&server).set("HAUL_UPLOAD_TOKEN", &expired);
    put(&world, 5, &[]).expect(4, &["expired", "get a fresh upload token"]);
    let other = server.token("other", |_| {});
    let world = World::beside(&server).set("HAUL_UPLOAD_TOKEN", &other);
    put(&world, 5, &[]).expect(4, &["`b:other`", "`k`"]);
    assert_eq!(server.body_bytes(), 0, "nothing was sent");
}

/// 2: a ready token for another bucket is a wrong setting.
#[test]
fn exit_2_token_of_another_bucket() {
    let server = Server::new();
    let token = server.token("k", |_| {});
    let world = World::beside(&server).set("HAUL_UPLOAD_TOKEN", &token);
    let file = world.file("f", b"x");
    let ran = world.run(&["put", &file, "kodo://c/k"]);
    ran.expect(2, &["is for bucket `b`", "is in `c`"]);
}

/// 2: settings with which nothing could ever be done, or that do nothing.
#[test]
fn exit_2_settings_that_cannot_be() {
    let rows = [
        ("--stall-timeout", "999ms", "at least 1s"),
        ("--connect-timeout", "1ns", "at least 10ms"),
        ("--response-timeout", "1us", "at least 10ms"),
        ("--commit-timeout", "0s", "more than 0"),
        ("--part-timeout", "9ms", "at least 10ms"),
        ("--retry-budget", "0s", "more than 0"),
        ("--no-proxy", "a,*.example", "`*.example` can match nothing"),
    ];
    let server = Server::new();
    let world = World::beside(&server);
    let file = world.file("f", b"x");
    for (flag, value, expected) in rows {
        let ran = world.run(&["put", &file, "kodo://b/k", flag, value]);
        ran.expect(2, &[expected]);
    }
}

/// 5: a source that is missing, unreadable, or no regular file.
#[test]
fn exit_5_source() {
    let server = Server::new();
    let world = World::beside(&server);
    let ran = world.run(&["put", "missing.bin", "kodo://b/k", "--json"]);
    ran.expect(5, &["there is no such file: missing.bin"]);
    assert_eq!(ran.last_json()["kind"], "source");
    world
        .run(&["etag", "missing.bin"])
        .expect(5, &["there is no such file"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let ran = world.run(&["put", "/dev/null", "kodo://b/k"]);
        ran.expect(5, &["no regular file"]);
        let fifo = world.path("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let ran = world.run(&["put", "fifo", "kodo://b/k"]);
        ran.expect(5, &["no regular file"]);
        let locked = world.file("locked", b"x");
        let mode = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(&locked, mode).unwrap();
        if !crate::world::reads_everything(locked.as_ref()) {
            let ran = world.run(&["put", &locked, "kodo://b/k"]);
            ran.expect(5, &["permission denied"]);
        }
    }
}

/// 6: nobody there, or somebody who is no Kodo.
#[test]
fn exit_6_no_kodo() {
    let nobody = World::new()
        .set("HAUL_ACCESS_KEY", "a")
        .set("HAUL_SECRET_KEY", "s")
        .set("HAUL_ENDPOINT", "http://127.0.0.1:1");
    put(&nobody, 5, &[]).expect(
        6,
        &["no connection to http://127.0.0.1:1", "check the network"],
    );
    nobody
        .run(&["stat", "kodo://b/k"])
        .expect(6, &["127.0.0.1:1"]);
    let query = nobody
        .set("HAUL_ENDPOINT", "")
        .set("HAUL_UC_URL", "http://127.0.0.1:1,http://127.0.0.1:2");
    put(&query, 5, &[]).expect(6, &["find the hosts of bucket `b`", "127.0.0.1:2"]);

    let server = Server::new();
    let https = server.server.url().replace("http://", "https://");
    let plain = World::beside(&server).set("HAUL_ENDPOINT", &https);
    for len in [5, LARGE] {
        put(&plain, len, &[]).expect(6, &["no connection", "check the URL's scheme and port"]);
    }
    plain
        .run(&["stat", "kodo://b/k"])
        .expect(6, &["check the URL's scheme and port"]);

    for (len, fault) in [
        (LARGE, "operation = \"mkfile\"\nanswer_text = \"ok\""),
        (LARGE, "operation = \"mkblk\"\nomit_reqid = true"),
    ] {
        let server = Server::with(&format!("[[fault]]\n{fault}"));
        let ran = put(&World::beside(&server), len, &[]);
        ran.expect(
            6,
            &["check the host's name", "then run the same line again"],
        );
    }
}

/// 7: stored, but the callback failed; nobody is told to upload again.
#[test]
fn exit_7_callback() {
    let server = Server::new();
    let token = server.token("k", |policy| {
        policy.callback_url = Some("http://127.0.0.1:1/".into());
        policy.callback_body = Some("key=$(key)".into());
    });
    for len in [5, LARGE] {
        let world = World::beside(&server).set("HAUL_UPLOAD_TOKEN", &token);
        let ran = put(&world, len, &["--json"]);
        ran.expect(7, &["status 579", "do not upload it again"]);
        assert_eq!(ran.last_json()["kind"], "callback_failed");
        world.run(&["stat", "kodo://b/k"]).expect(0, &[]);
        world.run(&["rm", "kodo://b/k"]).expect(0, &[]);
    }
}

/// 130: the first Ctrl-C or SIGTERM ends it in good order: what is recorded is safe, and the line that
/// goes on is told.
#[cfg(unix)]
#[test]
fn exit_130_interrupted() {
    use crate::world::{end, signal};
    for name in ["INT", "TERM"] {
        let server = Server::with("[[fault]]\noperation = \"bput\"\nnth = 1\nhold = \"h\"");
        let world = World::beside(&server);
        let file = world.file("a file", &content(LARGE));
        let line = ["put", &file, "kodo://b/k", "--json"];
        let child = world.start(&line);
        server.until_held("h");
        signal(&child, name);
        let ran = end(child);
        let again = format!(
            "to go on: {}",
            assert_cmd::cargo::cargo_bin!("haul").display()
        );
        ran.expect(130, &["524288 of 2097152 bytes safe", &again]);
        ran.expect(130, &[&format!("put '{file}' kodo://b/k --json")]);
        let failed = ran.last_json();
        assert_eq!(
            (&failed["exit"], &failed["kind"], &failed["safe_bytes"]),
            (&130.into(), &"interrupted".into(), &524_288.into())
        );
        assert!(failed["next"].as_str().unwrap().contains("to go on: "));
        server.server.faults().release("h");
        let done = world.run(&line).expect(0, &["resuming: "]).last_json();
        assert_eq!(done["resumed_bytes"], 524_288);
    }
}

/// 130: while haul looks for the hosts there is nothing to bring to an end: the first signal ends it.
#[cfg(unix)]
#[test]
fn exit_130_at_once() {
    use crate::world::{end, signal};
    let server = Server::with("[[fault]]\noperation = \"query\"\nhold = \"h\"");
    let world = World::beside(&server)
        .set("HAUL_ENDPOINT", "")
        .set("HAUL_UC_URL", server.server.url());
    let file = world.file("f", &content(5));
    let child = world.start(&["put", &file, "kodo://b/k", "--wait-online"]);
    server.until_held("h");
    signal(&child, "INT");
    end(child).expect(
        130,
        &[
            "stopping; once more to stop at once\n",
            "stopped before the upload had begun",
            "run the same line again to go on: ",
        ],
    );
}
