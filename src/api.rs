//! The management plane: region query, stat, list, delete. Small JSON calls, by reqwest.
//!
//! It shares the TLS configuration with the upload plane and nothing else, so that it never waits
//! behind a body. An overall limit is right here: these calls carry no body worth mentioning.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::model::{Answer, Body, Endpoint, Failure, FailureKind, Request, cause, chain};
use crate::network::explain;

/// Longest time for a call: a page of 1000 objects (about 300 KB) at 64 kbit/s takes 40 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// Longest answer read, in bytes: a page of 1000 objects whose keys are all of the longest kind,
/// written as JSON escapes, has about 5 MB.
const ANSWER_LEN_MAX: usize = 8 << 20;

/// Sends management calls. Cloning shares its connections.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// Or why there is none.
    client: Result<Client, Failure>,
}

impl Api {
    /// An API plane that encrypts with `tls`.
    pub(crate) fn new(tls: rustls::ClientConfig, connect_timeout: Duration) -> Self {
        let builder = Client::builder()
            .timeout(CALL_TIMEOUT)
            .connect_timeout(connect_timeout)
            // A redirect would take the signature to another host.
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            // The upload plane knows no proxy yet, and both must take the same way.
            .no_proxy();
        // reqwest's own default of 30 s ends calls that the limit above allows.
        #[cfg(target_os = "linux")]
        let builder = builder.tcp_user_timeout(CALL_TIMEOUT);
        let client = builder.tls_backend_preconfigured(tls).build();
        let client = client.map_err(|error| failure(FailureKind::Connect, error));
        Self { client }
    }

    /// Sends `request` to `endpoint` and reads the whole answer.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        request: Request,
    ) -> Result<Answer, Failure> {
        let line = format!("{} {endpoint}{}", request.method, request.target);
        let result = self.send_unlogged(endpoint, request).await;
        match &result {
            Ok(answer) => tracing::debug!(status = answer.status.as_u16(), "{line}"),
            Err(failure) => tracing::debug!(%failure, "{line}"),
        }
        result
    }

    async fn send_unlogged(
        &self,
        endpoint: &Endpoint,
        request: Request,
    ) -> Result<Answer, Failure> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let url = exact_url(endpoint, &request.target)?;
        let body = match request.body {
            Body::Empty => Bytes::new(),
            Body::Bytes(bytes) => bytes,
            Body::Source { .. } => {
                let why = "management calls carry no source";
                return Err(Failure::new(FailureKind::BadRequest, why));
            }
        };
        let has_body = !body.is_empty() || request.method == http::Method::POST;
        let mut call = client
            .request(request.method, url)
            .headers(request.headers)
            .header(http::header::HOST, endpoint.authority());
        if has_body {
            call = call.body(body);
        }
        let response = call
            .send()
            .await
            .map_err(|error| unanswered(endpoint, error))?;
        read(response).await
    }
}

/// The whole answer, bounded.
async fn read(mut response: reqwest::Response) -> Result<Answer, Failure> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| failure(FailureKind::Broken, error))?
    {
        if body.len() + piece.len() > ANSWER_LEN_MAX {
            let why = format!("the answer is longer than {ANSWER_LEN_MAX} bytes");
            return Err(Failure::new(FailureKind::NotKodo, why));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer {
        status,
        headers,
        body: body.freeze(),
    })
}

/// The URL, if it says exactly what is signed: the parser must not have tidied the target up.
fn exact_url(endpoint: &Endpoint, target: &str) -> Result<Url, Failure> {
    let refuse = |why: String| Failure::new(FailureKind::BadRequest, why);
    let url = Url::parse(&format!("{endpoint}{target}"))
        .map_err(|error| refuse(format!("{endpoint}{target}: {error}")))?;
    let kept = match url.query() {
        Some(query) => target == format!("{}?{query}", url.path()),
        None => target == url.path(),
    };
    if !kept {
        return Err(refuse(format!("{target} cannot be sent as it is")));
    }
    Ok(url)
}

/// The failure of a call that got no answer.
fn unanswered(endpoint: &Endpoint, error: reqwest::Error) -> Failure {
    if let Some(error) = cause::<rustls::Error>(&error) {
        let message = format!("no connection to {endpoint}: {}", explain(error));
        return Failure::new(FailureKind::Tls, message);
    }
    let kind = match () {
        () if error.is_connect() => FailureKind::Connect,
        () if error.is_timeout() => FailureKind::TimedOut,
        () => FailureKind::Broken,
    };
    let mut failure = failure(kind, error);
    failure.message = format!("{endpoint}: {}", failure.message);
    failure
}

/// A reqwest error with its causes and without its URL, which may hold a token.
fn failure(kind: FailureKind, error: reqwest::Error) -> Failure {
    Failure::new(kind, chain(&error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is signed is what is sent: the URL parser keeps the target, or the call is refused.
    #[test]
    fn targets_survive() {
        let endpoint = Endpoint::parse("http://rs.example:80", true).unwrap();
        for kept in [
            "/stat/bXktYnVja2V0OmEudHh0",
            "/stat/Ym46a2V5PQ==",
            "/list?bucket=b&prefix=a%2Fb&limit=1000",
            "/a//b",
            "/",
        ] {
            assert!(exact_url(&endpoint, kept).is_ok(), "{kept}");
        }
        for changed in ["/a/../b", "/a b", "/list?prefix='", "/a#b", "/é"] {
            assert!(exact_url(&endpoint, changed).is_err(), "{changed}");
        }
    }
}
