//! Where work goes that may block: files, locks, long hashes.
//!
//! In virtual time it runs at once, on the caller's thread: threads come back in an order of their
//! own, and one seed must give one run.

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Runs `work` where blocking is allowed. Must be called within a Tokio runtime.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_on(&Handle::current(), work)
}

/// The same from anywhere, on the threads of `runtime`.
pub(crate) fn spawn_on<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    #[cfg(test)]
    if at_once::IS_ON.get() {
        return runtime.spawn(std::future::ready(work()));
    }
    runtime.spawn_blocking(work)
}

/// The switch for virtual time.
#[cfg(test)]
pub(crate) mod at_once {
    use std::cell::Cell;

    thread_local! {
        pub(super) static IS_ON: Cell<bool> = const { Cell::new(false) };
    }

    /// While it lives, this thread runs blocking work itself.
    pub(crate) struct AtOnce(());

    impl AtOnce {
        pub(crate) fn begin() -> Self {
            IS_ON.set(true);
            Self(())
        }
    }

    impl Drop for AtOnce {
        fn drop(&mut self) {
            IS_ON.set(false);
        }
    }
}
