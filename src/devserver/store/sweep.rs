//! Takes out what nobody can reach any more: bodies cut off by a kill, replaced and deleted bytes,
//! uploads that have expired.
//!
//! # Why it never takes a blob that is in use, whatever other processes do
//!
//! Writers hold the *references* lock, shared, from touching blobs (which fails if one is gone)
//! until the record that refers to them is written. A sweep
//! 1. takes that lock alone for an instant: records begun before are written now;
//! 2. notes the blobs not touched for [`GRACE`] before its own start;
//! 3. strikes out what contexts and uploads refer to, *then* what objects do: references only ever
//!    move in this direction, and a move between objects touches its blobs;
//! 4. takes the lock alone, looks at each blob left *again*, and removes it if it is still as old.
//!
//! A record written during 3 has touched its blobs after 1, so 4 sees them young. One written after
//! 4 finds the blob gone and fails with a clean error. The clocks of processes on one directory are
//! taken to agree within [`GRACE`].

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crate::clock;
use crate::devserver::store::error::StoreError;
use crate::devserver::store::record::{ContextRecord, Extent, NamedObject, UploadRecord};
use crate::devserver::store::records::Records;
use crate::devserver::store::{Inner, Store, layout};

/// How long an unreferenced blob stays: the time between the end of a body and its record (a form's
/// last fields), and a reader's time to finish an object that has just been replaced.
const GRACE: Duration = Duration::from_secs(2 * 60);

/// Time between sweeps of one store, in seconds. Each reads every record once.
const PERIOD_SECS: u64 = 10 * 60;

/// Bytes made unreferenced that make a sweep due earlier: a benchmark that replaces one large object
/// again and again must not fill the disk.
const GARBAGE_LEN_MAX: u64 = 1 << 30;

/// Shortest time between sweeps of one process, in seconds.
const PAUSE_SECS: u64 = 60;

/// How long contexts and uploads stay beyond their expiry, in seconds: a commit that began in time
/// may still be reading them.
const EXPIRED_SECS: u64 = 24 * 60 * 60;

/// Blobs removed under one hold of the references lock: writers wait some milliseconds at most.
const BATCH_LEN: usize = 64;

impl Store {
    /// Starts a sweep in the background when one is due: after some time, or after much has been
    /// replaced. Never waits.
    pub(crate) fn sweep_if_due(&self, now: SystemTime) {
        let seconds = clock::unix_seconds(now);
        let due = self.inner.sweep_due.load(Ordering::Relaxed);
        let garbage_len = self.inner.garbage_len.load(Ordering::Relaxed);
        let early = due.saturating_sub(PERIOD_SECS - PAUSE_SECS);
        if seconds < early || (seconds < due && garbage_len < GARBAGE_LEN_MAX) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let next = seconds + PERIOD_SECS;
        let claimed =
            self.inner
                .sweep_due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if claimed.is_err() {
            return;
        }
        self.inner.garbage_len.store(0, Ordering::Relaxed);
        let urgent = garbage_len >= GARBAGE_LEN_MAX;
        let (inner, alive) = (Arc::clone(&self.inner), Arc::downgrade(&self.alive));
        runtime.spawn_blocking(move || {
            let go_on = || alive.strong_count() > 0;
            let swept = if urgent || inner.swept_long_ago(seconds) {
                inner.sweep(now, GRACE, &go_on)
            } else {
                Ok(false)
            };
            if let Err(error) = swept {
                tracing::warn!(%error, "could not sweep the store; trying again later");
            }
        });
    }
}

impl Inner {
    /// Counts bytes that have probably become unreferenced.
    pub(crate) fn count_garbage(&self, len: u64) {
        self.garbage_len.fetch_add(len, Ordering::Relaxed);
    }

    /// Whether no process has swept this store lately.
    fn swept_long_ago(&self, seconds: u64) -> bool {
        let last = self.records.load::<u64>(layout::SWEPT).ok().flatten();
        last.is_none_or(|last| seconds >= last.saturating_add(PERIOD_SECS) || seconds < last)
    }

