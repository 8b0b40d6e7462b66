//! From JSON to [`PutPolicy`]: as forgiving as the service where writers differ, exact elsewhere.

use serde_json::{Map, Value};

use crate::kodo::policy::{CallbackBodyType, DetectMime, PolicyError, PutPolicy, Scope};
use crate::model::{Bucket, ObjectKey};

impl PutPolicy {
    /// Reads a policy from JSON.
    ///
    /// Flags may be numbers or booleans. `null`, and `""` for a text, count as absent, as they do
    /// for the service's own decoder. Values are not judged: that is [`check`](Self::check)'s.
    pub fn from_json(json: &[u8]) -> Result<Self, PolicyError> {
        let map = serde_json::from_slice::<Map<String, Value>>(json)
            .map_err(|error| PolicyError::NotJson(error.to_string()))?;
        let mut fields = Fields(map);
        let mut policy = Self::empty(fields.scope()?);
        policy.deadline = fields.number("deadline")?.ok_or(DEADLINE)?;
        policy.read_callback(&mut fields)?;
        policy.read_persistent(&mut fields)?;
        // `|` and not `||`: both names must be taken out.
        policy.insert_only = fields.flag("insertOnly")? | fields.flag("exclusive")?;
        policy.force_insert_only = fields.flag("forceInsertOnly")?;
        policy.end_user = fields.text("endUser")?;
        policy.return_url = fields.text("returnUrl")?;
        policy.return_body = fields.text("returnBody")?;
        policy.save_key = fields.text("saveKey")?;
        policy.force_save_key = fields.flag("forceSaveKey")?;
        policy.fsize_min = fields.number("fsizeMin")?;
        policy.fsize_limit = fields.number("fsizeLimit")?;
        policy.detect_mime = fields.detect_mime()?;
        policy.mime_limit = fields.text("mimeLimit")?;
        policy.file_type = fields.number("fileType")?;
        policy.delete_after_days = fields.number("deleteAfterDays")?;
        policy.traffic_limit = fields.number("trafficLimit")?;
        policy.keylimit = fields.keylimit()?;
        policy.transform = fields.text("transform")?;
        policy.transform_fallback_mode = fields.text("transformFallbackMode")?;
        policy.transform_fallback_key = fields.text("transformFallbackKey")?;
        policy.async_ops = fields.text("asyncOps")?;
        policy.other = fields.0;
        Ok(policy)
    }

    fn read_callback(&mut self, fields: &mut Fields) -> Result<(), PolicyError> {
        self.callback_url = fields.text("callbackUrl")?;
        self.callback_host = fields.text("callbackHost")?;
        self.callback_body = fields.text("callbackBody")?;
        self.callback_body_type = fields.callback_body_type()?;
        self.callback_fetch_key = fields.flag("callbackFetchKey")?;
        Ok(())
    }

    fn read_persistent(&mut self, fields: &mut Fields) -> Result<(), PolicyError> {
        self.persistent_ops = fields.text("persistentOps")?;
        self.persistent_notify_url = fields.text("persistentNotifyUrl")?;
        self.persistent_pipeline = fields.text("persistentPipeline")?;
        self.persistent_type = fields.number("persistentType")?;
        self.persistent_workflow_template_id = fields.text("persistentWorkflowTemplateID")?;
        Ok(())
    }

    /// A policy that permits nothing for long: its deadline is 1970.
    pub(super) fn empty(scope: Scope) -> Self {
        Self {
            scope,
            deadline: 0,
            insert_only: false,
            force_insert_only: false,
            end_user: None,
            return_url: None,
            return_body: None,
            callback_url: None,
            callback_host: None,
            callback_body: None,
            callback_body_type: None,
            callback_fetch_key: false,
            persistent_ops: None,
            persistent_notify_url: None,
            persistent_pipeline: None,
            persistent_type: None,
            persistent_workflow_template_id: None,
            save_key: None,
            force_save_key: false,
            fsize_min: None,
            fsize_limit: None,
            detect_mime: None,
            mime_limit: None,
            file_type: None,
            delete_after_days: None,
            traffic_limit: None,
            keylimit: Vec::new(),
            transform: None,
            transform_fallback_mode: None,
            transform_fallback_key: None,
            async_ops: None,
            other: Map::new(),
        }
    }
}

