//! The official SDKs cannot tell the dev server from Kodo.
//!
//! Each story runs with the Python and with the Node SDK, unchanged and at their defaults but for
//! where they ask for regions. What they report, what stat and list say and what a download gives
//! must agree with what was computed here from the source's bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::content::{self, BLOCK, MIB};
use crate::support::needs::{NODE_SDK, Need, PYTHON_SDK};
use crate::support::peer::{BUCKET, Peer};
use crate::support::server::Server;

/// Both edges of every threshold that an SDK or the protocol has: block, form limit, and five parts.
const SIZES: [usize; 8] = [
    0,
    1,
    BLOCK,
    BLOCK + 1,
    2 * BLOCK - 1,
    2 * BLOCK,
    2 * BLOCK + 1,
    20_000_000,
];

/// The three ways to upload.
const WAYS: [&str; 3] = ["form", "v1", "v2"];

/// Keys that careless code damages on their way through paths, forms, JSON or file systems.
const KEYS: [&str; 16] = [
    "目录/é?.txt",
    " blank at both ends ",
    "q?x=1#f%41%2F%",
    "plus+amp&eq=at@colon:semi;comma,",
    "a//b",
    "/leading",
    "trailing/",
    "..",
    "a/../../b",
    "~",
    "\r\n?&r=1k",
    "tab\tbell\u{7}del\u{7f}",
    "\"quoted\" \\back\\ 'single' <tag>",
    "$(key) ${key} {key}",
    "𝄞 beyond the basic plane",
    "-_=",
];

/// A server, an SDK that uses it, and the folder where both keep their things.
struct Stage {
    command: Vec<PathBuf>,
    scratch: TempDir,
    server: Server,
    peer: Peer,
}

impl Stage {
    /// Nothing when the SDK is missing and may be.
    fn set(need: &Need) -> Option<Self> {
        let command = need.ask()?;
        let scratch = tempfile::tempdir().expect("a folder");
        let server = Server::start(&scratch.path().join("root"));
        let peer = Peer::start(&command, &server.listening, scratch.path());
        Some(Self {
            command,
            scratch,
            server,
            peer,
        })
    }

    /// Writes a source with these bytes.
    fn source(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.scratch.path().join(name);
        content::write(&path, bytes);
        path
    }

    /// The request for an upload with everything at its simplest.
    fn put_request(&self, way: &str, key: Option<&str>, source: &PathBuf) -> Value {
        json!({
            "do": "put",
            "how": way,
            "key": key,
            "source": source,
            "part_len": BLOCK,
            "mime_type": "application/x-peer",
            "recorder": self.scratch.path(),
        })
    }

    /// Kills the SDK's process with SIGKILL and starts a new one.
    fn crash_peer(&mut self) {
        let scratch = self.scratch.path();
        self.peer = Peer::start(&self.command, &self.server.listening, scratch);
    }

    /// Checks what the SDK, its stat and a download say of an object.
    fn check(&mut self, answer: &Value, key: &str, hash: &str, bytes: &[u8]) {
        assert_eq!(answer["status"], 200, "put {key:?}: {answer}");
        assert_eq!(answer["reply"]["key"], key, "{answer}");
        assert_eq!(answer["reply"]["hash"], hash, "put {key:?}: {answer}");
        self.check_stored(key, hash, bytes);
    }

    /// Checks what stat and a download say of an object.
    fn check_stored(&mut self, key: &str, hash: &str, bytes: &[u8]) {
        let stat = self.peer.ask(&json!({"do": "stat", "key": key}));
        assert_eq!(stat["status"], 200, "stat {key:?}: {stat}");
        assert_eq!(stat["reply"]["hash"], hash, "stat {key:?}: {stat}");
        assert_eq!(stat["reply"]["fsize"], bytes.len(), "stat {key:?}: {stat}");
        let object = self.server.object(BUCKET, key).expect("it can be read");
        assert!(object.body == bytes, "{key:?} has other bytes");
    }

    /// Lists every key under `prefix`, three at a time.
    fn list(&mut self, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut marker = Value::Null;
        loop {
            let request = json!({"do": "list", "prefix": prefix, "marker": marker, "limit": 3});
            let page = self.peer.ask(&request);
            assert_eq!(page["status"], 200, "list {prefix:?}: {page}");
            let items = page["reply"]["items"].as_array().expect("items");
            assert!(items.len() <= 3, "{page}");
            let names = items.iter().filter_map(|item| item["key"].as_str());
            keys.extend(names.map(str::to_owned));
            marker = page["reply"]["marker"].clone();
            if marker.as_str().is_none_or(str::is_empty) {
                return keys;
            }
            assert!(keys.len() < 1000, "list never ends: {page}");
        }
    }

