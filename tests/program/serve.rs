//! `haul serve`: says where it is and with which keys; ends on a signal; continues from its disk.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout};

use crate::world::{World, end, signal};

/// A server that has said where it listens.
struct Serving {
    child: Child,
    reader: BufReader<ChildStdout>,
    said: String,
}

fn serve(world: &World, arguments: &[&str]) -> Serving {
    let mut line = vec!["serve"];
    line.extend(arguments);
    let mut child = world.start(&line);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    reader.read_line(&mut said).unwrap();
    Serving {
        child,
        reader,
        said,
    }
}

impl Serving {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.said).unwrap_or_else(|error| panic!("{error}: {}", self.said))
    }

    fn world(&self, keys: &serde_json::Value) -> World {
        World::new()
            .set("HAUL_ENDPOINT", self.json()["url"].as_str().unwrap())
            .set("HAUL_ACCESS_KEY", keys["access_key"].as_str().unwrap())
            .set("HAUL_SECRET_KEY", keys["secret_key"].as_str().unwrap())
    }

    /// Ends it in good order.
    fn end(self, name: &str) -> crate::world::Ran {
        signal(&self.child, name);
        drop(self.reader);
        let ran = end(self.child);
        ran.expect(0, &[]);
        ran
    }
}

/// Keys are made once and kept under the root; objects outlive the server.
#[test]
fn continues_from_its_root() {
    let home = World::new();
    let root = home.path("root").display().to_string();
    let first = serve(&home, &["--root", &root, "--json"]);
    let keys = first.json();
    assert_eq!(
        (&keys["v"], &keys["event"]),
        (&1.into(), &"listening".into())
    );
    let client = first.world(&keys);
    let file = client.file("f", b"hello");
    client
        .run(&["put", &file, "kodo://any-bucket/k"])
        .expect(0, &[]);
    first.end("TERM");
    let second = serve(&home, &["--root", &root, "--json"]);
    assert_eq!(second.json()["secret_key"], keys["secret_key"]);
    let client = second.world(&keys);
    client.run(&["stat", "kodo://any-bucket/k"]).expect(0, &[]);
    second.end("INT");
}

/// One plain line; a secret key that was given is not repeated, one that was made is shown.
#[test]
fn says_where_it_listens() {
    let made = serve(&World::new(), &["--memory"]);
    assert!(
        made.said.starts_with("listening on http://127.0.0.1:"),
        "{}",
        made.said
    );
    assert!(made.said.contains("secret_key="), "{}", made.said);
    made.end("INT");
    let given = World::new()
        .set("HAUL_ACCESS_KEY", "AK")
        .set("HAUL_SECRET_KEY", "HUSH");
    let plain = serve(&given, &["--discard"]);
    assert!(plain.said.contains("access_key=AK"), "{}", plain.said);
    assert!(!plain.said.contains("HUSH"), "{}", plain.said);
    plain.end("INT");
    let json = serve(
        &given,
        &[
            "--memory",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "127.0.0.1:0",
        ],
    );
    assert!(json.json()["secret_key"].is_null(), "{}", json.said);
    assert_eq!(json.json()["other_urls"].as_array().unwrap().len(), 1);
    json.end("INT");
}

/// Buckets, rate, latency, a fault plan and the request log are all taken.
#[test]
fn takes_every_flag() {
    let home = World::new();
    let plan = home.file(
        "plan.toml",
        b"[[fault]]\noperation = \"stat\"\nanswer = { status = 503 }\n",
    );
    let serving = serve(
        &home,
        &[
            "--memory",
            "--json",
            "-v",
            "--bucket",
            "b",
            "--bucket",
            "c",
            "--rate",
            "80mbit",
            "--latency",
            "1ms",
            "--faults",
            &plan,
        ],
    );
    let client = serving.world(&serving.json());
    let file = client.file("f", b"hello");
    client.run(&["put", &file, "kodo://c/k"]).expect(0, &[]);
    client
        .run(&["put", &file, "kodo://d/k"])
        .expect(4, &["status 631"]);
    client
        .run(&["stat", "kodo://c/k"])
        .expect(1, &["status 503"]);
    let ran = serving.end("INT");
    assert!(
        ran.err.contains("Form") && ran.err.contains("631"),
        "a request log: {}",
        ran.err
    );
}

/// What it cannot do is said, with exit 2 for settings and 1 for the machine.
#[test]
fn refuses_clearly() {
    let world = World::new();
    let broken = world.file("plan.toml", b"[[fault]]\nnonsense = 1\n");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (line, code, expected) in [
        (
            &["serve", "--rate", "fast"][..],
            2,
            "--rate cannot be `fast`",
        ),
        (&["serve", "--faults", "missing.toml"], 2, "missing.toml"),
        (&["serve", "--faults", &broken], 2, "nonsense"),
        (&["serve", "--bucket", "a/b"], 2, "is no bucket name"),
        (&["serve", "--listen", "nowhere"], 2, "nowhere"),
    ] {
        world.run(line).expect(code, &[expected]);
    }
    let _held = std::net::TcpListener::bind(&taken);
    let ran = world.run(&["serve", "--memory", "--listen", "203.0.113.1:1"]);
    ran.expect(1, &["cannot listen on 203.0.113.1:1"]);
}
