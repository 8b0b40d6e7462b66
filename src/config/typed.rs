//! The settings as the types that the rest of the program works with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{Uploader, UploaderBuilder};
use crate::config::file::read_secret;
use crate::config::{Effective, Environment, Settings, value};
use crate::devserver::DevServer;
use crate::error::{Error, ErrorKind};
use crate::kodo::{AccessKey, Credentials, SecretKey, UploadToken};
use crate::model::Endpoint;
use crate::network::{Proxies, TlsVersion};
use crate::transport::CongestionControl;
use crate::uploader::Protocol;

/// All settings, read and checked. Its `Debug` shows no secret.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Both keys, or neither.
    pub(crate) credentials: Option<Credentials>,
    /// A ready upload token; for uploads it goes before the keys.
    pub(crate) token: Option<UploadToken>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) rs_url: Option<Endpoint>,
    pub(crate) uc_urls: Vec<Endpoint>,
    /// Or what is wrong with them: a command that needs no network does not care.
    proxies: Result<Proxies, String>,
    ca_file: Option<PathBuf>,
    tls_min_version: TlsVersion,
    congestion_control: CongestionControl,
    state_dir: Option<PathBuf>,
    /// Where standard input is written first.
    pub(crate) spool_dir: Option<PathBuf>,
    pub(crate) protocol: Protocol,
    /// None: auto.
    pub(crate) threshold: Option<u64>,
    pub(crate) part_len: u64,
    /// Lanes in flight; None: auto.
    pub(crate) window: Option<u64>,
    /// Bytes a second, more than 0; None: no limit.
    pub(crate) limit_rate: Option<u64>,
    pub(crate) connect_timeout: Duration,
    pub(crate) stall_timeout: Duration,
    /// Bytes a second; 0: no limit.
    pub(crate) min_rate: u64,
    pub(crate) response_timeout: Duration,
    pub(crate) commit_timeout: Duration,
    /// None: what the line's pace explains.
    pub(crate) part_timeout: Option<Duration>,
    /// 0: no limit.
    pub(crate) part_attempts: u64,
    pub(crate) retry_budget: Duration,
    pub(crate) wait_online: bool,
    pub(crate) require_resume: bool,
    pub(crate) json: bool,
    pub(crate) verbose: u8,
}

impl Config {
    /// Reads the settings; opens the files that secrets are in.
    pub(crate) fn new(settings: &Settings, environment: &Environment) -> Result<Self, Error> {
        let text = |name: &str| settings.row(name).and_then(Effective::value);
        Ok(Self {
            credentials: credentials(settings)?,
            token: token(settings)?,
            endpoints: endpoints(settings, "endpoint")?,
            rs_url: endpoints(settings, "rs_url")?.pop(),
            uc_urls: endpoints(settings, "uc_url")?,
            proxies: proxies(settings, environment),
            ca_file: text("ca_file").map(PathBuf::from),
            tls_min_version: match text("tls_min_version") {
                Some("1.3") => TlsVersion::V1_3,
                _ => TlsVersion::V1_2,
            },
            congestion_control: match text("congestion_control") {
                Some("bbr") => CongestionControl::Bbr,
                Some("system") => CongestionControl::System,
                _ => CongestionControl::Auto,
            },
            state_dir: text("state_dir")
                .map(PathBuf::from)
                .or_else(|| environment.state_dir()),
            spool_dir: text("spool_dir").map(PathBuf::from),
            protocol: match text("protocol") {
                Some("v1") => Protocol::V1,
                Some("v2") => Protocol::V2,
                _ => Protocol::Auto,
            },
            threshold: read(settings, "threshold", value::size_or_auto)?.flatten(),
            part_len: required(settings, "part_size", value::size)?,
            window: read(settings, "window", value::number_or_auto)?.flatten(),
            limit_rate: read(settings, "limit_rate", value::rate_or_none)?.flatten(),
            connect_timeout: required(settings, "connect_timeout", value::duration)?,
            stall_timeout: required(settings, "stall_timeout", value::duration)?,
            min_rate: required(settings, "min_rate", value::size)?,
            response_timeout: required(settings, "response_timeout", value::duration)?,
            commit_timeout: required(settings, "commit_timeout", value::duration)?,
            part_timeout: read(settings, "part_timeout", value::duration)?,
            part_attempts: required(settings, "part_attempts", value::number)?,
            retry_budget: required(settings, "retry_budget", value::duration)?,
            wait_online: required(settings, "wait_online", value::flag)?,
            require_resume: required(settings, "require_resume", value::flag)?,
            json: required(settings, "json", value::flag)?,
            verbose: required(settings, "verbose", value::count)?,
        })
    }

