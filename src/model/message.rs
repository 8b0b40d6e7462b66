//! One request and the answer to it, before any socket.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::model::ByteSpan;

/// One HTTP request to some endpoint: all of it but the endpoint and the source's bytes.
///
/// `Debug` is safe to log: headers that carry a secret are marked sensitive, and bodies print as
/// their length.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: Method,
    /// Path and query exactly as sent and signed, beginning with `/`. ASCII.
    pub target: String,
    /// All headers but `Host` and `Content-Length`, which the sender adds.
    pub headers: HeaderMap,
    /// What follows the head.
    pub body: Body,
}

impl Request {
    /// A request without headers or body.
    pub fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: HeaderMap::new(),
            body: Body::Empty,
        }
    }

    /// The same request with one header more. A value that no header can hold is a bug of the
    /// caller: every value we send is ASCII by construction.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""));
        self.headers.insert(name, value);
        self
    }

    /// The same request with the `Authorization` header, marked sensitive.
    #[must_use]
    pub fn authorization(mut self, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(http::header::AUTHORIZATION, value);
        }
        self
    }

    /// The same request with this body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// What a request carries.
#[derive(Clone)]
pub enum Body {
    /// Nothing; `Content-Length: 0` where the method calls for one.
    Empty,
    /// A few bytes held in memory: JSON, a list of contexts.
    Bytes(Bytes),
    /// A stretch of the source, read while it is sent, between two held pieces. A segment has empty
    /// ones; a form has its fields before and its closing boundary after.
    Source {
        /// Sent before the span.
        before: Bytes,
        /// Which bytes of the source.
        span: ByteSpan,
        /// Sent after the span.
        after: Bytes,
    },
}

impl Body {
    /// A body that is a stretch of the source and nothing else.
    pub fn source(span: ByteSpan) -> Self {
        Self::Source {
            before: Bytes::new(),
            span,
            after: Bytes::new(),
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Source {
                before,
                span,
                after,
            } => before.len() as u64 + span.len + after.len() as u64,
        }
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Body {
    /// The length only: a form's head holds the upload token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

/// What came back: a whole HTTP answer, its body held in memory and bounded by whoever read it.
///
/// `Debug` is safe to log: the body, which may repeat the upload token, prints as its length.
#[derive(Clone)]
pub struct Answer {
    /// Kodo uses codes up to 701, so this is any number of three digits.
    pub status: StatusCode,
    /// All of its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body_len", &self.body.len())
            .finish()
    }
}

impl Answer {
    /// A header's value as text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
