//! Setting up an [`Uploader`].

use std::sync::Arc;
use std::time::Duration;

use crate::api::Api;
use crate::client::hosts::HostBook;
use crate::client::{Inner, Uploader};
use crate::error::{Error, ErrorKind};
use crate::kodo::region::QUERY_HOSTS;
use crate::kodo::{AccessKey, BLOCK_LEN, Credentials, SecretKey, UploadToken};
use crate::model::Endpoint;
use crate::transport::{Transport, client_config};
use crate::uploader::Protocol;

/// How long a host may take to accept a connection, unless set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sizes of a v2 part. Source: protocol reference, section 5.7.
const PART_LENS: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 30);

/// Sets up an [`Uploader`]. Values are checked by [`build`](Self::build).
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is made before build()"]
pub struct UploaderBuilder {
    access_key: Option<String>,
    secret_key: Option<Secret>,
    token: Option<Secret>,
    endpoints: Vec<String>,
    rs_url: Option<String>,
    uc_urls: Vec<String>,
    protocol: Protocol,
    threshold: Option<u64>,
    part_len: Option<u64>,
    connect_timeout: Option<Duration>,
}

/// Text that is never shown.
#[derive(Clone)]
struct Secret(zeroize::Zeroizing<String>);

impl Secret {
    fn new(text: impl Into<String>) -> Self {
        Self(zeroize::Zeroizing::new(text.into()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl UploaderBuilder {
    /// The account's keys: they sign a fresh upload token for every request.
    pub fn credentials(
        mut self,
        access_key: impl Into<String>,
        secret_key: impl Into<String>,
    ) -> Self {
        self.access_key = Some(access_key.into());
        self.secret_key = Some(Secret::new(secret_key));
        self
    }

    /// A ready upload token, in place of keys. With both, uploads use the token and the other calls
    /// the keys.
    pub fn upload_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret::new(token));
        self
    }

    /// An upload host, in place of the bucket's own: `https://host`, `http://host:port`. Several
    /// calls name several, tried in this order when one cannot be reached.
    ///
    /// Management calls then go to the first one too, unless [`rs_url`](Self::rs_url) is set.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoints.push(url.into());
        self
    }

    /// The management host, in place of the bucket's own.
    pub fn rs_url(mut self, url: impl Into<String>) -> Self {
        self.rs_url = Some(url.into());
        self
    }

    /// A host that says where a bucket lives, in place of the public ones. Several calls name
    /// several, asked in this order. Bare host names they answer with inherit the first one's scheme.
    pub fn uc_url(mut self, url: impl Into<String>) -> Self {
        self.uc_urls.push(url.into());
        self
    }

    /// How files above the threshold travel.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Largest file that goes in one request, in bytes. Without this: 1 MiB.
    pub fn threshold(mut self, len: u64) -> Self {
        self.threshold = Some(len);
        self
    }

    /// Size of the parts of a v2 upload, in bytes: 1 MiB to 1 GiB, 4 MiB unless set. Raised when
    /// 10 000 parts would not hold the file.
    pub fn part_size(mut self, len: u64) -> Self {
        self.part_len = Some(len);
        self
    }

    /// How long a host may take to accept a connection, and again for TLS; 10 s unless set.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// Checks everything and makes the uploader. Sends nothing.
    pub fn build(self) -> Result<Uploader, Error> {
        let part_len = self.part_len.unwrap_or(BLOCK_LEN);
        if !PART_LENS.contains(&part_len) {
            return Err(config(format!(
                "a part of {part_len} bytes is not from 1 MiB to 1 GiB"
            )));
        }
        let token = match &self.token {
            Some(Secret(text)) => Some(UploadToken::parse(text).map_err(wrong)?),
            None => None,
        };
        // Kept even if it failed: plain HTTP needs none.
        let tls = client_config();
        let connect_timeout = self.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        Ok(Uploader {
            inner: Arc::new(Inner {
                credentials: self.keys()?,
                token,
                transport: Transport::new(tls.clone(), connect_timeout),
                api: Api::new(tls, connect_timeout),
                hosts: self.host_book()?,
                protocol: self.protocol,
                threshold: self.threshold,
                part_len,
            }),
        })
    }

    fn keys(&self) -> Result<Option<Credentials>, Error> {
        let (Some(access_key), Some(Secret(secret_key))) = (&self.access_key, &self.secret_key)
        else {
            return Ok(None);
        };
        let access_key = AccessKey::new(access_key.as_str()).map_err(wrong)?;
        let secret_key = SecretKey::new(secret_key.as_str()).map_err(wrong)?;
        Ok(Some(Credentials::new(access_key, secret_key)))
    }

    fn host_book(&self) -> Result<HostBook, Error> {
        let parse = |url: &String| Endpoint::parse(url, true);
        let endpoints = self
            .endpoints
            .iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        let mut uc_urls = self
            .uc_urls
            .iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        if uc_urls.is_empty() {
            let public = QUERY_HOSTS.iter().map(|host| Endpoint::parse(host, true));
            uc_urls = public.collect::<Result<Vec<_>, _>>()?;
        }
        let rs_url = self.rs_url.as_ref().map(parse).transpose()?;
        Ok(HostBook::new(endpoints, rs_url, uc_urls))
    }
}

/// The error of a value that cannot be.
fn config(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

/// The same, from the value's own error.
fn wrong(error: impl std::fmt::Display) -> Error {
    config(error.to_string())
}
