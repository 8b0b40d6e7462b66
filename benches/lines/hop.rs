//! The hop: a stretch of the line with latency, loss and faults, for kernels without `netem`.
//!
//! A process of its own holds two TUN devices, one in the client's namespace and one in the
//! router's, and carries packets between them: real packets of real connections, so a lost one is
//! lost to TCP. The bottleneck is not here; `tc tbf` makes it behind the hop.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddrV4;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::packet::Segment;
use crate::{now, sleep};

/// The devices: towards the client, and towards the server.
pub(crate) const NEAR: &str = "near";
pub(crate) const FAR: &str = "far";

/// What the hop says when its devices are there.
pub(crate) const READY: &str = "ready";

/// Room for a packet: more than any device's MTU here.
const PACKET_MAX: usize = 2048;

/// What the hop does to packets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Hop {
    /// Time that a packet is under way, in either direction.
    pub(crate) one_way_ms: u64,
    /// Share of the packets that is lost, in either direction.
    pub(crate) loss: f64,
    pub(crate) fault: Option<LineFault>,
    /// Of everything random.
    pub(crate) seed: u64,
}

/// What goes wrong on the line. Bytes are those that TCP carries upwards, all connections together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum LineFault {
    /// The connection that carries byte number `after_bytes` falls silent for ever, in both
    /// directions. Others are not concerned.
    BlackHole { after_bytes: u64 },
    /// Once `after_bytes` are carried, nothing passes for `ms`.
    Dead { after_bytes: u64, ms: u64 },
    /// A connection is reset every so many bytes on average: the one that carries the byte.
    Resets { mean_bytes: u64 },
    /// Every connection is reset when it is so old.
    CutOff { after_ms: u64 },
    /// Up and down by turns, from the first byte on.
    Flapping { up_ms: u64, down_ms: u64 },
}

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
            // The ends are gone only when the process is.
            let _ = match fate.of(packet, is_upward, at) {
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

// ----- deciding

/// What becomes of a packet.
enum Verdict {
    Passes,
    Lost,
    /// For the client and for the server, in place of the packet.
    Resets([Vec<u8>; 2]),
}

/// Both ends of a connection, the client's first.
type Flow = (SocketAddrV4, SocketAddrV4);

/// Decides what becomes of packets.
struct Fate {
    hop: Hop,
    random: u64,
    /// When the first byte was carried.
    began: Option<Instant>,
    /// Bytes carried upwards.
    carried: u64,
    /// Where the next reset is due.
    next_reset: u64,
    /// Connections that are gone, and since when others are there.
    gone: HashSet<Flow>,
    ages: Vec<(Flow, Instant)>,
    /// When nothing passes any more, once that is known.
    dead_since: Option<Instant>,
    is_said: bool,
}

impl Fate {
    fn new(hop: Hop) -> Self {
        let mut fate = Self {
            random: hop.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            hop,
            began: None,
            carried: 0,
            next_reset: 0,
            gone: HashSet::new(),
            ages: Vec::new(),
            dead_since: None,
            is_said: false,
        };
        fate.next_reset = fate.distance();
        fate
    }

    /// What becomes of `packet`, which came at `now`.
    fn of(&mut self, packet: &[u8], is_upward: bool, now: Instant) -> Verdict {
        let Some(segment) = Segment::parse(packet) else {
            return Verdict::Passes;
        };
        let flow = segment.flow(is_upward);
        if is_upward {
            if segment.is_first() {
                // A port may come again.
                self.gone.remove(&flow);
                self.ages.retain(|(other, _)| *other != flow);
                self.ages.push((flow, now));
            }
            if segment.payload_len > 0 {
                self.began.get_or_insert(now);
            }
            self.carried += u64::from(segment.payload_len);
        }
        if self.gone.contains(&flow) || (self.hop.loss > 0.0 && self.share() < self.hop.loss) {
            return Verdict::Lost;
        }
        match self.hop.fault {
            Some(fault) => self.under(fault, &segment, flow, is_upward, now),
            None => Verdict::Passes,
        }
    }

    /// What a fault makes of a segment that would pass.
    fn under(
        &mut self,
        fault: LineFault,
        segment: &Segment,
        flow: Flow,
        is_upward: bool,
        now: Instant,
    ) -> Verdict {
        let carries = is_upward && segment.payload_len > 0;
        let began = self.began.unwrap_or(now);
        match fault {
            LineFault::BlackHole { after_bytes } => {
                if carries && self.gone.is_empty() && self.carried >= after_bytes {
                    self.gone.insert(flow);
                    return self.say("a connection falls silent", Verdict::Lost);
                }
            }
            LineFault::Dead { after_bytes, ms } => {
                if carries && self.carried >= after_bytes {
                    self.dead_since.get_or_insert(now);
                }
                let dead = self.dead_since.map(|since| now - since);
                if dead.is_some_and(|dead| dead < Duration::from_millis(ms)) {
                    return self.say("the line is dead", Verdict::Lost);
                }
            }
            LineFault::Resets { .. } => {
                if carries && self.carried >= self.next_reset {
                    self.next_reset = self.carried + self.distance();
                    self.gone.insert(flow);
                    return self.say("a reset", Verdict::Resets(segment.resets()));
                }
            }
            LineFault::CutOff { after_ms } => {
                let since = self.ages.iter().find(|(other, _)| *other == flow);
                let is_old = |since: Instant| now - since >= Duration::from_millis(after_ms);
                if carries && since.is_some_and(|(_, since)| is_old(*since)) {
                    self.gone.insert(flow);
                    return self.say("a cut", Verdict::Resets(segment.resets()));
                }
            }
            LineFault::Flapping { up_ms, down_ms } => {
                let at = (now - began).as_millis() as u64 % (up_ms + down_ms);
                if at >= up_ms {
                    return self.say("the line is down", Verdict::Lost);
                }
            }
        }
        Verdict::Passes
    }

    /// Says once that the fault has come, and gives the verdict back.
    fn say(&mut self, what: &str, verdict: Verdict) -> Verdict {
        if !self.is_said {
            self.is_said = true;
            // The bench may be gone; then so is this process.
            let _ = say(&format!("{what} after {} bytes", self.carried));
        }
        verdict
    }

    /// Bytes to the next reset: exponential, as of independent accidents.
    fn distance(&mut self) -> u64 {
        match self.hop.fault {
            Some(LineFault::Resets { mean_bytes }) => {
                (-(1.0 - self.share()).ln() * mean_bytes as f64) as u64
            }
            _ => u64::MAX,
        }
    }

    /// A random number from 0 to 1: xorshift64*.
    fn share(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