    /// An uploader for Kodo, set up by these settings.
    pub(crate) fn uploader(&self) -> Result<Uploader, Error> {
        let proxies = self.proxies.clone().map_err(|why| {
            Error::new(ErrorKind::Config, why).next("correct it, or set `proxy` to none")
        })?;
        let first = self.endpoints.first().or(self.uc_urls.first());
        if let Some(proxy) = first.and_then(|endpoint| proxies.find(endpoint)) {
            tracing::info!("going through the proxy {proxy}{}", proxy.assumed_port());
        }
        let mut builder = self.manner().proxies(proxies);
        builder = builder.tls_min_version(self.tls_min_version);
        if let Some(path) = &self.ca_file {
            builder = builder.ca_file(path);
        }
        if let Some(keys) = &self.credentials {
            builder = builder.credentials(keys.access_key.as_str(), keys.secret_key.expose());
        }
        if let Some(token) = &self.token {
            builder = builder.upload_token(token.expose());
        }
        for endpoint in &self.endpoints {
            builder = builder.endpoint(endpoint.to_string());
        }
        if let Some(rs_url) = &self.rs_url {
            builder = builder.rs_url(rs_url.to_string());
        }
        for uc_url in &self.uc_urls {
            builder = builder.uc_url(uc_url.to_string());
        }
        builder.build()
    }

    /// An uploader for a dev server: files travel by these settings, hosts and keys are the
    /// server's.
    pub(crate) fn local_uploader(&self, server: &DevServer) -> Result<Uploader, Error> {
        let keys = server.credentials();
        self.manner()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .endpoint(server.url())
            // Its port is another one each time; its keys are the store's own.
            .store_name("local")
            .build()
    }

    /// How files travel, without where and as whom.
    fn manner(&self) -> UploaderBuilder {
        let mut builder = Uploader::builder()
            .protocol(self.protocol)
            .part_size(self.part_len)
            .congestion_control(self.congestion_control)
            .connect_timeout(self.connect_timeout)
            .stall_timeout(self.stall_timeout)
            .min_rate(self.min_rate)
            .response_timeout(self.response_timeout)
            .commit_timeout(self.commit_timeout)
            .part_attempts(u32::try_from(self.part_attempts).unwrap_or(u32::MAX))
            .retry_budget(self.retry_budget);
        if let Some(window) = self.window {
            builder = builder.window(usize::try_from(window).unwrap_or(usize::MAX));
        }
        if let Some(rate) = self.limit_rate {
            builder = builder.limit_rate(rate);
        }
        if let Some(limit) = self.part_timeout {
            builder = builder.part_timeout(limit);
        }
        if let Some(state_dir) = &self.state_dir {
            builder = builder.state_dir(state_dir);
        }
        if let Some(spool_dir) = &self.spool_dir {
            builder = builder.spool_dir(spool_dir);
        }
        if self.wait_online {
            builder = builder.wait_online();
        }
        if self.require_resume {
            builder = builder.require_resume();
        }
        match self.threshold {
            Some(threshold) => builder.threshold(threshold),
            None => builder,
        }
    }

    /// Where state lives.
    pub(crate) fn state_dir(&self) -> Result<&Path, Error> {
        self.state_dir.as_deref().ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                "there is no place for haul's state: neither XDG_STATE_HOME nor a home directory \
                 is known",
            )
            .next("set --state-dir")
        })
    }
}

