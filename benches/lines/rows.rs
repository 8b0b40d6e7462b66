//! The rows of the table, as data.

use std::time::Duration;

use crate::contestant::Contestant::{self, Curl, Haul, Node, Python, Raw, RawHashed};
use crate::fate::{Hop, LineFault};
use crate::network::{self, Shape};

/// The five that run wherever it is not said otherwise.
const ALL: &[Contestant] = &[Raw, Haul, Curl, Python, Node];

/// One row: a line, what goes wrong, what is sent, and by whom.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) story: &'static str,
    pub(crate) size: u64,
    /// None: over loopback, as fast as the machine.
    pub(crate) line: Option<Shape>,
    /// Fault plan of the server, in TOML.
    pub(crate) server_faults: &'static str,
    /// Further flags of haul; none but where the row is about them.
    pub(crate) haul_flags: &'static [&'static str],
    pub(crate) contestants: &'static [Contestant],
}

impl Row {
    /// The time that the bytes alone need, where the line has a rate.
    pub(crate) fn line_time(&self) -> Duration {
        let rate = self.line.as_ref().map_or(u64::MAX, |line| line.bits_per_s);
        Duration::from_secs_f64(self.size as f64 * 8.0 / rate as f64)
    }

    /// When a contestant is stopped: nothing here takes longer by right.
    pub(crate) fn limit(&self) -> Duration {
        self.line_time() * 2 + Duration::from_secs(180)
    }

    /// What this machine lacks for it.
    pub(crate) fn lacks(&self) -> Option<String> {
        self.line.as_ref().and_then(|_| network::lacks())
    }

    /// The same without what goes wrong by plan: latency and loss are the line's own.
    pub(crate) fn without_faults(&self) -> Self {
        let mut row = self.clone();
        row.server_faults = "";
        if let Some(line) = &mut row.line {
            line.hop.fault = None;
        }
        row
    }

    /// The same with an eighth of the bytes, for a quick look.
    pub(crate) fn quick(mut self) -> Self {
        self.size /= 8;
        if let Some(Shape {
            hop: Hop {
                fault: Some(fault), ..
            },
            ..
        }) = &mut self.line
        {
            match fault {
                LineFault::BlackHole { after_bytes } | LineFault::Dead { after_bytes, .. } => {
                    *after_bytes /= 8;
                }
                LineFault::Resets { mean_bytes } => *mean_bytes /= 8,
                LineFault::CutOff { .. } | LineFault::Flapping { .. } => {}
            }
        }
        self
    }
}

/// A row with nothing but a rate and a queue.
fn plain(name: &'static str, story: &'static str, size: u64, rate: u64, queue: u64) -> Row {
    Row {
        name,
        story,
        size,
        line: Some(Shape {
            bits_per_s: rate,
            queue_bytes: queue,
            hop: Hop::default(),
        }),
        server_faults: "",
        haul_flags: &[],
        contestants: ALL,
    }
}

/// A row like `row` with another hop.
fn with_hop(mut row: Row, hop: Hop) -> Row {
    if let Some(line) = &mut row.line {
        line.hop = hop;
    }
    row
}

/// A row like `row` with a fault on its line.
fn with_fault(row: Row, fault: LineFault) -> Row {
    with_hop(
        row,
        Hop {
            fault: Some(fault),
            seed: 1,
            ..Hop::default()
        },
    )
}

/// Every row. Queues hold about half a second at 1 Mbit/s and more, one at 256 and two at 64 kbit/s,
/// as slow modems' do.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = slow_lines();
    rows.extend(faulty_lines());
    rows.push(Row {
        name: "loopback",
        story: "1 GiB over loopback",
        size: 1 << 30,
        line: None,
        server_faults: "",
        haul_flags: &[],
        contestants: &[Raw, RawHashed, Haul, Curl, Python, Node],
    });
    rows
}

fn slow_lines() -> Vec<Row> {
    vec![
        plain("1mbit", "6.3 MB at 1 Mbit/s", 6_300_000, 1_000_000, 60_000),
        plain("256kbit", "9 MB at 256 kbit/s", 9_000_000, 256_000, 32_000),
        plain("64kbit", "3 MB at 64 kbit/s", 3_000_000, 64_000, 16_000),
        with_hop(
            plain(
                "lossy",
                "6.3 MB at 1 Mbit/s, 150 ms round trip, 1 % loss",
                6_300_000,
                1_000_000,
                60_000,
            ),
            Hop {
                one_way_ms: 75,
                loss: 0.01,
                seed: 1,
                ..Hop::default()
            },
        ),
    ]
}

fn faulty_lines() -> Vec<Row> {
    vec![
        with_fault(
            plain(
                "blackhole",
                "16 MB at 8 Mbit/s, a connection falls silent at 8 MB",
                16_000_000,
                8_000_000,
                250_000,
            ),
            LineFault::BlackHole {
                after_bytes: 8_000_000,
            },
        ),
        Row {
            server_faults: "[[fault]]\noperation = [\"mkblk\", \"bput\", \"part\", \"form\"]\n\
                            nth = 1\nstop_reading = { after_bytes = 300000, for = \"40s\" }\n",
            haul_flags: &["--stall-timeout", "60s"],
            ..plain(
                "not-reading",
                "16 MB at 8 Mbit/s, the server reads nothing for 40 s",
                16_000_000,
                8_000_000,
                250_000,
            )
        },
        with_fault(
            plain(
                "resets",
                "64 MB at 100 Mbit/s, a reset every 8 MB on average",
                64_000_000,
                100_000_000,
                1_000_000,
            ),
            LineFault::Resets {
                mean_bytes: 8_000_000,
            },
        ),
    ]
}
