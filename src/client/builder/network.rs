//! Proxies, trust and congestion control: how an [`Uploader`](crate::Uploader) gets out of here.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::client::builder::{UploaderBuilder, config};
use crate::client::secret::Secret;
use crate::error::Error;
use crate::network::{Proxies, TlsVersion};
use crate::transport::{CongestionControl, bbr_refusal, may_have_bbr};

impl UploaderBuilder {
    /// The proxy for every host: `http://host:port`, `https://…`, `socks5://…` (names are found here),
    /// `socks5h://…` (names are found by the proxy), with `user:password@` before the host if it
    /// wants them, or `none`. Without a port it is 80, 443 (`https`) or 1080 (SOCKS); curl takes 1080
    /// for `http`, too. The password is never shown.
    ///
    /// Without this and [`proxy_from`](Self::proxy_from) there is no proxy: the library reads no
    /// environment.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(Secret::new(url));
        self
    }

    /// Hosts that are reached without the proxy, separated by commas: names with all below them,
    /// addresses, nets (`10.0.0.0/8`), or `*`. An entry that can match nothing is refused.
    pub fn no_proxy(mut self, hosts: impl Into<String>) -> Self {
        self.no_proxy = Some(hosts.into());
        self
    }

    /// Proxies as curl finds them in environment variables, where the settings above do not say
    /// otherwise; for all of this process: `.proxy_from(std::env::vars_os())`.
    ///
    /// `https_proxy`, `HTTPS_PROXY`, `http_proxy`, `all_proxy`, `ALL_PROXY`, `no_proxy`, `NO_PROXY`
    /// count; `HTTP_PROXY` does not, because a web server's strangers can set it.
    pub fn proxy_from(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let texts = variables.into_iter().filter_map(|(name, value)| {
            let is_proxys = name
                .to_ascii_lowercase()
                .to_string_lossy()
                .ends_with("_proxy");
            let value = value.into_string().ok().filter(|_| is_proxys)?;
            Some((name, Secret::new(value)))
        });
        self.proxy_variables = texts.collect();
        self
    }

    /// These proxies, whatever else was said of them.
    #[cfg(feature = "cli")]
    pub(crate) fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// A PEM file of certificate authorities to trust beside the system's: a company's own, or that
    /// of a proxy that opens TLS.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca_file = Some(path.into());
        self
    }

    /// Oldest version of TLS to speak; 1.2 unless set.
    pub fn tls_min_version(mut self, version: TlsVersion) -> Self {
        self.tls.min_version = version;
        self
    }

    /// How connections to upload hosts react to losses; [`CongestionControl::Auto`] unless set.
    pub fn congestion_control(mut self, congestion_control: CongestionControl) -> Self {
        self.congestion_control = congestion_control;
        self
    }

    pub(super) fn chosen_proxies(&self) -> Result<Proxies, Error> {
        #[cfg(feature = "cli")]
        if let Some(proxies) = &self.proxies {
            return Ok(proxies.clone());
        }
        let proxy = self.proxy.as_ref().map(|Secret(url)| url.as_str());
        let variable = |name: &str| {
            let mut all = self.proxy_variables.iter();
            let (_, Secret(text)) = all.find(|(known, _)| known == name)?;
            Some(text.to_string())
        };
        let proxies = Proxies::new(proxy, self.no_proxy.as_deref(), variable);
        proxies.map_err(|why| config(why).next("correct it, or set `proxy` to none"))
    }
}

/// Refuses a wish that the system does not grant.
pub(in crate::client) fn check_congestion_control(wish: CongestionControl) -> Result<(), Error> {
    if wish == CongestionControl::Bbr {
        may_have_bbr().map_err(|why| {
            let (why, next) = bbr_refusal(&why);
            config(format!("`congestion_control` cannot be bbr here: {why}")).next(next)
        })?;
    }
    Ok(())
}
