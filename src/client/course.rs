//! The course of one upload: which hosts it goes to, and where it goes on when these turn out to be
//! the wrong ones, or dead.
//!
//! *A refusal that names other hosts* ("incorrect region, please use …") is followed once, before
//! this run has had anything acknowledged, and remembered. What an earlier run had stored is taken
//! along: it may be there already; where it is not, the engine says so and sends it again.
//!
//! *A dead region*: when an upload has failed because none of its hosts serves (for a minute if nothing
//! of the service's was ever heard, else for the retry budget), each other region of the bucket is tried
//! once. Nothing of the old region's holds there, so the upload starts over; for that the new region
//! must have begun an upload before: a line that is down, or a region that refuses, voids nothing.
//! Where the user named the hosts, or waits for the line, there are no other regions.
//!
//! *A wait for the line* may be one for hosts that are gone for good. As long as it lasts the service is
//! asked every minute where the bucket lives; when that is somewhere else, the upload goes on there.

use std::time::Duration;

use crate::client::hosts::{BucketHosts, HostBook, Inquiry, Persistence};
use crate::client::vigil::Vigil;
use crate::clock;
use crate::engine::record::Checkpoint;
use crate::engine::retry::may_pass;
use crate::error::Error;
use crate::events::{Event, Listener};
use crate::kodo::Region;
use crate::kodo::multipart::{self, Initiated, Upload};
use crate::model::{Endpoint, Failure, FailureKind, ObjectKey};
use crate::uploader::asking::{self, Turn};
use crate::uploader::{Orphans, Permit, Unfinished};

/// How long another region may take to show that it serves: the time of a few addresses and hosts.
const TRIAL: Duration = Duration::from_secs(20);

/// Where an upload goes, and where it went.
pub(super) struct Course<'a> {
    book: &'a HostBook,
    inquiry: Inquiry<'a>,
    /// Where upload ids go that a region does not take back.
    pub(super) orphans: Option<Orphans>,
    /// Those in use.
    pub(super) hosts: BucketHosts,
    /// Whom a refusal sent us away from in this call.
    followed: Option<Endpoint>,
    /// Why the bucket's own region was left.
    home_failed: Option<Error>,
    /// Nothing that was recorded before holds at the hosts in use.
    starts_over: bool,
    /// While it waits for the line, the service is asked whether the bucket has moved.
    asks_on_the_way: bool,
    /// Who has what was recorded before.
    left: Option<Endpoint>,
    /// Bytes of the source sent to hosts that were left; none before.
    pub(super) sent_elsewhere: Option<u64>,
}

impl<'a> Course<'a> {
    /// Finds the hosts to begin with.
    pub(super) async fn begin(book: &'a HostBook, inquiry: Inquiry<'a>) -> Result<Self, Error> {
        let hosts = book.find(&inquiry).await?;
        let names: Vec<String> = hosts.up.iter().map(ToString::to_string).collect();
        let names = names.join(", ");
        tracing::info!("upload hosts of `{}`: {names}", inquiry.bucket);
        let waits = inquiry.persistence == Persistence::ForEver && !hosts.is_named;
        let course = Self {
            book,
            inquiry,
            orphans: None,
            hosts,
            followed: None,
            home_failed: None,
            starts_over: false,
            asks_on_the_way: waits,
            left: None,
            sent_elsewhere: None,
        };
        if course.hosts.is_named && course.hosts.is_followed {
            course.note(format!(
                "the endpoint that is set does not serve `{}`, as was found before: going to {names}; \
                 set `endpoint` to that, or to nothing",
                course.inquiry.bucket
            ));
        }
        Ok(course)
    }

    /// What the next run takes up of what was recorded.
    ///
    /// An earlier process may have gone to another region: what it stored is there.
    pub(super) fn take_up(&mut self, checkpoint: Checkpoint) -> Checkpoint {
        if std::mem::take(&mut self.starts_over) {
            if let (Some(id), Some(orphans)) = (&checkpoint.upload_id, &self.orphans) {
                // Its hosts do not serve now; they may tomorrow.
                drop(orphans.lost(id, self.left.as_ref()));
            }
            return Checkpoint::default();
        }
        let receipts = checkpoint.lanes.values().map(|(_, receipt)| receipt);
        let named: Vec<&str> = receipts.filter_map(|it| it.host.as_deref()).collect();
        let stores = |up: &[Endpoint]| up.iter().any(|host| named.contains(&host.authority()));
        let others = &self.hosts.others;
        let place = others.iter().position(|region| stores(&region.all_up()));
        if let (Some(place), false) = (place, stores(&self.hosts.up)) {
            let region = self.hosts.others.remove(place);
            self.note(format!(
                "an earlier run went to region {}: going on there",
                region.id
            ));
            let home = self.go_to(region);
            self.hosts.others.extend(home);
        }
        checkpoint
    }

