//! The nouns that every room of the house shares.
//!
//! Absent on purpose: files, sockets, clocks, and anything that one storage service says in its own
//! way. That is `kodo`'s.

mod causes;
mod endpoint;
mod failure;
mod message;
mod names;
mod span;
mod trace;

pub(crate) use causes::{cause, chain};
pub use endpoint::{Endpoint, EndpointError};
pub use failure::{Failure, FailureKind, Remedy};
pub use message::{Answer, Body, Request};
pub use names::{BUCKET_LEN_MAX, Bucket, KEY_LEN_MAX, NameError, ObjectKey};
pub use span::ByteSpan;
pub use trace::{Stage, Trace};
