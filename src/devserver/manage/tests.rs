//! Management calls against a store in memory.

use std::time::Duration;

use http::Method;

use super::*;
use crate::clock;
use crate::devserver::exchange::ReplyBody;
use crate::devserver::store::Place;
use crate::kodo::encode::{b64u, entry};

/// A store with the objects `a` and `b` in the bucket `demo`, which is the only one.
pub(crate) async fn demo_store() -> (Store, Vec<Bucket>) {
    let store = Store::open(&Place::Memory, clock::wall()).unwrap();
    let demo = Bucket::new("demo").unwrap();
    for (name, hash) in [("a", "FA"), ("b", "FB")] {
        let record = ObjectRecord {
            hash: hash.to_owned(),
            mime_type: "text/plain".to_owned(),
            put_time: 7,
            part_lens: (name == "b").then(|| vec![0, 0]),
            ..ObjectRecord::default()
        };
        let key = ObjectKey::new(name).unwrap();
        let put = store.put_object(&demo, &key, record, Overwrite::Replace);
        put.await.unwrap();
    }
    (store, vec![demo])
}

/// A reply's body as JSON.
pub(crate) fn body(reply: &Reply) -> Value {
    match &reply.body {
        ReplyBody::Bytes(bytes) => serde_json::from_slice(bytes).unwrap(),
        ReplyBody::Stream { .. } => panic!("JSON was due"),
    }
}

/// `demo:<key>` as it stands in a path.
fn at(key: &str) -> String {
    b64u(format!("demo:{key}"))
}

/// What stat shows of `key`, or the status that refuses it.
async fn shown(manage: Manage<'_>, key: &str) -> Result<Value, u16> {
    let call = route::parse_batched(&format!("/stat/{}", at(key)));
    let reply = manage.object(call).await;
    let body = body(&reply);
    if reply.status == 200 {
        Ok(body)
    } else {
        Err(reply.status)
    }
}

/// Operations, and the status and words that answer them.
fn operation_rows() -> Vec<(String, u16, &'static str)> {
    let (a, b, c, gone) = (at("a"), at("b"), at("c"), at("gone"));
    let other = entry(&Bucket::new("other").unwrap(), None);
    let elsewhere = b64u("other:a");
    let (png, cond, bad_cond) = (b64u("image/png"), b64u("hash=FA&fsize=0"), b64u("hash=FX"));
    vec![
        (format!("/stat/{a}"), 200, ""),
        (format!("/stat/{gone}"), 612, "no such file or directory"),
        (format!("/stat/{elsewhere}"), 631, "no such bucket"),
        (format!("/stat/{other}"), 631, "no such bucket"),
        (
            format!("/stat/{}", b64u("demo")),
            400,
            "the entry names no key",
        ),
        ("/stat/!".to_owned(), 400, "invalid entry"),
        (format!("/copy/{a}/{c}"), 200, ""),
        (format!("/copy/{a}/{b}"), 614, "file exists"),
        (format!("/copy/{a}/{b}/force/true"), 200, ""),
        (
            format!("/copy/{gone}/{b}/force/true"),
            612,
            "no such file or directory",
        ),
        (format!("/copy/{a}/{elsewhere}"), 631, "no such bucket"),
        (format!("/move/{c}/{c}"), 614, "file exists"),
        (format!("/move/{c}/{c}/force/true"), 200, ""),
        (format!("/move/{c}/{}", at("")), 200, ""),
        (format!("/stat/{c}"), 612, "no such file or directory"),
        (format!("/stat/{}", at("")), 200, ""),
        (
            format!("/chgm/{a}/mime/{png}/cond/{bad_cond}"),
            613,
            "cond not match",
        ),
        (
            format!(
                "/chgm/{a}/mime/{png}/cond/{cond}/x-qn-meta-color/{}",
                b64u("red")
            ),
            200,
            "",
        ),
        (format!("/chgm/{a}"), 400, "nothing to change"),
        (format!("/chtype/{a}/type/1"), 200, ""),
        (format!("/chtype/{a}/type/9"), 400, "invalid file type"),
        (format!("/chstatus/{a}/status/1"), 200, ""),
        (format!("/deleteAfterDays/{a}/1"), 200, ""),
        (
            format!("/deleteAfterDays/{gone}/1"),
            612,
            "no such file or directory",
        ),
        (
            format!("/lifecycle/{a}/toIAAfterDays/1"),
            400,
            "lifecycle rules are not supported by the dev server",
        ),
        (format!("/delete/{b}"), 200, ""),
        (format!("/delete/{b}"), 612, "no such file or directory"),
        ("/list".to_owned(), 400, "no such operation"),
        (String::new(), 400, "no such operation"),
    ]
}

