//! A line between two network namespaces: client, hop, router with the bottleneck, server.
//!
//! ```text
//! client ── hop (latency, loss, faults) ── router (tc tbf, both directions) ── server
//! ```
//!
//! The namespaces have no names: each lives as long as a process that holds it, and every process
//! here dies with the bench, however that ends (`setpriv --pdeathsig`). So nothing is left behind
//! and there is nothing to clean up, and several benches can run beside one another.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Failure;
use crate::fate::{Hop, News};
use crate::hop::{FAR, NEAR, READY};

/// Addresses: the hop's two ends, and the two of the cable behind the router.
const NEAR_IP: &str = "10.210.0.1";
const FAR_IP: &str = "10.210.0.2";
const ROUTER_IP: &str = "10.210.1.1";

/// The server's addresses: as many as a row may have hosts.
pub(crate) const SERVER_IPS: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 210, 1, 2),
    Ipv4Addr::new(10, 210, 1, 3),
    Ipv4Addr::new(10, 210, 1, 4),
];

/// How TCP reacts to loss unless a program chooses: what most Linux systems do, whatever this one does. haul
/// chooses over far lines, and may, since the bench runs as root.
pub(crate) const CONGESTION: &str = "cubic";

/// Least burst of `tbf` in bytes: two packets. More where the rate needs it, see [`burst`].
const BURST_MIN: u64 = 3_200;

