//! Tables for reading, writing and checking put policies.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn bucket() -> Bucket {
    Bucket::new("b").expect("a fine name")
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("a short key")
}

fn read(value: &Value) -> Result<PutPolicy, PolicyError> {
    PutPolicy::from_json(value.to_string().as_bytes())
}

/// `b`'s policy with one field more.
fn with(field: &str, value: Value) -> Value {
    let mut policy = json!({"scope": "b", "deadline": 9});
    policy[field] = value;
    policy
}

/// A policy with every field of the reference comes back as it was, and nothing lands in `other`.
#[test]
fn every_field_both_ways() {
    let all = json!({
        "scope": "b:k", "deadline": 9, "isPrefixalScope": 1, "insertOnly": 1,
        "forceInsertOnly": true, "endUser": "u", "returnUrl": "http://r", "returnBody": "{}",
        "callbackUrl": "http://c;http://d", "callbackHost": "h", "callbackBody": "a=$(key)",
        "callbackBodyType": "application/json", "callbackFetchKey": 1, "persistentOps": "o",
        "persistentNotifyUrl": "http://n", "persistentPipeline": "p", "persistentType": 1,
        "persistentWorkflowTemplateID": "w", "saveKey": "$(etag)", "forceSaveKey": true,
        "fsizeMin": 1, "fsizeLimit": 2, "detectMime": -1, "mimeLimit": "image/*", "fileType": 5,
        "deleteAfterDays": 7, "trafficLimit": 819_200, "keylimit": ["k1", ""],
        "transform": "t", "transformFallbackMode": "m", "transformFallbackKey": "f",
        "asyncOps": "a",
    });
    let policy = read(&all).expect("all fields are fine");
    assert!(policy.other.is_empty(), "{:?}", policy.other);
    let written: Value = serde_json::from_str(&policy.to_json()).expect("our own JSON");
    assert_eq!(written, all);
}

/// What nobody named here passes through, whatever its shape, both ways.
#[test]
fn unknown_fields_pass_through() {
    let mut policy = with("cond", json!({"deep": [1, null, "x"]}));
    policy["callbackTimeout"] = json!(-3);
    policy["nothing"] = Value::Null;
    let read = read(&policy).expect("unknown fields are fine");
    assert_eq!(read.other.len(), 3);
    let written: Value = serde_json::from_str(&read.to_json()).expect("our own JSON");
    assert_eq!(written, policy);
    assert_eq!(read.check(), Ok(()));
}

/// `scope` splits at the first colon; the empty key is a key.
#[test]
fn scopes() {
    let rows = [
        (json!({"scope": "b"}), Scope::Bucket(bucket())),
        (json!({"scope": "b:"}), Scope::Key(bucket(), key(""))),
        (json!({"scope": "b:a:c"}), Scope::Key(bucket(), key("a:c"))),
        (
            json!({"scope": "b:p/", "isPrefixalScope": 1}),
            Scope::Prefix(bucket(), "p/".to_owned()),
        ),
        (
            json!({"scope": "b:p/", "isPrefixalScope": 0}),
            Scope::Key(bucket(), key("p/")),
        ),
        (
            json!({"scope": "b", "isPrefixalScope": true}),
            Scope::Prefix(bucket(), String::new()),
        ),
    ];
    for (mut json, expected) in rows {
        json["deadline"] = json!(9);
        let policy = read(&json).expect("a fine scope");
        assert_eq!(policy.scope, expected, "{json}");
        let again = PutPolicy::from_json(policy.to_json().as_bytes()).expect("our own JSON");
        assert_eq!(again, policy);
    }
}

/// Flags come as numbers or booleans, depending on who wrote them; `exclusive` is the older name.
#[test]
fn flags_as_others_write_them() {
    for (value, expected) in [
        (json!(1), true),
        (json!(true), true),
        (json!(2), true),
        (json!(-1), true),
        (json!(u64::MAX), true),
        (json!(0), false),
        (json!(false), false),
        (Value::Null, false),
    ] {
        for field in ["insertOnly", "exclusive"] {
            let policy = read(&with(field, value.clone())).expect("a fine flag");
            assert_eq!(policy.insert_only, expected, "{field}: {value}");
        }
        let policy = read(&with("forceInsertOnly", value.clone())).expect("a fine flag");
        assert_eq!(policy.force_insert_only, expected, "{value}");
    }
    for (new, old) in [(0, 1), (1, 0), (1, 1)] {
        let both = json!({"scope": "b", "deadline": 9, "insertOnly": new, "exclusive": old});
        let policy = read(&both).expect("fine flags");
        assert!(policy.insert_only && policy.other.is_empty(), "{both}");
    }
}

/// Who decides the mime type is a number on the wire, the same both ways.
#[test]
fn detect_mime() {
    for (number, expected) in [
        (0, DetectMime::IfNotGiven),
        (1, DetectMime::Always),
        (-1, DetectMime::Never),
    ] {
        let policy = read(&with("detectMime", json!(number))).expect("a fine number");
        assert_eq!(policy.detect_mime, Some(expected));
        let written: Value = serde_json::from_str(&policy.to_json()).expect("our own JSON");
        assert_eq!(written["detectMime"], number);
    }
}

