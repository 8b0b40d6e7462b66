//! A world as data: an upload, a line, and everything that goes wrong. Made from a seed.

use std::time::Duration;

use crate::client::tests::simulation::chance::Chance;
use crate::client::tests::simulation::network::{Absence, Hole, Kernels};
use crate::client::tests::simulation::weather;
use crate::devserver::{Fault, FaultPlan};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Longest time that the bytes of all uploads may take on their line as it is at first: more shows
/// nothing new.
const TRANSFER_MAX_S: u64 = 120;

/// How the object is asked to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Auto,
    V1,
    V2,
    Form,
}

/// How a stream comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streaming {
    /// Its length is said.
    pub(super) is_known: bool,
    /// The longest pause before a piece of it.
    pub(super) pause_max: Duration,
}

/// What happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// The line is down for so long.
    Outage(Duration),
    /// The line is down and up in turn, so many times.
    Flaps {
        down: Duration,
        up: Duration,
        times: u32,
    },
    /// From now on the line carries so many bits per second: for so long, or for good.
    Rate(u64, Option<Duration>),
    /// A host, or all of them, answers so for so long.
    Unwell(Option<usize>, Unwell, Duration),
    /// A host is absent for so long.
    Absent(usize, Absence, Duration),
    /// The client dies and is started again after a pause.
    Crash(Duration),
    /// The same, and the source is another one afterwards.
    CrashAndChange(Duration, Change),
    /// Something on the way forgets every connection: the client hears a reset, or an end.
    Cut {
        /// Which of the two.
        reset: bool,
    },
    /// Everybody sleeps for so long, as a laptop does; connections survive it.
    Suspended(Duration),
    /// The server dies, without what it had not stored, and comes back.
    Restart(Duration),
    /// Somebody writes into the source.
    SourceChanges(Change),
}

/// How a host fails that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwell {
    pub(super) status: u16,
    /// Only every third request, about, is answered so.
    pub(super) one_in_three: bool,
    /// As soon as a request's head is there, not after its body.
    pub(super) at_once: bool,
}

/// What becomes of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Other bytes, the same size.
    Rewritten,
    /// One byte.
    OneByte,
    Truncated,
    Grown,
    /// Nothing but its times.
    Touched,
    /// The same path leads to another file, with other bytes.
    Replaced,
}

/// One world.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) size: u64,
    /// Sizes of further uploads, under other keys.
    pub(super) others: Vec<u64>,
    /// These run after one another, each in a process of its own, not all at once in one.
    pub(super) in_turn: bool,
    pub(super) wish: Wish,
    pub(super) part_len: u64,
    /// Lanes by setting; none for what the line is worth.
    pub(super) window: Option<usize>,
    /// Outages are waited out.
    pub(super) wait_online: bool,
    /// A ready token in place of keys: nobody can look whether the object is there.
    pub(super) ready_token: bool,
    /// How streams come in place of files, where nothing needs a file.
    pub(super) stream: Option<Streaming>,
    /// Never replace another object.
    pub(super) insert_only: bool,
    /// Bits per second.
    pub(super) rate: u64,
    pub(super) latency: Duration,
    /// The uploader's own limit, in bytes a second.
    pub(super) limit_rate: Option<u64>,
    pub(super) kernels: Kernels,
    pub(super) hosts: usize,
    pub(super) plan: FaultPlan,
    /// What is on the way for good, whatever becomes of the server: a proxy that lets no long bodies
    /// pass, connections that are slow.
    pub(super) way: Vec<Fault>,
    pub(super) holes: Vec<Hole>,
    /// In order of time since the beginning.
    pub(super) happenings: Vec<(Duration, Happening)>,
}

