//! The environment, read once in `main` and passed on.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The environment variables of this process, as they were when it began.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Takes what `std::env::vars_os` gives.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// The variable's value. An empty one counts as not set, as for the XDG variables.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.0.get(OsStr::new(name))?;
        (!value.is_empty()).then_some(value.as_os_str())
    }

    /// The names of all variables.
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.0.keys().map(OsString::as_os_str)
    }

    /// `$XDG_CONFIG_HOME/haul`, else `~/.config/haul`.
    pub(crate) fn config_dir(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config")
    }

    /// `$XDG_STATE_HOME/haul`, else `~/.local/state/haul`.
    pub(crate) fn state_dir(&self) -> Option<PathBuf> {
        self.xdg("XDG_STATE_HOME", ".local/state")
    }

    /// The XDG base directory; a relative path in the variable does not count (the XDG rule).
    fn xdg(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        let set = self.get(name).map(PathBuf::from);
        let base = match set.filter(|path| path.is_absolute()) {
            Some(path) => path,
            None => self.home()?.join(below_home),
        };
        Some(base.join("haul"))
    }

    /// The user's home directory.
    fn home(&self) -> Option<PathBuf> {
        let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        self.get(name).map(PathBuf::from)
    }
}

impl std::fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
