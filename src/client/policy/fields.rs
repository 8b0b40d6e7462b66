//! The fields of a put policy, each as a method. Source: protocol reference, section 1.2.

use serde_json::Value;

use crate::client::policy::PutPolicy;
use crate::kodo;
use crate::kodo::policy::{CallbackBodyType, DetectMime};
use crate::model::ObjectKey;

/// Storage classes: `fileType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileType {
    /// 0: read often. The default.
    #[default]
    Standard,
    /// 1: read seldom.
    InfrequentAccess,
    /// 2: to be restored before it is read.
    Archive,
    /// 3: the same, for years.
    DeepArchive,
    /// 4: an archive that is read as it is.
    ArchiveDirectRead,
    /// 5: the service moves it between classes. The newest: only the Java SDK knows it.
    IntelligentTiering,
}

impl FileType {
    /// The number on the wire.
    fn number(self) -> u8 {
        match self {
            Self::Standard => 0,
            Self::InfrequentAccess => 1,
            Self::Archive => 2,
            Self::DeepArchive => 3,
            Self::ArchiveDirectRead => 4,
            Self::IntelligentTiering => 5,
        }
    }
}

impl PutPolicy {
    /// Never replaces an object of other content; the same content again succeeds (`insertOnly`).
    pub fn insert_only(self) -> Self {
        self.with(|policy| policy.insert_only = true)
    }

    /// Never replaces an object, and refuses the same content, too (`forceInsertOnly`). A commit whose
    /// answer is lost cannot be repeated then: where nobody may look, its outcome stays unknown.
    pub fn force_insert_only(self) -> Self {
        self.with(|policy| policy.force_insert_only = true)
    }

    /// The only keys that are allowed, 20 at most (`keylimit`). One of them must then be sent.
    pub fn keys<Key: Into<String>>(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        let keys: Result<Vec<ObjectKey>, _> = keys.into_iter().map(ObjectKey::new).collect();
        self.made = self.made.and_then(|policy| {
            let keylimit = keys?;
            Ok(kodo::PutPolicy { keylimit, ..policy })
        });
        self
    }

    /// Tag of the object's owner (`endUser`): `$(endUser)` in templates, and shown by stat.
    pub fn end_user(self, name: impl Into<String>) -> Self {
        self.with(|policy| policy.end_user = Some(name.into()))
    }

    /// Where a browser is sent when the object is there (`returnUrl`): a 303 whose `upload_ret` holds the
    /// answer. Not together with [`callback_url`](Self::callback_url).
    pub fn return_url(self, url: impl Into<String>) -> Self {
        self.with(|policy| policy.return_url = Some(url.into()))
    }

    /// Template of the answer's body (`returnBody`), in place of hash and key; it comes back as
    /// [`Done::answer`](crate::Done::answer).
    pub fn return_body(self, template: impl Into<String>) -> Self {
        self.with(|policy| policy.return_body = Some(template.into()))
    }

    /// Who is called when the object is there (`callbackUrl`): several URLs are joined by `;` and tried
    /// in order. Its answer comes back as [`Done::answer`](crate::Done::answer). Needs a
    /// [`callback_body`](Self::callback_body).
    pub fn callback_url(self, urls: impl Into<String>) -> Self {
        self.with(|policy| policy.callback_url = Some(urls.into()))
    }

    /// `Host` header of the callback (`callbackHost`).
    pub fn callback_host(self, host: impl Into<String>) -> Self {
        self.with(|policy| policy.callback_host = Some(host.into()))
    }

    /// Template of the callback's body (`callbackBody`).
    pub fn callback_body(self, template: impl Into<String>) -> Self {
        self.with(|policy| policy.callback_body = Some(template.into()))
    }

    /// Form of the callback's body (`callbackBodyType`): a form unless set.
    pub fn callback_body_type(self, body_type: CallbackBodyType) -> Self {
        self.with(|policy| policy.callback_body_type = Some(body_type))
    }

    /// The callback's answer names the object (`callbackFetchKey`).
    pub fn callback_fetch_key(self) -> Self {
        self.with(|policy| policy.callback_fetch_key = true)
    }

    /// Media commands that run afterwards, joined by `;` (`persistentOps`).
    pub fn persistent_ops(self, commands: impl Into<String>) -> Self {
        self.with(|policy| policy.persistent_ops = Some(commands.into()))
    }

    /// A workflow template in place of commands (`persistentWorkflowTemplateID`).
    pub fn persistent_workflow_template_id(self, id: impl Into<String>) -> Self {
        self.with(|policy| policy.persistent_workflow_template_id = Some(id.into()))
    }

    /// Who is told that the media commands have ended (`persistentNotifyUrl`).
    pub fn persistent_notify_url(self, url: impl Into<String>) -> Self {
        self.with(|policy| policy.persistent_notify_url = Some(url.into()))
    }

