//! `kodo://` against a dev server in the test's own process.

use crate::world::{Server, World, content};

/// Files of every size that matters, by all three ways: stored, proven, and the same as the source.
#[test]
fn stores_files_of_every_size() {
    let server = Server::new();
    let world = World::beside(&server);
    const MIB: usize = 1 << 20;
    let ways: [&[&str]; 3] = [
        &["--threshold", "1GiB"],
        &["--threshold", "0", "--protocol", "v1"],
        &["--threshold", "0", "--protocol", "v2"],
    ];
    for len in [0, 1, 512 * 1024, MIB + 1, 4 * MIB, 4 * MIB + 1, 9 * MIB - 1] {
        let file = world.file("f.bin", &content(len));
        let etag = world.run(&["etag", &file]).out;
        let etag = etag.split('\t').next().unwrap().to_owned();
        for way in ways {
            let mut line = vec!["put", &file, "kodo://b/dir/"];
            line.extend(way);
            let ran = world.run(&line);
            assert_eq!(
                ran.expect(0, &[]).out,
                format!("dir/f.bin\t{etag}\t{len}\n"),
                "{len} {way:?}"
            );
            line.push("--json");
            let done = world.run(&line).last_json();
            assert_eq!(done["event"], "done");
            assert_eq!(done["verified"], "object");
            assert_eq!(
                (&done["bucket"], &done["key"]),
                (&"b".into(), &"dir/f.bin".into())
            );
            assert_eq!(done["sent_bytes"], len, "{len} {way:?}");
        }
        let stat = world
            .run(&["stat", "kodo://b/dir/f.bin", "--json"])
            .last_json();
        assert_eq!((&stat["size"], &stat["hash"]), (&len.into(), &etag.into()));
    }
}

/// v2 with other parts gives another hash, computed from the parts' own, and it is proven too.
#[test]
fn odd_parts_are_proven() {
    let server = Server::new();
    let world = World::beside(&server);
    let file = world.file("f", &content(3 << 20));
    let line = [
        "put",
        &file,
        "kodo://b/k",
        "--protocol",
        "v2",
        "--part-size",
        "1MiB",
        "--json",
    ];
    let ran = world.run(&line);
    let done = ran.expect(0, &[]).last_json();
    assert_eq!(done["verified"], "object");
    assert!(done["hash"].as_str().unwrap().starts_with('n'), "{done}");
    let started: serde_json::Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&started["event"], &started["protocol"]),
        (&"started".into(), &"v2".into())
    );
}

/// Awkward keys arrive as they are: literal, empty, none at all.
#[test]
fn keys_arrive_literally() {
    let server = Server::new();
    let world = World::beside(&server);
    let small = world.file("small.txt", b"hello");
    let large = world.file("large.bin", &content(2 << 20));
    for file in [&small, &large] {
        for key in ["a b/c%20d?e#f", "目录/é", "//", "kodo://x/y", "'\"\\", "~"] {
            for protocol in ["v1", "v2"] {
                let line = [
                    "put",
                    file,
                    "kodo://b/",
                    "--key",
                    key,
                    "--protocol",
                    protocol,
                ];
                let out = world.run(&line).expect(0, &[]).out.clone();
                assert!(out.starts_with(&format!("{key}\t")), "{out}");
                let target = format!("kodo://b/{key}");
                let stat = world.run(&["stat", &target, "--json"]).last_json();
                assert_eq!(stat["key"], key);
                world.run(&["rm", &target]).expect(0, &["removed"]);
                world.run(&["stat", &target]).expect(4, &["no such file"]);
            }
        }
        for protocol in ["v1", "v2"] {
            let empty = [
                "put",
                file,
                "kodo://b/x",
                "--key",
                "",
                "--json",
                "--protocol",
                protocol,
            ];
            assert_eq!(world.run(&empty).expect(0, &[]).last_json()["key"], "");
            world.run(&["rm", "kodo://b/", "--key", ""]).expect(0, &[]);
            let none = [
                "put",
                file,
                "kodo://b/x",
                "--no-key",
                "--json",
                "--protocol",
                protocol,
            ];
            let done = world.run(&none).expect(0, &[]).last_json();
            assert_eq!(
                done["key"], done["hash"],
                "the service names it by its hash"
            );
        }
    }
}

