//! Hosts that are dead, silent, or a gateway with nothing behind it.

use std::io::ErrorKind;

use haul::devserver::{DevServer, FaultPlan, HostFault, HostState, Operation};
use tokio::net::TcpStream;

use crate::client::{Raw, Seen, mkblk, start};

fn plan(states: &[HostState]) -> FaultPlan {
    let entry = |(host, state): (usize, &HostState)| HostFault {
        host,
        state: *state,
    };
    FaultPlan {
        hosts: states.iter().enumerate().map(entry).collect(),
        ..FaultPlan::default()
    }
}

async fn knock(url: &str) -> Result<(), ErrorKind> {
    let address = url.trim_start_matches("http://");
    TcpStream::connect(address)
        .await
        .map(|_| ())
        .map_err(|error| error.kind())
}

/// Four hosts of one server, each in its state; the region query names them all.
#[tokio::test]
async fn each_host_is_in_its_state() {
    let states = [
        HostState::Ok,
        HostState::Dead,
        HostState::Silent,
        HostState::BadGateway,
    ];
    let server = start(DevServer::builder().hosts(4).faults(plan(&states))).await;
    let urls = server.urls().to_vec();
    assert_eq!(urls.len(), 4);

    let ok = Raw::to(&urls[0])
        .await
        .answer(&mkblk(&server, 1), b"x")
        .await;
    assert_eq!(ok.status(), 200);

    assert_eq!(knock(&urls[1]).await, Err(ErrorKind::ConnectionRefused));

    let mut silent = Raw::to(&urls[2]).await;
    silent.send(&mkblk(&server, 1), b"x").await;
    assert_eq!(silent.look_in_vain().await, Seen::Silence);

    let gateway = Raw::to(&urls[3])
        .await
        .answer(&mkblk(&server, 1), b"x")
        .await;
    assert_eq!(gateway.status_line, "HTTP/1.1 502 Bad Gateway");
    assert_eq!(gateway.header("content-type"), Some("text/html"));
    assert_eq!(
        (gateway.header("x-reqid"), gateway.header("x-log")),
        (None, None)
    );
    assert!(gateway.body.starts_with(b"<html>"));

    let query = format!(
        "GET /v4/query?ak={}&bucket=b HTTP/1.1\r\n",
        server.credentials().access_key.as_str()
    );
    let answer = Raw::to(&urls[0]).await.answer(&query, b"").await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    for url in &urls {
        assert!(
            text.contains(url.trim_start_matches("http://")),
            "{url} in {text}"
        );
    }
    assert_eq!(
        server.requests().of(Operation::Mkblk).requests,
        2,
        "the silent one read nothing"
    );
    server.stop().await;
}

/// A host dies with its connections and comes back under its address, as the plan is replaced.
#[tokio::test]
async fn hosts_die_and_come_back() {
    let server = start(DevServer::builder().hosts(2)).await;
    let url = server.urls()[1].clone();
    for _ in 0..3 {
        let mut raw = Raw::to(&url).await;
        assert_eq!(raw.answer(&mkblk(&server, 1), b"x").await.status(), 200);

        let dead = plan(&[HostState::Ok, HostState::Dead]);
        server.faults().replace(dead).expect("a plan");
        while knock(&url).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(raw.look().await, Seen::Closed { bytes: Vec::new() });

        server
            .faults()
            .replace(FaultPlan::default())
            .expect("a plan");
        while knock(&url).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
    server.stop().await;
}

/// A plan for a host that is not there is refused, not ignored.
#[tokio::test]
async fn hosts_must_be_there() {
    let started = DevServer::builder()
        .faults(plan(&[HostState::Ok, HostState::Dead]))
        .start()
        .await;
    let why = started
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(why.contains("host 1"), "{why}");
}