impl World {
    /// The world of a seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let rate = chance.one(&[
            64_000,
            256_000,
            1_000_000,
            1_000_000,
            4_000_000,
            20_000_000,
            100_000_000,
        ]);
        let size = size(&mut chance).min(rate / 8 * TRANSFER_MAX_S);
        let mut world = Self {
            seed,
            size,
            others: Vec::new(),
            in_turn: false,
            wish: chance.one(&[Wish::Auto, Wish::V1, Wish::V2, Wish::V2, Wish::Form]),
            part_len: chance.one(&[MIB, 2 * MIB, 4 * MIB]),
            // Six worlds in ten find out by themselves what the line is worth.
            window: chance.one(&[
                None,
                None,
                None,
                None,
                None,
                None,
                Some(1),
                Some(2),
                Some(2),
                Some(4),
            ]),
            wait_online: chance.percent(12),
            ready_token: chance.percent(20),
            stream: streaming(seed),
            insert_only: chance.percent(25),
            rate,
            latency: Duration::from_millis(chance.one(&[0, 1, 20, 20, 80, 300, 600])),
            limit_rate: None,
            kernels: Kernels {
                send_buffer: chance.one(&[16 * KIB, 128 * KIB, 256 * KIB]),
                receive_buffer: chance.one(&[16 * KIB, 64 * KIB, 256 * KIB]),
                reset_drops_unread: chance.percent(50),
            },
            hosts: usize::try_from(chance.one(&[1, 1, 2, 3])).unwrap(),
            plan: FaultPlan {
                seed,
                ..FaultPlan::default()
            },
            way: Vec::new(),
            holes: Vec::new(),
            happenings: Vec::new(),
        };
        if chance.percent(25) {
            world.accompany(&mut chance);
        } else if rate >= 20_000_000 && chance.percent(12) {
            // As many lanes as bring something.
            world.size = chance.within(8 * MIB..=24 * MIB);
            world.part_len = MIB;
        }
        weather::brew(&mut world, &mut chance);
        // A quarter of what the line carries, up to twice that.
        let limit = rate / 8 * chance.one(&[1, 2, 4, 8]) / 4;
        world.limit_rate = chance.percent(15).then_some(limit);
        world
    }

    /// Adds further uploads.
    fn accompany(&mut self, chance: &mut Chance) {
        let count = chance.within(1..=5);
        self.in_turn = chance.percent(30);
        // A ready token is for one key.
        self.ready_token = false;
        let most = self.rate / 8 * TRANSFER_MAX_S / 2;
        self.size = self.size.min(4 * MIB).min(most);
        let one = |chance: &mut Chance| match chance.within(0..=2) {
            0 => chance.within(0..=64 * KIB),
            1 => chance.within(64 * KIB..=MIB),
            _ => chance.within(MIB..=2 * MIB + MIB / 2),
        };
        self.others = (0..count).map(|_| one(chance).min(most / count)).collect();
    }

    /// How the sources are streams, if they are: one that dies with its process, or that somebody writes
    /// into, is a file.
    pub(super) fn streams(&self) -> Option<Streaming> {
        let needs_files = self.crashes().next().is_some() || self.source_changes();
        self.stream.filter(|_| !needs_files)
    }

    /// The sizes of all uploads.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.size).chain(self.others.iter().copied())
    }

    /// Bytes of all uploads.
    pub(super) fn total(&self) -> u64 {
        self.sizes().sum()
    }

    /// How long the bytes alone take on the line as it is at first, under the limit.
    pub(super) fn transfer(&self) -> Duration {
        self.transfer_at(self.rate)
    }

    /// The same at another rate.
    pub(super) fn transfer_at(&self, rate: u64) -> Duration {
        let rate = self.limit_rate.map_or(rate, |limit| rate.min(8 * limit));
        Duration::from_millis(self.total().saturating_mul(8_000) / rate)
    }

    /// Whether nothing goes wrong at all. Sleep is nothing wrong.
    pub(super) fn is_calm(&self) -> bool {
        let asleep = self.happenings.iter();
        let asleep = asleep.filter(|(_, what)| matches!(what, Happening::Suspended(_)));
        self.incidents() == asleep.count()
    }

    /// How many things go wrong.
    pub(super) fn incidents(&self) -> usize {
        let plan = self.plan.faults.len() + self.plan.hosts.len();
        plan + self.way.len() + self.holes.len() + self.happenings.len()
    }

    /// The same world without its `index`th incident.
    pub(super) fn without(&self, mut index: usize) -> Self {
        let mut world = self.clone();
        let mut take = |len: usize| {
            let here = index < len;
            let at = index;
            index = index.wrapping_sub(len);
            (here && at < len).then(|| {
                index = usize::MAX;
                at
            })
        };
        if let Some(at) = take(world.plan.faults.len()) {
            world.plan.faults.remove(at);
        } else if let Some(at) = take(world.plan.hosts.len()) {
            world.plan.hosts.remove(at);
        } else if let Some(at) = take(world.way.len()) {
            world.way.remove(at);
        } else if let Some(at) = take(world.holes.len()) {
            world.holes.remove(at);
        } else if let Some(at) = take(world.happenings.len()) {
            world.happenings.remove(at);
        }
        world
    }

    /// Whether the source is ever written to.
    pub(super) fn source_changes(&self) -> bool {
        self.happenings.iter().any(|(_, what)| {
            matches!(
                what,
                Happening::SourceChanges(_) | Happening::CrashAndChange(..)
            )
        })
    }

    /// Times at which the client dies.
    pub(super) fn crashes(&self) -> impl Iterator<Item = (Duration, Duration, Option<Change>)> {
        self.happenings.iter().filter_map(|(at, what)| match what {
            Happening::Crash(pause) => Some((*at, *pause, None)),
            Happening::CrashAndChange(pause, change) => Some((*at, *pause, Some(*change))),
            _ => None,
        })
    }

    /// The longest segment that may be sent.
    pub(super) fn segment_max(&self) -> u64 {
        let longest = self.sizes().max().unwrap_or(0);
        let lanes = match self.wish {
            Wish::V2 => self.part_len,
            Wish::Auto | Wish::V1 => 4 * MIB,
            Wish::Form => longest,
        };
        // A small object goes by form, in one piece: the larger, the more the line is known to carry.
        let form = match self.window {
            Some(_) => MIB,
            None => 8 * MIB,
        };
        lanes.max(form).min(longest.max(1))
    }

    /// Most segments in flight, over all uploads.
    pub(super) fn lanes(&self) -> u64 {
        let each = |size: u64| match self.window {
            Some(window) => window as u64,
            // Half of its lanes, as the engine has it.
            None => (size / MIB / 2).clamp(2, 16),
        };
        self.sizes().map(each).sum()
    }

    /// What went wrong, each on a line, with the seed in front.
    pub(super) fn told(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!(
            "seed {}: {} bytes and {:?}, in turn: {}, by {:?}, parts of {}, window {:?}, streams {:?}, wait online: {}, {} bit/s, {:?}, limit {:?}, {:?}, {} hosts, \
             ready token: {}, insert only: {}\n",
            self.seed,
            self.size,
            self.others,
            self.in_turn,
            self.wish,
            self.part_len,
            self.window,
            self.streams(),
            self.wait_online,
            self.rate,
            self.latency,
            self.limit_rate,
            self.kernels,
            self.hosts,
            self.ready_token,
            self.insert_only,
        );
        for fault in &self.plan.faults {
            let _ = writeln!(text, "  {}", told(fault));
        }
        for fault in &self.way {
            let _ = writeln!(text, "  for good: {}", told(fault));
        }
        for host in &self.plan.hosts {
            let _ = writeln!(text, "  {host:?}");
        }
        for hole in &self.holes {
            let _ = writeln!(text, "  {hole:?}");
        }
        for (at, happening) in &self.happenings {
            let _ = writeln!(text, "  at {at:?}: {happening:?}");
        }
        text
    }
}

