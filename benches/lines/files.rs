//! The files that are sent, and the folder that they are in.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use haul::kodo::EtagHasher;

use crate::Failure;
use crate::row::Row;
use crate::row_run::Sent;
use crate::server::KEY;
use crate::support::content;

/// A folder for one row's files. Its name says whose it is: what benches that were killed have left
/// is removed.
pub(crate) fn folder() -> Result<tempfile::TempDir, Failure> {
    const PREFIX: &str = "lines-of-";
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(home)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('.').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Somebody else may be removing it, too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{PREFIX}{}.", std::process::id());
    Ok(tempfile::Builder::new().prefix(&prefix).tempdir_in(home)?)
}

/// Writes what a row sends: the whole file, and the files of the library's uploads, which have as
/// many bytes together.
pub(crate) fn generate(folder: &Path, row: &Row) -> Result<(Sent, Vec<Sent>), Failure> {
    let whole = write(folder, "file.bin", KEY, row.size)?;
    let count = row.files();
    if count == 1 {
        return Ok((whole.clone(), vec![whole]));
    }
    let piece = |number: u64| {
        let name = format!("file-{number}.bin");
        write(folder, &name, &format!("folder/{name}"), row.size / count)
    };
    let pieces: Result<Vec<Sent>, Failure> = (1..=count).map(piece).collect();
    Ok((whole, pieces?))
}

/// Writes a file of which every block is another.
fn write(folder: &Path, name: &str, key: &str, size: u64) -> Result<Sent, Failure> {
    let path = folder.join(name);
    let mut file = BufWriter::new(File::create_new(&path)?);
    let mut hasher = EtagHasher::new();
    let mut left = usize::try_from(size)?;
    for block in 1.. {
        let len = left.min(content::BLOCK);
        if len == 0 {
            break;
        }
        let bytes = content::bytes(block, len);
        hasher.update(&bytes);
        file.write_all(&bytes)?;
        left -= len;
    }
    // On the disk before anything is measured: writing back is no part of an upload.
    file.into_inner()
        .map_err(|error| error.into_error())?
        .sync_all()?;
    Ok(Sent {
        path,
        key: key.to_owned(),
        hash: hasher.finish().to_string(),
        size,
    })
}
