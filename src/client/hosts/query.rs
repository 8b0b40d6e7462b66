//! The bucket query: asked of several hosts, again and again while the line is down.

use std::time::{Duration, Instant};

use crate::api::Api;
use crate::client::hosts::Inquiry;
use crate::clock;
use crate::engine::retry::Backoff;
use crate::error::Error;
use crate::error::words::time;
use crate::events::Event;
use crate::kodo::{Regions, region};
use crate::model::{Endpoint, Failure, FailureKind};
use crate::uploader::asking::{self, Turn};

/// Longest wait between two rounds of questions: the first answer that a line brings home after an
/// outage should not come late, and a question is small.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How long the first round has at least: three hosts that are asked 2 s after one another, and a slow
/// line's first answer. A budget that is shorter than a round trip must not end what works.
const ROUND_MIN: Duration = Duration::from_secs(6);

/// How long to go on asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// Every host once: somebody waits for a small answer.
    Once,
    /// For so long.
    For(Duration),
    /// Until somebody answers.
    ForEver,
}

/// Why there is no answer.
pub(super) struct Unanswered {
    pub(super) failure: Failure,
    rounds: u32,
    elapsed: Duration,
}

impl Unanswered {
    /// Whether the service itself refused: nothing that was known before helps then.
    pub(super) fn is_refusal(&self) -> bool {
        !asking::is_of_the_host(&self.failure)
    }

    /// For the user.
    pub(super) fn into_error(self, inquiry: &Inquiry<'_>) -> Error {
        let doing = format!("find the hosts of bucket `{}`", inquiry.bucket);
        let mut failure = self.failure;
        if self.rounds > 1 {
            let (rounds, elapsed) = (self.rounds, time(self.elapsed));
            failure.message = format!("{} (asked {rounds} times in {elapsed})", failure.message);
        }
        Error::from_failure(&doing, failure)
    }
}

/// Asks `hosts` where the bucket lives. Every wait is told as [`Event::Retrying`].
pub(super) async fn ask(
    hosts: &[Endpoint],
    inquiry: &Inquiry<'_>,
    persistence: Persistence,
) -> Result<Regions, Unanswered> {
    let began = clock::instant();
    let mut backoff = Backoff::new(inquiry.seed);
    let mut rounds = 0;
    loop {
        rounds += 1;
        let round = within(persistence, began, round(hosts, inquiry));
        let failure = match round.await {
            Some(Ok(regions)) => return Ok(regions),
            Some(Err(failure)) => failure,
            None => silence(hosts, began),
        };
        let elapsed = clock::instant().saturating_duration_since(began);
        let wait = match failure.retry_after {
            Some(_) => backoff.wait(rounds, &failure, Duration::ZERO),
            None => backoff.wait(rounds, &failure, Duration::ZERO).min(WAIT_MAX),
        };
        let is_over = match persistence {
            Persistence::Once => true,
            Persistence::For(limit) => elapsed.saturating_add(wait) >= limit,
            Persistence::ForEver => false,
        };
        if is_over || !asking::is_of_the_host(&failure) {
            return Err(Unanswered {
                failure,
                rounds,
                elapsed,
            });
        }
        if persistence == Persistence::ForEver && rounds == 1 {
            inquiry.note(format!(
                "nobody says where `{}` lives: {failure}; waiting for the line (wait_online)",
                inquiry.bucket
            ));
        }
        inquiry.listener.tell(&Event::Retrying {
            failure,
            wait,
            attempts: rounds,
        });
        tokio::time::sleep(wait).await;
    }
}

/// Asks every host once.
async fn round(hosts: &[Endpoint], inquiry: &Inquiry<'_>) -> Result<Regions, Failure> {
    let https = hosts.first().is_none_or(Endpoint::is_https);
    asking::ask(hosts, Turn::Beside, |host| {
        one(inquiry.api, host, inquiry, https)
    })
    .await
}

async fn one(
    api: &Api,
    host: &Endpoint,
    inquiry: &Inquiry<'_>,
    https: bool,
) -> Result<Regions, Failure> {
    let request = region::query(inquiry.access_key, inquiry.bucket);
    let answer = api.send(host, request).await?;
    Regions::read(&answer, https, clock::wall())
}

/// What `round` comes to; none when the time for all rounds is over before.
async fn within<T>(
    persistence: Persistence,
    began: Instant,
    round: impl Future<Output = T>,
) -> Option<T> {
    let Persistence::For(limit) = persistence else {
        return Some(round.await);
    };
    let until = began + limit.max(ROUND_MIN);
    tokio::time::timeout_at(until.into(), round).await.ok()
}

/// The failure of hosts that had all the time there was.
fn silence(hosts: &[Endpoint], began: Instant) -> Failure {
    let names: Vec<&str> = hosts.iter().map(Endpoint::authority).collect();
    let elapsed = time(clock::instant().saturating_duration_since(began));
    let what = format!("no answer from {} in {elapsed}", names.join(", "));
    Failure::new(FailureKind::TimedOut, what)
}
