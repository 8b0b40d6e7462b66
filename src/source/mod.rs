//! The local file: opened once, read by position, watched for change.
//!
//! One open descriptor is the source from the first byte to the commit, so a rename changes
//! nothing. A file that changes under the reader is noticed before anything is committed.

mod file;
mod identity;
#[cfg(test)]
mod tests;

pub(crate) use file::{FileSource, SpanReader};
