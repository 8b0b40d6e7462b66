//! v2: initiate, parts, list, complete, abort.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::devserver::exchange::Overrides;
use crate::devserver::route::parse;
use crate::devserver::upload::tests::{Call, MIB, Told, World, pattern};

const POLICY: &str = r#"{"scope":"b"}"#;
/// `k.txt`.
const FRONT: &str = "/buckets/b/objects/ay50eHQ=/uploads";

impl World {
    async fn v2(&self, method: &str, rest: &str, body: &[u8]) -> Told {
        let target = format!("{FRONT}{rest}");
        let call = Call::new(method, &target).token(&self.token(POLICY));
        self.call(call.body(body)).await
    }

    async fn initiate(&self) -> String {
        self.v2("POST", "", b"")
            .await
            .text_of("uploadId")
            .to_owned()
    }

    /// Parts of 1 MiB, the last one shorter; their entries for complete.
    async fn parts(&self, id: &str, data: &[u8]) -> Vec<Value> {
        let mut listed = Vec::new();
        for (index, part) in data.chunks(MIB).enumerate() {
            let number = index + 1;
            let told = self.v2("PUT", &format!("/{id}/{number}"), part).await;
            listed.push(json!({ "partNumber": number, "etag": told.json["etag"] }));
        }
        listed
    }

    async fn complete(&self, id: &str, parts: &Value) -> Told {
        let body = json!({ "parts": parts }).to_string();
        self.v2("POST", &format!("/{id}"), body.as_bytes()).await
    }
}

/// The example of the reference, section 5.8, and a second complete.
#[tokio::test]
async fn example_of_the_reference() {
    let world = World::new();
    let data = pattern(3 * MIB + 1);
    let told = world.v2("POST", "", b"").await;
    assert!(told.json["expireAt"].as_u64().unwrap() > 1_700_000_000);
    let id = told.text_of("uploadId");
    let target = format!("{FRONT}/{id}/1");
    let call = Call::new("PUT", &target).token(&world.token(POLICY));
    let call = call.header("content-md5", "c35cc7d8d91728a0cb052831bc4ef372");
    let told = world.call(call.body(&data[..MIB])).await;
    assert_eq!(
        told.text,
        r#"{"etag":"Fuz8job92DgR-cyb9QCZO2MGmSO-","md5":"c35cc7d8d91728a0cb052831bc4ef372"}"#
    );
    let parts = world.parts(id, &data).await;
    assert_eq!(parts[3]["etag"], "FlupPJ2wz_k_UrUh10IOQ_btonhP");
    let body = json!({
        "parts": parts, "fname": "big.bin", "mimeType": "text/plain", "unknown": [1],
        "customVars": {"x:foo": "bar"}, "metadata": {"X-Qn-Meta-Color": "red"},
        "cacheControl": "no-cache",
    });
    let body = body.to_string();
    let told = world.v2("POST", &format!("/{id}"), body.as_bytes()).await;
    assert_eq!(
        told.text,
        r#"{"hash":"nhkE_RlgVcnn4GXYvdLGs8DMWInd","key":"k.txt"}"#
    );
    assert_eq!(world.bytes("k.txt").await, data);
    let object = world.object("k.txt").await.unwrap();
    assert_eq!(
        object.part_lens,
        Some(vec![MIB as u64, MIB as u64, MIB as u64, 1])
    );
    assert_eq!(object.mime_type, "text/plain");
    assert_eq!(object.metadata["color"], "red");
    assert_eq!(object.metadata["!cache-control"], "no-cache");
    let told = world.v2("POST", &format!("/{id}"), body.as_bytes()).await;
    assert_eq!(told.error(), "612 no such uploadId");
}

