//! One request on its way: how far it is, for whoever watches it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::model::{Body, Endpoint, Request, Stage, Trace};
use crate::transport::body::BodyFate;
use crate::transport::wire::Gauge;

/// A request on its way. Clones watch the same one.
#[derive(Clone, Debug)]
pub(crate) struct Flight(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// None before it has begun.
    endpoint: Option<Endpoint>,
    began: Instant,
    /// Length of the whole body.
    body_len: u64,
    /// Where the source's bytes stand in the body.
    source_offset: u64,
    source_len: u64,
    leg: Option<Leg>,
    /// Bytes of the body known to be acknowledged. Never falls, unless the request begins again.
    acknowledged: u64,
    all_acknowledged: Option<Instant>,
    /// Nothing that was handed over so far is outstanding.
    is_caught_up: bool,
    /// An answer was read.
    is_answered: bool,
    /// It goes another way than over a connection of this plane.
    is_elsewhere: bool,
    is_outstanding: bool,
}

/// The connection it took.
#[derive(Debug)]
struct Leg {
    connected: Instant,
    address: String,
    proxy: Option<String>,
    is_reused: bool,
    gauge: Arc<dyn Gauge>,
    fate: BodyFate,
    /// Bytes that HTTP has written to the connection.
    written: Arc<AtomicU64>,
    /// Whether it waits for its turn under the bandwidth limit.
    waits: Arc<AtomicBool>,
    /// The counts when the request began; a kept connection has served others.
    written_before: u64,
    raw_before: u64,
    /// Length of the request's head, or a little less.
    head_len: u64,
}

/// How a request is getting on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) stage: Stage,
    /// Bytes of its body that the other end has acknowledged.
    pub(crate) acknowledged_bytes: u64,
    /// Those of them that are the source's.
    pub(crate) source_bytes: u64,
    pub(crate) peer_reads: bool,
    /// The shortest round trip of the connection.
    pub(crate) round_trip: Option<Duration>,
    /// Nothing is outstanding, and what comes next is the source's turn: its bytes, or, once an
    /// answer was read, a look at it.
    pub(crate) waits_for_source: bool,
    /// Its next bytes wait for our own bandwidth limit.
    pub(crate) is_limited: bool,
    /// Bytes were sent that the other end has not acknowledged.
    pub(crate) is_outstanding: bool,
}

/// The connection that a request is about to take.
pub(crate) struct Boarding {
    pub(crate) address: String,
    pub(crate) proxy: Option<String>,
    pub(crate) is_reused: bool,
    pub(crate) gauge: Arc<dyn Gauge>,
    pub(crate) written: Arc<AtomicU64>,
    pub(crate) waits: Arc<AtomicBool>,
    pub(crate) head_len: u64,
}