    /// Decides what follows a failed upload: `Ok` for another run.
    pub(super) async fn go_on(
        &mut self,
        unfinished: Unfinished,
        permit: &Permit,
        key: Option<&ObjectKey>,
    ) -> Result<(), Error> {
        self.sent_elsewhere = Some(unfinished.sent_bytes);
        match unfinished.error.failure().cloned() {
            Some(failure) => match &failure.kind {
                FailureKind::WrongRegion { hosts } => {
                    self.follow(unfinished, &failure, hosts).await
                }
                _ if may_pass(&failure) && unfinished.may_move => {
                    self.stand_in(unfinished, &failure, permit, key).await
                }
                _ => Err(self.blame(unfinished.error)),
            },
            None => Err(unfinished.error),
        }
    }

    /// Goes to the hosts that a refusal names.
    async fn follow(
        &mut self,
        unfinished: Unfinished,
        failure: &Failure,
        named: &[String],
    ) -> Result<(), Error> {
        if self.home_failed.is_some() {
            return Err(self.blame(unfinished.error));
        }
        let refused = failure.trace.as_ref().map(|trace| trace.endpoint.clone());
        let Some(refused) = refused.or(self.hosts.up.first().cloned()) else {
            return Err(unfinished.error);
        };
        if unfinished.has_acknowledged {
            let next = "the bucket may have moved while the upload ran: run the same line again, it \
                        goes where the service says";
            return Err(unfinished.error.next(next));
        }
        if let Some(first) = &self.followed {
            let next = format!(
                "{} sent the upload to {}, which refuses it too: set `endpoint` to an upload host of \
                 the bucket's region, or ask the service's support",
                first.authority(),
                refused.authority()
            );
            return Err(unfinished.error.next(next));
        }
        // The refused host's scheme is the one that works here; a port is its own.
        let read = |host: &String| Endpoint::parse(host, refused.is_https()).ok();
        let hosts: Vec<Endpoint> = named.iter().filter_map(read).collect();
        let hosts: Vec<Endpoint> = hosts.into_iter().filter(|host| *host != refused).collect();
        if hosts.is_empty() {
            // Perhaps what we know of the bucket is old.
            if !self.ask_again().await {
                return Err(unfinished.error);
            }
        } else {
            self.hosts = self.book.learn(&self.inquiry, &hosts).await;
        }
        self.say_followed(&refused, unfinished.safe_bytes);
        self.followed = Some(refused);
        Ok(())
    }

    /// Keeps an eye on an upload that waits for the line for ever, whose events it has from the
    /// listener that takes the place of `listener`. None where nobody is to be asked.
    pub(super) fn vigil(&self, listener: &Listener, every: Duration) -> Option<(Vigil, Listener)> {
        let vigil = || Vigil::beside(listener.clone(), every);
        (self.asks_on_the_way && !self.hosts.is_followed).then(vigil)
    }

    /// Returns when nobody serves the upload and the service names a host that is not in use: where the
    /// bucket lives by now.
    pub(super) async fn moved(&self, vigil: &Vigil) -> BucketHosts {
        let mut asked = None;
        loop {
            vigil.nobody_serves(asked).await;
            let found = self.book.look_again(&self.inquiry).await;
            asked = Some(clock::instant());
            let is_new = |host: &Endpoint| !self.hosts.up.contains(host);
            if let Some(found) = found.filter(|found| found.up.iter().any(is_new)) {
                return found;
            }
        }
    }

    /// Goes to `hosts` with an upload that was stopped for that.
    pub(super) fn move_to(&mut self, hosts: BucketHosts, unfinished: &Unfinished) {
        self.sent_elsewhere = Some(unfinished.sent_bytes);
        if unfinished.is_unclear {
            // Only those that the commit was sent to can tell what became of it.
            self.asks_on_the_way = false;
            return;
        }
        self.hosts = hosts;
        self.note(format!(
            "the hosts that `{}` was known to live behind do not serve; going to those that the \
             service names now",
            self.inquiry.bucket
        ));
    }

    /// Asks once more where the bucket lives; whether the answer is another one than before.
    async fn ask_again(&mut self) -> bool {
        if self.hosts.is_named {
            return false;
        }
        self.book.distrust(&self.inquiry);
        match self.book.find(&self.inquiry).await {
            Ok(found) if found.up != self.hosts.up => {
                self.hosts = found;
                true
            }
            _ => false,
        }
    }

