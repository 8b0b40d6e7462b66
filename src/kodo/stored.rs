//! The answer to a finished upload, which a policy may shape into anything.
//!
//! Source: protocol reference, sections 3.2 and 7.3.

use std::time::SystemTime;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kodo::encode::b64u_decode;
use crate::kodo::etag::Etag;
use crate::kodo::failure::{check, not_kodo, read_json, request_id, server_time};
use crate::kodo::policy::PutPolicy;
use crate::model::{Answer, Failure};

/// Status of a success that redirects to the policy's `returnUrl`.
const SEE_OTHER: u16 = 303;

/// What the answer to a finished upload must look like. The policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerForm {
    /// `{"hash": …, "key": …}`; both must be there.
    HashAndKey,
    /// What a template or a callback made of it: any bytes.
    Shaped,
    /// A redirect that carries the body in its address; or the body itself.
    Redirect,
}

impl AnswerForm {
    /// What uploads under this policy are answered with.
    pub fn of(policy: &PutPolicy) -> Self {
        match (&policy.return_url, policy.shapes_answer()) {
            (Some(_), _) => Self::Redirect,
            (None, true) => Self::Shaped,
            (None, false) => Self::HashAndKey,
        }
    }
}

/// An upload that the service says is finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The object's hash, where the answer holds one. The caller compares it with its own.
    pub hash: Option<Etag>,
    /// The object's key, where the answer holds one.
    pub key: Option<String>,
    /// Of the media task that was begun, if the answer tells.
    pub persistent_id: Option<String>,
    /// The body as it came; of a redirect, the one its address carries.
    pub raw: Bytes,
    /// `X-Reqid` of the answer.
    pub request_id: Option<String>,
    /// The server's clock when it answered.
    pub server_time: Option<SystemTime>,
}

impl Stored {
    /// Reads the answer to form upload, mkfile or complete.
    pub fn read(answer: &Answer, form: AnswerForm, now: SystemTime) -> Result<Self, Failure> {
        if form == AnswerForm::Redirect && answer.status.as_u16() == SEE_OTHER {
            return Self::redirected(answer, now);
        }
        if form == AnswerForm::HashAndKey {
            let due: HashAndKey = read_json(answer, now)?;
            if Etag::parse(&due.hash).is_none() {
                return Err(not_kodo(answer, now, "a hash of another form"));
            }
        }
        check(answer, now)?;
        let json = serde_json::from_slice(&answer.body).ok();
        Ok(Self::of_body(answer, answer.body.clone(), json.as_ref()))
    }

    fn redirected(answer: &Answer, now: SystemTime) -> Result<Self, Failure> {
        if request_id(answer).is_none() {
            return Err(not_kodo(answer, now, "a redirect without X-Reqid"));
        }
        let body = answer.header("location").and_then(upload_ret);
        let body = Bytes::from(body.unwrap_or_default());
        let json = serde_json::from_slice(&body).ok();
        Ok(Self::of_body(answer, body, json.as_ref()))
    }

    fn of_body(answer: &Answer, raw: Bytes, json: Option<&Map<String, Value>>) -> Self {
        let text = |name: &str| json?.get(name)?.as_str();
        Self {
            hash: text("hash").and_then(Etag::parse),
            key: text("key").map(str::to_owned),
            persistent_id: text("persistentId").map(str::to_owned),
            raw,
            request_id: request_id(answer),
            server_time: server_time(answer),
        }
    }
}

/// What an answer without a template must hold.
#[derive(Deserialize)]
struct HashAndKey {
    hash: String,
    #[serde(rename = "key")]
    _key: String,
}

