//! What the user is told. The last of the three error layers: failure → verdict → error.

pub(crate) mod acts;
mod facts;
pub(crate) mod words;

use std::fmt;
use std::time::Duration;

use crate::kodo::CredentialsError;
use crate::model::{EndpointError, Failure, FailureKind, NameError, Remedy, Trace};

pub use facts::Fact;

/// What to do after a failure that may pass.
pub(crate) const RUN_AGAIN: &str = "run the same line again";

/// Why an upload, or a call next to it, did not succeed.
///
/// Its text says what happened and with which value, where, and how often it was tried;
/// [`Error::next_step`] says what to do now. Neither ever holds a secret key, a token or a signature.
/// The parts of the text are there one by one, too: [`Error::message`] and [`Error::facts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    next: Option<String>,
    /// Boxed: errors travel through many returns, failures are rare.
    failure: Option<Box<Failure>>,
    /// Boxed for the same reason; none where no upload had begun.
    run: Option<Box<Run>>,
    safe_bytes: u64,
}

/// What is known of the upload that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// Size of the source, in bytes.
    pub(crate) size: u64,
    /// Attempts that failed since something was made safe.
    pub(crate) attempts: u32,
    /// From its beginning to its end.
    pub(crate) elapsed: Duration,
}

/// Kinds of [`Error`], for a program to act on.
///
/// Most programs need only [`Error::is_retryable`], [`Error::needs_new_token`], and the three kinds after
/// which a second upload would be wrong or is not wished: [`CallbackFailed`](Self::CallbackFailed),
/// [`OutcomeUnknown`](Self::OutcomeUnknown), [`Exists`](Self::Exists).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call itself makes no sense: a bad name, an impossible combination.
    Usage,
    /// A setting is missing, unreadable, or has a value that cannot be.
    Config,
    /// The source is missing, unreadable, or no regular file; a stream failed, panicked, had another length
    /// than was said, or is needed a second time.
    Source,
    /// The source changed while it was uploaded: no object was made of it.
    SourceChanged,
    /// No connection could be made to any host.
    NoConnection,
    /// Something that is no Kodo answered.
    NotKodo,
    /// The service does not accept the keys or the token, or they have expired.
    Unauthorized,
    /// The put policy or the account forbids it.
    Forbidden,
    /// The object is larger than the put policy allows.
    TooLarge,
    /// There is no such bucket.
    NoSuchBucket,
    /// There is no such object.
    NoSuchObject,
    /// An object is there and may not be replaced.
    Exists,
    /// The service refused for another reason: see the message.
    Refused,
    /// The object is stored; the callback after it failed. Uploading again would be wrong.
    CallbackFailed,
    /// The service's answer shows other bytes than the source has.
    Mismatch,
    /// Not finished for a reason that may pass: a broken connection, a failing server.
    Unfinished,
    /// Another process, or another upload of this one, is at the same upload.
    Held,
    /// The object may or may not be stored, and nobody can tell: the last answer was lost, and there are no
    /// keys to look with.
    OutcomeUnknown,
    /// Stopped: by a [`Stop`](crate::Stop), a shutdown of its uploader or, in the program, a signal.
    Interrupted,
    /// The uploader was shut down and takes no more uploads.
    ShutDown,
    /// The local machine failed: a store, a directory, an output that cannot be written.
    Local,
}

impl ErrorKind {
    /// The name that JSON events carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Source => "source",
            Self::SourceChanged => "source_changed",
            Self::NoConnection => "no_connection",
            Self::NotKodo => "not_kodo",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TooLarge => "too_large",
            Self::NoSuchBucket => "no_such_bucket",
            Self::NoSuchObject => "no_such_object",
            Self::Exists => "exists",
            Self::Refused => "refused",
            Self::CallbackFailed => "callback_failed",
            Self::Mismatch => "mismatch",
            Self::Unfinished => "unfinished",
            Self::Held => "held",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Interrupted => "interrupted",
            Self::ShutDown => "shut_down",
            Self::Local => "local",
        }
    }
}

