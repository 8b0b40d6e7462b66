//! Which endpoint the next attempt goes to.

use std::time::Duration;

use crate::engine::event::{HostIndex, Moment};

/// Failures in a row before a host is set aside. The reference's advice (section 8.4): up to three
/// on the same host, then the next.
const FAILURES_BEFORE_FREEZE: u32 = 3;

/// How long a host is set aside. Long enough to be spared, short enough that a host which comes back
/// serves the same upload; the SDKs take 20 to 600 s.
const FREEZE: Duration = Duration::from_secs(30);

/// How often that doubles while the host goes on failing: up to 480 s. Each try of a host that
/// swallows everything costs a lane many seconds.
const FREEZE_DOUBLINGS_MAX: u32 = 4;

/// The endpoints of the bucket's region, by index, and what is known of them.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    hosts: Vec<Host>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Host {
    /// Failures since its last answer.
    failures: u32,
    /// How often it was set aside since its last answer.
    freezes: u32,
    /// Whether it ever answered.
    spoke: bool,
    frozen_until: Moment,
}

impl Hosts {
    pub(crate) fn new(count: usize) -> Self {
        assert!(count > 0, "an upload needs at least one host");
        Self {
            hosts: vec![Host::default(); count],
        }
    }

    /// The first host that is not frozen; when all are, the one that thaws first.
    ///
    /// One that thawed and has not answered yet is tried by one attempt at a time, as long as there
    /// are others: `is_busy` tells whether an attempt is under way to a host.
    pub(crate) fn choose(&self, now: Moment, is_busy: impl Fn(HostIndex) -> bool) -> HostIndex {
        let rank = |(index, host): (usize, &Host)| {
            let is_on_trial = host.freezes > 0 && is_busy(index);
            (host.frozen_until.max(now), is_on_trial, index)
        };
        let best = self.hosts.iter().enumerate().map(rank).min();
        best.map_or(0, |(_, _, index)| index)
    }

    /// An answer came from this host. Whether it had been set aside.
    pub(crate) fn answered(&mut self, index: HostIndex) -> bool {
        let Some(host) = self.hosts.get_mut(index) else {
            return false;
        };
        let was_frozen = host.freezes > 0;
        *host = Host {
            spoke: true,
            ..Host::default()
        };
        was_frozen
    }

    /// Somebody else found that this host does not serve.
    pub(crate) fn freeze(&mut self, now: Moment, index: HostIndex, time: Duration) {
        if let Some(host) = self.hosts.get_mut(index) {
            host.frozen_until = host.frozen_until.max(now.after(time));
            host.freezes = host.freezes.max(1);
        }
    }

    /// A connection to this host was made: it may be tried again.
    pub(crate) fn thaw(&mut self, index: HostIndex) {
        if let Some(host) = self.hosts.get_mut(index) {
            host.frozen_until = Moment::default();
        }
    }

    /// This host failed: was not even reached, or took a request and was silent. For how long it is
    /// set aside, if it is.
    pub(crate) fn failed(
        &mut self,
        now: Moment,
        index: HostIndex,
        unreached: bool,
        silent: bool,
    ) -> Option<Duration> {
        let host = self.hosts.get_mut(index)?;
        host.failures += 1;
        // Waiting for an answer takes a minute: who never gave one is not asked three times.
        // Attempts that fail together set it aside once.
        if host.frozen_until > now {
            return None;
        }
        let at_once = unreached || (silent && !host.spoke);
        if !at_once && host.failures < FAILURES_BEFORE_FREEZE {
            return None;
        }
        let doublings = host.freezes.min(FREEZE_DOUBLINGS_MAX);
        let time = FREEZE.saturating_mul(1 << doublings);
        host.frozen_until = now.after(time);
        host.freezes += 1;
        Some(time)
    }

    /// Whether this host is set aside now.
    pub(crate) fn is_frozen(&self, now: Moment, index: HostIndex) -> bool {
        let host = self.hosts.get(index);
        host.is_some_and(|host| host.frozen_until > now)
    }

    /// Whether each of them failed and has not answered since.
    pub(crate) fn all_failed(&self) -> bool {
        self.hosts.iter().all(|host| host.failures > 0)
    }

    /// Whether another host than this may serve now.
    pub(crate) fn has_other(&self, now: Moment, index: HostIndex) -> bool {
        let other = |(at, host): (usize, &Host)| at != index && host.frozen_until <= now;
        self.hosts.iter().enumerate().any(other)
    }
}
