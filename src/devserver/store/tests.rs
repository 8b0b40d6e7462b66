//! The store's promises, shown on all of its places.

mod contract;
mod killed;
mod leftovers;
mod races;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::clock;
use crate::devserver::store::{
    Extent, Listed, ObjectRecord, Overwrite, PageQuery, Place, Store, StoreError,
};
use crate::model::{Bucket, ByteSpan, ObjectKey};

/// Beyond every period and grace of a sweep.
const LATER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn open(place: &Place) -> Store {
    Store::open(place, clock::wall()).unwrap()
}

fn later() -> SystemTime {
    clock::wall() + LATER
}

fn bucket(name: &str) -> Bucket {
    Bucket::new(name).unwrap()
}

fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

/// `bytes` as a blob, written in pieces of `piece_len`.
async fn blob(store: &Store, bytes: &[u8], piece_len: usize) -> Extent {
    let mut writer = store.blob().await.unwrap();
    for piece in bytes.chunks(piece_len) {
        writer.write(&Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

/// An object record of these extents; its hash is any text.
fn record(hash: &str, data: Vec<Extent>) -> ObjectRecord {
    ObjectRecord {
        hash: hash.to_owned(),
        size: data.iter().map(|extent| extent.len).sum(),
        data,
        ..ObjectRecord::default()
    }
}

/// Stores `bytes` under `name` with themselves as the hash.
async fn put(store: &Store, name: &str, bytes: &[u8]) {
    let data = vec![blob(store, bytes, 1000).await];
    let record = record(&String::from_utf8_lossy(bytes), data);
    let (demo, name) = (bucket("demo"), key(name));
    let put = store.put_object(&demo, &name, record, Overwrite::Replace);
    put.await.unwrap();
}

async fn read(store: &Store, data: &[Extent], span: ByteSpan) -> Result<Vec<u8>, StoreError> {
    let pieces = store.read(data, span).await?;
    let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
    Ok(pieces.concat())
}

/// The bytes of the object `name`, if it is there.
async fn bytes_of(store: &Store, name: &str) -> Option<Result<Vec<u8>, StoreError>> {
    let object = store.object(&bucket("demo"), &key(name)).await.unwrap()?;
    Some(read(store, &object.data, ByteSpan::new(0, object.size)).await)
}

/// The names of a page, those of common prefixes in brackets.
async fn names(store: &Store, query: PageQuery) -> Vec<String> {
    let page = store.list(&bucket("demo"), query).await.unwrap();
    page.into_iter()
        .map(|(name, listed)| match listed {
            Listed::Object(_) => name,
            Listed::CommonPrefix => format!("[{name}]"),
        })
        .collect()
}

/// A sweep `LATER`, to its end.
fn sweep(store: &Store) {
    sweep_at(store, later(), Duration::ZERO);
}

/// A sweep, to its end. The store may be at one of its own, begun by a put: that one ends first.
fn sweep_at(store: &Store, now: SystemTime, grace: Duration) {
    while !store.inner.sweep(now, grace, &|| true).unwrap() {
        std::thread::yield_now();
    }
}
