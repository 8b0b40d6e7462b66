//! What was learned of a bucket's hosts, kept in the state directory: `regions/<subject>.json`, one
//! private file for each bucket and way to ask for it.
//!
//! It is a cache: whatever is wrong with a file, it is passed over, which `-v` tells, and the service is
//! asked as if there were none. Nothing secret is in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::blocking;
use crate::client::kept::{read, replace};
use crate::clock;
use crate::kodo::{AccessKey, Region, Regions};
use crate::model::{Bucket, Endpoint};

/// Version of the files. Those of another one are passed over.
const VERSION: u32 = 1;

/// How long hosts are believed that a refusal named where nobody asked for regions: one day, as the
/// bucket query's own answers.
pub(super) const LIFE_OF_REFUSALS: Duration = Duration::from_secs(86_400);

/// What is remembered, by what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subject {
    access_key: String,
    bucket: String,
    /// The user named the upload hosts; else these are the hosts of the bucket query.
    is_named: bool,
    /// With their scheme, in order.
    hosts: Vec<String>,
}

impl Subject {
    pub(super) fn new(
        access_key: &AccessKey,
        bucket: &Bucket,
        is_named: bool,
        hosts: &[Endpoint],
    ) -> Self {
        Self {
            access_key: access_key.as_str().to_owned(),
            bucket: bucket.as_str().to_owned(),
            is_named,
            hosts: texts(hosts),
        }
    }

    /// What its file is called.
    fn file_name(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let digest = Sha1::digest(text);
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digits}.json")
    }
}

/// What was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The bucket query's answer; none where the user named the hosts.
    pub(super) regions: Option<Regions>,
    /// Where a refusal sent us: these hosts go before all others.
    pub(super) followed: Vec<Endpoint>,
    /// When, in whole seconds.
    pub(super) learned_at: SystemTime,
    pub(super) life: Duration,
}

impl Entry {
    /// Until when it is believed. A clock that was set back believes nothing.
    pub(super) fn until(&self, now: SystemTime) -> SystemTime {
        match self.learned_at > now {
            true => SystemTime::UNIX_EPOCH,
            false => self.learned_at + self.life,
        }
    }
}

/// The files of a state directory, or none.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    dir: Option<PathBuf>,
}

impl Cache {
    pub(super) fn new(state_dir: Option<&Path>) -> Self {
        Self {
            dir: state_dir.map(|dir| dir.join("regions")),
        }
    }

    /// What is known of `subject`, if its file can be read and is whole.
    pub(super) async fn load(&self, subject: &Subject) -> Option<Entry> {
        let path = self.dir.as_ref()?.join(subject.file_name());
        let subject = subject.clone();
        let read = blocking::spawn(move || {
            let bytes = read(&path)?;
            let entry = decode(&bytes, &subject);
            if entry.is_none() {
                tracing::info!(
                    "{} is damaged or of another version: ignored",
                    path.display()
                );
            }
            entry
        });
        read.await.ok().flatten()
    }

    /// Keeps `entry` for later processes, as far as that works.
    pub(super) async fn store(&self, subject: &Subject, entry: &Entry) {
        let Some(dir) = self.dir.clone() else { return };
        let name = subject.file_name();
        let bytes = encode(subject, entry);
        let written = blocking::spawn(move || {
            if let Err(error) = replace(&dir, &name, &bytes) {
                let dir = dir.display();
                tracing::info!("the bucket's hosts are not remembered in {dir}: {error}");
            }
        });
        written.await.ok();
    }
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    version: u32,
    /// Of the rest, as it is written.
    crc32: u32,
    learned: Learned,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Learned {
    subject: Subject,
    learned_at_s: u64,
    life_s: u64,
    followed: Vec<String>,
    regions: Vec<Place>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    id: String,
    ttl_s: u64,
    up: Vec<String>,
    up_old: Vec<String>,
    up_accelerated: Vec<String>,
    rs: Vec<String>,
    rsf: Vec<String>,
}

fn encode(subject: &Subject, entry: &Entry) -> Vec<u8> {
    let regions = entry.regions.as_ref().map_or(&[][..], Regions::all);
    let learned = Learned {
        subject: subject.clone(),
        learned_at_s: clock::unix_seconds(entry.learned_at),
        life_s: entry.life.as_secs(),
        followed: texts(&entry.followed),
        regions: regions.iter().map(Place::of).collect(),
    };
    let page = Page {
        version: VERSION,
        crc32: checksum(&learned),
        learned,
    };
    serde_json::to_vec(&page).unwrap_or_default()
}

/// What `bytes` tell of `subject`, if they are exactly what [`encode`] writes.
fn decode(bytes: &[u8], subject: &Subject) -> Option<Entry> {
    let page: Page = serde_json::from_slice(bytes).ok()?;
    let learned = page.learned;
    let is_whole = page.version == VERSION && page.crc32 == checksum(&learned);
    if !is_whole || learned.subject != *subject {
        return None;
    }
    let regions = learned.regions.into_iter().map(Place::read);
    let regions = regions.collect::<Option<Vec<Region>>>()?;
    let learned_at = Duration::from_secs(learned.learned_at_s);
    let entry = Entry {
        regions: Regions::of(regions),
        followed: endpoints(learned.followed)?,
        learned_at: SystemTime::UNIX_EPOCH.checked_add(learned_at)?,
        life: Duration::from_secs(learned.life_s),
    };
    // Its end must be a time, too.
    entry.learned_at.checked_add(entry.life)?;
    Some(entry)
}

fn checksum(learned: &Learned) -> u32 {
    crc32fast::hash(&serde_json::to_vec(learned).unwrap_or_default())
}

impl Place {
    fn of(region: &Region) -> Self {
        Self {
            id: region.id.clone(),
            ttl_s: region.ttl.as_secs(),
            up: texts(&region.up),
            up_old: texts(&region.up_old),
            up_accelerated: texts(&region.up_accelerated),
            rs: texts(&region.rs),
            rsf: texts(&region.rsf),
        }
    }

    fn read(self) -> Option<Region> {
        Some(Region {
            id: self.id,
            ttl: Duration::from_secs(self.ttl_s),
            up: endpoints(self.up)?,
            up_old: endpoints(self.up_old)?,
            up_accelerated: endpoints(self.up_accelerated)?,
            rs: endpoints(self.rs)?,
            rsf: endpoints(self.rsf)?,
        })
    }
}

/// URLs of `hosts`.
fn texts(hosts: &[Endpoint]) -> Vec<String> {
    hosts.iter().map(Endpoint::to_string).collect()
}

fn endpoints(texts: Vec<String>) -> Option<Vec<Endpoint>> {
    let read = |text: String| Endpoint::parse(&text, true).ok();
    texts.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests;
