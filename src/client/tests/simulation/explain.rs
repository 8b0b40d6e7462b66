//! What a world explains: how long it may take, how a run in it may fail.

use std::time::{Duration, Instant};

use crate::client::tests::simulation::world::{Happening, World};
use crate::devserver::{Fault, Loss};
use crate::error::ErrorKind;

/// What a form says beside the object's bytes, and what a calm line may cost beside them.
pub(super) const FORM_FRAME_LEN: u64 = 4096;

impl World {
    /// Longest time until the upload is done: everything that can cost time, generously.
    pub(super) fn patience(&self) -> Duration {
        let lost = self.happenings.iter().map(|(at, what)| match what {
            Happening::Outage(time)
            | Happening::Absent(_, _, time)
            | Happening::Unwell(_, _, time)
            | Happening::Crash(time)
            | Happening::CrashAndChange(time, _)
            | Happening::Suspended(time)
            | Happening::Restart(time) => *at + *time,
            Happening::Flaps { down, up, times } => *at + (*down + *up) * *times,
            Happening::Rate(_, lasting) => *at + lasting.unwrap_or_default(),
            Happening::SourceChanges(_) | Happening::Cut { .. } => *at,
        });
        let lost: Duration = lost.sum();
        // An answer to a commit that never comes, three times each.
        let incidents = u32::try_from(self.incidents()).unwrap();
        let transfer = self.transfer_at(self.rate_in_the_end());
        let each = Duration::from_secs(3 * 400) + 2 * transfer;
        let count = u32::try_from(self.sizes().count()).unwrap();
        Duration::from_secs(600)
            + 4 * transfer
            + count * 200 * self.latency
            + lost
            + incidents * each
    }

    /// The slowest rate that the line keeps for good.
    fn rate_in_the_end(&self) -> u64 {
        let lasting = self.happenings.iter().filter_map(|(_, what)| match what {
            Happening::Rate(rate, None) => Some(*rate),
            _ => None,
        });
        lasting.fold(self.rate, u64::min)
    }

    /// What the line carries from when on, in bits a second.
    pub(super) fn rates(&self, began: Instant) -> Vec<(Instant, u64)> {
        let mut rates = Vec::new();
        for (at, what) in &self.happenings {
            if let Happening::Rate(rate, lasting) = what {
                rates.push((began + *at, *rate));
                rates.extend(lasting.map(|time| (began + *at + time, self.rate)));
            }
        }
        rates.sort_by_key(|(at, _)| *at);
        rates
    }

    /// How many bytes the uploads and everything that goes wrong may come to, without races.
    pub(super) fn explained_bytes(&self) -> u64 {
        let faults = self
            .plan
            .faults
            .iter()
            .map(|fault| self.lost_by_fault(fault));
        let way = self.way.iter().map(|fault| self.lost_on_the_way(fault));
        let happenings = self.happenings.iter();
        let happenings = happenings.map(|(_, what)| self.lost_by_happening(what));
        let hosts = self.plan.hosts.len() as u64 * self.in_flight() * 4;
        let holes = self.holes.len() as u64 * self.segment_max();
        // A form that fails again and again goes on in lanes.
        let form = if self.is_calm() { 0 } else { self.forms() * 3 };
        let frames = self.sizes().count() as u64 * FORM_FRAME_LEN * 8;
        let incidents: u64 = faults.chain(way).chain(happenings).sum();
        self.total() + incidents + hosts + holes + form + frames
    }

    /// Most bytes that are under way at once, of lanes.
    fn in_flight(&self) -> u64 {
        self.lanes() * self.segment_max()
    }

    /// The same of forms.
    fn forms(&self) -> u64 {
        self.sizes().map(|size| size.min(self.segment_max())).sum()
    }

    fn lost_by_fault(&self, fault: &Fault) -> u64 {
        let segment = self.segment_max();
        let again = u64::from(fault.expire.is_some() || fault.wrong.is_some());
        fault.times.unwrap_or(1) * (segment + again * self.total().max(segment))
    }

    fn lost_on_the_way(&self, fault: &Fault) -> u64 {
        // Who dies before the end may have to learn it again.
        let lives = 1 + self.crashes().count() as u64;
        match fault.longer_than {
            // Every lane may be refused each time the length is halved, from 4 MiB to 256 KiB, or
            // be cut as often as it takes to see that (3 times) and to find a length that passes.
            Some(limit) => {
                let refused = self.segment_max().min(limit) + FORM_FRAME_LEN;
                lives * (self.lanes() * 12 * refused + self.forms())
            }
            // A slow connection's segment is overdue at eight times its share.
            None => lives * self.in_flight() * 4,
        }
    }

    fn lost_by_happening(&self, happening: &Happening) -> u64 {
        let in_flight = self.in_flight();
        match happening {
            Happening::Outage(time) | Happening::Absent(_, _, time) | Happening::Restart(time) => {
                in_flight * (1 + time.as_secs() / 30)
            }
            // No flap is as long as silence is forgiven; many are no excuse for more.
            Happening::Flaps { .. } => in_flight * 2,
            // Each lane tries again after waits that double, and loses what it sent before the
            // refusal; where one request in three is refused, it does not come to long waits.
            Happening::Unwell(_, how, time) => {
                let third = if how.one_in_three { self.total() } else { 0 };
                in_flight * (4 + time.as_secs() / 4) + third
            }
            Happening::Crash(_) | Happening::Cut { .. } => in_flight,
            // Slow is not dead.
            Happening::Suspended(_) | Happening::Rate(..) => 0,
            // Something else is uploaded then.
            Happening::CrashAndChange(..) | Happening::SourceChanges(_) => {
                4 * self.total() + (4 << 20)
            }
        }
    }

