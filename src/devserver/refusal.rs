//! A request that is answered with an error.

use std::borrow::Cow;

use crate::devserver::exchange::{BodyError, Reply};
use crate::devserver::store::StoreError;

/// Status and text of an error answer: small, so that it travels in `Result`s by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// One of the codes of the protocol reference, section 8.1.
    pub(crate) status: u16,
    /// What stands in `error`.
    pub(crate) message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal; clients compare some of these texts, so they are Kodo's where those are known.
    pub(crate) fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// 612 for an object; an upload id has its own words.
    pub(crate) fn no_object() -> Self {
        Self::new(612, "no such file or directory")
    }

    /// 631.
    pub(crate) fn no_bucket() -> Self {
        Self::new(631, "no such bucket")
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::error(refusal.status, &refusal.message)
    }
}

impl From<BodyError> for Refusal {
    /// Hardly ever seen by anyone: the connection that would carry it broke.
    fn from(error: BodyError) -> Self {
        Self::new(400, error.to_string())
    }
}

impl From<StoreError> for Refusal {
    /// 599 with the reason, which is also logged: it is the developer's own disk.
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "the store failed");
        Self::new(599, error.to_string())
    }
}
