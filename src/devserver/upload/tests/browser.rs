//! Pages in browsers: what they may read, and what stays closed to them.

use crate::devserver::upload::tests::{Call, World};

/// Answers of the upload plane are open to any page, refusals too; the others are open to none.
#[tokio::test]
async fn what_is_open() {
    let world = World::new();
    let rows = [
        ("POST", "/", 400, true),
        ("POST", "/mkblk/5", 401, true),
        ("PUT", "/buckets/b/objects/~/uploads/id/1", 401, true),
        ("GET", "/v4/query?ak=ak&bucket=b", 200, true),
        ("OPTIONS", "/", 200, true),
        ("GET", "/stat/Yjpr", 401, false),
        ("POST", "/delete/Yjpr", 401, false),
        ("OPTIONS", "/delete/Yjpr", 405, false),
        ("GET", "/.haul/objects/b/k", 404, false),
        ("OPTIONS", "/.haul/objects/b/k", 405, false),
        ("OPTIONS", "/elsewhere", 404, false),
    ];
    for (method, target, status, is_open) in rows {
        let told = world.call(Call::new(method, target)).await;
        let origin = told.headers.get("access-control-allow-origin");
        let found = (told.status, origin.is_some_and(|it| it == "*"));
        assert_eq!(found, (status, is_open), "{method} {target}");
        assert_eq!(origin.is_some(), is_open, "{method} {target}");
    }
}

/// A browser asks with the names of its headers, and may send all of them.
#[tokio::test]
async fn preflight() {
    let world = World::new();
    let asked = "authorization,content-type";
    let call = Call::new("OPTIONS", "/buckets/b/objects/~/uploads/id/1");
    let call = call.header("access-control-request-headers", asked);
    let told = world.call(call).await;
    let header = |name: &str| told.headers[name].to_str().unwrap();
    assert_eq!(header("access-control-allow-headers"), asked);
    assert!(header("access-control-allow-methods").contains("PUT"));
}