    fn say_followed(&self, refused: &Endpoint, safe_bytes: u64) {
        let up: Vec<&str> = self.hosts.up.iter().map(Endpoint::authority).collect();
        let mut what = format!(
            "`{}` does not serve `{}`: it lives behind {}; going on there",
            refused.authority(),
            self.inquiry.bucket,
            up.join(", ")
        );
        if safe_bytes > 0 {
            what.push_str("; what an earlier run had stored is sent again if it is not there");
        }
        if self.hosts.is_named {
            what.push_str("; set `endpoint` to that, or to nothing");
        }
        self.note(what);
    }

    /// Goes to the next region that serves.
    async fn stand_in(
        &mut self,
        unfinished: Unfinished,
        failure: &Failure,
        permit: &Permit,
        key: Option<&ObjectKey>,
    ) -> Result<(), Error> {
        if self.inquiry.persistence == Persistence::ForEver {
            return Err(unfinished.error);
        }
        if self.hosts.is_followed && self.followed.is_none() {
            // What an earlier upload learned may not hold any more.
            self.hosts = self.book.learn(&self.inquiry, &[]).await;
            self.note(format!(
                "the hosts that `{}` was said to live behind do not serve ({failure}); going back \
                 to its own",
                self.inquiry.bucket
            ));
            return Ok(());
        }
        if std::mem::take(&mut self.hosts.is_remembered) && self.ask_again().await {
            self.note(format!(
                "the hosts that `{}` was known to live behind do not serve ({failure}); going to \
                 those that the service names now",
                self.inquiry.bucket
            ));
            return Ok(());
        }
        while !self.hosts.others.is_empty() {
            let region = self.hosts.others.remove(0);
            if let Err(why) = self.try_region(&region, permit, key).await {
                tracing::info!("region {} does not stand in: {why}", region.id);
                continue;
            }
            let lost = match unfinished.safe_bytes {
                0 => String::new(),
                bytes => format!("; {bytes} bytes that were stored go again"),
            };
            self.note(format!(
                "no host of the bucket's region serves ({failure}); region {} stands in: the upload \
                 starts over there{lost}",
                region.id
            ));
            self.left = self.hosts.up.first().cloned();
            self.go_to(region);
            self.starts_over = true;
            self.home_failed.get_or_insert(unfinished.error);
            return Ok(());
        }
        Err(unfinished.error)
    }

    /// Whether `region` takes this upload: begins a v2 upload there, and gives it back. It carries
    /// no byte, makes no object, and shows the same rights as any upload.
    async fn try_region(
        &self,
        region: &Region,
        permit: &Permit,
        key: Option<&ObjectKey>,
    ) -> Result<(), Failure> {
        let (api, bucket) = (self.inquiry.api, self.inquiry.bucket);
        let token = permit.token(clock::wall());
        let initiate = async |host: &Endpoint| {
            let request = multipart::initiate(&token, bucket, key);
            let answer = api.send(host, request).await?;
            let id = Initiated::read(&answer, clock::wall())?.upload_id;
            let lost = self
                .orphans
                .as_ref()
                .map(|it| it.lost(id.as_str(), Some(host)));
            let abort = Upload::new(bucket, key, &id).abort(&token);
            let answer = api.send(host, abort).await;
            let aborted = answer.and_then(|answer| multipart::aborted(&answer, clock::wall()));
            if let (Ok(()), Some(lost)) = (aborted, lost) {
                lost.given_back();
            }
            Ok(())
        };
        let trial = asking::ask(&region.up, Turn::Beside, initiate);
        let tried = tokio::time::timeout(TRIAL, trial).await;
        tried.unwrap_or_else(|_| Err(Failure::new(FailureKind::TimedOut, "no answer in time")))
    }

    /// Puts `region` in force; the one that was before, if there was one.
    fn go_to(&mut self, region: Region) -> Option<Region> {
        self.hosts.up = region.all_up();
        self.hosts.rs = self.book.management(region.rs.clone());
        self.hosts.rsf = self.book.management(region.rsf.clone());
        self.hosts.region.replace(region)
    }

    /// `error`, unless it is that of a region that only stood in and does not serve the bucket: then
    /// what happened to the bucket's own region is what counts.
    fn blame(&mut self, error: Error) -> Error {
        use FailureKind as K;
        let kind = error.failure().map(|failure| &failure.kind);
        match kind {
            Some(K::WrongRegion { .. } | K::NoSuchBucket) => {
                self.home_failed.take().unwrap_or(error)
            }
            _ => error,
        }
    }

    fn note(&self, what: String) {
        self.inquiry.listener.tell(&Event::Notice(what));
    }
}
