//! Management calls that change an object's properties and leave its bytes.

use crate::clock;
use crate::devserver::finish::rules::check_metadata;
use crate::devserver::manage::{Manage, Outcome};
use crate::devserver::refusal::Refusal;
use crate::devserver::route::Call;
use crate::devserver::store::ObjectRecord;
use crate::devserver::template::CHINA_OFFSET_SECONDS;

/// Seconds of a day.
const DAY_SECS: u64 = 24 * 60 * 60;

/// Highest storage class. Source: protocol reference, section 1.2, `fileType`.
const FILE_TYPE_MAX: u8 = 5;

/// How to change one object, decided before it is locked.
type Change = Box<dyn FnOnce(&mut ObjectRecord) -> Result<(), Refusal> + Send>;

impl Manage<'_> {
    /// Carries out a call that changes an object, under its lock.
    pub(crate) async fn change(&self, call: Call) -> Outcome {
        let now = clock::unix_seconds(self.now);
        let (entry, change): (_, Change) = match call {
            Call::Chgm {
                entry,
                mime_type,
                conditions,
                metadata,
            } => (
                entry,
                Box::new(move |object| chgm(object, mime_type, &conditions, metadata)),
            ),
            Call::Chtype { entry, file_type } => (
                entry,
                Box::new(move |object| {
                    if file_type > FILE_TYPE_MAX {
                        return Err(Refusal::new(400, "invalid file type"));
                    }
                    object.file_type = file_type;
                    Ok(())
                }),
            ),
            Call::Chstatus { entry, disabled } => (
                entry,
                Box::new(move |object| {
                    object.disabled = disabled;
                    Ok(())
                }),
            ),
            Call::DeleteAfterDays { entry, days } => (
                entry,
                Box::new(move |object| {
                    object.expiration = expiration(now, days);
                    Ok(())
                }),
            ),
            _ => return Err(Refusal::new(400, "no such operation")),
        };
        let (bucket, key) = self.names(&entry)?;
        let changed = self.store.change_object(bucket, key, change).await?;
        changed.unwrap_or_else(|| Err(Refusal::no_object()))?;
        Ok(None)
    }
}

/// The Unix second from which on an object is gone that is to be deleted `days` after `now`: the
/// midnight that follows. None for 0 days, which takes an expiry away.
pub(crate) fn expiration(now: u64, days: u64) -> Option<u64> {
    if days == 0 {
        return None;
    }
    let then = now
        .saturating_add(days.saturating_mul(DAY_SECS))
        .saturating_add(CHINA_OFFSET_SECONDS);
    let midnight = then.div_ceil(DAY_SECS).saturating_mul(DAY_SECS);
    Some(midnight.saturating_sub(CHINA_OFFSET_SECONDS))
}

/// Names that are not given keep their values: what the service does with them is not documented.
fn chgm(
    object: &mut ObjectRecord,
    mime_type: Option<String>,
    conditions: &[(String, String)],
    metadata: Vec<(String, String)>,
) -> Result<(), Refusal> {
    if mime_type.is_none() && metadata.is_empty() {
        return Err(Refusal::new(400, "nothing to change"));
    }
    for (name, expected) in conditions {
        let found = match name.as_str() {
            "hash" => object.hash.clone(),
            "mime" => object.mime_type.clone(),
            "fsize" => object.size.to_string(),
            "putTime" => object.put_time.to_string(),
            _ => return Err(Refusal::new(400, "invalid condition")),
        };
        if found != *expected {
            return Err(Refusal::new(613, "cond not match"));
        }
    }
    if let Some(mime_type) = mime_type {
        object.mime_type = mime_type;
    }
    object.metadata.extend(metadata);
    check_metadata(&object.metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects go at a midnight in China, that of the day on which their time is over.
    #[test]
    fn objects_expire_at_midnight() {
        let midnight = 20_000 * DAY_SECS - CHINA_OFFSET_SECONDS;
        let rows = [
            (midnight, 0, None),
            (midnight, 1, Some(midnight + DAY_SECS)),
            (midnight + 1, 1, Some(midnight + 2 * DAY_SECS)),
            (midnight - 1, 1, Some(midnight + DAY_SECS)),
            (midnight, 30, Some(midnight + 30 * DAY_SECS)),
        ];
        for (now, days, expected) in rows {
            assert_eq!(expiration(now, days), expected, "{days} days after {now}");
        }
        assert!(expiration(u64::MAX, u64::MAX).is_some(), "no overflow");
    }
}
