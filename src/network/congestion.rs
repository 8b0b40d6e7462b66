//! The choice of TCP's congestion control.

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
