//! `haul uploads`: what this machine has begun and not finished.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::args::UploadsCommand;
use crate::cli::destination::Service;
use crate::cli::event::{Event, UploadEvent};
use crate::cli::service::Remote;
use crate::cli::terminal::{Terminal, printable};
use crate::clock;
use crate::config::Config;
use crate::config::value::iec;
use crate::engine::plan::Protocol;
use crate::error::{Error, ErrorKind};
use crate::journal::OpenError;
use crate::journal::header::{Identity, Source, Target};
use crate::journal::index::{self, Entry, Unfinished};

/// Digits of an identity that are shown: enough to tell 10 000 uploads apart.
const ID_LEN: usize = 12;

/// What journals call the store of `local://`.
const LOCAL: &str = "local";

/// Lists, shows or aborts.
pub(crate) async fn uploads(
    command: Option<&UploadsCommand>,
    config: &Config,
    terminal: &Terminal,
) -> Result<(), Error> {
    match command {
        None | Some(UploadsCommand::List) => list(config, terminal).await,
        Some(UploadsCommand::Show { id }) => show(id, config, terminal).await,
        Some(UploadsCommand::Abort { id }) => abort(id, config, terminal).await,
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
    Ok(())
}

async fn show(id: &str, config: &Config, terminal: &Terminal) -> Result<(), Error> {
    let (_, entry) = find(id, config).await?;
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

/// Removes the journal, then tells the service: whoever takes the upload up meanwhile is safe.
async fn abort(id: &str, config: &Config, terminal: &Terminal) -> Result<(), Error> {
    let (identity, entry) = find(id, config).await?;
    let state_dir = config.state_dir()?.to_owned();
    let now = clock::unix_seconds(clock::wall());
    let removed = blocking(move || {
        let removed = index::remove(&state_dir, identity, now);
        // Locks and drafts that crashes left go with it; whatever stays is a few bytes.
        let _ = index::sweep(&state_dir, now);
        removed
    });
    let removed = removed.await?;
    match removed {
        Ok(true) => {}
        Ok(false) => return Err(local("another process has just finished it".to_owned())),
        Err(held @ OpenError::Held { .. }) => {
            let error = Error::new(ErrorKind::Held, held.to_string());
            return Err(error.next("stop that process first"));
        }
        Err(why) => return Err(local(why.to_string())),
    }
    let id = identity.to_string();
    terminal.say(&format!("removed the journal of {}", &id[..ID_LEN]));
    let told = match &entry {
        Entry::Upload(upload) => tell_service(upload, config).await,
        _ => "unknown",
    };
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

/// Tells the service to drop what it has of a v2 upload, if it can be told.
async fn tell_service(upload: &Unfinished, config: &Config) -> &'static str {
    let Some(upload_id) = &upload.checkpoint.upload_id else {
        return "expires";
    };
    let target = &upload.header.target;
    let service = match target.store.as_str() {
        LOCAL => Service::Local,
        _ => Service::Kodo,
    };
    let Ok(remote) = Remote::open(service, config).await else {
        return "not_told";
    };
    let told = match remote.uploader().is_home_of(target).await {
        true => remote.uploader().abort(target, upload_id).await.is_ok(),
        false => false,
    };
    remote.close().await;
    if told { "told" } else { "not_told" }
}

/// The one entry whose identity begins with `id`.
async fn find(id: &str, config: &Config) -> Result<(Identity, Entry), Error> {
    let (state_dir, prefix) = (config.state_dir()?.to_owned(), id.to_owned());
    let found = blocking(move || {
        let identity = index::find(&state_dir, &prefix).map_err(|why| why.to_string())?;
        let entry = index::look(&state_dir, identity);
        let entry = entry.ok_or_else(|| format!("{identity} has just been finished"))?;
        Ok::<_, String>((identity, entry))
    });
    found
        .await?
        .map_err(|why| Error::new(ErrorKind::Usage, why).next("see haul uploads list"))
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
        source: header.source.path.to_string(),
        source_state: source_state(&header.source),
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
        expires: expires(upload),
        held: upload.holder.is_some(),
        holder: holder(upload),
        commit_unclear: upload.checkpoint.committing.is_some(),
    }
}

/// What lies among the journals and is none that can be shown. It is left alone.
fn tell_odd(entry: &Entry, terminal: &Terminal) -> Result<(), Error> {
    let (state, what): (_, String) = match entry {
        Entry::Upload(_) => return Ok(()),
        Entry::Damaged { identity } => (
            "damaged",
            format!("{identity}: the journal is damaged; the upload would begin anew"),
        ),
        Entry::Newer { path, version } => (
            "newer",
            format!(
                "{}: a newer haul's journal (format {version}), left alone",
                path.display()
            ),
        ),
        Entry::Foreign { path } => (
            "foreign",
            format!("{}: no journal of an upload, left alone", path.display()),
        ),
        Entry::Unreadable(why) => ("unreadable", why.to_string()),
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

/// Whether the file is still what the journal tells of. Bytes decide when it is resumed.
fn source_state(source: &Source) -> &'static str {
    let path: Option<PathBuf> = source.path.to_path();
    let Some(Ok(metadata)) = path.map(std::fs::metadata) else {
        return "missing";
    };
    if metadata.len() != source.size {
        return "resized";
    }
    let mtime = metadata.modified().ok();
    let since = mtime.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let known = u64::try_from(source.mtime_ns)
        .ok()
        .map(Duration::from_nanos);
    if since == known {
        "unchanged"
    } else {
        "touched"
    }
}

/// When the first of what the service holds goes, in seconds since 1970.
fn expires(upload: &Unfinished) -> Option<u64> {
    let receipts = upload.checkpoint.lanes.values();
    let earliest = receipts.filter_map(|(_, receipt)| receipt.expires).min();
    upload.checkpoint.expires.into_iter().chain(earliest).min()
}

fn expiry(upload: &Unfinished) -> String {
    let now = clock::unix_seconds(clock::wall());
    match expires(upload) {
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
