//! What a finished upload means: the one end of form, v1 and v2.
//!
//! The order of decisions is that of the protocol reference, section 7.1: deadline, key, scope, size,
//! type, overwrite rule, store, callback, answer. Uncertain there and chosen here: with
//! `callbackFetchKey` the callback comes first, since it names the object, and when it fails nothing
//! is stored; `persistentOps` gets an id and no task.

mod answer;
pub(crate) mod rules;

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::clock;
use crate::devserver::auth::{check_client_key, check_deadline, out_of_scope};
use crate::devserver::exchange::Reply;
use crate::devserver::manage::expiration;
use crate::devserver::mime::{self, Evidence};
use crate::devserver::refusal::Refusal;
use crate::devserver::route::ObjectFields;
use crate::devserver::service::Service;
use crate::devserver::store::{Extent, ObjectRecord, PutOutcome};
use crate::devserver::template::{TemplateKind, Variables, expand};
use crate::kodo::encode::hex;
use crate::kodo::{Etag, PutPolicy, UploadToken};
use crate::model::ObjectKey;

/// How an object came in: v1 has an overwrite rule of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Form and putb64.
    Form,
    /// Blocks.
    V1,
    /// Parts.
    V2,
}

/// An object's bytes, stored and hashed.
#[derive(Debug)]
pub(crate) struct Content {
    /// Their hash.
    pub(crate) etag: Etag,
    /// How many.
    pub(crate) size: u64,
    /// Where.
    pub(crate) data: Vec<Extent>,
    /// The first of them, for detecting their type.
    pub(crate) head: Vec<u8>,
    /// v2: lengths of the parts.
    pub(crate) part_lens: Option<Vec<u64>>,
    /// Lower-case hex, where it is known.
    pub(crate) md5: Option<String>,
}

impl Default for Content {
    /// No bytes.
    fn default() -> Self {
        Self {
            etag: Etag::of(b""),
            size: 0,
            data: Vec::new(),
            head: Vec::new(),
            part_lens: None,
            md5: None,
        }
    }
}

impl Service {
    /// Makes `content` an object, if the policy lets it, and answers the client.
    pub(crate) async fn finish(
        &self,
        token: &UploadToken,
        content: Content,
        fields: ObjectFields,
        protocol: Protocol,
    ) -> Result<Reply, Refusal> {
        let (policy, now) = (token.policy(), clock::wall());
        check_deadline(policy, now)?;
        rules::check_policy(policy)?;
        check_client_key(policy, fields.key.as_ref())?;
        let mut variables = variables(policy, &content, &fields);
        let key = object_key(policy, &content, &fields, &variables, now)?;
        if !policy.allows_key(Some(&key)) {
            return Err(out_of_scope());
        }
        rules::check_size(policy, content.size)?;
        let mime_type = mime_type(policy, &content, &fields, &key)?;
        variables.set("key", key.as_str());
        variables.set("mimeType", mime_type.as_str());
        let record = record(policy, content, &fields, mime_type, now)?;
        let hash = record.hash.clone();

        if policy.callback_fetch_key && policy.callback_url.is_some() {
            return self
                .fetch_key_and_store(token, record, variables, protocol)
                .await;
        }
        self.store_object(policy, &key, record, protocol).await?;
        Ok(self.answer_success(token, &key, &hash, &variables).await)
    }

    /// The overwrite rule is decided by the store, under the key's lock.
    async fn store_object(
        &self,
        policy: &PutPolicy,
        key: &ObjectKey,
        record: ObjectRecord,
        protocol: Protocol,
    ) -> Result<(), Refusal> {
        let overwrite = rules::overwrite(policy, protocol);
        let bucket = policy.scope.bucket();
        let outcome = self
            .store
            .put_object(bucket, key, record, overwrite)
            .await?;
        match outcome {
            PutOutcome::Refused => Err(Refusal::new(614, "file exists")),
            PutOutcome::Created | PutOutcome::Replaced | PutOutcome::SameContent => Ok(()),
        }
    }
}

