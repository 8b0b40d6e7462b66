//! Which hosts serve a bucket: those that the user named, else those that the service names; and what
//! was learned about either.
//!
//! What is learned is kept in memory and, with a state directory, in files ([`cache`]), by access key,
//! bucket and who was asked. It is believed for its life, and afterwards only while nobody can be
//! asked. Hosts that a refusal named ("incorrect region, please use …") go before all others.

mod cache;
mod query;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::api::Api;
use crate::client::hosts::cache::{Cache, Entry, LIFE_OF_REFUSALS, Subject};
use crate::clock;
use crate::error::Error;
use crate::events::{Event, Listener};
use crate::kodo::{AccessKey, Region, Regions};
use crate::model::{Bucket, Endpoint};

pub(crate) use query::Persistence;

/// How long an answer that is too old is used before the hosts are asked again: a directory of small
/// files must not wait for each of them.
const STALE_LIFE: Duration = Duration::from_secs(60);

/// What the user says about hosts.
#[derive(Clone, Debug)]
pub(crate) struct HostSettings {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) rs_url: Option<Endpoint>,
    /// Not empty.
    pub(crate) uc_urls: Vec<Endpoint>,
    /// Where to remember what is learned.
    pub(crate) state_dir: Option<PathBuf>,
}

/// Knows and remembers the hosts of buckets.
#[derive(Debug)]
pub(crate) struct HostBook {
    settings: HostSettings,
    cache: Cache,
    /// What is known, and until when to believe it.
    known: Mutex<HashMap<Subject, (Entry, SystemTime)>>,
}

/// Whose hosts are looked for, and how.
#[derive(Clone, Debug)]
pub(crate) struct Inquiry<'a> {
    pub(crate) api: &'a Api,
    pub(crate) access_key: &'a AccessKey,
    pub(crate) bucket: &'a Bucket,
    pub(crate) persistence: Persistence,
    /// Hears of waits, and of answers that are too old.
    pub(crate) listener: &'a Listener,
    /// Seed of the jitter.
    pub(crate) seed: u64,
}

impl Inquiry<'_> {
    fn note(&self, what: String) {
        self.listener.tell(&Event::Notice(what));
    }
}

/// The hosts of a bucket, best first.
#[derive(Clone, Debug)]
pub(crate) struct BucketHosts {
    /// Never empty.
    pub(crate) up: Vec<Endpoint>,
    /// Stat and delete.
    pub(crate) rs: Vec<Endpoint>,
    /// List.
    pub(crate) rsf: Vec<Endpoint>,
    /// The region that they are of, where it is known.
    pub(crate) region: Option<Region>,
    /// Regions that may stand in; none where the user named the hosts.
    pub(crate) others: Vec<Region>,
    /// The user named the upload hosts.
    pub(crate) is_named: bool,
    /// A refusal sent us here before.
    pub(crate) is_followed: bool,
    /// The service said so some time ago: it may say something else now.
    pub(crate) is_remembered: bool,
}

impl HostBook {
    /// The settings must name hosts to ask for a bucket's region.
    pub(crate) fn new(settings: HostSettings) -> Self {
        assert!(
            !settings.uc_urls.is_empty(),
            "no host to ask for a bucket's region"
        );
        Self {
            cache: Cache::new(settings.state_dir.as_deref()),
            settings,
            known: Mutex::default(),
        }
    }

    /// The book of an upload that names its hosts itself. Without any, this one.
    pub(crate) fn with_endpoints(self: &Arc<Self>, endpoints: Vec<Endpoint>) -> Arc<Self> {
        if endpoints.is_empty() {
            return Arc::clone(self);
        }
        Arc::new(Self::new(HostSettings {
            endpoints,
            ..self.settings.clone()
        }))
    }

    /// What journals call the service: the same for every host of one region, and whatever is learned.
    pub(crate) fn store(&self) -> String {
        let named = self.settings.endpoints.first();
        let named = named.or(self.settings.uc_urls.first());
        named.map(Endpoint::to_string).unwrap_or_default()
    }

