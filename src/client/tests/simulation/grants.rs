//! Tokens that end while an upload runs: asked for again in time, or told of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::client::tests::simulation::limit::{Limits, virtually};
use crate::client::tests::simulation::run::locked;
use crate::client::{Put, PutPolicy};
use crate::clock;
use crate::engine::expiry::Grant;
use crate::error::ErrorKind;
use crate::events::Event;
use crate::kodo::Credentials;
use crate::uploader::Protocol;

/// A line of 64 kbit/s, and what takes three quarters of an hour on it.
const RATE: u64 = 64_000;
const LEN: u64 = 20_000_000;

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// What was told to end too early.
fn warnings(limits: &Limits) -> Vec<Grant> {
    let heard = locked(&limits.heard);
    let warned = heard.iter().filter_map(|(_, event)| match event {
        Event::Expiring { what, left, needed } => {
            assert!(left < needed, "{what:?} {left:?} {needed:?}");
            Some(*what)
        }
        _ => None,
    });
    warned.collect()
}

fn keys(limits: &Limits) -> Credentials {
    let keys = limits
        .network
        .with_server(|server| server.credentials().clone());
    keys.unwrap()
}

/// A provider's tokens live a quarter of an hour each: it is asked while the one before still serves, so
/// that nothing is refused, and nobody is warned. One that goes on giving the same token is asked ever
/// later, and its end is told.
#[test]
fn a_provider_is_asked_in_time() {
    for (is_stubborn, protocol, expected) in [
        (false, Protocol::V1, 4..=6),
        (false, Protocol::V2, 4..=6),
        (true, Protocol::V1, 3..=20),
    ] {
        let asked = Arc::new(AtomicU32::new(0));
        virtually(async {
            let credentials = Credentials::from_texts("mine", "hush").unwrap();
            let policy = PutPolicy::for_key("b", "k").expires_in(minutes(15));
            let first = policy.sign(&credentials).unwrap().expose().to_owned();
            let count = Arc::clone(&asked);
            let limits = Limits::with_keys(RATE, &[], &credentials.clone(), |it| {
                it.token_provider(move || {
                    count.fetch_add(1, Ordering::Relaxed);
                    let fresh = policy.sign(&credentials).unwrap().expose().to_owned();
                    let text = if is_stubborn { first.clone() } else { fresh };
                    async move { Ok::<_, String>(text) }
                })
            })
            .await;
            let ended = limits.put("k", LEN).protocol(protocol).await;
            match is_stubborn {
                false => {
                    ended.unwrap();
                    assert!(limits.failures().is_empty(), "{:?}", limits.failures());
                    assert_eq!(warnings(&limits), []);
                }
                true => {
                    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unauthorized);
                    assert_eq!(warnings(&limits), [Grant::Token]);
                }
            }
        });
        let asked = asked.load(Ordering::Relaxed);
        assert!(
            expected.contains(&asked),
            "{is_stubborn} {protocol:?}: {asked}"
        );
    }
}

/// A right that ends before the upload does is told of once, soon after the pace is known; what lives
/// for long enough, or is signed anew, is not.
#[test]
fn what_will_not_last_is_told() {
    let token = |put: Put, keys: &Credentials, life| {
        let policy = PutPolicy::for_key("b", "k").expires_in(life);
        put.upload_token(policy.sign(keys).unwrap().expose())
    };
    type Say = Box<dyn Fn(Put, &Credentials) -> Put>;
    let rows: [(&str, Say, &[Grant]); 5] = [
        (
            "a ready token",
            Box::new(move |it, keys| token(it, keys, minutes(30))),
            &[Grant::Token],
        ),
        (
            "one that lasts",
            Box::new(move |it, keys| token(it, keys, minutes(90))),
            &[],
        ),
        ("keys", Box::new(|it, _| it), &[]),
        (
            "a policy that ends",
            Box::new(|it, _| {
                let until = clock::wall() + minutes(30);
                it.policy(PutPolicy::for_bucket("b").insert_only().deadline(until))
            }),
            &[Grant::Token],
        ),
        (
            "one whose tokens are signed anew",
            Box::new(|it, _| {
                it.policy(
                    PutPolicy::for_bucket("b")
                        .insert_only()
                        .expires_in(minutes(1)),
                )
            }),
            &[],
        ),
    ];
    for (story, grants, expected) in rows {
        virtually(async {
            let limits = Limits::new(RATE, &[], |it| it).await;
            let put = grants(limits.put("k", LEN), &keys(&limits));
            let began = clock::instant();
            let ended = put.protocol(Protocol::V1).await;
            assert_eq!(warnings(&limits), expected, "{story}");
            let error = ended.err().map(|error| error.kind());
            let refused = Some(ErrorKind::Unauthorized).filter(|_| !expected.is_empty());
            assert_eq!(error, refused, "{story}");
            let heard = locked(&limits.heard);
            let told = heard
                .iter()
                .find(|(_, event)| matches!(event, Event::Expiring { .. }));
            let after = told.map(|(at, _)| at.saturating_duration_since(began));
            assert!(
                after.is_none_or(|after| after < minutes(1)),
                "{story}: {after:?}"
            );
        });
    }
}
