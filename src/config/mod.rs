//! Settings: one table, four places, one order. Flag, then environment, then file, then default.
//!
//! Every value keeps its origin, so that `haul config show` and every complaint can name it.
//! Secrets never come from flags, and never leave here but as typed, redacted values.

mod environment;
mod file;
mod table;
#[cfg(test)]
mod tests;
mod typed;
pub(crate) mod value;

use std::fmt;
use std::path::{Path, PathBuf};

pub use environment::Environment;
pub(crate) use table::{SETTINGS, Setting};
pub(crate) use typed::Config;

use crate::config::file::ConfigFile;
use crate::config::value::Kind;
use crate::error::{Error, ErrorKind};
use crate::network::{NO_PROXY_VARIABLES, PROXY_VARIABLES, masked};

/// The config file's name in its directory.
const CONFIG_FILE: &str = "config.toml";

/// What replaces a secret wherever settings are shown.
const MASK: &str = "********";

/// A setting's effective values and where they come from.
#[derive(Clone)]
pub(crate) struct Effective {
    pub(crate) setting: &'static Setting,
    /// None when nobody set it and it has no default.
    values: Vec<String>,
    pub(crate) origin: Origin,
}

/// Where a value comes from, in falling order of precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    Flag,
    /// This variable.
    Environment(String),
    /// This file.
    File(PathBuf),
    /// The table.
    Default,
}

impl Origin {
    /// 0 wins over 1, and so on.
    fn rank(&self) -> u8 {
        match self {
            Self::Flag => 0,
            Self::Environment(_) => 1,
            Self::File(_) => 2,
            Self::Default => 3,
        }
    }

    /// The name that `config show --json` gives it.
    pub(crate) fn as_str(&self) -> &'static str {
        ["flag", "env", "file", "default"][usize::from(self.rank())]
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Effective {
    /// The values as they may be shown: secrets masked.
    pub(crate) fn shown(&self) -> Vec<String> {
        let mask = |text: &String| match self.setting.kind {
            _ if self.setting.secret => MASK.to_owned(),
            Kind::Proxy => masked(text),
            _ => text.clone(),
        };
        self.values.iter().map(mask).collect()
    }

    /// The only value, or the last of several.
    fn value(&self) -> Option<&str> {
        self.values.last().map(String::as_str)
    }

    /// The setting's name as the user knows it from where the value was set.
    fn name_there(&self) -> String {
        match &self.origin {
            Origin::Flag => format!("--{}", self.setting.flag()),
            Origin::Environment(name) => name.clone(),
            Origin::File(path) => format!("`{}` in {}", self.setting.name, path.display()),
            Origin::Default => format!("`{}`", self.setting.name),
        }
    }

    /// Shows what the environment says of proxies where no setting does: of several variables the
    /// first, with its name. It is not the setting's value; [`Config`] reads the variables itself.
    fn inherit_proxy(&mut self, environment: &Environment) {
        let variables: &[&str] = match self.setting.name {
            "proxy" => &PROXY_VARIABLES,
            "no_proxy" => &NO_PROXY_VARIABLES,
            _ => return,
        };
        let set = variables.iter().find_map(|name| {
            let text = environment.get(name)?.to_str()?;
            Some((*name, text))
        });
        if let Some((name, text)) = set {
            self.values.push(text.to_owned());
            self.origin = Origin::Environment(name.to_owned());
        }
    }

    /// The value, unless it only shows what the environment says.
    fn own_value(&self) -> Option<&str> {
        let inherited = match &self.origin {
            Origin::Environment(name) => {
                PROXY_VARIABLES.contains(&name.as_str())
                    || NO_PROXY_VARIABLES.contains(&name.as_str())
            }
            _ => false,
        };
        self.value().filter(|_| !inherited)
    }

    /// Every value is one that the setting takes.
    fn check(&self) -> Result<(), Error> {
        for (value, shown) in self.values.iter().zip(self.shown()) {
            if let Err(why) = self.setting.kind.check(value) {
                let name = self.name_there();
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("{name} cannot be `{shown}`: {why}"),
                ));
            }
            if self.origin == Origin::Flag && self.setting.hides(value) {
                let name = self.name_there();
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("{name} must not hold a password: others can see the command line"),
                )
                .next(format!("set {} instead", self.setting.variable())));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}={:?} ({})",
            self.setting.name,
            self.shown(),
            self.origin
        )
    }
}

