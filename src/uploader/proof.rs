//! Is the object that is stored the source? What a commit's answer or a look shows, compared with
//! what was read here.

use std::collections::BTreeMap;

use crate::clock;
use crate::engine::event::{AttemptId, Event, Found};
use crate::engine::may_pass;
use crate::engine::plan::{Layout, Protocol};
use crate::kodo::commit::METADATA_PREFIX;
use crate::kodo::manage::{self, ObjectInfo};
use crate::kodo::{AnswerForm, Commit, Etag, Stored};
use crate::model::{Failure, FailureKind};
use crate::uploader::asking::{self, Turn};
use crate::uploader::effects::{Executor, bug};
use crate::uploader::hashes::of_source;
use crate::uploader::meter::Finished;

/// How far a clock may be wrong before an object that was put "before we began" is another one, when
/// the service's own clock is not known: what the service itself allows for signatures. Source:
/// protocol reference, section 1.4.
const CLOCK_SKEW_MAX_S: u64 = 15 * 60;

/// How far the clocks of two of the service's hosts may differ, in seconds: the one that said when we
/// began, and the one that stamps what is stored. Machines that keep time are milliseconds apart, and
/// `Date` has whole seconds; more would take in what somebody stored before us.
const CLOCKS_DIFFER_MAX_S: u64 = 10;

/// Whether the object under the key is the one that this upload commits from `not_before` on, by the
/// service's clock in seconds since 1970.
///
/// One that was put a little earlier may be ours all the same, by a clock that is behind; or that of
/// another upload of the same bytes. It counts where nobody could tell the two apart: it must have the
/// type and the metadata that this commit gives it. (What is said about a file's name and variables
/// leaves nothing in an object that keys commit.) Without a type the service finds one, and an older
/// object's may be another: that is taken for ours.
fn is_ours(info: &ObjectInfo, hash: Etag, size: u64, not_before: u64, commit: &Commit) -> bool {
    let put = clock::unix_seconds(info.stored_at());
    let is_young = put >= not_before;
    let may_be_young = || put.saturating_add(CLOCKS_DIFFER_MAX_S) >= not_before;
    let is_same = info.etag() == Some(hash) && info.size == size;
    is_same && (is_young || (may_be_young() && is_as_said(info, commit)))
}

/// Whether the object shows all that `commit` says about it, and nothing else.
fn is_as_said(info: &ObjectInfo, commit: &Commit) -> bool {
    let has_type = |said: &str| info.mime_type == said;
    let said = commit.metadata().iter().map(|(name, value)| {
        let name = name.strip_prefix(METADATA_PREFIX).unwrap_or(name);
        (name, value.as_str())
    });
    let shown = info.metadata.iter();
    let shown = shown.map(|(name, value)| (name.as_str(), value.as_str()));
    commit.declared_type().is_none_or(has_type) && by_name(said) == by_name(shown)
}

/// Values by their names, whose case does not count: they travel as headers.
fn by_name<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, &'a str> {
    pairs
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect()
}

impl Executor {
    /// Looks whether our object is under the key, at whichever management host answers.
    pub(super) async fn stat(
        &self,
        attempt: AttemptId,
        not_before: u64,
        layout: Layout,
    ) -> Result<Event, Failure> {
        let (Some(keys), Some(key)) = (self.permit.keys(), self.key()) else {
            return Err(bug("stat needs keys and a key"));
        };
        let look = async |endpoint| {
            let request = manage::stat(&self.bucket, key, false);
            let request = manage::signed(request, keys, endpoint, None);
            let answer = self.api.send(endpoint, request).await?;
            match ObjectInfo::read(&answer, clock::wall()) {
                Err(failure) if failure.kind == FailureKind::NoSuchObject => Ok(None),
                other => other.map(Some),
            }
        };
        let Some(info) = asking::ask(&self.management, Turn::Beside, look).await? else {
            let found = Found::Nothing;
            return Ok(Event::Stated { attempt, found });
        };
        let not_before = match not_before {
            0 => self.began.saturating_sub(CLOCK_SKEW_MAX_S),
            heard => heard,
        };
        let hash = self.hash_of_object(layout).await?;
        let size = self.source.source().len();
        let ours = is_ours(&info, hash, size, not_before, &self.commit);
        if ours {
            self.finish(None, hash)?;
        }
        let found = if ours { Found::Ours } else { Found::Another };
        Ok(Event::Stated { attempt, found })
    }

    /// Whether the next run looks by itself, and is not just refused as this one was by `why`.
    pub(super) fn will_look_again(&self, why: &Failure) -> bool {
        let can_look = !self.management.is_empty()
            && self.permit.keys().is_some()
            && !self.permit.may_rename()
            && self.key().is_some();
        can_look && self.recorder.is_kept() && may_pass(why)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ObjectKey;

    const BYTES: &[u8] = b"the same bytes";

    fn commit(mime_type: Option<&str>, metadata: Option<(&str, &str)>) -> Commit {
        let commit = Commit::new(Some(ObjectKey::new("k").unwrap()));
        let commit = match mime_type {
            Some(mime_type) => commit.mime_type(mime_type).unwrap(),
            None => commit,
        };
        match metadata {
            Some((name, value)) => commit.metadata_entry(name, value).unwrap(),
            None => commit,
        }
    }

    /// An object of type `text/plain` and with metadata `color` = `red`: so many seconds older than
    /// our commit, what that says about it, and whether it is taken for ours.
    #[test]
    fn whose_object_it_is() {
        let plain = Some("text/plain");
        let red = Some(("color", "red"));
        let rows = [
            ("put after we began", -100, None, None, true),
            ("put in that second", 0, None, None, true),
            ("a clock behind", 1, plain, red, true),
            ("the last second", 10, plain, red, true),
            ("too old", 11, plain, red, false),
            ("no type of its own", 5, None, red, true),
            ("another type", 5, Some("text/html"), red, false),
            ("other metadata", 5, plain, Some(("color", "blue")), false),
            ("no metadata", 5, plain, None, false),
        ];
        let hash = Etag::of(BYTES);
        for (story, older_s, mime_type, metadata, expected) in rows {
            let not_before = 1_000_000_u64;
            let put_s = not_before.checked_add_signed(-older_s).unwrap();
            let info: ObjectInfo = serde_json::from_value(json!({
                "fsize": BYTES.len(),
                "hash": hash.to_string(),
                "mimeType": "text/plain",
                "putTime": put_s * 10_000_000,
                "x-qn-meta": { "color": "red" },
            }))
            .unwrap();
            let commit = commit(mime_type, metadata);
            let size = BYTES.len() as u64;
            let found = |hash, size| is_ours(&info, hash, size, not_before, &commit);
            assert_eq!(found(hash, size), expected, "{story}");
            assert!(!found(Etag::of(b"others"), size), "{story}");
            assert!(!found(hash, size + 1), "{story}");
        }
        let info: ObjectInfo = serde_json::from_value(json!({
            "fsize": 0,
            "hash": Etag::of(b"").to_string(),
            "putTime": u64::MAX,
        }))
        .unwrap();
        // No look can tell: not even what is put in the far future.
        let bare = commit(None, None);
        assert!(!is_ours(&info, Etag::of(b""), 0, u64::MAX, &bare));
    }
}
