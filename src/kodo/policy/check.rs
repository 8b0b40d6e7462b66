//! What the service would refuse about a policy, found before anything is signed.

use crate::kodo::policy::{
    FILE_TYPE_MAX, KEYLIMIT_LEN_MAX, PolicyError, PutPolicy, Scope, TRAFFIC_LIMITS,
};
use crate::model::KEY_LEN_MAX;

/// Names on the wire of the fields that [`PutPolicy`] has; `other` may hold none of them, since a
/// name said twice is read differently by different readers.
const FIELDS: [&str; 33] = [
    "asyncOps",
    "callbackBody",
    "callbackBodyType",
    "callbackFetchKey",
    "callbackHost",
    "callbackUrl",
    "deadline",
    "deleteAfterDays",
    "detectMime",
    "endUser",
    "exclusive",
    "fileType",
    "forceInsertOnly",
    "forceSaveKey",
    "fsizeLimit",
    "fsizeMin",
    "insertOnly",
    "isPrefixalScope",
    "keylimit",
    "mimeLimit",
    "persistentNotifyUrl",
    "persistentOps",
    "persistentPipeline",
    "persistentType",
    "persistentWorkflowTemplateID",
    "returnBody",
    "returnUrl",
    "saveKey",
    "scope",
    "trafficLimit",
    "transform",
    "transformFallbackKey",
    "transformFallbackMode",
];

impl PutPolicy {
    /// Checks the values and how they go together; says the first thing that is wrong.
    ///
    /// The deadline is not judged: only a clock can. Source: protocol reference, section 1.2.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.check_texts()?;
        self.check_scope()?;
        self.check_callback()?;
        self.check_persistent()?;
        self.check_numbers()?;
        if self.force_save_key && self.save_key.is_none() {
            return refuse("forceSaveKey", "needs a `saveKey`");
        }
        match self
            .other
            .keys()
            .find(|name| FIELDS.contains(&name.as_str()))
        {
            Some(name) => refuse(
                "other",
                format!("says `{name}`, which has a field of its own"),
            ),
            None => Ok(()),
        }
    }

    fn check_scope(&self) -> Result<(), PolicyError> {
        match &self.scope {
            Scope::Prefix(_, prefix) if prefix.len() > KEY_LEN_MAX => refuse(
                "scope",
                format!(
                    "has a prefix of {} bytes; keys have at most {KEY_LEN_MAX}",
                    prefix.len()
                ),
            ),
            _ => Ok(()),
        }
    }

    fn check_callback(&self) -> Result<(), PolicyError> {
        if self.callback_url.is_some() && self.callback_body.is_none() {
            return refuse("callbackBody", "is required when `callbackUrl` is set");
        }
        Ok(())
    }

    fn check_persistent(&self) -> Result<(), PolicyError> {
        if self.persistent_ops.is_some() && self.persistent_workflow_template_id.is_some() {
            return refuse(
                "persistentWorkflowTemplateID",
                "and `persistentOps` exclude each other",
            );
        }
        match self.persistent_type {
            None | Some(0 | 1) => Ok(()),
            Some(_) => refuse("persistentType", "must be 0 or 1"),
        }
    }

    fn check_numbers(&self) -> Result<(), PolicyError> {
        if let (Some(min), Some(limit)) = (self.fsize_min, self.fsize_limit)
            && min > limit
        {
            return refuse(
                "fsizeMin",
                "is above `fsizeLimit`: nothing could be uploaded",
            );
        }
        if self.file_type.is_some_and(|class| class > FILE_TYPE_MAX) {
            return refuse("fileType", format!("must be 0 to {FILE_TYPE_MAX}"));
        }
        if self
            .traffic_limit
            .is_some_and(|rate| !TRAFFIC_LIMITS.contains(&rate))
        {
            let (low, high) = TRAFFIC_LIMITS.into_inner();
            return refuse("trafficLimit", format!("must be {low} to {high} bit/s"));
        }
        if self.keylimit.len() > KEYLIMIT_LEN_MAX {
            return refuse(
                "keylimit",
                format!(
                    "must hold at most {KEYLIMIT_LEN_MAX} keys, not {}",
                    self.keylimit.len()
                ),
            );
        }
        Ok(())
    }

    /// Texts that are there but empty: the service would take them for absent.
    fn check_texts(&self) -> Result<(), PolicyError> {
        for (field, text) in [
            ("endUser", &self.end_user),
            ("returnUrl", &self.return_url),
            ("returnBody", &self.return_body),
            ("callbackUrl", &self.callback_url),
            ("callbackHost", &self.callback_host),
            ("callbackBody", &self.callback_body),
            ("persistentOps", &self.persistent_ops),
            ("persistentNotifyUrl", &self.persistent_notify_url),
            ("persistentPipeline", &self.persistent_pipeline),
            (
                "persistentWorkflowTemplateID",
                &self.persistent_workflow_template_id,
            ),
            ("saveKey", &self.save_key),
            ("mimeLimit", &self.mime_limit),
        ] {
            if text.as_ref().is_some_and(String::is_empty) {
                return refuse(field, "is empty; leave it out instead");
            }
        }
        Ok(())
    }
}

fn refuse(field: &'static str, why: impl Into<String>) -> Result<(), PolicyError> {
    Err(PolicyError::Value {
        field,
        why: why.into(),
    })
}
