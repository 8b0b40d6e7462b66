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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::model::FailureKind;

    /// A touch is told once; another size is the end, and stays it.
    #[tokio::test]
    async fn looks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let write = |text: &str| {
            File::create(&path)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap()
        };
        write("12345");
        let watched = Watched::new(Source::open(&path).await.unwrap());
        assert_eq!(watched.look().await.unwrap(), None);
        let touch = |seconds| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(time).unwrap();
        };
        for seconds in [1_000, 2_000] {
            touch(seconds);
            assert!(watched.look().await.unwrap().is_some(), "a touch is seen");
            assert_eq!(watched.look().await.unwrap(), None, "and then known");
        }
        write("123456");
        let failure = watched.look().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::SourceChanged, "{failure}");
        assert!(watched.look().await.is_err(), "it stays lost");
    }
}
