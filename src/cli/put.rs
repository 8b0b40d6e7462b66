//! `haul put FILE DEST`, and `haul put - DEST` for standard input.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::args::PutArgs;
use crate::cli::destination::{Destination, KeyChoice};
use crate::cli::event::Event;
use crate::cli::progress::{Patience, Progress};
use crate::cli::service::Remote;
use crate::cli::signals::Signals;
use crate::cli::stdin::stdin;
use crate::cli::terminal::{Terminal, printable};
use crate::client::{Done, Put, Uploader};
use crate::config::{Config, value};
use crate::error::{Error, ErrorKind};
use crate::stop::Stop;

/// How long an upload that was asked to stop may take to bring its journal to the disk. A sync takes
/// milliseconds; a disk that takes longer is not waited for: what it has by then is what is safe.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Uploads one file and prints `key TAB hash TAB size`. `line` is the whole command line.
pub(crate) async fn put(
    arguments: &PutArgs,
    line: &str,
    config: &Config,
    terminal: &Arc<Terminal>,
) -> Result<(), Error> {
    let destination = Destination::parse(&arguments.destination)?;
    refuse_what_is_no_file(arguments)?;
    let choice = KeyChoice {
        key: arguments.key.clone(),
        no_key: arguments.no_key,
    };
    let key = destination.key_for(&arguments.file, &choice)?;
    let bucket = destination.bucket.as_str();
    let key = key.as_ref().map(|key| key.as_str());

    let progress = Arc::new(Progress::new(
        terminal,
        Patience::of(config),
        config.verbose,
    ));
    let (stop, mut signals) = (Stop::new(), Signals::new());
    if let Some(rate) = config.limit_rate {
        tracing::info!("limited to {}", value::told_rate(rate));
    }
    let work = async {
        let remote = Remote::open(destination.service, config).await?;
        let upload = request(arguments, remote.uploader(), bucket, key);
        let upload = upload.stop_on(&stop).on_event({
            let (progress, bucket) = (Arc::clone(&progress), bucket.to_owned());
            let key = key.map(str::to_owned);
            move |event| progress.hear(event, &bucket, key.as_deref())
        });
        let result = progress.watch(upload.into_future()).await;
        remote.close().await;
        result
    };
    let mut work = std::pin::pin!(work);
    let result = tokio::select! {
        result = &mut work => result,
        () = signals.next() => {
            stop.stop();
            progress.say("stopping; once more to stop at once");
            tokio::select! {
                result = &mut work => result,
                () = signals.next() => Err(progress.interrupted()),
                () = tokio::time::sleep(STOP_WAIT) => Err(progress.interrupted()),
            }
        }
    };
    progress.clear();
    match result {
        Ok(done) => {
            note_nothing(&done, arguments, &progress);
            report(&done, terminal)
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            let is_lost = is_stdin(&arguments.file) && config.spool_dir.is_none();
            let again = match is_lost {
                true => "run the same line again; it begins anew",
                false => "run the same line again to go on",
            };
            let next = format!("{again}: {line}");
            Err(error.next(next))
        }
        Err(error) => Err(error),
    }
}

/// The upload that the flags describe.
fn request(arguments: &PutArgs, uploader: &Uploader, bucket: &str, key: Option<&str>) -> Put {
    let name = key.unwrap_or_default();
    let mut upload = match is_stdin(&arguments.file) {
        true => uploader.put_stream(bucket, name, stdin()),
        false => uploader.put_file(bucket, name, &arguments.file),
    };
    if let Some(size) = arguments.size {
        upload = upload.size(size);
    }
    if key.is_none() {
        upload = upload.no_key();
    }
    if arguments.insert_only {
        upload = upload.insert_only();
    }
    if let Some(mime_type) = &arguments.mime_type {
        upload = upload.mime_type(mime_type);
    }
    if let Some(name) = &arguments.file_name {
        upload = upload.file_name(name);
    }
    for (name, value) in &arguments.meta {
        upload = upload.meta(name, value);
    }
    for (name, value) in &arguments.var {
        upload = upload.var(name, value);
    }
    upload
}

/// Says so when nothing came on standard input: whatever should have supplied it may have failed without
/// a word.
fn note_nothing(done: &Done, arguments: &PutArgs, progress: &Progress) {
    if done.size == 0 && is_stdin(&arguments.file) && arguments.size.is_none() {
        progress.say("note: standard input was empty, and so is the object");
    }
}

/// One line on stdout: the last one of the file.
fn report(done: &Done, terminal: &Terminal) -> Result<(), Error> {
    let hash = done.hash.to_string();
    let event = Event::Done {
        bucket: &done.bucket,
        key: done.key.as_deref(),
        hash: &hash,
        size: done.size,
        resumed_bytes: done.resumed_bytes,
        sent_bytes: done.sent_bytes,
        resent_bytes: done.resent_bytes,
        verified: done.verified.as_str(),
    };
    let key = printable(done.key.as_deref().unwrap_or_default());
    terminal.data(&format!("{key}\t{hash}\t{}", done.size), &event)
}

/// Whether the file's name stands for standard input.
fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Trees are another command's business, and not there yet.
fn refuse_what_is_no_file(arguments: &PutArgs) -> Result<(), Error> {
    let path = &arguments.file;
    if is_stdin(path) {
        return Ok(());
    }
    if arguments.size.is_some() {
        let what = "--size is the length of standard input; a file has its own";
        return Err(Error::new(ErrorKind::Usage, what).next("leave it out"));
    }
    if path.is_dir() {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("{} is a directory", path.display()),
        )
        .next("name a file: trees (put -r) are not in this version yet"));
    }
    Ok(())
}
