//! Does the service still have what the journal claims? Asked where the service can tell: of lanes
//! that it holds under an upload id.
//!
//! Asked when an earlier process left such lanes, and when a commit was refused for one of them.
//! Nothing is sent meanwhile: the answer may be that all of it is gone. A lane that the list does not
//! show as it was acknowledged is void and goes again; what the list shows beyond that is not ours.

use crate::engine::commit::Commit;
use crate::engine::event::{AttemptId, Effect, Listed, Moment, Notice, Outcome};
use crate::engine::lane::Step;
use crate::engine::plan::Protocol;
use crate::engine::retry::{Verdict, verdict};
use crate::engine::send::LANE_RESTARTS_MAX;
use crate::engine::{Engine, Phase, Work, WorkKind};
use crate::model::{Failure, FailureKind};

/// A list that is being asked for, page by page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// The lane that the next page begins with.
    from: u64,
    /// Lanes that were not as they should be.
    missed: u64,
    /// What the service said when it refused a commit; none for what an earlier process left.
    refusal: Option<Failure>,
    not_before: Moment,
    failures: u32,
    is_under_way: bool,
    /// A fresh token was asked for: the second one that is refused is the last.
    renewed: bool,
}

impl Listing {
    /// When the next page may be asked for.
    pub(crate) fn due(&self) -> Option<Moment> {
        (!self.is_under_way).then_some(self.not_before)
    }
}

impl Engine {
    /// What an earlier process left is compared before anything is sent. Not when its commit may have
    /// ended the upload id: what became of that comes first.
    pub(crate) fn list_what_is_left(&mut self) {
        let has_lanes = self.lanes.values().any(|lane| lane.done > 0);
        if self.layout.protocol == Protocol::Parts && has_lanes && self.unclear.is_none() {
            self.listing = Some(Listing::default());
        }
    }

    /// A commit was refused for what the service has: sends again what that is.
    pub(crate) fn list_after(&mut self, refusal: Failure) {
        self.phase = Phase::Sending;
        self.listing = Some(Listing {
            refusal: Some(refusal),
            ..Listing::default()
        });
    }

    /// Asks for a page when it is time.
    pub(crate) fn list_if_due(&mut self, now: Moment) {
        let (Phase::Sending, Some(listing)) = (&self.phase, &self.listing) else {
            return;
        };
        let (Some(due), from) = (listing.due(), listing.from) else {
            return;
        };
        let Some(upload_id) = self.upload_id.clone().filter(|_| due <= now) else {
            return;
        };
        let host = self.best_host(now);
        let attempt = self.attempt(now, WorkKind::List, host);
        self.effects.push_back(Effect::List {
            attempt,
            host,
            upload_id,
            from,
        });
        self.with_listing(|listing| listing.is_under_way = true);
    }

    /// A page came: the lanes from where it was asked for, and where the next one begins.
    pub(crate) fn listed(
        &mut self,
        now: Moment,
        attempt: AttemptId,
        lanes: &[Listed],
        next: Option<u64>,
    ) {
        let Some(work) = self.attempts.remove(&attempt) else {
            return;
        };
        self.answered(now, &work);
        let Some(from) = self.listing.as_ref().map(|listing| listing.from) else {
            return;
        };
        // Pages go forward, or there are no more.
        let next = next.filter(|next| *next > from);
        let missed = self.missed(lanes, from..next.unwrap_or(u64::MAX));
        let count = missed.len() as u64;
        for index in missed {
            if self.restarts_of(index) >= LANE_RESTARTS_MAX {
                let what = "the service loses again and again what it has acknowledged";
                self.give_up(now, Failure::new(FailureKind::Mismatch, what), true);
            }
            self.void_lane(index, "the service does not have it as it was sent");
        }
        self.with_listing(|listing| {
            listing.missed += count;
            listing.failures = 0;
            listing.is_under_way = false;
            listing.from = next.unwrap_or(listing.from);
        });
        if next.is_none() {
            self.list_ended(now);
        }
    }

