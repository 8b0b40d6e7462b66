//! Upload ids that could not be given back, one small file each, `orphans/<hash>.orphan` in the state
//! directory.
//!
//! Each is written once and removed, never changed; so no lock is needed. Everything here blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

use crate::engine::record::Digest;
use crate::journal::file::make_dir;
use crate::journal::header::Target;
use crate::journal::lock::private;

/// How long an orphan is worth a try, in seconds: an upload id lives for 7 days at most. Source:
/// protocol reference, section 5.1.
pub(crate) const ORPHAN_LIFE_S: u64 = 7 * 24 * 60 * 60;

/// Most orphans that are kept: each is a request, beside uploads that have something to do. More than
/// a week of bad lines makes.
pub(crate) const ORPHANS_MAX: usize = 256;

/// Longest file that is read, in bytes: a key of 750 bytes and an upload id of 1024, escaped, and names.
const LEN_MAX: u64 = 16 * 1024;

/// A v2 upload id that nobody goes on with, and that the service still has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Orphan {
    /// Where its object would have gone.
    pub(crate) target: Target,
    /// The upload id.
    pub(crate) upload_id: String,
    /// The upload host that knows it, as `scheme://host:port`; none where any of the bucket's will do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) host: Option<String>,
    /// When it was lost, in seconds since 1970.
    pub(crate) since: u64,
}

impl Orphan {
    /// Where it is noted: by its upload id and the service that knows that.
    fn path(&self, state_dir: &Path) -> PathBuf {
        let mut hasher = Sha1::new();
        for text in [&self.target.store, &self.upload_id] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        let name = String::from(Digest(hasher.finalize().into()));
        dir(state_dir).join(format!("{name}.orphan"))
    }
}

/// Notes `orphan`. One that is noted already stays as it is; above [`ORPHANS_MAX`] it is an error.
pub(crate) fn keep(state_dir: &Path, orphan: &Orphan) -> io::Result<()> {
    make_dir(&dir(state_dir))?;
    if names(state_dir)?.len() >= ORPHANS_MAX && list(state_dir, orphan.since)?.len() >= ORPHANS_MAX
    {
        return Err(io::Error::other(format!("there are {ORPHANS_MAX} already")));
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    match private(&mut options).open(orphan.path(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Torn by a crash, it is found to be none, and removed.
        file => file?.write_all(&serde_json::to_vec(orphan)?),
    }
}

/// Forgets `orphan`: the service has it back.
pub(crate) fn forget(state_dir: &Path, orphan: &Orphan) -> io::Result<()> {
    match fs::remove_file(orphan.path(state_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Those that are worth a try at `now`, in seconds since 1970, the oldest first. The others are removed,
/// and so is what is none.
pub(crate) fn list(state_dir: &Path, now: u64) -> io::Result<Vec<Orphan>> {
    let mut orphans = Vec::new();
    for path in names(state_dir)? {
        match read(&path) {
            Ok(Some(orphan)) if orphan.since.saturating_add(ORPHAN_LIFE_S) > now => {
                orphans.push(orphan);
            }
            Ok(_) => fs::remove_file(&path)?,
            // Given back by somebody else meanwhile, or not ours to read.
            Err(_) => {}
        }
    }
    orphans.sort_by_key(|orphan| orphan.since);
    Ok(orphans)
}

fn dir(state_dir: &Path) -> PathBuf {
    state_dir.join("orphans")
}

/// The files that are orphans by their names.
fn names(state_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_orphan = entry
            .path()
            .extension()
            .is_some_and(|kind| kind == "orphan");
        if is_orphan && entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// What a file holds; none for what makes no sense.
fn read(path: &Path) -> io::Result<Option<Orphan>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LEN_MAX).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{NOW, header};

    fn orphan(upload_id: &str, since: u64) -> Orphan {
        Orphan {
            target: header().target,
            upload_id: upload_id.to_owned(),
            host: Some("https://up.example.com".to_owned()),
            since,
        }
    }

    /// Kept once, listed oldest first, forgotten; too old or senseless, they go by themselves.
    #[test]
    fn the_life_of_an_orphan() {
        let state = tempfile::tempdir().unwrap();
        let state_dir = state.path();
        assert_eq!(list(state_dir, NOW).unwrap(), []);
        let (old, new) = (orphan("a", NOW - 60), orphan("b", NOW));
        for orphan in [&new, &old, &new] {
            keep(state_dir, orphan).unwrap();
        }
        for (name, text) in [("torn.orphan", "{\"targ"), ("note.txt", "mine")] {
            let mut file = File::create(dir(state_dir).join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(list(state_dir, NOW).unwrap(), [old.clone(), new.clone()]);
        assert_eq!(names(state_dir).unwrap().len(), 2);
        forget(state_dir, &old).unwrap();
        forget(state_dir, &old).unwrap();
        assert_eq!(list(state_dir, NOW).unwrap(), [new]);
        assert_eq!(list(state_dir, NOW + ORPHAN_LIFE_S).unwrap(), []);
        assert_eq!(names(state_dir).unwrap(), Vec::<PathBuf>::new());
        assert!(dir(state_dir).join("note.txt").exists());
    }

    /// There are never more than so many, and those that are too old make room.
    #[test]
    fn bounded() {
        let state = tempfile::tempdir().unwrap();
        for count in 0..ORPHANS_MAX {
            keep(state.path(), &orphan(&count.to_string(), NOW)).unwrap();
        }
        assert!(keep(state.path(), &orphan("one more", NOW)).is_err());
        assert_eq!(names(state.path()).unwrap().len(), ORPHANS_MAX);
        keep(state.path(), &orphan("later", NOW + ORPHAN_LIFE_S)).unwrap();
        assert_eq!(names(state.path()).unwrap().len(), 1);
    }
}
