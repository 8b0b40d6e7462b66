//! What lines carried last time, kept in the state directory: `lines.json`, for all ways together.
//!
//! It is a cache: a wrong number costs a few segments of another length. Processes that write it at the
//! same time overwrite one another's news.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::client::kept::{read, replace};
use crate::clock;
use crate::engine::plan::Known;

/// The file's name.
const NAME: &str = "lines.json";

/// Version of the file. One of another version is passed over.
const VERSION: u32 = 1;

/// How long a line is believed to be what it was: a week. Proxies are mended, machines move.
const LIFE: Duration = Duration::from_secs(7 * 86_400);

/// Most ways that are remembered; beyond, those not seen for longest are forgotten.
const WAYS_MAX: usize = 64;

/// The file of a state directory, or none.
#[derive(Clone, Debug)]
pub(super) struct LineBook {
    dir: Option<PathBuf>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    version: u32,
    /// By the way: a host, and the proxy before it.
    lines: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Unix time.
    seen_s: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pace_bytes_per_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    lanes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    body_limit: Option<u64>,
}

impl LineBook {
    pub(super) fn new(state_dir: Option<&Path>) -> Self {
        Self {
            dir: state_dir.map(Path::to_owned),
        }
    }

    /// What is known of `way`: nothing where nothing is kept.
    pub(super) async fn known(&self, way: &str) -> Known {
        let Some(dir) = self.dir.clone() else {
            return Known::default();
        };
        let now_s = clock::unix_seconds(clock::wall());
        let page = blocking::spawn(move || load(&dir)).await;
        let entry = page.ok().and_then(|page| page.lines.get(way).copied());
        let entry = entry.filter(|entry| is_young(entry, now_s));
        entry.map_or_else(Known::default, |entry| Known {
            pace_bytes_per_s: entry.pace_bytes_per_s,
            lanes: entry.lanes,
            body_limit: entry.body_limit,
        })
    }

    /// Keeps what is known of `way` now, as far as that works.
    pub(super) async fn keep(&self, way: &str, known: &Known) {
        let Some(dir) = self.dir.clone().filter(|_| *known != Known::default()) else {
            return;
        };
        let now_s = clock::unix_seconds(clock::wall());
        let entry = Entry {
            seen_s: now_s,
            pace_bytes_per_s: known.pace_bytes_per_s,
            lanes: known.lanes,
            body_limit: known.body_limit,
        };
        let way = way.to_owned();
        let kept = blocking::spawn(move || {
            let mut page = load(&dir);
            page.lines.retain(|_, entry| is_young(entry, now_s));
            page.lines.insert(way, entry);
            while page.lines.len() > WAYS_MAX {
                let oldest = page.lines.iter().min_by_key(|(_, entry)| entry.seen_s);
                let Some(oldest) = oldest.map(|(way, _)| way.clone()) else {
                    break;
                };
                page.lines.remove(&oldest);
            }
            let bytes = serde_json::to_vec_pretty(&page).unwrap_or_default();
            if let Err(error) = replace(&dir, NAME, &bytes) {
                tracing::info!("the line is not remembered in {}: {error}", dir.display());
            }
        });
        kept.await.ok();
    }
}

/// What the file says; nothing where it is damaged or of another version.
fn load(dir: &Path) -> Page {
    let path = dir.join(NAME);
    let page = read(&path).and_then(|bytes| {
        let page: Option<Page> = serde_json::from_slice(&bytes).ok();
        let page = page.filter(|page| page.version == VERSION);
        if page.is_none() {
            tracing::info!(
                "{} is damaged or of another version: ignored",
                path.display()
            );
        }
        page
    });
    page.unwrap_or(Page {
        version: VERSION,
        lines: BTreeMap::new(),
    })
}

/// Whether an entry still counts. A clock that was set back believes nothing.
fn is_young(entry: &Entry, now_s: u64) -> bool {
    (entry.seen_s..entry.seen_s.saturating_add(LIFE.as_secs())).contains(&now_s)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn known(pace: u64) -> Known {
        Known {
            pace_bytes_per_s: Some(pace),
            lanes: Some(4),
            body_limit: Some(300_000),
        }
    }

    /// What one process keeps the next one knows, each way for itself; without a directory nothing.
    #[tokio::test]
    async fn kept_by_way() {
        let dir = tempfile::tempdir().unwrap();
        let book = LineBook::new(Some(dir.path()));
        assert_eq!(book.known("a").await, Known::default());
        book.keep("a", &known(1)).await;
        book.keep("b", &known(2)).await;
        book.keep("c", &Known::default()).await;
        let book = LineBook::new(Some(dir.path()));
        assert_eq!(book.known("a").await, known(1));
        assert_eq!(book.known("b").await, known(2));
        assert_eq!(book.known("c").await, Known::default());
        let nowhere = LineBook::new(None);
        nowhere.keep("a", &known(1)).await;
        assert_eq!(nowhere.known("a").await, Known::default());
        for index in 0..2 * WAYS_MAX {
            book.keep(&format!("way {index}"), &known(3)).await;
        }
        assert!(load(dir.path()).lines.len() <= WAYS_MAX);
    }

    /// Whatever the file holds, nothing is known then, and it is written anew.
    #[tokio::test]
    async fn damage_is_nothing() {
        let damages: [&[u8]; 5] = [
            b"",
            b"{",
            b"{\"version\":2,\"lines\":{}}",
            b"{\"version\":1,\"lines\":{\"a\":{\"seen_s\":-1}}}",
            b"\xff\xfe",
        ];
        for damage in damages {
            let dir = tempfile::tempdir().unwrap();
            let mut file = fs::File::create(dir.path().join(NAME)).unwrap();
            file.write_all(damage).unwrap();
            let book = LineBook::new(Some(dir.path()));
            assert_eq!(book.known("a").await, Known::default());
            book.keep("a", &known(1)).await;
            assert_eq!(book.known("a").await, known(1));
        }
    }

    /// An entry counts for a week, and not before it was written.
    #[test]
    fn entries_age() {
        let entry = Entry {
            seen_s: 1_000,
            pace_bytes_per_s: None,
            lanes: None,
            body_limit: None,
        };
        let week = LIFE.as_secs();
        for (now_s, is_believed) in [
            (999, false),
            (1_000, true),
            (999 + week, true),
            (1_000 + week, false),
        ] {
            assert_eq!(is_young(&entry, now_s), is_believed, "{now_s}");
        }
    }
}
