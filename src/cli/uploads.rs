//! `haul uploads`: what this machine has begun and not finished.

use crate::cli::args::UploadsCommand;
use crate::cli::destination::Service;
use crate::cli::event::{Event, UploadEvent};
use crate::cli::service::Remote;
use crate::cli::terminal::{Terminal, printable};
use crate::client::{self, Aborted, SourceState};
use crate::clock;
use crate::config::Config;
use crate::config::value::iec;
use crate::engine::plan::Protocol;
use crate::error::{Error, ErrorKind};
use crate::journal::header::{ResumeId, Target};
use crate::journal::index::{self, Entry, Unfinished};
use crate::journal::orphans::{self, Orphan};

/// Digits of an identity that are shown: enough to tell 10 000 uploads apart.
const ID_LEN: usize = 12;

/// What journals call the store of `local://`.
const LOCAL: &str = "local";

/// Lists, shows, aborts or cleans.
pub(crate) async fn uploads(
    command: Option<&UploadsCommand>,
    config: &Config,
    terminal: &Terminal,
) -> Result<(), Error> {
    match command {
        None | Some(UploadsCommand::List) => list(config, terminal).await,
        Some(UploadsCommand::Show { id }) => show(id, config, terminal).await,
        Some(UploadsCommand::Abort { id }) => abort(id, config, terminal).await,
        Some(UploadsCommand::Clean) => clean(config, terminal).await,
    }
}

async fn list(config: &Config, terminal: &Terminal) -> Result<(), Error> {
    let state_dir = config.state_dir()?.to_owned();
    let entries = blocking(move || index::list(&state_dir)).await?;
    let entries = entries.map_err(|why| local(why.to_string()))?;
    for entry in &entries {
        match entry {
            Entry::Upload(upload) => {
                let event = Event::Upload(Box::new(event(upload)));
                terminal.data(&line(upload), &event)?;
            }
            odd => tell_odd(odd, terminal)?,
        }
    }
    if entries.is_empty() {
        terminal.say("no unfinished uploads");
    }
    match orphans(config).await?.len() {
        0 => {}
        count => terminal.say(&format!(
            "{count} upload ids wait to be given back to the service: haul uploads clean"
        )),
    }
    Ok(())
}

async fn show(id: &str, config: &Config, terminal: &Terminal) -> Result<(), Error> {
    let entry = find(id, config).await?;
    let Entry::Upload(upload) = &entry else {
        return tell_odd(&entry, terminal);
    };
    let upload_event = event(upload);
    let header = &upload.header;
    let row = |name: &str, value: String| format!("{name:<12} {}", printable(&value));
    let mut lines = vec![
        row("id", upload.identity.to_string()),
        row("destination", destination(&header.target)),
        row("service", header.target.store.clone()),
        row("access_key", header.target.access_key.clone()),
        row(
            "resume_id",
            header
                .target
                .resume_id
                .as_ref()
                .map_or("-", ResumeId::as_str)
                .to_owned(),
        ),
        row("source", header.source.path.to_string()),
        row("source_state", upload_event.source_state.to_owned()),
        row("protocol", upload_event.protocol.unwrap_or("-").to_owned()),
        row("done", done(upload)),
        row("begun", format!("{} ago", age(upload))),
        row("expires", expiry(upload)),
        row(
            "held_by",
            holder(upload).unwrap_or_else(|| "nobody".to_owned()),
        ),
    ];
    if upload.checkpoint.committing.is_some() {
        lines.push(row("commit", "sent, its answer is not known".to_owned()));
    }
    // While somebody is at it, they are a record in the writing.
    if upload.torn_bytes > 0 && upload.holder.is_none() {
        let bytes = format!("{} bytes at the journal's end, void", upload.torn_bytes);
        lines.push(row("torn", bytes));
    }
    terminal.data(&lines.join("\n"), &Event::Upload(Box::new(upload_event)))
}

