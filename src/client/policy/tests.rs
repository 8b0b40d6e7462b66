//! Tables of policies that are signed, and of those that are not.

use serde_json::{Value, json};

use super::*;
use crate::kodo::policy::{CallbackBodyType, DetectMime};

const NOW: u64 = 1_000_000;

fn keys() -> Credentials {
    Credentials::from_texts("ak", "hush").unwrap()
}

/// Every method writes the field that it names, and nothing else.
#[test]
fn every_method_is_its_field() {
    type Change = fn(PutPolicy) -> PutPolicy;
    let callback: Change = |it| it.callback_url("http://c").callback_body("k=$(key)");
    let ops: Change = |it| it.persistent_ops("o");
    let none: Change = |it| it;
    let rows: [(Change, Change, &str, Value); 27] = [
        (none, |it| it.insert_only(), "insertOnly", json!(1)),
        (
            none,
            |it| it.force_insert_only(),
            "forceInsertOnly",
            json!(true),
        ),
        (
            none,
            |it| it.keys(["k", "l"]),
            "keylimit",
            json!(["k", "l"]),
        ),
        (none, |it| it.end_user("u"), "endUser", json!("u")),
        (
            none,
            |it| it.return_url("http://r"),
            "returnUrl",
            json!("http://r"),
        ),
        (none, |it| it.return_body("{}"), "returnBody", json!("{}")),
        (
            |it| it.callback_body("b"),
            |it| it.callback_url("u"),
            "callbackUrl",
            json!("u"),
        ),
        (
            |it| it.callback_url("u"),
            |it| it.callback_body("b"),
            "callbackBody",
            json!("b"),
        ),
        (
            callback,
            |it| it.callback_host("h"),
            "callbackHost",
            json!("h"),
        ),
        (
            callback,
            |it| it.callback_body_type(CallbackBodyType::Json),
            "callbackBodyType",
            json!("application/json"),
        ),
        (
            callback,
            |it| it.callback_fetch_key(),
            "callbackFetchKey",
            json!(1),
        ),
        (none, ops, "persistentOps", json!("o")),
        (
            none,
            |it| it.persistent_workflow_template_id("w"),
            "persistentWorkflowTemplateID",
            json!("w"),
        ),
        (
            ops,
            |it| it.persistent_notify_url("n"),
            "persistentNotifyUrl",
            json!("n"),
        ),
        (
            ops,
            |it| it.persistent_pipeline("p"),
            "persistentPipeline",
            json!("p"),
        ),
        (
            ops,
            |it| it.persistent_when_idle(),
            "persistentType",
            json!(1),
        ),
        (none, |it| it.save_key("s"), "saveKey", json!("s")),
        (
            |it| it.save_key("s"),
            |it| it.force_save_key("s"),
            "forceSaveKey",
            json!(true),
        ),
        (none, |it| it.fsize_min(1), "fsizeMin", json!(1)),
        (none, |it| it.fsize_limit(2), "fsizeLimit", json!(2)),
        (
            none,
            |it| it.detect_mime(DetectMime::Never),
            "detectMime",
            json!(-1),
        ),
        (
            none,
            |it| it.mime_limit("image/*"),
            "mimeLimit",
            json!("image/*"),
        ),
        (
            none,
            |it| it.file_type(FileType::IntelligentTiering),
            "fileType",
            json!(5),
        ),
        (
            none,
            |it| it.file_type(FileType::Standard),
            "fileType",
            json!(0),
        ),
        (
            none,
            |it| it.delete_after_days(7),
            "deleteAfterDays",
            json!(7),
        ),
        (
            none,
            |it| it.traffic_limit(819_200),
            "trafficLimit",
            json!(819_200),
        ),
        (none, |it| it.field("cond", 3), "cond", json!(3)),
    ];
    for (with, change, field, value) in rows {
        let written = |policy: PutPolicy| -> Value {
            let policy = policy.own(NOW).expect(field).policy;
            serde_json::from_str(&policy.to_json()).expect("our own JSON")
        };
        let mut expected = written_without_check(with(PutPolicy::for_key("b", "k")));
        expected[field] = value;
        assert_eq!(
            written(change(with(PutPolicy::for_key("b", "k")))),
            expected,
            "{field}"
        );
    }
}

