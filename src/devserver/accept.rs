//! One listen address: its socket, whom it lets in, and how it plays dead.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Type};
use tokio::net::TcpListener;
#[cfg(test)]
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::devserver::connection;
use crate::devserver::faults::HostState;
use crate::devserver::faults::matching::Arrival;
use crate::devserver::server::Shared;
use crate::devserver::socket::Socket;

/// Connections the kernel keeps until they are accepted; more than any client of ours opens at once.
const BACKLOG: i32 = 1024;

/// Segment size on a shaped line, in bytes: Ethernet's. Loopback's own of 64 KiB is more than the
/// small buffers of a slow line hold, and the kernel then deals in windows of a whole segment.
#[cfg(unix)]
const SEGMENT_LEN: u32 = 1448;

/// Rest after a failed accept: with no file descriptor left, trying on at once is a busy loop.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Where a door without a port is, and where those come from who use it.
#[cfg(test)]
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A port that belongs to this server, open or shut. A shut one is bound and not listened to: nobody
/// else gets it, and who knocks is refused.
pub(crate) struct Door {
    address: SocketAddr,
    state: DoorState,
    /// Receive buffer of accepted sockets; `None` leaves it to the kernel.
    buffer_len: Option<usize>,
}

enum DoorState {
    Shut(socket2::Socket),
    Open(TcpListener),
    /// The port could not be bound again: only if another process took it in between.
    Lost,
    /// No port at all: connections come from within the process.
    #[cfg(test)]
    Within(mpsc::UnboundedReceiver<Socket>),
}

impl Door {
    /// Binds `address`, whose port may be 0, and leaves the door shut.
    pub(crate) fn new(address: SocketAddr, buffer_len: Option<usize>) -> io::Result<Self> {
        let socket = bind(address, buffer_len)?;
        let bound = socket.local_addr()?.as_socket();
        Ok(Self {
            address: bound.unwrap_or(address),
            state: DoorState::Shut(socket),
            buffer_len,
        })
    }

    /// A door without a port, for those who come through `coming`.
    #[cfg(test)]
    pub(crate) fn within(coming: mpsc::UnboundedReceiver<Socket>) -> Self {
        Self {
            address: NOWHERE,
            state: DoorState::Within(coming),
            buffer_len: None,
        }
    }

    /// Where it is, with its real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to listen, unless it does so already.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        let state = match std::mem::replace(&mut self.state, DoorState::Lost) {
            DoorState::Open(listener) => DoorState::Open(listener),
            DoorState::Shut(socket) => DoorState::Open(listen(socket)?),
            DoorState::Lost => DoorState::Open(listen(bind(self.address, self.buffer_len)?)?),
            #[cfg(test)]
            DoorState::Within(coming) => DoorState::Within(coming),
        };
        self.state = state;
        Ok(())
    }

    /// Stops listening, unless it does so already. Those waiting to be accepted are reset.
    fn shut(&mut self) -> io::Result<()> {
        if let DoorState::Open(_) = self.state {
            self.state = DoorState::Lost;
        }
        if let DoorState::Lost = self.state {
            self.state = DoorState::Shut(bind(self.address, self.buffer_len)?);
        }
        Ok(())
    }

    /// The next one who comes; waits for ever at a door that is not open.
    async fn accept(&mut self) -> io::Result<(Socket, SocketAddr)> {
        match &mut self.state {
            DoorState::Open(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Socket::tcp(stream), peer))
            }
            DoorState::Shut(_) | DoorState::Lost => std::future::pending().await,
            #[cfg(test)]
            DoorState::Within(coming) => match coming.recv().await {
                Some(socket) => Ok((socket, NOWHERE)),
                None => std::future::pending().await,
            },
        }
    }
}

fn bind(address: SocketAddr, buffer_len: Option<usize>) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A server that comes back must get its port although old connections linger. On Windows the
    // option would let two servers share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if let Some(len) = buffer_len {
        socket.set_recv_buffer_size(len)?;
        #[cfg(unix)]
        socket.set_tcp_mss(SEGMENT_LEN)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: socket2::Socket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Lets connections in at one door and serves them, as the plan says, until the server stops; then
/// waits for them.
pub(crate) async fn attend(shared: Arc<Shared>, host: usize, mut door: Door) {
    let mut changes = shared.faults.changes();
    let mut served = JoinSet::new();
    let mut count_of_host = 0;
    loop {
        let state = shared.faults.host_state(host);
        let obeyed = match state {
            HostState::Dead => {
                served.abort_all();
                door.shut()
            }
            HostState::Ok | HostState::Silent | HostState::BadGateway => door.open(),
        };
        if let Err(error) = obeyed {
            tracing::warn!(address = %door.address, %error, "cannot take the port back");
        }
        tokio::select! {
            biased;
            () = shared.until_stopping() => break,
            _ = changes.changed() => {}
            // Forgets those that ended.
            Some(_) = served.join_next() => {}
            accepted = door.accept() => match accepted {
                Ok((socket, peer)) => {
                    count_of_host += 1;
                    let arrival = Arrival {
                        host,
                        connection: shared.counters.connection(),
                        connection_of_host: count_of_host,
                    };
                    served.spawn(admit(Arc::clone(&shared), arrival, peer, socket));
                }
                Err(error) => {
                    tracing::warn!(address = %door.address, %error, "cannot accept");
                    sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    // Nobody new; those here finish what they are at.
    drop(door);
    while served.join_next().await.is_some() {}
}

/// Serves a connection, or holds it in silence.
async fn admit(shared: Arc<Shared>, arrival: Arrival, peer: SocketAddr, socket: Socket) {
    if shared.faults.host_state(arrival.host) == HostState::Silent {
        return connection::ignore(&shared, socket).await;
    }
    connection::serve(shared, arrival, peer, socket).await;
}