impl Error {
    /// An error of `kind`; `message` says what happened, with which value.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            next: None,
            failure: None,
            run: None,
            safe_bytes: 0,
        }
    }

    /// The same error with what to do next.
    #[must_use]
    pub(crate) fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// What `failure` means to the user; `doing` completes "could not …".
    pub(crate) fn from_failure(doing: &str, failure: Failure) -> Self {
        let (kind, next) = meaning(&failure.kind);
        let message = match failure.kind {
            FailureKind::Source | FailureKind::SourceChanged => failure.to_string(),
            _ => format!("could not {doing}: {failure}"),
        };
        Self {
            kind,
            message,
            next: failure.remedy.map(step).or(next).map(str::to_owned),
            failure: Some(Box::new(failure)),
            run: None,
            safe_bytes: 0,
        }
    }

    /// A mistake of ours, where a panic would take the caller's program with it.
    pub(crate) fn bug(what: &str) -> Self {
        Self::new(ErrorKind::Local, format!("haul made a mistake: {what}"))
    }

    /// The same error with how much of the upload is safe.
    #[must_use]
    pub(crate) fn safe(mut self, bytes: u64) -> Self {
        self.safe_bytes = bytes;
        self
    }

    /// The same error with what is behind it.
    #[must_use]
    pub(crate) fn because(mut self, failure: Failure) -> Self {
        self.failure = Some(Box::new(failure));
        self
    }

    /// The same error with what is known of the upload.
    #[must_use]
    pub(crate) fn of_run(mut self, run: Run) -> Self {
        self.run = Some(Box::new(run));
        self
    }

    /// What happened, without where and how often.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Attempts that failed since something was last made safe, the last one included; 0 where none
    /// was made.
    pub fn attempts(&self) -> u32 {
        self.run.as_ref().map_or(0, |run| run.attempts)
    }

    /// How long the upload had been under way; nothing where none had begun.
    pub fn elapsed(&self) -> Duration {
        self.run.as_ref().map_or(Duration::ZERO, |run| run.elapsed)
    }

    /// The way of the last attempt: host, address, how far it came and how long that took. None
    /// where no attempt was made, and for calls that carry no body.
    pub fn trace(&self) -> Option<&Trace> {
        self.failure.as_ref()?.trace.as_deref()
    }

    /// Bytes that the service has acknowledged and that the next run need not send again.
    pub fn safe_bytes(&self) -> u64 {
        self.safe_bytes
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do now, if there is something to do.
    pub fn next_step(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// The answer or break-down behind it: status, request id, the service's own words.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for fact in self.facts() {
            write!(f, "; {}: {}", fact.name, fact.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::new(ErrorKind::Usage, error.to_string())
    }
}

impl From<CredentialsError> for Error {
    fn from(error: CredentialsError) -> Self {
        Self::new(ErrorKind::Config, error.to_string())
    }
}

impl From<EndpointError> for Error {
    fn from(error: EndpointError) -> Self {
        Self::new(ErrorKind::Config, error.to_string())
    }
}

/// What to do about a failure that time does not mend.
fn step(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::ProxyUser => "check the user name and password of the proxy (`proxy`)",
        Remedy::Clock => {
            "check this machine's clock; if it is right, the server's certificate must be replaced"
        }
        Remedy::Name => {
            "check the host's name; a captive portal or somebody else may have answered"
        }
        Remedy::Authority => {
            "name the file of the certificate's authority (`ca_file`), if you trust it; a captive \
             portal may be in the way"
        }
        Remedy::Certificate => "the server's certificate must be replaced",
        Remedy::TlsVersion => {
            "set `tls_min_version` to 1.2, or have the server speak a newer version"
        }
        Remedy::Scheme => "check the URL's scheme and port",
        Remedy::StreamAgain => "no object was made: upload the stream again, from its beginning",
    }
}

/// The user's side of a failure: whose turn it is, and what to do.
fn meaning(kind: &FailureKind) -> (ErrorKind, Option<&'static str>) {
    use FailureKind as F;
    const AGAIN: &str = RUN_AGAIN;
    const READABLE: &str = "nothing was stored; run again when the source is there and can be read";
    const AT_REST: &str = "nothing was stored; run again when the file is at rest";
    const PASSES: (ErrorKind, Option<&str>) = (ErrorKind::Unfinished, Some(AGAIN));
    match kind {
        F::Connect => (
            ErrorKind::NoConnection,
            Some("check the network, and the host's name and port"),
        ),
        F::Tls => (
            ErrorKind::NoConnection,
            Some("check the host's name, this machine's clock and its certificate authorities"),
        ),
        F::NotKodo => (
            ErrorKind::NotKodo,
            Some("check the host's name; a proxy or a captive portal may be in the way"),
        ),
        F::Source => (ErrorKind::Source, Some(READABLE)),
        F::SourceChanged => (ErrorKind::SourceChanged, Some(AT_REST)),
        F::Mismatch => (ErrorKind::Mismatch, Some(AGAIN)),
        F::Unauthorized => (
            ErrorKind::Unauthorized,
            Some("check the access key and secret key, or get a fresh upload token"),
        ),
        F::ClockSkew => (ErrorKind::Unauthorized, Some("set this machine's clock")),
        F::Forbidden => (
            ErrorKind::Forbidden,
            Some("check the put policy of the token and the rights of the account"),
        ),
        F::AccountFrozen => (ErrorKind::Forbidden, Some("ask the service's support")),
        F::TooLarge => (
            ErrorKind::TooLarge,
            Some("the put policy's fsizeLimit must allow this size"),
        ),
        F::NoSuchBucket => (
            ErrorKind::NoSuchBucket,
            Some("check the bucket's name and that it belongs to these keys"),
        ),
        F::NoSuchObject => (ErrorKind::NoSuchObject, Some("check the key")),
        F::Exists => (
            ErrorKind::Exists,
            Some("choose another key, or allow replacing it (no --insert-only)"),
        ),
        F::CallbackFailed => (
            ErrorKind::CallbackFailed,
            Some("the object is stored: do not upload it again; look after the callback's server"),
        ),
        F::WrongRegion { .. } => (
            ErrorKind::Refused,
            Some("use an upload host of the bucket's region, or set no endpoint"),
        ),
        F::Broken | F::Stalled | F::NotReading | F::Trickle | F::TimedOut => PASSES,
        F::Server | F::Throttled | F::Changed | F::ChecksumRefused => PASSES,
        F::NoSuchUpload | F::InvalidContext => PASSES,
        F::BodyLimit => (
            ErrorKind::Unfinished,
            Some("a proxy or gateway on the way refuses bodies of this size: go around it"),
        ),
        F::BadRequest
        | F::AccelerationOff
        | F::NotFound
        | F::MethodNotAllowed
        | F::BucketLimit
        | F::BadMarker
        | F::Refused => (ErrorKind::Refused, None),
    }
}