    pub(crate) fn list_failed(&mut self, now: Moment, work: &Work, failure: Failure) {
        self.with_listing(|listing| {
            listing.failures += 1;
            listing.is_under_way = false;
        });
        let failures = self.listing.as_ref().map_or(1, |listing| listing.failures);
        let spent = self.is_spent(now);
        // Who answers that there is no such call has no list.
        let has_none = matches!(
            failure.kind,
            FailureKind::NotFound | FailureKind::MethodNotAllowed
        );
        match verdict(&failure) {
            Verdict::StartOver => self.listed_as_gone(now, failure),
            Verdict::Again if has_none => self.do_without_list(now, failure),
            Verdict::Again | Verdict::Resend | Verdict::NextHost | Verdict::SlowDown if spent => {
                self.give_up(now, failure, true);
            }
            Verdict::SlowDown => {
                self.slow_down(now, failure, failures, None);
            }
            other @ (Verdict::Again | Verdict::Resend | Verdict::NextHost) => {
                let skip = other == Verdict::NextHost && self.hosts.has_other(now, work.host);
                let until = self.wait_after(now, failure, failures, None, skip);
                self.with_listing(|listing| listing.not_before = until);
            }
            Verdict::RenewToken if self.may_renew_to_list() => {
                self.with_listing(|listing| listing.renewed = true);
                self.token_refused(now, work, failure);
            }
            // A refusal. Tokens that may upload and not list are no reason to stop.
            _ => self.do_without_list(now, failure),
        }
    }

    /// The service has no such upload id. After an unclear commit that may be a success.
    fn listed_as_gone(&mut self, now: Moment, failure: Failure) {
        self.listing = None;
        match (self.unclear, self.job.can_stat) {
            (None, _) => {
                self.start_over(now, failure, "the service no longer knows the upload id");
            }
            (Some(_), true) => {
                self.phase = Phase::Committing(Commit::default());
                self.look_else_start_over(now, failure);
            }
            (Some(_), false) => self.finish(Outcome::Unknown(failure)),
        }
    }

    /// There is no other token. While a list is asked for, nothing else is: the refusal was its own.
    /// False when there is none.
    pub(crate) fn list_may_not(&mut self, now: Moment, refusal: &Failure) -> bool {
        let is_listing = self.listing.is_some();
        if is_listing {
            self.do_without_list(now, refusal.clone());
        }
        is_listing
    }

    /// A fresh token, once: it may be the clock that is wrong, not the right that is missing.
    fn may_renew_to_list(&self) -> bool {
        let asked = self.listing.as_ref().is_some_and(|listing| listing.renewed);
        !asked && (self.token.generation == 0 || self.token.proven)
    }

    /// The attempt at a page was taken back.
    pub(crate) fn list_again(&mut self) {
        self.with_listing(|listing| listing.is_under_way = false);
    }

    fn do_without_list(&mut self, now: Moment, failure: Failure) {
        let notice = Notice::NotListed { failure };
        self.effects.push_back(Effect::Notice(notice));
        self.list_ended(now);
    }

    fn list_ended(&mut self, now: Moment) {
        let Some(listing) = self.listing.take() else {
            return;
        };
        if let (Some(refusal), 0) = (listing.refusal, listing.missed) {
            let why = "the service cannot make the object of what it has";
            self.start_over(now, refusal, why);
        }
    }

    /// The whole lanes in this range that the list does not show as they were acknowledged.
    fn missed(&self, lanes: &[Listed], range: std::ops::Range<u64>) -> Vec<u64> {
        let is_whole = |index: &u64| {
            let span = self.layout.lane(*index, self.job.size);
            let lane = self.lanes.get(index);
            let (Some(span), Some(lane)) = (span, lane) else {
                return false;
            };
            let is_void = matches!(lane.step, Step::Recording(..) | Step::Resetting(_));
            lane.done == span.len && !is_void
        };
        let shows = |index: &u64| {
            let place = lanes.binary_search_by_key(index, |listed| listed.lane);
            let lane = self.lanes.get(index);
            let (Ok(place), Some(lane)) = (place, lane) else {
                return false;
            };
            let receipt = lane.receipt.as_ref().map(|receipt| receipt.text.as_str());
            lanes[place].len == lane.done && receipt == Some(lanes[place].receipt.as_str())
        };
        let claimed = self.lanes.range(range).map(|(index, _)| *index);
        claimed
            .filter(|index| is_whole(index) && !shows(index))
            .collect()
    }

    fn restarts_of(&self, index: u64) -> u32 {
        self.lanes.get(&index).map_or(0, |lane| lane.restarts)
    }

    fn with_listing(&mut self, change: impl FnOnce(&mut Listing)) {
        if let Some(listing) = &mut self.listing {
            change(listing);
        }
    }
}
