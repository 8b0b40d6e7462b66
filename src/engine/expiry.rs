//! What the service gave for a time only, and whether it lasts as long as the upload.
//!
//! A token, a v1 context and a v2 upload id end at a moment of the service's clock, whatever the line
//! does meanwhile. An upload that will not come to its end before is better told so while something can
//! be done about it. Nothing is decided by it: a line may become faster, and what has ended is met by the
//! rules for what it leads to (a fresh token, a lane from its beginning, a new upload id).

use std::time::Duration;

use crate::engine::Engine;
use crate::engine::event::Moment;

/// How long an upload is watched before its own pace counts: shorter stretches hold one segment's rise
/// or none.
const PACE_AFTER: Duration = Duration::from_secs(10);

/// The pace is that of the last one to two such stretches: long enough to pass over a broken connection,
/// short enough to be the present one.
const PACE_OVER: Duration = Duration::from_secs(60);

/// What is given for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grant {
    /// The upload token: every request carries it.
    Token,
    /// A v1 context, which stands for what its block has: the one that ends first.
    Context,
    /// The id of a v2 upload.
    UploadId,
}

impl Grant {
    /// The name that JSON events carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Context => "ctx",
            Self::UploadId => "upload_id",
        }
    }
}

/// One that ends before the upload does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// Which.
    pub what: Grant,
    /// How long it still lives.
    pub left: Duration,
    /// How long the upload still takes at its present pace.
    pub needed: Duration,
}

/// An upload at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// When.
    pub now: Moment,
    /// The same by the service's clock, in seconds since 1970.
    pub unix_now: u64,
    /// Bytes of the source that are acknowledged.
    pub acknowledged_bytes: u64,
    /// All of them.
    pub size: u64,
    /// What the line carries, as far as that is known, in bytes a second.
    pub line_bytes_per_s: Option<u64>,
    /// When each ends, in seconds since 1970; none for never.
    pub ends: [(Grant, Option<u64>); 3],
}

/// Looks ahead, and tells of each grant once.
#[derive(Clone, Debug, Default)]
pub struct Foresight {
    /// Moments, and what was acknowledged at them: the last one, and the one before.
    marks: Option<[(Moment, u64); 2]>,
    told: Vec<Grant>,
}

impl Foresight {
    /// What ends too early, as far as it was not told before.
    pub fn look(&mut self, sight: &Sight) -> Vec<Expiring> {
        let own = self.pace(sight.now, sight.acknowledged_bytes);
        let pace = own.or(sight.line_bytes_per_s);
        let rest = sight.size.saturating_sub(sight.acknowledged_bytes);
        // A line that is down says nothing about how long it takes.
        let Some(pace) = pace.filter(|pace| *pace > 0) else {
            return Vec::new();
        };
        let needed = Duration::from_secs(rest.div_ceil(pace));
        let mut found = Vec::new();
        for (what, end) in sight.ends {
            let Some(end) = end else { continue };
            let left = Duration::from_secs(end.saturating_sub(sight.unix_now));
            if needed > left && !self.told.contains(&what) {
                self.told.push(what);
                found.push(Expiring { what, left, needed });
            }
        }
        found
    }

    /// The upload's own pace in bytes a second; none before it was watched for long enough.
    fn pace(&mut self, now: Moment, bytes: u64) -> Option<u64> {
        let [before, last] = self.marks.get_or_insert([(now, bytes); 2]);
        if now.since(last.0) >= PACE_OVER {
            *before = std::mem::replace(last, (now, bytes));
        }
        let time = now.since(before.0);
        let rise = bytes.saturating_sub(before.1);
        (time >= PACE_AFTER).then(|| rise.saturating_mul(1000) / millis(time))
    }
}

/// `time` in whole milliseconds, at least one.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).map_or(u64::MAX, |ms| ms.max(1))
}

