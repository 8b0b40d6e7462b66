//! Who may change what right now: between tasks, and between processes on one directory.
//!
//! Two kinds of lock, always taken in this order, so that nobody waits in a circle:
//! 1. *stripes*: whoever reads a record in order to replace it holds the stripe of its name alone;
//! 2. *references*: whoever writes a record that refers to blobs shares it, the sweep that removes
//!    blobs holds it alone (see `sweep.rs` for what this buys).
//!
//! On disk these are OS locks on files, which end with their process, however it ends.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::devserver::store::disk::Disk;
use crate::devserver::store::error::StoreError;

/// The lock of all references to blobs.
const REFERENCES: &str = "references";
/// The lock of the one sweep that runs at a time.
const SWEEP: &str = "sweep";

/// Where locks are.
#[derive(Debug)]
pub(crate) enum Locks {
    /// Files; 256 stripes, since a lock file per name would never go away.
    Disk(Arc<Disk>),
    /// One for everything: what it guards takes microseconds.
    Memory(Mutex<()>),
}

/// Locks that are held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    _files: Vec<File>,
    _guard: Option<MutexGuard<'a, ()>>,
}

impl Locks {
    /// Alone on the records `names`, and sharing the references. Blocks.
    pub(crate) fn hold(&self, names: &[&str]) -> Result<Held<'_>, StoreError> {
        match self {
            Self::Disk(disk) => {
                let mut stripes: Vec<String> = names.iter().map(|name| stripe(name)).collect();
                stripes.sort_unstable();
                stripes.dedup();
                let mut files = Vec::with_capacity(stripes.len() + 1);
                for stripe in stripes {
                    let file = disk.lock_file(&stripe)?;
                    file.lock()
                        .map_err(StoreError::io("lock", Path::new(&stripe)))?;
                    files.push(file);
                }
                let file = disk.lock_file(REFERENCES)?;
                file.lock_shared()
                    .map_err(StoreError::io("lock", Path::new(REFERENCES)))?;
                files.push(file);
                Ok(Held::files(files))
            }
            Self::Memory(gate) => Ok(Held::guard(gate)),
        }
    }

    /// Alone on the references: nobody is between touching a blob and writing down that it is used.
    /// Blocks.
    pub(crate) fn hold_references(&self) -> Result<Held<'_>, StoreError> {
        match self {
            Self::Disk(disk) => {
                let file = disk.lock_file(REFERENCES)?;
                file.lock()
                    .map_err(StoreError::io("lock", Path::new(REFERENCES)))?;
                Ok(Held::files(vec![file]))
            }
            Self::Memory(gate) => Ok(Held::guard(gate)),
        }
    }

    /// The right to sweep, unless somebody sweeps already. Does not block.
    pub(crate) fn try_sweep(&self) -> Result<Option<Held<'_>>, StoreError> {
        let Self::Disk(disk) = self else {
            return Ok(Some(Held::files(Vec::new())));
        };
        let file = disk.lock_file(SWEEP)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held::files(vec![file]))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", Path::new(SWEEP))(error)),
        }
    }
}

impl<'a> Held<'a> {
    fn files(files: Vec<File>) -> Self {
        Self {
            _files: files,
            _guard: None,
        }
    }

    fn guard(gate: &'a Mutex<()>) -> Self {
        Self {
            _files: Vec::new(),
            _guard: Some(gate.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// The lock file of the stripe that `name` falls into.
fn stripe(name: &str) -> String {
    format!("{:02x}", crc32fast::hash(name.as_bytes()) & 0xff)
}
