//! `haul serve`: the dev server alone.

use std::path::Path;

use crate::cli::args::ServeArgs;
use crate::cli::event::Event;
use crate::cli::service::local_store;
use crate::cli::signals::Signals;
use crate::cli::terminal::Terminal;
use crate::config::{Config, Environment};
use crate::devserver::{DevServer, DevServerBuilder, DevServerError, FaultPlan, Place, Rate};
use crate::error::{Error, ErrorKind};
use crate::kodo::{AccessKey, Credentials, SecretKey};
use crate::model::Bucket;

/// Longest fault plan read, in bytes.
const PLAN_LEN_MAX: u64 = 1 << 20;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn serve(
    arguments: &ServeArgs,
    config: &Config,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<(), Error> {
    let given = given_keys(environment)?;
    let mut builder = server(arguments, config)?;
    if let Some(keys) = &given {
        builder = builder.credentials(keys.clone());
    }
    // Before the line that says where: whoever reads it may send the signal at once.
    let mut signals = Signals::new();
    let server = builder.start().await.map_err(unable)?;
    announce(&server, given.is_none(), terminal)?;
    signals.next().await;
    server.stop().await;
    Ok(())
}

/// The server that the flags describe.
fn server(arguments: &ServeArgs, config: &Config) -> Result<DevServerBuilder, Error> {
    let place = match &arguments.root {
        Some(root) => Place::Disk(root.clone()),
        None if arguments.memory => Place::Memory,
        None if arguments.discard => Place::Discard,
        None => Place::Disk(local_store(config)?),
    };
    let mut builder = DevServer::builder().place(place);
    for address in &arguments.listen {
        builder = builder.listen(*address);
    }
    if !arguments.bucket.is_empty() {
        let names = arguments.bucket.iter().map(Bucket::new);
        builder = builder.buckets(names.collect::<Result<Vec<_>, _>>()?);
    }
    if let Some(rate) = &arguments.rate {
        let rate: Rate = rate
            .parse()
            .map_err(|error| usage(format!("--rate cannot be `{rate}`: {error}")))?;
        builder = builder.rate(rate);
    }
    if let Some(latency) = arguments.latency {
        builder = builder.latency(latency);
    }
    if let Some(path) = &arguments.faults {
        builder = builder.faults(fault_plan(path)?);
    }
    Ok(builder)
}

/// Keys of the environment; only these two: the server is no place for an account's real ones.
fn given_keys(environment: &Environment) -> Result<Option<Credentials>, Error> {
    let text = |name: &str| match environment.get(name) {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(usage(format!("{name} is not valid UTF-8"))),
        },
    };
    let (access, secret) = (text("HAUL_ACCESS_KEY")?, text("HAUL_SECRET_KEY")?);
    let (Some(access), Some(secret)) = (access, secret) else {
        return Ok(None);
    };
    let access = AccessKey::new(access).map_err(|error| usage(error.to_string()))?;
    let secret = SecretKey::new(secret).map_err(|error| usage(error.to_string()))?;
    Ok(Some(Credentials::new(access, secret)))
}

/// One line: where it listens and with which keys. A secret key that was given is not repeated.
fn announce(server: &DevServer, made_keys: bool, terminal: &Terminal) -> Result<(), Error> {
    let keys = server.credentials();
    let access_key = keys.access_key.as_str();
    let secret_key = made_keys.then(|| keys.secret_key.expose());
    let shown = secret_key.unwrap_or("(as given)");
    let urls = server.urls().join(" ");
    let line = format!("listening on {urls} access_key={access_key} secret_key={shown}");
    let event = Event::Listening {
        url: server.url(),
        access_key,
        secret_key,
        other_urls: server.urls().get(1..).unwrap_or_default(),
    };
    terminal.data(&line, &event)
}

/// The fault plan in the file at `path`.
fn fault_plan(path: &Path) -> Result<FaultPlan, Error> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(PLAN_LEN_MAX).read_to_string(&mut text))
        .map_err(|error| usage(format!("cannot read {}: {error}", path.display())))?;
    text.parse()
        .map_err(|error| usage(format!("{}: {error}", path.display())))
}

/// Why it does not start.
fn unable(error: DevServerError) -> Error {
    match error {
        DevServerError::Faults(_) => usage(error.to_string()),
        error => Error::new(ErrorKind::Local, error.to_string())
            .next("choose another --listen address or --root"),
    }
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}
