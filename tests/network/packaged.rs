//! Proxies that others wrote: tinyproxy, microsocks.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use haul::{ErrorKind, Event};

use crate::authority::{Authority, Order, relay};
use crate::needs::{MICROSOCKS, TINYPROXY};
use crate::through::{builder, server, use_it};
use crate::world::PATIENCE;

/// User name and password that the proxies want.
const USER: &str = "me";
const PASSWORD: &str = "HUSHHUSH";

/// A proxy in a process of its own.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the proxy that `command` makes for an address, and waits until it listens there.
async fn start(command: impl Fn(SocketAddr) -> Command) -> Running {
    let listening = async {
        loop {
            // Free now; somebody else may be faster, and then it is tried again.
            let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let quiet = Stdio::null;
            let mut command = command(address);
            command.stdin(quiet()).stdout(quiet()).stderr(quiet());
            let mut running = Running {
                child: command.spawn().unwrap(),
                address,
            };
            while running.child.try_wait().unwrap().is_none() {
                if tokio::net::TcpStream::connect(address).await.is_ok() {
                    return running;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    let listening = tokio::time::timeout(PATIENCE, listening).await;
    listening.expect("the proxy listens")
}

/// Both planes, plain and encrypted, through a proxy; wrong credentials and a dead proxy are told.
async fn serves(running: Running, scheme: &str, refusal: &str) {
    let authority = Authority::new("ours");
    let (server, address) = server().await;
    let secure = relay(authority.acceptor(Order::good("localhost")), address).await;
    let at = running.address;
    let endpoints = [
        server.url().to_owned(),
        format!("https://localhost:{}", secure.port()),
    ];
    let uploader = |endpoint: &String, password: &str| {
        let builder = builder(&server).endpoint(endpoint);
        let builder = builder.proxy(format!("{scheme}://{USER}:{password}@{at}"));
        builder.ca_file(authority.file()).build().unwrap()
    };
    for endpoint in &endpoints {
        let uploader = uploader(endpoint, PASSWORD);
        use_it(&uploader).await;
        let ways = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ways);
        let put = uploader.put_data("b", "k", "y").on_event(move |event| {
            if let Event::Attempt(attempt) = event {
                seen.lock().unwrap().push(attempt.trace.proxy.clone());
            }
        });
        put.await.unwrap();
        let ways = ways.lock().unwrap();
        let named = Some(format!("{scheme}://{at}"));
        assert!(
            !ways.is_empty() && ways.iter().all(|way| *way == named),
            "{ways:?}"
        );
    }
    let before = server.requests().connections;
    for endpoint in &endpoints {
        let uploader = uploader(endpoint, "wrong");
        let put = uploader.put_data("b", "k", "z").await.unwrap_err();
        let stat = uploader.stat("b", "k").await.unwrap_err();
        assert!(put.to_string().contains(refusal), "{put}");
        for error in [put, stat] {
            assert_eq!(error.kind(), ErrorKind::NoConnection, "{error}");
        }
    }
    drop(running);
    let dead = uploader(&endpoints[0], PASSWORD);
    let error = dead.stat("b", "k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoConnection, "{error}");
    assert_eq!(server.requests().connections, before, "nobody went past it");
}

#[tokio::test(flavor = "multi_thread")]
async fn tinyproxy() {
    let Some(program) = TINYPROXY.ask() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let running = start(|at| {
        let path = dir.path().join(format!("{}.conf", at.port()));
        let text = format!(
            "Listen {}\nPort {}\nBasicAuth {USER} {PASSWORD}\nTimeout 600\nMaxClients 100\n",
            at.ip(),
            at.port()
        );
        write(&path, &text);
        let mut command = Command::new(&program[0]);
        command.arg("-d").arg("-c").arg(path);
        command
    });
    // It says 401 to wrong credentials, and 407 to none.
    serves(running.await, "http", "does not accept the user name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn microsocks() {
    let Some(program) = MICROSOCKS.ask() else {
        return;
    };
    let running = start(|at| {
        let mut command = Command::new(&program[0]);
        let (ip, port) = (at.ip().to_string(), at.port().to_string());
        command.args(["-i", &ip, "-p", &port, "-u", USER, "-P", PASSWORD]);
        command
    });
    serves(running.await, "socks5h", "credentials not accepted").await;
}

fn write(path: &Path, text: &str) {
    let mut file = std::fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}
