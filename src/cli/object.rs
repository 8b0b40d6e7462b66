//! `haul stat` and `haul rm`: one object.

use crate::cli::args::ObjectArgs;
use crate::cli::destination::Destination;
use crate::cli::event::Event;
use crate::cli::service::Remote;
use crate::cli::terminal::{Terminal, printable};
use crate::config::Config;
use crate::error::Error;
use crate::kodo::manage::ObjectInfo;

/// Shows an object.
pub(crate) async fn stat(
    arguments: &ObjectArgs,
    config: &Config,
    terminal: &Terminal,
) -> Result<(), Error> {
    let destination = Destination::parse(&arguments.object)?;
    let key = destination.key_of_object(arguments.key.as_deref())?;
    let remote = Remote::open(destination.service, config).await?;
    let found = remote
        .uploader()
        .stat(destination.bucket.as_str(), key.as_str())
        .await;
    remote.close().await;
    let stat = found?;
    let event = event(destination.bucket.as_str(), key.as_str(), &stat);
    let mut lines = vec![
        format!("key        {}", printable(key.as_str())),
        format!("hash       {}", stat.hash),
        format!("size       {}", stat.size),
        format!("mime_type  {}", printable(&stat.mime_type)),
        format!(
            "put_time   {}",
            humantime::format_rfc3339_seconds(stat.stored_at())
        ),
    ];
    if let Some(user) = &stat.end_user {
        lines.push(format!("end_user   {}", printable(user)));
    }
    for (name, value) in &stat.metadata {
        lines.push(format!(
            "meta       {}={}",
            printable(name),
            printable(value)
        ));
    }
    terminal.data(&lines.join("\n"), &event)
}

/// Removes an object.
pub(crate) async fn remove(
    arguments: &ObjectArgs,
    config: &Config,
    terminal: &Terminal,
) -> Result<(), Error> {
    let destination = Destination::parse(&arguments.object)?;
    let key = destination.key_of_object(arguments.key.as_deref())?;
    let bucket = destination.bucket.as_str();
    let remote = Remote::open(destination.service, config).await?;
    let removed = remote.uploader().delete(bucket, key.as_str()).await;
    remote.close().await;
    removed?;
    terminal.say(&format!("removed {}", printable(key.as_str())));
    terminal.event(&Event::Removed {
        bucket,
        key: key.as_str(),
    })
}

/// The JSON line of an object.
fn event<'a>(bucket: &'a str, key: &'a str, stat: &'a ObjectInfo) -> Event<'a> {
    let metadata = (!stat.metadata.is_empty()).then(|| {
        let pairs = stat.metadata.iter();
        pairs
            .map(|(name, value)| (name.clone(), serde_json::Value::from(value.as_str())))
            .collect()
    });
    Event::Object {
        bucket,
        key,
        hash: &stat.hash,
        size: stat.size,
        mime_type: &stat.mime_type,
        put_time: stat.put_time,
        end_user: stat.end_user.as_deref(),
        metadata,
    }
}
