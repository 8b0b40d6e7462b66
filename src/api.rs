//! The management plane: region query, stat, list, delete. Small JSON calls, by reqwest.
//!
//! It shares the setup of TLS and proxies with the upload plane and no connection, so that it never
//! waits behind a body. An overall limit is right here: these calls carry no body worth mentioning.
//! What they wait for is an answer, so `response_timeout` is their limit, as it is that of an upload's
//! requests; a long answer has time to arrive beside it.

use std::time::Duration;
#[cfg(test)]
use std::{fmt, pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode, Url};

use crate::model::{Answer, Body, Endpoint, Failure, FailureKind, Request, cause, chain};
use crate::network::{Proxies, Proxy, explain, remedy};

/// How much longer an answer may take once it has begun to come: a page of 1000 objects (about 300 KB)
/// at 64 kbit/s takes 40 s, and bodies may be under way beside it.
const ARRIVAL: Duration = Duration::from_secs(120);

/// Longest answer read, in bytes: a page of 1000 objects whose keys are all of the longest kind,
/// written as JSON escapes, has about 5 MB.
const ANSWER_LEN_MAX: usize = 8 << 20;

/// Connections that rest for the next call, of each host. Calls are rare, but many uploads that lost an
/// answer at once all ask at once whether their object is there, and reqwest would keep every one of those
/// connections for 90 s.
const IDLE_MAX: usize = 4;

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
    Internet(Box<Internet>),
    #[cfg(test)]
    Other(Arc<dyn Call>),
}

/// A client for each way there is, or why it cannot be made. Which way a call takes is decided here
/// and nowhere else: a library that cannot use a proxy's URL must not go past the proxy.
#[derive(Clone, Debug)]
struct Internet {
    proxies: Proxies,
    limits: CallLimits,
    direct: Result<Client, Failure>,
    /// To plain hosts through their proxy.
    http: Result<Client, Failure>,
    /// To hosts that encrypt through theirs.
    https: Result<Client, Failure>,
}

/// How long a call may take, each a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallLimits {
    /// Until there is a connection.
    pub(crate) connect_timeout: Duration,
    /// From there to the answer, and between two pieces of it.
    pub(crate) response_timeout: Duration,
}

impl CallLimits {
    /// How long nothing may come. The library does not tell when the connection is there, so the time
    /// for that is added.
    fn silence(self) -> Duration {
        self.connect_timeout.saturating_add(self.response_timeout)
    }

