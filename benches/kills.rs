//! Twenty SIGKILLs of one upload on a line of 100 Mbit/s, at random moments at least half a second
//! apart: what it sends in all. `cargo bench --bench kills [SEED]`.
//!
//! Not a test, since its moments are the clock's: the tests (`tests/kills`) kill at counted bytes.

#![expect(clippy::print_stdout, reason = "to print is what it is for")]

use std::process::{Command, Stdio};
use std::time::Duration;

use haul::devserver::DevServer;
use haul::kodo::Etag;

/// Size of the file.
const LEN: usize = 64 << 20;

/// How often it is killed at most.
const KILLS: u32 = 20;

/// Between two kills: at least the first, less than both together.
const APART: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(500));

/// Whatever a bench may meet.
type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let seed = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let mut seed: u64 = seed.unwrap_or(1);
    println!("way       kills  sent ÷ size  (seed {seed})");
    let ways: [(&str, &[&str]); 3] = [
        ("v1", &["--protocol", "v1"]),
        ("v2", &["--protocol", "v2"]),
        // One request for all: nothing of a killed one is kept, so it is done after the last kill.
        ("form", &["--threshold", "64MiB"]),
    ];
    for (way, flags) in ways {
        let (kills, sent) = upload(flags, &mut seed)?;
        println!("{way:8}  {kills:5}  {:.3}", sent as f64 / LEN as f64);
    }
    Ok(())
}

/// Uploads until it is done; the number of kills, and the bytes that the server read.
fn upload(flags: &[&str], seed: &mut u64) -> Result<(u32, u64), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let rate = "100Mbit/s".parse()?;
    let server = runtime.block_on(DevServer::builder().rate(rate).start())?;
    let home = tempfile::tempdir()?;
    let content: Vec<u8> = (0..LEN).map(|index| (index % 65_521 % 253) as u8).collect();
    let mut file = tempfile::NamedTempFile::new_in(home.path())?;
    std::io::Write::write_all(&mut file, &content)?;
    let keys = server.credentials();
    let mut command = Command::new(env!("CARGO_BIN_EXE_haul"));
    command
        .args(["put", "--json"])
        .args(flags)
        .arg(file.path())
        .arg("kodo://b/k")
        .env_clear()
        .env("HOME", home.path())
        .env("HAUL_ACCESS_KEY", keys.access_key.as_str())
        .env("HAUL_SECRET_KEY", keys.secret_key.expose())
        .env("HAUL_ENDPOINT", server.url())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped());
    let mut kills = 0;
    let output = loop {
        let mut child = command.spawn()?;
        if kills < KILLS {
            wait(seed);
            if child.try_wait()?.is_none() {
                child.kill()?;
                child.wait()?;
                kills += 1;
                continue;
            }
        }
        break child.wait_with_output()?;
    };
    let said = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{said}");
    let hash = Etag::of(&content).to_string();
    assert!(said.contains(&hash), "another object: {said}");
    Ok((kills, server.requests().body_bytes()))
}

/// A random while.
#[expect(
    clippy::disallowed_methods,
    reason = "the moments are the clock's here"
)]
fn wait(seed: &mut u64) {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let share = (*seed >> 40) as f64 / (1u64 << 24) as f64;
    std::thread::sleep(APART.0 + APART.1.mul_f64(share));
}
