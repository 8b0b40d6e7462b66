//! Sends an upload's requests: picks the host, signs, reads the source, hashes what goes out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;

use crate::clock;
use crate::events::{Event, Listener};
use crate::kodo::{Etag, EtagHasher, UploadToken};
use crate::model::{Answer, ByteSpan, Endpoint, Failure, FailureKind, Request};
use crate::source::{FileSource, SpanReader};
use crate::transport::{SourceStream, Transport};
use crate::uploader::Permit;

/// The upload hosts of a bucket.
#[derive(Clone, Debug)]
pub(crate) struct UploadHosts {
    /// Best first; never empty.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The user named them: no answer sends us elsewhere.
    pub(crate) fixed: bool,
}

/// One lane: its requests go one after the other.
pub(crate) struct Sender {
    transport: Transport,
    hosts: UploadHosts,
    /// Which of the hosts is in use.
    current: usize,
    permit: Permit,
    source: FileSource,
    meter: Arc<Meter>,
}

/// Counts the source's bytes and tells the listener.
struct Meter {
    size: u64,
    acknowledged: AtomicU64,
    handed_over: AtomicU64,
    listener: Listener,
}

/// The running hashes of what goes out. A request starts from a copy and keeps it only if it
/// succeeds.
#[derive(Clone, Default)]
pub(crate) struct Hashes {
    /// Of this segment.
    pub(crate) crc32: crc32fast::Hasher,
    /// Of whatever the protocol gives an etag to: the whole for form and v1, the part for v2.
    pub(crate) etag: EtagHasher,
}

/// What a form's bytes must turn out to be; checked before the last of them goes out, since after
/// it the object exists.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) crc32: u32,
    pub(crate) etag: Etag,
}

impl Sender {
    pub(crate) fn new(
        transport: Transport,
        hosts: UploadHosts,
        permit: Permit,
        source: FileSource,
        listener: Listener,
    ) -> Self {
        assert!(!hosts.endpoints.is_empty(), "no upload host");
        let meter = Meter {
            size: source.len(),
            acknowledged: AtomicU64::new(0),
            handed_over: AtomicU64::new(0),
            listener,
        };
        Self {
            transport,
            hosts,
            current: 0,
            permit,
            source,
            meter: Arc::new(meter),
        }
    }

    /// The source.
    pub(crate) fn source(&self) -> &FileSource {
        &self.source
    }

