//! Whose turn it is.

use std::time::Duration;

use crate::engine::event::{HostIndex, Moment};
use crate::engine::hosts::Hosts;

/// No attempt is under way to anyone.
fn nobody(_: HostIndex) -> bool {
    false
}

/// A host that is not reached is set aside at once, one that fails after three times; both come back.
#[test]
fn hosts_take_turns() {
    let at = |seconds| Moment(Duration::from_secs(seconds));
    let mut hosts = Hosts::new(2);
    assert_eq!(hosts.choose(at(0), nobody), 0);
    hosts.failed(at(0), 0, true, false);
    assert_eq!(hosts.choose(at(1), nobody), 1);
    assert!(hosts.has_other(at(1), 0));
    for _ in 0..2 {
        hosts.failed(at(1), 1, false, false);
        assert_eq!(hosts.choose(at(1), nobody), 1);
    }
    hosts.failed(at(1), 1, false, false);
    assert_eq!(
        hosts.choose(at(2), nobody),
        0,
        "all are set aside: the one that comes back first"
    );
    assert_eq!(hosts.choose(at(30), nobody), 0);
    hosts.failed(at(31), 0, true, false);
    assert_eq!(hosts.choose(at(32), nobody), 1);
    hosts.answered(0);
    assert_eq!(hosts.choose(at(32), nobody), 0);
}

/// A host that goes on failing is set aside for longer each time, up to 8 minutes; one that is silent
/// and never answered, at once. An answer makes all good.
#[test]
fn hosts_that_go_on_failing() {
    let at = |seconds| Moment(Duration::from_secs(seconds));
    let mut hosts = Hosts::new(2);
    assert!(!hosts.all_failed(), "nobody was asked yet");
    let mut now = 0;
    for seconds in [30, 60, 120, 240, 480, 480] {
        hosts.failed(at(now), 0, true, false);
        assert!(hosts.is_frozen(at(now + seconds - 1), 0), "{seconds}");
        now += seconds;
        assert!(!hosts.is_frozen(at(now), 0), "{seconds}");
    }
    assert!(!hosts.all_failed(), "one of two");
    hosts.failed(at(now), 1, false, true);
    assert!(hosts.all_failed() && hosts.is_frozen(at(now), 1));
    hosts.answered(1);
    assert!(!hosts.all_failed() && !hosts.is_frozen(at(now), 1));
    hosts.failed(at(now), 1, false, true);
    assert!(!hosts.is_frozen(at(now), 1), "it did answer before");
}