    /// The hosts of a bucket, as far as they are known or can be found out.
    pub(crate) async fn find(&self, inquiry: &Inquiry<'_>) -> Result<BucketHosts, Error> {
        let subject = self.subject(inquiry);
        let known = self.recall(&subject).await;
        let now = clock::wall();
        if !self.settings.endpoints.is_empty() {
            let known = known.filter(|(_, until)| now < *until);
            let followed = known.map(|(entry, _)| entry.followed);
            return Ok(self.named(followed.unwrap_or_default()));
        }
        let known = known.and_then(|(entry, until)| Some((entry.regions.clone()?, entry, until)));
        if let Some((regions, entry, until)) = &known
            && now < *until
        {
            let hosts = self.of_regions(regions, &entry.followed);
            return Ok(BucketHosts {
                is_remembered: true,
                ..hosts
            });
        }
        let stale = known.map(|(regions, entry, _)| (regions, entry));
        self.ask(inquiry, subject, stale).await
    }

    /// The hosts that manage the bucket's objects; nobody is asked when the user named one.
    pub(crate) async fn find_management(
        &self,
        inquiry: &Inquiry<'_>,
    ) -> Result<BucketHosts, Error> {
        match &self.settings.rs_url {
            Some(_) if self.settings.endpoints.is_empty() => Ok(self.named(Vec::new())),
            _ => self.find(inquiry).await,
        }
    }

    /// Remembers that a refusal named `hosts`: uploads into this bucket begin there from now on.
    /// No hosts: what was remembered is forgotten.
    pub(crate) async fn learn(&self, inquiry: &Inquiry<'_>, hosts: &[Endpoint]) -> BucketHosts {
        let subject = self.subject(inquiry);
        let now = clock::wall();
        // An answer of the bucket query keeps its age: it is replaced by the next one.
        let answer = self.recall(&subject).await;
        let answer = answer.filter(|(entry, _)| entry.regions.is_some());
        let (mut entry, until) = answer.unwrap_or_else(|| {
            let entry = Entry {
                regions: None,
                followed: Vec::new(),
                learned_at: whole_seconds(now),
                life: LIFE_OF_REFUSALS,
            };
            (entry, now + LIFE_OF_REFUSALS)
        });
        entry.followed = hosts.to_vec();
        self.cache.store(&subject, &entry).await;
        let learned = match &entry.regions {
            Some(regions) => self.of_regions(regions, hosts),
            None => self.named(hosts.to_vec()),
        };
        self.locked().insert(subject, (entry, until));
        learned
    }

    /// Asks every host of the service once where the bucket lives by now; none when nobody says. The
    /// answer is remembered.
    pub(crate) async fn look_again(&self, inquiry: &Inquiry<'_>) -> Option<BucketHosts> {
        let once = Inquiry {
            persistence: Persistence::Once,
            ..inquiry.clone()
        };
        let subject = self.subject(inquiry);
        self.ask(&once, subject, None).await.ok()
    }

    /// Forgets what is known: it turned out to be wrong.
    pub(crate) fn distrust(&self, inquiry: &Inquiry<'_>) {
        let subject = self.subject(inquiry);
        if let Some((_, until)) = self.locked().get_mut(&subject) {
            *until = SystemTime::UNIX_EPOCH;
        }
    }

    fn subject(&self, inquiry: &Inquiry<'_>) -> Subject {
        let is_named = !self.settings.endpoints.is_empty();
        let hosts = match is_named {
            true => &self.settings.endpoints,
            false => &self.settings.uc_urls,
        };
        Subject::new(inquiry.access_key, inquiry.bucket, is_named, hosts)
    }

