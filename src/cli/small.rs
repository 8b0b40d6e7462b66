//! The commands that need no network: `etag`, `token`, `config show`, `completions`.

use std::path::{Path, PathBuf};

use crate::cli::event::Event;
use crate::cli::policy_args::PolicyArgs;
use crate::cli::terminal::{Terminal, printable};
use crate::clock;
use crate::config::{Config, Effective, Origin, Settings};
use crate::error::{Error, ErrorKind};
use crate::kodo::{EtagHasher, UploadToken};
use crate::model::ByteSpan;
use crate::source::Source;

/// `haul etag FILE…`: prints `hash TAB file`.
pub(crate) async fn etag(files: &[PathBuf], terminal: &Terminal) -> Result<(), Error> {
    for path in files {
        let (hash, size) = etag_of(path)
            .await
            .map_err(|failure| Error::from_failure("hash the file", failure))?;
        let file = path.to_string_lossy();
        let event = Event::Etag {
            file: &file,
            hash: &hash,
            size,
        };
        terminal.data(&format!("{hash}\t{}", printable(&file)), &event)?;
    }
    Ok(())
}

/// A file's etag and size.
pub(crate) async fn etag_of(path: &Path) -> Result<(String, u64), crate::model::Failure> {
    let source = Source::open(path).await?;
    let mut reader = source.read(ByteSpan::new(0, source.len()));
    let mut hasher = EtagHasher::new();
    while let Some(bytes) = reader.next().await {
        hasher.update(&bytes?);
    }
    source.check_unchanged().await?;
    Ok((hasher.finish().to_string(), source.len()))
}

/// `haul token`: the one command whose output is a token.
pub(crate) fn token(
    arguments: &PolicyArgs,
    config: &Config,
    terminal: &Terminal,
) -> Result<(), Error> {
    let Some(credentials) = &config.credentials else {
        return Err(no_keys("sign a token"));
    };
    let policy = arguments.policy(clock::wall())?;
    let token = UploadToken::sign(credentials, &policy);
    let event = Event::Token {
        upload_token: token.expose(),
        deadline: policy.deadline,
    };
    terminal.data(token.expose(), &event)
}

/// The error of a command that needs keys and has none.
pub(crate) fn no_keys(doing: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("there are no keys to {doing} with"),
    )
    .next(
        "set HAUL_ACCESS_KEY and HAUL_SECRET_KEY, or access_key and secret_key in the config file",
    )
}

/// `haul config show`: one line a setting, with its origin; secrets masked.
pub(crate) fn config_show(settings: &Settings, terminal: &Terminal) -> Result<(), Error> {
    for row in settings.rows() {
        let name = row.setting.name;
        let event = Event::Setting {
            name,
            value: value_for_programs(row),
            origin: row.origin.as_str(),
            source: match &row.origin {
                Origin::Flag => Some(format!("--{}", row.setting.flag())),
                Origin::Environment(name) => Some(name.clone()),
                Origin::File(path) => Some(path.display().to_string()),
                Origin::Default => None,
            },
        };
        let value = match row.shown().as_slice() {
            [] => "(not set)".to_owned(),
            values => values.join(", "),
        };
        let line = format!("{name:<16} {}  [{}]", printable(&value), row.origin);
        terminal.data(&line, &event)?;
    }
    Ok(())
}

/// A setting's value in JSON: null when not set, a list when it may have several.
fn value_for_programs(row: &Effective) -> Option<serde_json::Value> {
    let values = row.shown();
    if row.setting.repeats && !values.is_empty() {
        return Some(values.into());
    }
    values.into_iter().next().map(Into::into)
}

/// `haul completions SHELL`.
pub(crate) fn completions(shell: clap_complete::Shell, terminal: &Terminal) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::args::command(), "haul", &mut script);
    terminal.raw(&String::from_utf8_lossy(&script))
}
