//! The bench's hop does to packets what its rows say: what `benches/lines` decides without a device.

#[path = "../benches/lines/fate.rs"]
mod fate;
#[path = "../benches/lines/packet.rs"]
mod packet;
#[path = "../benches/lines/possible.rs"]
mod possible;

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use fate::{Fate, Hop, LineFault, News, Verdict};
use packet::Segment;

/// Bytes that every full packet here carries.
const PAYLOAD: u32 = 1_000;

/// The client's connections, by their ports, and the server.
fn client(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new([10, 0, 0, 1].into(), port)
}

fn server() -> SocketAddrV4 {
    SocketAddrV4::new([10, 0, 1, 2].into(), 80)
}

/// An IPv4 packet with a TCP segment: only what the hop looks at.
fn packet(from: SocketAddrV4, to: SocketAddrV4, flags: u8, payload_len: u32) -> Vec<u8> {
    let mut packet = vec![0; 40 + payload_len as usize];
    let len = packet.len() as u16;
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[9] = 6;
    packet[12..16].copy_from_slice(&from.ip().octets());
    packet[16..20].copy_from_slice(&to.ip().octets());
    packet[20..22].copy_from_slice(&from.port().to_be_bytes());
    packet[22..24].copy_from_slice(&to.port().to_be_bytes());
    packet[24..28].copy_from_slice(&7_000_u32.to_be_bytes());
    packet[28..32].copy_from_slice(&9_000_u32.to_be_bytes());
    packet[32] = 5 << 4;
    packet[33] = flags;
    packet
}

/// A line under test, at a time of its own.
struct Line {
    fate: Fate,
    now: Instant,
}

impl Line {
    fn new(hop: Hop) -> Self {
        Self {
            fate: Fate::new(hop),
            now: some_instant(),
        }
    }

    fn with(fault: LineFault) -> Self {
        Self::new(Hop {
            fault: Some(fault),
            seed: 1,
            ..Hop::default()
        })
    }

    /// A full packet upwards; whether it passes. A reset in its place is one for either end.
    fn up(&mut self, port: u16) -> bool {
        let packet = packet(client(port), server(), 0x10, PAYLOAD);
        match self.fate.of(&packet, true, self.now) {
            Verdict::Passes => true,
            Verdict::Lost => false,
            Verdict::Resets(ends) => {
                let ends = ends.map(|end| Segment::parse(&end).map(|segment| segment.to));
                assert_eq!(ends, [Some(client(port)), Some(server())]);
                false
            }
        }
    }

    /// An acknowledgement downwards; whether it passes.
    fn down(&mut self, port: u16) -> bool {
        let packet = packet(server(), client(port), 0x10, 0);
        matches!(self.fate.of(&packet, false, self.now), Verdict::Passes)
    }

    /// A connection begins.
    fn connect(&mut self, port: u16) {
        let packet = packet(client(port), server(), 0x02, 0);
        assert!(matches!(
            self.fate.of(&packet, true, self.now),
            Verdict::Passes
        ));
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }
}

/// Some instant: only differences count.
#[expect(clippy::disallowed_methods, reason = "an instant is had no other way")]
fn some_instant() -> Instant {
    Instant::now()
}

/// The sum that a receiver computes over correct bytes is all ones.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    (sum & 0xffff) + (sum >> 16)
}

/// Both ends get a reset that they believe: right addresses, right numbers, right sums.
#[test]
fn resets_are_valid() {
    let segment = Segment::parse(&packet(client(1), server(), 0x10, PAYLOAD)).expect("a segment");
    let [to_client, to_server] = segment.resets();
    for (reset, from, to, sequence) in [
        (&to_client, server(), client(1), 9_000_u32),
        (&to_server, client(1), server(), 7_000),
    ] {
        let parsed = Segment::parse(reset).expect("a segment");
        assert_eq!((parsed.from, parsed.to), (from, to));
        assert_eq!(reset[24..28], sequence.to_be_bytes());
        assert_eq!(reset[33], 0x14, "RST and ACK");
        assert_eq!(sum(&reset[..20]), 0xffff, "the IP header's sum");
        let mut summed = reset[12..20].to_vec();
        summed.extend_from_slice(&[0, 6, 0, 20]);
        summed.extend_from_slice(&reset[20..]);
        assert_eq!(sum(&summed), 0xffff, "the TCP segment's sum");
    }
    // The sender's own number counts on where its segment ended.
    assert_eq!(to_client[28..32], (7_000 + PAYLOAD).to_be_bytes());
}

/// What is cut, or no TCP over IPv4, is no segment, and nothing panics.
#[test]
fn odd_packets_are_no_segments() {
    let good = packet(client(1), server(), 0x10, 8);
    for len in 0..good.len() {
        assert_eq!(Segment::parse(&good[..len]), None, "{len} bytes");
    }
    for (at, value) in [(0, 0x65), (0, 0x4f), (9, 17), (32, 0xf0)] {
        let mut odd = good.clone();
        odd[at] = value;
        assert_eq!(Segment::parse(&odd), None, "byte {at} = {value:#x}");
    }
}

