//! The seam for records: small documents by name, replaced atomically.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::devserver::store::disk::Disk;
use crate::devserver::store::error::StoreError;
use crate::devserver::store::record;

/// Where records are.
#[derive(Debug)]
pub(crate) enum Records {
    /// One file each.
    Disk(Arc<Disk>),
    /// The same bytes under the same names, in memory.
    Memory(Mutex<BTreeMap<String, Vec<u8>>>),
}

impl Records {
    /// The record `name`; one that is torn or of another kind counts as absent, and is logged.
    pub(crate) fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let Some(bytes) = self.read(name)? else {
            return Ok(None);
        };
        let record = record::decode(&bytes);
        if record.is_none() {
            tracing::warn!(
                name,
                "a record of the store is damaged and counts as absent"
            );
        }
        Ok(record)
    }

    /// Replaces the record `name`. Killed before the end, the old one is still there.
    pub(crate) fn save(&self, name: &str, record: &impl Serialize) -> Result<(), StoreError> {
        let bytes = record::encode(record);
        match self {
            Self::Disk(disk) => disk.write(name, &bytes),
            Self::Memory(records) => {
                let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
                records.insert(name.to_owned(), bytes);
                Ok(())
            }
        }
    }

    /// Removes a record; says whether it was there.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, StoreError> {
        match self {
            Self::Disk(disk) => disk.remove(name),
            Self::Memory(records) => {
                let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(records.remove(name).is_some())
            }
        }
    }

    /// Removes a folder that has become empty.
    pub(crate) fn remove_folder(&self, folder: &str) {
        if let Self::Disk(disk) = self {
            disk.remove_folder(folder);
        }
    }

    /// The names of all records under `folder`, at any depth, in no particular order.
    pub(crate) fn names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Disk(disk) => disk.files(folder),
            Self::Memory(records) => {
                let records = records.lock().unwrap_or_else(PoisonError::into_inner);
                let start = format!("{folder}/");
                let from_start = records.range(start.clone()..);
                Ok(from_start
                    .map(|(name, _)| name.clone())
                    .take_while(|name| name.starts_with(&start))
                    .collect())
            }
        }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Disk(disk) => disk.read(name),
            Self::Memory(records) => {
                let records = records.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(records.get(name).cloned())
            }
        }
    }
}