/// Section 7.4: `forceSaveKey`, the client's key, `saveKey`, the hash.
fn object_key(
    policy: &PutPolicy,
    content: &Content,
    fields: &ObjectFields,
    variables: &Variables,
    now: SystemTime,
) -> Result<ObjectKey, Refusal> {
    let client_key = fields.key.as_ref().filter(|_| !policy.force_save_key);
    if let Some(key) = client_key {
        return Ok(key.clone());
    }
    let Some(template) = &policy.save_key else {
        return ObjectKey::new(content.etag.to_string()).map_err(|_| out_of_scope());
    };
    let mut variables = variables.clone();
    variables.set_time(now);
    let key = expand(template, TemplateKind::Text, &variables);
    ObjectKey::new(key).map_err(|_| Refusal::new(400, "the saveKey makes too long a key"))
}

/// The type to store; 403 if `mimeLimit` forbids what the content looks like.
fn mime_type(
    policy: &PutPolicy,
    content: &Content,
    fields: &ObjectFields,
    key: &ObjectKey,
) -> Result<String, Refusal> {
    let evidence = Evidence {
        declared: fields.mime_type.as_deref(),
        file_name: fields.file_name.as_deref(),
        key: key.as_str(),
        head: &content.head,
    };
    if let Some(limit) = &policy.mime_limit {
        let detected = mime::detected_type(&evidence);
        if !mime::is_allowed(limit, &detected) {
            let message =
                format!("limited mimeType: this file type ({detected}) is forbidden to upload");
            return Err(Refusal::new(403, message));
        }
    }
    // Metadata may set the object's headers, and this one comes before everything else.
    let header = fields
        .metadata
        .iter()
        .find(|(name, _)| name == "!content-type");
    Ok(match header {
        Some((_, mime_type)) => mime_type.clone(),
        None => mime::stored_type(policy.detect_mime.unwrap_or_default(), &evidence),
    })
}

/// Everything of section 7.3 but `key`, `mimeType` and the time, which not every template may see.
fn variables(policy: &PutPolicy, content: &Content, fields: &ObjectFields) -> Variables {
    let mut variables = Variables::default();
    variables.set("bucket", policy.scope.bucket().as_str());
    variables.set("etag", content.etag.to_string());
    variables.set("fsize", content.size);
    let uuid = hex(&rand::random::<[u8; 16]>());
    variables.set("uuid", uuid);
    if let Some(end_user) = &policy.end_user {
        variables.set("endUser", end_user.as_str());
    }
    if policy.persistent_ops.is_some() || policy.persistent_workflow_template_id.is_some() {
        let id = hex(&rand::random::<[u8; 12]>());
        variables.set("persistentId", format!("haul.{id}"));
    }
    if let Some(name) = &fields.file_name {
        variables.set("fname", name.as_str());
        // With its dot, since `$(etag)$(ext)` is the customary saveKey.
        if let Some((_, extension)) = name.rsplit_once('.') {
            variables.set("ext", format!(".{extension}"));
            variables.set("suffix", format!(".{extension}"));
        }
    }
    for (name, value) in &fields.vars {
        variables.set(name, value.as_str());
    }
    variables
}

fn record(
    policy: &PutPolicy,
    content: Content,
    fields: &ObjectFields,
    mime_type: String,
    now: SystemTime,
) -> Result<ObjectRecord, Refusal> {
    let metadata: BTreeMap<String, String> = fields.metadata.iter().cloned().collect();
    rules::check_metadata(&metadata)?;
    let since_1970 = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let put_time = u64::try_from(since_1970.as_nanos() / 100).unwrap_or(u64::MAX);
    Ok(ObjectRecord {
        hash: content.etag.to_string(),
        size: content.size,
        mime_type,
        put_time,
        end_user: policy.end_user.clone(),
        file_type: policy.file_type.unwrap_or_default(),
        metadata,
        part_lens: content.part_lens,
        md5: content.md5,
        expiration: expiration(
            clock::unix_seconds(now),
            policy.delete_after_days.unwrap_or(0),
        ),
        data: content.data,
        ..ObjectRecord::default()
    })
}
