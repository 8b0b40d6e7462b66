//! `haul put FILE DEST`.

use std::path::Path;
use std::sync::Arc;

use crate::cli::args::PutArgs;
use crate::cli::destination::{Destination, KeyChoice};
use crate::cli::event::Event;
use crate::cli::progress::Progress;
use crate::cli::service::Remote;
use crate::cli::terminal::{Terminal, printable};
use crate::client::{Done, Put, Uploader};
use crate::config::Config;
use crate::error::{Error, ErrorKind};

/// Uploads one file and prints `key TAB hash TAB size`.
pub(crate) async fn put(
    arguments: &PutArgs,
    config: &Config,
    terminal: &Arc<Terminal>,
) -> Result<(), Error> {
    let destination = Destination::parse(&arguments.destination)?;
    refuse_what_is_no_file(&arguments.file)?;
    let choice = KeyChoice {
        key: arguments.key.clone(),
        no_key: arguments.no_key,
    };
    let key = destination.key_for(&arguments.file, &choice)?;
    let bucket = destination.bucket.as_str();
    let key = key.as_ref().map(|key| key.as_str());

    let remote = Remote::open(destination.service, config).await?;
    let progress = Arc::new(Progress::new(terminal, config.verbose == 0));
    let upload = request(arguments, remote.uploader(), bucket, key);
    let upload = upload.on_event({
        let (progress, bucket, key) = (
            Arc::clone(&progress),
            bucket.to_owned(),
            key.map(str::to_owned),
        );
        move |event| progress.hear(event, &bucket, key.as_deref())
    });
    let result = progress.watch(upload.into_future()).await;
    remote.close().await;
    report(&result?, terminal)
}

/// The upload that the flags describe.
fn request(arguments: &PutArgs, uploader: &Uploader, bucket: &str, key: Option<&str>) -> Put {
    let mut upload = uploader.put_file(bucket, key.unwrap_or_default(), &arguments.file);
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

/// One line on stdout: the last one of the file.
fn report(done: &Done, terminal: &Terminal) -> Result<(), Error> {
    let event = Event::Done {
        bucket: &done.bucket,
        key: done.key.as_deref(),
        hash: &done.hash,
        size: done.size,
        resumed_bytes: done.resumed_bytes,
        sent_bytes: done.sent_bytes,
        resent_bytes: done.resent_bytes,
        verified: done.verified.as_str(),
    };
    let key = printable(done.key.as_deref().unwrap_or_default());
    terminal.data(&format!("{key}\t{}\t{}", done.hash, done.size), &event)
}

/// Trees and streams are other commands' business, and not there yet.
fn refuse_what_is_no_file(path: &Path) -> Result<(), Error> {
    if path.as_os_str() == "-" {
        return Err(Error::new(
            ErrorKind::Usage,
            "`-`: this version uploads files only, no streams",
        )
        .next("write the stream to a file first; for a file called `-`, write ./-"));
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