    /// Deletes an object; a second time there is nothing to delete, and nothing to stat.
    fn delete(&mut self, key: &str) {
        for (verb, status) in [("delete", 200), ("delete", 612), ("stat", 612)] {
            let answer = self.peer.ask(&json!({"do": verb, "key": key}));
            assert_eq!(answer["status"], status, "{verb} {key:?}: {answer}");
        }
    }
}

/// Every size in every way, then list and delete. With `crashes` the server is killed and started
/// again after the first part and after the last but one of every upload that has several, and
/// before stat and delete. `empty_ways` are those by which the SDK uploads nothing at all: Python
/// refuses an empty stream, and in v2 Kodo refuses an empty list of parts.
fn sizes(need: &Need, empty_ways: &[&str], crashes: bool) {
    let Some(mut stage) = Stage::set(need) else {
        return;
    };
    let mut stored = BTreeMap::new();
    for (seed, len) in SIZES.into_iter().enumerate() {
        let bytes = content::bytes(seed as u64, len);
        let source = stage.source(&format!("{len}.bin"), &bytes);
        for way in WAYS {
            if len == 0 && !empty_ways.contains(&way) {
                continue;
            }
            let key = format!("sizes/{way}/{len}");
            let mut request = stage.put_request(way, Some(&key), &source);
            let mut pauses = match len.div_ceil(BLOCK) {
                parts if crashes && way != "form" && parts > 1 => vec![1, parts - 1],
                _ => Vec::new(),
            };
            pauses.dedup();
            request["one_by_one"] = json!(!pauses.is_empty());
            request["pauses"] = json!(pauses);
            let mut answer = stage.peer.ask(&request);
            for _ in pauses {
                assert_eq!(answer["paused"], true, "{key}: {answer}");
                stage.server.crash();
                answer = stage.peer.go_on();
            }
            if crashes {
                stage.server.crash();
            }
            stage.check(&answer, &key, &content::etag(&bytes), &bytes);
            stored.insert(key, ());
        }
    }
    let keys: Vec<_> = stored.into_keys().collect();
    assert_eq!(stage.list("sizes/"), keys);
    for key in keys {
        if crashes {
            stage.server.crash();
        }
        stage.delete(&key);
    }
    assert_eq!(stage.list("sizes/"), Vec::<String>::new());
}

/// Every awkward key in every way; a key of 750 bytes; the empty key and no key at all.
fn keys(need: &Need) {
    let Some(mut stage) = Stage::set(need) else {
        return;
    };
    let longest = format!("{}{}", "long/".repeat(75), "é".repeat(187)) + "x";
    assert_eq!(longest.len(), 750);
    for (seed, way) in WAYS.into_iter().enumerate() {
        for (index, key) in KEYS.iter().copied().chain([longest.as_str()]).enumerate() {
            let bytes = content::bytes(1000 * seed as u64 + index as u64, 100 + index);
            let source = stage.source("key.bin", &bytes);
            let request = stage.put_request(way, Some(key), &source);
            let answer = stage.peer.ask(&request);
            stage.check(&answer, key, &content::etag(&bytes), &bytes);
        }
        let mut expected: Vec<_> = KEYS.iter().map(ToString::to_string).collect();
        expected.push(longest.clone());
        expected.sort();
        assert_eq!(stage.list(""), expected, "{way}");
        for key in &expected {
            stage.delete(key);
        }
        // The SDKs have no empty key in v1 and v2: they send it as no key.
        for (index, key) in [None, Some("")].into_iter().enumerate() {
            let bytes = content::bytes(9000 + seed as u64, 50 + index);
            let hash = content::etag(&bytes);
            let source = stage.source("nokey.bin", &bytes);
            let request = stage.put_request(way, key, &source);
            let answer = stage.peer.ask(&request);
            let name = match key {
                Some("") if way == "form" => "",
                _ => hash.as_str(),
            };
            stage.check(&answer, name, &hash, &bytes);
            stage.delete(name);
        }
    }
}