/// Gives the first core all packets of every device. A namespace sees its own devices in a `/sys` that
/// was mounted in it only. A kernel that cannot steer packets has no such file.
const KEEP_ORDER: &str = "mount -t sysfs sysfs /sys || exit
    for cores in /sys/class/net/*/queues/rx-0/rps_cpus; do
        [ ! -e \"$cores\" ] || echo 1 > \"$cores\" || exit
    done";

/// What a line is like.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// In either direction.
    pub(crate) bits_per_s: u64,
    /// What waits before the bottleneck at most; the rest is dropped.
    pub(crate) queue_bytes: u64,
    pub(crate) hop: Hop,
}

/// What this machine lacks for such lines, and what to do about it.
pub(crate) fn lacks() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("lines are made of Linux network namespaces".to_owned());
    }
    for (program, package) in [
        ("ip", "iproute2"),
        ("tc", "iproute2"),
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
        ("setpriv", "util-linux"),
        ("sysctl", "procps"),
    ] {
        if Command::new(program).arg("-V").output().is_err() {
            return Some(format!("there is no `{program}`: install {package}"));
        }
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun: `modprobe tun`".to_owned());
    }
    // Nothing tells better whether it is allowed than to try.
    namespace()
        .err()
        .map(|_| "network namespaces cannot be made: run it as root".to_owned())
}

/// Where a program runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// Where the bench itself runs.
    Here,
    /// In the namespace of the process with this id.
    Namespace(u32),
}

impl Place {
    /// A command for `program` in this place, which dies with the bench.
    pub(crate) fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Self::Namespace(pid) = self {
            command
                .arg("nsenter")
                .arg(format!("--net=/proc/{pid}/ns/net"))
                .arg("--");
        }
        command.arg(program);
        command
    }

    /// Runs a command line of words without blanks, which must succeed.
    fn run(self, line: &str) -> Result<(), Failure> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.run_words(&words)
    }

    fn run_words(self, words: &[&str]) -> Result<(), Failure> {
        let (program, arguments) = words.split_first().ok_or("no program")?;
        let mut command = self.command(program);
        let output = command.args(arguments).stdin(Stdio::null()).output()?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(format!("`{}`: {}", words.join(" "), said.trim()).into())
            }
        }
    }
}

/// A child that is killed when its owner is done.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line that is up.
pub(crate) struct Network {
    pub(crate) client: Place,
    pub(crate) server: Place,
    /// What the hop has told.
    told: Arc<Mutex<Vec<News>>>,
    _processes: [Kept; 4],
}

impl Network {
    /// Makes a line of this shape.
    pub(crate) fn new(shape: &Shape) -> Result<Self, Failure> {
        let (client_keeper, client) = namespace()?;
        let (router_keeper, router) = namespace()?;
        let (server_keeper, server) = namespace()?;
        let mut hop = router
            .command(std::env::current_exe()?)
            .args(["--role", "hop", &serde_json::to_string(&shape.hop)?])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(hop.stdout.take().ok_or("no pipe")?);
        let network = Self {
            client,
            server,
            told: Arc::default(),
            _processes: [client_keeper, router_keeper, server_keeper, Kept(hop)],
        };
        if next_line(&mut lines)? != READY {
            return Err("the hop has no TUN devices".into());
        }
        wire(client, router, server)?;
        shape_both(router, "add", shape.bits_per_s, shape.queue_bytes)?;
        network.listen(lines, router);
        Ok(network)
    }

    /// What the hop has told: what went wrong on the line, as it was planned.
    pub(crate) fn told(&self) -> Vec<News> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Hears what the hop tells, for as long as it lives, and lets the rate fall when it says so.
    fn listen(&self, lines: BufReader<ChildStdout>, router: Place) {
        let told = Arc::clone(&self.told);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut news = serde_json::from_str(&line).unwrap_or(News::Fault(line));
                if let News::RateFalls { bits_per_s } = news
                    && let Err(why) = fall(router, bits_per_s)
                {
                    news = News::Fault(format!("the rate does not fall: {why}"));
                }
                told.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(news);
            }
        });
    }
}

/// A new namespace, and the process that holds it.
fn namespace() -> Result<(Kept, Place), Failure> {
    let mut keeper = Place::Here
        .command("unshare")
        .args(["--net", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map(Kept)?;
    // `cat` answers when it runs, and then it runs in its new namespace.
    let stdin = keeper.0.stdin.as_mut().ok_or("no pipe")?;
    writeln!(stdin, "{READY}")?;
    let stdout = keeper.0.stdout.as_mut().ok_or("no pipe")?;
    if next_line(&mut BufReader::new(stdout))? != READY {
        return Err("no network namespace".into());
    }
    let place = Place::Namespace(keeper.0.id());
    Ok((keeper, place))
}

fn next_line(lines: &mut impl BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    lines.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Joins the namespaces.
fn wire(client: Place, router: Place, server: Place) -> Result<(), Failure> {
    let id = |place| match place {
        Place::Namespace(pid) => pid,
        Place::Here => std::process::id(),
    };
    router.run(&format!("ip link set {NEAR} netns {}", id(client)))?;
    router.run("ip link add cable type veth peer name plug")?;
    router.run(&format!("ip link set plug netns {}", id(server)))?;
    for (place, device, ip) in [
        (client, NEAR, NEAR_IP),
        (router, FAR, FAR_IP),
        (router, "cable", ROUTER_IP),
    ] {
        place.run("ip link set lo up")?;
        place.run(&format!("ip addr add {ip}/24 dev {device}"))?;
        place.run(&format!("ip link set {device} up"))?;
    }
    server.run("ip link set lo up")?;
    for ip in SERVER_IPS {
        server.run(&format!("ip addr add {ip}/24 dev plug"))?;
    }
    server.run("ip link set plug up")?;
    for (place, gateway) in [(client, FAR_IP), (server, ROUTER_IP)] {
        place.run(&format!(
            "ip route add default via {gateway} congctl {CONGESTION}"
        ))?;
    }
    router.run("sysctl -q -w net.ipv4.ip_forward=1")?;
    [client, router, server]
        .into_iter()
        .try_for_each(keep_order)
}

/// Keeps packets in order, as a line does: one core takes in what any core sent. Two cores would
/// overtake one another now and then, and TCP takes that for losses: the far row took 5.8 to 7.2 s.
fn keep_order(place: Place) -> Result<(), Failure> {
    place.run_words(&["unshare", "--mount", "--", "sh", "-c", KEEP_ORDER])
}

/// Makes the bottleneck (`add`), or another of it (`change`), in both directions.
fn shape_both(router: Place, verb: &str, bits_per_s: u64, queue_bytes: u64) -> Result<(), Failure> {
    let burst = burst(bits_per_s);
    let limit = burst + queue_bytes;
    for device in [FAR, "cable"] {
        router.run(&format!(
            "tc qdisc {verb} dev {device} root tbf rate {bits_per_s}bit burst {burst} limit {limit}"
        ))?;
    }
    Ok(())
}

/// Another rate on a line in use, with a queue of half a second. What waits already goes on waiting.
fn fall(router: Place, bits_per_s: u64) -> Result<(), Failure> {
    shape_both(router, "change", bits_per_s, bits_per_s / 16)
}

/// What `tbf` may send at once: 1 ms of the line's time, since its clock must keep up.
fn burst(bits_per_s: u64) -> u64 {
    (bits_per_s / 8 / 1_000).max(BURST_MIN)
}
