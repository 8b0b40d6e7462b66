//! What may go wrong between the store and its place.

use std::io;
use std::path::Path;

use crate::devserver::exchange::{BodyError, Reply};

/// Kodo's "server-side failure": the dev server's answer when its own store fails.
/// Source: protocol reference, section 8.1.
const STORE_FAILED: u16 = 599;

/// A store that could not do what it was asked. None of these leaves a half-done change behind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file system refused.
    #[error("could not {doing} {path}: {source}")]
    Io {
        /// A verb: read, write, lock …
        doing: &'static str,
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The root holds a store written by another version.
    #[error(
        "`{root}` holds a store of the format `{found}`, and this haul reads only `{known}`: use the \
         haul that made it, or another directory; nothing was touched"
    )]
    Format {
        /// The directory.
        root: String,
        /// What its marker says.
        found: String,
        /// What it should say.
        known: &'static str,
    },
    /// The root is somebody else's directory.
    #[error(
        "`{root}` is not empty and is no haul store: name a new or an empty directory; nothing was \
         touched"
    )]
    Foreign {
        /// The directory.
        root: String,
    },
    /// A record refers to bytes that are gone.
    #[error("the stored bytes {blob} are missing")]
    Missing {
        /// Its id.
        blob: String,
    },
    /// The stored bytes are not as many as the record says: a power cut, or somebody's hand.
    #[error("the stored bytes {blob} are damaged: {found} bytes, and the record says {expected}")]
    Damaged {
        /// Its id.
        blob: String,
        /// According to the record.
        expected: u64,
        /// According to the file system.
        found: u64,
    },
    /// The store keeps no bytes.
    #[error("the bytes were discarded as they arrived: this store only counts them")]
    Discarded,
    /// The operating system has no random numbers.
    #[error("the operating system gives no random numbers")]
    NoRandomness,
    /// The Tokio runtime is going away.
    #[error("the store is shutting down")]
    Stopped,
}

impl StoreError {
    /// For `map_err`: what was being done, and to what.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}

impl From<StoreError> for Reply {
    /// 599 with the reason, which is also logged: it is the developer's own disk.
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the store failed");
        Self::error(STORE_FAILED, &error.to_string())
    }
}

impl From<StoreError> for BodyError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}
