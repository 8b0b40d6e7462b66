//! Is the object that is stored the source? What a commit's answer or a look shows, compared with
//! what was read here.

use crate::clock;
use crate::engine::event::{AttemptId, Event, Found};
use crate::engine::plan::{Layout, Protocol};
use crate::kodo::manage::{self, ObjectInfo};
use crate::kodo::{AnswerForm, Etag, Stored};
use crate::model::{Failure, FailureKind};
use crate::uploader::effects::{Executor, bug};
use crate::uploader::hashes::of_source;
use crate::uploader::meter::Finished;

/// How far a clock may be wrong before an object that was put "before we began" is another one, when
/// the service's own clock is not known: what the service itself allows for signatures. Source:
/// protocol reference, section 1.4.
const CLOCK_SKEW_MAX_S: u64 = 15 * 60;

impl Executor {
    /// Looks whether our object is under the key.
    pub(super) async fn stat(
        &self,
        attempt: AttemptId,
        not_before: u64,
        layout: Layout,
    ) -> Result<Event, Failure> {
        let (Some(endpoint), Some(keys), Some(key)) =
            (&self.management, self.permit.keys(), self.key())
        else {
            return Err(bug("stat needs a host, keys and a key"));
        };
        let now = clock::wall();
        let request = manage::stat(&self.bucket, key, false);
        let request = manage::signed(request, keys, endpoint, None);
        let answer = self.api.send(endpoint, request).await?;
        let info = match ObjectInfo::read(&answer, now) {
            Ok(info) => info,
            Err(failure) if failure.kind == FailureKind::NoSuchObject => {
                return Ok(Event::Stated {
                    attempt,
                    found: Found::Nothing,
                });
            }
            Err(failure) => return Err(failure),
        };
        let not_before = match not_before {
            0 => self.began.saturating_sub(CLOCK_SKEW_MAX_S),
            heard => heard,
        };
        let hash = self.hash_of_object(layout).await?;
        let ours = info.etag() == Some(hash)
            && info.size == self.source.source().len()
            && clock::unix_seconds(info.stored_at()) >= not_before;
        if ours {
            self.finish(None, hash)?;
        }
        let found = if ours { Found::Ours } else { Found::Another };
        Ok(Event::Stated { attempt, found })
    }

    /// How a person can find out whether the object is stored, and what to do then.
    pub(super) async fn how_to_tell(&self, layout: Layout) -> String {
        let hash = self.hash_of_object(layout).await;
        let hash = hash.map(|hash| format!(" with hash {hash}"));
        let hash = hash.unwrap_or_default();
        match self.recorder.id() {
            Some(id) => format!(
                "look whether the object is there{hash}; then forget this upload (haul uploads abort \
                 {id}), and if the object was not there, run the same line again"
            ),
            None => format!(
                "look whether the object is there{hash}; if it is not, run the same line again"
            ),
        }
    }

    /// The hash that the whole object has when it is ours.
    async fn hash_of_object(&self, layout: Layout) -> Result<Etag, Failure> {
        let source = self.source.source();
        match layout.protocol {
            Protocol::Form => Ok(of_source(source).await?.1),
            protocol => self.hash_of_lanes(layout.lane_count(source.len()), protocol),
        }
    }

    /// Keeps the commit's answer, if it shows our bytes under our key.
    pub(super) fn finish(&self, stored: Option<Stored>, hash: Etag) -> Result<(), Failure> {
        let mismatch = |what: String, stored: &Stored| {
            let mut failure = Failure::new(FailureKind::Mismatch, what);
            failure.request_id = stored.request_id.as_deref().map(Into::into);
            failure
        };
        if let Some(stored) = &stored {
            if let Some(theirs) = stored.hash.filter(|theirs| *theirs != hash) {
                let what = format!("the stored object has hash {theirs}, the source {hash}");
                return Err(mismatch(what, stored));
            }
            let plain = self.permit.answer_form() == AnswerForm::HashAndKey;
            if let (true, Some(asked), Some(given)) = (plain, self.key(), &stored.key)
                && asked.as_str() != given
                && !self.permit.may_rename()
            {
                let what = format!("the service stored `{given}` where `{asked}` was asked for");
                return Err(mismatch(what, stored));
            }
        }
        let hash_confirmed = stored.as_ref().is_none_or(|stored| stored.hash.is_some());
        self.meter.finish(Finished {
            stored,
            hash,
            hash_confirmed,
        });
        Ok(())
    }

    /// The object's hash, made of the hashes of `count` lanes.
    pub(super) fn hash_of_lanes(&self, count: u64, protocol: Protocol) -> Result<Etag, Failure> {
        let lanes = self.hashes.of_object(count);
        let lanes = lanes.ok_or_else(|| bug("a lane was committed and not hashed"))?;
        Ok(match protocol {
            Protocol::Parts => Etag::of_parts(&lanes),
            Protocol::Blocks | Protocol::Form => {
                let blocks: Vec<_> = lanes.iter().map(|(_, etag)| etag.digest()).collect();
                Etag::of_blocks(&blocks)
            }
        })
    }
}
