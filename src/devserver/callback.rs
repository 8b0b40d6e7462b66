//! Telling the policy's `callbackUrl` about a new object.
//!
//! Source: protocol reference, section 7.3. Plain http only: the receiver is a backend under
//! development, next to this server.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::kodo::Credentials;
use crate::kodo::signature::{self, Signable};

/// How long one URL has to connect and to answer. The service's own limit is not published; a
/// developer should see a hanging backend before the client's patience ends.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Longest answer passed on.
const ANSWER_LEN_MAX: usize = 1024 * 1024;

/// What is to be told, and to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callback<'a> {
    /// Joined by `;`, tried in order.
    pub(crate) urls: &'a str,
    /// `Host` header in place of the URL's own.
    pub(crate) host: Option<&'a str>,
    /// Media type of the body.
    pub(crate) content_type: &'static str,
    /// The expanded `callbackBody`.
    pub(crate) body: &'a str,
}

/// Why nobody took a callback: of the last URL tried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotTold {
    /// The URL.
    pub(crate) url: String,
    /// Its status, or 0 if it gave none.
    pub(crate) status: u16,
    /// In words.
    pub(crate) why: String,
}

/// Sends callbacks; keeps connections to their receivers.
#[derive(Clone, Debug)]
pub(crate) struct Callbacks {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Callbacks {
    /// One for a whole server.
    pub(crate) fn new() -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Tells one URL after the other until one answers 200 with JSON; gives that answer.
    pub(crate) async fn tell(
        &self,
        keys: &Credentials,
        callback: Callback<'_>,
    ) -> Result<Bytes, NotTold> {
        let mut failure = NotTold {
            url: callback.urls.to_owned(),
            status: 0,
            why: "no URL".to_owned(),
        };
        let urls = callback.urls.split(';').map(str::trim);
        for url in urls.filter(|url| !url.is_empty()) {
            let told = tokio::time::timeout(TIME_LIMIT, self.tell_one(keys, callback, url)).await;
            let (status, why) = match told {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failed)) => failed,
                Err(_) => (0, format!("no answer within {} s", TIME_LIMIT.as_secs())),
            };
            let url = url.to_owned();
            failure = NotTold { url, status, why };
        }
        Err(failure)
    }

    async fn tell_one(
        &self,
        keys: &Credentials,
        callback: Callback<'_>,
        url: &str,
    ) -> Result<Bytes, (u16, String)> {
        let request = request(keys, callback, url).map_err(|why| (0, why))?;
        let answer = self.client.request(request).await;
        let (head, body) = answer
            .map_err(|error| (0, with_causes(&error)))?
            .into_parts();
        let status = head.status.as_u16();
        let content_type = head.headers.get(CONTENT_TYPE);
        let is_json = content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
        if head.status != StatusCode::OK || !is_json {
            return Err((
                status,
                "the answer is not 200 with application/json".to_owned(),
            ));
        }
        let body = Limited::new(body, ANSWER_LEN_MAX).collect().await;
        let body = body.map_err(|error| (status, error.to_string()))?;
        Ok(body.to_bytes())
    }
}

/// An error and what lies under it: the client's own words only say in which phase it failed.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn request(
    keys: &Credentials,
    callback: Callback<'_>,
    url: &str,
) -> Result<Request<Full<Bytes>>, String> {
    let uri: Uri = url.parse().map_err(|_| "no valid URL".to_owned())?;
    if uri.scheme_str() != Some("http") {
        return Err("the dev server calls back http:// URLs only".to_owned());
    }
    let own_host = uri.authority().map_or("", |it| it.as_str());
    let host = callback.host.unwrap_or(own_host);
    let authorization = signature::qbox(
        keys,
        &Signable {
            method: "POST",
            target: uri.path_and_query().map_or("/", |it| it.as_str()),
            host,
            content_type: Some(callback.content_type),
            headers: &HeaderMap::new(),
            body: callback.body.as_bytes(),
        },
    );
    let mut authorization = HeaderValue::from_str(&authorization).map_err(|it| it.to_string())?;
    authorization.set_sensitive(true);
    Request::post(uri.clone())
        .header(HOST, host)
        .header(CONTENT_TYPE, callback.content_type)
        .header(AUTHORIZATION, authorization)
        .body(Full::from(callback.body.to_owned()))
        .map_err(|_| "the callbackHost is no host".to_owned())
}