/// Custom variables, metadata, mime type, file name and policy come through in every way, for an
/// object of one part and for one of two.
fn fields(need: &Need) {
    let Some(mut stage) = Stage::set(need) else {
        return;
    };
    let template = r#"{"key":$(key),"hash":$(etag),"size":$(fsize),"quoted":"$(fsize)",
        "name":$(fname),"mime":$(mimeType),"user":$(x:user),"bucket":$(bucket),"end":$(endUser)}"#;
    for way in WAYS {
        for len in [5, BLOCK + 5] {
            let bytes = content::bytes(7, len);
            let source = stage.source("näme \"x\".txt", &bytes);
            let key = format!("fields/{way}/{len}");
            let mut request = stage.put_request(way, Some(&key), &source);
            request["mime_type"] = json!("text/plain");
            request["vars"] = json!({"x:user": "Jörg & Söhne / 100%"});
            request["metadata"] = json!({"x-qn-meta-color": "dark red", "x-qn-meta-n_1": "ü"});
            request["policy"] = json!({"returnBody": template, "endUser": "someone"});
            let answer = stage.peer.ask(&request);
            assert_eq!(answer["status"], 200, "{answer}");
            let hash = content::etag(&bytes);
            let name = answer["reply"]["name"].as_str().unwrap_or_default();
            // How a quote in a file name travels in a form is the SDK's affair.
            assert!(
                name.starts_with("näme ") && name.ends_with(".txt"),
                "{answer}"
            );
            let expected = json!({
                "key": key, "hash": hash, "size": len, "quoted": len.to_string(), "name": name,
                "mime": "text/plain", "user": "Jörg & Söhne / 100%", "bucket": BUCKET,
                "end": "someone",
            });
            assert_eq!(answer["reply"], expected);
            let stat = stage.peer.ask(&json!({"do": "stat", "key": key}))["reply"].clone();
            assert_eq!(stat["mimeType"], "text/plain", "{stat}");
            assert_eq!(stat["endUser"], "someone", "{stat}");
            assert_eq!(
                stat["x-qn-meta"],
                json!({"color": "dark red", "n_1": "ü"}),
                "{stat}"
            );
            stage.check_stored(&key, &hash, &bytes);
        }
    }
}

/// Parts of other sizes than a block give v2's own hash.
fn part_sizes(need: &Need) {
    let Some(mut stage) = Stage::set(need) else {
        return;
    };
    for (part_len, len) in [(MIB, 3 * MIB + 1), (5 * MIB, 12 * MIB), (16 * MIB, 6 * MIB)] {
        let bytes = content::bytes(part_len as u64, len);
        let source = stage.source("parts.bin", &bytes);
        let key = format!("parts/{part_len}");
        let mut request = stage.put_request("v2", Some(&key), &source);
        request["part_len"] = json!(part_len);
        let answer = stage.peer.ask(&request);
        let hash = content::etag_of_parts(&bytes, part_len);
        stage.check(&answer, &key, &hash, &bytes);
    }
}

/// A client killed in the middle goes on from its own record, and the parts it has recorded are not
/// sent again. In the second round the server is killed as well.
fn resumes(need: &Need) {
    let Some(mut stage) = Stage::set(need) else {
        return;
    };
    for way in ["v1", "v2"] {
        for server_too in [false, true] {
            let bytes = content::bytes(u64::from(server_too), 20_000_000);
            let source = stage.source(&format!("{way}-{server_too}.bin"), &bytes);
            let key = format!("resumed/{way}/{server_too}");
            let mut request = stage.put_request(way, Some(&key), &source);
            request["pauses"] = json!([2]);
            let paused = stage.peer.ask(&request);
            assert_eq!(paused["paused"], true, "{paused}");
            if server_too {
                stage.server.crash();
            }
            stage.crash_peer();
            request["pauses"] = json!([]);
            let answer = stage.peer.ask(&request);
            stage.check(&answer, &key, &content::etag(&bytes), &bytes);
            let sent = answer["progress"].as_array().map_or(0, Vec::len);
            assert_eq!(sent, 3, "two of five parts were recorded: {answer}");
        }
    }
}

#[test]
fn python_sizes() {
    sizes(&PYTHON_SDK, &["form"], false);
}

#[test]
fn python_sizes_while_the_server_crashes() {
    sizes(&PYTHON_SDK, &["form"], true);
}

#[test]
fn python_keys() {
    keys(&PYTHON_SDK);
}

#[test]
fn python_fields() {
    fields(&PYTHON_SDK);
}

#[test]
fn python_part_sizes() {
    part_sizes(&PYTHON_SDK);
}

#[test]
fn python_resumes() {
    resumes(&PYTHON_SDK);
}

#[test]
fn node_sizes() {
    sizes(&NODE_SDK, &["form", "v1"], false);
}

#[test]
fn node_sizes_while_the_server_crashes() {
    sizes(&NODE_SDK, &["form", "v1"], true);
}

#[test]
fn node_keys() {
    keys(&NODE_SDK);
}

#[test]
fn node_fields() {
    fields(&NODE_SDK);
}

#[test]
fn node_part_sizes() {
    part_sizes(&NODE_SDK);
}

#[test]
fn node_resumes() {
    resumes(&NODE_SDK);
}
