//! Files under the root: read whole, replaced atomically, never seen half written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::devserver::store::error::StoreError;
use crate::devserver::store::layout;

/// The format marker's file name.
const MARKER: &str = "format";
/// What the marker says. The number rises when a haul of today could misread what a later one wrote.
const FORMAT: &str = "haul dev server store 1";
/// Longest marker that is read, in bytes: any real one is far shorter.
const MARKER_LEN_MAX: usize = 200;

/// A store's directory.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Opens the store at `root`, or makes one where there is nothing yet.
    ///
    /// A directory that holds anything else, or a store of another format, is refused untouched.
    /// Several processes may do this at once.
    pub(crate) fn open(root: &Path) -> Result<Self, StoreError> {
        make_folder(root)?;
        let disk = Self {
            root: root.to_owned(),
        };
        match disk.read(MARKER)? {
            Some(text) => disk.check_marker(&text)?,
            None => disk.adopt()?,
        }
        Ok(disk)
    }

    fn check_marker(&self, text: &[u8]) -> Result<(), StoreError> {
        let found = String::from_utf8_lossy(&text[..text.len().min(MARKER_LEN_MAX)]);
        if found.trim_end() == FORMAT {
            return Ok(());
        }
        Err(StoreError::Format {
            root: self.root.display().to_string(),
            found: found.lines().next().unwrap_or_default().to_owned(),
            known: FORMAT,
        })
    }

    /// Marks an empty directory as a store. The marker comes before anything else, so that another
    /// process that looks in between sees either an empty directory or a store.
    fn adopt(&self) -> Result<(), StoreError> {
        let entries = fs::read_dir(&self.root).map_err(StoreError::io("list", &self.root))?;
        for entry in entries {
            let entry = entry.map_err(StoreError::io("list", &self.root))?;
            // Another process may be right here, doing the same; or may have just done it.
            let name = entry.file_name();
            let ours = name.to_str().is_some_and(|name| name.starts_with(MARKER));
            if !ours && self.read(MARKER)?.is_none() {
                return Err(StoreError::Foreign {
                    root: self.root.display().to_string(),
                });
            }
        }
        let beside = self.path(&format!("{MARKER}.{}", layout::new_id()?));
        let growing = Incoming::create(beside)?;
        growing.install_bytes(&self.path(MARKER), format!("{FORMAT}\n").as_bytes())
    }

    /// Where a file of the store is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A file's bytes, if there is one.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(name);
        if_there(fs::read(&path)).map_err(StoreError::io("read", &path))
    }

    /// Replaces a file: a reader sees the old bytes or the new ones, also when we are killed here.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.incoming()?.install_bytes(&self.path(name), bytes)
    }

    /// Removes a file; says whether it was there.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let path = self.path(name);
        let removed = if_there(fs::remove_file(&path)).map_err(StoreError::io("remove", &path))?;
        Ok(removed.is_some())
    }

    /// Removes a folder if it is empty; another process may be filling it again, which is fine.
    pub(crate) fn remove_folder(&self, name: &str) {
        let _ = fs::remove_dir(self.path(name));
    }

    /// A new file for bytes that are about to arrive.
    pub(crate) fn incoming(&self) -> Result<Incoming, StoreError> {
        Incoming::create(self.path(&format!("{}/{}", layout::INCOMING, layout::new_id()?)))
    }

    /// The names of all files under `folder`, at any depth, in no particular order.
    ///
    /// What appears or vanishes meanwhile may or may not be among them.
    pub(crate) fn files(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let path = self.path(&folder);
            let entries = if_there(fs::read_dir(&path)).map_err(StoreError::io("list", &path))?;
            for entry in entries.into_iter().flatten() {
                let entry = entry.map_err(StoreError::io("list", &path))?;
                let kind = if_there(entry.file_type()).map_err(StoreError::io("list", &path))?;
                let (Some(kind), Ok(name)) = (kind, entry.file_name().into_string()) else {
                    continue;
                };
                let name = format!("{folder}/{name}");
                if kind.is_dir() {
                    folders.push(name);
                } else {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    /// A file's length and when it was last written or touched, if it is there.
    pub(crate) fn look(&self, name: &str) -> Result<Option<(u64, SystemTime)>, StoreError> {
        let path = self.path(name);
        let found = if_there(fs::metadata(&path)).map_err(StoreError::io("look at", &path))?;
        let Some(metadata) = found else {
            return Ok(None);
        };
        let modified = metadata
            .modified()
            .map_err(StoreError::io("look at", &path))?;
        Ok(Some((metadata.len(), modified)))
    }

    /// Whether no process holds the lock of the file `name`.
    pub(crate) fn is_unlocked(&self, name: &str) -> bool {
        File::open(self.path(name)).is_ok_and(|file| file.try_lock().is_ok())
    }

    /// The lock file `name`, open; the lock itself goes with the file when that is dropped.
    pub(crate) fn lock_file(&self, name: &str) -> Result<File, StoreError> {
        let path = self.path(&format!("{}/{name}", layout::LOCKS));
        let mut options = private_file();
        options.create(true).truncate(false);
        open_in_folder(&options, &path).map_err(StoreError::io("open", &path))
    }
}

/// A file on its way: removed when dropped, unless it has been installed.
///
/// It is locked while its process lives, which is how a sweep tells a body that arrives slowly
/// from one that a killed process left behind.
#[derive(Debug)]
pub(crate) struct Incoming {
    path: PathBuf,
    file: File,
    installed: bool,
}

impl Incoming {
    fn create(path: PathBuf) -> Result<Self, StoreError> {
        let mut options = private_file();
        options.create_new(true);
        let file = open_in_folder(&options, &path).map_err(StoreError::io("make", &path))?;
        let incoming = Self {
            path,
            file,
            installed: false,
        };
        incoming
            .file
            .try_lock()
            .map_err(io::Error::from)
            .map_err(StoreError::io("lock", &incoming.path))?;
        Ok(incoming)
    }

    /// Adds bytes at the end.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(bytes)
            .map_err(StoreError::io("write", &self.path))
    }

    /// Gives the file its final name, replacing what has it now. The folder is made if need be.
    pub(crate) fn install(mut self, target: &Path) -> Result<(), StoreError> {
        let mut renamed = fs::rename(&self.path, target);
        if renamed.as_ref().is_err_and(is_absent) {
            // A sweep may remove a folder that has just become empty, hence make and rename again.
            target.parent().map_or(Ok(()), make_folder)?;
            renamed = fs::rename(&self.path, target);
        }
        renamed.map_err(StoreError::io("rename into", target))?;
        self.installed = true;
        Ok(())
    }

    /// Writes `bytes` and installs.
    fn install_bytes(mut self, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.append(bytes)?;
        self.install(target)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.installed {
            // Left to the sweep if this fails.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a folder and those above it, for this user alone.
fn make_folder(path: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(StoreError::io("make", path))
}

/// Options for a file that only this user may read and write.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Opens `path`, making its folder first where that is missing.
fn open_in_folder(options: &OpenOptions, path: &Path) -> io::Result<File> {
    match options.open(path) {
        Err(error) if is_absent(&error) => {
            if let Some(folder) = path.parent() {
                make_folder(folder).map_err(io::Error::other)?;
            }
            options.open(path)
        }
        opened => opened,
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// "Not there" as a value.
pub(crate) fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
