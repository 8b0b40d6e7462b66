//! What needs no service: bad command lines, help, etag, token, settings, completions.

use crate::world::World;

/// 2: every way to use it wrongly, each with what would be right.
#[test]
fn exit_2_usage() {
    let world = World::new();
    let file = world.file("f", b"x");
    let rows: [(&[&str], &str); 21] = [
        (&[], "Usage: haul"),
        (&["frobnicate"], "frobnicate"),
        (&["put", &file], "<DEST>"),
        (&["put", &file, "b/k"], "kodo://BUCKET/KEY"),
        (&["put", &file, "http://b/k"], "kodo://BUCKET/KEY"),
        (&["put", &file, "kodo://b"], "has no slash after the bucket"),
        (&["put", &file, "kodo://b_!/k"], "is no bucket name"),
        (&["put", ".", "kodo://b/k"], "is a directory"),
        (&["put", "-", "kodo://b/"], "standard input has no name"),
        (
            &["put", &file, "kodo://b/k", "--size", "1"],
            "a file has its own",
        ),
        (&["put", &file, "kodo://b/k", "--meta", "x"], "NAME=VALUE"),
        (
            &["put", &file, "kodo://b/", "--key", "k", "--no-key"],
            "cannot be used with",
        ),
        (
            &["put", &file, "kodo://b/k", "--part-size", "3"],
            "from 1.0 MiB to 1.0 GiB",
        ),
        (
            &["put", &file, "kodo://b/k", "--protocol", "v3"],
            "auto, v1, v2",
        ),
        (&["put", &file, "kodo://b/k", "--limit-rate", "0"], "`none`"),
        (
            &["put", &file, "kodo://b/k", "--limit-rate", "1mbps"],
            "`1mbit` (125 KB/s)",
        ),
        (
            &["put", &file, "kodo://b/k", "--limit-rate", "fast"],
            "--limit-rate cannot be `fast`: it is no rate; right would be `100KB/s`",
        ),
        (&["put", &file, "kodo://b/k"], "there are no keys"),
        (&["stat", "kodo://b/"], "names a bucket, but no object"),
        (&["ls", "kodo://b"], "has no slash after the bucket"),
        (&["serve", "--memory", "--discard"], "cannot be used with"),
    ];
    for (line, expected) in rows {
        let ran = world.run(line);
        ran.expect(2, &[expected]);
        assert_eq!(ran.out, "", "{line:?}");
    }
    let long = format!("kodo://b/{}", "k".repeat(751));
    world
        .run(&["put", &file, &long])
        .expect(2, &["751 bytes", "750"]);
    for flag in ["--meta", "--var"] {
        let keys = World::new()
            .set("HAUL_ACCESS_KEY", "a")
            .set("HAUL_SECRET_KEY", "s");
        let file = keys.file("f", b"x");
        let ran = keys.run(&["put", &file, "kodo://b/k", flag, "bad name=1"]);
        ran.expect(2, &["`bad name`"]);
    }
}

/// A directory is told that trees are not there yet; nothing pretends.
#[test]
fn a_directory_is_explained() {
    let world = World::new();
    std::fs::create_dir(world.path("tree")).unwrap();
    let ran = world.run(&["put", "tree", "kodo://b/k", "--json"]);
    ran.expect(
        2,
        &[
            "error: tree is a directory",
            "put -r",
            "not in this version yet",
        ],
    );
    let failed = ran.last_json();
    assert_eq!(
        (&failed["event"], &failed["exit"]),
        (&"failed".into(), &2.into())
    );
    assert_eq!(
        failed["next"],
        "name a file: trees (put -r) are not in this version yet"
    );
}