/// All settings with their effective values, in the table's order.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    rows: Vec<Effective>,
}

impl Settings {
    /// Gathers and checks every setting.
    ///
    /// `flags` gives the values of a setting's flag; an empty list means that it was not given.
    pub(crate) fn resolve(
        flags: impl Fn(&Setting) -> Vec<String>,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let no_file = |setting| gather(setting, &flags, environment, None);
        let file = match table::find("config").map(no_file).transpose()? {
            Some(named) if !named.values.is_empty() => {
                named.check()?;
                let path = named.value().unwrap_or_default();
                ConfigFile::read(Path::new(path), true)?
            }
            _ => match environment.config_dir() {
                Some(dir) => ConfigFile::read(&dir.join(CONFIG_FILE), false)?,
                None => None,
            },
        };
        let mut rows = Vec::with_capacity(SETTINGS.len());
        for setting in SETTINGS {
            let mut row = gather(setting, &flags, environment, file.as_ref())?;
            row.check()?;
            if row.values.is_empty() {
                row.values.extend(default_path(setting, environment));
                row.inherit_proxy(environment);
            }
            rows.push(row);
        }
        Ok(Self { rows })
    }

    /// Whether data is to be JSON.
    pub(crate) fn is_json(&self) -> bool {
        let json = self.row("json").and_then(Effective::value);
        json.is_some_and(|text| value::flag(text) == Ok(true))
    }

    /// Every setting, in the table's order.
    pub(crate) fn rows(&self) -> &[Effective] {
        &self.rows
    }

    /// The row called `name`.
    fn row(&self, name: &str) -> Option<&Effective> {
        self.rows.iter().find(|row| row.setting.name == name)
    }
}

/// A setting's values from the first place that has any.
fn gather(
    setting: &'static Setting,
    flags: &impl Fn(&Setting) -> Vec<String>,
    environment: &Environment,
    file: Option<&ConfigFile>,
) -> Result<Effective, Error> {
    let found = |values, origin| {
        Ok(Effective {
            setting,
            values,
            origin,
        })
    };
    let given = if setting.has_flag() {
        flags(setting)
    } else {
        Vec::new()
    };
    if !given.is_empty() {
        return found(given, Origin::Flag);
    }
    let own = setting.variable();
    for name in [Some(own.as_str()), setting.other_variable]
        .into_iter()
        .flatten()
    {
        let Some(value) = environment.get(name) else {
            continue;
        };
        let text = value
            .to_str()
            .ok_or_else(|| Error::new(ErrorKind::Config, format!("{name} is not valid UTF-8")))?;
        let values = split(setting, text);
        return found(values, Origin::Environment(name.to_owned()));
    }
    if let Some(file) = file
        && let Some((_, values)) = file.values.iter().find(|row| row.0.name == setting.name)
    {
        return found(values.clone(), Origin::File(file.path.clone()));
    }
    let default = setting.default.iter().map(|text| (*text).to_owned());
    found(default.collect(), Origin::Default)
}

/// The default of a setting whose default depends on the environment.
fn default_path(setting: &Setting, environment: &Environment) -> Option<String> {
    let path = match setting.name {
        "state_dir" => environment.state_dir()?,
        "config" => environment.config_dir()?.join(CONFIG_FILE),
        _ => return None,
    };
    path.to_str().map(str::to_owned)
}

/// A variable's text as values: several are separated by commas. URLs hold none.
fn split(setting: &Setting, text: &str) -> Vec<String> {
    if setting.repeats && setting.kind == Kind::Url {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        return parts.map(str::to_owned).collect();
    }
    vec![text.to_owned()]
}
