//! The key pair of a server that was not given one: made once, kept under the root.

use std::fmt;
use std::path::Path;

use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use crate::devserver::store::disk::Disk;
use crate::devserver::store::error::StoreError;
use crate::devserver::store::record;
use crate::kodo::encode::hex;

/// The file's name under the root.
const FILE: &str = "keys.json";
/// The lock that makes "once" true for processes that start together.
const LOCK: &str = "keys";
/// Random bytes of a key: 40 hex digits, as long as Kodo's own keys.
const KEY_BYTES: usize = 20;

/// An access key and its secret key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyPair {
    /// Public.
    pub(crate) access_key: String,
    /// Secret.
    pub(crate) secret_key: String,
}

impl KeyPair {
    /// A new one.
    pub(crate) fn generate() -> Result<Self, StoreError> {
        Ok(Self {
            access_key: new_key()?,
            secret_key: new_key()?,
        })
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.access_key)
    }
}

/// The key pair of the store at `root`, made now if there is none: the file is for its owner alone,
/// and processes that start together get the same pair. Blocks.
///
/// A damaged file is replaced: nobody has its keys any more.
pub(crate) fn key_pair(root: &Path) -> Result<KeyPair, StoreError> {
    let disk = Disk::open(root)?;
    let lock = disk.lock_file(LOCK)?;
    lock.lock()
        .map_err(StoreError::io("lock", &disk.path(FILE)))?;
    if let Some(bytes) = disk.read(FILE)? {
        match record::decode(&bytes) {
            Some(pair) => return Ok(pair),
            None => tracing::warn!("the store's key pair is damaged; making a new one"),
        }
    }
    let pair = KeyPair::generate()?;
    disk.write(FILE, &record::encode(&pair))?;
    Ok(pair)
}

fn new_key() -> Result<String, StoreError> {
    let mut bytes = [0; KEY_BYTES];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| StoreError::NoRandomness)?;
    Ok(hex(&bytes))
}