/// Gives an upload up: through an uploader where one may tell the service, else here only.
async fn abort(id: &str, config: &Config, terminal: &Terminal) -> Result<(), Error> {
    let entry = find(id, config).await?;
    let identity = match &entry {
        Entry::Upload(upload) => upload.identity,
        Entry::Damaged { identity } => *identity,
        odd => {
            let what = odd.oddity().map(|(_, what)| what);
            return Err(local(what.unwrap_or_default()));
        }
    };
    let id = identity.to_string();
    let told = match &entry {
        Entry::Upload(upload) => tell_service(upload, config).await?,
        _ => None,
    };
    let told = match told {
        Some(told) => told,
        None => {
            let state_dir = config.state_dir()?.to_owned();
            blocking(move || client::forget(&state_dir, identity)).await??;
            match &entry {
                Entry::Upload(upload) if upload.checkpoint.upload_id.is_some() => "not_told",
                Entry::Upload(_) => "expires",
                _ => "unknown",
            }
        }
    };
    terminal.say(&format!("removed the journal of {}", &id[..ID_LEN]));
    match told {
        "told" => terminal.say("the service dropped the parts it had"),
        "not_told" => terminal.say(
            "the service was not told: it drops the parts when they expire (its keys and host are \
             not at hand, or it could not be reached)",
        ),
        _ => terminal.say("what the service has of it expires by itself"),
    }
    terminal.event(&Event::Aborted {
        id: &id,
        service: told,
    })
}

/// Gives an upload up where the service may have to be told; what it was told, none where there is
/// nobody to tell it.
async fn tell_service(upload: &Unfinished, config: &Config) -> Result<Option<&'static str>, Error> {
    if upload.checkpoint.upload_id.is_none() {
        return Ok(None);
    }
    let target = &upload.header.target;
    let Ok(remote) = Remote::open(service_of(target), config).await else {
        return Ok(None);
    };
    let uploader = remote.uploader();
    let aborted = match uploader.is_home_of(target).await {
        true => uploader.abort(upload.identity.to_string()).await.map(Some),
        false => Ok(None),
    };
    remote.close().await;
    Ok(aborted?.map(Aborted::as_str))
}

/// Gives orphans back, and removes what crashes left.
async fn clean(config: &Config, terminal: &Terminal) -> Result<(), Error> {
    let orphans = orphans(config).await?;
    let mut given_back = 0;
    for service in [Service::Kodo, Service::Local] {
        if !orphans.iter().any(|it| service_of(&it.target) == service) {
            continue;
        }
        let Ok(remote) = Remote::open(service, config).await else {
            continue;
        };
        given_back += remote.uploader().clean().await;
        remote.close().await;
    }
    let (state_dir, now) = (
        config.state_dir()?.to_owned(),
        clock::unix_seconds(clock::wall()),
    );
    let swept = blocking(move || index::sweep(&state_dir, now)).await?;
    swept.map_err(|why| local(why.to_string()))?;
    let left = orphans.len().saturating_sub(given_back);
    match (given_back, left) {
        (0, 0) => terminal.say("nothing to clean"),
        (_, 0) => terminal.say(&format!("gave {given_back} upload ids back to the service")),
        _ => terminal.say(&format!(
            "gave {given_back} upload ids back to the service; {left} are left (their keys and hosts \
             are not at hand, or it could not be reached), and expire after 7 days at most"
        )),
    }
    terminal.event(&Event::Cleaned { given_back, left })
}

/// Upload ids that wait to be given back.
async fn orphans(config: &Config) -> Result<Vec<Orphan>, Error> {
    let (state_dir, now) = (
        config.state_dir()?.to_owned(),
        clock::unix_seconds(clock::wall()),
    );
    let listed = blocking(move || orphans::list(&state_dir, now)).await?;
    listed.map_err(|error| local(format!("cannot list orphans: {error}")))
}

/// The service that `target` is at.
fn service_of(target: &Target) -> Service {
    match target.store.as_str() {
        LOCAL => Service::Local,
        _ => Service::Kodo,
    }
}