/// The setting's value, read.
fn read<T>(
    settings: &Settings,
    name: &str,
    reader: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Error> {
    let Some(row) = settings.row(name) else {
        return Ok(None);
    };
    let read = row.value().map(reader).transpose();
    read.map_err(|why| wrong(row, &why))
}

/// The value of a setting that has a default.
fn required<T>(
    settings: &Settings,
    name: &str,
    reader: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Error> {
    read(settings, name, reader)?
        .ok_or_else(|| Error::new(ErrorKind::Config, format!("`{name}` has no value")))
}

/// Which endpoint goes through which proxy: by the settings, else by the environment.
fn proxies(settings: &Settings, environment: &Environment) -> Result<Proxies, String> {
    let own = |name: &str| settings.row(name).and_then(Effective::own_value);
    Proxies::new(own("proxy"), own("no_proxy"), |name| {
        Some(environment.get(name)?.to_str()?.to_owned())
    })
}

/// All hosts of a setting.
fn endpoints(settings: &Settings, name: &str) -> Result<Vec<Endpoint>, Error> {
    let texts = settings.row(name).map(|row| row.values.as_slice());
    let parse = |text: &String| Endpoint::parse(text, true).map_err(Error::from);
    texts.unwrap_or_default().iter().map(parse).collect()
}

/// The key pair, from wherever each half comes.
fn credentials(settings: &Settings) -> Result<Option<Credentials>, Error> {
    let secret = secret(settings, "secret_key", "secret_key_file")?;
    let access = settings
        .row("access_key")
        .filter(|row| row.value().is_some());
    match (access, secret) {
        (None, None) => Ok(None),
        (Some(access), Some((secret, row))) => {
            let access_key = AccessKey::new(access.value().unwrap_or_default())
                .map_err(|error| wrong(access, &error.to_string()))?;
            let secret_key =
                SecretKey::new(secret).map_err(|error| wrong(row, &error.to_string()))?;
            Ok(Some(Credentials::new(access_key, secret_key)))
        }
        (Some(access), None) => Err(half(access, "secret key")
            .next("set HAUL_SECRET_KEY, `secret_key` in the config file, or --secret-key-file")),
        (None, Some((_, row))) => {
            Err(half(row, "access key").next("set --access-key or HAUL_ACCESS_KEY"))
        }
    }
}

/// One key without the other.
fn half(row: &Effective, missing: &str) -> Error {
    let name = row.name_there();
    Error::new(
        ErrorKind::Config,
        format!("{name} is set, but there is no {missing}"),
    )
}

/// The ready upload token, if one is set.
fn token(settings: &Settings) -> Result<Option<UploadToken>, Error> {
    let Some((text, row)) = secret(settings, "upload_token", "token_file")? else {
        return Ok(None);
    };
    UploadToken::parse(&text)
        .map(Some)
        .map_err(|error| wrong(row, &error.to_string()))
}

/// A secret that may be given directly or by a file: the one from the place of higher precedence.
fn secret<'a>(
    settings: &'a Settings,
    direct: &str,
    file: &str,
) -> Result<Option<(String, &'a Effective)>, Error> {
    let set = |name| settings.row(name).filter(|row| row.value().is_some());
    let (row, is_file) = match (set(direct), set(file)) {
        (None, None) => return Ok(None),
        (Some(row), None) => (row, false),
        (None, Some(row)) => (row, true),
        (Some(direct), Some(file)) if direct.origin.rank() == file.origin.rank() => {
            let (direct, file) = (direct.name_there(), file.name_there());
            return Err(Error::new(
                ErrorKind::Config,
                format!("both {direct} and {file} are set"),
            )
            .next("leave one of them out"));
        }
        (Some(direct), Some(file)) if direct.origin.rank() < file.origin.rank() => (direct, false),
        (Some(_), Some(file)) => (file, true),
    };
    let value = row.value().unwrap_or_default();
    let text = if is_file {
        read_secret(Path::new(value))?
    } else {
        value.to_owned()
    };
    Ok(Some((text, row)))
}

/// The error of a value that is wrong; shows the value only if it is no secret.
fn wrong(row: &Effective, why: &str) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("{} is wrong: {why}", row.name_there()),
    )
}