    /// The host in use.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.hosts.endpoints[self.current]
    }

    /// Bytes of the source handed to the network.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.meter.handed_over.load(Ordering::Relaxed)
    }

    /// A token for a request sent now.
    pub(crate) fn token(&self) -> UploadToken {
        self.permit.token(clock::wall())
    }

    /// Whether the policy lets the service choose another key than the one asked for.
    pub(crate) fn may_rename(&self) -> bool {
        self.permit.may_rename()
    }

    /// Tells the listener.
    pub(crate) fn tell(&self, event: &Event) {
        self.meter.listener.tell(event);
    }

    /// Sends a request that carries nothing of the source.
    pub(crate) async fn call(
        &mut self,
        build: impl Fn(&UploadToken) -> Request,
    ) -> Result<Answer, Failure> {
        loop {
            let request = build(&self.token());
            let endpoint = self.endpoint().clone();
            match self.transport.send(&endpoint, request, None).await {
                Err(failure) if self.next_host(&failure) => {}
                result => return result,
            }
        }
    }

    /// Sends the request that `build` makes, whose body is `span`; continues `hashes`.
    ///
    /// The answer is still to be checked; then [`Sender::acknowledge`] counts the span.
    pub(crate) async fn segment(
        &mut self,
        build: impl Fn(&UploadToken) -> Request,
        span: ByteSpan,
        hashes: &Hashes,
        expected: Option<Expected>,
    ) -> Result<(Answer, Hashes), Failure> {
        loop {
            let request = build(&self.token());
            let tap = Arc::new(Mutex::new(hashes.clone()));
            let body = self.body(span, &tap, expected);
            let endpoint = self.endpoint().clone();
            match self.transport.send(&endpoint, request, Some(body)).await {
                Ok(answer) => {
                    let hashes = tap.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    return Ok((answer, hashes));
                }
                Err(failure) if self.next_host(&failure) => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Counts a segment whose answer was right.
    pub(crate) fn acknowledge(&self, span: ByteSpan) {
        self.meter
            .acknowledged
            .fetch_add(span.len, Ordering::Relaxed);
        self.meter.tell();
    }

    /// Follows the answer of mkblk and bput: the next calls of the block belong to this host.
    ///
    /// Never to one that the user did not name while naming one, and never from https to http.
    pub(crate) fn follow(&mut self, host: Option<&Endpoint>) {
        let Some(host) = host.filter(|host| !self.hosts.fixed && *host != self.endpoint()) else {
            return;
        };
        let https = self.endpoint().is_https();
        let has_port = host.authority().contains(':');
        if host.is_https() != https && has_port {
            return;
        }
        if let Ok(host) = Endpoint::parse(host.authority(), https) {
            self.hosts.endpoints[self.current] = host;
        }
    }

    /// Whether another host may be tried: nothing was sent, and there is one.
    fn next_host(&mut self, failure: &Failure) -> bool {
        let nothing_sent = matches!(failure.kind, FailureKind::Connect | FailureKind::Tls);
        if !nothing_sent || self.current + 1 >= self.hosts.endpoints.len() {
            return false;
        }
        tracing::info!("{failure}; trying the next upload host");
        self.current += 1;
        true
    }

    /// The bytes of `span`, hashed and counted as they go out.
    fn body(
        &self,
        span: ByteSpan,
        tap: &Arc<Mutex<Hashes>>,
        expected: Option<Expected>,
    ) -> SourceStream {
        let state = Outgoing {
            reader: self.source.read(span),
            source: self.source.clone(),
            rest: span.len,
            tap: Arc::clone(tap),
            meter: Arc::clone(&self.meter),
            expected,
        };
        Box::pin(stream::unfold(state, |mut state| async move {
            let bytes = state.next().await?;
            Some((bytes, state))
        }))
    }
}

/// A span on its way out.
struct Outgoing {
    reader: SpanReader,
    source: FileSource,
    rest: u64,
    tap: Arc<Mutex<Hashes>>,
    meter: Arc<Meter>,
    expected: Option<Expected>,
}

impl Outgoing {
    async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        let bytes = match self.reader.next().await? {
            Ok(bytes) => bytes,
            Err(failure) => return Some(Err(failure)),
        };
        let len = bytes.len() as u64;
        self.rest -= len;
        let hashes = {
            let mut tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner);
            tap.crc32.update(&bytes);
            tap.etag.update(&bytes);
            (self.rest == 0).then(|| tap.clone())
        };
        if let (Some(hashes), Some(expected)) = (hashes, self.expected)
            && let Err(failure) = self.check(hashes, expected).await
        {
            return Some(Err(failure));
        }
        self.meter.handed_over.fetch_add(len, Ordering::Relaxed);
        self.meter.tell();
        Some(Ok(bytes))
    }

    /// Holds the last bytes back unless all of them are those that were hashed before.
    async fn check(&self, sent: Hashes, expected: Expected) -> Result<(), Failure> {
        if let Some(change) = self.source.change().await?
            && change.resized
        {
            return Err(self.source.changed(&change.how));
        }
        if sent.crc32.finalize() != expected.crc32 || sent.etag.finish() != expected.etag {
            return Err(self.source.changed("it has other bytes now"));
        }
        Ok(())
    }
}

impl Meter {
    fn tell(&self) {
        self.listener.tell(&Event::Progress {
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
            handed_over: self.handed_over.load(Ordering::Relaxed),
            size: self.size,
        });
    }
}