    /// The queue in which they run (`persistentPipeline`).
    pub fn persistent_pipeline(self, name: impl Into<String>) -> Self {
        self.with(|policy| policy.persistent_pipeline = Some(name.into()))
    }

    /// They run when the service has nothing else to do (`persistentType` 1).
    pub fn persistent_when_idle(self) -> Self {
        self.with(|policy| policy.persistent_type = Some(1))
    }

    /// Template of the key where the client sends none (`saveKey`).
    pub fn save_key(self, template: impl Into<String>) -> Self {
        self.with(|policy| policy.save_key = Some(template.into()))
    }

    /// The same also where the client sends one (`forceSaveKey`).
    pub fn force_save_key(self, template: impl Into<String>) -> Self {
        self.save_key(template)
            .with(|policy| policy.force_save_key = true)
    }

    /// Smallest size, in bytes (`fsizeMin`); a smaller object is refused (403).
    pub fn fsize_min(self, bytes: u64) -> Self {
        self.with(|policy| policy.fsize_min = Some(bytes))
    }

    /// Largest size, in bytes (`fsizeLimit`); a larger object is refused (413).
    pub fn fsize_limit(self, bytes: u64) -> Self {
        self.with(|policy| policy.fsize_limit = Some(bytes))
    }

    /// Who decides the object's type (`detectMime`).
    pub fn detect_mime(self, detect: DetectMime) -> Self {
        self.with(|policy| policy.detect_mime = Some(detect))
    }

    /// Types that are allowed, joined by `;`, as in `image/*`; behind a `!` those that are refused
    /// (`mimeLimit`). What counts is what the service detects.
    pub fn mime_limit(self, types: impl Into<String>) -> Self {
        self.with(|policy| policy.mime_limit = Some(types.into()))
    }

    /// Storage class (`fileType`).
    pub fn file_type(self, file_type: FileType) -> Self {
        self.with(|policy| policy.file_type = Some(file_type.number()))
    }

    /// The object lives so many days, rounded up to the following midnight in China
    /// (`deleteAfterDays`).
    pub fn delete_after_days(self, days: u64) -> Self {
        self.with(|policy| policy.delete_after_days = Some(days))
    }

    /// Most bits a second, 819 200 to 838 860 800 (`trafficLimit`): the service holds the upload back.
    pub fn traffic_limit(self, bits_per_s: u64) -> Self {
        self.with(|policy| policy.traffic_limit = Some(bits_per_s))
    }

    /// Any other field, by its name on the wire: the service knows more than its documentation. A name
    /// that has a method here is refused.
    pub fn field(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(|policy| _ = policy.other.insert(name.into(), value.into()))
    }

    fn with(mut self, change: impl FnOnce(&mut kodo::PutPolicy)) -> Self {
        if let Ok(policy) = &mut self.made {
            change(policy);
        }
        self
    }
}

/// Refuses fields that do nothing without another one, or whose service is not known where both are
/// there: who wrote them expects something that will not happen.
pub(super) fn check_companions(policy: &kodo::PutPolicy) -> Result<(), String> {
    let has_callback = policy.callback_url.is_some();
    let has_jobs =
        policy.persistent_ops.is_some() || policy.persistent_workflow_template_id.is_some();
    let jobs = "persistentOps";
    let rows = [
        (
            "callbackHost",
            policy.callback_host.is_some(),
            has_callback,
            "callbackUrl",
        ),
        (
            "callbackBody",
            policy.callback_body.is_some(),
            has_callback,
            "callbackUrl",
        ),
        (
            "callbackBodyType",
            policy.callback_body_type.is_some(),
            has_callback,
            "callbackUrl",
        ),
        (
            "callbackFetchKey",
            policy.callback_fetch_key,
            has_callback,
            "callbackUrl",
        ),
        (
            "persistentNotifyUrl",
            policy.persistent_notify_url.is_some(),
            has_jobs,
            jobs,
        ),
        (
            "persistentPipeline",
            policy.persistent_pipeline.is_some(),
            has_jobs,
            jobs,
        ),
        (
            "persistentType",
            policy.persistent_type.is_some(),
            has_jobs,
            jobs,
        ),
    ];
    if let Some((field, _, _, needed)) = rows.iter().find(|(_, is_set, fine, _)| *is_set && !fine) {
        return Err(format!(
            "put policy: `{field}` does nothing without `{needed}`"
        ));
    }
    if has_callback && policy.return_url.is_some() {
        return Err("put policy: `returnUrl` and `callbackUrl` exclude each other".to_owned());
    }
    let kodo::Scope::Key(_, key) = &policy.scope else {
        return Ok(());
    };
    match policy.keylimit.is_empty() || policy.keylimit.contains(key) {
        true => Ok(()),
        false => Err(format!(
            "put policy: `keylimit` does not hold the scope's key `{key}`"
        )),
    }
}