impl Engine {
    /// When the first v1 context and the upload id end, in seconds since 1970.
    pub fn ends(&self) -> (Option<u64>, Option<u64>) {
        let receipts = self.lanes.values().filter_map(|lane| lane.receipt.as_ref());
        let context = receipts.filter_map(|receipt| receipt.expires).min();
        let upload_id = self.upload_id.as_ref().and(self.upload_id_ends);
        (context, upload_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Grant::{Context, Token, UploadId};

    /// Seconds, bytes acknowledged of 10 000, and when token, context and upload id end, in seconds from
    /// now; then what is told: what, how long it lives, how long the upload takes.
    type Look = (u64, u64, [Option<u64>; 3], &'static [(Grant, u64, u64)]);

    fn looks(line: Option<u64>, looks: &[Look]) -> Foresight {
        let mut foresight = Foresight::default();
        for (seconds, acknowledged_bytes, ends, expected) in looks {
            let unix_now = 1_000_000 + seconds;
            let end = |index: usize| ends[index].map(|left| unix_now + left);
            let told = foresight.look(&Sight {
                now: Moment(Duration::from_secs(*seconds)),
                unix_now,
                acknowledged_bytes: *acknowledged_bytes,
                size: 10_000,
                line_bytes_per_s: line,
                ends: [(Token, end(0)), (Context, end(1)), (UploadId, end(2))],
            });
            let told: Vec<(Grant, u64, u64)> = told
                .iter()
                .map(|it| (it.what, it.left.as_secs(), it.needed.as_secs()))
                .collect();
            assert_eq!(told, *expected, "{seconds} s, {acknowledged_bytes} bytes");
        }
        foresight
    }

    /// Before anything was sent, by what the line carried last time.
    #[test]
    fn at_the_beginning() {
        let all = [Some(99), Some(100), None];
        looks(Some(100), &[(0, 0, all, &[(Token, 99, 100)])]);
        looks(Some(102), &[(0, 0, all, &[])]);
        // What is resumed need not be sent.
        looks(Some(100), &[(0, 200, all, &[])]);
        // A line not known, or down, says nothing.
        looks(None, &[(0, 0, all, &[])]);
        looks(Some(0), &[(0, 0, all, &[])]);
        looks(Some(100), &[(0, 0, [None; 3], &[])]);
        // What is over is over, but only while there is something to send.
        let over = [Some(0), None, Some(0)];
        let both = &[(Token, 0, 100), (UploadId, 0, 100)];
        looks(Some(100), &[(0, 0, over, both), (1, 10_000, over, &[])]);
    }

    /// The upload's own pace counts when there is one, and each is told once.
    #[test]
    fn while_it_runs() {
        let ends = |left| [Some(left), None, Some(left * 2)];
        looks(
            Some(1_000_000),
            &[
                (0, 0, ends(500), &[]),
                // Too early for a pace of its own.
                (9, 9, ends(491), &[]),
                // 1 byte a second: two hours and more to go.
                (
                    10,
                    10,
                    ends(490),
                    &[(Token, 490, 9_990), (UploadId, 980, 9_990)],
                ),
                (11, 11, ends(489), &[]),
            ],
        );
    }

    /// The present pace is that of the last minute or two: an outage passes over, a slower line does not.
    #[test]
    fn the_present_pace() {
        let lives = |left| [None, Some(left), None];
        looks(
            None,
            &[
                (0, 0, lives(300), &[]),
                (60, 3_000, lives(300), &[]),
                // Nothing since: half the pace.
                (110, 3_000, lives(250), &[(Context, 250, 260)]),
            ],
        );
        // Nothing for longer: a line that is down.
        let stands = &[
            (0, 0, lives(9), &[][..]),
            (60, 9_950, lives(9), &[]),
            (120, 9_950, lives(1), &[]),
        ];
        looks(None, stands);
        looks(
            None,
            &[
                (0, 0, lives(900), &[]),
                (60, 6_000, lives(840), &[]),
                // The fast minute is over.
                (120, 6_060, lives(780), &[(Context, 780, 3_940)]),
            ],
        );
    }
}
