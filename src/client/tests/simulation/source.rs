//! The sources of a world's uploads: files, and every state that they were in.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tempfile::TempDir;

use crate::client::tests::simulation::chance::Chance;
use crate::client::tests::simulation::run::locked;
use crate::client::tests::simulation::world::{Change, World};
use crate::clock;

/// The sources, in the order of [`World::sizes`].
pub(super) struct Sources {
    dir: TempDir,
    seed: u64,
    /// Of each, every state in order.
    versions: Mutex<Vec<Vec<Vec<u8>>>>,
}

impl Sources {
    /// Writes them.
    pub(super) fn new(world: &World) -> Self {
        let this = Self {
            dir: place(),
            seed: world.seed,
            versions: Mutex::default(),
        };
        for (upload, size) in world.sizes().enumerate() {
            let content = Chance::new(this.seed ^ 0xc0de ^ (upload as u64) << 32).bytes(size);
            this.write(upload, &content, false);
            locked(&this.versions).push(vec![content]);
        }
        this
    }

    /// `bytes` as they come from somebody else: in pieces, with a pause of up to `pause_max` before each.
    pub(super) fn stream(
        &self,
        bytes: Vec<u8>,
        pause_max: Duration,
    ) -> impl Stream<Item = io::Result<Bytes>> + use<> {
        let state = (Bytes::from(bytes), Chance::new(self.seed ^ 0x57));
        let most = u64::try_from(pause_max.as_millis()).unwrap();
        stream::unfold(state, move |(mut rest, mut chance)| async move {
            if most > 0 {
                let pause = Duration::from_millis(chance.within(0..=most));
                tokio::time::sleep(pause).await;
            }
            let len = usize::try_from(chance.within(1..=256 * 1024)).unwrap();
            let piece = rest.split_to(len.min(rest.len()));
            (!piece.is_empty()).then_some((Ok(piece), (rest, chance)))
        })
    }

    /// Where the uploader may keep its state.
    pub(super) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(super) fn path(&self, upload: usize) -> PathBuf {
        self.dir.path().join(format!("source{upload}"))
    }

    /// How many states there were so far.
    pub(super) fn count(&self, upload: usize) -> usize {
        locked(&self.versions)[upload].len()
    }

    /// Every state of one.
    pub(super) fn versions(&self, upload: usize) -> Vec<Vec<u8>> {
        locked(&self.versions)[upload].clone()
    }

    /// Makes the first upload's source another one.
    pub(super) fn change(&self, change: Change) {
        let mut versions = locked(&self.versions);
        let versions = &mut versions[0];
        let mut chance = Chance::new(self.seed ^ versions.len() as u64);
        let mut content = versions.last().cloned().unwrap_or_default();
        let len = content.len() as u64;
        let at = |chance: &mut Chance| usize::try_from(chance.within(0..=len - 1)).unwrap();
        match change {
            Change::Rewritten | Change::Replaced => content = chance.bytes(len),
            Change::OneByte if len > 0 => {
                let at = at(&mut chance);
                content[at] ^= 1;
            }
            Change::Truncated if len > 0 => {
                let at = at(&mut chance);
                content.truncate(at);
            }
            Change::Grown => {
                let more = chance.within(1..=1 << 20);
                content.extend(chance.bytes(more));
            }
            Change::OneByte | Change::Truncated | Change::Touched => {}
        }
        self.write(0, &content, change == Change::Replaced);
        versions.push(content);
    }

    /// Writes a source, in place or as another file. Real clocks are too coarse for virtual time,
    /// so the file's time is set.
    fn write(&self, upload: usize, content: &[u8], as_another: bool) {
        let path = self.path(upload);
        let draft = self.dir.path().join("draft");
        let target: &Path = if as_another { &draft } else { &path };
        let mut options = File::options();
        let opened = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(target);
        let mut file = opened.unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(content).unwrap();
        file.set_len(content.len() as u64).unwrap();
        file.set_modified(clock::wall()).unwrap();
        if as_another {
            fs::rename(&draft, &path).unwrap();
        }
    }
}

/// A directory of this world's own; in memory where the system has such a place, since every record
/// of a journal is synced.
fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir()
        && let Ok(dir) = TempDir::new_in(memory)
    {
        return dir;
    }
    TempDir::new().unwrap()
}
