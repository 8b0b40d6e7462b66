//! TCP's congestion control: BBR over far lines, where the kernel lets this process have it.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::transport::socket;

/// What the kernel calls BBR.
#[cfg(target_os = "linux")]
const BBR: &str = "bbr";

/// What BBR stands in for unasked: those that take every lost packet for a full line. Whoever set his
/// system to another one had a reason.
#[cfg(target_os = "linux")]
const LOSS_BASED: [&str; 2] = ["cubic", "reno"];

/// A round trip that makes a line far. Over a shorter way losses cost little of a slow line: with 1 % of all
/// packets lost CUBIC still carries about 10 Mbit/s. Source: the law of Mathis et al. 1997, "The macroscopic
/// behavior of the TCP congestion avoidance algorithm".
const FAR: Duration = Duration::from_millis(10);

/// Addresses whose round trip is known, at most: more than any bucket has. Beyond it all are asked anew.
const ADDRESSES_MAX: usize = 256;

/// TCP's congestion control: how a connection reacts to losses, for
/// [`congestion_control`](crate::UploaderBuilder::congestion_control).
///
/// What most systems use (CUBIC) takes every lost packet for a full line and slows down. Over a long way
/// that loses packets for other reasons, a connection then carries a small part of what the line could. BBR
/// goes by what arrives instead: 32 MB over 50 Mbit/s with 80 ms and 0.5 % loss took 7 s in place of 55
/// (row `far-lossy` of `cargo bench --bench lines`).
///
/// haul can ask only Linux for it, connection by connection. Elsewhere [`Auto`](Self::Auto) is
/// [`System`](Self::System).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CongestionControl {
    /// BBR in place of CUBIC or Reno on connections over far lines, if the kernel lets this process have it;
    /// else what the system uses. A line is far if no handshake with that address was quicker than 10 ms: a
    /// queue that was full from the beginning counts as way.
    ///
    /// The kernel lets everybody have what `net.ipv4.tcp_allowed_congestion_control` names, and a process
    /// with `CAP_NET_ADMIN` (root, but not root in an ordinary container) all that it has. For root outside of
    /// containers it also loads its module `tcp_bbr`.
    #[default]
    Auto,
    /// BBR on every connection. Where the system does not let this process have it, uploads fail before
    /// anything is sent ([`ErrorKind::Config`](crate::ErrorKind::Config)).
    Bbr,
    /// What the system uses.
    System,
}

/// Whether new connections use BBR.
#[derive(Debug)]
pub(super) struct Congestion {
    wish: CongestionControl,
    /// The kernel said no. Asked again for every connection it would look for its module each time.
    is_refused: AtomicBool,
    has_told: AtomicBool,
    /// The shortest round trip of a handshake with each address: a full queue makes a near line look far.
    shortest: Mutex<HashMap<IpAddr, Duration>>,
}

impl Congestion {
    pub(super) fn new(wish: CongestionControl) -> Self {
        Self {
            wish,
            is_refused: AtomicBool::new(false),
            has_told: AtomicBool::new(false),
            shortest: Mutex::default(),
        }
    }

    /// Has a connection that was just made to `address` use BBR, if it should and may; whether it was told to.
    pub(super) fn choose(&self, stream: &TcpStream, address: IpAddr) -> bool {
        // All that the kernel knows of a new connection is the round trip of its handshake.
        let round_trip = self.shortest_to(address, socket::round_trip(stream));
        self.choose_over(stream, address, round_trip)
    }

    fn choose_over(
        &self,
        stream: &TcpStream,
        address: IpAddr,
        round_trip: Option<Duration>,
    ) -> bool {
        let is_far = round_trip.is_some_and(|time| time >= FAR);
        let wants = match self.wish {
            CongestionControl::Auto => is_far && is_loss_based(stream),
            CongestionControl::Bbr => true,
            CongestionControl::System => false,
        };
        if !wants || self.is_refused.load(Ordering::Relaxed) {
            return false;
        }
        let told = set_bbr(stream);
        if let Err(why) = &told {
            self.is_refused.store(true, Ordering::Relaxed);
            let (why, _) = bbr_refusal(why);
            // A name of its own, since people who ask with `-v` are not shown what the transport logs.
            tracing::info!(target: "haul::line", "connections do without BBR: {why}");
        } else if !self.has_told.swap(true, Ordering::Relaxed) {
            let millis = round_trip.map_or(0, |time| time.as_millis());
            tracing::info!(
                target: "haul::line",
                "the connection to {address} uses BBR: a round trip takes {millis} ms"
            );
        }
        told.is_ok()
    }

    /// The shortest round trip to `address`, of which one more is known.
    fn shortest_to(&self, address: IpAddr, round_trip: Option<Duration>) -> Option<Duration> {
        let mut shortest = self.shortest.lock().unwrap_or_else(PoisonError::into_inner);
        if shortest.len() >= ADDRESSES_MAX {
            shortest.clear();
        }
        let Some(round_trip) = round_trip else {
            return shortest.get(&address).copied();
        };
        let known = shortest.entry(address).or_insert(round_trip);
        *known = round_trip.min(*known);
        Some(*known)
    }
}

/// Whether this process may have BBR on its connections; else why not.
#[cfg(target_os = "linux")]
pub(crate) fn may_have_bbr() -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_tcp_congestion(BBR.as_bytes())
}

