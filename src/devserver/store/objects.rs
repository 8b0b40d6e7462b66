//! Objects: stored, found, replaced by rule, listed.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock;
use crate::devserver::store::error::StoreError;
use crate::devserver::store::record::{NamedObject, ObjectRecord, Overwrite, PutOutcome};
use crate::devserver::store::{Inner, Store, layout};
use crate::model::{Bucket, ObjectKey};

/// A page of a bucket's objects, asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageQuery {
    /// Only keys that begin with this.
    pub(crate) prefix: String,
    /// Only names (keys or common prefixes) after this one, in UTF-8 byte order.
    pub(crate) after: Option<String>,
    /// Keys that have this text behind the prefix are summed up as one common prefix, which ends
    /// with it. Empty: none are.
    pub(crate) delimiter: String,
    /// At most so many names.
    pub(crate) limit: usize,
}

/// One name of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// An object.
    Object(Box<ObjectRecord>),
    /// The name is what several keys begin with.
    CommonPrefix,
}

impl Store {
    /// An object, unless there is none or its time is over.
    pub(crate) async fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Option<ObjectRecord>, StoreError> {
        let place = ObjectPlace::new(bucket, key);
        self.run(move |inner| inner.object(&place)).await
    }

    /// Stores an object, if `overwrite` allows it: decided and done under the key's lock, so that
    /// concurrent uploads end as one of them, whole.
    ///
    /// Fails, changing nothing, when bytes of it are missing or damaged.
    pub(crate) async fn put_object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        record: ObjectRecord,
        overwrite: Overwrite,
    ) -> Result<PutOutcome, StoreError> {
        let place = ObjectPlace::new(bucket, key);
        let outcome = self
            .run(move |inner| {
                let _held = inner.locks.hold(&[&place.name])?;
                inner.put(&place, record, overwrite)
            })
            .await?;
        self.sweep_if_due(clock::wall());
        Ok(outcome)
    }

    /// Removes an object; says whether there was one.
    pub(crate) async fn delete_object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<bool, StoreError> {
        let place = ObjectPlace::new(bucket, key);
        let removed = self
            .run(move |inner| {
                let _held = inner.locks.hold(&[&place.name])?;
                inner.delete(&place)
            })
            .await?;
        self.sweep_if_due(clock::wall());
        Ok(removed)
    }

    /// Changes an object's properties under its lock, or leaves them if `change` fails; `None` if
    /// there is no such object.
    pub(crate) async fn change_object<E: Send + 'static>(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        change: impl FnOnce(&mut ObjectRecord) -> Result<(), E> + Send + 'static,
    ) -> Result<Option<Result<(), E>>, StoreError> {
        let place = ObjectPlace::new(bucket, key);
        self.run(move |inner| {
            let _held = inner.locks.hold(&[&place.name])?;
            let Some(mut object) = inner.object(&place)? else {
                return Ok(None);
            };
            let changed = change(&mut object);
            if changed.is_ok() {
                inner.save_object(&place, object)?;
            }
            Ok(Some(changed))
        })
        .await
    }

    /// Copies an object under another name, without its bytes; with `remove_source`, moves it.
    /// `None` if there is no such object. Killed in the middle, a move leaves a copy.
    pub(crate) async fn copy_object(
        &self,
        source: (&Bucket, &ObjectKey),
        target: (&Bucket, &ObjectKey),
        overwrite: Overwrite,
        remove_source: bool,
    ) -> Result<Option<PutOutcome>, StoreError> {
        let source = ObjectPlace::new(source.0, source.1);
        let target = ObjectPlace::new(target.0, target.1);
        self.run(move |inner| {
            // The source stays locked until the copy is written: a sweep finds its blobs referred
            // to by the one or by the other.
            let _held = inner.locks.hold(&[&source.name, &target.name])?;
            let Some(object) = inner.object(&source)? else {
                return Ok(None);
            };
            let outcome = inner.put(&target, object, overwrite)?;
            if remove_source && source.name != target.name && outcome != PutOutcome::Refused {
                inner.records.remove(&source.name)?;
            }
            Ok(Some(outcome))
        })
        .await
    }

    /// A page of a bucket: names in UTF-8 byte order. Reads every record of the bucket and keeps
    /// only the page.
    pub(crate) async fn list(
        &self,
        bucket: &Bucket,
        query: PageQuery,
    ) -> Result<Vec<(String, Listed)>, StoreError> {
        let bucket = bucket.clone();
        self.run(move |inner| inner.list(&bucket, &query)).await
    }

    /// The names of all buckets that have, or have had, an object; sorted.
    pub(crate) async fn bucket_names(&self) -> Result<Vec<String>, StoreError> {
        self.run(|inner| {
            let names = inner.records.names(layout::OBJECTS)?;
            let buckets = names.iter().filter_map(|name| name.split('/').nth(1));
            let buckets: BTreeSet<&str> = buckets.collect();
            Ok(buckets.into_iter().map(str::to_owned).collect())
        })
        .await
    }
}

