//! Ctrl-C, SIGTERM and SIGHUP.

/// Hears Ctrl-C, SIGTERM and SIGHUP from the moment it is made; they no longer end the process by
/// themselves. One that was ignored when the program began stays so: `nohup` means it.
pub(crate) struct Signals {
    #[cfg(unix)]
    heard: Vec<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Begins to listen. Needs a runtime.
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let ignored = ignored();
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let wanted = kinds
            .into_iter()
            .filter(|kind| !is_in(ignored, kind.as_raw_value()));
        // A system that refuses a handler keeps its own way of ending us.
        let heard = wanted.filter_map(|kind| signal(kind).ok()).collect();
        Self { heard }
    }

    /// Returns at the next of them.
    pub(crate) async fn next(&mut self) {
        let heard = &mut self.heard;
        std::future::poll_fn(|context| {
            let mut came = heard
                .iter_mut()
                .map(|signal| signal.poll_recv(context))
                .filter(std::task::Poll::is_ready);
            match came.next() {
                Some(_) => std::task::Poll::Ready(()),
                None => std::task::Poll::Pending,
            }
        })
        .await;
    }
}

/// The signals that this process ignores, one bit each, as far as the system tells: Linux does.
/// Elsewhere SIGHUP counts as ignored, which leaves it alone: it then ends the process at once.
#[cfg(unix)]
fn ignored() -> u64 {
    let hangup = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(hangup)
}

/// Whether signal `number` is one of `mask`.
#[cfg(unix)]
fn is_in(mask: u64, number: i32) -> bool {
    let bit = u32::try_from(number - 1).ok();
    bit.and_then(|bit| 1_u64.checked_shl(bit))
        .is_some_and(|bit| mask & bit != 0)
}

#[cfg(not(unix))]
impl Signals {
    /// Begins to listen.
    pub(crate) fn new() -> Self {
        Self {}
    }

    /// Returns at the next Ctrl-C.
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
