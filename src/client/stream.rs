//! Streams as uploads: [`Uploader::put_stream`] and [`Uploader::put_reader`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::io::AsyncRead;

use crate::client::Uploader;
use crate::client::put::{Put, What};
use crate::engine::plan::Layout;
use crate::error::{Error, ErrorKind};
use crate::kodo::BLOCK_LEN;
use crate::model::{Bucket, ObjectKey};
use crate::source::{Budget, Source, SpoolFile, StreamSource, Supply};
use crate::uploader::{self, Protocol};

/// Memory for all streams of an uploader, unless set: room for thirty-two blocks, which is more than
/// any line has in flight.
pub(super) const STREAM_MEMORY: u64 = 32 * BLOCK_LEN;

/// The least: a block in flight, and one that is read meanwhile.
pub(super) const STREAM_MEMORY_MIN: u64 = 2 * BLOCK_LEN;

/// The most: what the budget can count.
pub(super) const STREAM_MEMORY_MAX: u64 = u32::MAX as u64;

/// A stream that ends within so many bytes is sent from memory in any case: writing it would cost more
/// than sending it again.
const SPOOLED_MIN: u64 = 256 * 1024;

/// A stream that can be read once, whoever of its upload's clones is first.
#[derive(Clone)]
pub(super) struct OneStream {
    supply: Arc<Mutex<Option<Supply>>>,
    pub(super) expected: Option<u64>,
}

impl fmt::Debug for OneStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneStream")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl OneStream {
    fn new(supply: Supply) -> Self {
        Self {
            supply: Arc::new(Mutex::new(Some(supply))),
            expected: None,
        }
    }

    /// The stream, the first time.
    fn take(&self) -> Result<Supply, Error> {
        let mut supply = self.supply.lock().unwrap_or_else(PoisonError::into_inner);
        supply.take().ok_or_else(|| {
            let what = "this stream was uploaded before: it can be read once";
            Error::new(ErrorKind::Usage, what).next("make a new upload of a new stream")
        })
    }
}

impl Uploader {
    /// Uploads what `stream` gives to `bucket` under `key`. Await the builder to run it.
    ///
    /// *Length*: any, known ([`Put::size`]) or not. A stream of less than 4 MiB (with v2: than one part) that
    /// is not longer than the threshold goes in one request (form); a longer one in blocks of 4 MiB (v1), of
    /// which there may be any number. With v2 ([`Protocol::V2`]) there are at most 10 000 parts: 40 000 MiB
    /// unless [`part_size`](Put::part_size) says more or the length is known.
    ///
    /// *Memory*: bytes are kept until the service has acknowledged their whole block, so that what breaks
    /// goes again from here. An upload has at most one block more than it has lanes in flight; all streams
    /// of this uploader and its clones have [`stream_memory`](crate::UploaderBuilder::stream_memory)
    /// together, and take turns for it, block by block, the first one first. Nothing is read from a
    /// stream that waits for memory.
    ///
    /// *Not resumable*: what a stream gave cannot be had again. When the process ends, or the service
    /// loses what it had acknowledged, the upload must begin anew, and the error says so. With a
    /// [`spool_dir`](crate::UploaderBuilder::spool_dir) the stream becomes a file first, and none of this
    /// holds: it is resumed like one, also by [`resume`](Uploader::resume) and by the same stream given
    /// again under the same key or [`resume_id`](Put::resume_id).
    ///
    /// An error of the stream, or a panic in it, ends the upload with [`ErrorKind::Source`]; no object is
    /// made. The upload waits for a stream that gives nothing for as long as that takes: whoever makes one
    /// from a client's connection should end it when the client is silent for too long, since it keeps the
    /// memory of a block. A stream can be read once: a clone of the builder that is awaited, too, fails with
    /// [`ErrorKind::Usage`].
    ///
    /// ```no_run
    /// # async fn example(uploader: haul::Uploader) -> Result<(), haul::Error> {
    /// use bytes::Bytes;
    /// use futures_util::stream;
    ///
    /// let pieces = stream::iter(["some ", "bytes"].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece))));
    /// let done = uploader.put_stream("my-bucket", "notes.txt", pieces).await?;
    /// assert_eq!(done.size, 10);
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_stream<S, B, E>(
        &self,
        bucket: impl Into<String>,
        key: impl Into<String>,
        stream: S,
    ) -> Put
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes> + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let stream = stream.map_ok(Into::into).map_err(Into::into).boxed();
        self.put_once(bucket.into(), key.into(), Supply::Stream(stream))
    }

    /// Uploads what `reader` gives to `bucket` under `key`: as [`put_stream`](Self::put_stream) does, into
    /// buffers of haul's own. A reader that ends early looks as if it were whole, unless
    /// [`Put::size`] said its length.
    ///
    /// ```no_run
    /// # async fn example(uploader: haul::Uploader, mut child: tokio::process::Child) -> Result<(), haul::Error> {
    /// # let Some(output) = child.stdout.take() else { return Ok(()) };
    /// let done = uploader.put_reader("backups", "app.tar", output).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_reader(
        &self,
        bucket: impl Into<String>,
        key: impl Into<String>,
        reader: impl AsyncRead + Send + 'static,
    ) -> Put {
        let supply = Supply::Reader(Box::pin(reader));
        self.put_once(bucket.into(), key.into(), supply)
    }

    fn put_once(&self, bucket: String, key: String, supply: Supply) -> Put {
        let what = What::Stream(OneStream::new(supply));
        Put::new(self.clone(), bucket, key, what)
    }
}

