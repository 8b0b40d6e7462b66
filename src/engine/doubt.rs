//! Commits that may have taken effect: whose object is ours, and what must not be done twice.

use crate::engine::event::{Effect, Notice};
use crate::engine::record::{Announced, Record};
use crate::engine::{Engine, Phase};
use crate::model::{Failure, FailureKind};

/// Why nothing is committed again; see [`Engine::may_have_acted`].
pub(crate) fn acted() -> Failure {
    let what = "the commit was sent before, and what became of it was not heard; another one could \
                call back twice, or make a second object";
    Failure::new(FailureKind::Broken, what)
}

impl Engine {
    /// What an earlier process left of its commit. Its object counts as ours if it would be the same
    /// in all that a commit says.
    pub(crate) fn take_up_commit(&mut self, committing: Option<Announced>) {
        match committing {
            Some(announced) if announced.says == self.job.says => {
                self.unclear = Some(announced.server_time);
            }
            Some(_) => {
                self.other_commit = committing;
                self.effects.push_back(Effect::Notice(Notice::CommitsAnew));
            }
            None => {}
        }
    }

    /// The record of a commit of this process, whose object is put at `server_time` or later.
    pub(crate) fn announced(&self, server_time: u64) -> Announced {
        Announced {
            server_time,
            says: self.job.says,
        }
    }

    /// From when on, by the service's clock, an object under the key is one of this process: later
    /// than one that an earlier process may have put with other particulars.
    pub(crate) fn put_from(&self) -> u64 {
        match (self.other_commit, self.server_time) {
            (None, heard) => heard,
            // Nothing was heard: no look can tell the two apart.
            (Some(_), 0) => u64::MAX,
            (Some(_), heard) => heard.saturating_add(1),
        }
    }

    /// Whether a commit may have done what a second one would do again, and nobody can look.
    pub(crate) fn may_have_acted(&self) -> bool {
        let may_be_done = self.unclear.is_some() || self.other_commit.is_some();
        may_be_done && self.job.repeat_acts && !self.job.can_stat
    }

    /// The end is decided while no commit is in flight, and each was refused: says so to the next
    /// process, which need not wonder.
    pub(crate) fn take_commit_back(&mut self) {
        let Phase::Committing(commit) = &self.phase else {
            return;
        };
        let is_known = self.unclear.is_none() && self.other_commit.is_none();
        if commit.is_ready() && is_known {
            self.record(Record::CommitRefused);
        }
    }

    /// Says once more what a record before this one has voided: that a commit may have been sent.
    pub(crate) fn record_unclear(&mut self) {
        let ours = self.unclear.map(|server_time| self.announced(server_time));
        if let Some(announced) = ours.or(self.other_commit) {
            self.record(Record::Committing(announced));
        }
    }
}