impl Flight {
    /// A request that has not begun.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            endpoint: None,
            began: clock::instant(),
            body_len: 0,
            source_offset: 0,
            source_len: 0,
            leg: None,
            acknowledged: 0,
            all_acknowledged: None,
            is_caught_up: false,
            is_answered: false,
            is_elsewhere: false,
            is_outstanding: false,
        })))
    }

    /// A call that goes another way: nothing is known of it but that its answer is waited for.
    pub(crate) fn elsewhere() -> Self {
        let flight = Self::new();
        flight.lock().is_elsewhere = true;
        flight
    }

    /// `request` to `endpoint` begins, or begins again.
    pub(super) fn begin(&self, endpoint: &Endpoint, request: &Request) {
        let mut state = self.lock();
        let (source_offset, source_len) = match &request.body {
            Body::Source { before, span, .. } => (before.len() as u64, span.len),
            Body::Empty | Body::Bytes(_) => (0, 0),
        };
        *state = State {
            endpoint: Some(endpoint.clone()),
            began: clock::instant(),
            body_len: request.body.len(),
            source_offset,
            source_len,
            leg: None,
            acknowledged: 0,
            all_acknowledged: None,
            is_caught_up: false,
            is_answered: false,
            is_elsewhere: false,
            is_outstanding: false,
        };
    }

    /// It has a connection; `fate` is its body's.
    pub(super) fn board(&self, boarding: Boarding, fate: BodyFate) {
        let written_before = boarding.written.load(Ordering::Relaxed);
        let raw_before = boarding.gauge.written();
        self.lock().leg = Some(Leg {
            connected: clock::instant(),
            address: boarding.address,
            proxy: boarding.proxy,
            is_reused: boarding.is_reused,
            gauge: boarding.gauge,
            fate,
            written: boarding.written,
            waits: boarding.waits,
            written_before,
            raw_before,
            head_len: boarding.head_len,
        });
    }

    /// An answer came: whatever the kernel says, the server has what it wanted.
    pub(super) fn answered(&self, took_all: bool) {
        let mut state = self.lock();
        state.is_answered = true;
        if took_all {
            state.acknowledged = state.body_len;
            state.all_acknowledged.get_or_insert_with(clock::instant);
        }
    }

    /// How it is getting on now.
    pub(crate) fn sample(&self) -> Sample {
        let mut state = self.lock();
        state.look();
        let end = state.source_offset + state.source_len;
        Sample {
            stage: state.stage(),
            acknowledged_bytes: state.acknowledged,
            source_bytes: state.acknowledged.min(end) - state.acknowledged.min(state.source_offset),
            peer_reads: state.leg.as_ref().is_none_or(|leg| leg.gauge.peer_reads()),
            round_trip: state.leg.as_ref().and_then(|leg| leg.gauge.round_trip()),
            waits_for_source: state.waits_for_source(),
            is_limited: state.leg.as_ref().is_some_and(Leg::waits),
            is_outstanding: state.is_outstanding,
        }
    }

    /// Whether HTTP has written all of it to its connection.
    pub(super) fn is_written(&self) -> bool {
        let state = self.lock();
        let leg = state.leg.as_ref();
        leg.is_some_and(|leg| leg.written() >= leg.head_len + state.body_len)
    }

    /// How long it has had its connection.
    pub(super) fn since_connected(&self) -> Duration {
        let state = self.lock();
        let connected = state.leg.as_ref().map(|leg| leg.connected);
        connected.map_or(Duration::ZERO, |from| {
            clock::instant().saturating_duration_since(from)
        })
    }

    /// Its way so far, for people; none before it has begun.
    pub(crate) fn trace(&self) -> Option<Trace> {
        let mut state = self.lock();
        state.look();
        let now = clock::instant();
        let leg = state.leg.as_ref();
        let connected = leg.map_or(now, |leg| leg.connected);
        let acknowledged = state.all_acknowledged.unwrap_or(now).max(connected);
        let between = |from: Instant, to: Instant| to.saturating_duration_since(from);
        Some(Trace {
            endpoint: state.endpoint.clone()?,
            address: leg.map(|leg| leg.address.clone()),
            proxy: leg.and_then(|leg| leg.proxy.clone()),
            is_reused: leg.is_some_and(|leg| leg.is_reused),
            uses_bbr: leg.is_some_and(|leg| leg.gauge.uses_bbr()),
            stage: state.stage(),
            acknowledged_bytes: state.acknowledged,
            body_len: state.body_len,
            connecting: between(state.began, connected),
            sending: leg.map_or(Duration::ZERO, |_| between(connected, acknowledged)),
            answering: between(acknowledged, now),
            before: None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leg {
    /// Bytes of the request that HTTP has written.
    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed) - self.written_before
    }

    fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }
}

impl State {
    fn stage(&self) -> Stage {
        match (&self.leg, self.all_acknowledged) {
            _ if self.is_elsewhere => Stage::Answering,
            (None, _) if self.endpoint.is_none() => Stage::Waiting,
            (None, _) => Stage::Connecting,
            (Some(_), None) => Stage::Sending,
            (Some(_), Some(_)) => Stage::Answering,
        }
    }

    fn waits_for_source(&self) -> bool {
        let body_waits = |leg: &Leg| leg.fate.waits_for_source();
        self.is_answered || (self.is_caught_up && self.leg.as_ref().is_some_and(body_waits))
    }

    /// Takes note of what the kernel says.
    fn look(&mut self) {
        let Some(leg) = &self.leg else { return };
        let written = leg.written();
        let raw = leg.gauge.written().saturating_sub(leg.raw_before);
        let raw_acknowledged = leg.gauge.acknowledged().saturating_sub(leg.raw_before);
        // Encryption keeps some back and adds a little to each piece: what is acknowledged of its
        // bytes is the same share of ours.
        let everything = raw >= written && raw_acknowledged >= raw;
        self.is_caught_up = everything;
        let acknowledged = match everything {
            true => written,
            false => share(written, raw_acknowledged, raw),
        };
        let of_body = acknowledged.saturating_sub(leg.head_len).min(self.body_len);
        self.acknowledged = self.acknowledged.max(of_body);
        self.is_outstanding = raw_acknowledged < raw;
        // Who waits for its turn has something to write: the head is a little longer than we know.
        if everything && written >= leg.head_len + self.body_len && !leg.waits() {
            self.acknowledged = self.body_len;
            self.all_acknowledged.get_or_insert_with(clock::instant);
        }
    }
}

