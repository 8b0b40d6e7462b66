//! What a world explains: how long it may take, how a run in it may fail.

use std::time::{Duration, Instant};

use crate::client::tests::simulation::world::{Happening, World};
use crate::devserver::Loss;
use crate::error::ErrorKind;

impl World {
    /// Longest time until the upload is done: everything that can cost time, generously.
    pub(super) fn patience(&self) -> Duration {
        let lost = self.happenings.iter().map(|(at, what)| match what {
            Happening::Outage(time)
            | Happening::Absent(_, _, time)
            | Happening::Crash(time)
            | Happening::CrashAndChange(time, _)
            | Happening::Suspended(time)
            | Happening::Restart(time) => *at + *time,
            Happening::SourceChanges(_) | Happening::Cut { .. } => *at,
        });
        let lost: Duration = lost.sum();
        // An answer to a commit that never comes, three times each.
        let incidents = u32::try_from(self.incidents()).unwrap();
        let each = Duration::from_secs(3 * 400) + 2 * self.transfer();
        Duration::from_secs(600)
            + 4 * self.transfer()
            + 200 * self.latency
            + lost
            + incidents * each
    }

    /// Whether a run may end so in this world.
    pub(super) fn may_fail(&self, kind: ErrorKind) -> bool {
        match kind {
            ErrorKind::Source => self.source_changes(),
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

    /// Whether nobody answers for so long that a run that was never answered gives up: its patience
    /// is a minute.
    fn is_silent_for_long(&self) -> bool {
        let silences = self.happenings.iter().map(|(_, what)| match what {
            Happening::Outage(time) | Happening::Absent(_, _, time) | Happening::Restart(time) => {
                *time
            }
            _ => Duration::ZERO,
        });
        silences.sum::<Duration>() > Duration::from_secs(40)
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
        let mut joined: Vec<(Instant, Instant)> = Vec::new();
        for (at, what) in &self.happenings {
            let Happening::Outage(time) = what else {
                continue;
            };
            let (from, until) = (began + *at, began + *at + *time);
            match joined.last_mut() {
                Some(last) if last.1 >= from => last.1 = last.1.max(until),
                _ => joined.push((from, until)),
            }
        }
        joined
    }
}
