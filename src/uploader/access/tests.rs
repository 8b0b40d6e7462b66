//! Tables of rights: what they are for, how long they live, what follows from them.

use super::*;
use crate::kodo::{AccessKey, SecretKey};
use crate::uploader::access::held::is_renewal_due;

fn keys() -> Credentials {
    Credentials::new(AccessKey::new("ak").unwrap(), SecretKey::new("sk").unwrap())
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Own keys sign for exactly this key, an hour at least, three times the slowest line's time.
#[test]
fn tokens_of_our_own() {
    let bucket = Bucket::new("b").unwrap();
    let key = ObjectKey::new("k").unwrap();
    for (len, life) in [(0, 3600), (8_000_000, 3600), (80_000_000, 30_000)] {
        let access = Access::Keys(keys());
        let permit = Permit::new(access, &bucket, Some(&key), None, len, at(0)).unwrap();
        let permit = permit.insert_only(true);
        let token = permit.token(at(1000));
        assert_eq!(token.policy().deadline, 1000 + life, "{len}");
        assert_eq!(token.policy().scope.text(), "b:k");
        assert!(token.policy().insert_only);
    }
}

/// A ready token that cannot work is refused before anything is sent, each for its own reason.
#[test]
fn ready_tokens() {
    let scope = Scope::Key(Bucket::new("b").unwrap(), ObjectKey::new("k").unwrap());
    let token = UploadToken::sign(&keys(), &PutPolicy::new(scope, 1000));
    let rows = [
        ("b", Some("k"), 1000, None),
        ("c", Some("k"), 1000, Some(ErrorKind::Config)),
        ("b", Some("k"), 1001, Some(ErrorKind::Unauthorized)),
        ("b", Some("x"), 1000, Some(ErrorKind::Forbidden)),
        ("b", None, 1000, Some(ErrorKind::Forbidden)),
    ];
    for (bucket, key, now, expected) in rows {
        let bucket = Bucket::new(bucket).unwrap();
        let key = key.map(|key| ObjectKey::new(key).unwrap());
        let access = Access::Token(Box::new(token.clone()));
        let permit = Permit::new(access, &bucket, key.as_ref(), None, 1, at(now));
        assert_eq!(permit.err().map(|error| error.kind()), expected);
    }
}

/// A policy of the caller's own: what it may be for, how long its tokens live, and what follows from
/// it for a repeated commit.
#[test]
fn own_policies() {
    let bucket = Bucket::new("b").unwrap();
    let policy = |change: fn(&mut PutPolicy)| {
        let prefix = Scope::Prefix(Bucket::new("b").unwrap(), "p/".to_owned());
        let mut policy = PutPolicy::new(prefix, 0);
        change(&mut policy);
        policy
    };
    let plain = policy(|_| ());
    let fine = Ok((1000 + 3600, false, false));
    let rows = [
        ("plain", "p/k", plain.clone(), None, fine),
        (
            "a life",
            "p/k",
            plain.clone(),
            Some(Life::For(Duration::from_secs(9))),
            Ok((1009, false, false)),
        ),
        (
            "an end",
            "p/k",
            plain.clone(),
            Some(Life::Until(1000)),
            Ok((1000, false, false)),
        ),
        (
            "is over",
            "p/k",
            plain.clone(),
            Some(Life::Until(999)),
            Err(ErrorKind::Unauthorized),
        ),
        ("another key", "k", plain, None, Err(ErrorKind::Forbidden)),
        (
            "a callback",
            "p/k",
            policy(|it| it.callback_url = Some("c".to_owned())),
            None,
            Ok((4600, true, false)),
        ),
        (
            "another name",
            "mine",
            policy(|it| (it.force_save_key, it.save_key) = (true, Some("s".to_owned()))),
            None,
            Ok((4600, true, true)),
        ),
    ];
    for (story, key, policy, life, expected) in rows {
        let key = ObjectKey::new(key).unwrap();
        let own = Some(OwnPolicy { policy, life });
        let access = Access::Keys(keys());
        let permit = Permit::new(access, &bucket, Some(&key), own, 1, at(1000));
        let seen = permit.map(|permit| {
            let deadline = permit.token(at(1000)).policy().deadline;
            (deadline, permit.repeat_acts(), permit.may_rename())
        });
        assert_eq!(seen.map_err(|error| error.kind()), expected, "{story}");
    }
}

/// A ready token has its policy: there cannot be another.
#[test]
fn one_policy_at_a_time() {
    let bucket = Bucket::new("b").unwrap();
    let policy = PutPolicy::new(Scope::Bucket(bucket.clone()), 1000);
    let token = UploadToken::sign(&keys(), &policy);
    let own = OwnPolicy { policy, life: None };
    let access = Access::Token(Box::new(token));
    let both = Permit::new(access, &bucket, None, Some(own), 1, at(0));
    assert_eq!(both.unwrap_err().kind(), ErrorKind::Config);
}

/// When a provider is asked again: five minutes before its token ends, or at half of a short life;
/// and when the same one came back, at half of what is left then.
#[test]
fn renewals() {
    for (asked, deadline, first) in [
        (0, 3600, Some(3300)),
        (3300, 3600, Some(3450)),
        (0, 60, Some(30)),
        (0, 2, Some(1)),
        (0, 1, None),
        (9, 3, None),
    ] {
        let due = (0..4000).find(|now| *now >= asked && is_renewal_due(asked, deadline, *now));
        assert_eq!(due, first, "{asked} {deadline}");
    }
}

/// What a provider gives is taken if it lives longer, or if what there was is refused.
#[test]
fn what_a_provider_gives() {
    let scope = || Scope::Bucket(Bucket::new("b").unwrap());
    let token = |deadline| UploadToken::sign(&keys(), &PutPolicy::new(scope(), deadline));
    for (given, refused, held, is_last) in [
        (Some(200), false, 200, false),
        (Some(100), false, 100, true),
        (Some(50), false, 100, true),
        (Some(50), true, 50, true),
        (None, false, 100, true),
    ] {
        let in_use = Held::new(token(100), 0);
        in_use.take(given.map(token), refused);
        assert_eq!(
            in_use.token().policy().deadline,
            held,
            "{given:?} {refused}"
        );
        let last_end = is_last.then_some(held);
        assert_eq!(in_use.last_end(), last_end, "{given:?} {refused}");
    }
}
