//! What passes between the network side (accept, faults, link) and the service side (routes, store).

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;

/// What a request asks for. Fault plans name these, in snake case.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `POST /`: form upload.
    Form,
    /// v1: a new block with its first chunk.
    Mkblk,
    /// v1: a further chunk of a block.
    Bput,
    /// v1: the commit.
    Mkfile,
    /// v2: a new upload id.
    Initiate,
    /// v2: one part.
    Part,
    /// v2: the parts so far.
    ListParts,
    /// v2: the commit.
    Complete,
    /// v2: forget the upload id.
    Abort,
    /// One object's properties.
    Stat,
    /// One object removed.
    Delete,
    /// A page of a bucket's objects.
    List,
    /// Several management operations in one.
    Batch,
    /// The hosts of a bucket's region.
    Query,
    /// An object's bytes.
    Get,
    /// Any other management call.
    Manage,
    /// A path that Kodo does not have.
    Unknown,
}

impl Operation {
    /// Whether it is authorised by an upload token.
    pub(crate) fn is_upload(self) -> bool {
        match self {
            Self::Form
            | Self::Mkblk
            | Self::Bput
            | Self::Mkfile
            | Self::Initiate
            | Self::Part
            | Self::ListParts
            | Self::Complete
            | Self::Abort => true,
            Self::Stat
            | Self::Delete
            | Self::List
            | Self::Batch
            | Self::Query
            | Self::Get
            | Self::Manage
            | Self::Unknown => false,
        }
    }

    /// Whether pages in browsers use it, wherever they come from.
    pub(crate) fn is_for_pages(self) -> bool {
        self.is_upload() || self == Self::Query
    }
}

/// What a request is about, as far as it is known before its body is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The bucket, from the path or the token's scope.
    pub(crate) bucket: Option<String>,
    /// The object's key, from the path, the form's fields or the token's scope.
    pub(crate) key: Option<String>,
    /// v2's part number, from 1.
    pub(crate) part_number: Option<u32>,
    /// Length of the body in bytes, where the head says it.
    pub(crate) body_len: Option<u64>,
}

/// Faults that the service side carries out: everything else happens on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    /// The token counts as expired: 401.
    pub(crate) token_expired: bool,
    /// The ctx in the request is forgotten, for good: 701.
    pub(crate) context_expired: bool,
    /// The upload id in the request is forgotten, for good: 612.
    pub(crate) upload_expired: bool,
    /// The first part of the upload in the request is forgotten, for good.
    pub(crate) part_expired: bool,
    /// A ctx that has already been used by a bput is refused: 701.
    pub(crate) replayed_context_refused: bool,
}

/// A request's body while it arrives. An error means that the connection broke or lied.
pub(crate) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// The body did not arrive whole.
#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive whole: {0}")]
pub(crate) struct BodyError(pub(crate) String);

/// What the service side answers. The network side adds `X-Reqid`, `X-Log`, `Date` and the length.
pub(crate) struct Reply {
    /// Three digits; Kodo's own codes go up to 701.
    pub(crate) status: u16,
    /// Beyond those of every answer.
    pub(crate) headers: HeaderMap,
    /// The answer itself.
    pub(crate) body: ReplyBody,
}

/// A reply's body.
pub(crate) enum ReplyBody {
    /// JSON, mostly.
    Bytes(Bytes),
    /// An object's bytes.
    Stream {
        /// How many will come.
        len: u64,
        /// They.
        stream: BodyStream,
    },
}

impl Reply {
    /// A JSON answer.
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::bytes(status, "application/json", body.to_string())
    }

    /// Kodo's shape of an error: `{"error": …}`.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": message }))
    }

    /// An answer of any type. `content_type` must be a valid header value.
    pub(crate) fn bytes(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static(content_type),
        );
        Self {
            status,
            headers,
            body: ReplyBody::Bytes(body.into()),
        }
    }
}
