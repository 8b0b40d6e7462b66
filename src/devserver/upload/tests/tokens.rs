//! Who may: the order of checks, in every call of the upload plane.

use crate::devserver::exchange::Overrides;
use crate::devserver::upload::tests::{Call, World, credentials, token};

/// Every call of v1, v2 and putb64 wants a token, and says the same about a wrong one.
#[tokio::test]
async fn every_call_checks_its_token() {
    let world = World::new();
    let calls = [
        ("POST", "/mkblk/1"),
        ("POST", "/bput/ctx/0"),
        ("POST", "/mkfile/1"),
        ("POST", "/mkfile/x"),
        ("POST", "/putb64/-1"),
        ("POST", "/buckets/b/objects/~/uploads"),
        ("PUT", "/buckets/b/objects/~/uploads/u/1"),
        ("GET", "/buckets/b/objects/~/uploads/u"),
        ("POST", "/buckets/b/objects/~/uploads/u"),
        ("DELETE", "/buckets/b/objects/~/uploads/u"),
    ];
    let good = world.token(r#"{"scope":"b"}"#);
    let tokens = [
        (String::new(), "401 token not specified"),
        ("no token".to_owned(), "401 bad token"),
        (good.trim_end_matches('=').to_owned() + "x", "401 bad token"),
        (format!("{good}:x"), "401 bad token"),
        (
            token(&credentials("who", "sk"), r#"{"scope":"b"}"#),
            "401 bad token",
        ),
        (
            token(&credentials("ak", "no"), r#"{"scope":"b"}"#),
            "401 bad token",
        ),
        (
            world.token(r#"{"scope":"b","deadline":1}"#),
            "401 expired token",
        ),
        (
            world.token(r#"{"scope":"no","deadline":1}"#),
            "401 expired token",
        ),
        (world.token(r#"{"scope":"no"}"#), "631 no such bucket"),
    ];
    for (method, target) in calls {
        for (token, expected) in &tokens {
            let mut call = Call::new(method, target);
            if !token.is_empty() {
                call = call.token(token);
            }
            assert_eq!(
                world.call(call).await.error(),
                *expected,
                "{target} {token}"
            );
        }
        let expired = Overrides {
            token_expired: true,
            ..Overrides::default()
        };
        let call = Call::new(method, target).token(&good).overrides(expired);
        assert_eq!(
            world.call(call).await.error(),
            "401 expired token",
            "{target}"
        );
        let call = Call::new(method, target).header("authorization", "QBox a:b");
        assert_eq!(world.call(call).await.error(), "401 bad token", "{target}");
    }
}

/// v2's path must be within the token's scope, at every call.
#[tokio::test]
async fn paths_are_held_against_the_scope() {
    let world = World::new();
    // b64u: "aw==" is "k", "ay8x" is "k/1", "eA==" is "x".
    let rows = [
        (r#"{"scope":"b"}"#, "b", "aw==", true),
        (r#"{"scope":"b"}"#, "other", "aw==", false),
        (r#"{"scope":"b"}"#, "b", "~", true),
        (r#"{"scope":"b:k"}"#, "b", "aw==", true),
        (r#"{"scope":"b:k"}"#, "b", "eA==", false),
        (r#"{"scope":"b:k"}"#, "b", "~", false),
        (r#"{"scope":"b:"}"#, "b", "", true),
        (r#"{"scope":"b:"}"#, "b", "~", false),
        (r#"{"scope":"b:k/","isPrefixalScope":1}"#, "b", "ay8x", true),
        (
            r#"{"scope":"b:k/","isPrefixalScope":1}"#,
            "b",
            "aw==",
            false,
        ),
        (r#"{"scope":"b","keylimit":["k"]}"#, "b", "aw==", true),
        (r#"{"scope":"b","keylimit":["k"]}"#, "b", "eA==", false),
        (r#"{"scope":"b","keylimit":["k"]}"#, "b", "~", false),
        (r#"{"scope":"b:k","saveKey":"k"}"#, "b", "~", true),
        (
            r#"{"scope":"b:k","saveKey":"k","forceSaveKey":true}"#,
            "b",
            "eA==",
            true,
        ),
    ];
    for (policy, bucket, object, allowed) in rows {
        let target = format!("/buckets/{bucket}/objects/{object}/uploads");
        let call = Call::new("POST", &target).token(&world.token(policy));
        let told = world.call(call).await;
        let expected = if allowed {
            "200 -"
        } else {
            "403 key doesn't match with scope"
        };
        assert_eq!(told.error(), expected, "{policy} {target}");
    }
}
