//! No secret key, token or signature is ever written, at the highest verbosity, whatever happens.

use crate::world::{Server, World, content};

/// Everything that was said in runs that succeed, fail, and fail in odd ways.
#[test]
fn nothing_leaks() {
    let server = Server::new();
    let token = server.token("k", |_| {});
    let expired = server.token("k", |policy| policy.deadline = 1);
    let secret = server.server.credentials().secret_key.expose().to_owned();
    // The first part is the access key, which is public.
    let parts = token.split(':').skip(1).chain(expired.split(':').skip(1));
    let hushed: Vec<&str> = [
        secret.as_str(),
        "WRONG-SECRET",
        "UpToken ",
        "QBox ",
        "Qiniu ",
        "PROXY-PASSWORD",
        // `me:PROXY-PASSWORD` as `Proxy-Authorization` has it.
        "bWU6UFJPWFktUEFTU1dPUkQ",
    ]
    .into_iter()
    .chain(parts)
    .collect();
    let by_keys = || World::beside(&server).set("HAUL_RETRY_BUDGET", "300ms");
    let worlds = [
        by_keys(),
        by_keys().set("HAUL_SECRET_KEY", "WRONG-SECRET"),
        by_keys().set("HAUL_UPLOAD_TOKEN", &token),
        by_keys().set("HAUL_UPLOAD_TOKEN", &expired),
        by_keys().set("HAUL_UPLOAD_TOKEN", &format!("{token}x")),
        by_keys().set("HAUL_SECRET_KEY", "WRONG-SECRET with blanks"),
        by_keys().set("HAUL_ENDPOINT", "http://127.0.0.1:1"),
        by_keys().set("HAUL_PROXY", "http://me:PROXY-PASSWORD@127.0.0.1:1"),
        by_keys().set("HAUL_PROXY", "socks5://me:PROXY-PASSWORD@127.0.0.1:1"),
        by_keys().set("HAUL_PROXY", "ftp://me:PROXY-PASSWORD@127.0.0.1:1"),
        by_keys().set("ALL_PROXY", "http://me:PROXY-PASSWORD@"),
    ];
    for world in worlds {
        let small = world.file("small", b"x");
        let large = world.file("large", &content(2 << 20));
        for line in [
            &["put", &small, "kodo://b/k"][..],
            &["put", &large, "kodo://b/k"],
            &["put", &large, "kodo://b/k", "--protocol", "v2"],
            &["stat", "kodo://b/k"],
            &["ls", "kodo://b/"],
            &["rm", "kodo://b/k"],
            &["config", "show"],
        ] {
            for extra in [&["-vv"][..], &["-vv", "--json"]] {
                let ran = world.run(&[line, extra].concat());
                let said = format!("{}{}", ran.out, ran.err);
                for secret in &hushed {
                    assert!(!said.contains(secret), "{line:?} says {secret}: {said}");
                }
            }
        }
    }
}

/// `-vv` shows every request, so that the test above looks at something.
#[test]
fn the_log_is_there() {
    let server = Server::new();
    let world = World::beside(&server);
    let file = world.file("f", &content(2 << 20));
    let ran = world.run(&["put", &file, "kodo://b/k", "-vv"]);
    ran.expect(
        0,
        &[
            " mkblk http",
            " bput http",
            " mkfile http",
            "fresh",
            "reused",
        ],
    );
    let quiet = world.run(&["put", &file, "kodo://b/k"]);
    assert_eq!(quiet.err, "", "nothing to say to people without a terminal");
}
