//! Small private files of the state directory that are caches: whatever is wrong with one, it is passed
//! over, which `-v` tells.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::journal::file::make_dir;

/// Longest file that is read, in bytes: 16 regions of 16 hosts of each kind come to 200 KB.
const LEN_MAX: u64 = 1 << 20;

/// The file's bytes; none if there is no such file, or it is none that we would write.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let trouble = |error: io::Error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::info!("{} cannot be read, and is ignored: {error}", path.display());
        }
    };
    // A pipe would keep us waiting for its other end.
    let found = fs::symlink_metadata(path).map_err(trouble).ok()?;
    if !found.is_file() {
        tracing::info!("{} is no file, and is ignored", path.display());
        return None;
    }
    let mut bytes = Vec::new();
    let file = File::open(path);
    let read = file.and_then(|file| file.take(LEN_MAX).read_to_end(&mut bytes));
    read.map_err(trouble).ok()?;
    Some(bytes)
}

/// Puts a file of these bytes in the place of `name`, whole or not at all.
///
/// Nothing is synced: what a power cut spoils is seen by its checksum, and asked for again.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    static DRAFTS: AtomicU32 = AtomicU32::new(0);
    make_dir(dir)?;
    let count = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = dir.join(format!("{name}.{}-{count}.draft", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&draft)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&draft, dir.join(name)));
    if written.is_err() {
        fs::remove_file(&draft).ok();
    }
    written
}
