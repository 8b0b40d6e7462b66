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
    /// What the server does wrong with requests that carry bytes of the object: the rest of a fault
    /// in its plan's TOML; empty for nothing.
    pub(crate) body_fault: &'static str,
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
        row.body_fault = "";
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
        body_fault: "",
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
    rows.extend(breaking_lines());
    rows.push(Row {
        name: "loopback",
        story: "1 GiB over loopback",
        size: 1 << 30,
        line: None,
        body_fault: "",
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
        plain(
            "64kbit-deep",
            "3 MB at 64 kbit/s, a queue of 8 s",
            3_000_000,
            64_000,
            64_000,
        ),
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

/// What goes wrong here goes wrong in the middle of a file that takes 16 s: a fault's price stands out.
fn faulty_lines() -> Vec<Row> {
    let middle = |name, story| plain(name, story, 16_000_000, 8_000_000, 250_000);
    let half = 8_000_000;
    vec![
        with_fault(
            middle(
                "blackhole",
                "16 MB at 8 Mbit/s, a connection falls silent at 8 MB",
            ),
            LineFault::BlackHole { after_bytes: half },
        ),
        Row {
            body_fault: "nth = 1\nstop_reading = { after_bytes = 300000, for = \"40s\" }",
            haul_flags: &["--stall-timeout", "60s"],
            ..middle(
                "not-reading",
                "16 MB at 8 Mbit/s, the server stops reading one body for 40 s",
            )
        },
        Row {
            body_fault: "nth = 2\nhang = \"after_body\"",
            ..middle(
                "unanswered",
                "16 MB at 8 Mbit/s, the second body is never answered",
            )
        },
        Row {
            body_fault: "nth = 2\nlose_answer = \"hang\"",
            ..middle(
                "lost-answer",
                "16 MB at 8 Mbit/s, the second answer is lost in silence",
            )
        },
        with_fault(
            middle(
                "dead-20s",
                "16 MB at 8 Mbit/s, nothing passes for 20 s at 8 MB",
            ),
            LineFault::Dead {
                after_bytes: half,
                ms: 20_000,
            },
        ),
        with_fault(
            middle(
                "flapping",
                "16 MB at 8 Mbit/s, 8 s up, 8 s down, over and over",
            ),
            LineFault::Flapping {
                up_ms: 8_000,
                down_ms: 8_000,
            },
        ),
    ]
}

/// Lines that break connections: what is lost with each is what counts.
fn breaking_lines() -> Vec<Row> {
    vec![
        with_fault(
            plain(
                "cut-off",
                "9 MB at 256 kbit/s, every connection is reset after 60 s",
                9_000_000,
                256_000,
                32_000,
            ),
            LineFault::CutOff { after_ms: 60_000 },
        ),
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