/// What a part is refused for; refused bytes are not the part.
#[tokio::test]
async fn parts() {
    let world = World::new();
    let id = world.initiate().await;
    let rows = [
        ("0", "", "400 part number must be 1 to 10000"),
        ("10001", "", "400 part number must be 1 to 10000"),
        ("x", "", "400 invalid part number"),
        ("7", "00000000000000000000000000000000", "406 md5 mismatch"),
        ("7", "no md5", "406 md5 mismatch"),
        ("1", "900150983cd24fb0d6963f7d28e17f72", "200 -"),
        ("10000", "900150983CD24FB0D6963F7D28E17F72", "200 -"),
        ("10000", "", "200 -"),
    ];
    for (number, md5, expected) in rows {
        let target = format!("{FRONT}/{id}/{number}");
        let mut call = Call::new("PUT", &target)
            .token(&world.token(POLICY))
            .body("abc");
        if !md5.is_empty() {
            call = call.header("content-md5", md5);
        }
        assert_eq!(world.call(call).await.error(), expected, "{number} {md5}");
    }
    let target = format!("{FRONT}/{id}/8");
    let call = Call::new("PUT", &target).token(&world.token(POLICY));
    assert_eq!(world.call(call.body("abc").cut()).await.status, 400);
    let told = world.v2("GET", &format!("/{id}"), b"").await;
    let numbers: Vec<&Value> = told.json["parts"].as_array().unwrap().iter().collect();
    assert_eq!(numbers.len(), 2, "neither the refused nor the broken one");
    // A large part is hashed on another thread.
    let large = pattern(9 * MIB);
    let told = world.v2("PUT", &format!("/{id}/3"), &large).await;
    assert_eq!(told.json["etag"], "ljlanhukeOaPUVX4zvhETyfDHcT4");
    assert_eq!(told.json["md5"], "2a43a3f3d5b1a13f0b4c3369040d0919");
}

/// Pages of a part list end where they should, and a part sent again replaces the earlier one.
#[tokio::test]
async fn part_lists() {
    let world = World::new();
    let id = world.initiate().await;
    for (number, body) in [(3, "c"), (1, "first"), (7, "g"), (1, "a")] {
        world
            .v2("PUT", &format!("/{id}/{number}"), body.as_bytes())
            .await;
    }
    let rows: [(&str, &[u64], u64); 6] = [
        ("", &[1, 3, 7], 0),
        ("?max-parts=2", &[1, 3], 3),
        ("?max-parts=2&part-number-marker=3", &[7], 0),
        ("?max-parts=2&part-number_marker=1", &[3, 7], 0),
        ("?max-parts=3", &[1, 3, 7], 0),
        ("?part-number-marker=7", &[], 0),
    ];
    for (query, numbers, marker) in rows {
        let told = world.v2("GET", &format!("/{id}{query}"), b"").await;
        let parts = told.json["parts"].as_array().unwrap();
        let found: Vec<u64> = parts
            .iter()
            .map(|it| it["partNumber"].as_u64().unwrap())
            .collect();
        assert_eq!(found, numbers, "{query}");
        assert_eq!(told.json["partNumberMarker"], marker, "{query}");
        assert_eq!(told.json["uploadId"], id.as_str(), "{query}");
        if let Some(first) = parts.first().filter(|it| it["partNumber"] == 1) {
            assert_eq!(first["size"], 1, "replaced");
        }
    }
}

/// A part list that is wrong in one way is 400, and the upload id lives on.
#[tokio::test]
async fn completion_refusals() {
    let world = World::new();
    let id = world.initiate().await;
    let parts = world.parts(&id, &pattern(2 * MIB + 1)).await;
    world.v2("PUT", &format!("/{id}/4"), b"small").await;
    let [one, two, three] = parts.as_slice() else {
        panic!("three parts");
    };
    let rows = [
        (json!([]), "400 parts param can't be empty"),
        (json!(null), "400 parts param can't be empty"),
        (json!([two, one]), "400 parts must be in ascending order"),
        (json!([one, one]), "400 parts must be in ascending order"),
        (
            json!([one, { "partNumber": 9, "etag": "x" }]),
            "400 no such part",
        ),
        (
            json!([one, { "partNumber": 2, "etag": three["etag"] }]),
            "400 the part's etag doesn't match",
        ),
        (
            json!([one, three, { "partNumber": 4, "etag": "x" }]),
            "400 a part before the last one is smaller than 1 MiB",
        ),
        (
            json!([{ "partNumber": -1, "etag": "x" }]),
            "400 invalid JSON body",
        ),
        (json!("x"), "400 invalid JSON body"),
    ];
    for (listed, expected) in rows {
        assert_eq!(
            world.complete(&id, &listed).await.error(),
            expected,
            "{listed}"
        );
    }
    for body in ["", "{", "[]", "null", "{\"parts\":[1]}"] {
        let told = world.v2("POST", &format!("/{id}"), body.as_bytes()).await;
        assert_eq!(told.error(), "400 invalid JSON body", "{body}");
    }
    let told = world.complete(&id, &json!([one, two])).await;
    assert_eq!(
        told.json["hash"], "njrefZHapEMPsMusf006i_J0zpnN",
        "a part may stay unlisted"
    );
    assert_eq!(world.bytes("k.txt").await.len(), 2 * MIB);
}

