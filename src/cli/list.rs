//! `haul ls`: the objects of a bucket, or those below a prefix.

use crate::cli::args::ListArgs;
use crate::cli::destination::Destination;
use crate::cli::event::Event;
use crate::cli::service::Remote;
use crate::cli::terminal::{Terminal, printable};
use crate::client::Uploader;
use crate::config::Config;
use crate::error::Error;
use crate::kodo::manage::ListItem;

/// Lists objects, one per line: `key TAB hash TAB size`.
pub(crate) async fn list(
    arguments: &ListArgs,
    config: &Config,
    terminal: &Terminal,
) -> Result<(), Error> {
    let destination = Destination::parse(&arguments.prefix)?;
    let remote = Remote::open(destination.service, config).await?;
    let limit = arguments.limit.unwrap_or(u64::MAX);
    let listed = pages(remote.uploader(), &destination, limit, terminal).await;
    remote.close().await;
    listed
}

/// Page after page, until the last one, the limit, or the reader's end.
async fn pages(
    uploader: &Uploader,
    destination: &Destination,
    limit: u64,
    terminal: &Terminal,
) -> Result<(), Error> {
    let bucket = destination.bucket.as_str();
    let mut left = limit;
    let mut marker = None;
    loop {
        let page = uploader
            .list(bucket, &destination.path, marker.as_deref())
            .await?;
        for item in &page.items {
            if left == 0 || terminal.out_is_gone() {
                return Ok(());
            }
            left -= 1;
            let line = format!("{}\t{}\t{}", printable(&item.key), item.hash, item.size);
            terminal.data(&line, &event(bucket, item))?;
        }
        marker = page.next().map(str::to_owned);
        if marker.is_none() {
            return Ok(());
        }
    }
}

/// The JSON line of an object.
fn event<'a>(bucket: &'a str, item: &'a ListItem) -> Event<'a> {
    Event::Object {
        bucket,
        key: &item.key,
        hash: &item.hash,
        size: item.size,
        mime_type: &item.mime_type,
        put_time: item.put_time,
        end_user: item.end_user.as_deref(),
        metadata: None,
    }
}
