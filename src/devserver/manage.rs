//! Management calls about objects: looked at, removed, renamed, changed; one by one or in a batch.
//!
//! Whoever comes here has been authenticated. What one call does is a [`Outcome`], so that a batch
//! and a single call cannot differ. Source: protocol reference, section 9.

mod change;

#[cfg(test)]
pub(crate) mod tests;

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::devserver::exchange::Reply;
use crate::devserver::refusal::Refusal;
use crate::devserver::route::{self, Call, Entry};
use crate::devserver::store::{ObjectRecord, Overwrite, PutOutcome, Store};
use crate::model::{Bucket, ObjectKey};

pub(crate) use change::expiration;

/// Most operations of a batch. Source: protocol reference, section 9.
const BATCH_LEN_MAX: usize = 1000;

/// Status of a batch of which some operations failed. Source: protocol reference, section 8.1.
const SOME_FAILED: u16 = 298;

/// What management calls work on.
#[derive(Clone, Copy)]
pub(crate) struct Manage<'a> {
    /// Where the objects are.
    pub(crate) store: &'a Store,
    /// Buckets that exist; `None`: any.
    pub(crate) buckets: Option<&'a [Bucket]>,
    /// The time of the request.
    pub(crate) now: SystemTime,
}

/// What became of one call: its data, if it has any, or why not.
pub(crate) type Outcome = Result<Option<Value>, Refusal>;

impl Manage<'_> {
    /// Answers a call about one object or two.
    pub(crate) async fn object(&self, call: Call) -> Reply {
        match self.outcome(call).await {
            Ok(data) => Reply::json(200, &data.unwrap_or_else(|| json!({}))),
            Err(refusal) => refusal.into(),
        }
    }

    /// Carries out `op=…&op=…`, one after the other, and answers for each.
    pub(crate) async fn batch(&self, body: &[u8]) -> Reply {
        let body = String::from_utf8_lossy(body);
        let pairs = route::form_pairs(&body);
        let ops: Vec<&String> = pairs
            .iter()
            .filter(|(name, _)| name == "op")
            .map(|(_, op)| op)
            .collect();
        if ops.is_empty() || ops.len() > BATCH_LEN_MAX {
            return Reply::error(400, "a batch has 1 to 1000 operations");
        }
        let mut answers = Vec::with_capacity(ops.len());
        let mut all_done = true;
        for op in ops {
            let answer = match self.outcome(route::parse_batched(op)).await {
                Ok(None) => json!({ "code": 200 }),
                Ok(Some(data)) => json!({ "code": 200, "data": data }),
                Err(refusal) => {
                    all_done = false;
                    json!({ "code": refusal.status, "data": { "error": refusal.message } })
                }
            };
            answers.push(answer);
        }
        let status = if all_done { 200 } else { SOME_FAILED };
        Reply::json(status, &Value::Array(answers))
    }

    async fn outcome(&self, call: Call) -> Outcome {
        match call {
            Call::Stat { entry, need_parts } => self.stat(&entry, need_parts).await,
            Call::Delete(entry) => self.delete(&entry).await,
            Call::Move { from, to, force } => self.copy(&from, &to, force, true).await,
            Call::Copy { from, to, force } => self.copy(&from, &to, force, false).await,
            Call::Chgm { .. }
            | Call::Chtype { .. }
            | Call::Chstatus { .. }
            | Call::DeleteAfterDays { .. } => self.change(call).await,
            Call::Lifecycle { .. } => Err(Refusal::new(
                400,
                "lifecycle rules are not supported by the dev server",
            )),
            Call::Malformed { message, .. } => Err(Refusal::new(400, message)),
            _ => Err(Refusal::new(400, "no such operation")),
        }
    }

    async fn stat(&self, entry: &Entry, need_parts: bool) -> Outcome {
        let (bucket, key) = self.names(entry)?;
        let object = self.store.object(bucket, key).await?;
        let object = object.ok_or_else(Refusal::no_object)?;
        Ok(Some(properties(&object, need_parts)))
    }

    async fn delete(&self, entry: &Entry) -> Outcome {
        let (bucket, key) = self.names(entry)?;
        if self.store.delete_object(bucket, key).await? {
            Ok(None)
        } else {
            Err(Refusal::no_object())
        }
    }

    async fn copy(&self, from: &Entry, to: &Entry, force: bool, remove_source: bool) -> Outcome {
        let (from, to) = (self.names(from)?, self.names(to)?);
        let rule = if force {
            Overwrite::Replace
        } else {
            Overwrite::Never
        };
        let copied = self
            .store
            .copy_object(from, to, rule, remove_source)
            .await?;
        match copied {
            None => Err(Refusal::no_object()),
            Some(PutOutcome::Refused) => Err(Refusal::new(614, "file exists")),
            Some(_) => Ok(None),
        }
    }

    /// The names in an entry, if the bucket exists and a key is there: these calls need one.
    fn names<'a>(&self, entry: &'a Entry) -> Result<(&'a Bucket, &'a ObjectKey), Refusal> {
        if !self.has_bucket(&entry.bucket) {
            return Err(Refusal::no_bucket());
        }
        let key = entry.key.as_ref();
        let key = key.ok_or_else(|| Refusal::new(400, "the entry names no key"))?;
        Ok((&entry.bucket, key))
    }

    /// Whether a bucket exists.
    pub(crate) fn has_bucket(&self, bucket: &Bucket) -> bool {
        self.buckets.is_none_or(|buckets| buckets.contains(bucket))
    }
}

/// An object as stat and list show it.
pub(crate) fn properties(object: &ObjectRecord, need_parts: bool) -> Value {
    let mut shown = json!({
        "fsize": object.size,
        "hash": object.hash,
        "mimeType": object.mime_type,
        "type": object.file_type,
        "putTime": object.put_time,
    });
    let mut show = |name: &str, value: Value| shown[name] = value;
    if let Some(end_user) = &object.end_user {
        show("endUser", json!(end_user));
    }
    if object.disabled {
        show("status", json!(1));
    }
    if let Some(md5) = &object.md5 {
        show("md5", json!(md5));
    }
    if let Some(expiration) = object.expiration {
        show("expiration", json!(expiration));
    }
    if !object.metadata.is_empty() {
        show("x-qn-meta", json!(object.metadata));
    }
    if let Some(part_lens) = object.part_lens.as_ref().filter(|_| need_parts) {
        show("parts", json!(part_lens));
    }
    shown
}
