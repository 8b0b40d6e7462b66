//! What browsers want to know before a page from elsewhere may use the service (CORS).
//!
//! The official JavaScript SDK uploads from pages of any origin, so Kodo lets all of them use the
//! upload plane and the region query; so does this. Nothing else here is for pages: objects, the
//! management plane and the dev server's own controls stay closed to them. Source: WHATWG Fetch,
//! "HTTP CORS protocol".

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
};
use http::{HeaderMap, HeaderValue};

use crate::devserver::exchange::Reply;

/// How long a browser may keep what it was told, in seconds: a day, the most that any takes.
const MAX_AGE: &str = "86400";

/// Answers the question that a browser asks before a request with headers of its own. Whatever
/// headers it names are fine: a token says more than an origin does.
pub(crate) fn preflight(request: &HeaderMap) -> Reply {
    let mut reply = Reply::bytes(200, "application/json", "{}");
    let methods = HeaderValue::from_static("GET, POST, PUT, DELETE");
    reply.headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    let max_age = HeaderValue::from_static(MAX_AGE);
    reply.headers.insert(ACCESS_CONTROL_MAX_AGE, max_age);
    if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        let headers = &mut reply.headers;
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    open(&mut reply);
    reply
}

/// Lets pages of any origin read this reply.
pub(crate) fn open(reply: &mut Reply) {
    let any = HeaderValue::from_static("*");
    reply.headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, any);
    let exposed = HeaderValue::from_static("X-Reqid, X-Log");
    reply.headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}
