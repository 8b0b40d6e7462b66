//! A TCP socket that two hold: HTTP moves bytes through it, the gauge reads its state and may end it.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::transport::wire::Gauge;

/// How long the kernel may wait for an acknowledgement before it gives the connection up, at least. A
/// line that is down for minutes comes back; libraries set 30 s here and kill uploads that would have
/// finished.
const USER_TIMEOUT_MIN: Duration = Duration::from_secs(600);

/// The same in stall limits: who waits for a peer that does not read must end it, not the kernel, whose
/// clock runs from the last byte that was taken.
const USER_TIMEOUT_STALLS: u32 = 2;

/// Silence after which the kernel asks whether the peer is still there: below the 60 s after which
/// common NATs and balancers forget an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(45);

/// Unsent bytes that the kernel takes beyond what is on its way. Measured: 128 KiB keeps the
/// throughput, and bytes that are not in the kernel are not sent after a cancel.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOTSENT_LOWAT_LEN: u32 = 128 * 1024;

/// Longest wait between two retransmissions. The kernel's own, up to two minutes, sleeps through the
/// line's return; and on a line with a deep queue, where round trips take seconds, it loses them with
/// every last packet that is dropped. Not shorter: acknowledgements that are late behind another
/// connection's bytes would be taken for lost. Measured in wall time over a plain socket's, at
/// 256 kbit/s with a queue of 1 s and 64 kbit/s with one of 8 s: 1.005 and 0.99 with 3 s, 1.03 and
/// 1.005 with 1 s, 1.005 and 1.62 with the kernel's.
#[cfg(target_os = "linux")]
const CALM: Duration = Duration::from_secs(3);

/// The same in a silence that no queue explains: the connection wakes within a second of the line's
/// return. Source: the design; the kernel allows no less.
#[cfg(target_os = "linux")]
const HURRY: Duration = Duration::from_secs(1);

/// The same while the receive window is closed: the kernel's own default. It gives a connection up
/// whose window has shrunk to nothing after twice this time, and how long to wait for a server that
/// does not read is decided elsewhere.
#[cfg(target_os = "linux")]
const PATIENT: Duration = Duration::from_secs(120);

/// Silence, beyond two round trips, that no queue explains.
#[cfg(target_os = "linux")]
const HURRY_AFTER: Duration = Duration::from_secs(3);

/// Send buffer where the kernel does not tell what was acknowledged, in bytes: what was written is
/// then at most this much ahead. On Linux it would cap the throughput for nothing.
#[cfg(not(target_os = "linux"))]
const SEND_BUFFER_LEN: usize = 128 * 1024;

/// A connected TCP socket. It is closed when its last holder lets go.
#[derive(Clone, Debug)]
pub(crate) struct Socket(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    written: AtomicU64,
    /// Told to, whatever the system uses.
    uses_bbr: bool,
    /// The longest wait between two retransmissions that the kernel was told last.
    #[cfg(target_os = "linux")]
    retransmits_within_ms: AtomicU64,
}

impl Socket {
    /// Takes a connection and sets its options. One that does not take an option works without it.
    /// `stall_timeout` is how long its requests may wait for an acknowledgement; `uses_bbr`: it was told to.
    pub(crate) fn new(stream: TcpStream, stall_timeout: Duration, uses_bbr: bool) -> Self {
        if let Err(error) = tune(&stream, user_timeout(stall_timeout)) {
            tracing::debug!(%error, "a socket option was refused");
        }
        Self(Arc::new(Shared {
            stream,
            uses_bbr,
            written: AtomicU64::new(0),
            #[cfg(target_os = "linux")]
            retransmits_within_ms: AtomicU64::new(0),
        }))
    }

    /// The other holder.
    pub(crate) fn gauge(&self) -> Arc<dyn Gauge> {
        Arc::<Shared>::clone(&self.0)
    }

    fn count(&self, written: io::Result<usize>) -> io::Result<usize> {
        if let Ok(len) = written {
            self.0.written.fetch_add(len as u64, Ordering::Relaxed);
        }
        written
    }
}

