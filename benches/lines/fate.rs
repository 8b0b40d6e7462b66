//! What becomes of each packet on the hop: a decision, without a device or a clock.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::packet::Segment;

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
    /// Once `after_bytes` are carried the bottleneck has another rate: whoever made it is told.
    RateFalls { after_bytes: u64, bits_per_s: u64 },
    /// Nothing reaches the server's address, from the start; its other addresses are not concerned.
    Swallows { server: Ipv4Addr },
}

/// What the hop tells, one line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum News {
    /// The fault has come: in words, and once.
    Fault(String),
    /// A connection is reset: every one is told.
    Reset { after_bytes: u64 },
    /// The rate falls now.
    RateFalls { bits_per_s: u64 },
    /// A byte passes upwards for the first time since the dead line's return, so long after it.
    Back { ms: u64 },
}

/// What becomes of a packet.
pub(crate) enum Verdict {
    Passes,
    Lost,
    /// For the client and for the server, in place of the packet.
    Resets([Vec<u8>; 2]),
}

/// Both ends of a connection, the client's first.
type Flow = (SocketAddrV4, SocketAddrV4);

/// Decides what becomes of packets.
pub(crate) struct Fate {
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
    /// What is to be told, until somebody asks.
    news: Option<News>,
    /// The fault is said once, and the end of a dead time as well.
    is_said: bool,
    is_back: bool,
}

impl Fate {
    pub(crate) fn new(hop: Hop) -> Self {
        let mut fate = Self {
            random: hop.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            hop,
            began: None,
            carried: 0,
            next_reset: 0,
            gone: HashSet::new(),
            ages: Vec::new(),
            dead_since: None,
            news: None,
            is_said: false,
            is_back: false,
        };
        fate.next_reset = fate.distance();
        fate
    }

    /// What becomes of `packet`, which came at `now`.
    pub(crate) fn of(&mut self, packet: &[u8], is_upward: bool, now: Instant) -> Verdict {
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
                if carries && !self.is_said && self.carried >= after_bytes {
                    self.gone.insert(flow);
                    return self.say("a connection falls silent", Verdict::Lost);
                }
            }
            LineFault::Dead { after_bytes, ms } => {
                if carries && self.carried >= after_bytes {
                    self.dead_since.get_or_insert(now);
                }
                if let Some(since) = self.dead_since {
                    return self.dead(since + Duration::from_millis(ms), carries, now);
                }
            }
            LineFault::Resets { .. } => {
                if carries && self.carried >= self.next_reset {
                    self.next_reset = self.carried + self.distance();
                    return self.cut(flow, segment);
                }
            }
            LineFault::CutOff { after_ms } => {
                let since = self.ages.iter().find(|(other, _)| *other == flow);
                let is_old = |since: Instant| now - since >= Duration::from_millis(after_ms);
                if carries && since.is_some_and(|(_, since)| is_old(*since)) {
                    return self.cut(flow, segment);
                }
            }
            LineFault::Flapping { up_ms, down_ms } => {
                let at = (now - began).as_millis() as u64 % (up_ms + down_ms);
                if at >= up_ms {
                    return self.say("the line is down", Verdict::Lost);
                }
            }
            LineFault::RateFalls {
                after_bytes,
                bits_per_s,
            } => {
                if carries && self.carried >= after_bytes && !self.is_said {
                    self.is_said = true;
                    self.news = Some(News::RateFalls { bits_per_s });
                }
            }
            LineFault::Swallows { server } => {
                if is_upward && *segment.to.ip() == server {
                    return self.say("a host is swallowed", Verdict::Lost);
                }
            }
        }
        Verdict::Passes
    }

    /// On a line that is dead until `ends`, or was.
    fn dead(&mut self, ends: Instant, carries: bool, now: Instant) -> Verdict {
        if now < ends {
            return self.say("the line is dead", Verdict::Lost);
        }
        if carries && !self.is_back {
            self.is_back = true;
            let ms = (now - ends).as_millis() as u64;
            self.news = Some(News::Back { ms });
        }
        Verdict::Passes
    }

    /// Ends a connection.
    fn cut(&mut self, flow: Flow, segment: &Segment) -> Verdict {
        self.gone.insert(flow);
        self.news = Some(News::Reset {
            after_bytes: self.carried,
        });
        Verdict::Resets(segment.resets())
    }

    /// What is to be told since the last question.
    pub(crate) fn news(&mut self) -> Option<News> {
        self.news.take()
    }

    /// Says once that the fault has come, and gives the verdict back.
    fn say(&mut self, what: &str, verdict: Verdict) -> Verdict {
        if !self.is_said {
            self.is_said = true;
            let words = format!("{what} after {} bytes", self.carried);
            self.news = Some(News::Fault(words));
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