/// Whether this process may have BBR on its connections: there is no way to ask for it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn may_have_bbr() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What a refusal of BBR means, and what would help.
pub(crate) fn bbr_refusal(why: &io::Error) -> (String, &'static str) {
    match why.kind() {
        io::ErrorKind::NotFound => (
            "the kernel has no BBR, or has not loaded it".to_owned(),
            "on the host, as root: `modprobe tcp_bbr`; or set `congestion_control` to auto",
        ),
        io::ErrorKind::PermissionDenied => (
            "the kernel does not let this process have BBR".to_owned(),
            "on the host, as root, add bbr to `net.ipv4.tcp_allowed_congestion_control`; or set \
             `congestion_control` to auto",
        ),
        io::ErrorKind::Unsupported => (
            "haul can ask only Linux for BBR".to_owned(),
            "set `congestion_control` to auto",
        ),
        _ => (
            format!("the kernel refuses BBR: {why}"),
            "set `congestion_control` to auto",
        ),
    }
}

#[cfg(target_os = "linux")]
fn is_loss_based(stream: &TcpStream) -> bool {
    let used = socket2::SockRef::from(stream).tcp_congestion();
    used.is_ok_and(|used| LOSS_BASED.contains(&name(&used).as_str()))
}

/// A name as the kernel gives it: with zeroes behind.
#[cfg(target_os = "linux")]
fn name(bytes: &[u8]) -> String {
    let name = String::from_utf8_lossy(bytes);
    name.trim_end_matches('\0').to_owned()
}

#[cfg(target_os = "linux")]
fn set_bbr(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_congestion(BBR.as_bytes())
}

#[cfg(not(target_os = "linux"))]
fn is_loss_based(_: &TcpStream) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn set_bbr(_: &TcpStream) -> io::Result<()> {
    may_have_bbr()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// A connection within this machine, and what accepts it.
    #[cfg(target_os = "linux")]
    async fn connection() -> (tokio::net::TcpListener, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
        (listener, stream.unwrap())
    }

    /// What a connection uses in the end that used something before, for each wish and round trip: of its own
    /// accord haul puts BBR in the place of what takes losses for a full line, over far lines only.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_the_kernel_is_told() {
        let ms = |ms| Some(Duration::from_millis(ms));
        // A kernel may have none for this process; Reno every one has for everybody.
        let bbr = may_have_bbr().map_or("reno", |()| BBR);
        let rows = [
            (CongestionControl::Auto, ms(10), "reno", bbr),
            (CongestionControl::Auto, ms(300), "reno", bbr),
            (CongestionControl::Auto, ms(9), "reno", "reno"),
            (CongestionControl::Auto, None, "reno", "reno"),
            (CongestionControl::Bbr, ms(1), "reno", bbr),
            (CongestionControl::Bbr, None, "reno", bbr),
            (CongestionControl::System, ms(300), "reno", "reno"),
        ];
        for (wish, round_trip, before, expected) in rows {
            let (_listener, stream) = connection().await;
            let socket = socket2::SockRef::from(&stream);
            socket.set_tcp_congestion(before.as_bytes()).unwrap();
            let told = Congestion::new(wish).choose_over(&stream, HERE, round_trip);
            let story = format!("{wish:?} at {round_trip:?}");
            assert_eq!(name(&socket.tcp_congestion().unwrap()), expected, "{story}");
            assert_eq!(told, expected != before, "{story}");
        }
    }

    /// Who set his system to something that is not misled by losses is left alone.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_replaced() {
        let (_listener, stream) = connection().await;
        let socket = socket2::SockRef::from(&stream);
        for (used, expected) in [("reno", true), ("cubic", true), ("bbr", false)] {
            // A kernel need not have more than Reno for this process.
            if socket.set_tcp_congestion(used.as_bytes()).is_ok() {
                assert_eq!(is_loss_based(&stream), expected, "{used}");
            }
        }
    }

    /// A kernel that said no is not asked again.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_refusal_is_remembered() {
        let (_listener, stream) = connection().await;
        let congestion = Congestion::new(CongestionControl::Bbr);
        congestion.is_refused.store(true, Ordering::Relaxed);
        assert!(!congestion.choose_over(&stream, HERE, None));
    }

    /// A far line is one whose shortest round trip is long: what waits in queues does not count.
    #[test]
    fn the_shortest_counts() {
        let ms = Duration::from_millis;
        let rows = [
            (vec![None], None),
            (vec![Some(ms(30))], Some(ms(30))),
            (vec![Some(ms(200)), Some(ms(9))], Some(ms(9))),
            (vec![Some(ms(9)), Some(ms(200)), None], Some(ms(9))),
        ];
        for (round_trips, expected) in rows {
            let congestion = Congestion::new(CongestionControl::Auto);
            let known = round_trips
                .iter()
                .map(|it| congestion.shortest_to(HERE, *it));
            assert_eq!(known.last().flatten(), expected, "{round_trips:?}");
        }
    }

    /// Each refusal says what would help.
    #[test]
    fn refusals() {
        let rows = [
            (io::ErrorKind::NotFound, "modprobe tcp_bbr"),
            (
                io::ErrorKind::PermissionDenied,
                "tcp_allowed_congestion_control",
            ),
            (io::ErrorKind::Unsupported, "to auto"),
            (io::ErrorKind::InvalidInput, "to auto"),
        ];
        for (kind, helps) in rows {
            let (why, next) = bbr_refusal(&kind.into());
            assert!(why.contains("BBR") && next.contains(helps), "{why}; {next}");
        }
    }
}