    /// How long the whole call may take.
    fn whole(self) -> Duration {
        self.silence().saturating_add(ARRIVAL)
    }
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
    pub(crate) fn new(tls: rustls::ClientConfig, proxies: Proxies, limits: CallLimits) -> Self {
        let through = |https| client(&tls, proxies.proxy(https), limits);
        let internet = Internet {
            limits,
            direct: client(&tls, None, limits),
            http: through(false),
            https: through(true),
            proxies,
        };
        Self {
            way: Way::Internet(Box::new(internet)),
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
            Way::Internet(internet) => internet.send(endpoint, request).await,
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

impl Internet {
    async fn send(&self, endpoint: &Endpoint, request: Request) -> Result<Answer, Failure> {
        let through = self.proxies.find(endpoint);
        let client = match (through, endpoint.is_https()) {
            (None, _) => &self.direct,
            (Some(_), false) => &self.http,
            (Some(_), true) => &self.https,
        };
        let client = client.as_ref().map_err(Clone::clone)?;
        let call = call(client, endpoint, request)?;
        let sent = call.send().await;
        let response = sent.map_err(|error| self.unanswered(endpoint, through, error))?;
        // In a tunnel the proxy says nothing any more.
        let forwards = through.filter(|_| !endpoint.is_https());
        let refused = forwards.and_then(|proxy| {
            let why = proxy.refused(response.status(), response.headers())?;
            Some(format!(
                "no connection to {endpoint} through the proxy {proxy}: {why}"
            ))
        });
        match refused {
            Some(message) => Err(Failure::new(FailureKind::Connect, message)),
            None => self.read(endpoint, response).await,
        }
    }

    /// The whole answer, bounded.
    async fn read(
        &self,
        endpoint: &Endpoint,
        mut response: reqwest::Response,
    ) -> Result<Answer, Failure> {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        let cut = |error| self.unanswered(endpoint, None, error);
        while let Some(piece) = response.chunk().await.map_err(cut)? {
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

    /// The failure of a call that got no answer, or not all of one.
    fn unanswered(
        &self,
        endpoint: &Endpoint,
        through: Option<&Proxy>,
        error: reqwest::Error,
    ) -> Failure {
        let way = through.map(|proxy| format!(" through the proxy {proxy}"));
        let way = way.unwrap_or_default();
        let tls = cause::<rustls::Error>(&error).map(explain);
        let mut mend = cause::<rustls::Error>(&error).and_then(remedy);
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
            (None, _) if failure.kind == FailureKind::TimedOut => format!(
                "no answer in {} s (connect_timeout and response_timeout)",
                self.limits.silence().as_secs_f64()
            ),
            // The library keeps this error's type for itself; the words are for people only.
            (None, Some(proxy)) if failure.message.ends_with("proxy authorization required") => {
                mend = Proxy::remedy(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
                proxy.refusal(StatusCode::PROXY_AUTHENTICATION_REQUIRED)
            }
            _ => failure.message.replacen(LAYERS, "", 1),
        };
        failure.message = format!("{what}{endpoint}{way}: {why}");
        failure.remedy = mend;
        failure
    }
}

/// A client whose every call goes through `proxy`, or through none.
fn client(
    tls: &rustls::ClientConfig,
    proxy: Option<&Proxy>,
    limits: CallLimits,
) -> Result<Client, Failure> {
    let mut builder = Client::builder()
        .timeout(limits.whole())
        .read_timeout(limits.silence())
        .connect_timeout(limits.connect_timeout)
        // A redirect would take the signature to another host.
        .redirect(Policy::none())
        .referer(false)
        .http1_only()
        .pool_max_idle_per_host(IDLE_MAX)
        // Not what reqwest finds in the environment: both planes take the same way.
        .no_proxy();
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy_for_library(proxy)?);
    }
    // reqwest's own default of 30 s ends calls that the limits above allow.
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(limits.whole());
    let client = builder.tls_backend_preconfigured(tls.clone()).build();
    client.map_err(|error| failure(FailureKind::Connect, error))
}

/// `proxy` as reqwest takes it, if it reads the URL as we do: it ignores proxies that it cannot read.
fn proxy_for_library(proxy: &Proxy) -> Result<reqwest::Proxy, Failure> {
    let refuse = || {
        let why = format!("the proxy {proxy} cannot be used for management calls");
        Failure::new(FailureKind::Connect, why)
    };
    let url = Url::parse(proxy.expose()).map_err(|_| refuse())?;
    let read: http::Uri = url.as_str().parse().map_err(|_| refuse())?;
    if read.host() != proxy.uri().host() {
        return Err(refuse());
    }
    reqwest::Proxy::all(url).map_err(|_| refuse())
}

/// `request` as reqwest takes it.
fn call(client: &Client, endpoint: &Endpoint, request: Request) -> Result<RequestBuilder, Failure> {
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
    let call = client
        .request(request.method, url)
        .headers(request.headers)
        .header(http::header::HOST, endpoint.authority());
    Ok(match has_body {
        true => call.body(body),
        false => call,
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

/// A reqwest error with its causes and without its URL, which may hold a token.
fn failure(kind: FailureKind, error: reqwest::Error) -> Failure {
    Failure::new(kind, chain(&error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is taken for a proxy's URL is read alike by both planes, or refused by this one.
    #[test]
    fn proxies_are_read_alike() {
        for url in [
            "http://p",
            "https://me:p%40ss%3a@p.example:8443",
            "socks5://me:pass@[::1]:1",
            "socks5h://p_x.example",
            "http://127.0.0.1:3128",
            "http://a!b$c:d'e*f@p:1",
        ] {
            let proxy = Proxy::parse(url).unwrap();
            assert!(proxy_for_library(&proxy).is_ok(), "{url}");
        }
        // Another way to write 127.0.0.1, for this library only.
        let odd = Proxy::parse("http://0x7f.1:3128").unwrap();
        assert!(proxy_for_library(&odd).is_err());
    }

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