/// `part` / `all` of `len`, rounded down; at most `len`.
fn share(len: u64, part: u64, all: u64) -> u64 {
    if all == 0 {
        return 0;
    }
    let share = u128::from(len) * u128::from(part.min(all)) / u128::from(all);
    u64::try_from(share).unwrap_or(len)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;

    use super::*;
    use crate::model::ByteSpan;

    /// A connection whose counts are set by hand.
    #[derive(Debug, Default)]
    struct ByHand {
        written: AtomicU64,
        acknowledged: AtomicU64,
    }

    impl Gauge for ByHand {
        fn written(&self) -> u64 {
            self.written.load(Ordering::Relaxed)
        }
        fn acknowledged(&self) -> u64 {
            self.acknowledged.load(Ordering::Relaxed)
        }
        fn peer_reads(&self) -> bool {
            true
        }
        fn round_trip(&self) -> Option<Duration> {
            None
        }
        fn kill(&self) {}
    }

    /// A look at the object has nothing to connect and nothing to send, as far as is shown.
    #[test]
    fn a_call_elsewhere_is_waited_for() {
        let flight = Flight::elsewhere();
        assert_eq!(flight.sample().stage, Stage::Answering);
        assert_eq!(flight.trace(), None);
    }

    /// What a request of 10 bytes of head and a body of 100 + 1000 + 100 bytes shows at each state of
    /// its connection, which had carried 500 bytes (600 encrypted) before it.
    #[test]
    fn samples() {
        let gauge = Arc::new(ByHand::default());
        let written = Arc::new(AtomicU64::new(500));
        let waits = Arc::new(AtomicBool::new(false));
        gauge.written.store(600, Ordering::Relaxed);
        gauge.acknowledged.store(600, Ordering::Relaxed);
        let flight = Flight::new();
        assert_eq!(flight.sample().stage, Stage::Waiting);
        let endpoint = Endpoint::parse("http://up.example", false).unwrap();
        let request = Request::new(Method::POST, "/").body(Body::Source {
            before: Bytes::from(vec![0; 100]),
            span: ByteSpan::new(7, 1000),
            after: Bytes::from(vec![0; 100]),
        });
        flight.begin(&endpoint, &request);
        let boarding = Boarding {
            address: "192.0.2.1:80".to_owned(),
            proxy: None,
            is_reused: true,
            gauge: Arc::<ByHand>::clone(&gauge),
            written: Arc::clone(&written),
            waits: Arc::clone(&waits),
            head_len: 10,
        };
        flight.board(boarding, BodyFate::default());
        // HTTP has written, the socket has written, the other end has acknowledged → of the body, of
        // the source, all of it.
        let rows = [
            (500, 600, 600, 0, 0, false),
            (510, 612, 600, 0, 0, false),
            (510, 612, 612, 0, 0, false),
            (610, 732, 672, 45, 0, false),
            (1110, 1332, 1332, 600, 500, false),
            // Encryption holds some back.
            (1710, 1400, 1400, 1200, 1000, false),
            (1710, 2052, 2051, 1200, 1000, false),
            // The head was longer than we know: its last bytes wait for their turn.
            (1710, 2052, 2052, 1200, 1000, false),
            (1720, 2064, 2064, 1200, 1000, true),
        ];
        for (ours, raw, acknowledged, of_body, of_source, all) in rows {
            waits.store(!all, Ordering::Relaxed);
            written.store(ours, Ordering::Relaxed);
            gauge.written.store(raw, Ordering::Relaxed);
            gauge.acknowledged.store(acknowledged, Ordering::Relaxed);
            let sample = flight.sample();
            let stage = if all {
                Stage::Answering
            } else {
                Stage::Sending
            };
            let row = (ours, raw, acknowledged);
            assert_eq!(sample.stage, stage, "{row:?}");
            assert_eq!(sample.is_limited, !all, "{row:?}");
            assert_eq!(sample.is_outstanding, acknowledged < raw, "{row:?}");
            assert!(sample.acknowledged_bytes >= of_body, "{row:?} {sample:?}");
            assert!(
                sample.acknowledged_bytes <= of_body + 9,
                "{row:?} {sample:?}"
            );
            assert!(sample.source_bytes >= of_source, "{row:?} {sample:?}");
        }
    }
}