impl Gauge for Shared {
    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn acknowledged(&self) -> u64 {
        let written = self.written();
        #[cfg(target_os = "linux")]
        let acknowledged = self.look().map_or(written, |info| info.acknowledged);
        #[cfg(not(target_os = "linux"))]
        let acknowledged = written;
        // The kernel counts the SYN too.
        acknowledged.min(written)
    }

    fn peer_reads(&self) -> bool {
        #[cfg(target_os = "linux")]
        let reads = info::read(&self.stream).is_none_or(|info| !info.window_is_closed);
        #[cfg(not(target_os = "linux"))]
        let reads = true;
        reads
    }

    fn round_trip(&self) -> Option<Duration> {
        #[cfg(target_os = "linux")]
        let shortest = info::read(&self.stream).and_then(|info| info.shortest_round_trip);
        #[cfg(not(target_os = "linux"))]
        let shortest = None;
        shortest
    }

    fn uses_bbr(&self) -> bool {
        self.uses_bbr
    }

    fn kill(&self) {
        let socket = SockRef::from(&self.stream);
        // Without this the kernel goes on sending what it holds: a megabyte for nobody.
        let _ = socket.set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(Shutdown::Both);
    }
}

#[cfg(target_os = "linux")]
impl Shared {
    /// The connection's state. Whoever asks for it a few times a second also sees to it that the
    /// kernel does not sleep when the line comes back.
    fn look(&self) -> Option<info::Info> {
        let info = info::read(&self.stream)?;
        let is_silent = info.is_waiting && info.silence > HURRY_AFTER + info.round_trip * 2;
        let limit = match info.window_is_closed {
            true => PATIENT,
            false if is_silent => HURRY,
            false => CALM,
        };
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        if self.retransmits_within_ms.swap(millis, Ordering::Relaxed) != millis {
            info::retransmit_within(&self.stream, limit);
        }
        Some(info)
    }
}

/// `TCP_USER_TIMEOUT` where requests may stall for `stall_timeout`: never the shorter of the two.
fn user_timeout(stall_timeout: Duration) -> Duration {
    let stalls = stall_timeout.saturating_mul(USER_TIMEOUT_STALLS);
    // The kernel takes a positive int of milliseconds.
    let most = Duration::from_millis(i32::MAX.unsigned_abs().into());
    stalls.clamp(USER_TIMEOUT_MIN, most)
}

/// Sets the options of the upload plane (design, section 3).
fn tune(stream: &TcpStream, user_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        socket.set_tcp_user_timeout(Some(user_timeout))?;
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_LEN)?;
    }
    #[cfg(target_os = "linux")]
    info::retransmit_within(stream, CALM);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = user_timeout;
    #[cfg(not(target_os = "linux"))]
    socket.set_send_buffer_size(SEND_BUFFER_LEN)?;
    Ok(())
}

/// The round trip of a connection, where the system tells. What was never measured the kernel calls 0.
#[cfg(target_os = "linux")]
pub(super) fn round_trip(stream: &TcpStream) -> Option<Duration> {
    let round_trip = info::read(stream)?.round_trip;
    (!round_trip.is_zero()).then_some(round_trip)
}

/// The round trip of a connection: the system does not tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn round_trip(_: &TcpStream) -> Option<Duration> {
    None
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &self.0.stream;
        loop {
            ready!(stream.poll_read_ready(context))?;
            match stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|_| ())),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = &self.0.stream;
        loop {
            ready!(stream.poll_write_ready(context))?;
            match stream.try_write_vectored(pieces) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(self.count(written)),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.0.stream).shutdown(Shutdown::Write))
    }
}

/// What Linux tells of a connection.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "no crate in the tree wraps TCP_INFO or TCP_RTO_MAX_MS"
)]
mod info {
    use std::mem::{MaybeUninit, offset_of, size_of};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use tokio::net::TcpStream;

    /// `TCP_RTO_MAX_MS` of Linux 6.15 and later, which libc does not name yet. Source:
    /// include/uapi/linux/tcp.h.
    const TCP_RTO_MAX_MS: libc::c_int = 44;