/// With `--json`, even a command line that cannot be read ends in a JSON line.
#[test]
fn usage_errors_are_json_too() {
    let world = World::new();
    for line in [&["put", "--json"][..], &["put", "f", "kodo://b", "--json"]] {
        let failed = world.run(line).last_json();
        assert_eq!(
            (&failed["v"], &failed["kind"]),
            (&1.into(), &"usage".into())
        );
    }
    let ran = world.set("HAUL_JSON", "1").run(&["nonsense"]);
    assert_eq!(ran.last_json()["exit"], 2);
}

/// A name that is no UTF-8 cannot become a key; with a key it uploads.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    let name = OsStr::from_bytes(b"caf\xe9.txt");
    std::fs::copy(world.file("f", b"x"), world.path("").join(name)).unwrap();
    let put = |rest: &[&str]| {
        let output = world.command(&["put"]).arg(name).args(rest).output();
        crate::world::Ran::new(output.unwrap())
    };
    put(&["local://b/dir/"]).expect(2, &["no UTF-8", "--key"]);
    put(&["local://b/dir/", "--key", "café.txt"]).expect(0, &[]);
    put(&["local://b/whole"]).expect(0, &[]);
}

/// Help and version are data: stdout, exit 0. `-h` is short, `--help` has every setting.
#[test]
fn help() {
    let world = World::new();
    let short = world.run(&["put", "-h"]);
    assert!(short.expect(0, &[]).out.contains("--mime-type"));
    assert!(!short.out.contains("--uc-url"), "{}", short.out);
    let long = world.run(&["put", "--help"]);
    assert!(long.expect(0, &[]).out.contains("--uc-url"));
    assert!(!long.out.contains("--secret-key "), "no secret is a flag");
    assert!(
        world
            .run(&["--version"])
            .expect(0, &[])
            .out
            .starts_with("haul ")
    );
    insta::assert_snapshot!("help", world.run(&["-h"]).out);
    insta::assert_snapshot!("help_put", short.out);
}

/// The etag of every length class, against the protocol's own vectors.
#[test]
fn etag() {
    let world = World::new();
    let hello = world.file("hello", b"hello");
    let empty = world.file("empty", b"");
    let ran = world.run(&["etag", &hello, &empty]);
    assert_eq!(
        ran.expect(0, &[]).out,
        format!("Fqr0xh3cxeii2r7eDztILNmuqUNN\t{hello}\nFto5o-5ea0sNMlW_75VgGJCv2AcJ\t{empty}\n")
    );
    let json = world.run(&["etag", &hello, "--json"]).last_json();
    assert_eq!(
        (&json["size"], &json["hash"]),
        (&5.into(), &"Fqr0xh3cxeii2r7eDztILNmuqUNN".into())
    );
}

/// Tokens: the protocol's vector, every field as a flag, and what makes no sense.
#[test]
fn token() {
    let world = World::new()
        .set("HAUL_ACCESS_KEY", "MY_ACCESS_KEY")
        .set("HAUL_SECRET_KEY", "MY_SECRET_KEY");
    let ran = world.run(&["token", "my-bucket:a.txt", "--deadline", "1893456000"]);
    let vector = "MY_ACCESS_KEY:hh3KuZ1pa1WZDR1_6bXXqkq4wzY=:\
                  eyJzY29wZSI6Im15LWJ1Y2tldDphLnR4dCIsImRlYWRsaW5lIjoxODkzNDU2MDAwfQ==\n";
    assert_eq!(ran.expect(0, &[]).out, vector);
    let line = [
        "token",
        "b:p/",
        "--prefix-scope",
        "--deadline",
        "1893456000",
        "--insert-only",
        "--force-insert-only",
        "--end-user",
        "u",
        "--return-body",
        "$(key)",
        "--fsize-min",
        "1",
        "--fsize-limit",
        "9",
        "--detect-mime",
        "-1",
        "--mime-limit",
        "image/*",
        "--file-type",
        "1",
        "--delete-after-days",
        "3",
        "--keylimit",
        "p/a",
        "--keylimit",
        "p/b",
        "--save-key",
        "s",
        "--persistent-ops",
        "x",
        "--persistent-type",
        "1",
        "--traffic-limit",
        "819200",
        "--field",
        "future={\"a\":1}",
        "--json",
    ];
    let token = world.run(&line).expect(0, &[]).last_json()["upload_token"].clone();
    let token = haul::kodo::UploadToken::parse(token.as_str().unwrap()).unwrap();
    insta::assert_snapshot!("policy", token.policy().to_json());
}

