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

/// A host that was set aside is tried by one attempt at a time until it answers; where there is no other,
/// by all.
#[test]
fn hosts_on_trial() {
    let at = |seconds| Moment(Duration::from_secs(seconds));
    let first_is_busy = |host| host == 0;
    type Happens = fn(&mut Hosts);
    let rows: [(&str, Happens, HostIndex, HostIndex); 6] = [
        ("never failed: any number", |_| {}, 0, 0),
        (
            "thawed by time",
            |hosts| {
                hosts.failed(Moment::default(), 0, true, false);
            },
            0,
            1,
        ),
        (
            "thawed by a probe",
            |hosts| {
                hosts.failed(Moment(Duration::from_secs(90)), 0, true, false);
                hosts.thaw(0);
            },
            0,
            1,
        ),
        (
            "set aside by others, for a time that is over",
            |hosts| hosts.freeze(Moment::default(), 0, Duration::from_secs(30)),
            0,
            1,
        ),
        (
            "set aside by others",
            |hosts| hosts.freeze(Moment(Duration::from_secs(90)), 0, Duration::from_secs(30)),
            1,
            1,
        ),
        (
            "it answered",
            |hosts| {
                hosts.failed(Moment::default(), 0, true, false);
                hosts.answered(0);
            },
            0,
            0,
        ),
    ];
    for (story, happens, idle, busy) in rows {
        let mut hosts = Hosts::new(2);
        happens(&mut hosts);
        assert_eq!(
            hosts.choose(at(100), nobody),
            idle,
            "{story}: nobody is there"
        );
        assert_eq!(
            hosts.choose(at(100), first_is_busy),
            busy,
            "{story}: one is"
        );
    }
    let mut alone = Hosts::new(1);
    alone.failed(at(0), 0, true, false);
    assert_eq!(alone.choose(at(1), first_is_busy), 0);
    assert!(!alone.has_other(at(1), 0));
}

/// What others say of a host never makes its own time shorter, is no failure of this upload's, and doubles
/// when it fails here as well.
#[test]
fn hosts_that_others_told_of() {
    let at = |seconds| Moment(Duration::from_secs(seconds));
    let mut hosts = Hosts::new(2);
    hosts.freeze(at(0), 0, Duration::from_secs(30));
    hosts.freeze(at(1), 0, Duration::from_secs(5));
    assert!(hosts.is_frozen(at(29), 0) && !hosts.is_frozen(at(30), 0));
    assert!(!hosts.has_other(at(29), 1) && hosts.has_other(at(30), 1));
    hosts.failed(at(30), 1, true, false);
    assert!(!hosts.all_failed(), "the first one was only told of");
    let time = hosts.failed(at(30), 0, true, false);
    assert_eq!(time, Some(Duration::from_secs(60)));
    assert!(hosts.answered(0), "it had been set aside");
    assert!(!hosts.answered(0), "that was told already");
    // No such host: nothing.
    hosts.freeze(at(30), 7, Duration::from_secs(30));
    hosts.thaw(7);
    assert!(!hosts.answered(7) && hosts.failed(at(30), 7, true, false).is_none());
}
