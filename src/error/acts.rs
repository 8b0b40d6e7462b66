//! What a program can do about an error, and what it can tell a person.

use crate::error::words::printable;
use crate::error::{Error, ErrorKind};
use crate::model::FailureKind;

/// Column in which the text of every row begins: behind the longest word, `attempts`.
const TEXT: usize = 10;

/// Head of the row that says what to do now.
pub(crate) const NEXT: &str = "next: ";

impl Error {
    /// Whether the same call, made again later and without any change, may succeed: the line, the service
    /// or another upload stood in the way, or the source was not at rest. With a state directory it goes
    /// on where it was. (A stream has to be made anew; after [`ErrorKind::ShutDown`], so has the uploader.)
    ///
    /// False where somebody has to do something first: give other keys or a fresh token (see
    /// [`needs_new_token`](Self::needs_new_token)), choose another key, set a clock, trust an authority.
    /// False, too, where the object may be stored already ([`ErrorKind::OutcomeUnknown`]) or is
    /// ([`ErrorKind::CallbackFailed`]): a second upload would do the harm.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind as K;
        let failure = self.failure();
        // What only a person can mend, and what every length of body was tried for.
        let is_fixed = failure.is_some_and(|failure| {
            failure.remedy.is_some() || failure.kind == FailureKind::BodyLimit
        });
        let may_pass = match self.kind() {
            K::NoConnection | K::NotKodo | K::Mismatch | K::Unfinished => true,
            K::Held | K::Interrupted | K::ShutDown | K::SourceChanged => true,
            K::Usage | K::Config | K::Source | K::Local => false,
            K::Unauthorized | K::Forbidden | K::TooLarge | K::Refused => false,
            K::NoSuchBucket | K::NoSuchObject | K::Exists => false,
            K::CallbackFailed | K::OutcomeUnknown => false,
        };
        may_pass && !is_fixed
    }

    /// Whether a fresh upload token, or other keys, may help: the service did not take those that it got,
    /// the token has expired, or a provider gave none. What is stored stays; the next call goes on there.
    pub fn needs_new_token(&self) -> bool {
        let is_skewed = self
            .failure()
            .is_some_and(|failure| failure.kind == FailureKind::ClockSkew);
        self.kind() == ErrorKind::Unauthorized && !is_skewed
    }

    /// Status of the answer behind it, as the service numbers its refusals (401, 413, 579, 614, 631 …).
    /// None where no answer came.
    pub fn status(&self) -> Option<u16> {
        self.failure()?.status
    }

    /// `X-Reqid` of that answer: what the service's support asks for.
    pub fn request_id(&self) -> Option<&str> {
        self.failure()?.request_id.as_deref()
    }

    /// The error as the program prints it, in several lines: what happened, where, how often, what is
    /// safe, and what to do now. Without control characters, and without a line end behind the last one.
    pub fn explain(&self) -> String {
        let rows = self.rows();
        let lines: Vec<String> = rows.into_iter().map(|row| row.head + &row.text).collect();
        lines.join("\n")
    }

    /// The same in rows, for whoever breaks them into lines.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = vec![Row::new("error: ", self.message())];
        for fact in self.facts() {
            let name = fact.name;
            rows.push(Row::new(&format!("  {name:<TEXT$}"), &fact.text));
        }
        rows.extend(self.next_step().map(|next| Row::new(NEXT, next)));
        rows
    }
}

/// One row of an explanation.
#[derive(Debug)]
pub(crate) struct Row {
    /// What it is about.
    pub(crate) head: String,
    /// What there is to say; nothing in it can write on a terminal.
    pub(crate) text: String,
}

impl Row {
    fn new(head: &str, text: &str) -> Self {
        Self {
            head: head.to_owned(),
            text: printable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, Remedy};

    /// What happened, whether the same call may succeed later, and whether a fresh token may help.
    #[test]
    fn whose_turn_it_is() {
        use FailureKind as F;
        let rows = [
            (F::Broken, None, true, false),
            (F::Stalled, None, true, false),
            (F::Server, None, true, false),
            (F::Throttled, None, true, false),
            (F::NotKodo, None, true, false),
            (F::Mismatch, None, true, false),
            (F::Connect, None, true, false),
            (F::Connect, Some(Remedy::ProxyUser), false, false),
            (F::Tls, Some(Remedy::Authority), false, false),
            (F::BodyLimit, None, false, false),
            (F::Source, None, false, false),
            (F::SourceChanged, None, true, false),
            (F::Unauthorized, None, false, true),
            (F::ClockSkew, None, false, false),
            (F::Forbidden, None, false, false),
            (F::TooLarge, None, false, false),
            (F::Exists, None, false, false),
            (F::NoSuchBucket, None, false, false),
            (F::CallbackFailed, None, false, false),
        ];
        for (kind, remedy, again, token) in rows {
            let mut failure = Failure::new(kind, "m");
            (failure.status, failure.remedy) = (Some(401), remedy);
            failure.request_id = Some("r".into());
            let error = Error::from_failure("upload", failure);
            let acts = (error.is_retryable(), error.needs_new_token());
            assert_eq!(acts, (again, token), "{error:?}");
            assert_eq!((error.status(), error.request_id()), (Some(401), Some("r")));
        }
        for (kind, again) in [
            (ErrorKind::Held, true),
            (ErrorKind::Interrupted, true),
            (ErrorKind::OutcomeUnknown, false),
            (ErrorKind::Usage, false),
        ] {
            let error = Error::new(kind, "m");
            assert_eq!(error.is_retryable(), again, "{kind:?}");
            assert_eq!((error.status(), error.request_id()), (None, None));
        }
    }

    /// All of it, and nothing in it writes on a terminal.
    #[test]
    fn explained() {
        let error = Error::new(ErrorKind::Held, "somebody\x1b[2J is at it").next("wait");
        assert_eq!(
            error.explain(),
            "error: somebody\\u{1b}[2J is at it\nnext: wait"
        );
    }
}
