//! Reading the config file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::table::{self, SETTINGS, Setting};
use crate::error::{Error, ErrorKind};

/// Longest config, key or token file read, in bytes: hundreds of times what anyone writes.
const FILE_LEN_MAX: u64 = 1 << 20;

/// The settings of one config file, as text, in the file's order.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    /// Where it was read.
    pub(crate) path: PathBuf,
    /// Setting and its values.
    pub(crate) values: Vec<(&'static Setting, Vec<String>)>,
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// A missing file is no settings, unless the user named it (`must_exist`). A file that others
    /// may read is refused when it holds a secret.
    pub(crate) fn read(path: &Path, must_exist: bool) -> Result<Option<Self>, Error> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(path, &error)),
        };
        let open_to_others = open_to_others(&file);
        let text = read_bounded(file).map_err(|error| unreadable(path, &error))?;
        let values = parse(path, &text)?;
        let hidden = |(setting, texts): &&(&Setting, Vec<String>)| {
            texts.iter().any(|text| setting.hides(text))
        };
        let secret = values.iter().find(hidden);
        if let (Some((setting, _)), true) = (secret, open_to_others) {
            let path = path.display();
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "{path} holds `{}`, and other users can read it",
                    setting.name
                ),
            )
            .next(format!("chmod 600 {path}")));
        }
        Ok(Some(Self {
            path: path.to_owned(),
            values,
        }))
    }
}

/// The only line of a file that holds a secret, without the line's end. The error never shows it.
pub(crate) fn read_secret(path: &Path) -> Result<String, Error> {
    let text = File::open(path)
        .and_then(read_bounded)
        .map_err(|error| unreadable(path, &error))?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.contains('\n') {
        return Err(Error::new(
            ErrorKind::Config,
            format!("{} must hold exactly one line", path.display()),
        ));
    }
    Ok(line.to_owned())
}

/// The whole file as text.
fn read_bounded(file: File) -> std::io::Result<String> {
    let mut text = String::new();
    file.take(FILE_LEN_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LEN_MAX {
        return Err(std::io::Error::other("it is far too long"));
    }
    Ok(text)
}

/// Whether users other than the owner may read or write the file.
#[cfg(unix)]
fn open_to_others(file: &File) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let others = 0o066;
    file.metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & others != 0)
}

/// Elsewhere the user's own directory is what keeps others out.
#[cfg(not(unix))]
fn open_to_others(_file: &File) -> bool {
    false
}

/// The error of a file that cannot be read.
fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("cannot read {}: {error}", path.display()),
    )
    .next("name another file, or make this one readable")
}

/// The settings that `text` holds.
fn parse(path: &Path, text: &str) -> Result<Vec<(&'static Setting, Vec<String>)>, Error> {
    let refuse =
        |what: String| Error::new(ErrorKind::Config, format!("{}: {what}", path.display()));
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        // Without the parser's own text: it quotes the line, which may hold a secret.
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        refuse(format!("line {line} is no valid TOML: {}", error.message()))
    })?;
    let mut values = Vec::with_capacity(table.len());
    for (key, value) in table {
        let Some(setting) = table::find(&key).filter(|setting| setting.in_file()) else {
            return Err(refuse(format!("there is no setting `{key}`"))
                .next(format!("the settings are: {}", known_names())));
        };
        let texts = texts_of(setting, &value)
            .map_err(|why| refuse(format!("`{key}` cannot be this: {why}")))?;
        values.push((setting, texts));
    }
    Ok(values)
}

/// The names that a config file may hold.
fn known_names() -> String {
    let names: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| setting.in_file())
        .map(|setting| setting.name)
        .collect();
    names.join(", ")
}

/// A TOML value as the texts that a flag would have given.
fn texts_of(setting: &Setting, value: &toml::Value) -> Result<Vec<String>, String> {
    match value {
        toml::Value::Array(values) if setting.repeats => values.iter().map(text_of).collect(),
        value => text_of(value).map(|text| vec![text]),
    }
}

/// One plain TOML value as text.
fn text_of(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        other => Err(format!("it is a TOML {}", other.type_str())),
    }
}
