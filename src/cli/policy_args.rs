//! The flags of `haul token`: every put-policy field, under its own name.

use std::time::{Duration, SystemTime};

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::kodo::PutPolicy;

/// How long a token lives unless a flag says otherwise: an hour, as the vendor's SDKs have it.
const LIFE: Duration = Duration::from_secs(3600);

/// The fields as flags. Serialised, they are the policy's JSON, which the one reader of policies
/// then types and checks.
#[derive(Debug, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyArgs {
    /// What may be uploaded: BUCKET, or BUCKET:KEY
    #[arg(value_name = "SCOPE")]
    scope: String,
    /// The scope's key is a prefix
    #[arg(long)]
    #[serde(rename = "isPrefixalScope", skip_serializing_if = "is_false")]
    prefix_scope: bool,
    /// How long the token lives
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(skip)]
    expires_in: Option<Duration>,
    /// Last moment of the token, in Unix seconds
    #[arg(long, value_name = "SECONDS", conflicts_with = "expires_in")]
    #[serde(skip)]
    deadline: Option<u64>,
    /// Never replace an object that has other content
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    insert_only: bool,
    /// Never replace an object, even by the same content
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    force_insert_only: bool,
    /// Owner tag of the object
    #[arg(long, value_name = "TEXT")]
    end_user: Option<String>,
    /// Redirect to this URL on success
    #[arg(long, value_name = "URL")]
    return_url: Option<String>,
    /// Template of the success answer
    #[arg(long, value_name = "TEMPLATE")]
    return_body: Option<String>,
    /// URLs that the service calls, separated by `;`
    #[arg(long, value_name = "URLS")]
    callback_url: Option<String>,
    /// Host header of the callback
    #[arg(long, value_name = "HOST")]
    callback_host: Option<String>,
    /// Template of the callback's body
    #[arg(long, value_name = "TEMPLATE")]
    callback_body: Option<String>,
    /// Type of the callback's body
    #[arg(long, value_name = "TYPE")]
    callback_body_type: Option<String>,
    /// The callback's answer names the object
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    callback_fetch_key: bool,
    /// Media commands to run afterwards
    #[arg(long, value_name = "COMMANDS")]
    persistent_ops: Option<String>,
    /// Told when the media commands have ended
    #[arg(long, value_name = "URL")]
    persistent_notify_url: Option<String>,
    /// Queue of the media commands
    #[arg(long, value_name = "NAME")]
    persistent_pipeline: Option<String>,
    /// 1: run the media commands when the service is idle
    #[arg(long, value_name = "NUMBER")]
    persistent_type: Option<i64>,
    /// Workflow template, in place of media commands
    #[arg(long, value_name = "ID")]
    #[serde(rename = "persistentWorkflowTemplateID")]
    persistent_workflow_template_id: Option<String>,
    /// Template of the key when the client names none
    #[arg(long, value_name = "TEMPLATE")]
    save_key: Option<String>,
    /// Use --save-key even when the client names a key
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    force_save_key: bool,
    /// Smallest size, in bytes
    #[arg(long, value_name = "BYTES")]
    fsize_min: Option<u64>,
    /// Largest size, in bytes
    #[arg(long, value_name = "BYTES")]
    fsize_limit: Option<u64>,
    /// 0: the client's type if given; 1: always detect; -1: always the client's
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    detect_mime: Option<i64>,
    /// Types that are allowed, or with a leading `!` forbidden
    #[arg(long, value_name = "TYPES")]
    mime_limit: Option<String>,
    /// Storage class, 0 to 5
    #[arg(long, value_name = "NUMBER")]
    file_type: Option<u64>,
    /// Delete the object after so many days
    #[arg(long, value_name = "DAYS")]
    delete_after_days: Option<u64>,
    /// Speed limit in bit/s
    #[arg(long, value_name = "BITS")]
    traffic_limit: Option<u64>,
    /// A key that is allowed; may be given several times
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keylimit: Vec<String>,
    /// Any other field of the put policy, its value as JSON; may be given several times
    #[arg(long, value_name = "NAME=JSON", value_parser = json_field)]
    #[serde(skip)]
    field: Vec<(String, Value)>,
}

impl PolicyArgs {
    /// The policy that the flags describe, checked.
    pub(crate) fn policy(&self, now: SystemTime) -> Result<PutPolicy, Error> {
        let refuse = |why: String| Error::new(ErrorKind::Usage, why);
        let life = self.expires_in.unwrap_or(LIFE).as_secs();
        let deadline = clock::unix_seconds(now).saturating_add(life);
        let Ok(Value::Object(mut fields)) = serde_json::to_value(self) else {
            return Err(refuse("the put policy cannot be written".to_owned()));
        };
        fields.retain(|_, value| !value.is_null());
        fields.insert("deadline".into(), self.deadline.unwrap_or(deadline).into());
        self.add_others(&mut fields)?;
        let json = Value::Object(fields).to_string();
        let policy = PutPolicy::from_json(json.as_bytes());
        let policy = policy.map_err(|error| refuse(error.to_string()))?;
        policy.check().map_err(|error| refuse(error.to_string()))?;
        Ok(policy)
    }

    /// Adds the fields of `--field`; none may say again what another flag has said.
    fn add_others(&self, fields: &mut Map<String, Value>) -> Result<(), Error> {
        for (name, value) in &self.field {
            if fields.insert(name.clone(), value.clone()).is_some() {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("the put policy's `{name}` is given twice"),
                ));
            }
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it this way")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// `NAME=JSON`.
fn json_field(text: &str) -> Result<(String, Value), String> {
    let (name, json) = text.split_once('=').ok_or("write NAME=JSON")?;
    let value = serde_json::from_str(json)
        .map_err(|error| format!("`{json}` is no JSON ({error}); a text needs its quotes"))?;
    Ok((name.to_owned(), value))
}
