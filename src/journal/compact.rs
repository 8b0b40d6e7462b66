//! Which records are still in force. Pure.

use crate::engine::record::Record;

/// The records of `records` that are still in force for a source of `now` bytes, when they were
/// written for one of `was` bytes.
///
/// `records` must make sense as they stand: [`Checkpoint::replay`] has taken all of them. With
/// `was == now` the result replays to the very same checkpoint. With another size, lanes whose
/// stretch of the object is the same under both sizes stay (their bytes are compared with the
/// source before the commit, as on every resume), the others go, and so does a commit that may have
/// been sent: it was for another object. A layout that cannot be that of the new size takes
/// everything with it.
///
/// [`Checkpoint::replay`]: crate::engine::record::Checkpoint::replay
pub(crate) fn in_force(records: &[Record], was: u64, now: u64) -> Vec<Record> {
    let begun = |record: &Record| matches!(record, Record::Begun { .. });
    let Some(start) = records.iter().rposition(begun) else {
        return Vec::new();
    };
    let Record::Begun { layout, .. } = &records[start] else {
        return Vec::new();
    };
    if layout.check(now).is_none() {
        return Vec::new();
    }
    let mut kept = vec![records[start].clone()];
    for record in &records[start + 1..] {
        match record {
            Record::Begun { .. } => {}
            Record::Segment { lane, .. } => {
                if layout.lane(*lane, was) == layout.lane(*lane, now) {
                    kept.push(record.clone());
                }
            }
            Record::LaneReset { lane } => {
                kept.retain(|kept| !is_commit(kept) && !is_of_lane(kept, *lane));
            }
            Record::CommitRefused => kept.retain(|kept| !is_commit(kept)),
            Record::Committing(_) => {
                kept.retain(|kept| !is_commit(kept));
                if was == now {
                    kept.push(record.clone());
                }
            }
        }
    }
    kept
}

fn is_commit(record: &Record) -> bool {
    matches!(record, Record::Committing(_))
}

fn is_of_lane(record: &Record, wanted: u64) -> bool {
    matches!(record, Record::Segment { lane, .. } if *lane == wanted)
}

#[cfg(test)]
mod tests;
