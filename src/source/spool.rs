//! A stream on its way to the disk, so that it can be read as often as needed, also by a later process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::blocking;
use crate::model::{ByteSpan, Failure, FailureKind};
use crate::source::span::PIECE_LEN;
use crate::source::{Fetched, FileSource, Source, StreamSource};

/// How the name of a whole spool file ends.
const WHOLE: &str = "spool";

/// The same of one that is being written.
const PART: &str = "part";

/// Digits of the hash that files are called after.
const NAME_LEN: usize = 40;

/// How long a file is left alone that nobody has locked: far longer than it takes to lock one.
const SWEPT_AGE: Duration = Duration::from_secs(60);

/// Pause between two looks at files that are in use.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Looks at files that are in use, half a second: a run that was just dropped may still be reading a piece
/// of its own.
const LOOKS: u32 = 25;

/// A spool file, locked for as long as this lives: nobody sweeps it away.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    path: PathBuf,
    file: Arc<File>,
}

impl SpoolFile {
    /// Writes all that `stream` gives, of which a piece at most was read before, to a file of `dir` that is
    /// called after `name`, in place of an older one that nobody uses. One that does not come to its end
    /// leaves nothing behind.
    ///
    /// `random` tells its first version from those of others that are written at the same time.
    pub(crate) async fn write(
        stream: &StreamSource,
        dir: &Path,
        (name, random): (&str, u64),
    ) -> Result<Self, Failure> {
        let path = dir.join(format!("{name}.{WHOLE}"));
        let part = dir.join(format!("{name}-{random:016x}.{PART}"));
        let (folder, begun) = (dir.to_owned(), part.clone());
        // Made where the file is: whoever is not waited for any more leaves none behind.
        let begun = Unfinished(begun);
        let begun = on_disk(&path, move || Ok((begin(&folder, &begun.0)?, begun))).await?;
        let (file, unfinished) = (Arc::new(begun.0), begun.1);
        let mut span = ByteSpan::new(0, stream.len());
        loop {
            if span.len > 0 {
                let (bytes, file) = (stream.read(span)?, Arc::clone(&file));
                on_disk(&path, move || (&*file).write_all(&bytes)).await?;
                stream.let_go(span);
            }
            if stream.has_ended() {
                break;
            }
            let Fetched { len, .. } = stream.fetch(PIECE_LEN).await?;
            span = ByteSpan::new(span.end(), len);
        }
        let (whole, syncing) = (path.clone(), Arc::clone(&file));
        let path = on_disk(&path, move || {
            syncing.sync_all()?;
            put_in_place(&unfinished.0, whole)
        })
        .await?;
        Ok(Self { path, file })
    }

    /// Whether another upload writes to, or reads from, a file of `dir` that is called after `name`, and
    /// does so for longer than a run that was just dropped.
    pub(crate) async fn is_in_use(dir: &Path, name: &str) -> bool {
        for _ in 0..LOOKS {
            if !Self::is_in_use_now(dir, name).await {
                return false;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Self::is_in_use_now(dir, name).await
    }

    async fn is_in_use_now(dir: &Path, name: &str) -> bool {
        let (dir, name) = (dir.to_owned(), name.to_owned());
        let looking = blocking::spawn(move || {
            // A directory that is not there yet holds nothing.
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            let is_its = |entry: &fs::DirEntry| {
                let file_name = entry.file_name();
                let rest = file_name.to_str().and_then(|it| it.strip_prefix(&name));
                rest.is_some_and(|rest| rest.starts_with(['.', '-']))
            };
            entries.filter(is_its).any(|entry| is_locked(&entry.path()))
        });
        looking.await.unwrap_or(false)
    }

    /// The file at `path`, which an earlier process wrote; none where it is not there, or in use.
    pub(crate) fn adopt(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        file.try_lock().ok()?;
        let (path, file) = (path.to_owned(), Arc::new(file));
        Some(Self { path, file })
    }

    /// What was written, whatever lies at its path by now.
    pub(crate) async fn source(&self) -> Result<Source, Failure> {
        let opened = FileSource::over(Arc::clone(&self.file), &self.path);
        opened.await.map(Source::File)
    }

    /// Removes it. What cannot be removed is swept away later.
    pub(crate) async fn remove(self) {
        let removing = blocking::spawn(move || {
            if let Err(error) = fs::remove_file(&self.path) {
                tracing::info!("{} stays: {error}", self.path.display());
            }
            drop(self.file);
        });
        // A runtime that ends meanwhile leaves it to the next process.
        removing.await.ok();
    }
}

/// Whether a whole file would be called so. Others in the directory are somebody else's.
pub(crate) fn is_spool_name(path: &Path) -> bool {
    is_named(path, WHOLE)
}

/// Whether `path` is called as we call files that end in `end`.
fn is_named(path: &Path, end: &str) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let is_ours = stem.is_some_and(|stem| {
        let hash = stem.split('-').next().unwrap_or_default();
        let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        hash.len() == NAME_LEN && hash.as_bytes().iter().all(is_digit)
    });
    is_ours && path.extension().is_some_and(|extension| extension == end)
}

/// Removes what a writer that is gone left half-written in `dir`, and whole files that nobody uses and
/// `is_needed` does not know.
///
/// What was written to within the last minute is left alone: a file is there a moment before its lock.
pub(crate) fn sweep(dir: &Path, now: SystemTime, is_needed: impl Fn(&Path) -> bool) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let is = |end: &str| is_named(&path, end);
        let is_left = is(PART) || (is(WHOLE) && !is_needed(&path));
        if is_left
            && is_old(&path, now)
            && let Some(left) = SpoolFile::adopt(&path)
        {
            tracing::info!("{} was left behind, and is removed", left.path.display());
            fs::remove_file(&left.path).ok();
        }
    }
}