/// Each operation alone, in this order, on the same store: its status and its words.
#[tokio::test]
async fn operations() {
    let (store, buckets) = demo_store().await;
    let manage = Manage {
        store: &store,
        buckets: Some(&buckets),
        now: clock::wall(),
    };
    for (op, status, error) in operation_rows() {
        let reply = manage.object(route::parse_batched(&op)).await;
        let body = body(&reply);
        assert_eq!(reply.status, status, "{op}: {body}");
        assert_eq!(
            body.get("error")
                .and_then(Value::as_str)
                .unwrap_or_default(),
            error,
            "{op}"
        );
    }
    let expires = expiration(clock::unix_seconds(manage.now), 1);
    let expected = json!({
        "fsize": 0, "hash": "FA", "mimeType": "image/png", "type": 1, "putTime": 7, "status": 1,
        "expiration": expires, "x-qn-meta": { "color": "red" },
    });
    assert_eq!(shown(manage, "a").await, Ok(expected));
}

/// Metadata has the limits of an upload when it is changed later, too, counted together with what is
/// there.
#[tokio::test]
async fn changed_metadata_is_bounded() {
    let (store, buckets) = demo_store().await;
    let manage = Manage {
        store: &store,
        buckets: Some(&buckets),
        now: clock::wall(),
    };
    let (a, half) = (at("a"), b64u("x".repeat(600)));
    let rows = [
        (format!("/chgm/{a}/x-qn-meta-one/{half}"), 200),
        (format!("/chgm/{a}/x-qn-meta-two/{half}"), 400),
        (format!("/chgm/{a}/x-qn-meta-one/{half}"), 200),
        (format!("/chgm/{a}/x-qn-meta-a%b/{}", b64u("1")), 400),
    ];
    for (op, status) in rows {
        let reply = manage.object(route::parse_batched(&op)).await;
        assert_eq!(reply.status, status, "{op}");
    }
}

/// The sizes of parts are shown when they are asked for, and there are any.
#[tokio::test]
async fn parts_are_shown_on_request() {
    let (store, buckets) = demo_store().await;
    let manage = Manage {
        store: &store,
        buckets: Some(&buckets),
        now: clock::wall(),
    };
    let rows = [
        ("a", "?needparts=true", None),
        ("b", "", None),
        ("b", "?needparts=false", None),
        ("b", "?needparts=true", Some(2)),
        ("b", "/needparts/false", None),
        ("b", "/needparts/true", Some(2)),
    ];
    for (key, flag, parts) in rows {
        let op = format!("/stat/{}{flag}", at(key));
        for call in [route::parse(&Method::GET, &op), route::parse_batched(&op)] {
            let reply = manage.object(call).await;
            let body = body(&reply);
            let found = body.get("parts").and_then(Value::as_array).map(Vec::len);
            assert_eq!((reply.status, found), (200, parts), "{op}");
        }
    }
}

/// An object whose time is over is gone for everybody, before any sweep.
#[tokio::test]
async fn expired_objects_are_gone() {
    let (store, buckets) = demo_store().await;
    let now = clock::wall() - Duration::from_secs(10 * 24 * 60 * 60);
    let manage = Manage {
        store: &store,
        buckets: Some(&buckets),
        now,
    };
    let call = route::parse_batched(&format!("/deleteAfterDays/{}/2", at("a")));
    assert_eq!(manage.object(call).await.status, 200);
    assert_eq!(shown(manage, "a").await, Err(612));
    assert!(shown(manage, "b").await.is_ok());
}

/// A batch answers for each operation, as the operation alone would have been answered.
#[tokio::test]
async fn batches() {
    let (store, buckets) = demo_store().await;
    let manage = Manage {
        store: &store,
        buckets: Some(&buckets),
        now: clock::wall(),
    };
    let gone = json!({ "code": 612, "data": { "error": "no such file or directory" } });
    let escaped = at("b").replace('=', "%3D");
    let rows = [
        (
            format!("op=/delete/{}&op=%2Fdelete%2F{escaped}", at("a")),
            200,
            json!([{ "code": 200 }, { "code": 200 }]),
        ),
        (
            format!("op=/delete/{}&op=", at("a")),
            298,
            json!([gone, { "code": 400, "data": { "error": "no such operation" } }]),
        ),
    ];
    for (text, status, expected) in rows {
        let reply = manage.batch(text.as_bytes()).await;
        assert_eq!((reply.status, body(&reply)), (status, expected), "{text}");
    }
    for (count, status) in [(0, 400), (1000, 298), (1001, 400)] {
        let text = vec!["op=/stat/ZGVtbzph"; count].join("&");
        assert_eq!(
            manage.batch(text.as_bytes()).await.status,
            status,
            "{count} operations"
        );
    }
    assert_eq!(manage.batch(b"\xff\xfe&&==op").await.status, 400);
}
