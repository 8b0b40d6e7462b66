//! One connection within the process: two flows, and an end for each side.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::client::tests::simulation::flow::{Ended, Flow, wake};
use crate::client::tests::simulation::line::{Line, Way};
use crate::clock;
use crate::devserver::socket::{Carrier, Look};
use crate::transport::wire::Gauge;

/// A connection.
pub(super) struct Link {
    flows: Mutex<Flows>,
    line: Arc<Mutex<Line>>,
    stirred: Notify,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Flows {
    pub(super) up: Flow,
    pub(super) down: Flow,
    client_closed: bool,
    server_closed: bool,
    /// The server's close is a reset.
    server_resets: bool,
}

impl Flows {
    /// What a side reads, and what it writes.
    fn of(&mut self, side: Way) -> (&mut Flow, &mut Flow) {
        match side {
            Way::Up => (&mut self.down, &mut self.up),
            Way::Down => (&mut self.up, &mut self.down),
        }
    }

    /// Everything up to `now`; when to look again.
    fn advance(&mut self, now: Instant, line: &mut Line) -> Option<Instant> {
        loop {
            // Acknowledgements go the other way.
            self.up.acks_lost = self.down.is_holed();
            self.down.acks_lost = self.up.is_holed();
            let next = [self.up.advance(now, line), self.down.advance(now, line)];
            if self.up.ended == Ended::Reset {
                self.down.break_off();
            }
            if self.down.ended == Ended::Reset {
                self.up.break_off();
            }
            let answers = [
                std::mem::take(&mut self.up.wants_reset),
                std::mem::take(&mut self.down.wants_reset),
            ];
            match answers {
                [false, false] => return next.into_iter().flatten().min(),
                [up, down] => {
                    if up {
                        self.down.reset(now, line);
                    }
                    if down {
                        self.up.reset(now, line);
                    }
                }
            }
        }
    }
}

impl Link {
    /// A connection over `line`, and the task that carries it. Its flows are made by `flow`.
    pub(super) fn new(line: &Arc<Mutex<Line>>, flow: impl Fn(Way) -> Flow) -> Arc<Self> {
        let link = Arc::new(Self {
            flows: Mutex::new(Flows {
                up: flow(Way::Up),
                down: flow(Way::Down),
                client_closed: false,
                server_closed: false,
                server_resets: false,
            }),
            line: Arc::clone(line),
            stirred: Notify::new(),
        });
        tokio::spawn(carry(Arc::clone(&link)));
        link
    }

    /// Whether the client still holds its end.
    pub(super) fn is_open(&self) -> bool {
        !self.flows().client_closed
    }

    /// Ends it from the server's side, whatever the server thinks of it.
    pub(super) fn cut(&self, reset: bool) {
        self.end(Way::Down, reset);
    }

    fn flows(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_read(
        &self,
        side: Way,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut flows = self.flows();
        let (incoming, _) = flows.of(side);
        if incoming.has_unread() {
            buffer.put_slice(&incoming.read(buffer.remaining()));
            self.stirred.notify_one();
            return Poll::Ready(Ok(()));
        }
        match incoming.ended {
            Ended::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Ended::Fin => Poll::Ready(Ok(())),
            Ended::No if incoming.is_closed => {
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
            Ended::No => {
                incoming.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_write(&self, side: Way, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut flows = self.flows();
        let (incoming, outgoing) = flows.of(side);
        if incoming.ended == Ended::Reset || outgoing.is_finished() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = outgoing.writable().min(bytes.len());
        if len == 0 && !bytes.is_empty() {
            outgoing.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        outgoing.write(&bytes[..len]);
        self.stirred.notify_one();
        Poll::Ready(Ok(len))
    }

    /// FIN, after what was written.
    fn finish(&self, side: Way) {
        self.flows().of(side).1.finish();
        self.stirred.notify_one();
    }

    /// A side lets go. As a kernel does it: unread bytes, or the wish for it, make it a reset.
    fn end(&self, side: Way, reset: bool) {
        let now = clock::instant();
        let mut flows = self.flows();
        let (incoming, outgoing) = flows.of(side);
        let was_reset = incoming.ended == Ended::Reset;
        if reset || incoming.has_unread() {
            if !was_reset {
                outgoing.reset(now, &self.line());
            }
        } else {
            outgoing.finish();
        }
        incoming.is_closed = true;
        wake(&mut incoming.reader);
        wake(&mut incoming.watcher);
        wake(&mut outgoing.writer);
        self.stirred.notify_one();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flows = self.flows();
        let (written, acknowledged) = (flows.up.written, flows.up.acknowledged);
        write!(f, "Link({acknowledged} of {written} acknowledged)")
    }
}

/// Moves a connection's bytes until both sides have let go.
async fn carry(link: Arc<Link>) {
    loop {
        let next = {
            let mut flows = link.flows();
            if flows.client_closed && flows.server_closed {
                return;
            }
            flows.advance(clock::instant(), &mut link.line())
        };
        let later = async {
            match next {
                Some(next) => sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = link.stirred.notified() => {}
            () = later => {}
        }
    }
}

/// The client's end. Dropped, it closes as a kernel does.
#[derive(Debug)]
pub(super) struct ClientEnd(pub(super) Arc<Link>);

impl AsyncRead for ClientEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(Way::Up, cx, buffer)
    }
}

impl AsyncWrite for ClientEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(Way::Up, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.finish(Way::Up);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        self.0.end(Way::Up, false);
        self.0.flows().client_closed = true;
    }
}

/// What the transport may know of the client's end.
#[derive(Debug)]
pub(super) struct PipeGauge(pub(super) Arc<Link>);

impl Gauge for PipeGauge {
    fn written(&self) -> u64 {
        self.0.flows().up.written
    }

    fn acknowledged(&self) -> u64 {
        self.0.flows().up.acknowledged
    }

    fn peer_reads(&self) -> bool {
        self.0.flows().up.room() > 0
    }

    fn round_trip(&self) -> Option<Duration> {
        Some(self.0.line().latency)
    }

    fn kill(&self) {
        self.0.end(Way::Up, true);
    }
}

/// The server's end. Dropped, it closes as a kernel does.
pub(super) struct ServerEnd(pub(super) Arc<Link>);

impl Carrier for ServerEnd {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(Way::Down, cx, buffer)
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(Way::Down, cx, bytes)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        self.0.finish(Way::Down);
        Ok(())
    }

    fn set_unread_max(&self, len: usize) {
        self.0.flows().up.unread_max = len as u64;
    }

    fn reset_on_close(&self) {
        self.0.flows().server_resets = true;
    }

    fn is_gone(&self) -> Look<'_> {
        Box::pin(poll_fn(|cx| {
            let mut flows = self.0.flows();
            if flows.up.ended != Ended::No {
                return Poll::Ready(true);
            }
            if flows.up.has_unread() {
                return Poll::Ready(false);
            }
            flows.up.watcher = Some(cx.waker().clone());
            Poll::Pending
        }))
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let resets = self.0.flows().server_resets;
        self.0.end(Way::Down, resets);
        self.0.flows().server_closed = true;
    }
}
