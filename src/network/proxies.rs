//! Which proxy a connection goes through, if any: by setting, else by the environment's variables.
//!
//! The rules are curl's. `http_proxy` counts in lower case only: where a web server runs programs,
//! `HTTP_PROXY` holds what a stranger's `Proxy:` header said.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::model::{Endpoint, Remedy};
use crate::network::exempt::{through, useless};

/// The variables that name proxies, those of HTTPS first: that is what uploads use.
pub(crate) const PROXY_VARIABLES: [&str; 5] = [
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "all_proxy",
    "ALL_PROXY",
];

/// The variables that exempt hosts.
pub(crate) const NO_PROXY_VARIABLES: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Longest user name and longest password that SOCKS5 can carry, in bytes (RFC 1929).
const SOCKS_TEXT_MAX: usize = 255;

/// What is encoded in user names and passwords that were written as they are: everything that would
/// end them. `%` stays, for what is encoded already.
const USER_INFO: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'%');

/// The setting that means: none, whatever the environment says.
const NONE: &str = "none";

/// Which endpoint is reached through which proxy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Arc<Proxy>>,
    https: Option<Arc<Proxy>>,
    /// Matches what is *not* exempt; none exempts everything.
    through: Option<Arc<Matcher>>,
}

/// A proxy. Shown without its credentials.
#[derive(Clone)]
pub(crate) struct Proxy {
    /// As it was given: secret, for it may hold a password.
    url: Zeroizing<String>,
    kind: Kind,
    intercept: Intercept,
    /// It was given without a port.
    assumes_port: bool,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `http://` and `https://`: by HTTP, in plain or encrypted.
    Http {
        /// Whether the connection to it is encrypted.
        encrypted: bool,
    },
    /// `socks5://` and `socks5h://`.
    Socks {
        /// Whether it is asked to find names itself.
        finds_names: bool,
    },
}

impl Proxies {
    /// By what a person set, else by the environment's `variable`s. A `proxy` of `none` means none.
    ///
    /// The error says which of them is wrong, and shows no password.
    pub(crate) fn new(
        proxy: Option<&str>,
        no_proxy: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let first = |names: &[&str]| {
            let mut set = names
                .iter()
                .filter_map(|name| Some((*name, variable(name)?)));
            set.find(|(_, text)| !text.is_empty())
                .map(|(name, text)| (name.to_owned(), Zeroizing::new(text)))
        };
        let (http, https) = match proxy {
            Some(NONE) => return Ok(Self::default()),
            Some(url) => {
                let both = Some(("proxy".to_owned(), Zeroizing::new(url.to_owned())));
                (both.clone(), both)
            }
            None => (
                first(&PROXY_VARIABLES[2..]),
                first(&PROXY_VARIABLES[..2]).or_else(|| first(&PROXY_VARIABLES[3..])),
            ),
        };
        let parse = |named: Option<(String, Zeroizing<String>)>| {
            let read = named.map(|(name, url)| {
                Proxy::parse(&url).map_err(|why| format!("{name} is wrong: {why}"))
            });
            read.transpose()
        };
        let (http, https) = (parse(http)?, parse(https)?);
        let is_any = http.is_some() || https.is_some();
        let exempt = match no_proxy {
            Some(list) => match useless(list).next() {
                Some(why) => return Err(format!("no_proxy is wrong: {why}")),
                None => list.to_owned(),
            },
            None => first(&NO_PROXY_VARIABLES)
                .map(|(name, list)| {
                    // It was made for other programs too: no reason to stop.
                    for why in useless(&list).filter(|_| is_any) {
                        tracing::warn!("{name} in the environment: {why}");
                    }
                    list.to_string()
                })
                .unwrap_or_default(),
        };
        Ok(Self {
            http: http.map(Arc::new),
            https: https.map(Arc::new),
            through: through(&exempt),
        })
    }