    /// Whether a run may end so in this world.
    pub(super) fn may_fail(&self, kind: ErrorKind) -> bool {
        match kind {
            // What a stream gave is gone when the service loses it.
            ErrorKind::Source => {
                self.streams().is_some() && (self.expiries() > 0 || self.restarts())
            }
            ErrorKind::SourceChanged => self.source_changes(),
            // An earlier source is there and stays.
            ErrorKind::Exists => self.insert_only && self.source_changes(),
            // Without keys nobody can look, and nobody can sign.
            ErrorKind::OutcomeUnknown => self.ready_token || self.source_changes(),
            // With keys, one fresh token is tried.
            ErrorKind::Unauthorized => self.ready_token || self.expiries() > 1,
            ErrorKind::NoConnection => self.is_silent_for_long(),
            // The same for a portal that answers in the service's place.
            ErrorKind::NotKodo => self.portals() > 2 || self.is_silent_for_long(),
            // An upload starts over once, a block three times; a commit waits five minutes for each
            // answer, and all patience is a quarter of an hour.
            ErrorKind::Unfinished => {
                self.expiries() > 1 || self.hangs() > 2 || self.is_silent_for_long()
            }
            _ => false,
        }
    }

    /// Whether a server dies, and what it had not stored with it.
    fn restarts(&self) -> bool {
        let mut happenings = self.happenings.iter();
        happenings.any(|(_, what)| matches!(what, Happening::Restart(_)))
    }

    /// Whether nobody answers for so long that a run that was never answered gives up: its patience
    /// is a minute.
    fn is_silent_for_long(&self) -> bool {
        let silences = self.happenings.iter().map(|(_, what)| match what {
            // That is what waiting for the line is for.
            Happening::Outage(_) | Happening::Flaps { .. } if self.wait_online => Duration::ZERO,
            Happening::Outage(time)
            | Happening::Absent(_, _, time)
            | Happening::Unwell(_, _, time)
            | Happening::Restart(time) => *time,
            Happening::Flaps { down, up, times } => (*down + *up) * *times,
            _ => Duration::ZERO,
        });
        let silence = silences.sum::<Duration>();
        // Waits have grown meanwhile: each request that is then lost costs one of half a minute, or on
        // average half of that.
        let losses = u32::try_from(self.losses()).unwrap();
        let waits = Duration::from_secs(15) * losses;
        !silence.is_zero() && silence + waits > Duration::from_secs(40)
    }

    /// How often a request or its answer is lost.
    fn losses(&self) -> u64 {
        let faults = self.plan.faults.iter().filter(|fault| {
            let is_cut = fault.reset.is_some() || fault.close.is_some();
            is_cut || fault.lose_answer.is_some()
        });
        faults.filter_map(|fault| fault.times).sum::<u64>() + self.hangs()
    }

    /// How often something else than the service answers.
    fn portals(&self) -> u64 {
        let faults = self.plan.faults.iter().filter(|fault| {
            fault.answer_html.is_some() || fault.cut_answer.is_some() || fault.omit_reqid
        });
        faults.filter_map(|fault| fault.times).sum()
    }

    /// How often the server says nothing.
    fn hangs(&self) -> u64 {
        let hanging = self
            .plan
            .faults
            .iter()
            .filter(|fault| fault.hang.is_some() || fault.lose_answer == Some(Loss::Hang));
        hanging.filter_map(|fault| fault.times).sum::<u64>() + self.holes.len() as u64
    }

    /// How often the server forgets what it had.
    pub(super) fn expiries(&self) -> u64 {
        let faults = self.plan.faults.iter();
        let expiring = faults.filter(|fault| fault.expire.is_some() || fault.refuse_replayed_ctx);
        expiring.filter_map(|fault| fault.times).sum()
    }

    /// The line's outages in order, those that overlap joined.
    pub(super) fn outages(&self, began: Instant) -> Vec<(Instant, Instant)> {
        let mut outages: Vec<(Instant, Instant)> = Vec::new();
        for (at, what) in &self.happenings {
            let begins = began + *at;
            match what {
                Happening::Outage(time) => outages.push((begins, begins + *time)),
                Happening::Flaps { down, up, times } => {
                    let flap = |nth: u32| {
                        let from = begins + (*down + *up) * nth;
                        (from, from + *down)
                    };
                    outages.extend((0..*times).map(flap));
                }
                _ => {}
            }
        }
        outages.sort_unstable();
        let mut joined: Vec<(Instant, Instant)> = Vec::new();
        for (from, until) in outages {
            match joined.last_mut() {
                Some(last) if last.1 >= from => last.1 = last.1.max(until),
                _ => joined.push((from, until)),
            }
        }
        joined
    }
}
