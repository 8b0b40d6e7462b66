//! What a caller wishes of an upload.

use std::time::SystemTime;

use crate::client::policy::PutPolicy;
use crate::client::put::{Put, What};
use crate::error::{Error, ErrorKind};
use crate::events::{Event, Listener};
use crate::kodo::{Commit, CommitError};
use crate::model::ObjectKey;
use crate::stop::Stop;

/// The name of the metadata that sets an object's `Last-Modified`. Source: protocol reference, 5.4.
const LAST_MODIFIED: &str = "!Last-Modified";

impl Put {
    /// Lets the service name the object: by the policy's `saveKey`, else by its hash. The empty key is
    /// something else, a key like any other; without a protocol by request it goes in parts (v2), for
    /// which the service is known to take it.
    pub fn no_key(mut self) -> Self {
        self.key = None;
        self
    }

    /// How many bytes a stream will give, where that is known: for progress, for the length of v2's parts, and
    /// to refuse a stream that gives fewer or more ([`ErrorKind::Source`], and no object). Files and data
    /// know it themselves: it changes nothing for them.
    pub fn size(mut self, bytes: u64) -> Self {
        if let What::Stream(stream) = &mut self.what {
            stream.expected = Some(bytes);
        }
        self
    }

    /// The object's type. Without it the service finds out itself, by file name, key and content, in this
    /// order; [`PutPolicy::detect_mime`] has it believe the content first, whatever is said here.
    ///
    /// haul guesses no types: it would know less than the service, and a guess that is said keeps the
    /// service from looking.
    pub fn mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// The original name told to the service (`$(fname)`), in place of the file's own.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Metadata kept with the object. The name may be given with `x-qn-meta-` or without; all
    /// names and values together have at most 1024 bytes. What cannot be sent is [`ErrorKind::Usage`], before
    /// anything is.
    pub fn meta(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((name.into(), value.into()));
        self
    }

    /// A custom variable for `returnBody` and callbacks. The name may be given with `x:` or without; one that
    /// cannot be is [`ErrorKind::Usage`], before anything is sent. An empty value is kept.
    ///
    /// With a state directory it stands there, for the owner's eyes only, until the upload is done:
    /// [`Uploader::resume`](crate::Uploader::resume) says it again. Secrets have no place in one.
    pub fn var(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.vars.push((name.into(), value.into()));
        self
    }

    /// Never replaces an object of other content: fails with [`ErrorKind::Exists`].
    ///
    /// Acts on tokens that the keys sign; a ready token says itself what it permits.
    pub fn insert_only(mut self) -> Self {
        self.insert_only = true;
        self
    }

    /// What the service does with this upload: limits, callbacks, its answer, the object's name, storage
    /// class and life. Needs the uploader's keys, which sign it anew for every request; a ready token
    /// holds a policy already, so both are an error ([`ErrorKind::Config`]).
    ///
    /// Where the answer to the last request is lost, a look tells whether the object is there; a callback's
    /// answer is lost with it ([`Done::answer`](crate::Done::answer) is None). What the policy says is not
    /// remembered with an unfinished upload: the next run's counts, and
    /// [`Uploader::resume`](crate::Uploader::resume) fails without one.
    ///
    /// The policy must allow this bucket and key, and is checked before anything is sent. Unless it has an
    /// end of its own its tokens live as long as the upload may need.
    pub fn policy(mut self, policy: PutPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Tells `hear` how the upload goes. The upload waits for it, so it must not block. When it
    /// panics, it is told no more, which `tracing` warns of; the upload goes on, unless the program is
    /// built to abort on panics.
    pub fn on_event(mut self, hear: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(hear);
        self
    }

    /// Ends the upload when `stop` says so: nothing new is begun, and what is recorded is safe. It
    /// then fails with [`ErrorKind::Interrupted`]. Dropping the future stops it as well, without a
    /// word.
    pub fn stop_on(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Keeps the file's time of change with the object: its `Last-Modified` becomes that
    /// (`x-qn-meta-!Last-Modified`, in whole seconds). Data and streams have none, and it changes nothing.
    pub fn keep_last_modified(mut self) -> Self {
        self.keep_last_modified = true;
        self
    }

    /// What is said about the object, whose source was changed at `modified` if it is a file.
    pub(super) fn commit(
        &self,
        key: Option<ObjectKey>,
        modified: Option<SystemTime>,
    ) -> Result<Commit, Error> {
        let said = self.said(key, modified);
        said.map_err(|error| Error::new(ErrorKind::Usage, error.to_string()))
    }

    fn said(
        &self,
        key: Option<ObjectKey>,
        modified: Option<SystemTime>,
    ) -> Result<Commit, CommitError> {
        let own_name = match &self.what {
            What::File(path) if self.uploader.inner.is_spooled(path) => None,
            What::File(path) => path.file_name().and_then(|name| name.to_str()),
            What::Data(_) | What::Stream(_) => None,
        };
        let mut commit = Commit::new(key);
        // A name that is no UTF-8 cannot be told; the object does without.
        if let Some(name) = self.file_name.as_deref().or(own_name) {
            commit = commit.file_name(name);
        }
        if let Some(mime_type) = &self.mime_type {
            commit = commit.mime_type(mime_type)?;
        }
        for (name, value) in &self.vars {
            commit = commit.var(name, value)?;
        }
        for (name, value) in &self.metadata {
            commit = commit.metadata_entry(name, value)?;
        }
        if let Some(modified) = modified.filter(|_| self.keep_last_modified) {
            commit = commit.metadata_entry(LAST_MODIFIED, &httpdate::fmt_http_date(modified))?;
        }
        Ok(commit)
    }
}
