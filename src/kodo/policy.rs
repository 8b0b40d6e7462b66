//! Put policies: what an upload token permits, and what happens when the upload ends.
//!
//! Every field of the protocol reference, section 1.2, has a type here. Fields that it does not name
//! pass through unchanged in both directions, since the service knows more than its documentation.

mod check;
mod read;
#[cfg(test)]
mod tests;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::model::{Bucket, ObjectKey};

/// Most keys that `keylimit` may hold. Source: protocol reference, section 1.2.
pub const KEYLIMIT_LEN_MAX: usize = 20;

/// Lowest and highest `trafficLimit`, in bit/s: 100 KiB/s and 100 MiB/s. Outside of it the service
/// answers 400. Source: protocol reference, section 1.2.
pub const TRAFFIC_LIMITS: std::ops::RangeInclusive<u64> = 819_200..=838_860_800;

/// Highest storage class that is known: intelligent tiering. Source: as above.
pub const FILE_TYPE_MAX: u8 = 5;

/// What may be written to: the token's `scope`, with its `isPrefixalScope`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Any key. Form and v2 only add; v1 replaces an object that is there.
    Bucket(Bucket),
    /// One key, which may be empty; an object there is replaced.
    Key(Bucket, ObjectKey),
    /// Keys that start with this; only adds.
    Prefix(Bucket, String),
}

impl Scope {
    /// The bucket, which a client also needs for v2's paths and for the region query.
    pub fn bucket(&self) -> &Bucket {
        match self {
            Self::Bucket(bucket) | Self::Key(bucket, _) | Self::Prefix(bucket, _) => bucket,
        }
    }

    /// The text of the field: `bucket`, or `bucket:` and the key or prefix.
    pub fn text(&self) -> String {
        match self {
            Self::Bucket(bucket) => bucket.to_string(),
            Self::Key(bucket, key) => format!("{bucket}:{key}"),
            Self::Prefix(bucket, prefix) => format!("{bucket}:{prefix}"),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("scope", &self.text())?;
        if matches!(self, Self::Prefix(..)) {
            map.serialize_entry("isPrefixalScope", &1)?;
        }
        map.end()
    }
}

/// Form of the callback's body: `callbackBodyType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum CallbackBodyType {
    /// What the service takes when the field is absent.
    #[default]
    #[serde(rename = "application/x-www-form-urlencoded")]
    Form,
    /// JSON.
    #[serde(rename = "application/json")]
    Json,
}

impl CallbackBodyType {
    /// The media type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Form => "application/x-www-form-urlencoded",
            Self::Json => "application/json",
        }
    }
}

/// Who decides the object's mime type: `detectMime`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DetectMime {
    /// 0: the client's type if it gave one, else file name, key, content. The default.
    #[default]
    IfNotGiven,
    /// 1: content, file name, key; what the client says is ignored.
    Always,
    /// -1: always the client's type.
    Never,
}

impl DetectMime {
    /// The number on the wire.
    pub fn number(self) -> i8 {
        match self {
            Self::IfNotGiven => 0,
            Self::Always => 1,
            Self::Never => -1,
        }
    }
}

impl Serialize for DetectMime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i8(self.number())
    }
}

