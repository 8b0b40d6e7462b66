//! Where the engine's records go: a journal, or nowhere when there can be none.

use std::sync::{Mutex, PoisonError};

use crate::engine::record::Record;
use crate::journal::Unavailable;
use crate::journal::header::Identity;
use crate::journal::queue::Journal;

/// Digits of an identity that are shown: enough to tell 10 000 uploads apart.
const ID_LEN: usize = 12;

/// Brings records to the disk as long as that works.
#[derive(Debug)]
pub(crate) struct Recorder {
    journal: Option<Journal>,
    id: Option<Identity>,
    trouble: Mutex<Option<Unavailable>>,
}

impl Recorder {
    /// Without a journal, every record counts as durable at once: the upload cannot be resumed.
    pub(crate) fn new(journal: Option<(Journal, Identity)>) -> Self {
        let (journal, id) = journal.unzip();
        Self {
            journal,
            id,
            trouble: Mutex::new(None),
        }
    }

    /// What the journal is called, while it is kept: enough digits of it to be found by.
    pub(crate) fn id(&self) -> Option<String> {
        let id = self.id.filter(|_| self.is_kept())?;
        let mut digits = id.to_string();
        digits.truncate(ID_LEN);
        Some(digits)
    }

    /// Whether a later run can go on from what is recorded.
    pub(crate) fn is_kept(&self) -> bool {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        self.journal.is_some() && trouble.is_none()
    }

    /// Returns when `record` is as durable as it will ever be; the first time that is not at all,
    /// with the reason.
    pub(crate) async fn append(&self, record: &Record) -> Option<Unavailable> {
        let why = self.journal.as_ref()?.append(record).await.err()?;
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble.replace(why.clone()) {
            None => Some(why),
            Some(_) => None,
        }
    }

    /// The upload is done, or will never be: nothing is left to resume.
    pub(crate) async fn remove(self) -> Result<(), Unavailable> {
        match self.journal {
            Some(journal) => journal.remove().await,
            None => Ok(()),
        }
    }

    /// Everything that was appended is written; the journal stays for the next run.
    pub(crate) async fn close(self) -> Result<(), Unavailable> {
        match self.journal {
            Some(journal) => journal.close().await,
            None => Ok(()),
        }
    }
}