/// The one entry whose identity begins with `id`.
async fn find(id: &str, config: &Config) -> Result<Entry, Error> {
    let (state_dir, prefix) = (config.state_dir()?.to_owned(), id.to_owned());
    let found = blocking(move || client::look(&state_dir, &prefix)).await?;
    found.map_err(|why| Error::new(ErrorKind::Usage, why).next("see haul uploads list"))
}

/// Runs file work where it disturbs nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| local(error.to_string()))
}

fn line(upload: &Unfinished) -> String {
    let id = upload.identity.to_string();
    let mut fields = vec![
        id[..ID_LEN].to_owned(),
        printable(&destination(&upload.header.target)),
        done(upload),
        format!("{} old", age(upload)),
        format!("expires {}", expiry(upload)),
    ];
    fields.extend(holder(upload).map(|who| format!("held by {who}")));
    fields.join("\t")
}

fn event(upload: &Unfinished) -> UploadEvent {
    let header = &upload.header;
    UploadEvent {
        id: upload.identity.to_string(),
        destination: destination(&header.target),
        store: header.target.store.clone(),
        access_key: header.target.access_key.clone(),
        bucket: header.target.bucket.as_str().to_owned(),
        key: header
            .target
            .key
            .as_ref()
            .map(|key| key.as_str().to_owned()),
        resume_id: header.target.resume_id.clone().map(String::from),
        source: header.source.path.to_string(),
        source_state: SourceState::of(&header.source).as_str(),
        protocol: upload
            .checkpoint
            .layout
            .map(|layout| match layout.protocol {
                Protocol::Form => "form",
                Protocol::Blocks => "v1",
                Protocol::Parts => "v2",
            }),
        size: header.source.size,
        safe_bytes: upload.checkpoint.safe_bytes(),
        created: header.created,
        expires: upload.checkpoint.first_expiry(),
        held: upload.holder.is_some(),
        holder: holder(upload),
        commit_unclear: upload.checkpoint.committing.is_some(),
    }
}

/// What lies among the journals and is none that can be shown. It is left alone.
fn tell_odd(entry: &Entry, terminal: &Terminal) -> Result<(), Error> {
    let Some((state, what)) = entry.oddity() else {
        return Ok(());
    };
    let event = Event::OddJournal {
        state,
        message: &what,
    };
    terminal.data(&format!("{state}\t{}", printable(&what)), &event)
}

fn destination(target: &Target) -> String {
    let scheme = match target.store.as_str() {
        LOCAL => LOCAL,
        _ => target.service.as_str(),
    };
    let bucket = &target.bucket;
    match &target.key {
        Some(key) => format!("{scheme}://{bucket}/{key}"),
        None => format!("{scheme}://{bucket}/ (the service names it)"),
    }
}

fn done(upload: &Unfinished) -> String {
    let (safe, size) = (upload.checkpoint.safe_bytes(), upload.header.source.size);
    let percent = u128::from(safe) * 100 / u128::from(size.max(1));
    format!("{} of {} ({percent} %)", iec(safe), iec(size))
}

fn expiry(upload: &Unfinished) -> String {
    let now = clock::unix_seconds(clock::wall());
    match upload.checkpoint.first_expiry() {
        None => "unknown".to_owned(),
        Some(end) if end <= now => "already".to_owned(),
        Some(end) => format!("in {}", coarse(end - now)),
    }
}

fn age(upload: &Unfinished) -> String {
    let now = clock::unix_seconds(clock::wall());
    coarse(now.saturating_sub(upload.header.created))
}

/// A time in its largest unit.
fn coarse(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    for (len, unit) in units {
        if seconds >= len {
            return format!("{} {unit}", seconds / len);
        }
    }
    format!("{seconds} s")
}

fn holder(upload: &Unfinished) -> Option<String> {
    let holder = upload.holder.as_ref()?;
    let name = holder.as_ref().map(ToString::to_string);
    Some(name.unwrap_or_else(|| "another process".to_owned()))
}

/// The error of this machine's own trouble.
fn local(message: String) -> Error {
    Error::new(ErrorKind::Local, message)
}
