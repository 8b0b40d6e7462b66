//! One host that serves a part of the service.

use std::fmt;

/// A host's address as the front of a URL: scheme, host and port, nothing after them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    https: bool,
    /// Host, with its port when one was given: what goes into the `Host` header.
    authority: String,
}

impl Endpoint {
    /// Reads `https://host[:port]`, `http://…` or a bare `host[:port]`, which inherits
    /// `https_when_bare`.
    ///
    /// A single trailing `/` is allowed; a path, a query or a user name is not.
    pub fn parse(text: &str, https_when_bare: bool) -> Result<Self, EndpointError> {
        let refuse = |why| EndpointError {
            text: text.to_owned(),
            why,
        };
        let (https, rest) = match text.split_once("://") {
            None => (https_when_bare, text),
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err(refuse("only http:// and https:// are known")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(refuse("it must end after the host and port"));
        }
        if authority.contains('@') {
            return Err(refuse("it must not hold a user name"));
        }
        let parsed: http::uri::Authority = authority
            .parse()
            .map_err(|_| refuse("the host is not a valid one"))?;
        // A port out of range counts as none there, so what follows the host tells.
        let bad_port = authority != parsed.host() && parsed.port_u16().is_none();
        if parsed.host().is_empty() || bad_port {
            return Err(refuse("the host or port is not a valid one"));
        }
        Ok(Self {
            https,
            authority: authority.to_owned(),
        })
    }

    /// Whether calls to it are encrypted.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Name or address, without brackets or port.
    pub fn host(&self) -> &str {
        match self.authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }

    /// The port that was given, else the scheme's own.
    pub fn port(&self) -> u16 {
        let own = if self.https { 443 } else { 80 };
        let given = self.authority.rsplit_once(':');
        given.and_then(|(_, port)| port.parse().ok()).unwrap_or(own)
    }

    /// Host and, if it was given, port: the value of the `Host` header.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority)
    }
}

/// Text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no endpoint: {why}; right would be `https://host` or `http://host:port`")]
pub struct EndpointError {
    text: String,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a person may write for a host, and what it becomes.
    #[test]
    fn reads_urls_and_bare_hosts() {
        let rows = [
            ("up.qiniup.com", Some("https://up.qiniup.com")),
            ("http://127.0.0.1:8080/", Some("http://127.0.0.1:8080")),
            ("https://[::1]:443", Some("https://[::1]:443")),
            ("localhost:1", Some("https://localhost:1")),
            ("ftp://a", None),
            ("http://", None),
            ("http://a/b", None),
            ("http://me:secret@a", None),
            ("http://a:99999", None),
            ("a b", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let read = Endpoint::parse(text, true).map(|endpoint| endpoint.to_string());
            assert_eq!(read.ok().as_deref(), expected, "{text}");
        }
    }

    /// What a connection needs of it.
    #[test]
    fn knows_host_and_port() {
        let rows = [
            ("https://up.example", "up.example", 443),
            ("http://up.example", "up.example", 80),
            ("http://up.example:8080", "up.example", 8080),
            ("https://[::1]", "::1", 443),
            ("https://[2001:db8::1]:8443", "2001:db8::1", 8443),
            ("http://127.0.0.1:1", "127.0.0.1", 1),
        ];
        for (text, host, port) in rows {
            let endpoint = Endpoint::parse(text, true).unwrap();
            assert_eq!((endpoint.host(), endpoint.port()), (host, port), "{text}");
        }
    }
}