const DEADLINE: PolicyError = PolicyError::Field {
    field: "deadline",
    expected: "there, as Unix seconds",
};

/// The fields that nobody has taken yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }

    fn text(&mut self, field: &'static str) -> Result<Option<String>, PolicyError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(_) => Err(wrong(field, "a text")),
        }
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, PolicyError> {
        match self.take(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                Ok(number.as_i64() != Some(0))
            }
            Some(_) => Err(wrong(field, "0 or 1")),
        }
    }

    fn number<N: TryFrom<i128>>(&mut self, field: &'static str) -> Result<Option<N>, PolicyError> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let number = value
            .as_i64()
            .map(i128::from)
            .or_else(|| value.as_u64().map(i128::from));
        match number.and_then(|number| N::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(field, "a whole number in its range")),
        }
    }

    fn scope(&mut self) -> Result<Scope, PolicyError> {
        let is_prefix = self.flag("isPrefixalScope")?;
        let text = self.text("scope")?.ok_or(wrong(
            "scope",
            "there, as `bucket`, `bucket:key` or `bucket:prefix`",
        ))?;
        // Buckets have no colon, keys may: the first one parts them.
        let (bucket, key) = match text.split_once(':') {
            Some((bucket, key)) => (bucket, Some(key)),
            None => (text.as_str(), None),
        };
        let bucket = Bucket::new(bucket).map_err(|error| value("scope", error.to_string()))?;
        Ok(match (key, is_prefix) {
            (None, false) => Scope::Bucket(bucket),
            (key, true) => Scope::Prefix(bucket, key.unwrap_or_default().to_owned()),
            (Some(key), false) => Scope::Key(
                bucket,
                ObjectKey::new(key).map_err(|error| value("scope", error.to_string()))?,
            ),
        })
    }

    fn callback_body_type(&mut self) -> Result<Option<CallbackBodyType>, PolicyError> {
        let Some(text) = self.text("callbackBodyType")? else {
            return Ok(None);
        };
        // A charset after the type changes nothing.
        let media_type = text.split(';').next().unwrap_or_default().trim();
        let known = [CallbackBodyType::Form, CallbackBodyType::Json];
        match known
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(media_type))
        {
            Some(known) => Ok(Some(known)),
            None => Err(wrong(
                "callbackBodyType",
                "`application/x-www-form-urlencoded` or `application/json`",
            )),
        }
    }

    fn detect_mime(&mut self) -> Result<Option<DetectMime>, PolicyError> {
        match self.take("detectMime") {
            None => Ok(None),
            Some(Value::Bool(false)) => Ok(Some(DetectMime::IfNotGiven)),
            Some(Value::Bool(true)) => Ok(Some(DetectMime::Always)),
            Some(value) => match value.as_i64() {
                Some(0) => Ok(Some(DetectMime::IfNotGiven)),
                Some(1) => Ok(Some(DetectMime::Always)),
                Some(-1) => Ok(Some(DetectMime::Never)),
                _ => Err(wrong("detectMime", "0, 1 or -1")),
            },
        }
    }

    fn keylimit(&mut self) -> Result<Vec<ObjectKey>, PolicyError> {
        let refused = || wrong("keylimit", "an array of keys");
        match self.take("keylimit") {
            None => Ok(Vec::new()),
            Some(Value::Array(keys)) => keys
                .into_iter()
                .map(|key| {
                    let key = key.as_str().ok_or_else(refused)?;
                    ObjectKey::new(key).map_err(|error| value("keylimit", error.to_string()))
                })
                .collect(),
            Some(_) => Err(refused()),
        }
    }
}

fn wrong(field: &'static str, expected: &'static str) -> PolicyError {
    PolicyError::Field { field, expected }
}

fn value(field: &'static str, why: String) -> PolicyError {
    PolicyError::Value { field, why }
}
