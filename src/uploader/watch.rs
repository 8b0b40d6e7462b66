//! Watches the source: is it still what it was at the last look?

use std::sync::{Mutex, PoisonError};

use crate::model::Failure;
use crate::source::Source;

/// A source, and the state it was last seen in.
#[derive(Debug)]
pub(crate) struct Watched {
    source: Source,
    last_look: Mutex<Source>,
}

impl Watched {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            last_look: Mutex::new(source.clone()),
            source,
        }
    }

    /// The source, to read from. Its length is the one it was opened with.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// How the source differs from the last look, in words; that difference is then known.
    ///
    /// Fails where its size differs: other bytes then, in any case.
    pub(crate) async fn look(&self) -> Result<Option<String>, Failure> {
        let last = self
            .last_look
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(change) = last.change().await? else {
            return Ok(None);
        };
        if change.resized {
            return Err(last.changed(&change.how));
        }
        let how = change.how.clone();
        *self
            .last_look
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = last.accept(change);
        Ok(Some(how))
    }
}
