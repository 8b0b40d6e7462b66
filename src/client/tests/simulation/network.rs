//! The network within the process: hosts by name, connections to them, what goes wrong on the way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout};

use crate::client::tests::simulation::flow::Flow;
use crate::client::tests::simulation::line::{Line, Way};
use crate::client::tests::simulation::link::{ClientEnd, Link, PipeGauge, ServerEnd};
use crate::clock;
use crate::devserver::DevServer;
use crate::devserver::socket::Socket;
use crate::model::{Endpoint, Failure, FailureKind};
use crate::transport::wire::{Dial, Dialing, Wire};

/// How long a host may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection on which nothing arrives any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// Which connection, counted from 1 over the whole world.
    pub(super) connection: u64,
    /// After so many bytes were delivered to the server, or to the client.
    pub(super) after_bytes: u64,
    /// Towards the server, the client, or both.
    pub(super) up: bool,
    pub(super) down: bool,
}

/// What a host does for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// Its machine is up and nobody listens; connections it had are reset.
    Refuses,
    /// It swallows every SYN; connections it had go on.
    Swallows,
}

/// How kernels at both ends behave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernels {
    /// Most bytes written and not acknowledged, beyond what a round trip holds.
    pub(super) send_buffer: u64,
    /// Most bytes received and not read, beyond the same.
    pub(super) receive_buffer: u64,
    /// A reset takes what was not read yet with it.
    pub(super) reset_drops_unread: bool,
}

/// The network. Shared by the client, the server's life and the checks.
pub(super) struct Network {
    line: Arc<Mutex<Line>>,
    kernels: Kernels,
    hosts: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    server: Option<DevServer>,
    /// Connections begun so far.
    connections: u64,
    links: Vec<(usize, Weak<Link>)>,
    holes: BTreeMap<u64, Hole>,
    absences: Vec<(usize, Absence, Instant, Instant)>,
}

impl Network {
    pub(super) fn new(line: Line, kernels: Kernels, hosts: Vec<String>, holes: &[Hole]) -> Self {
        let holes = holes.iter().map(|hole| (hole.connection, *hole));
        Self {
            line: Arc::new(Mutex::new(line)),
            kernels,
            hosts,
            state: Mutex::new(State {
                holes: holes.collect(),
                ..State::default()
            }),
        }
    }

    /// Puts a server behind all hosts, or takes it away; gives the one that was there.
    pub(super) fn serve(&self, server: Option<DevServer>) -> Option<DevServer> {
        std::mem::replace(&mut self.state().server, server)
    }

    /// Looks at the server that is there.
    pub(super) fn with_server<T>(&self, look: impl FnOnce(&DevServer) -> T) -> Option<T> {
        self.state().server.as_ref().map(look)
    }

    /// A host is absent from a moment until another.
    pub(super) fn absent(&self, host: usize, how: Absence, from: Instant, until: Instant) {
        self.state().absences.push((host, how, from, until));
    }

    /// Ends every connection to the hosts that are meant: by a reset, or as if the server had closed.
    pub(super) fn cut(&self, is_meant: impl Fn(usize) -> bool, reset: bool) {
        let links: Vec<Arc<Link>> = {
            let state = self.state();
            let meant = state.links.iter().filter(|(host, _)| is_meant(*host));
            meant.filter_map(|(_, link)| link.upgrade()).collect()
        };
        for link in links {
            link.cut(reset);
        }
    }

    /// How many connections the client has made so far.
    pub(super) fn connections(&self) -> u64 {
        self.state().connections
    }

    /// How many connections the client holds.
    pub(super) fn open_connections(&self) -> usize {
        let state = self.state();
        let links = state.links.iter().filter_map(|(_, link)| link.upgrade());
        links.filter(|link| link.is_open()).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The absence of `host` at `now`, if it is absent.
    fn absence(&self, host: usize, now: Instant) -> Option<Absence> {
        let state = self.state();
        let mut absences = state.absences.iter();
        let found = absences
            .find(|(absent, _, from, until)| *absent == host && (*from..*until).contains(&now));
        found.map(|(_, how, ..)| *how)
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Wire, Failure> {
        let name = endpoint.authority();
        let no = |why: &str| Failure::new(FailureKind::Connect, format!("{endpoint}: {why}"));
        let host = self.hosts.iter().position(|host| host == name);
        let host = host.ok_or_else(|| no("no such host"))?;
        let arrives = {
            let line = self.line();
            line.up_from(line.up_from(clock::instant()) + line.latency)
        };
        sleep_until(arrives.into()).await;
        match self.absence(host, clock::instant()) {
            Some(Absence::Swallows) => std::future::pending().await,
            Some(Absence::Refuses) => return Err(no("connection refused")),
            None => {}
        }
        let link = self.link(host);
        let carrier = Arc::new(ServerEnd(Arc::clone(&link)));
        let stream = ClientEnd(Arc::clone(&link));
        let admitted = self.with_server(|server| server.admit(host, Socket::over(carrier)));
        if admitted != Some(true) {
            return Err(no("connection refused"));
        }
        Ok(Wire {
            stream: Box::new(stream),
            gauge: Arc::new(PipeGauge(link)),
            address: name.to_owned(),
            proxy: None,
            plain_proxy: None,
        })
    }

    /// A new connection to `host`.
    fn link(&self, host: usize) -> Arc<Link> {
        let mut state = self.state();
        state.connections += 1;
        let hole = state.holes.get(&state.connections).copied();
        let round_trip = self.line().in_round_trip(clock::instant());
        let kernels = self.kernels;
        let flow = |way| {
            let send_buffer = kernels.send_buffer + 2 * round_trip;
            let receive_buffer = kernels.receive_buffer + 2 * round_trip;
            let mut flow = Flow::new(way, send_buffer, receive_buffer);
            flow.reset_drops_unread = kernels.reset_drops_unread;
            flow.hole_at = hole.and_then(|hole| match way {
                Way::Up => hole.up.then_some(hole.after_bytes),
                Way::Down => hole.down.then_some(hole.after_bytes),
            });
            flow
        };
        let link = Link::new(&self.line, flow);
        state.links.push((host, Arc::downgrade(&link)));
        link
    }
}

/// The way of the client into a network.
pub(super) struct PipeDial(pub(super) Arc<Network>);

impl Dial for PipeDial {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> Dialing<'a> {
        Box::pin(async move {
            match timeout(CONNECT_TIMEOUT, self.0.connect(endpoint)).await {
                Ok(connected) => connected,
                Err(_) => Err(Failure::new(
                    FailureKind::Connect,
                    format!("{endpoint} did not accept a connection within 10 s"),
                )),
            }
        })
    }
}
