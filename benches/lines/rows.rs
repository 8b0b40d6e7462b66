//! The rows of the table, as data.

use crate::bounds::Must::{
    Back, BeDone, Body, Extra, SecondBody, Silence, Wall as WallTo, WallFrom,
};
use crate::contestant::Contestant::{self, Curl, Haul, Library, Node, Python, Raw, RawHashed};
use crate::fate::LineFault::{BlackHole, CutOff, Dead, Flapping, RateFalls, Resets, Swallows};
use crate::network::SERVER_IPS;
use crate::row::{Play, Row};

/// Who runs where only haul can do what the row asks for: the program, the library, or both.
const PROGRAM: &[Contestant] = &[Raw, Haul];
const LIBRARY: &[Contestant] = &[Raw, Library];
const BOTH: &[Contestant] = &[Raw, Haul, Library];

/// Fewest runs whose mean says something where chance decides.
const SEEDS: u64 = 5;

/// Requests that carry bytes of the object, for a fault plan.
const BODIES: &str = r#"operation = ["mkblk", "bput", "part", "form"]"#;

/// Every row. Queues hold about half a second at 1 Mbit/s and more, one at 256 and two at 64 kbit/s,
/// as slow modems' do; fast lines hold less.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = slow_lines();
    rows.extend(fast_lines());
    rows.extend(faulty_lines());
    rows.extend(dead_lines());
    rows.extend(breaking_lines());
    rows.extend(killed());
    rows.extend(body_limits());
    rows.extend(ill_hosts());
    rows.extend(busy_hosts());
    rows.extend(many_at_once());
    rows.extend(limited());
    rows.push(Row {
        line: None,
        contestants: &[Raw, RawHashed, Haul, Curl, Python, Node],
        ..Row::plain("loopback", "1 GiB over loopback", 1 << 30, 0, 0)
    });
    rows
}

fn slow_lines() -> Vec<Row> {
    let mut rows = vec![
        Row::plain("1mbit", "6.3 MB at 1 Mbit/s", 6_300_000, 1_000_000, 60_000),
        Row::plain("256kbit", "9 MB at 256 kbit/s", 9_000_000, 256_000, 32_000),
        Row::plain("64kbit", "3 MB at 64 kbit/s", 3_000_000, 64_000, 16_000),
        Row::plain(
            "64kbit-deep",
            "3 MB at 64 kbit/s, a queue of 8 s",
            3_000_000,
            64_000,
            64_000,
        ),
        Row::plain(
            "lossy",
            "6.3 MB at 1 Mbit/s, 150 ms round trip, 1 % loss",
            6_300_000,
            1_000_000,
            60_000,
        )
        .far(75, 0.01),
    ];
    for row in &mut rows {
        row.must = vec![WallTo(1.03), Body(1.01)];
    }
    rows
}

/// Lines that one connection, or a window that is too small, does not fill.
fn fast_lines() -> Vec<Row> {
    vec![
        Row::plain(
            "200mbit",
            "256 MB at 200 Mbit/s",
            256_000_000,
            200_000_000,
            1_000_000,
        )
        .must(&[WallTo(1.03)]),
        Row::plain(
            "far",
            "64 MB at 100 Mbit/s, 100 ms round trip",
            64_000_000,
            100_000_000,
            1_000_000,
        )
        .far(50, 0.0)
        .must(&[WallTo(0.97)]),
        Row::plain(
            "far-lossy",
            "32 MB at 50 Mbit/s, 80 ms round trip, 0.5 % loss",
            32_000_000,
            50_000_000,
            500_000,
        )
        .far(40, 0.005)
        .seeds(SEEDS)
        .must(&[WallTo(1.0)]),
        // The plain socket goes through it, too: it is what is possible.
        Row::plain(
            "rate-falls",
            "64 MB, 100 Mbit/s falls to 1 Mbit/s at 90 %",
            64_000_000,
            100_000_000,
            250_000,
        )
        .fault(RateFalls {
            after_bytes: 57_600_000,
            bits_per_s: 1_000_000,
        })
        .must(&[WallTo(1.05)]),
    ]
}

/// A line on which a file takes 16 s, so that the price of a fault in its middle stands out.
fn middle(name: &'static str, story: &'static str) -> Row {
    Row::plain(name, story, 16_000_000, 8_000_000, 250_000)
}

/// Where the middle is.
const HALF: u64 = 8_000_000;

