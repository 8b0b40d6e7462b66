//! Downloads: ranges, headers, refusals.

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::*;
use crate::clock;
use crate::devserver::store::{Overwrite, Place, Store};

const BYTES: &[u8] = b"0123456789";

async fn store_with(place: &Place, change: impl FnOnce(&mut ObjectRecord)) -> Store {
    let store = Store::open(place, clock::wall()).unwrap();
    let mut writer = store.blob().await.unwrap();
    writer.write(&Bytes::from_static(BYTES)).await.unwrap();
    let mut object = ObjectRecord {
        hash: "FA".to_owned(),
        size: BYTES.len() as u64,
        mime_type: "text/plain".to_owned(),
        put_time: 17_000_000_000_000_000,
        data: vec![writer.finish().await.unwrap()],
        ..ObjectRecord::default()
    };
    change(&mut object);
    let (bucket, key) = names();
    let put = store.put_object(&bucket, &key, object, Overwrite::Never);
    put.await.unwrap();
    store
}

fn names() -> (Bucket, ObjectKey) {
    (Bucket::new("demo").unwrap(), ObjectKey::new("k").unwrap())
}

async fn get(store: &Store, request: &[(HeaderName, &str)], is_head: bool) -> Reply {
    let mut headers = HeaderMap::new();
    for (name, value) in request {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    let manage = Manage {
        store,
        buckets: None,
        now: clock::wall(),
    };
    let (bucket, key) = names();
    manage.download(&bucket, &key, &headers, is_head).await
}

/// Announced length and bytes of a reply.
async fn taken(reply: Reply) -> (u64, Vec<u8>) {
    match reply.body {
        ReplyBody::Bytes(bytes) => (bytes.len() as u64, bytes.to_vec()),
        ReplyBody::Stream { len, stream } => {
            let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
            (len, pieces.concat())
        }
    }
}

fn header(reply: &Reply, name: &str) -> Option<String> {
    let value = reply.headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Single ranges are answered with just these bytes; what is no range counts as none.
#[tokio::test]
async fn ranges() {
    let rows = [
        ("bytes=0-0", 206, "0", "bytes 0-0/10"),
        ("bytes=3-5", 206, "345", "bytes 3-5/10"),
        ("bytes=8-", 206, "89", "bytes 8-9/10"),
        ("bytes=8-99", 206, "89", "bytes 8-9/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"),
        ("bytes=-99", 206, "0123456789", "bytes 0-9/10"),
        (
            "bytes=0-18446744073709551615",
            206,
            "0123456789",
            "bytes 0-9/10",
        ),
        ("bytes=10-", 416, "", "bytes */10"),
        ("bytes=-0", 416, "", "bytes */10"),
        ("bytes=5-3", 200, "0123456789", ""),
        ("bytes=0-1,3-4", 200, "0123456789", ""),
        ("bytes=+1-2", 200, "0123456789", ""),
        ("bytes=-", 200, "0123456789", ""),
        ("lines=1-2", 200, "0123456789", ""),
    ];
    let store = store_with(&Place::Memory, |_| {}).await;
    for (range, status, expected, content_range) in rows {
        let reply = get(&store, &[(header::RANGE, range)], false).await;
        assert_eq!(reply.status, status, "{range}");
        let found = header(&reply, "content-range").unwrap_or_default();
        assert_eq!(found, content_range, "{range}");
        if status != 416 {
            let (len, bytes) = taken(reply).await;
            assert_eq!(
                (len, bytes.as_slice()),
                (expected.len() as u64, expected.as_bytes()),
                "{range}"
            );
        }
    }
    for (tag, status) in [("\"FA\"", 206), ("\"FB\"", 200)] {
        let request = [(header::RANGE, "bytes=1-2"), (header::IF_RANGE, tag)];
        assert_eq!(get(&store, &request, false).await.status, status, "{tag}");
    }
}

/// An object comes with its properties; metadata may set harmless headers and no others.
#[tokio::test]
async fn headers_describe_the_object() {
    let metadata = [
        ("color", "red"),
        ("!cache-control", "no-cache"),
        ("!content-length", "5"),
        ("!transfer-encoding", "chunked"),
        ("bad name", "x"),
        ("bad-value", "a\r\nb: c"),
    ];
    let store = store_with(&Place::Memory, |object| {
        object.metadata = metadata
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    })
    .await;
    let reply = get(&store, &[], false).await;
    let expected = [
        ("content-type", "text/plain"),
        ("etag", "\"FA\""),
        ("accept-ranges", "bytes"),
        ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("x-qn-meta-color", "red"),
        ("cache-control", "no-cache"),
    ];
    for (name, value) in expected {
        assert_eq!(header(&reply, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(reply.headers.len(), expected.len(), "{:?}", reply.headers);
}

/// HEAD announces the length and reads nothing, so that it works without the bytes, too.
#[tokio::test]
async fn head_and_refusals() {
    let store = store_with(&Place::Discard, |_| {}).await;
    let reply = get(&store, &[], true).await;
    assert_eq!(reply.status, 200);
    assert_eq!(taken(reply).await, (10, vec![]));
    assert_eq!(get(&store, &[], false).await.status, 599, "discarded");

    let disabled = store_with(&Place::Memory, |object| object.disabled = true).await;
    assert_eq!(get(&disabled, &[], false).await.status, 403);
    let empty = Store::open(&Place::Memory, clock::wall()).unwrap();
    assert_eq!(get(&empty, &[], false).await.status, 404);
    let odd = store_with(&Place::Memory, |object| {
        object.put_time = u64::MAX;
        object.mime_type = "\n".to_owned();
    })
    .await;
    let reply = get(&odd, &[], false).await;
    assert_eq!(
        header(&reply, "content-type").as_deref(),
        Some("application/octet-stream")
    );
}