    /// One sweep, begun at `now`; ends early, at a clean point, once `go_on` says no. Does nothing
    /// while another one runs, and then says false. `grace` is [`GRACE`], but for tests: what holds above holds
    /// without it.
    pub(crate) fn sweep(
        &self,
        now: SystemTime,
        grace: Duration,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool, StoreError> {
        let Some(_sweep) = self.locks.try_sweep()? else {
            return Ok(false);
        };
        self.records
            .save(layout::SWEPT, &clock::unix_seconds(now))?;
        // What was touched since then counts as in use.
        let Some(before) = now.checked_sub(grace) else {
            return Ok(true);
        };
        drop(self.locks.hold_references()?);
        self.sweep_incoming(now)?;
        let candidates = self.old_blobs(before)?;
        let Some(unreferenced) = self.without_references(candidates, now, go_on)? else {
            return Ok(true);
        };
        let unreferenced: Vec<String> = unreferenced.into_iter().collect();
        for batch in unreferenced.chunks(BATCH_LEN).take_while(|_| go_on()) {
            let _held = self.locks.hold_references()?;
            for id in batch {
                if self.is_old(id, before)? {
                    self.blobs.remove(id)?;
                }
            }
        }
        Ok(true)
    }

    fn old_blobs(&self, before: SystemTime) -> Result<HashSet<String>, StoreError> {
        let mut old = HashSet::new();
        for id in self.blobs.ids()? {
            if self.is_old(&id, before)? {
                old.insert(id);
            }
        }
        Ok(old)
    }

    fn is_old(&self, id: &str, before: SystemTime) -> Result<bool, StoreError> {
        let found = self.blobs.look(id)?;
        Ok(found.is_some_and(|(_, touched)| touched < before))
    }

    /// `blobs` without those that anything refers to; none when told to stop. Removes contexts,
    /// uploads and objects whose time is over on the way.
    fn without_references(
        &self,
        mut blobs: HashSet<String>,
        now: SystemTime,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<HashSet<String>>, StoreError> {
        let seconds = clock::unix_seconds(now);
        let is_over = |expires: u64| expires.saturating_add(EXPIRED_SECS) < seconds;
        let mut strike = |data: &[Extent]| {
            for extent in data {
                blobs.remove(&extent.blob);
            }
        };
        for name in self.records.names(layout::CONTEXTS)? {
            match self.records.load::<ContextRecord>(&name)? {
                Some(context) if is_over(context.expires) => {
                    self.records.remove(&name)?;
                }
                Some(context) => strike(&context.data),
                None => {}
            }
            if !go_on() {
                return Ok(None);
            }
        }
        for folder in self.upload_folders()? {
            if self.upload_is_over(&folder, &is_over)? {
                continue;
            }
            for part in self.parts(&folder)? {
                strike(&[part.extent]);
            }
            if !go_on() {
                return Ok(None);
            }
        }
        for name in self.records.names(layout::OBJECTS)? {
            if let Some(named) = self.records.load::<NamedObject>(&name)? {
                strike(&named.object.data);
                if named.object.expiration.is_some_and(is_over) {
                    self.remove_expired_object(&name, &is_over)?;
                }
            }
            if !go_on() {
                return Ok(None);
            }
        }
        Ok(Some(blobs))
    }

    /// The folders of all uploads, also of those whose record is gone.
    fn upload_folders(&self) -> Result<HashSet<String>, StoreError> {
        let names = self.records.names(layout::UPLOADS)?;
        let ids = names.iter().filter_map(|name| name.split('/').nth(1));
        Ok(ids.filter_map(layout::upload_folder).collect())
    }

    /// Removes an upload that has expired, or was half removed when its process was killed.
    fn upload_is_over(
        &self,
        folder: &str,
        is_over: &dyn Fn(u64) -> bool,
    ) -> Result<bool, StoreError> {
        let _held = self.locks.hold(&[folder])?;
        let upload: Option<UploadRecord> = self.records.load(&layout::upload(folder))?;
        let gone = upload.is_none_or(|upload| is_over(upload.expires));
        if gone {
            self.remove_upload(folder)?;
        }
        Ok(gone)
    }

    fn remove_expired_object(
        &self,
        name: &str,
        is_over: &dyn Fn(u64) -> bool,
    ) -> Result<(), StoreError> {
        let _held = self.locks.hold(&[name])?;
        let now: Option<NamedObject> = self.records.load(name)?;
        let expiration = now.and_then(|named| named.object.expiration);
        if expiration.is_some_and(is_over) {
            self.records.remove(name)?;
        }
        Ok(())
    }

    /// Removes what arrived for processes that are gone: files in `incoming` that are not locked.
    fn sweep_incoming(&self, now: SystemTime) -> Result<(), StoreError> {
        let Records::Disk(disk) = &self.records else {
            return Ok(());
        };
        for name in disk.files(layout::INCOMING)? {
            let found = disk.look(&name)?;
            // Between being made and being locked a file is unlocked, and young.
            let is_old = found.is_some_and(|(_, written)| written + GRACE < now);
            if is_old && disk.is_unlocked(&name) {
                disk.remove(&name)?;
            }
        }
        Ok(())
    }
}
