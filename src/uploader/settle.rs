//! Before a commit: is the source still what was sent?

use crate::error::Error;
use crate::events::Event;
use crate::kodo::{Etag, EtagHasher};
use crate::model::{ByteSpan, Failure};
use crate::source::FileSource;
use crate::uploader::Run;

/// How often a file that is touched while it is read again is read once more.
const REREADS_MAX: u32 = 3;

impl Run {
    /// Fails unless the source's bytes are those that gave `hash`, in parts of `part_len`.
    ///
    /// A file that nobody touched is not read again. One that was touched, renamed or linked
    /// without other bytes goes on: the bytes are believed, not the clock.
    pub(super) async fn settle(&self, hash: Etag, part_len: Option<u64>) -> Result<(), Error> {
        let settled = self.settled(hash, part_len).await;
        settled.map_err(|failure| self.error("commit the upload", failure))
    }

    async fn settled(&self, hash: Etag, part_len: Option<u64>) -> Result<(), Failure> {
        let mut source = self.sender.source().clone();
        for _ in 0..REREADS_MAX {
            let Some(change) = source.change().await? else {
                return Ok(());
            };
            if change.resized {
                return Err(source.changed(&change.how));
            }
            self.sender.tell(&Event::Notice(format!(
                "{}: {}; reading it again",
                source.path().display(),
                change.how
            )));
            source = source.accept(change);
            if rehash(&source, part_len).await? != hash {
                return Err(source.changed("it has other bytes than were sent"));
            }
        }
        match source.change().await? {
            None => Ok(()),
            Some(change) => Err(source.changed(&change.how)),
        }
    }
}

/// The etag of the whole source: v1's, or v2's with parts of `part_len`.
async fn rehash(source: &FileSource, part_len: Option<u64>) -> Result<Etag, Failure> {
    let whole = ByteSpan::new(0, source.len());
    let mut parts = Vec::new();
    for span in whole.pieces(part_len.unwrap_or(whole.len)) {
        let mut hasher = EtagHasher::new();
        let mut reader = source.read(span);
        while let Some(bytes) = reader.next().await {
            hasher.update(&bytes?);
        }
        parts.push((span.len, hasher.finish()));
    }
    match (part_len, parts.as_slice()) {
        (None, [(_, etag)]) => Ok(*etag),
        _ => Ok(Etag::of_parts(&parts)),
    }
}
