//! The management plane: region query, stat, list, delete. Small JSON calls, by reqwest.
//!
//! It shares the setup of TLS and proxies with the upload plane and no connection, so that it never
//! waits behind a body. An overall limit is right here: these calls carry no body worth mentioning.

use std::time::Duration;
#[cfg(test)]
use std::{fmt, pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use crate::model::{Answer, Body, Endpoint, Failure, FailureKind, Request, cause, chain};
use crate::network::{Proxies, Proxy, explain};

/// Longest time for a call: a page of 1000 objects (about 300 KB) at 64 kbit/s takes 40 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// Longest answer read, in bytes: a page of 1000 objects whose keys are all of the longest kind,
/// written as JSON escapes, has about 5 MB.
const ANSWER_LEN_MAX: usize = 8 << 20;

/// How reqwest and the library below it say that there is no connection, before they say why.
const LAYERS: &str = "error sending request: client error (Connect): ";

/// Sends management calls. Cloning shares its connections.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    way: Way,
}

/// What carries the calls.
#[derive(Clone, Debug)]
enum Way {
    Internet {
        /// Or why there is none.
        client: Result<Client, Failure>,
        proxies: Proxies,
    },
    #[cfg(test)]
    Other(Arc<dyn Call>),
}

/// Something else that carries calls: in virtual time there are no sockets.
#[cfg(test)]
pub(crate) trait Call: fmt::Debug + Send + Sync {
    /// Sends `request` to `endpoint` and reads the whole answer.
    fn call<'a>(&'a self, endpoint: &'a Endpoint, request: Request) -> Calling<'a>;
}

/// What [`Call::call`] answers.
#[cfg(test)]
pub(crate) type Calling<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

impl Api {
    /// An API plane that encrypts with `tls` and goes through `proxies`.
    pub(crate) fn new(
        tls: rustls::ClientConfig,
        proxies: Proxies,
        connect_timeout: Duration,
    ) -> Self {
        let builder = Client::builder()
            .timeout(CALL_TIMEOUT)
            .connect_timeout(connect_timeout)
            // A redirect would take the signature to another host.
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            // Not what reqwest finds in the environment: both planes take the same way.
            .no_proxy()
            .proxy(proxy_of(proxies.clone()));
        // reqwest's own default of 30 s ends calls that the limit above allows.
        #[cfg(target_os = "linux")]
        let builder = builder.tcp_user_timeout(CALL_TIMEOUT);
        let client = builder.tls_backend_preconfigured(tls).build();
        let client = client.map_err(|error| failure(FailureKind::Connect, error));
        Self {
            way: Way::Internet { client, proxies },
        }
    }

    /// An API plane whose calls something else carries.
    #[cfg(test)]
    pub(crate) fn over(call: Arc<dyn Call>) -> Self {
        let way = Way::Other(call);
        Self { way }
    }

    /// Sends `request` to `endpoint` and reads the whole answer.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        request: Request,
    ) -> Result<Answer, Failure> {
        let line = format!("{} {endpoint}{}", request.method, request.target);
        let result = match &self.way {
            Way::Internet { client, proxies } => {
                let through = proxies.find(endpoint);
                match client {
                    Ok(client) => send(client, endpoint, request, through).await,
                    Err(failure) => Err(failure.clone()),
                }
            }
            #[cfg(test)]
            Way::Other(call) => call.call(endpoint, request).await,
        };
        match &result {
            Ok(answer) => tracing::debug!(status = answer.status.as_u16(), "{line}"),
            Err(failure) => tracing::debug!(%failure, "{line}"),
        }
        result
    }
}

/// Sends `request` and reads the whole answer; `through` is the proxy that it goes through.
async fn send(
    client: &Client,
    endpoint: &Endpoint,
    request: Request,
    through: Option<&Proxy>,
) -> Result<Answer, Failure> {
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
    let sent = call.send().await;
    let response = sent.map_err(|error| unanswered(endpoint, through, error))?;
    // In a tunnel the proxy says nothing any more.
    let forwards = through.filter(|_| !endpoint.is_https());
    let refused = forwards.and_then(|proxy| {
        let why = proxy.refused(response.status(), response.headers())?;
        Some(format!(
            "no connection to {endpoint} through the proxy {proxy}: {why}"
        ))
    });
    if let Some(message) = refused {
        return Err(Failure::new(FailureKind::Connect, message));
    }
    read(response).await
}

/// The proxies as reqwest takes them.
fn proxy_of(proxies: Proxies) -> reqwest::Proxy {
    reqwest::Proxy::custom(move |url| {
        let endpoint = Endpoint::parse(&url.origin().ascii_serialization(), true).ok()?;
        let proxy = proxies.find(&endpoint)?;
        Some(proxy.expose().to_owned())
    })
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
fn unanswered(endpoint: &Endpoint, through: Option<&Proxy>, error: reqwest::Error) -> Failure {
    let way = through.map(|proxy| format!(" through the proxy {proxy}"));
    let way = way.unwrap_or_default();
    let tls = cause::<rustls::Error>(&error).map(explain);
    let kind = match () {
        () if tls.is_some() => FailureKind::Tls,
        () if error.is_connect() => FailureKind::Connect,
        () if error.is_timeout() => FailureKind::TimedOut,
        () => FailureKind::Broken,
    };
    let is_made = !matches!(kind, FailureKind::Tls | FailureKind::Connect);
    let what = if is_made { "" } else { "no connection to " };
    let mut failure = failure(kind, error);
    let why = match (tls, through) {
        (Some(why), _) => why,
        // The library keeps this error's type for itself; the words are for people only.
        (None, Some(proxy)) if failure.message.ends_with("proxy authorization required") => {
            proxy.refusal(StatusCode::PROXY_AUTHENTICATION_REQUIRED)
        }
        _ => failure.message.replacen(LAYERS, "", 1),
    };
    failure.message = format!("{what}{endpoint}{way}: {why}");
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