    /// How much of `struct tcp_info` must be filled in. Kernels before 4.1 know no count of
    /// acknowledged bytes and fill less.
    const NEEDED_LEN: usize = offset_of!(libc::tcp_info, tcpi_bytes_acked) + size_of::<u64>();

    /// The state of one connection.
    pub(super) struct Info {
        /// Bytes that the other end acknowledged since the connection was made.
        pub(super) acknowledged: u64,
        /// Bytes wait to be sent and none is on its way: the receive window is closed, or so small
        /// that the kernel does not use it. (`tcpi_probes` does not tell: it counts probes that
        /// were not answered.) Or the other end answers what is sent again and again, and has no
        /// room for it: a line that is down answers nothing.
        pub(super) window_is_closed: bool,
        /// Bytes are on their way and not acknowledged.
        pub(super) is_waiting: bool,
        /// Since the last acknowledgement.
        pub(super) silence: Duration,
        /// As the kernel has smoothed it.
        pub(super) round_trip: Duration,
        /// Since Linux 4.6.
        pub(super) shortest_round_trip: Option<Duration>,
    }

    /// Reads it. None from a kernel that is too old.
    pub(super) fn read(stream: &TcpStream) -> Option<Info> {
        let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
        let mut len = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
        // SAFETY: the descriptor is open as long as `stream` is borrowed. The kernel writes at most
        // `len` bytes to `info`, which has that many, and `len` lives as long as the call.
        let result = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let len = usize::try_from(len).ok()?;
        if result != 0 || len < NEEDED_LEN {
            return None;
        }
        // Known since Linux 5.4.
        let tells_window = len >= offset_of!(libc::tcp_info, tcpi_snd_wnd) + size_of::<u32>();
        let tells_shortest = len >= offset_of!(libc::tcp_info, tcpi_min_rtt) + size_of::<u32>();
        // SAFETY: all fields are integers, for which zeroes are values, and the rest the kernel wrote.
        let info = unsafe { info.assume_init() };
        Some(Info {
            acknowledged: info.tcpi_bytes_acked,
            window_is_closed: (tells_window && info.tcpi_snd_wnd == 0)
                || (info.tcpi_unacked == 0 && info.tcpi_notsent_bytes > 0)
                || (info.tcpi_backoff > 0 && info.tcpi_last_ack_recv <= info.tcpi_last_data_sent),
            is_waiting: info.tcpi_unacked > 0,
            silence: Duration::from_millis(info.tcpi_last_ack_recv.into()),
            round_trip: Duration::from_micros(info.tcpi_rtt.into()),
            // The kernel's word for "not known" is the largest number.
            shortest_round_trip: (tells_shortest && info.tcpi_min_rtt < u32::MAX)
                .then(|| Duration::from_micros(info.tcpi_min_rtt.into())),
        })
    }

    /// Sets the longest wait between two retransmissions. Older kernels do not know how; then it
    /// takes as long as it takes.
    pub(super) fn retransmit_within(stream: &TcpStream, limit: Duration) {
        let value = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
        let len = size_of::<libc::c_int>();
        // SAFETY: the descriptor is open as long as `stream` is borrowed, and the kernel reads an
        // integer of this length from `value`, which lives as long as the call.
        let result = unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                TCP_RTO_MAX_MS,
                (&raw const value).cast(),
                libc::socklen_t::try_from(len).unwrap_or_default(),
            )
        };
        tracing::trace!(result, "TCP_RTO_MAX_MS");
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What the kernel is told, for each stall limit.
    #[tokio::test]
    async fn the_kernel_is_more_patient() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let rows = [
            (Duration::from_secs(30), minutes(10)),
            (minutes(5), minutes(10)),
            (minutes(15), minutes(30)),
            (minutes(24 * 60), minutes(48 * 60)),
            (Duration::MAX, Duration::from_millis((1 << 31) - 1)),
        ];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for (stall_timeout, expected) in rows {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
            let socket = Socket::new(stream.unwrap(), stall_timeout, false);
            let told = SockRef::from(&socket.0.stream).tcp_user_timeout();
            assert_eq!(told.unwrap(), Some(expected), "{stall_timeout:?}");
        }
    }
}
