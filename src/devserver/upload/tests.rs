//! Uploads, told through [`Service::answer`] with a store in memory: what the SDKs would see.

mod blocks;
mod browser;
mod finishing;
mod form;
mod garbage;
mod management;
mod multipart;
mod tokens;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};

use crate::clock;
use crate::devserver::exchange::{BodyError, BodyStream, Overrides, ReplyBody};
use crate::devserver::route::parse;
use crate::devserver::service::Service;
use crate::devserver::store::{ObjectRecord, Place, Store};
use crate::kodo::{AccessKey, Credentials, SecretKey, UploadToken};
use crate::model::{Bucket, ByteSpan, ObjectKey};

pub(super) const MIB: usize = 1024 * 1024;

/// A service with one account and the buckets `b` and `other`.
pub(super) struct World {
    pub(super) service: Service,
}

/// An answer, read to its end. `json` is null where the body is none.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) json: Value,
}

impl Told {
    /// Status and `error`, in one line.
    pub(super) fn error(&self) -> String {
        format!(
            "{} {}",
            self.status,
            self.json["error"].as_str().unwrap_or("-")
        )
    }

    /// The value of a member, as text.
    pub(super) fn text_of(&self, name: &str) -> &str {
        self.json[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::on(&Place::Memory)
    }

    pub(super) fn on(place: &Place) -> Self {
        let store = Store::open(place, clock::wall()).unwrap();
        let bucket = |name: &str| Bucket::new(name).unwrap();
        let buckets = Some(vec![bucket("b"), bucket("other")]);
        let hosts = vec!["127.0.0.1:1".to_owned()];
        Self {
            service: Service::new(store, credentials("ak", "sk"), buckets, hosts),
        }
    }

    /// A token for a policy given as JSON; its deadline is in an hour unless it names one.
    pub(super) fn token(&self, policy: &str) -> String {
        token(&credentials("ak", "sk"), policy)
    }

    pub(super) async fn call(&self, call: Call<'_>) -> Told {
        let method = Method::from_bytes(call.method.as_bytes()).unwrap();
        let mut request = Request::builder()
            .method(&method)
            .uri(call.target)
            .header("host", "up.example:8");
        for (name, value) in &call.headers {
            request = request.header(*name, value.as_str());
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let body = pieces(call.body, call.is_cut);
        let routed = parse(&method, call.target);
        let reply = self
            .service
            .answer(routed, &head, body, call.overrides)
            .await;
        let ReplyBody::Bytes(body) = reply.body else {
            panic!("a stream");
        };
        Told {
            status: reply.status,
            headers: reply.headers,
            json: serde_json::from_slice(&body).unwrap_or_default(),
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(super) async fn object(&self, key: &str) -> Option<ObjectRecord> {
        let (bucket, key) = (Bucket::new("b").unwrap(), ObjectKey::new(key).unwrap());
        self.service.store.object(&bucket, &key).await.unwrap()
    }

    /// The bytes stored under `key`.
    pub(super) async fn bytes(&self, key: &str) -> Vec<u8> {
        let object = self.object(key).await.expect(key);
        let span = ByteSpan::new(0, object.size);
        let mut stream = self.service.store.read(&object.data, span).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        bytes
    }
}

/// A request to be made.
#[derive(Default)]
pub(super) struct Call<'a> {
    method: &'a str,
    target: &'a str,
    headers: Vec<(&'a str, String)>,
    body: Vec<u8>,
    is_cut: bool,
    overrides: Overrides,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: &'a str, target: &'a str) -> Self {
        Self {
            method,
            target,
            ..Self::default()
        }
    }

    pub(super) fn token(self, token: &str) -> Self {
        self.header("authorization", format!("UpToken {token}"))
    }

    pub(super) fn header(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The connection breaks after the body's bytes.
    pub(super) fn cut(mut self) -> Self {
        self.is_cut = true;
        self
    }

    pub(super) fn overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }
}

pub(super) fn credentials(access_key: &str, secret_key: &str) -> Credentials {
    Credentials::new(
        AccessKey::new(access_key).unwrap(),
        SecretKey::new(secret_key).unwrap(),
    )
}

pub(super) fn token(keys: &Credentials, policy: &str) -> String {
    let mut policy: Value = serde_json::from_str(policy).unwrap();
    if policy.get("deadline").is_none() {
        policy["deadline"] = json!(clock::unix_seconds(clock::wall()) + 3600);
    }
    let token = UploadToken::sign_json(keys, &policy.to_string()).unwrap();
    token.expose().to_owned()
}

/// Byte i is i mod 256: pattern S of the protocol reference.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| index as u8).collect()
}

/// A body in pieces of uneven lengths, as a network brings it.
fn pieces(body: Vec<u8>, is_cut: bool) -> BodyStream {
    let body = Bytes::from(body);
    let mut pieces = Vec::new();
    let mut at = 0;
    for len in [1, 7, 100, 64 * 1024].into_iter().cycle() {
        if at == body.len() {
            break;
        }
        let end = body.len().min(at + len);
        pieces.push(Ok(body.slice(at..end)));
        at = end;
    }
    if is_cut {
        pieces.push(Err(BodyError("reset".to_owned())));
    }
    Box::pin(futures_util::stream::iter(pieces))
}
