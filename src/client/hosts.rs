//! Which hosts serve a bucket: those that the user named, else those that the service names.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::api::Api;
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::kodo::{AccessKey, Region, Regions, region};
use crate::model::{Bucket, Endpoint, Failure, FailureKind};
use crate::uploader::UploadHosts;

/// Which management host a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Stat, delete.
    Rs,
    /// List.
    Rsf,
}

/// Knows and remembers the hosts of buckets.
#[derive(Debug)]
pub(crate) struct HostBook {
    endpoints: Vec<Endpoint>,
    rs_url: Option<Endpoint>,
    uc_urls: Vec<Endpoint>,
    /// What the service said, and until when to believe it.
    known: Mutex<HashMap<Bucket, (Region, SystemTime)>>,
}

impl HostBook {
    /// `uc_urls` must not be empty.
    pub(crate) fn new(
        endpoints: Vec<Endpoint>,
        rs_url: Option<Endpoint>,
        uc_urls: Vec<Endpoint>,
    ) -> Self {
        assert!(!uc_urls.is_empty(), "no host to ask for a bucket's region");
        Self {
            endpoints,
            rs_url,
            uc_urls,
            known: Mutex::default(),
        }
    }

    /// What journals call the service: the same for every host of one region.
    pub(crate) fn store(&self) -> String {
        let named = self.endpoints.first().or(self.uc_urls.first());
        named.map(Endpoint::to_string).unwrap_or_default()
    }

    /// The upload hosts of `bucket`.
    pub(crate) async fn upload(
        &self,
        api: &Api,
        access_key: &AccessKey,
        bucket: &Bucket,
    ) -> Result<UploadHosts, Error> {
        if !self.endpoints.is_empty() {
            return Ok(UploadHosts {
                endpoints: self.endpoints.clone(),
            });
        }
        let region = self.region(api, access_key, bucket).await?;
        Ok(UploadHosts {
            endpoints: region.up.into_iter().chain(region.up_old).collect(),
        })
    }

    /// The management hosts of `bucket`: never the public ones while the user names upload hosts.
    pub(crate) async fn management(
        &self,
        api: &Api,
        access_key: &AccessKey,
        bucket: &Bucket,
        role: Role,
    ) -> Result<Vec<Endpoint>, Error> {
        if let Some(named) = self.rs_url.as_ref().or(self.endpoints.first()) {
            return Ok(vec![named.clone()]);
        }
        let region = self.region(api, access_key, bucket).await?;
        Ok(match role {
            Role::Rs => region.rs,
            Role::Rsf => region.rsf,
        })
    }

    /// The home region of `bucket`, asked for once in its life time.
    async fn region(
        &self,
        api: &Api,
        access_key: &AccessKey,
        bucket: &Bucket,
    ) -> Result<Region, Error> {
        let now = clock::wall();
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(bucket).cloned()
        };
        if let Some((region, until)) = known
            && now < until
        {
            return Ok(region);
        }
        let region = self.ask(api, access_key, bucket).await?;
        let until = now + region.ttl;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(bucket.clone(), (region.clone(), until));
        Ok(region)
    }

    /// Asks one host after the other, as long as the answer may be the host's fault.
    async fn ask(
        &self,
        api: &Api,
        access_key: &AccessKey,
        bucket: &Bucket,
    ) -> Result<Region, Error> {
        let doing = format!("find the hosts of bucket `{bucket}`");
        let https = self.uc_urls.first().is_none_or(Endpoint::is_https);
        let mut last = None;
        for endpoint in &self.uc_urls {
            let answer = api.send(endpoint, region::query(access_key, bucket)).await;
            match answer.and_then(|answer| Regions::read(&answer, https, clock::wall())) {
                Ok(regions) => return Ok(regions.home().clone()),
                Err(failure) => {
                    let next = may_be_the_hosts_fault(&failure);
                    last = Some(failure);
                    if !next {
                        break;
                    }
                }
            }
        }
        Err(match last {
            Some(failure) => Error::from_failure(&doing, failure),
            None => Error::new(ErrorKind::Config, "no uc_url is set"),
        })
    }
}

/// Whether another host could answer better.
fn may_be_the_hosts_fault(failure: &Failure) -> bool {
    matches!(
        failure.kind,
        FailureKind::Connect
            | FailureKind::Tls
            | FailureKind::Broken
            | FailureKind::TimedOut
            | FailureKind::NotKodo
            | FailureKind::Server
            | FailureKind::Throttled
            | FailureKind::NotFound
    )
}
