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
    let with_callback = PutPolicy::for_key("b", "k")
        .insert_only()
        .force_insert_only()
        .keys(["k", "l"])
        .end_user("u")
        .return_body("{}")
        .callback_url("c")
        .callback_host("h")
        .callback_body("k=$(key)")
        .callback_body_type(CallbackBodyType::Json)
        .callback_fetch_key()
        .persistent_ops("o")
        .persistent_notify_url("n")
        .persistent_pipeline("p")
        .persistent_when_idle()
        .force_save_key("s");
    let others = PutPolicy::for_bucket("b")
        .return_url("r")
        .persistent_workflow_template_id("w")
        .save_key("s")
        .fsize_min(1)
        .fsize_limit(2)
        .detect_mime(DetectMime::Never)
        .mime_limit("image/*")
        .file_type(FileType::IntelligentTiering)
        .delete_after_days(7)
        .traffic_limit(819_200)
        .field("cond", 3);
    let rows = [
        (
            with_callback,
            json!({
                "scope": "b:k", "deadline": 0, "insertOnly": 1, "forceInsertOnly": true,
                "keylimit": ["k", "l"], "endUser": "u", "returnBody": "{}", "callbackUrl": "c",
                "callbackHost": "h", "callbackBody": "k=$(key)", "callbackBodyType": "application/json",
                "callbackFetchKey": 1, "persistentOps": "o", "persistentNotifyUrl": "n",
                "persistentPipeline": "p", "persistentType": 1, "saveKey": "s", "forceSaveKey": true,
            }),
        ),
        (
            others,
            json!({
                "scope": "b", "deadline": 0, "returnUrl": "r", "persistentWorkflowTemplateID": "w",
                "saveKey": "s", "fsizeMin": 1, "fsizeLimit": 2, "detectMime": -1,
                "mimeLimit": "image/*", "fileType": 5, "deleteAfterDays": 7, "trafficLimit": 819_200,
                "cond": 3,
            }),
        ),
    ];
    for (policy, expected) in rows {
        let policy = policy.own(NOW).expect("a fine policy").policy;
        let written: Value = serde_json::from_str(&policy.to_json()).expect("our own JSON");
        assert_eq!(written, expected);
    }
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