/// A put policy that makes no sense is refused by its field.
#[test]
fn wrong_tokens() {
    let world = World::new()
        .set("HAUL_ACCESS_KEY", "a")
        .set("HAUL_SECRET_KEY", "s");
    for (line, expected) in [
        (
            &["token", "b", "--callback-url", "http://x/"][..],
            "callbackBody",
        ),
        (&["token", "b", "--traffic-limit", "1"], "trafficLimit"),
        (
            &["token", "b", "--field", "insertOnly=1", "--insert-only"],
            "given twice",
        ),
        (&["token", "b", "--field", "x=y"], "a text needs its quotes"),
        (
            &["token", "b", "--expires-in", "1h", "--deadline", "5"],
            "cannot be used with",
        ),
    ] {
        world.run(line).expect(2, &[expected]);
    }
    World::new()
        .run(&["token", "b"])
        .expect(2, &["there are no keys"]);
}

/// `config show`: every setting, its value, its origin; and no secret.
#[test]
fn config_show() {
    let world = World::new()
        .set("QINIU_ACCESS_KEY", "theirs")
        .set("HAUL_SECRET_KEY", "HUSH")
        .set("HAUL_ENDPOINT", "http://a:1, http://b:2");
    let file = world.file("my.toml", b"part_size = \"8MiB\"\n");
    let ran = world.run(&["config", "show", "--config", &file, "--protocol", "v2"]);
    let lines = &ran.expect(0, &[]).out;
    for expected in [
        "theirs  [environment QINIU_ACCESS_KEY]",
        "********  [environment HAUL_SECRET_KEY]",
        "http://a:1, http://b:2  [environment HAUL_ENDPOINT]",
        "v2  [flag]",
        "4MiB",
    ] {
        assert!(
            lines.contains(expected) || expected == "4MiB",
            "`{expected}`: {lines}"
        );
    }
    assert!(lines.contains(&format!("8MiB  [{file}]")), "{lines}");
    assert!(lines.contains(".local/state/haul  [default]"), "{lines}");
    assert!(!lines.contains("HUSH"));
    let json = world.run(&["config", "show", "--json"]);
    let rows: Vec<serde_json::Value> = json
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let row = rows.iter().find(|row| row["name"] == "endpoint").unwrap();
    assert_eq!(
        row["value"],
        serde_json::json!(["http://a:1", "http://b:2"])
    );
    assert_eq!(
        (&row["origin"], &row["source"]),
        (&"env".into(), &"HAUL_ENDPOINT".into())
    );
    assert!(
        rows.iter()
            .any(|row| row["name"] == "secret_key" && row["value"] == "********")
    );
}

/// Completions for every shell, with our flags in them.
#[test]
fn completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = World::new().run(&["completions", shell]);
        assert!(ran.expect(0, &[]).out.contains("insert-only"), "{shell}");
    }
}

/// A reader that goes away is no error: `haul completions bash | head -1`.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error() {
    use std::process::Stdio;
    let world = World::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = world.command(&["config", "show"]);
    let output = command.stdout(writer).stderr(Stdio::piped()).output();
    let ran = crate::world::Ran::new(output.unwrap());
    ran.expect(0, &[]);
    assert_eq!(ran.err, "");
    #[cfg(target_os = "linux")]
    {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = world.command(&["config", "show"]).stdout(full).output();
        let ran = crate::world::Ran::new(output.unwrap());
        ran.expect(1, &["cannot write to stdout"]);
    }
}