/// An upload id means its upload under its own path only, and nothing once it is over.
#[tokio::test]
async fn dead_upload_ids() {
    let world = World::new();
    let id = world.initiate().await;
    let [part] = world.parts(&id, b"x").await.try_into().unwrap();
    let body = json!({ "parts": [part] }).to_string();
    let fronts = [
        "/buckets/b/objects/~/uploads",
        "/buckets/b/objects//uploads",
    ];
    let calls = |front: &str, id: &str| {
        [
            ("PUT", format!("{front}/{id}/1")),
            ("GET", format!("{front}/{id}")),
            ("POST", format!("{front}/{id}")),
            ("DELETE", format!("{front}/{id}")),
        ]
    };
    let mut rows: Vec<_> = fronts.iter().flat_map(|front| calls(front, &id)).collect();
    rows.extend(calls(FRONT, "nothing"));
    rows.extend(calls(FRONT, ""));
    let aborted = world.initiate().await;
    let told = world.v2("DELETE", &format!("/{aborted}"), b"").await;
    assert_eq!((told.status, told.text.as_str()), (200, "{}"));
    rows.extend(calls(FRONT, &aborted));
    for (method, target) in rows {
        let call = Call::new(method, &target).token(&world.token(POLICY));
        let told = world.call(call.body(body.as_str())).await;
        assert_eq!(told.error(), "612 no such uploadId", "{method} {target}");
    }
    let target = format!("{FRONT}/{id}");
    let expired = Overrides {
        upload_expired: true,
        ..Overrides::default()
    };
    for overrides in [expired, Overrides::default()] {
        let call = Call::new("GET", &target).token(&world.token(POLICY));
        let told = world.call(call.overrides(overrides)).await;
        assert_eq!(told.error(), "612 no such uploadId");
    }
}

/// A complete that a policy refuses keeps the upload id; another token may then finish it.
#[tokio::test]
async fn a_failing_complete_keeps_the_upload() {
    let world = World::new();
    for (attempt, data) in ["one", "two"].into_iter().enumerate() {
        let id = world.initiate().await;
        let parts = world.parts(&id, data.as_bytes()).await;
        let target = format!("{FRONT}/{id}");
        let body = json!({ "parts": parts }).to_string();
        let rows = [
            (r#"{"scope":"b","fsizeLimit":2}"#, "413 exceed FsizeLimit"),
            (r#"{"scope":"b","mimeLimit":"image/*"}"#, "403 "),
            (
                r#"{"scope":"b"}"#,
                if attempt == 0 {
                    "200 -"
                } else {
                    "614 file exists"
                },
            ),
            (
                r#"{"scope":"b:k.txt"}"#,
                if attempt == 0 { "612 " } else { "200 -" },
            ),
        ];
        for (policy, expected) in rows {
            let call = Call::new("POST", &target).token(&world.token(policy));
            let told = world.call(call.body(body.as_str())).await;
            assert!(told.error().starts_with(expected), "{policy} {told:?}");
        }
    }
    assert_eq!(world.bytes("k.txt").await, b"two");
}

/// An upload that another request ends while its complete is on the way is no longer there; its
/// list of parts is not to blame.
#[tokio::test]
async fn a_complete_that_comes_second() {
    let world = World::new();
    let id = world.initiate().await;
    let parts = world.parts(&id, &pattern(MIB + 1)).await;
    let target = format!("{FRONT}/{id}");
    let method = Method::POST;
    let token = format!("UpToken {}", world.token(POLICY));
    let request = Request::builder().method(&method).uri(&target);
    let request = request.header("authorization", token).body(()).unwrap();
    let (store, body) = (world.service.store.clone(), json!({ "parts": parts }));
    let body = futures_util::stream::once(async move {
        store.remove_upload(&id).await.unwrap();
        Ok(Bytes::from(body.to_string()))
    });
    let (head, ()) = request.into_parts();
    let call = parse(&method, &target);
    let (body, overrides) = (Box::pin(body), Overrides::default());
    let reply = world.service.answer(call, &head, body, overrides).await;
    assert_eq!(reply.status, 612);
}
