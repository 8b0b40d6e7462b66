//! How one upload travels, where that is not what its uploader is set to.
//!
//! Every value means what the setting of the same name means, and is checked as that is; one that
//! cannot be is an error of kind [`ErrorKind::Config`] before anything is sent. What is of connections
//! (`connect_timeout`, proxies, TLS, `limit_rate`) is of the uploader: its uploads share them.

use std::time::Duration;

#[cfg(doc)]
use crate::client::UploaderBuilder;
use crate::client::builder::network::check_congestion_control;
use crate::client::put::Put;
use crate::client::secret::Secret;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::model::Endpoint;
use crate::uploader::Protocol;

impl Put {
    /// This ready upload token, whatever the uploader has. It must be for this bucket and key, and is not
    /// renewed: when it ends, the upload fails with [`ErrorKind::Unauthorized`], and what is stored stays.
    pub fn upload_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret::new(token));
        self
    }

    /// Goes to this upload host; several calls name several. As [`UploaderBuilder::endpoint`], in place
    /// of whatever the uploader is set to. What is remembered of an unfinished upload belongs to the
    /// hosts: it is found again with the same first one, also by [`resume`](crate::Uploader::resume).
    /// [`unfinished`](crate::Uploader::unfinished) and [`abort`](crate::Uploader::abort) know only
    /// those of the uploader's own hosts.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoints.push(url.into());
        self
    }

    /// How it travels if it is above the threshold: [`UploaderBuilder::protocol`].
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.settings.protocol = Some(protocol);
        self
    }

    /// Largest size that goes in one request, in bytes: [`UploaderBuilder::threshold`].
    pub fn threshold(mut self, len: u64) -> Self {
        self.settings.threshold = Some(len);
        self
    }

    /// Size of its parts if it goes by v2, in bytes, 1 MiB to 1 GiB: [`UploaderBuilder::part_size`].
    pub fn part_size(mut self, len: u64) -> Self {
        self.settings.part_len = Some(len);
        self
    }

    /// Its lanes in flight at once, 1 to 16: [`UploaderBuilder::window`]. Where those of others are
    /// automatic, it has these beside them, and waits for no turn.
    pub fn window(mut self, lanes: usize) -> Self {
        self.settings.window = Some(lanes);
        self
    }

    /// [`UploaderBuilder::stall_timeout`] of this upload, at least 1 s.
    pub fn stall_timeout(mut self, limit: Duration) -> Self {
        self.settings.stall_timeout = Some(limit);
        self
    }

    /// [`UploaderBuilder::min_rate`] of this upload, in bytes a second; 0 for none.
    pub fn min_rate(mut self, bytes_per_s: u64) -> Self {
        self.settings.min_rate = Some(bytes_per_s);
        self
    }

    /// [`UploaderBuilder::response_timeout`] of this upload, at least 10 ms. Looks at the object and the
    /// bucket query keep the uploader's.
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.settings.response_timeout = Some(limit);
        self
    }

    /// [`UploaderBuilder::commit_timeout`] of this upload, at least 10 ms.
    pub fn commit_timeout(mut self, limit: Duration) -> Self {
        self.settings.commit_timeout = Some(limit);
        self
    }

    /// [`UploaderBuilder::part_attempts`] of this upload; 0 counts none.
    pub fn part_attempts(mut self, attempts: u32) -> Self {
        self.settings.part_attempts = Some(attempts);
        self
    }

    /// [`UploaderBuilder::part_timeout`] of this upload, at least 10 ms.
    pub fn part_timeout(mut self, limit: Duration) -> Self {
        self.settings.part_timeout = Some(limit);
        self
    }

    /// [`UploaderBuilder::retry_budget`] of this upload, at least 10 ms.
    pub fn retry_budget(mut self, limit: Duration) -> Self {
        self.settings.retry_budget = Some(limit);
        self
    }

    /// [`UploaderBuilder::wait_online`] of this upload.
    pub fn wait_online(mut self) -> Self {
        self.settings.wait_online = Some(true);
        self
    }

    /// Joins what was said of this call with what the uploader is set to; refuses what cannot be.
    pub(super) fn choose_way(&mut self) -> Result<(), Error> {
        self.has_own_window = self.settings.window.is_some();
        self.settings = self.settings.over(&self.uploader.inner.settings);
        self.settings.check()?;
        check_congestion_control(self.uploader.inner.congestion_control)?;
        self.hosts = self.hosts.with_endpoints(self.own_endpoints()?);
        Ok(())
    }

    /// The hosts that it goes to in place of the uploader's; empty for those.
    pub(super) fn own_endpoints(&self) -> Result<Vec<Endpoint>, Error> {
        let endpoints = self.endpoints.iter().map(|url| Endpoint::parse(url, true));
        Ok(endpoints.collect::<Result<Vec<_>, _>>()?)
    }
}
