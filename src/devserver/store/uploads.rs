//! What is under way: v1's contexts, v2's uploads and their parts.
//!
//! Whether one of them has expired is the handlers' to say: they have the time and the fault plan.

use crate::clock;
use crate::devserver::store::error::StoreError;
use crate::devserver::store::record::{ContextRecord, PartRecord, UploadRecord};
use crate::devserver::store::{Inner, Store, layout};

/// v1.
impl Store {
    /// Remembers a block as far as it has come. The ctx is 32 hex digits.
    pub(crate) async fn save_context(&self, record: ContextRecord) -> Result<String, StoreError> {
        let ctx = layout::new_id()?;
        let Some(name) = layout::context(&ctx) else {
            return Err(StoreError::NoRandomness);
        };
        self.run(move |inner| {
            let _held = inner.locks.hold(&[&name])?;
            inner.blobs.touch(&record.data)?;
            inner.records.save(&name, &record)
        })
        .await?;
        self.sweep_if_due(clock::wall());
        Ok(ctx)
    }

    /// The block behind a ctx; none if it is not one of ours, or forgotten.
    pub(crate) async fn context(&self, ctx: &str) -> Result<Option<ContextRecord>, StoreError> {
        let Some(name) = layout::context(ctx) else {
            return Ok(None);
        };
        self.run(move |inner| inner.records.load(&name)).await
    }

    /// Forgets a ctx, for good.
    pub(crate) async fn forget_context(&self, ctx: &str) -> Result<(), StoreError> {
        let Some(name) = layout::context(ctx) else {
            return Ok(());
        };
        self.run(move |inner| inner.records.remove(&name).map(|_| ()))
            .await
    }

    /// Marks that a bput has continued this ctx; says whether it is the first one.
    pub(crate) async fn mark_context_used(&self, ctx: &str) -> Result<bool, StoreError> {
        let Some(name) = layout::context(ctx) else {
            return Ok(false);
        };
        self.run(move |inner| {
            let _held = inner.locks.hold(&[&name])?;
            let Some(mut record) = inner.records.load::<ContextRecord>(&name)? else {
                return Ok(false);
            };
            let first = !record.used;
            if first {
                record.used = true;
                inner.records.save(&name, &record)?;
            }
            Ok(first)
        })
        .await
    }
}

/// v2.
impl Store {
    /// A new upload; the id is 32 hex digits.
    pub(crate) async fn create_upload(&self, record: UploadRecord) -> Result<String, StoreError> {
        let id = layout::new_id()?;
        let Some(folder) = layout::upload_folder(&id) else {
            return Err(StoreError::NoRandomness);
        };
        self.run(move |inner| {
            let _held = inner.locks.hold(&[&folder])?;
            inner.records.save(&layout::upload(&folder), &record)
        })
        .await?;
        Ok(id)
    }

    /// An upload; none if it is not one of ours, or is completed, aborted or swept.
    pub(crate) async fn upload(&self, id: &str) -> Result<Option<UploadRecord>, StoreError> {
        let Some(folder) = layout::upload_folder(id) else {
            return Ok(None);
        };
        self.run(move |inner| inner.records.load(&layout::upload(&folder)))
            .await
    }

    /// Adds a part, replacing one of the same number; false if the upload is gone.
    pub(crate) async fn put_part(&self, id: &str, part: PartRecord) -> Result<bool, StoreError> {
        let Some(folder) = layout::upload_folder(id) else {
            return Ok(false);
        };
        let stored = self
            .run(move |inner| {
                let _held = inner.locks.hold(&[&folder])?;
                let upload: Option<UploadRecord> = inner.records.load(&layout::upload(&folder))?;
                if upload.is_none() {
                    return Ok(false);
                }
                inner.blobs.touch(std::slice::from_ref(&part.extent))?;
                let name = layout::part(&folder, part.number);
                inner.records.save(&name, &part)?;
                Ok(true)
            })
            .await?;
        self.sweep_if_due(clock::wall());
        Ok(stored)
    }

    /// All parts of an upload, by ascending number.
    pub(crate) async fn parts(&self, id: &str) -> Result<Vec<PartRecord>, StoreError> {
        let Some(folder) = layout::upload_folder(id) else {
            return Ok(Vec::new());
        };
        self.run(move |inner| inner.parts(&folder)).await
    }

    /// Forgets the part with the lowest number, for good.
    pub(crate) async fn remove_first_part(&self, id: &str) -> Result<(), StoreError> {
        let Some(folder) = layout::upload_folder(id) else {
            return Ok(());
        };
        self.run(move |inner| {
            let _held = inner.locks.hold(&[&folder])?;
            if let Some(first) = inner.parts(&folder)?.first() {
                inner.records.remove(&layout::part(&folder, first.number))?;
            }
            Ok(())
        })
        .await
    }

    /// Forgets an upload and its parts, for good; says whether it was there. Its bytes stay with
    /// the object that they have become part of, or are swept.
    pub(crate) async fn remove_upload(&self, id: &str) -> Result<bool, StoreError> {
        let Some(folder) = layout::upload_folder(id) else {
            return Ok(false);
        };
        self.run(move |inner| {
            let _held = inner.locks.hold(&[&folder])?;
            inner.remove_upload(&folder)
        })
        .await
    }
}

impl Inner {
    /// An upload's parts.
    pub(crate) fn parts(&self, folder: &str) -> Result<Vec<PartRecord>, StoreError> {
        let mut parts = Vec::new();
        for name in self.records.names(&layout::parts(folder))? {
            parts.extend(self.records.load::<PartRecord>(&name)?);
        }
        parts.sort_unstable_by_key(|part| part.number);
        Ok(parts)
    }

    /// The record goes first: whoever is killed here leaves parts of no upload, which nobody can
    /// reach and the sweep removes. Under the folder's lock.
    pub(crate) fn remove_upload(&self, folder: &str) -> Result<bool, StoreError> {
        let was_there = self.records.remove(&layout::upload(folder))?;
        for name in self.records.names(folder)? {
            self.records.remove(&name)?;
        }
        self.records.remove_folder(&layout::parts(folder));
        self.records.remove_folder(folder);
        Ok(was_there)
    }
}
