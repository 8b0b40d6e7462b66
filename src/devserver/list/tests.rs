//! Pages as clients walk through them.

use super::*;
use crate::clock;
use crate::devserver::exchange::ReplyBody;
use crate::devserver::manage::tests::{body, demo_store};
use crate::devserver::store::{ObjectRecord, Overwrite, Store};
use crate::model::ObjectKey;

/// `demo` with the keys `a`, `b` and these.
async fn store_with(keys: &[&str]) -> (Store, Vec<Bucket>) {
    let (store, buckets) = demo_store().await;
    for key in keys {
        let key = ObjectKey::new(*key).unwrap();
        let put = store.put_object(&buckets[0], &key, ObjectRecord::default(), Overwrite::Never);
        put.await.unwrap();
    }
    (store, buckets)
}

fn query(limit: usize, delimiter: &str, marker: &str) -> ListQuery {
    ListQuery {
        bucket: "demo".to_owned(),
        marker: marker.to_owned(),
        limit,
        prefix: String::new(),
        delimiter: delimiter.to_owned(),
        need_parts: false,
    }
}

/// Whatever the size of its pages, and in both shapes, a walk sees every name once, in order.
#[tokio::test]
async fn walks_see_every_name_once() {
    let (store, buckets) = store_with(&["", "a/1", "a/2", "b/1", "目/\n"]).await;
    let manage = Manage {
        store: &store,
        buckets: Some(&buckets),
        now: clock::wall(),
    };
    let all = ["", "a", "a/1", "a/2", "b", "b/1", "目/\n"].as_slice();
    let folded = ["", "a", "[a/]", "b", "[b/]", "[目/]"].as_slice();
    for (delimiter, expected) in [("", all), ("/", folded)] {
        for limit in 1..=8 {
            assert_eq!(
                walk(manage, limit, delimiter).await,
                expected,
                "{limit} {delimiter}"
            );
            assert_eq!(
                walk_lines(manage, limit, delimiter).await,
                expected,
                "{limit} {delimiter}"
            );
        }
    }
}

async fn walk(manage: Manage<'_>, limit: usize, delimiter: &str) -> Vec<String> {
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let page = body(&manage.list(query(limit, delimiter, &marker)).await);
        let mut names: Vec<(String, bool)> = Vec::new();
        for item in page["items"].as_array().unwrap() {
            names.push((item["key"].as_str().unwrap().to_owned(), false));
        }
        for prefix in page["commonPrefixes"].as_array().into_iter().flatten() {
            names.push((prefix.as_str().unwrap().to_owned(), true));
        }
        assert!(names.len() <= limit);
        names.sort();
        let show = |(name, folded): (String, bool)| if folded { format!("[{name}]") } else { name };
        seen.extend(names.into_iter().map(show));
        marker = page["marker"].as_str().unwrap().to_owned();
        if marker.is_empty() {
            return seen;
        }
    }
}

async fn walk_lines(manage: Manage<'_>, limit: usize, delimiter: &str) -> Vec<String> {
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let reply = manage.list_lines(query(limit, delimiter, &marker)).await;
        let ReplyBody::Bytes(text) = reply.body else {
            panic!("lines were due");
        };
        for line in String::from_utf8(text.to_vec()).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            seen.push(match line["item"]["key"].as_str() {
                Some(key) => key.to_owned(),
                None => format!("[{}]", line["dir"].as_str().unwrap()),
            });
            marker = line["marker"].as_str().unwrap().to_owned();
        }
        if marker.is_empty() {
            return seen;
        }
    }
}

/// What is wrong with a list is said with Kodo's codes.
#[tokio::test]
async fn bad_lists() {
    let (store, buckets) = store_with(&[]).await;
    let manage = Manage {
        store: &store,
        buckets: Some(&buckets),
        now: clock::wall(),
    };
    let elsewhere = ListQuery {
        bucket: "other".to_owned(),
        ..query(1, "", "")
    };
    let nonsense = ListQuery {
        bucket: "a/b".to_owned(),
        ..query(1, "", "")
    };
    let rows = [
        (query(1, "", "?"), 640),
        (query(1, "", "e30="), 640),
        (elsewhere, 631),
        (nonsense, 631),
        (query(1, "", ""), 200),
    ];
    for (query, status) in rows {
        assert_eq!(
            manage.list_lines(query.clone()).await.status,
            status,
            "{query:?}"
        );
        assert_eq!(manage.list(query).await.status, status);
    }
}

/// With named buckets these; with any bucket those that have objects.
#[tokio::test]
async fn buckets_are_named() {
    let (store, mut buckets) = store_with(&[]).await;
    buckets.push(Bucket::new("empty").unwrap());
    for (buckets, expected) in [
        (Some(buckets.as_slice()), json!(["demo", "empty"])),
        (None, json!(["demo"])),
    ] {
        let manage = Manage {
            store: &store,
            buckets,
            now: clock::wall(),
        };
        assert_eq!(body(&manage.bucket_names().await), expected);
    }
}