impl Put {
    /// Reads the stream's first block: a short stream is all there from then on. With a spool directory, it
    /// is written there, all of it.
    pub(super) async fn begin_stream(
        &self,
        stream: &OneStream,
    ) -> Result<(Source, Option<SpoolFile>), Error> {
        let inner = &self.uploader.inner;
        let spool_dir = inner.spool_dir.as_deref();
        let first = match spool_dir {
            Some(_) => SPOOLED_MIN,
            None => self.lane_len(stream.expected).await?,
        };
        check_memory(&inner.stream_memory, first)?;
        let supply = stream.take()?;
        let stream = StreamSource::new(supply, stream.expected, inner.stream_memory.clone());
        let fetched = stream.fetch(first).await;
        fetched.map_err(|failure| Error::from_failure("read the stream", failure))?;
        match spool_dir {
            Some(dir) if !stream.has_ended() => {
                let (source, spool) = self.spool(&stream, dir).await?;
                Ok((source, Some(spool)))
            }
            _ if inner.memory.required && !stream.has_ended() => Err(no_resume()),
            _ => Ok((Source::Stream(stream), None)),
        }
    }

    /// How long the lanes of a stream are that will have `expected` bytes, where that is known. What is
    /// read first must be whole ones: streams that keep the rest of a block each, and wait for more
    /// memory, would wait for one another for ever.
    async fn lane_len(&self, expected: Option<u64>) -> Result<u64, Error> {
        // Longer than was wished, where there would be too many.
        let part_len = Layout::part_len(expected, self.settings.part_len());
        match self.settings.protocol() {
            Protocol::V2 => return Ok(part_len),
            Protocol::V1 => return Ok(BLOCK_LEN),
            Protocol::Auto if part_len == BLOCK_LEN => return Ok(part_len),
            Protocol::Auto => {}
        }
        // Where v1 is unsafe, v2 stands in for it, with its own length of parts.
        let bucket = Bucket::new(self.bucket.as_str())?;
        let key = self.key.as_ref().map(ObjectKey::new).transpose()?;
        let access = self.access().await?;
        let permit = self.permit(&access, &bucket, key.as_ref(), 0)?;
        match uploader::avoids_blocks(&permit, key.as_ref()) {
            true => Ok(part_len),
            false => Ok(BLOCK_LEN),
        }
    }
}

/// The error of a stream that must be resumable and is not.
fn no_resume() -> Error {
    let what = "resume is required, and a stream in memory cannot be resumed";
    Error::new(ErrorKind::Config, what).next("set `spool_dir`, or upload a file")
}

/// Two parts must fit into the memory: one is read while the other is on its way.
fn check_memory(memory: &Budget, part_len: u64) -> Result<(), Error> {
    let total = memory.total();
    if part_len.saturating_mul(2) > total {
        let what = format!(
            "streams with parts of {part_len} bytes need memory for two of them, and {total} bytes are \
             granted"
        );
        let next = "raise `stream_memory`, or make the parts shorter";
        return Err(Error::new(ErrorKind::Config, what).next(next));
    }
    Ok(())
}
