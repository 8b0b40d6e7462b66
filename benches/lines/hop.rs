//! The hop: a stretch of the line with latency, loss and faults, for kernels without `netem`.
//!
//! A process of its own holds two TUN devices, one in the client's namespace and one in the
//! router's, and carries packets between them: real packets of real connections, so a lost one is
//! lost to TCP. The bottleneck is not here; `tc tbf` makes it behind the hop.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::fate::{Fate, Hop, Verdict};
use crate::{now, sleep};

/// The devices: towards the client, and towards the server.
pub(crate) const NEAR: &str = "near";
pub(crate) const FAR: &str = "far";

/// What the hop says when its devices are there.
pub(crate) const READY: &str = "ready";

/// Room for a packet: more than any device's MTU here.
const PACKET_MAX: usize = 2048;

/// Runs the hop until it is killed.
pub(crate) fn run(setup: &str) -> Result<(), Box<dyn std::error::Error>> {
    let hop: Hop = serde_json::from_str(setup)?;
    let (near, far) = (open(NEAR)?, open(FAR)?);
    say(READY)?;
    let one_way = Duration::from_millis(hop.one_way_ms);
    let (to_near, at_near) = channel();
    let (to_far, at_far) = channel();
    let fate = Arc::new(Mutex::new(Fate::new(hop)));
    let (near_in, far_in) = (near.try_clone()?, far.try_clone()?);
    let doors = Doors {
        to_near,
        to_far,
        one_way,
        fate,
    };
    let downward = doors.clone();
    std::thread::scope(|scope| {
        let threads = [
            scope.spawn(move || deliver(&at_near, near)),
            scope.spawn(move || deliver(&at_far, far)),
            scope.spawn(move || downward.take(far_in, false)),
        ];
        let mut ended = vec![doors.take(near_in, true)];
        ended.extend(threads.map(|thread| thread.join().unwrap_or(Ok(()))));
        ended.into_iter().collect::<io::Result<()>>()
    })?;
    Ok(())
}

/// Makes a TUN device in this process's namespace; it is gone with the process.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a TUN device is had by ioctl only")]
fn open(name: &str) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // `struct ifreq` of netdevice(7): a name of 16 bytes, then the flags, in 40 bytes.
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the descriptor is open, and the kernel reads and writes no more than a `struct ifreq`,
    // for which there is room.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    match done {
        0 => Ok(device),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn open(_name: &str) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// One line for the bench.
fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

// ----- carrying

/// A packet, and when it arrives.
type Timed = (Instant, Vec<u8>);

/// Where packets go on.
#[derive(Clone)]
struct Doors {
    to_near: Sender<Timed>,
    to_far: Sender<Timed>,
    one_way: Duration,
    fate: Arc<Mutex<Fate>>,
}

impl Doors {
    /// Takes what comes out of one device.
    fn take(&self, mut from: File, is_upward: bool) -> io::Result<()> {
        let mut buffer = vec![0; PACKET_MAX];
        loop {
            let len = from.read(&mut buffer)?;
            let packet = &buffer[..len];
            let at = now();
            let due = at + self.one_way;
            // A packet is decided on whole; a panic in between leaves nothing half done.
            let mut fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
            let verdict = fate.of(packet, is_upward, at);
            let news = fate.news();
            drop(fate);
            if let Some(news) = news {
                say(&serde_json::to_string(&news)?)?;
            }
            // The ends are gone only when the process is.
            let _ = match verdict {
                Verdict::Lost => Ok(()),
                Verdict::Passes if is_upward => self.to_far.send((due, packet.to_vec())),
                Verdict::Passes => self.to_near.send((due, packet.to_vec())),
                Verdict::Resets([to_client, to_server]) => {
                    let _ = self.to_near.send((due, to_client));
                    self.to_far.send((due, to_server))
                }
            };
        }
    }
}

/// Hands packets over as they arrive.
fn deliver(packets: &Receiver<Timed>, mut to: File) -> io::Result<()> {
    while let Ok((due, packet)) = packets.recv() {
        let left = due.saturating_duration_since(now());
        if !left.is_zero() {
            sleep(left);
        }
        // A device that is not up yet, or no longer, takes nothing: a packet is lost.
        let _ = to.write(&packet);
    }
    Ok(())
}
