//! One upload, from its source to the commit.
//!
//! Simple on purpose: one lane after the other, every answer checked against the bytes that went
//! out, the whole hash computed from the same bytes. Nothing is sent twice and nothing is kept for
//! the next run: a failure ends the upload.

mod access;
mod form;
mod plan;
mod sender;
mod settle;
mod v1;
mod v2;

pub(crate) use access::{Access, Permit};
pub use plan::Protocol;
pub(crate) use plan::{Plan, Wish};
pub(crate) use sender::{Sender, UploadHosts};

use crate::error::Error;
use crate::events::{Event, Listener};
use crate::kodo::{AnswerForm, Commit, Etag, Stored};
use crate::model::{Bucket, Failure, FailureKind};
use crate::source::FileSource;
use crate::transport::Transport;

/// All that one upload needs.
pub(crate) struct Job {
    pub(crate) bucket: Bucket,
    pub(crate) commit: Commit,
    pub(crate) source: FileSource,
    pub(crate) permit: Permit,
    pub(crate) plan: Plan,
    pub(crate) hosts: UploadHosts,
    pub(crate) transport: Transport,
    pub(crate) listener: Listener,
}

/// A finished upload.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The service's answer to the commit.
    pub(crate) stored: Stored,
    /// The object's hash, computed from the bytes that were sent.
    pub(crate) hash: Etag,
    /// Whether the answer carried the same hash.
    pub(crate) hash_confirmed: bool,
    /// Bytes of the source handed to the network.
    pub(crate) sent_bytes: u64,
}

/// What an upload works with while it runs.
struct Run {
    bucket: Bucket,
    commit: Commit,
    sender: Sender,
    answer_form: AnswerForm,
}

/// Uploads.
pub(crate) async fn upload(job: Job) -> Result<Outcome, Error> {
    job.listener.tell(&Event::Started {
        size: job.source.len(),
        protocol: job.plan.name(),
    });
    if let Plan::Parts {
        part_len,
        raised: true,
    } = job.plan
    {
        job.listener.tell(&Event::Notice(format!(
            "the parts have {part_len} bytes each: smaller ones would be more than 10000"
        )));
    }
    let mut run = Run {
        answer_form: job.permit.answer_form(),
        sender: Sender::new(
            job.transport,
            job.hosts,
            job.permit,
            job.source,
            job.listener,
        ),
        bucket: job.bucket,
        commit: job.commit,
    };
    let (stored, hash) = match job.plan {
        Plan::Form => run.form().await?,
        Plan::Blocks => run.blocks().await?,
        Plan::Parts { part_len, .. } => run.parts(part_len).await?,
    };
    let hash_confirmed = confirm(&stored, hash, &run)
        .map_err(|failure| Error::from_failure("trust the stored object", failure))?;
    Ok(Outcome {
        stored,
        hash,
        hash_confirmed,
        sent_bytes: run.sender.sent_bytes(),
    })
}

impl Run {
    /// The error of a step that failed at the host in use.
    fn error(&self, doing: &str, failure: Failure) -> Error {
        Error::from_failure(&format!("{doing} at {}", self.sender.endpoint()), failure)
    }
}

/// Compares the commit's answer with what was sent. False where it says nothing about it.
fn confirm(stored: &Stored, hash: Etag, run: &Run) -> Result<bool, Failure> {
    let differs = |what: String| Failure {
        request_id: stored.request_id.clone(),
        ..Failure::new(FailureKind::Mismatch, what)
    };
    let asked = run.commit.key().map(|key| key.as_str());
    if let (AnswerForm::HashAndKey, Some(asked), Some(given)) =
        (run.answer_form, asked, stored.key.as_deref())
        && asked != given
        && !run.sender.may_rename()
    {
        return Err(differs(format!(
            "the service stored `{given}` where `{asked}` was asked for"
        )));
    }
    match stored.hash {
        None => Ok(false),
        Some(theirs) if theirs == hash => Ok(true),
        Some(theirs) => Err(differs(format!(
            "its hash is {theirs}, and that of the bytes sent is {hash}"
        ))),
    }
}