fn faulty_lines() -> Vec<Row> {
    vec![
        middle(
            "blackhole",
            "16 MB at 8 Mbit/s, a connection falls silent at 8 MB",
        )
        .fault(BlackHole { after_bytes: HALF })
        .must(&[Extra(6.0)]),
        Row {
            haul_flags: &["--stall-timeout", "60s"],
            ..middle(
                "not-reading",
                "16 MB at 8 Mbit/s, the server stops reading one body for 40 s",
            )
            .plan(
                0,
                on_bodies("nth = 1\nstop_reading = { after_bytes = 60000, for = \"40s\" }"),
            )
        },
        middle(
            "unanswered",
            "16 MB at 8 Mbit/s, the second body is never answered",
        )
        .plan(0, on_bodies("nth = 2\nhang = \"after_body\""))
        .must(&[Extra(6.0)]),
        middle(
            "lost-answer",
            "16 MB at 8 Mbit/s, the second answer is lost in silence",
        )
        .plan(0, on_bodies("nth = 2\nlose_answer = \"hang\""))
        .must(&[Extra(6.0)]),
        middle(
            "one-slow",
            "16 MB at 8 Mbit/s, one connection in four is read at 50 kB/s",
        )
        .plan(
            0,
            on_bodies("connection = 2\nconnection_every = 4\nslow_read = \"50kb\""),
        )
        .must(&[WallTo(3.0)]),
    ]
}

/// Lines on which for a time nothing passes at all.
fn dead_lines() -> Vec<Row> {
    let dead = |ms| Dead {
        after_bytes: HALF,
        ms,
    };
    vec![
        middle(
            "dead-20s",
            "16 MB at 8 Mbit/s, nothing passes for 20 s at 8 MB",
        )
        .fault(dead(20_000))
        .must(&[Back(4.0, 1.0)]),
        middle(
            "dead-60s",
            "16 MB at 8 Mbit/s, nothing passes for 60 s at 8 MB",
        )
        .fault(dead(60_000))
        .must(&[Back(4.0, 1.0)]),
        Row {
            haul_flags: &["--wait-online"],
            ..middle(
                "dead-10min",
                "16 MB at 8 Mbit/s, nothing passes for 10 min at 8 MB (haul: `--wait-online`)",
            )
            .fault(dead(600_000))
            .must(&[Back(4.0, 1.0)])
        },
        middle(
            "flapping",
            "16 MB at 8 Mbit/s, 8 s up, 8 s down, over and over",
        )
        .fault(Flapping {
            up_ms: 8_000,
            down_ms: 8_000,
        })
        .must(&[WallTo(1.4), Body(1.2)]),
    ]
}

/// Lines that break connections: what is lost with each is what counts.
fn breaking_lines() -> Vec<Row> {
    let resets = |name, story, mean_bytes, most| {
        Row::plain(name, story, 64_000_000, 100_000_000, 1_000_000)
            .fault(Resets { mean_bytes })
            .seeds(SEEDS)
            .must(&[Body(most)])
    };
    vec![
        Row::plain(
            "cut-off",
            "9 MB at 256 kbit/s, every connection is reset after 60 s",
            9_000_000,
            256_000,
            32_000,
        )
        .fault(CutOff { after_ms: 60_000 })
        .must(&[Body(1.10)]),
        resets(
            "resets-8mb",
            "64 MB at 100 Mbit/s, a reset every 8 MB on average",
            8_000_000,
            1.10,
        ),
        resets(
            "resets-2mb",
            "64 MB at 100 Mbit/s, a reset every 2 MB on average",
            2_000_000,
            1.25,
        ),
        resets(
            "resets-1mb",
            "64 MB at 100 Mbit/s, a reset every 1 MB on average",
            1_000_000,
            1.45,
        ),
    ]
}

/// A rate at which progress, told once a second, comes in steps of a few per cent.
fn killed() -> Vec<Row> {
    let row = |name, story, at, most| {
        Row::plain(name, story, 64_000_000, 20_000_000, 500_000)
            .play(Play::Killed(at), PROGRAM)
            .seeds(SEEDS)
            .must(&[Body(most)])
    };
    vec![
        row(
            "killed",
            "64 MB at 20 Mbit/s, killed at 50 %, run again",
            &[50],
            1.04,
        ),
        row(
            "killed-4",
            "64 MB at 20 Mbit/s, killed at 20, 40, 60, 80 %, run again",
            &[20, 40, 60, 80],
            1.12,
        ),
    ]
}