/// Type, name, metadata and variables reach the object by all three ways.
#[test]
fn what_goes_with_the_object() {
    let server = Server::new();
    let world = World::beside(&server);
    let file = world.file("f.txt", &content(2 << 20));
    for way in [
        &["--threshold", "1GiB"][..],
        &["--protocol", "v1"],
        &["--protocol", "v2"],
    ] {
        let token = server.token("k", |policy| {
            policy.return_body = Some(
                r#"{"key":"$(key)","hash":"$(etag)","name":"$(fname)","var":"$(x:who)"}"#.into(),
            );
        });
        let world = World::beside(&server).set("HAUL_UPLOAD_TOKEN", &token);
        let mut line = vec!["put", &file, "kodo://b/k", "--mime-type", "text/x-test"];
        line.extend(["--meta", "color=red=ish", "--var", "x:who=me"]);
        line.extend(way);
        world.run(&line).expect(0, &[]);
        let stat = world.run(&["stat", "kodo://b/k", "--json"]).last_json();
        assert_eq!(stat["mime_type"], "text/x-test", "{way:?}");
        assert_eq!(stat["metadata"]["color"], "red=ish", "{way:?}");
    }
}

/// A list goes through all pages, in the keys' order, below the prefix; and it may stop early.
#[test]
fn lists() {
    let server = Server::new();
    let world = World::beside(&server);
    let file = world.file("f", b"x");
    for key in ["a/1", "a/2", "b/1", "tab\there"] {
        world
            .run(&["put", &file, "kodo://b/", "--key", key])
            .expect(0, &[]);
    }
    let keys = |line: &[&str]| -> Vec<String> {
        let ran = world.run(line);
        let lines = ran.expect(0, &[]).out.lines();
        lines
            .map(|line| line.split('\t').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        keys(&["ls", "kodo://b/"]),
        ["a/1", "a/2", "b/1", "tab\\there"]
    );
    assert_eq!(keys(&["ls", "kodo://b/a/"]), ["a/1", "a/2"]);
    assert_eq!(keys(&["ls", "kodo://b/", "--limit", "1"]), ["a/1"]);
    let ran = world.run(&["ls", "kodo://b/t", "--json"]);
    assert_eq!(ran.last_json()["key"], "tab\there");
}

/// Without `endpoint`, the bucket query says where uploads and management calls go; bare host names
/// inherit its scheme. A query host that is down is passed over.
#[test]
fn hosts_come_from_the_bucket_query() {
    let server = Server::built(|builder| builder.hosts(2));
    let dead = "http://127.0.0.1:1";
    let uc = format!("{dead},{}", server.server.url());
    let world = World::beside(&server)
        .set("HAUL_ENDPOINT", "")
        .set("HAUL_UC_URL", &uc);
    let file = world.file("f", &content(2 << 20));
    world.run(&["put", &file, "kodo://b/k"]).expect(0, &[]);
    world.run(&["stat", "kodo://b/k"]).expect(0, &[]);
    let out = world.run(&["ls", "kodo://b/"]).expect(0, &[]).out.clone();
    assert!(out.starts_with("k\t"), "{out}");
}

/// With `endpoint` and no `rs_url`, stat goes to the endpoint and nowhere else.
#[test]
fn management_stays_at_the_endpoint() {
    let server = Server::new();
    let world = World::beside(&server).set("HAUL_UC_URL", "http://127.0.0.1:1");
    let file = world.file("f", b"x");
    world.run(&["put", &file, "kodo://b/k"]).expect(0, &[]);
    world.run(&["stat", "kodo://b/k"]).expect(0, &[]);
    let elsewhere = world.set("HAUL_RS_URL", "http://127.0.0.1:1");
    elsewhere
        .run(&["stat", "kodo://b/k"])
        .expect(6, &["127.0.0.1:1"]);
}

/// An upload host that refuses connections is passed over as long as nothing was sent.
#[test]
fn a_dead_upload_host_is_passed_over() {
    let server = Server::new();
    let endpoints = format!("http://127.0.0.1:1,{}", server.server.url());
    let world = World::beside(&server).set("HAUL_ENDPOINT", &endpoints);
    for len in [5, 2 << 20] {
        let file = world.file("f", &content(len));
        world.run(&["put", &file, "kodo://b/k"]).expect(0, &[]);
    }
}
