//! Ctrl-C, SIGTERM and SIGHUP.

/// Hears Ctrl-C, SIGTERM and SIGHUP from the moment it is made; they no longer end the process by
/// themselves. A SIGHUP that was ignored when the program began stays so: `nohup` means it.
pub(crate) struct Signals {
    #[cfg(unix)]
    heard: Vec<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Begins to listen. Needs a runtime.
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let mut wanted = vec![SignalKind::interrupt(), SignalKind::terminate()];
        if !hangup_is_ignored() {
            wanted.push(SignalKind::hangup());
        }
        // A system that refuses a handler keeps its own way of ending us.
        let heard = wanted.into_iter().filter_map(|kind| signal(kind).ok());
        let heard = heard.collect();
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

/// Whether this process ignores SIGHUP, as far as the system tells: Linux does. Elsewhere it counts as
/// ignored, which leaves it alone: it then ends the process at once.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // One bit for each signal, from 1; SIGHUP is 1.
    mask.is_none_or(|mask| mask & 1 != 0)
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