/// Every fifth world has streams. A chance of its own: the others stay as they were.
fn streaming(seed: u64) -> Option<Streaming> {
    let mut chance = Chance::new(seed ^ 0x0005_742e_a115);
    chance.percent(20).then(|| Streaming {
        is_known: chance.percent(40),
        pause_max: Duration::from_millis(chance.one(&[0, 0, 20, 400])),
    })
}

/// A fault without what it does not say.
fn told(fault: &Fault) -> String {
    let said = format!("{fault:?}");
    let fields = said.trim_start_matches("Fault { ").trim_end_matches(" }");
    let unsaid = [": None", ": []", ": false"];
    let mut depth = 0_i32;
    let mut pieces = vec![String::new()];
    for letter in fields.chars() {
        match letter {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                pieces.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    let said = pieces.iter().map(|piece| piece.trim());
    let said: Vec<&str> = said
        .filter(|piece| !unsaid.iter().any(|end| piece.ends_with(end)))
        .collect();
    format!("fault: {}", said.join(", "))
}

/// Mostly small, with the sizes at which something changes, and some large.
fn size(chance: &mut Chance) -> u64 {
    match chance.within(0..=99) {
        0..10 => chance.one(&[
            0,
            1,
            MIB - 1,
            MIB,
            MIB + 1,
            4 * MIB - 1,
            4 * MIB,
            4 * MIB + 1,
            8 * MIB,
        ]),
        10..25 => chance.within(1..=64 * KIB),
        25..84 => chance.within(64 * KIB..=2 * MIB),
        84..98 => chance.within(2 * MIB..=6 * MIB),
        _ => chance.within(6 * MIB..=30 * MIB),
    }
}