/// One connection falls silent, in both directions and for ever; others are not concerned, not even
/// one that takes its port again.
#[test]
fn black_hole() {
    let after_bytes = u64::from(PAYLOAD) * 3;
    let mut line = Line::with(LineFault::BlackHole { after_bytes });
    assert!(line.up(1) && line.up(2));
    assert!(!line.up(2), "the byte that counts");
    assert!(line.fate.news().is_some());
    line.wait(600_000);
    assert!(!line.up(2) && !line.down(2));
    assert!(line.up(1) && line.down(1) && line.up(3));
    line.connect(2);
    assert!(line.up(2) && line.down(2));
    assert_eq!(line.fate.news(), None, "said once");
}

/// Nothing passes for a while, then everything does.
#[test]
fn dead_line() {
    let after_bytes = u64::from(PAYLOAD);
    let mut line = Line::with(LineFault::Dead {
        after_bytes,
        ms: 20_000,
    });
    assert!(line.down(1) && !line.up(1) && !line.down(1));
    line.wait(19_999);
    assert!(!line.up(1) && !line.up(2));
    assert!(matches!(line.fate.news(), Some(News::Fault(_))));
    line.wait(1);
    assert!(line.down(1));
    assert_eq!(
        line.fate.news(),
        None,
        "what comes down is no byte of the file"
    );
    line.wait(700);
    assert!(line.up(1) && line.down(2));
    assert_eq!(line.fate.news(), Some(News::Back { ms: 700 }));
    assert!(line.up(1));
    assert_eq!(line.fate.news(), None, "said once");
}

/// The rate is told to fall once, at the byte that counts; every packet passes.
#[test]
fn falling_rate() {
    let mut line = Line::with(LineFault::RateFalls {
        after_bytes: u64::from(PAYLOAD) * 3,
        bits_per_s: 64_000,
    });
    let told: Vec<bool> = (0..5)
        .map(|_| {
            assert!(line.up(1) && line.down(1));
            line.fate.news() == Some(News::RateFalls { bits_per_s: 64_000 })
        })
        .collect();
    assert_eq!(told, [false, false, true, false, false]);
}

/// One address of the server's hears nothing, not even a connection that begins.
#[test]
fn swallowed_address() {
    let mut line = Line::with(LineFault::Swallows {
        server: *server().ip(),
    });
    assert!(!line.up(1) && line.down(1));
    let other = SocketAddrV4::new([10, 0, 1, 3].into(), 80);
    let begins = packet(client(1), other, 0x02, 0);
    assert!(matches!(
        line.fate.of(&begins, true, line.now),
        Verdict::Passes
    ));
}

/// Up and down by turns, from the first byte on.
#[test]
fn flapping() {
    let mut line = Line::with(LineFault::Flapping {
        up_ms: 8_000,
        down_ms: 2_000,
    });
    line.wait(5_000);
    let up = (0..30).map(|_| {
        let passes = line.up(1);
        line.wait(1_000);
        u32::from(passes)
    });
    assert_eq!(up.sum::<u32>(), 24);
}

/// A connection that is old enough is reset; a younger one goes on.
#[test]
fn cut_off() {
    let mut line = Line::with(LineFault::CutOff { after_ms: 60_000 });
    line.connect(1);
    line.wait(30_000);
    line.connect(2);
    line.wait(30_000);
    assert!(line.up(2) && !line.up(1));
    line.wait(30_000);
    assert!(!line.up(2));
}

/// As many resets as the mean says, and the same with the same seed.
#[test]
fn resets_by_seed() {
    let resets = |seed| {
        let fault = LineFault::Resets {
            mean_bytes: u64::from(PAYLOAD) * 100,
        };
        let mut line = Line::new(Hop {
            fault: Some(fault),
            seed,
            ..Hop::default()
        });
        let places: Vec<u32> = (0..100_000)
            .filter(|_| {
                // A new connection for every packet: what is gone stays gone.
                line.connect(1);
                !line.up(1)
            })
            .collect();
        places
    };
    let one = resets(1);
    assert_eq!(one, resets(1));
    assert_ne!(one, resets(2));
    assert!((800..1_200).contains(&one.len()), "{} resets", one.len());
}

/// The share that is lost is the share that was asked for, in either direction.
#[test]
fn loss() {
    let mut line = Line::new(Hop {
        loss: 0.01,
        seed: 1,
        ..Hop::default()
    });
    let mut lost =
        |packet: fn(&mut Line) -> bool| (0..100_000).filter(|_| !packet(&mut line)).count();
    let (up, down) = (lost(|line| line.up(1)), lost(|line| line.down(1)));
    assert!((850..1_150).contains(&up), "{up} of 100000 upwards");
    assert!((850..1_150).contains(&down), "{down} of 100000 downwards");
}

/// What is possible: the line's own time, the dead times, and no more.
#[test]
fn possible_walls() {
    let flapping = Some(LineFault::Flapping {
        up_ms: 8_000,
        down_ms: 6_000,
    });
    let dead = Some(LineFault::Dead {
        after_bytes: 1,
        ms: 20_000,
    });
    let resets = Some(LineFault::Resets { mean_bytes: 1 });
    let rows = [
        (None, 16_800, 16_800),
        (resets, 16_800, 16_800),
        (dead, 16_800, 36_800),
        (flapping, 7_999, 7_999),
        (flapping, 8_000, 8_000),
        (flapping, 8_001, 14_001),
        (flapping, 16_800, 28_800),
    ];
    for (fault, raw, expected) in rows {
        let possible = possible::possible(Duration::from_millis(raw), fault);
        assert_eq!(
            possible,
            Duration::from_millis(expected),
            "{fault:?} {raw} ms"
        );
    }
}
