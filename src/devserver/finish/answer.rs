//! What the client is told of its new object: section 7.3 of the protocol reference.

use bytes::Bytes;
use http::header::LOCATION;
use serde_json::{Value, json};

use crate::devserver::auth::out_of_scope;
use crate::devserver::callback::{Callback, NotTold};
use crate::devserver::exchange::Reply;
use crate::devserver::finish::Protocol;
use crate::devserver::refusal::Refusal;
use crate::devserver::service::Service;
use crate::devserver::store::ObjectRecord;
use crate::devserver::template::{TemplateKind, Variables, expand};
use crate::kodo::encode::b64u;
use crate::kodo::policy::CallbackBodyType;
use crate::kodo::{PutPolicy, UploadToken};
use crate::model::ObjectKey;

const JSON: &str = "application/json";

impl Service {
    /// The answer of an upload whose object is stored: a callback's, a redirect, or a body.
    pub(super) async fn answer_success(
        &self,
        token: &UploadToken,
        key: &ObjectKey,
        hash: &str,
        variables: &Variables,
    ) -> Reply {
        let policy = token.policy();
        if policy.callback_url.is_some() {
            return match self.call_back(policy, variables).await {
                Ok(answer) => Reply::bytes(200, JSON, answer),
                Err(failed) => failed.reply(key.as_str(), hash),
            };
        }
        let body = body(policy, key, hash, variables);
        match &policy.return_url {
            Some(url) => redirect(url, body),
            None => Reply::bytes(200, JSON, body),
        }
    }

    /// `callbackFetchKey`: the callback's answer holds the object's key and what the client gets.
    pub(super) async fn fetch_key_and_store(
        &self,
        token: &UploadToken,
        record: ObjectRecord,
        variables: Variables,
        protocol: Protocol,
    ) -> Result<Reply, Refusal> {
        let policy = token.policy();
        let answer = match self.call_back(policy, &variables).await {
            Ok(answer) => answer,
            Err(failed) => return Ok(failed.reply("", &record.hash)),
        };
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let key = answer["key"].as_str().map(ObjectKey::new);
        let Some(Ok(key)) = key else {
            let failed = CallbackFailed {
                failure: NotTold {
                    url: policy.callback_url.clone().unwrap_or_default(),
                    status: 200,
                    why: "the answer names no key".to_owned(),
                },
                body: String::new(),
                content_type: content_type(policy),
            };
            return Ok(failed.reply("", &record.hash));
        };
        if !policy.allows_key(Some(&key)) {
            return Err(out_of_scope());
        }
        self.store_object(policy, &key, record, protocol).await?;
        Ok(Reply::json(200, &answer["payload"]))
    }

    async fn call_back(
        &self,
        policy: &PutPolicy,
        variables: &Variables,
    ) -> Result<Bytes, CallbackFailed> {
        let content_type = content_type(policy);
        let kind = match policy.callback_body_type.unwrap_or_default() {
            CallbackBodyType::Json => TemplateKind::Json,
            CallbackBodyType::Form => TemplateKind::Form,
        };
        let template = policy.callback_body.as_deref().unwrap_or_default();
        let body = expand(template, kind, variables);
        let urls = policy.callback_url.as_deref().unwrap_or_default();
        let urls = expand(urls, TemplateKind::Form, variables);
        let callback = Callback {
            urls: &urls,
            host: policy.callback_host.as_deref(),
            content_type,
            body: &body,
        };
        let told = self.callbacks.tell(&self.keys, callback).await;
        told.map_err(|failure| CallbackFailed {
            failure,
            body,
            content_type,
        })
    }
}

/// A callback that nobody took.
struct CallbackFailed {
    failure: NotTold,
    body: String,
    content_type: &'static str,
}

impl CallbackFailed {
    /// 579: the details are a JSON document within the error's text. The signature stays out of it.
    fn reply(&self, key: &str, hash: &str) -> Reply {
        let details = json!({
            "callback_url": self.failure.url,
            "callback_bodyType": self.content_type,
            "callback_body": self.body,
            "token": "",
            "err_code": self.failure.status,
            "error": self.failure.why,
            "hash": hash,
            "key": key,
        });
        Reply::error(579, &details.to_string())
    }
}

fn content_type(policy: &PutPolicy) -> &'static str {
    policy.callback_body_type.unwrap_or_default().as_str()
}

fn body(policy: &PutPolicy, key: &ObjectKey, hash: &str, variables: &Variables) -> String {
    if let Some(template) = &policy.return_body {
        return expand(template, TemplateKind::Json, variables);
    }
    let mut body = json!({ "hash": hash, "key": key.as_str() });
    let id = expand("$(persistentId)", TemplateKind::Text, variables);
    if !id.is_empty() {
        body["persistentId"] = id.into();
    }
    body.to_string()
}

fn redirect(url: &str, body: String) -> Reply {
    let joint = if url.contains('?') { '&' } else { '?' };
    let location = format!("{url}{joint}upload_ret={}", b64u(&body));
    let mut reply = Reply::bytes(303, JSON, body);
    match location.parse() {
        Ok(location) => {
            reply.headers.insert(LOCATION, location);
            reply
        }
        Err(_) => Reply::error(400, "the returnUrl is no URL"),
    }
}