    /// The proxy of hosts that encrypt, or of the others; some may be exempt.
    pub(crate) fn proxy(&self, https: bool) -> Option<&Proxy> {
        match https {
            true => self.https.as_deref(),
            false => self.http.as_deref(),
        }
    }

    /// The proxy to `endpoint`, if there is one.
    pub(crate) fn find(&self, endpoint: &Endpoint) -> Option<&Proxy> {
        let uri: Uri = format!("{endpoint}/").parse().ok()?;
        self.through.as_ref()?.intercept(&uri)?;
        self.proxy(endpoint.is_https())
    }
}

impl Proxy {
    /// Reads `scheme://[user:password@]host[:port]`; without a scheme it is an HTTP proxy. Special
    /// characters in user and password may be percent-encoded; `%` must be. Without a port it is the
    /// scheme's own, as in any URL (curl takes 1080 for all but `https`).
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        const RIGHT: &str = "right would be `http://host:port`, `https://…`, `socks5://…` or \
                             `socks5h://…`, with `user:password@` before the host if it wants them";
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (kind, port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http { encrypted: false }, 80),
            "https" => (Kind::Http { encrypted: true }, 443),
            "socks5" => (Kind::Socks { finds_names: false }, 1080),
            "socks5h" => (Kind::Socks { finds_names: true }, 1080),
            other => {
                return Err(format!(
                    "`{other}` is no kind of proxy that haul knows; {RIGHT}"
                ));
            }
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (user, host) = authority
            .rsplit_once('@')
            .map_or(("", authority), |(a, b)| (a, b));
        // The host's rules are an endpoint's.
        let endpoint = Endpoint::parse(&format!("http://{host}"), false)
            .map_err(|_| format!("it names no host and port; {RIGHT}"))?;
        let given = endpoint.authority() != endpoint.host() && !endpoint.authority().ends_with(']');
        let port = if given { endpoint.port() } else { port };
        let host = match endpoint.host() {
            address if address.contains(':') => format!("[{address}]"),
            name => name.to_owned(),
        };
        let at = if user.is_empty() { "" } else { "@" };
        let user = Zeroizing::new(utf8_percent_encode(user, USER_INFO).to_string());
        let user = user.as_str();
        let scheme = scheme.to_ascii_lowercase();
        let url = Zeroizing::new(format!("{scheme}://{user}{at}{host}:{port}"));
        let intercept = Matcher::builder()
            .all(url.as_str())
            .build()
            .intercept(&Uri::from_static("http://endpoint.invalid/"))
            .ok_or_else(|| format!("its user name or password is not percent-encoded; {RIGHT}"))?;
        let proxy = Self {
            url,
            kind,
            intercept,
            assumes_port: !given,
        };
        match proxy.credentials() {
            Some((user, password)) if user.len().max(password.len()) > SOCKS_TEXT_MAX => Err(
                format!("its user name or password is longer than {SOCKS_TEXT_MAX} bytes"),
            ),
            _ => Ok(proxy),
        }
    }

    /// How it is spoken to.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Its scheme, host and port, without credentials.
    pub(crate) fn uri(&self) -> &Uri {
        self.intercept.uri()
    }

    /// Name or address, without brackets.
    pub(crate) fn host(&self) -> &str {
        let host = self.uri().host().unwrap_or_default();
        host.trim_matches(['[', ']'])
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.uri().port_u16().unwrap_or_default()
    }

    /// What there is to say of a port that nobody named.
    pub(crate) fn assumed_port(&self) -> String {
        match self.assumes_port {
            true => format!(" (port {}, since none is named)", self.port()),
            false => String::new(),
        }
    }

    /// Value of `Proxy-Authorization`, if it has credentials and speaks HTTP. Secret.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.intercept.basic_auth()
    }

    /// User name and password, if it has them and speaks SOCKS. Secret.
    pub(crate) fn credentials(&self) -> Option<(&str, &str)> {
        self.intercept.raw_auth()
    }

    /// The whole URL. Secret.
    pub(crate) fn expose(&self) -> &str {
        &self.url
    }

    /// Whether an answer to a request that it was to forward is its own, for want of credentials;
    /// then what that means. Some proxies say 401, as a server would; but Kodo's carries `X-Reqid`.
    pub(crate) fn refused(&self, status: StatusCode, headers: &HeaderMap) -> Option<String> {
        let is_its_own = match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => true,
            StatusCode::UNAUTHORIZED => !headers.contains_key("x-reqid"),
            _ => false,
        };
        let forwards = matches!(self.kind, Kind::Http { .. });
        (forwards && is_its_own).then(|| self.refusal(status))
    }

    /// What a person has to do about its refusal; none where time may mend it.
    pub(crate) fn remedy(status: StatusCode) -> Option<Remedy> {
        let wants_user = matches!(
            status,
            StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED
        );
        wants_user.then_some(Remedy::ProxyUser)
    }

    /// What its answer to `CONNECT` means, when that is no success.
    pub(crate) fn refusal(&self, status: StatusCode) -> String {
        let wants_user = Self::remedy(status).is_some();
        let hint = match (wants_user, self.authorization()) {
            (false, _) => "",
            (true, Some(_)) => {
                ": it does not accept the user name and password of the `proxy` setting"
            }
            (true, None) => {
                ": it wants a user name and password (`proxy` = http://user:password@host:port)"
            }
        };
        format!("it refused with status {status}{hint}")
    }
}