    /// What is known of `subject`, and until when to believe it.
    async fn recall(&self, subject: &Subject) -> Option<(Entry, SystemTime)> {
        if let Some(known) = self.locked().get(subject) {
            return Some(known.clone());
        }
        let entry = self.cache.load(subject).await?;
        let until = entry.until(clock::wall());
        self.locked()
            .insert(subject.clone(), (entry.clone(), until));
        Some((entry, until))
    }

    /// Asks the service; falls back to `stale` when nobody answers.
    async fn ask(
        &self,
        inquiry: &Inquiry<'_>,
        subject: Subject,
        stale: Option<(Regions, Entry)>,
    ) -> Result<BucketHosts, Error> {
        let persistence = match (&stale, inquiry.persistence) {
            // One round tells whether anybody is there; the older answer serves meanwhile.
            (Some(_), _) => Persistence::For(Duration::ZERO),
            (None, asked_for) => asked_for,
        };
        let answer = query::ask(&self.settings.uc_urls, inquiry, persistence).await;
        let now = clock::wall();
        match (answer, stale) {
            (Ok(regions), _) => {
                let entry = Entry {
                    regions: Some(regions.clone()),
                    followed: Vec::new(),
                    learned_at: whole_seconds(now),
                    life: regions.ttl(),
                };
                self.cache.store(&subject, &entry).await;
                let until = entry.until(now);
                self.locked().insert(subject, (entry, until));
                Ok(self.of_regions(&regions, &[]))
            }
            (Err(unanswered), Some((regions, entry))) if !unanswered.is_refusal() => {
                inquiry.note(format!(
                    "nobody says where `{}` lives now: {}; going by what was said before",
                    inquiry.bucket, unanswered.failure
                ));
                let hosts = self.of_regions(&regions, &entry.followed);
                self.locked().insert(subject, (entry, now + STALE_LIFE));
                Ok(hosts)
            }
            (Err(unanswered), _) => Err(unanswered.into_error(inquiry)),
        }
    }

    /// The hosts that the user named, or those that one of them sent us to. Management calls go
    /// nowhere else, unless the user says where.
    fn named(&self, followed: Vec<Endpoint>) -> BucketHosts {
        let is_followed = !followed.is_empty();
        let up = match is_followed {
            true => followed,
            false => self.settings.endpoints.clone(),
        };
        let management = self.management(up.clone());
        BucketHosts {
            rs: management.clone(),
            rsf: management,
            up,
            region: None,
            others: Vec::new(),
            is_named: !self.settings.endpoints.is_empty(),
            is_followed,
            is_remembered: false,
        }
    }

    /// The hosts of the bucket's region: its home, or another one if `followed` belong to that. A
    /// refusal at home leaves nothing of home's upload hosts but those that it names.
    fn of_regions(&self, regions: &Regions, followed: &[Endpoint]) -> BucketHosts {
        let serves = |region: &&Region| region.all_up().iter().any(|up| followed.contains(up));
        let meant = regions.all().iter().skip(1).find(serves);
        let region = meant.unwrap_or(regions.home());
        let mut up = followed.to_vec();
        if followed.is_empty() || meant.is_some() {
            let all = region.all_up();
            up.extend(all.into_iter().filter(|host| !followed.contains(host)));
        }
        let others = regions.all().iter().filter(|other| *other != region);
        BucketHosts {
            up,
            rs: self.management(region.rs.clone()),
            rsf: self.management(region.rsf.clone()),
            region: Some(region.clone()),
            others: others.cloned().collect(),
            is_named: false,
            is_followed: !followed.is_empty(),
            is_remembered: false,
        }
    }

    /// The management host that the user named, else `hosts`.
    pub(crate) fn management(&self, hosts: Vec<Endpoint>) -> Vec<Endpoint> {
        match &self.settings.rs_url {
            Some(named) => vec![named.clone()],
            None => hosts,
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Subject, (Entry, SystemTime)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `time` as files keep it.
fn whole_seconds(time: SystemTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(clock::unix_seconds(time))
}
