//! As much of IPv4 and TCP as the hop must see: whose packet it is, how much it carries, and how to
//! end its connection as a middlebox does.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of an IPv4 header without options, and of a TCP header without options.
const IP_LEN: usize = 20;
const TCP_LEN: usize = 20;

/// The protocol number of TCP.
const TCP: u8 = 6;

/// TCP flags.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A TCP segment inside an IPv4 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    /// Bytes that it carries, headers not counted.
    pub(crate) payload_len: u32,
}

impl Segment {
    /// The segment in `packet`; nothing when it holds something else, or is cut.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        let ip_len = usize::from(first & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes(bytes(packet, 2)?));
        if first >> 4 != 4 || ip_len < IP_LEN || *packet.get(9)? != TCP || total > packet.len() {
            return None;
        }
        let tcp = packet.get(ip_len..total)?;
        let tcp_len = usize::from(tcp.get(12)? >> 4) * 4;
        let payload = tcp.get(tcp_len.max(TCP_LEN)..)?;
        let address = |ip, port| -> Option<SocketAddrV4> {
            let ip = Ipv4Addr::from(bytes::<4>(packet, ip)?);
            Some(SocketAddrV4::new(ip, u16::from_be_bytes(bytes(tcp, port)?)))
        };
        Some(Self {
            from: address(12, 0)?,
            to: address(16, 2)?,
            sequence: u32::from_be_bytes(bytes(tcp, 4)?),
            acknowledged: u32::from_be_bytes(bytes(tcp, 8)?),
            flags: *tcp.get(13)?,
            payload_len: u32::try_from(payload.len()).ok()?,
        })
    }

    /// Both ends, the client's first, whichever way it goes: the name of its connection.
    pub(crate) fn flow(&self, is_upward: bool) -> (SocketAddrV4, SocketAddrV4) {
        match is_upward {
            true => (self.from, self.to),
            false => (self.to, self.from),
        }
    }

    /// Whether it begins a connection.
    pub(crate) fn is_first(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }

    /// Two packets that end its connection: for its sender, as if the receiver had sent it, and for
    /// its receiver. Both carry the very number that the other end expects, else they are ignored
    /// (RFC 5961, section 3).
    pub(crate) fn resets(&self) -> [Vec<u8>; 2] {
        let ends = u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0);
        let after = self.sequence.wrapping_add(self.payload_len + ends);
        [
            reset(self.to, self.from, self.acknowledged, after),
            reset(self.from, self.to, self.sequence, self.acknowledged),
        ]
    }
}

/// A packet that resets a connection.
fn reset(from: SocketAddrV4, to: SocketAddrV4, sequence: u32, acknowledged: u32) -> Vec<u8> {
    let mut ip = vec![0; IP_LEN];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&((IP_LEN + TCP_LEN) as u16).to_be_bytes());
    ip[8] = 64;
    ip[9] = TCP;
    ip[12..16].copy_from_slice(&from.ip().octets());
    ip[16..20].copy_from_slice(&to.ip().octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);

    let mut tcp = vec![0; TCP_LEN];
    tcp[0..2].copy_from_slice(&from.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    tcp[8..12].copy_from_slice(&acknowledged.to_be_bytes());
    tcp[12] = ((TCP_LEN / 4) as u8) << 4;
    tcp[13] = RST | ACK;
    // The sum is over a pseudo header, too: both addresses, the protocol, the length (RFC 9293).
    let mut summed = ip[12..20].to_vec();
    summed.extend_from_slice(&[0, TCP, 0, TCP_LEN as u8]);
    summed.extend_from_slice(&tcp);
    tcp[16..18].copy_from_slice(&checksum(&summed));

    ip.extend_from_slice(&tcp);
    ip
}

/// The checksum of the Internet protocols (RFC 1071) over an even number of bytes.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks_exact(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// `N` bytes of `from`, from `at` on.
fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at + N)?.try_into().ok()
}