/// The body in `…?upload_ret=<base64>`. `=` may have been percent-encoded by a careful server.
fn upload_ret(location: &str) -> Option<Vec<u8>> {
    let (_, query) = location.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let found = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("upload_ret="))?;
    let text = percent_encoding::percent_decode_str(found)
        .decode_utf8()
        .ok()?;
    b64u_decode(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kodo::policy::Scope;
    use crate::model::{Bucket, FailureKind};
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        map.insert("x-reqid", HeaderValue::from_static("r"));
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        Answer {
            status: StatusCode::from_u16(status).expect("three digits"),
            headers: map,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    const HELLO: &str = r#"{"hash":"Fqr0xh3cxeii2r7eDztILNmuqUNN","key":"hello.txt"}"#;

    /// Which policy leads to which form of answer.
    #[test]
    fn forms_by_policy() {
        use AnswerForm as F;
        let url = || Some("http://r".to_owned());
        let rows = [
            (None, None, None, F::HashAndKey),
            (None, Some("{}"), None, F::Shaped),
            (None, None, url(), F::Shaped),
            (None, Some("{}"), url(), F::Shaped),
            (url(), None, None, F::Redirect),
            (url(), Some("{}"), None, F::Redirect),
        ];
        for (return_url, return_body, callback_url, expected) in rows {
            let bucket = Bucket::new("b").expect("a fine name");
            let policy = PutPolicy {
                return_url,
                return_body: return_body.map(str::to_owned),
                callback_url,
                ..PutPolicy::new(Scope::Bucket(bucket), 9)
            };
            assert_eq!(AnswerForm::of(&policy), expected, "{policy:?}");
        }
    }

    /// What each form of answer lets through.
    #[test]
    fn forms() {
        use AnswerForm as F;
        let rows = [
            (F::HashAndKey, HELLO, true, true),
            (
                F::HashAndKey,
                r#"{"hash":"no etag","key":"k"}"#,
                false,
                false,
            ),
            (
                F::HashAndKey,
                r#"{"hash":"Fqr0xh3cxeii2r7eDztILNmuqUNN"}"#,
                false,
                false,
            ),
            (F::HashAndKey, r#"{"hash":"Fqr0"#, false, false),
            (F::HashAndKey, "", false, false),
            (F::Shaped, HELLO, true, true),
            (F::Shaped, " ", true, false),
            (F::Shaped, "", true, false),
            (F::Shaped, "[1]", true, false),
            (F::Shaped, r#"{"hash":7,"key":null}"#, true, false),
            (F::Redirect, HELLO, true, true),
        ];
        for (form, body, is_fine, has_hash) in rows {
            let read = Stored::read(&answer(200, &[], body), form, SystemTime::UNIX_EPOCH);
            match read {
                Ok(stored) => {
                    assert!(is_fine, "{form:?} {body}");
                    assert_eq!(stored.hash.is_some(), has_hash, "{body}");
                    assert_eq!(stored.raw, body.as_bytes());
                }
                Err(failure) => {
                    assert!(!is_fine, "{form:?} {body}: {failure}");
                    assert_eq!(failure.kind, FailureKind::NotKodo);
                }
            }
        }
    }

    /// A 303 is a success where the policy asked for it, and nowhere else.
    #[test]
    fn redirects() {
        const BODY: &str = "http://r?a=1&upload_ret=eyJoYXNoIjoiRnFyMHhoM2N4ZWlpMnI3ZUR6dElMTm11cVV\
            OTiIsImtleSI6ImhlbGxvLnR4dCJ9";
        let redirect = answer(303, &[("location", BODY)], "");
        let now = SystemTime::UNIX_EPOCH;
        let stored = Stored::read(&redirect, AnswerForm::Redirect, now).expect("a success");
        assert_eq!(stored.raw, HELLO.as_bytes());
        assert_eq!(stored.key.as_deref(), Some("hello.txt"));
        for form in [AnswerForm::HashAndKey, AnswerForm::Shaped] {
            assert!(Stored::read(&redirect, form, now).is_err(), "{form:?}");
        }
        let bare = answer(303, &[], "");
        let stored = Stored::read(&bare, AnswerForm::Redirect, now).expect("a success");
        assert!(stored.raw.is_empty() && stored.hash.is_none());
        let mut portal = redirect;
        portal.headers.remove("x-reqid");
        let failure = Stored::read(&portal, AnswerForm::Redirect, now).expect_err("a portal");
        assert_eq!(failure.kind, FailureKind::NotKodo);
    }
}