/// A proxy's URL as it may be shown, right or wrong: without its password.
#[cfg(any(feature = "cli", test))]
pub(crate) fn masked(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else {
        return url.to_owned();
    };
    let (scheme, user) = before.split_once("://").unwrap_or(("", before));
    let colon = if scheme.is_empty() { "" } else { "://" };
    // A user name alone may be a token.
    let name = user.split_once(':').map(|(name, _)| format!("{name}:"));
    let name = name.unwrap_or_default();
    format!("{scheme}{colon}{name}********@{host}")
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.uri().to_string();
        f.write_str(text.trim_end_matches('/'))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, String> {
        Proxies::new(None, None, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    fn found(proxies: &Proxies, endpoint: &str) -> String {
        let endpoint = Endpoint::parse(endpoint, true).unwrap();
        proxies
            .find(&endpoint)
            .map(Proxy::to_string)
            .unwrap_or_default()
    }

    /// What the variables say, and where it leads.
    #[test]
    fn the_environment_as_curl_reads_it() {
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);
        let https = "https://up.example";
        let http = "http://up.example";
        let p = "http://p:3128";
        let rows: [Row<'_>; 12] = [
            ("nothing", &[], https, ""),
            ("https", &[("https_proxy", p)], https, p),
            ("its own scheme only", &[("https_proxy", p)], http, ""),
            ("capitals", &[("HTTPS_PROXY", "p:3128")], https, p),
            ("http", &[("http_proxy", p)], http, p),
            ("a header of a stranger's", &[("HTTP_PROXY", p)], http, ""),
            (
                "all",
                &[("ALL_PROXY", "socks5h://s")],
                http,
                "socks5h://s:1080",
            ),
            (
                "the more exact one",
                &[("all_proxy", "socks5://s"), ("https_proxy", p)],
                https,
                p,
            ),
            ("empty", &[("https_proxy", "")], https, ""),
            (
                "exempt",
                &[("https_proxy", p), ("NO_PROXY", "x, .example")],
                https,
                "",
            ),
            (
                "all exempt",
                &[("https_proxy", p), ("no_proxy", "*")],
                "https://10.0.0.1",
                "",
            ),
            (
                "a net",
                &[("https_proxy", p), ("no_proxy", "10.0.0.0/8,[::1]")],
                "https://[::1]",
                "",
            ),
        ];
        for (story, variables, endpoint, expected) in rows {
            assert_eq!(
                found(&proxies(variables).unwrap(), endpoint),
                expected,
                "{story}"
            );
        }
    }

    /// A setting goes before the variables; `none` switches them off; their exemptions stay.
    #[test]
    fn settings_go_first() {
        let variable = |name: &str| match name {
            "https_proxy" => Some("http://environment:1".to_owned()),
            "no_proxy" => Some("kept.example".to_owned()),
            _ => None,
        };
        let rows = [
            (None, None, "https://up.example", "http://environment:1"),
            (
                Some("socks5://set:2"),
                None,
                "https://up.example",
                "socks5://set:2",
            ),
            (Some("socks5://set:2"), None, "https://kept.example", ""),
            (
                Some("socks5://set:2"),
                Some(""),
                "https://kept.example",
                "socks5://set:2",
            ),
            (None, Some("up.example"), "https://up.example", ""),
            (Some("none"), None, "https://up.example", ""),
        ];
        for (proxy, no_proxy, endpoint, expected) in rows {
            let proxies = Proxies::new(proxy, no_proxy, variable).unwrap();
            assert_eq!(
                found(&proxies, endpoint),
                expected,
                "{proxy:?} {no_proxy:?} {endpoint}"
            );
        }
    }

    proptest::proptest! {
        /// No text makes the parser panic, and no password is shown, however odd.
        #[test]
        fn odd_urls(url in "[a-z:/@%.\\[\\]0-9é ]{0,24}", password in "[a-zA-Z0-9%:/@]{0,6}") {
            let _ = Proxy::parse(&url);
            let url = format!("http://me:{password}HUSH{password}@{url}");
            let shown = format!("{:?} {}", Proxy::parse(&url), masked(&url));
            proptest::prop_assert!(!shown.contains("HUSH"), "{}", shown);
        }
    }

    /// What a person may write for a proxy, what it becomes, and that its password is never shown.
    #[test]
    fn reads_urls() {
        let rows = [
            ("http://p", Some("http://p:80")),
            ("p:3128", Some("http://p:3128")),
            ("HTTPS://p/", Some("https://p:443")),
            ("socks5://me:p%40ss-word@[::1]", Some("socks5://[::1]:1080")),
            ("http://me:p%40ss-word@p:3128", Some("http://p:3128")),
            ("socks4://me:p%40ss-word@p", None),
            ("http://me:p%40ss-word@", None),
            ("http://me:p%40ss-word@p:99999", None),
            ("http://me:p%40ss-word/x@p:1", Some("http://p:1")),
            ("", None),
        ];
        for (url, expected) in rows {
            let read = Proxy::parse(url);
            let shown = format!("{read:?}");
            assert!(!shown.contains("ss-word"), "{url}: {shown}");
            assert_eq!(
                read.map(|proxy| proxy.to_string()).ok().as_deref(),
                expected,
                "{url}"
            );
        }
        for url in ["socks5://me:p%40s%2Fs:@p", "socks5://me:p@s/s:@p"] {
            let proxy = Proxy::parse(url).unwrap();
            assert_eq!(proxy.credentials(), Some(("me", "p@s/s:")), "{url}");
        }
        let rows = [
            ("socks5://me:p%40ss@p", "socks5://me:********@p"),
            ("http://me:a://b@c@p:1", "http://me:********@p:1"),
            ("me:secret@p", "me:********@p"),
            ("http://token@p", "http://********@p"),
            ("http://p:1", "http://p:1"),
            ("none", "none"),
        ];
        for (url, expected) in rows {
            assert_eq!(masked(url), expected, "{url}");
        }
        let wrong = proxies(&[("https_proxy", "ftp://me:secret@p")]).unwrap_err();
        assert!(
            wrong.starts_with("https_proxy is wrong") && !wrong.contains("secret"),
            "{wrong}"
        );
    }
}
