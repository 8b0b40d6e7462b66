//! The only place that reads a clock. Everything else is handed the time.

use std::time::{Instant, SystemTime};

/// Wall-clock time: for token deadlines, expiries and `Date` headers.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place the lint points to"
)]
pub(crate) fn wall() -> SystemTime {
    #[cfg(test)]
    if let Some(wall) = virtual_wall::now() {
        return wall;
    }
    SystemTime::now()
}

/// `time` as whole seconds since 1970; 0 for a clock set before that.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Monotonic time, for waits and pace. It stands still and jumps with Tokio's paused clock, so that
/// tests in virtual time see one time only.
pub(crate) fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock of tests in virtual time: it goes with Tokio's paused clock.
#[cfg(test)]
pub(crate) mod virtual_wall {
    use std::cell::Cell;
    use std::time::{Instant, SystemTime};

    use crate::clock;

    thread_local! {
        static SET: Cell<Option<(Instant, SystemTime)>> = const { Cell::new(None) };
    }

    /// While it lives, this thread's wall clock is a virtual one.
    pub(crate) struct VirtualWall(());

    impl VirtualWall {
        /// A wall clock that shows `start` now.
        pub(crate) fn begin(start: SystemTime) -> Self {
            SET.set(Some((clock::instant(), start)));
            Self(())
        }
    }

    impl Drop for VirtualWall {
        fn drop(&mut self) {
            SET.set(None);
        }
    }

    pub(super) fn now() -> Option<SystemTime> {
        SET.get().map(|(then, start)| {
            let passed = clock::instant().saturating_duration_since(then);
            start + passed
        })
    }
}
