//! The program: proxies from its environment, certificates it refuses, and what it never says.

use std::net::SocketAddr;
use std::path::Path;

use crate::authority::{Authority, Order, relay};
use crate::http_proxy::HttpProxy;
use crate::world::{Server, World, content};

/// `https_proxy` and the like count; the proxy is shown, its password is not.
#[test]
fn proxies_of_the_environment() {
    let server = Server::new();
    let proxy = HttpProxy {
        authorization: Some("Basic bWU6SFVTSA=="),
        ..HttpProxy::default()
    };
    let start = proxy.start(address(&server), None);
    let at = server.runtime.block_on(start);
    let url = format!("http://me:HUSH@{at}");
    let world = World::beside(&server)
        .set("HAUL_ENDPOINT", "http://up.haul.invalid")
        .set("HAUL_RETRY_BUDGET", "300ms");
    let file = world.file("f", &content(2 << 20));
    let runs = |world: &World, line: &[&str], code: i32, words: &[&str]| {
        let ran = world.run(line);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(
            !said.contains("HUSH") && !said.contains("bWU6SFVTSA"),
            "{said}"
        );
        for words in words {
            assert!(said.contains(words), "`{words}` is not in {said}");
        }
        assert_eq!(ran.code, Some(code), "{said}");
    };
    let world = world.set("http_proxy", &url);
    let shown = format!("proxy http://{at}");
    runs(&world, &["put", &file, "kodo://b/k", "-vv"], 0, &[&shown]);
    runs(&world, &["stat", "kodo://b/k", "-v"], 0, &[&shown]);
    let masked = format!("http://me:********@{at}");
    runs(
        &world,
        &["config", "show"],
        0,
        &[&masked, "environment http_proxy"],
    );
    assert!(!proxy.let_through().is_empty());

    // Wrong, and none: no network path (exit 6), with the reason.
    let world = world.set("http_proxy", &format!("http://me:HUSH-wrong@{at}"));
    for line in [&["put", &file, "kodo://b/k"][..], &["stat", "kodo://b/k"]] {
        runs(&world, line, 6, &[&shown, "407"]);
    }
    runs(
        &world,
        &["stat", "kodo://b/k", "--proxy", "none"],
        6,
        &["up.haul.invalid"],
    );
    let looked = look_into(&world.path(".local"));
    assert_ne!(looked, 0, "a journal is there");
}

/// Looks for the password in every file below `dir`; how many files there were.
fn look_into(dir: &Path) -> usize {
    let looked = std::fs::read_dir(dir).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return look_into(&path);
        }
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("HUSH"), "{}: {text}", path.display());
        1
    });
    looked.sum()
}

/// A machine without certificate authorities of its own has Mozilla's, and those of a file.
#[test]
#[cfg(target_os = "linux")]
fn no_authorities_here() {
    let authority = Authority::new("ours");
    let server = Server::new();
    let acceptor = authority.acceptor(Order::good("localhost"));
    let relay = relay(acceptor, address(&server));
    let at = server.runtime.block_on(relay);
    let world = World::beside(&server);
    let empty = world.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let world = world
        .set("HAUL_ENDPOINT", &format!("https://localhost:{}", at.port()))
        .set("HAUL_RETRY_BUDGET", "300ms")
        .set("SSL_CERT_DIR", &empty.display().to_string())
        .set(
            "SSL_CERT_FILE",
            &empty.join("none.pem").display().to_string(),
        );
    let file = world.file("f", b"x");
    let line = ["put", &file, "kodo://b/k", "-vv"];
    world.run(&line).expect(6, &["ca_file"]);
    let ca_file = authority.file().display().to_string();
    world
        .set("HAUL_CA_FILE", &ca_file)
        .run(&line)
        .expect(0, &[]);
}

/// What is wrong with a certificate is said, and the exit code is that of the network.
#[test]
fn bad_certificates() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let server = Server::new();
    let good = Order::good("localhost");
    let expired = Order {
        expired: true,
        ..good
    };
    let elsewhere = Order::good("elsewhere.example");
    for (story, issuer, order, code, words) in [
        ("good", &ours, good, 0, ""),
        ("expired", &ours, expired, 6, "expired on Mon, 03 Feb 2020"),
        ("wrong name", &ours, elsewhere, 6, "elsewhere.example"),
        ("unknown issuer", &others, good, 6, "ca_file"),
    ] {
        let at = server
            .runtime
            .block_on(relay(issuer.acceptor(order), address(&server)));
        let world = World::beside(&server)
            .set("HAUL_ENDPOINT", &format!("https://localhost:{}", at.port()))
            .set("HAUL_CA_FILE", &ours.file().display().to_string())
            .set("HAUL_RETRY_BUDGET", "300ms");
        let file = world.file("f", b"x");
        for line in [&["put", &file, "kodo://b/k"][..], &["stat", "kodo://b/k"]] {
            let ran = world.run(line);
            assert_eq!(ran.code, Some(code), "{story}: {ran:?}");
            assert!(ran.err.contains(words), "{story}: {ran:?}");
        }
    }
}

/// Where the server listens.
fn address(server: &Server) -> SocketAddr {
    let url = server.server.url();
    url.trim_start_matches("http://").parse().unwrap()
}
