//! Giving up an upload that an earlier run began.

use std::time::Duration;

use crate::client::Uploader;
use crate::client::hosts::{Inquiry, Persistence};
use crate::client::put::account;
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::events::Listener;
use crate::journal::header::Target;
use crate::kodo::multipart::{self, Upload, UploadId};
use crate::model::{Failure, FailureKind};
use crate::transport::{Flight, Reuse};
use crate::uploader::Permit;

/// How long the answer may take: the service only forgets something.
const LIMIT: Duration = Duration::from_secs(30);

impl Uploader {
    /// Whether `target` is where this uploader's uploads go, by account and by service.
    pub(crate) async fn is_home_of(&self, target: &Target) -> bool {
        let inner = &self.inner;
        let store = inner.memory.store_name.clone();
        let access = self
            .access(&Listener::default())
            .await
            .and_then(|access| account(&access));
        store.unwrap_or_else(|| inner.hosts.store()) == target.store
            && access.is_ok_and(|key| key.as_str() == target.access_key)
    }

    /// Tells the service to drop the parts of a v2 upload. One that it does not know is dropped
    /// already.
    pub(crate) async fn abort(&self, target: &Target, upload_id: &str) -> Result<(), Error> {
        let inner = &self.inner;
        let (bucket, key) = (&target.bucket, target.key.as_ref());
        let access = self.access(&Listener::default()).await?;
        let access_key = account(&access)?;
        let now = clock::wall();
        let permit = Permit::new(access, bucket, key, None, 0, now)?;
        let inquiry = Inquiry {
            api: &inner.api,
            access_key: &access_key,
            bucket,
            persistence: Persistence::Once,
            listener: &Listener::default(),
            seed: 0,
        };
        let hosts = inner.hosts.find(&inquiry).await?;
        let id = UploadId::new(upload_id)
            .ok_or_else(|| Error::new(ErrorKind::Local, "the recorded upload id is none"))?;
        let upload = Upload::new(bucket, key, &id);
        let host = hosts
            .up
            .first()
            .ok_or_else(|| Error::new(ErrorKind::Config, "no upload host is known"))?;
        let request = upload.abort(&permit.token(now));
        let flight = Flight::new();
        let send = inner
            .transport
            .send(host, request, None, Reuse::Any, &flight);
        let answer = match tokio::time::timeout(LIMIT, send).await {
            Ok(answer) => answer.map_err(|unanswered| unanswered.failure),
            Err(_) => {
                let what = format!("{host} gave no answer for {} s", LIMIT.as_secs());
                Err(Failure::new(FailureKind::TimedOut, what))
            }
        };
        match answer.and_then(|answer| multipart::aborted(&answer, clock::wall())) {
            Err(failure) if failure.kind != FailureKind::NoSuchUpload => {
                Err(Error::from_failure("drop the parts", failure))
            }
            _ => Ok(()),
        }
    }
}
