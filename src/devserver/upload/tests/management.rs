//! The management plane behind the same door: signatures, and garbage.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock;
use crate::devserver::upload::tests::form::{field, form};
use crate::devserver::upload::tests::{Call, Told, World, credentials};
use crate::kodo::Credentials;
use crate::kodo::signature::{FORM, Signable, qbox, qiniu};

/// `b:k`.
const STAT: &str = "/stat/Yjpr";

/// How a request is signed, and what for.
#[derive(Clone, Copy)]
struct Signed<'a> {
    method: &'a str,
    target: &'a str,
    body: &'a str,
    /// An `X-Qiniu-Date`.
    date: Option<&'a str>,
}

const PLAIN: Signed<'static> = Signed {
    method: "GET",
    target: STAT,
    body: "",
    date: None,
};

type Scheme = fn(&Credentials, &Signable<'_>) -> String;

impl World {
    /// Sends `sent` with the signature of `signed`.
    async fn manage(
        &self,
        scheme: Scheme,
        keys: &Credentials,
        signed: Signed<'_>,
        sent: Signed<'_>,
    ) -> Told {
        let mut headers = HeaderMap::new();
        if let Some(date) = signed.date {
            let name = HeaderName::from_static("x-qiniu-date");
            headers.insert(name, HeaderValue::from_str(date).unwrap());
        }
        let sign = scheme(
            keys,
            &Signable {
                method: signed.method,
                target: signed.target,
                host: "up.example:8",
                content_type: Some(FORM),
                headers: &headers,
                body: signed.body.as_bytes(),
            },
        );
        let mut call = Call::new(sent.method, sent.target)
            .header("content-type", FORM)
            .header("authorization", sign)
            .body(sent.body);
        if let Some(date) = sent.date {
            call = call.header("x-qiniu-date", date);
        }
        self.call(call).await
    }
}

/// Both schemes open the door to every call; a changed request, other keys or no signature do not.
#[tokio::test]
async fn signatures() {
    let world = World::new();
    let file = "name=\"file\"\r\n\r\nhello".to_owned();
    let parts = [
        field("key", "k"),
        field("token", &world.token(r#"{"scope":"b"}"#)),
        file,
    ];
    let upload = Call::new("POST", "/").header("content-type", "multipart/form-data; boundary=B");
    assert_eq!(world.call(upload.body(form(&parts))).await.status, 200);
    let keys = credentials("ak", "sk");
    let calls = [
        PLAIN,
        Signed {
            method: "POST",
            target: "/batch",
            body: "op=/stat/Yjpr&op=%2Fstat%2FYjpr",
            date: None,
        },
        Signed {
            target: "/list?bucket=b",
            ..PLAIN
        },
        Signed {
            target: "/buckets",
            ..PLAIN
        },
        Signed {
            target: "/regions",
            ..PLAIN
        },
    ];
    for scheme in [qbox as Scheme, qiniu as Scheme] {
        for call in calls {
            let told = world.manage(scheme, &keys, call, call).await;
            assert_eq!(told.status, 200, "{} {told:?}", call.target);
        }
        let target = "/stat/Yjo=";
        let told = world
            .manage(scheme, &keys, Signed { target, ..PLAIN }, PLAIN)
            .await;
        assert_eq!(told.error(), "401 bad token", "another target");
        let batch = calls[1];
        let body = "op=/delete/Yjpr";
        let told = world
            .manage(scheme, &keys, batch, Signed { body, ..batch })
            .await;
        assert_eq!(told.error(), "401 bad token", "another body");
        for keys in [credentials("ak", "no"), credentials("no", "sk")] {
            let told = world.manage(scheme, &keys, PLAIN, PLAIN).await;
            assert_eq!(told.error(), "401 bad token", "other keys");
        }
    }
    for (authorization, expected) in [
        ("", "401 token not specified"),
        ("Bearer x", "401 bad token"),
        ("QBox", "401 bad token"),
        ("Qiniu ak", "401 bad token"),
    ] {
        let call = Call::new("GET", STAT).header("authorization", authorization);
        assert_eq!(world.call(call).await.error(), expected, "{authorization}");
    }
}

/// A signed date may be a quarter of an hour off, either way.
#[tokio::test]
async fn skewed_clocks() {
    let world = World::new();
    let now = clock::wall();
    let rows = [
        (now, "612 no such file or directory"),
        (
            now - Duration::from_secs(14 * 60),
            "612 no such file or directory",
        ),
        (
            now + Duration::from_secs(14 * 60),
            "612 no such file or directory",
        ),
        (
            now - Duration::from_secs(16 * 60),
            "403 request time too skewed",
        ),
        (
            now + Duration::from_secs(16 * 60),
            "403 request time too skewed",
        ),
    ];
    for (time, expected) in rows {
        let date = date(time);
        let signed = Signed {
            date: Some(&date),
            ..PLAIN
        };
        let told = world
            .manage(qiniu, &credentials("ak", "sk"), signed, signed)
            .await;
        assert_eq!(told.error(), expected, "{date}");
    }
    let signed = Signed {
        date: Some("yesterday"),
        ..PLAIN
    };
    let told = world
        .manage(qiniu, &credentials("ak", "sk"), signed, signed)
        .await;
    assert_eq!(told.error(), "403 request time too skewed");
}

/// `2026-11-20T15:00:00Z` without its punctuation.
fn date(time: SystemTime) -> String {
    use crate::devserver::template::{TemplateKind, Variables, expand};
    // The template's clock is eight hours ahead.
    let mut variables = Variables::default();
    variables.set_time(time - Duration::from_secs(8 * 3600));
    let date = "$(year)$(mon)$(day)T$(hour)$(min)$(sec)Z";
    expand(date, TemplateKind::Text, &variables)
}

/// What needs no signature: the region query; and what stays closed with a good one.
#[tokio::test]
async fn open_and_closed() {
    let world = World::new();
    let rows = [
        ("/v4/query?ak=ak&bucket=b", "200 -"),
        ("/v2/query?ak=ak&bucket=b", "200 -"),
        ("/v4/query?ak=ak&bucket=no", "631 no such bucket"),
        ("/nothing", "404 no such path"),
        ("/delete/Yjpr", "405 method not allowed"),
    ];
    for (target, expected) in rows {
        assert_eq!(
            world.call(Call::new("GET", target)).await.error(),
            expected,
            "{target}"
        );
    }
}

/// Signed bodies of a batch that make no sense are answered in Kodo's shape.
#[tokio::test]
async fn garbage_in_batches() {
    let world = World::new();
    let bodies = [
        "",
        "op",
        "op=&op=%zz",
        "x=1",
        "op=/batch&op=/stat/%FF",
        "\u{0}&&==",
    ];
    for body in bodies {
        let batch = Signed {
            method: "POST",
            target: "/batch",
            body,
            date: None,
        };
        let told = world
            .manage(qiniu, &credentials("ak", "sk"), batch, batch)
            .await;
        assert!([298, 400].contains(&told.status), "{body:?} {told:?}");
        assert!(
            told.json.is_array() || told.json["error"].is_string(),
            "{told:?}"
        );
    }
}
