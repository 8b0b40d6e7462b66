//! What an upload of 1 GiB costs, beside a bare loop that does only what cannot be left out.
//!
//! `cargo bench --bench upload` writes 1 GiB that no compression shrinks, and uploads it with the
//! release `haul put` over loopback to `haul serve --discard`: by v1 (blocks of 4 MiB), and by v2 in
//! parts of 256 MiB. In the same rounds a bare loop, a process of its own, reads the same file,
//! hashes it with the same SHA-1 and writes it to a socket whose other end drops it. What counts is
//! the processor time of the sending process, user and system, by the median of the rounds. It must
//! hold that haul's is at most 1.3 times the bare loop's, and that its peak of resident memory stays
//! within 16 MiB, whatever the length of a part; else the exit code is 1. Linux only: both numbers
//! come from /proc.

#![expect(clippy::print_stdout, reason = "to print is what it is for")]

#[path = "../tests/outside/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use sha1::{Digest, Sha1};

use support::content::{self, BLOCK, MIB};
use support::server::{Server, haul};

/// What is sent: 1 GiB.
const LEN: usize = 1024 * MIB;

/// Rounds of every measurement; the median counts.
const ROUNDS: usize = 3;

/// Most processor time of haul, as a multiple of the bare loop's.
const RATIO_MAX: f64 = 1.3;

/// Most resident memory of haul, in MiB.
const MEMORY_MAX_MIB: f64 = 16.0;

/// Bytes per read of the bare loop: as many as make its system calls cheap.
const PIECE: usize = 256 * 1024;

/// How often the memory is looked at. The kernel keeps the peak, so only what a process does in its
/// last moments could be missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Ticks of `/proc/*/stat` in a second: what every Linux shows, whatever its kernel's own clock.
const TICKS_PER_S: f64 = 100.0;

/// The ways that are measured: a name, and haul's flags.
const WAYS: [(&str, &[&str]); 2] = [
    ("v1, blocks of 4 MiB", &["--protocol", "v1"]),
    (
        "v2, parts of 256 MiB",
        &["--protocol", "v2", "--part-size", "256MiB"],
    ),
];

/// What one process used.
struct Used {
    cpu_s: f64,
    /// Peak of resident memory.
    memory_mib: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, file, address] = &arguments[..]
        && flag == "--bare"
    {
        return match bare_loop(Path::new(file), address) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("1GiB");
    generate(&file).expect("room for 1 GiB");
    println!("1 GiB over loopback, median of {ROUNDS} rounds\n");
    println!("way                    CPU s   bare CPU s   ratio   peak MiB");
    let mut held = true;
    for (name, flags) in WAYS {
        held &= compare(name, flags, folder.path(), &file);
    }
    println!("\nto hold: ratio at most {RATIO_MAX}, peak at most {MEMORY_MAX_MIB} MiB");
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Measures one way beside the bare loop; whether it holds.
fn compare(name: &str, flags: &[&str], folder: &Path, file: &Path) -> bool {
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(run_bare(file));
        ours.push(run_haul(flags, folder, file));
    }
    let bare_s = median(bare.iter().map(|used| used.cpu_s));
    let cpu_s = median(ours.iter().map(|used| used.cpu_s));
    let memory = ours.iter().map(|used| used.memory_mib);
    let memory = memory.fold(0.0, f64::max);
    let ratio = cpu_s / bare_s;
    let fine = ratio <= RATIO_MAX && memory <= MEMORY_MAX_MIB;
    let verdict = if fine { "" } else { "   MISSED" };
    println!("{name:<20} {cpu_s:7.2} {bare_s:12.2} {ratio:7.2} {memory:10.1}{verdict}");
    fine
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Writes the file: every block is another.
fn generate(path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create_new(path)?);
    for block in 0..LEN / BLOCK {
        file.write_all(&content::bytes(block as u64 + 1, BLOCK))?;
    }
    // On the disk before anything is measured: writing back is no part of an upload.
    file.into_inner()?.sync_all()
}

// ----- haul

/// Uploads with `haul put` to a server of its own, which drops what it took.
fn run_haul(flags: &[&str], folder: &Path, file: &Path) -> Used {
    let server = Server::start_at(vec!["--discard".into()], "127.0.0.1:0");
    let mut command = haul();
    command
        .arg("put")
        .arg(file)
        .arg("kodo://bench-bucket/1GiB")
        .args(flags)
        .arg("--state-dir")
        .arg(folder.join("state"))
        .env("HAUL_ENDPOINT", &server.listening.url)
        .env("HAUL_ACCESS_KEY", &server.listening.access_key)
        .env("HAUL_SECRET_KEY", &server.listening.secret_key)
        .stderr(Stdio::null());
    measure(&mut command)
}

// ----- the bare loop

/// Runs the bare loop as a process of its own, and takes what it sends.
fn run_bare(file: &Path) -> Used {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let sink = std::thread::spawn(move || -> io::Result<u64> {
        let (mut stream, _) = listener.accept()?;
        let mut buffer = vec![0; PIECE];
        let mut taken = 0;
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(taken),
                len => taken += len as u64,
            }
        }
    });
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.arg("--bare").arg(file).arg(address);
    let used = measure(&mut command);
    let taken = sink.join().expect("no panic").expect("all of it");
    assert_eq!(taken, LEN as u64);
    used
}

/// Read, hash, write: the least that an upload can do.
fn bare_loop(path: &Path, address: &str) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; PIECE];
    let mut sha1 = Sha1::new();
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        sha1.update(&buffer[..len]);
        stream.write_all(&buffer[..len])?;
    }
    // Said, so that nothing of the work can be left out.
    println!("{:02x?}", &sha1.finalize()[..]);
    Ok(())
}

// ----- measuring

/// Runs `command` to its end, which must be a good one.
fn measure(command: &mut Command) -> Used {
    let before = cpu_of_ended_children();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let memory_mib = watch(&mut child);
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{command:?}: {status}");
    Used {
        cpu_s: cpu_of_ended_children() - before,
        memory_mib,
    }
}

/// Waits for the end of `child`; its peak of resident memory.
fn watch(child: &mut Child) -> f64 {
    let mut peak = 0.0;
    let status = format!("/proc/{}/status", child.id());
    while child.try_wait().expect("it can be waited for").is_none() {
        peak = f64::max(peak, peak_memory_mib(&status).unwrap_or(0.0));
        pause();
    }
    peak
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing rings when a process's memory grows"
)]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

/// The high-water mark of a process's resident memory.
fn peak_memory_mib(status: &str) -> Option<f64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Processor time, user and system, of all children that were waited for, in seconds.
fn cpu_of_ended_children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("a Linux system");
    // The name, in parentheses, may hold anything; from there on, cutime and cstime are the 14th and
    // 15th field (proc(5): 16 and 17 of all).
    let (_, after) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = after.split_whitespace().skip(13).take(2);
    ticks
        .map(|field| field.parse::<f64>().unwrap_or(0.0) / TICKS_PER_S)
        .sum()
}
