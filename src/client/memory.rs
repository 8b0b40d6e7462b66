//! What is remembered of unfinished uploads: opens the journal of the one at hand.

use std::path::{Path, PathBuf};

use crate::client::hosts::HostBook;
use crate::client::shutdown::AtWork;
use crate::clock;
use crate::engine::record::Checkpoint;
use crate::error::{Error, ErrorKind};
use crate::events::{Event, Listener};
use crate::journal::disk::{Note, Opened};
use crate::journal::header::{self, Header, ResumeId, SourcePath, Target};
use crate::journal::queue::Journal;
use crate::journal::said::Said;
use crate::journal::{OpenError, Unavailable};
use crate::kodo::AccessKey;
use crate::model::{Bucket, ObjectKey};
use crate::source::{FileSource, Source};
use crate::uploader::Recorder;

/// The kind of service in journals. Others will have another word.
const SERVICE: &str = "kodo";

/// Where and whether uploads are remembered.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) state_dir: Option<PathBuf>,
    pub(super) store_name: Option<String>,
    /// An upload that could not be resumed is not begun.
    pub(super) required: bool,
}

/// What makes an upload this one and no other.
pub(super) struct Errand<'a> {
    pub(super) access_key: &'a AccessKey,
    pub(super) bucket: &'a Bucket,
    pub(super) key: Option<&'a ObjectKey>,
    pub(super) source: &'a Source,
    /// What the caller calls it.
    pub(super) resume_id: Option<&'a ResumeId>,
    /// What the caller says of the object.
    pub(super) says: Option<&'a Said>,
    /// Where it is told that the upload is remembered.
    pub(super) at_work: &'a AtWork,
}

impl Memory {
    /// Opens the journal of `errand`: where its records go, and what an earlier run recorded.
    ///
    /// Without a journal the upload goes on unremembered, and says so, unless one is required.
    pub(super) async fn open(
        &self,
        errand: &Errand<'_>,
        hosts: &HostBook,
        listener: &Listener,
    ) -> Result<(Recorder, Checkpoint), Error> {
        let nothing = || (Recorder::new(None), Checkpoint::default());
        let Source::File(file) = errand.source else {
            // Bytes in memory die with the process: there is nothing to go on with.
            return Ok(nothing());
        };
        let Some(state_dir) = &self.state_dir else {
            return match self.required {
                true => Err(Error::new(
                    ErrorKind::Config,
                    "resume is required, and there is no state directory",
                )
                .next("name one")),
                false => Ok(nothing()),
            };
        };
        let header = self.header(errand, file, hosts);
        let identity = header.identity();
        let opened = match Journal::open(state_dir, header).await {
            Ok(opened) => opened,
            Err(OpenError::Held { owner }) => {
                let held = OpenError::Held { owner };
                return Err(
                    Error::new(ErrorKind::Held, held.to_string()).next("wait for it, or stop it")
                );
            }
            Err(OpenError::Unavailable(why)) => {
                self.do_without(&why, listener)?;
                return Ok(nothing());
            }
        };
        let Opened {
            journal,
            checkpoint,
            notes,
        } = opened;
        for note in &notes {
            if let Note::Unavailable(why) = note {
                self.do_without(why, listener)?;
            } else {
                listener.tell(&Event::Notice(words(note)));
            }
        }
        errand.at_work.learn(|task| task.identity = Some(identity));
        Ok((Recorder::new(Some((journal, identity))), checkpoint))
    }

    /// What the service is called here.
    pub(super) fn store(&self, hosts: &HostBook) -> String {
        self.store_name.clone().unwrap_or_else(|| hosts.store())
    }

    /// Where `errand` goes.
    pub(super) fn target(&self, errand: &Errand<'_>, hosts: &HostBook) -> Target {
        Target {
            service: SERVICE.to_owned(),
            access_key: errand.access_key.as_str().to_owned(),
            store: self.store(hosts),
            bucket: errand.bucket.clone(),
            key: errand.key.cloned(),
            resume_id: errand.resume_id.cloned(),
        }
    }

    fn header(&self, errand: &Errand<'_>, file: &FileSource, hosts: &HostBook) -> Header {
        let facts = file.facts();
        let path = canonical(file.path());
        Header {
            target: self.target(errand, hosts),
            source: header::Source {
                path: SourcePath::new(&path),
                size: file.len(),
                mtime_ns: facts.mtime_ns,
                ctime_ns: facts.ctime_ns,
                device: facts.device,
                inode: facts.inode,
            },
            created: clock::unix_seconds(clock::wall()),
            says: kept(errand.says, file.path(), &path),
        }
    }

    /// Says that the upload cannot be resumed; fails if it must be.
    fn do_without(&self, why: &Unavailable, listener: &Listener) -> Result<(), Error> {
        if self.required {
            return Err(Error::new(
                ErrorKind::Local,
                format!("the upload could not be resumed: {why}"),
            )
            .next("mend the state directory, name another, or do without resume"));
        }
        let what = format!("{why}; the upload goes on, but could not be resumed");
        listener.tell(&Event::NotResumable(what));
        Ok(())
    }
}

/// The path as the file system has it; as it was given where that cannot be told.
fn canonical(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What is kept of what is said of the file at `given`, which is to be found at `canonical`. Where a link
/// led there it gave the object its name: that is kept as if it had been said.
fn kept(says: Option<&Said>, given: &Path, canonical: &Path) -> Option<Said> {
    let mut said = says.cloned().unwrap_or_default();
    let is_renamed = given.file_name() != canonical.file_name();
    if is_renamed && said.file_name.is_none() && !said.are_texts_cut {
        let name = given.file_name().and_then(|name| name.to_str());
        said.file_name = name.map(str::to_owned);
    }
    said.kept()
}

/// A note for people.
fn words(note: &Note) -> String {
    match note {
        Note::TailCut { bytes } => {
            format!("the journal's last {bytes} bytes were torn; what they held is sent again")
        }
        Note::Damaged => "the journal is damaged; the upload begins anew".to_owned(),
        Note::Senseless { records } => {
            format!("the journal's last {records} records make no sense and were dropped")
        }
        Note::Resized {
            was,
            now,
            safe_bytes: (then, still),
        } => format!(
            "the source went from {was} to {now} bytes since the last run; of {then} bytes that \
             were safe, {still} still are"
        ),
        Note::Touched { was } => format!(
            "the source is not the file it was ({}), or was touched; its bytes are compared with \
             what was sent",
            was.path
        ),
        Note::Unavailable(why) => why.to_string(),
    }
}
