//! What connections make of losses.

/// How a connection reacts to losses: TCP's congestion control, for
/// [`congestion_control`](crate::UploaderBuilder::congestion_control).
///
/// What most systems use (CUBIC) takes every lost packet for a full line and slows down. Over a long way
/// that loses packets for other reasons a connection then carries a small part of what the line could. BBR
/// goes by what arrives instead. Measured with `cargo bench --bench lines`: see the README.
///
/// Linux alone can be asked for it, per connection: see [`Auto`](Self::Auto). Elsewhere every variant is
/// [`System`](Self::System).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CongestionControl {
    /// BBR on connections with a round trip of 10 ms or more, where the kernel lets this process have it;
    /// the system's own on others.
    ///
    /// The kernel lets everybody have what `net.ipv4.tcp_allowed_congestion_control` names, and a process
    /// with `CAP_NET_ADMIN` all that it has; for such a process it also loads its module `tcp_bbr`.
    #[default]
    Auto,
    /// BBR on every connection. Where the kernel does not let this process have it,
    /// [`build`](crate::UploaderBuilder::build) fails.
    Bbr,
    /// The system's own.
    System,
}