fn written_without_check(policy: PutPolicy) -> Value {
    serde_json::from_str(&policy.made.unwrap().to_json()).expect("our own JSON")
}

/// Scopes as the service reads them, and the moment at which a token ends.
#[test]
fn scopes_and_deadlines() {
    let rows = [
        (PutPolicy::for_key("b", "a:c"), "b:a:c", NOW + 3600),
        (PutPolicy::for_key("b", ""), "b:", NOW + 3600),
        (
            PutPolicy::for_bucket("b").expires_in(Duration::from_secs(60)),
            "b",
            NOW + 60,
        ),
        (
            PutPolicy::for_prefix("b", "p/")
                .deadline(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 5)),
            "b:p/",
            NOW + 5,
        ),
    ];
    for (policy, scope, end) in rows {
        let own = policy.own(NOW).expect("a fine policy");
        assert_eq!(own.policy.scope.text(), scope);
        assert_eq!(own.life.unwrap_or(LIFE).end(NOW), end, "{scope}");
        let is_prefix = matches!(own.policy.scope, Scope::Prefix(..));
        assert_eq!(own.policy.to_json().contains("isPrefixalScope"), is_prefix);
    }
}

/// What the service would refuse or leave out is refused here, by the name of the field.
#[test]
fn refused() {
    let it = || PutPolicy::for_key("b", "k");
    let rows = [
        (PutPolicy::for_bucket("b:k"), "`b:k`"),
        (PutPolicy::for_key("b", "k".repeat(751)), "751"),
        (
            it().keys(["l"]),
            "`keylimit` does not hold the scope's key `k`",
        ),
        (it().keys(["l".repeat(751)]), "751"),
        (it().callback_url("u"), "`callbackBody` is required"),
        (
            it().callback_body("b"),
            "`callbackBody` does nothing without `callbackUrl`",
        ),
        (
            it().callback_fetch_key(),
            "`callbackFetchKey` does nothing without",
        ),
        (it().callback_url(""), "`callbackUrl` is empty"),
        (
            it().callback_url("u").callback_body("b").return_url("r"),
            "`returnUrl` and `callbackUrl` exclude each other",
        ),
        (
            it().persistent_ops("o")
                .persistent_workflow_template_id("w"),
            "`persistentOps` exclude each other",
        ),
        (
            it().persistent_pipeline("p"),
            "`persistentPipeline` does nothing without",
        ),
        (
            it().fsize_min(2).fsize_limit(1),
            "`fsizeMin` is above `fsizeLimit`",
        ),
        (it().traffic_limit(1), "`trafficLimit` must be"),
        (
            it().field("insertOnly", 1),
            "`insertOnly`, which has a field of its own",
        ),
        (
            it().expires_in(Duration::from_millis(999)),
            "`deadline` is over",
        ),
        (it().deadline(SystemTime::UNIX_EPOCH), "`deadline` is over"),
    ];
    for (policy, expected) in rows {
        let error = policy.sign(&keys()).expect_err(expected);
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// What is signed is what was written, and no formatting shows what people hide in URLs.
#[test]
fn signed_and_not_shown() {
    let policy = PutPolicy::for_key("b", "k")
        .callback_url("http://me:hush@example.com")
        .callback_body("hush");
    let token = policy.sign(&keys()).expect("a fine policy");
    assert!(token.is_signed_by(&keys()));
    let callback = token.policy().callback_url.as_deref();
    assert_eq!(callback, Some("http://me:hush@example.com"));
    for text in [format!("{policy:?}"), format!("{token:?}")] {
        assert!(!text.contains("hush"), "{text}");
    }
}