/// A put policy. Fields are named as on the wire, in Rust's spelling; absent ones are left out.
///
/// [`new`](Self::new) fills the two that are required. Call [`check`](Self::check) before signing
/// one that a person put together.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PutPolicy {
    /// What may be written to.
    #[serde(flatten)]
    pub scope: Scope,
    /// Last second of validity, Unix time; compared when the object is created.
    pub deadline: u64,
    /// Never replace other content. (Read from the older `exclusive` too.)
    #[serde(skip_serializing_if = "is_false", serialize_with = "as_one")]
    pub insert_only: bool,
    /// Never replace, nor accept the same content again. Wins over `insert_only`.
    #[serde(skip_serializing_if = "is_false")]
    pub force_insert_only: bool,
    /// Tag of the owner; `$(endUser)`, and in stat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_user: Option<String>,
    /// Where success redirects to (303).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
    /// Template of the success answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_body: Option<String>,
    /// URLs that are told of the object, joined by `;`, tried in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// `Host` header of the callback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_host: Option<String>,
    /// Template of the callback's body; required with `callback_url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_body: Option<String>,
    /// Form of the callback's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_body_type: Option<CallbackBodyType>,
    /// The callback's reply names the object.
    #[serde(skip_serializing_if = "is_false", serialize_with = "as_one")]
    pub callback_fetch_key: bool,
    /// Media commands to run afterwards, joined by `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_ops: Option<String>,
    /// Who is told of their end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_notify_url: Option<String>,
    /// The queue they run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_pipeline: Option<String>,
    /// 1: an idle-time task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_type: Option<i64>,
    /// A workflow template instead of `persistent_ops`.
    #[serde(
        rename = "persistentWorkflowTemplateID",
        skip_serializing_if = "Option::is_none"
    )]
    pub persistent_workflow_template_id: Option<String>,
    /// Template of the key when the client sends none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_key: Option<String>,
    /// Ignore the client's key and use `save_key`.
    #[serde(skip_serializing_if = "is_false")]
    pub force_save_key: bool,
    /// Smallest size, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsize_min: Option<u64>,
    /// Largest size, in bytes; above it 413.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsize_limit: Option<u64>,
    /// Who decides the mime type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect_mime: Option<DetectMime>,
    /// Types allowed, joined by `;`, or after a `!` types refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_limit: Option<String>,
    /// Storage class, 0 (standard) to [`FILE_TYPE_MAX`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_type: Option<u8>,
    /// Days of life, rounded up to the following midnight in China.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_after_days: Option<u64>,
    /// Most bits per second, within [`TRAFFIC_LIMITS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_limit: Option<u64>,
    /// The only keys allowed, at most [`KEYLIMIT_LEN_MAX`]; one must then be sent. Empty: no limit.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_texts")]
    pub keylimit: Vec<ObjectKey>,
    /// Obsolete; passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// Obsolete; passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform_fallback_mode: Option<String>,
    /// Obsolete; passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform_fallback_key: Option<String>,
    /// Obsolete; passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub async_ops: Option<String>,
    /// Fields that have no name here, as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl PutPolicy {
    /// The policy that permits `scope` until `deadline` (Unix seconds) and says nothing else.
    pub fn new(scope: Scope, deadline: u64) -> Self {
        let mut policy = Self::empty(scope);
        policy.deadline = deadline;
        policy
    }

    /// The policy as JSON: scope and deadline first, without blanks, non-ASCII text as it is.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self)
            .unwrap_or_else(|_| unreachable!("a policy holds text keys and finite numbers only"))
    }

    /// Whether an object may be written under `key`, as far as scope and `keylimit` say.
    ///
    /// The service asks this of the key it ends up with, `saveKey` and the content's hash included;
    /// a client may ask it of the key it is about to send. No key (`None`) is never allowed where
    /// the scope names one or a `keylimit` is set.
    pub fn allows_key(&self, key: Option<&ObjectKey>) -> bool {
        let in_scope = match (&self.scope, key) {
            (Scope::Bucket(_), _) => true,
            (Scope::Key(_, only), Some(key)) => key == only,
            (Scope::Key(..), None) => false,
            (Scope::Prefix(_, prefix), Some(key)) => key.as_str().starts_with(prefix.as_str()),
            (Scope::Prefix(_, prefix), None) => prefix.is_empty() || self.save_key.is_some(),
        };
        in_scope && (self.keylimit.is_empty() || key.is_some_and(|key| self.keylimit.contains(key)))
    }

    /// Whether the success answer has a body of the policy's making: a template, or whatever a
    /// callback answered. It need not be JSON, nor hold hash or key.
    pub fn shapes_answer(&self) -> bool {
        self.return_body.is_some() || self.callback_url.is_some()
    }
}

/// Why a put policy cannot be read or would be refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The text is no JSON object.
    #[error("the put policy is no JSON object: {0}")]
    NotJson(String),
    /// A field is missing or has the wrong type.
    #[error("put policy: `{field}` must be {expected}")]
    Field {
        /// Its name on the wire.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// A field has the right type, but a value that the service refuses.
    #[error("put policy: `{field}` {why}")]
    Value {
        /// Its name on the wire.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it this way")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// "int flag" of the reference: 1 where it is on.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it this way")]
fn as_one<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*flag))
}

fn as_texts<S: Serializer>(keys: &[ObjectKey], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().map(ObjectKey::as_str))
}
