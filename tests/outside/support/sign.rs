//! Upload tokens and management signatures by the book (protocol reference, section 1).

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::support::content::b64u;
use crate::support::server::Listening;

/// A moment far from now: 2100-01-01. Tokens of these tests do not expire.
const DEADLINE: u64 = 4_102_444_800;

/// An upload token of this scope.
pub(crate) fn up_token(server: &Listening, scope: &str) -> String {
    let policy: Value = json!({ "scope": scope, "deadline": DEADLINE });
    let encoded = b64u(policy.to_string());
    let sign = sign(server, &encoded);
    format!("{}:{sign}:{encoded}", server.access_key)
}

/// The `Authorization` header's value for a management call without a body.
pub(crate) fn qbox_header(server: &Listening, target: &str) -> String {
    let sign = sign(server, &format!("{target}\n"));
    format!("QBox {}:{sign}", server.access_key)
}

fn sign(server: &Listening, text: &str) -> String {
    let key = server.secret_key.as_bytes();
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    b64u(mac.finalize().into_bytes())
}