/// Each row has one field of a wrong type; the error names it.
#[test]
fn wrong_types() {
    for (field, value) in [
        ("scope", json!(1)),
        ("scope", json!("")),
        ("scope", json!(":k")),
        ("scope", json!("a/b:k")),
        ("scope", json!(format!("b:{}", "k".repeat(751)))),
        ("deadline", Value::Null),
        ("deadline", json!("9")),
        ("deadline", json!(-1)),
        ("deadline", json!(1.5)),
        ("insertOnly", json!("1")),
        ("insertOnly", json!(1.5)),
        ("forceSaveKey", json!([])),
        ("returnBody", json!({})),
        ("fsizeLimit", json!("10")),
        ("fileType", json!(256)),
        ("detectMime", json!(2)),
        ("callbackBodyType", json!("text/plain")),
        ("keylimit", json!("k")),
        ("keylimit", json!([1])),
    ] {
        let error = read(&with(field, value.clone())).expect_err(field);
        assert!(error.to_string().contains(field), "{value}: {error}");
    }
    for bad in ["", "[]", "1", "{", "{}"] {
        assert!(PutPolicy::from_json(bad.as_bytes()).is_err(), "{bad}");
    }
}

/// Each row is readable, and is refused by the service or means nothing; the error names the field.
#[test]
fn values_that_are_refused() {
    let rows: [(&str, Value); 9] = [
        ("callbackBody", json!({"callbackUrl": "http://c"})),
        (
            "persistentWorkflowTemplateID",
            json!({"persistentOps": "o", "persistentWorkflowTemplateID": "w"}),
        ),
        ("persistentType", json!({"persistentType": 2})),
        ("forceSaveKey", json!({"forceSaveKey": true})),
        ("fsizeMin", json!({"fsizeMin": 2, "fsizeLimit": 1})),
        ("fileType", json!({"fileType": 6})),
        ("trafficLimit", json!({"trafficLimit": 819_199})),
        ("trafficLimit", json!({"trafficLimit": 838_860_801})),
        ("keylimit", json!({"keylimit": vec!["k"; 21]})),
    ];
    for (field, mut json) in rows {
        json["scope"] = json!("b");
        json["deadline"] = json!(9);
        let error = read(&json).expect("readable").check().expect_err(field);
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
    }
    let mut twice = PutPolicy::new(Scope::Bucket(bucket()), 9);
    twice.other.insert("exclusive".to_owned(), json!(1));
    assert!(twice.check().is_err(), "a name said twice");
    let mut empty = PutPolicy::new(Scope::Bucket(bucket()), 9);
    empty.save_key = Some(String::new());
    assert!(empty.check().is_err(), "an empty text");
}

/// Each row is as much as the service takes; with the row of refusals, no byte or number more.
#[test]
fn values_at_their_limits() {
    for json in [
        json!({"persistentOps": "o", "persistentType": 1}),
        json!({"persistentWorkflowTemplateID": "w", "persistentType": 0}),
        json!({"fsizeMin": 2, "fsizeLimit": 2}),
        json!({"fileType": 5}),
        json!({"trafficLimit": 819_200}),
        json!({"trafficLimit": 838_860_800}),
        json!({"keylimit": vec!["k"; 20]}),
    ] {
        let mut policy = json.clone();
        policy["scope"] = json!("b");
        policy["deadline"] = json!(9);
        assert_eq!(read(&policy).expect("readable").check(), Ok(()), "{json}");
    }
    for (len, is_fine) in [(750, true), (751, false)] {
        let prefix = Scope::Prefix(bucket(), "k".repeat(len));
        let policy = PutPolicy::new(prefix, 9);
        assert_eq!(policy.check().is_ok(), is_fine, "a prefix of {len} bytes");
    }
}

/// Which keys a policy lets through; no key is a case of its own.
#[test]
fn keys_allowed() {
    let rows: [(Value, Option<&str>, bool); 14] = [
        (json!({"scope": "b"}), None, true),
        (json!({"scope": "b"}), Some(""), true),
        (json!({"scope": "b:k"}), Some("k"), true),
        (json!({"scope": "b:k"}), Some("k2"), false),
        (json!({"scope": "b:k"}), None, false),
        (json!({"scope": "b:"}), Some(""), true),
        (json!({"scope": "b:"}), None, false),
        (
            json!({"scope": "b:p/", "isPrefixalScope": 1}),
            Some("p/k"),
            true,
        ),
        (
            json!({"scope": "b:p/", "isPrefixalScope": 1}),
            Some("q"),
            false,
        ),
        (json!({"scope": "b:p/", "isPrefixalScope": 1}), None, false),
        (json!({"scope": "b", "isPrefixalScope": 1}), None, true),
        (
            json!({"scope": "b:p/", "isPrefixalScope": 1, "saveKey": "p/$(etag)"}),
            None,
            true,
        ),
        (json!({"scope": "b", "keylimit": ["k"]}), Some("q"), false),
        (json!({"scope": "b", "keylimit": ["k"]}), None, false),
    ];
    for (mut json, sent, expected) in rows {
        json["deadline"] = json!(9);
        let policy = read(&json).expect("a fine policy");
        let sent = sent.map(key);
        assert_eq!(
            policy.allows_key(sent.as_ref()),
            expected,
            "{json} {sent:?}"
        );
    }
}

proptest! {
    /// Garbage is refused or read, and never more than that.
    #[test]
    fn reading_never_panics(bytes: Vec<u8>, field in "[a-zA-Z]{1,9}", number: i64, text: String) {
        let _ = PutPolicy::from_json(&bytes);
        for value in [json!(number), json!(text), json!([text]), json!(number as f64)] {
            for field in [field.as_str(), "scope", "deadline", "keylimit", "detectMime"] {
                if let Ok(policy) = read(&with(field, value.clone())) {
                    let _ = policy.check();
                    let again = PutPolicy::from_json(policy.to_json().as_bytes());
                    prop_assert_eq!(again, Ok(policy));
                }
            }
        }
    }
}