/// An object's name, and the name of its record.
struct ObjectPlace {
    bucket: Bucket,
    key: ObjectKey,
    name: String,
}

impl ObjectPlace {
    fn new(bucket: &Bucket, key: &ObjectKey) -> Self {
        Self {
            name: layout::object(bucket, key),
            bucket: bucket.clone(),
            key: key.clone(),
        }
    }
}

impl Inner {
    fn object(&self, place: &ObjectPlace) -> Result<Option<ObjectRecord>, StoreError> {
        let named: Option<NamedObject> = self.records.load(&place.name)?;
        let now = clock::unix_seconds(clock::wall());
        Ok(named
            .filter(|named| named.bucket == place.bucket.as_str())
            .filter(|named| named.key == place.key.as_str())
            .map(|named| named.object)
            .filter(|object| object.is_live(now)))
    }

    fn put(
        &self,
        place: &ObjectPlace,
        object: ObjectRecord,
        overwrite: Overwrite,
    ) -> Result<PutOutcome, StoreError> {
        let before = self.object(place)?;
        let hash_before = before.as_ref().map(|before| before.hash.as_str());
        let outcome = decide(hash_before, &object.hash, overwrite);
        if outcome != PutOutcome::Refused {
            self.spare(before.as_ref());
            self.save_object(place, object)?;
        }
        Ok(outcome)
    }

    /// Under the lock of `place`, which also shares the references.
    fn save_object(&self, place: &ObjectPlace, object: ObjectRecord) -> Result<(), StoreError> {
        self.blobs.touch(&object.data)?;
        let named = NamedObject {
            bucket: place.bucket.as_str().to_owned(),
            key: place.key.as_str().to_owned(),
            object,
        };
        self.records.save(&place.name, &named)
    }

    fn delete(&self, place: &ObjectPlace) -> Result<bool, StoreError> {
        let before = self.object(place)?;
        self.spare(before.as_ref());
        self.records.remove(&place.name)?;
        Ok(before.is_some())
    }

    /// Gives those who are reading an object that is about to go the sweep's grace to finish. Its
    /// bytes are counted as garbage from now on.
    fn spare(&self, going: Option<&ObjectRecord>) {
        if let Some(object) = going {
            // Fails only if bytes are missing already: then there is nobody to spare.
            let _ = self.blobs.touch(&object.data);
            self.count_garbage(object.size);
        }
    }

    fn list(
        &self,
        bucket: &Bucket,
        query: &PageQuery,
    ) -> Result<Vec<(String, Listed)>, StoreError> {
        let now = clock::unix_seconds(clock::wall());
        let mut page = BTreeMap::new();
        for name in self.records.names(&layout::bucket(bucket))? {
            let Some(named) = self.records.load::<NamedObject>(&name)? else {
                continue;
            };
            if named.bucket != bucket.as_str() || !named.object.is_live(now) {
                continue;
            }
            let Some((name, is_prefix)) = query.name_of(named.key) else {
                continue;
            };
            let listed = if is_prefix {
                Listed::CommonPrefix
            } else {
                Listed::Object(Box::new(named.object))
            };
            page.insert(name, listed);
            if page.len() > query.limit {
                page.pop_last();
            }
        }
        Ok(page.into_iter().collect())
    }
}

impl PageQuery {
    /// Under which name `key` is listed, and whether that is a common prefix; none if it is not.
    fn name_of(&self, key: String) -> Option<(String, bool)> {
        let behind = key.strip_prefix(&self.prefix)?;
        let cut = Some(self.delimiter.as_str())
            .filter(|delimiter| !delimiter.is_empty())
            .and_then(|delimiter| behind.find(delimiter))
            .map(|at| self.prefix.len() + at + self.delimiter.len());
        let is_prefix = cut.is_some();
        let mut name = key;
        name.truncate(cut.unwrap_or(name.len()));
        let is_later = self.after.as_ref().is_none_or(|after| name > *after);
        is_later.then_some((name, is_prefix))
    }
}

/// The overwrite rule, for an object with the hash `before`, or none.
fn decide(before: Option<&str>, hash: &str, overwrite: Overwrite) -> PutOutcome {
    match (before, overwrite) {
        (None, _) => PutOutcome::Created,
        (Some(_), Overwrite::Replace) => PutOutcome::Replaced,
        (Some(before), Overwrite::SameHashOnly) if before == hash => PutOutcome::SameContent,
        (Some(_), Overwrite::SameHashOnly | Overwrite::Never) => PutOutcome::Refused,
    }
}