/// A power cut after a rename may undo it, unless the directory is on the disk, too. Where that cannot be
/// asked for, the stream would have to be given again.
fn keep_name(path: &Path) {
    #[cfg(unix)]
    if let Some(dir) = path.parent() {
        File::open(dir).and_then(|dir| dir.sync_all()).ok();
    }
    #[cfg(not(unix))]
    let _ = path;
}

fn is_locked(path: &Path) -> bool {
    let locked = File::open(path).map(|file| file.try_lock());
    matches!(locked, Ok(Err(TryLockError::WouldBlock)))
}

/// Whether nobody wrote to the file of late, by the clock that stamps files.
fn is_old(path: &Path, now: SystemTime) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age >= SWEPT_AGE))
}

/// A file that is removed unless it is renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Renamed, it is not there any more. A disk that hangs is not worth a thread here.
        fs::remove_file(&self.0).ok();
    }
}

/// A new file that only its owner reads, in a directory that is made if need be.
fn begin(dir: &Path, part: &Path) -> io::Result<File> {
    let mut folders = fs::DirBuilder::new();
    folders.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
    folders.create(dir)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(part)?;
    file.lock()?;
    Ok(file)
}

/// Gives a file that was written its name; what it is called then. One that another upload uses keeps its
/// place: that upload may be resumed from it when this one is long refused.
fn put_in_place(part: &Path, whole: PathBuf) -> io::Result<PathBuf> {
    let old = SpoolFile::adopt(&whole);
    let is_used = old.is_none() && whole.try_exists()?;
    let path = match is_used {
        true => part.with_extension(WHOLE),
        false => whole,
    };
    fs::rename(part, &path)?;
    keep_name(&path);
    Ok(path)
}

/// Does `work` where blocking is allowed.
async fn on_disk<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let failure = |why: String| {
        let what = format!("cannot write the stream to {}: {why}", path.display());
        Failure::new(FailureKind::Source, what)
    };
    match blocking::spawn(work).await {
        Ok(done) => done.map_err(|error| failure(error.to_string())),
        Err(_) => Err(failure("the program is shutting down".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::FutureExt;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::clock;
    use crate::source::{Budget, Supply};

    fn stream(supply: Supply) -> StreamSource {
        StreamSource::new(supply, None, Budget::new(4 * PIECE_LEN))
    }

    fn names(dir: &Path) -> BTreeSet<String> {
        let names = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }

    /// What a file of ours is called after, all of this one digit.
    fn hash(digit: char) -> String {
        digit.to_string().repeat(NAME_LEN)
    }

    /// What is written whole stays until it is removed; what breaks, or is not waited for, leaves nothing;
    /// a sweep removes what no living writer and no journal has, and nothing of somebody else's.
    #[tokio::test]
    async fn files() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("spool");
        let later = clock::wall() + 2 * SWEPT_AGE;
        let bytes = vec![9; 3 * 256 * 1024 + 7];
        let reader = Supply::Reader(Box::pin(io::Cursor::new(bytes.clone())));
        let whole = SpoolFile::write(&stream(reader), &dir, (&hash('a'), 1))
            .await
            .unwrap();
        let spool = |digit| format!("{}.spool", hash(digit));
        let at = dir.join(spool('a'));
        assert_eq!(fs::read(&at).unwrap(), bytes);
        assert!(SpoolFile::adopt(&at).is_none(), "it is in use");
        #[cfg(unix)]
        for (path, expected) in [(&*dir, 0o700), (&*at, 0o600)] {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, expected, "{}", path.display());
        }

        let (mut writer, reader) = tokio::io::duplex(64);
        writer.write_all(b"abc").await.unwrap();
        let waiting = stream(Supply::Reader(Box::pin(reader)));
        let named = hash('b');
        let mut writing = Box::pin(SpoolFile::write(&waiting, &dir, (&named, 2)));
        let part = dir.join(format!("{named}-0000000000000002.part"));
        // It is there a moment before it is locked.
        while names(&dir).len() < 2 || SpoolFile::adopt(&part).is_some() {
            assert!((&mut writing).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        sweep(&dir, later, |_| false);
        assert_eq!(names(&dir).len(), 2, "both are in use");
        drop(writing);
        while names(&dir).len() > 1 {
            // What the disk had begun ends by itself.
            tokio::task::yield_now().await;
        }
        assert_eq!(names(&dir), BTreeSet::from([spool('a')]));

        let part = format!("{}-0.part", hash('c'));
        let somebodys = ["film.part", "film.spool", "film"].map(str::to_owned);
        let ours = [part, spool('d'), spool('e')];
        for name in ours.iter().chain(&somebodys) {
            File::create_new(dir.join(name)).unwrap();
        }
        sweep(&dir, SystemTime::UNIX_EPOCH, |_| false);
        assert_eq!(names(&dir).len(), 7, "none has aged");
        sweep(&dir, later, |path| path.ends_with(spool('e')));
        let mut left = BTreeSet::from(somebodys);
        left.extend([spool('a'), spool('e')]);
        assert_eq!(names(&dir), left);
        whole.remove().await;
        assert!(SpoolFile::adopt(&at).is_none());
        assert!(SpoolFile::adopt(&dir.join(spool('e'))).is_some());
    }
}