/// Something on the way that lets no body above a limit through. What the first upload has learnt
/// the second one knows.
fn body_limits() -> Vec<Row> {
    const KIB: u64 = 1024;
    let page = "<html>\\r\\n<head><title>413 Request Entity Too Large</title></head>\\r\\n</html>";
    let refuses = move |limit: u64| {
        format!(
            "[[fault]]\nlonger_than = {limit}\nomit_reqid = true\n\
             answer = {{ status = 413, headers = {{ server = \"nginx\" }}, \
             content_type = \"text/html\", body = \"{page}\", at = \"before_body\" }}\n"
        )
    };
    let cuts = |limit: u64| {
        format!("[[fault]]\nlonger_than = {limit}\nreset = {{ after_body_bytes = {limit} }}\n")
    };
    let row = |name, story, plan: String| {
        Row::plain(name, story, 32_000_000, 50_000_000, 500_000)
            .plan(0, plan)
            .play(Play::Twice, PROGRAM)
            .must(&[SecondBody(1.01)])
    };
    vec![
        row(
            "413-1m",
            "32 MB at 50 Mbit/s, a proxy answers 413 above 1 MiB",
            refuses(1024 * KIB),
        ),
        row(
            "413-512k",
            "32 MB at 50 Mbit/s, a proxy answers 413 above 512 KiB",
            refuses(512 * KIB),
        ),
        row(
            "413-300k",
            "32 MB at 50 Mbit/s, a proxy answers 413 above 300 KiB",
            refuses(300 * KIB),
        ),
        row(
            "cuts-1m",
            "32 MB at 50 Mbit/s, a proxy cuts bodies above 1 MiB",
            cuts(1024 * KIB),
        ),
        row(
            "cuts-512k",
            "32 MB at 50 Mbit/s, a proxy cuts bodies above 512 KiB",
            cuts(512 * KIB),
        ),
        row(
            "cuts-300k",
            "32 MB at 50 Mbit/s, a proxy cuts bodies above 300 KiB",
            cuts(300 * KIB),
        ),
    ]
}

/// The first of three hosts is ill. It may cost its price once per process: the program sends one
/// file, the library three in turn.
fn ill_hosts() -> Vec<Row> {
    let row = |name, story| {
        Row {
            hosts: 3,
            ..middle(name, story)
        }
        .play(Play::InTurn(3), BOTH)
        .must(&[Extra(4.0)])
    };
    vec![
        row(
            "host-refuses",
            "16 MB at 8 Mbit/s, the first of three hosts refuses connections",
        )
        .plan(0, "[[host]]\nhost = 0\nstate = \"dead\"\n"),
        row(
            "host-swallows",
            "16 MB at 8 Mbit/s, the first of three hosts swallows SYNs",
        )
        .fault(Swallows {
            server: SERVER_IPS[0],
        }),
        row(
            "host-502",
            "16 MB at 8 Mbit/s, the first of three hosts answers 502",
        )
        .plan(0, "[[host]]\nhost = 0\nstate = \"502\"\n"),
        row(
            "host-503",
            "16 MB at 8 Mbit/s, the first of three hosts answers 503",
        )
        .plan(0, "[[fault]]\nhost = 0\nanswer = { status = 503 }\n"),
    ]
}

fn busy_hosts() -> Vec<Row> {
    let every_third: Vec<String> = (1..=10).map(|count| (count * 3).to_string()).collect();
    let every_third = every_third.join(", ");
    vec![
        middle(
            "busy-15s",
            "16 MB at 8 Mbit/s, all hosts answer 503 from 4 s to 19 s",
        )
        .plan(4, "[[fault]]\nanswer = { status = 503 }\n")
        .plan(19, "")
        .must(&[BeDone]),
        middle(
            "throttled",
            "16 MB at 8 Mbit/s, every third of the first 30 bodies is answered 573",
        )
        .plan(
            0,
            on_bodies(&format!(
                "nth = [{every_third}]\nanswer = {{ status = 573 }}"
            )),
        )
        .must(&[BeDone]),
    ]
}

/// Fair among the uploads of a process. A silence of half a minute is what a user calls hanging.
fn many_at_once() -> Vec<Row> {
    let row = |name, story, size| {
        Row::plain(name, story, size, 1_000_000, 60_000)
            .play(Play::AtOnce(10), LIBRARY)
            .must(&[WallTo(1.05), Silence(30.0)])
    };
    vec![
        row(
            "ten-small",
            "10 files of 630 kB at once at 1 Mbit/s",
            6_300_000,
        ),
        row(
            "ten-large",
            "10 files of 2 MB at once at 1 Mbit/s",
            20_000_000,
        ),
    ]
}

/// A minute of sending no faster than asked for.
fn limited() -> Vec<Row> {
    let row = |name, story, rate, queue| Row {
        haul_flags: &["--limit-rate", "8KB/s"],
        limit_bytes_per_s: Some(8_000),
        ..Row::plain(name, story, 480_000, rate, queue)
            .play(Play::Once, PROGRAM)
            .must(&[WallTo(1.03), WallFrom(0.97)])
    };
    vec![
        row(
            "limit-fast",
            "480 kB at 8 KB/s by `--limit-rate`, on a line of 100 Mbit/s",
            100_000_000,
            1_000_000,
        ),
        row(
            "limit-slow",
            "480 kB at 8 KB/s by `--limit-rate`, on a line of 64 kbit/s",
            64_000,
            16_000,
        ),
    ]
}

/// A plan with one fault, of requests that carry bytes of the object.
fn on_bodies(fault: &str) -> String {
    format!("[[fault]]\n{BODIES}\n{fault}\n")
}
