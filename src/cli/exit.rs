//! Exit codes: the only place that turns an error into a number.

use crate::error::{Error, ErrorKind};

/// Done, and verified.
pub(crate) const DONE: u8 = 0;

/// The exit code of `error`, as the README's table has it.
pub(crate) fn code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Usage | ErrorKind::Config => 2,
        ErrorKind::Unauthorized
        | ErrorKind::Forbidden
        | ErrorKind::TooLarge
        | ErrorKind::NoSuchBucket
        | ErrorKind::NoSuchObject
        | ErrorKind::Exists
        | ErrorKind::Refused => 4,
        ErrorKind::Source | ErrorKind::SourceChanged => 5,
        ErrorKind::NoConnection | ErrorKind::NotKodo => 6,
        ErrorKind::CallbackFailed => 7,
        ErrorKind::Interrupted => 130,
        ErrorKind::Mismatch
        | ErrorKind::Unfinished
        | ErrorKind::Held
        | ErrorKind::OutcomeUnknown
        | ErrorKind::ShutDown
        | ErrorKind::Local => 1,
    }
}
