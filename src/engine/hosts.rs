//! Which endpoint the next attempt goes to.

use std::time::Duration;

use crate::engine::event::{HostIndex, Moment};

/// Failures in a row before a host is set aside. The reference's advice (section 8.4): up to three
/// on the same host, then the next.
const FAILURES_BEFORE_FREEZE: u32 = 3;

/// How long a host is set aside. Long enough to be spared, short enough that a host which comes back
/// serves the same upload; the SDKs take 20 to 600 s.
const FREEZE: Duration = Duration::from_secs(30);

/// The endpoints of the bucket's region, by index, and what is known of them.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    hosts: Vec<Host>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Host {
    failures: u32,
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
    pub(crate) fn choose(&self, now: Moment) -> HostIndex {
        let by_thaw = |(index, host): (usize, &Host)| (host.frozen_until.max(now), index);
        let best = self.hosts.iter().enumerate().map(by_thaw).min();
        best.map_or(0, |(_, index)| index)
    }

    /// An answer came from this host.
    pub(crate) fn answered(&mut self, index: HostIndex) {
        if let Some(host) = self.hosts.get_mut(index) {
            *host = Host::default();
        }
    }

    /// This host failed; `at_once` when it was not even reached.
    pub(crate) fn failed(&mut self, now: Moment, index: HostIndex, at_once: bool) {
        let Some(host) = self.hosts.get_mut(index) else {
            return;
        };
        host.failures += 1;
        if at_once || host.failures >= FAILURES_BEFORE_FREEZE {
            host.frozen_until = now.after(FREEZE);
        }
    }

    /// Whether another host than this may serve now.
    pub(crate) fn has_other(&self, now: Moment, index: HostIndex) -> bool {
        let other = |(at, host): (usize, &Host)| at != index && host.frozen_until <= now;
        self.hosts.iter().enumerate().any(other)
    }
}
