//! What becomes of connections: closed in the moment they are used again, and answers that come early.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use haul::devserver::{DevServer, Fault, FaultPlan, Moment, Operation};
use haul::model::FailureKind;
use haul::{ErrorKind, Event, Uploader};

use crate::world::{PATIENCE, Way, content, upload, upload_as};

/// How often an idle connection is closed under an upload.
const CLOSINGS: u64 = 1000;

/// A server closes or resets an idle connection exactly when it is used again, a thousand times: no
/// attempt is used up, nobody is told of a retry, everything is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_when_reused() {
    // The first request of each upload takes the kept connection, the second a new one.
    let every_other: Vec<u64> = (1..=CLOSINGS).map(|upload| upload * 2).collect();
    let (closed, reset) = every_other.split_at(every_other.len() / 2);
    let fault = |nth: &[u64]| Fault {
        operation: vec![Operation::Form],
        nth: nth.to_vec(),
        ..Fault::default()
    };
    let plan = FaultPlan {
        faults: vec![
            Fault {
                close: Some(Moment::BeforeBody),
                ..fault(closed)
            },
            Fault {
                reset: Some(Moment::BeforeBody),
                ..fault(reset)
            },
        ],
        ..FaultPlan::default()
    };
    let server = DevServer::builder().faults(plan).start().await.unwrap();
    let keys = server.credentials();
    let uploader = Uploader::builder()
        .credentials(keys.access_key.as_str(), keys.secret_key.expose())
        .endpoint(server.url())
        .part_attempts(1)
        .build()
        .unwrap();
    let retries = Arc::new(AtomicU64::new(0));
    for upload in 0..=CLOSINGS {
        let count = Arc::clone(&retries);
        let put = uploader
            .put_data("b", format!("k{upload}"), content(1000))
            .on_event(move |event| {
                let retried = matches!(event, Event::Retrying { .. });
                count.fetch_add(u64::from(retried), Ordering::Relaxed);
            });
        let done = tokio::time::timeout(PATIENCE, put.into_future()).await;
        done.expect("it ends").unwrap();
    }
    assert_eq!(retries.load(Ordering::Relaxed), 0);
    let seen = server.requests();
    assert_eq!(seen.of(Operation::Form).requests, 2 * CLOSINGS + 1);
    assert_eq!(seen.of(Operation::Stat).requests, 0, "nobody had to look");
}

/// A request that is cut on a used connection and again on the new one that it goes out on at once is
/// told of once, with both places: that is how a limit on the way is recognized.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_cuts_are_told() {
    let plan = "[[fault]]\noperation = SEGMENT\nnth = [2, 3]\nreset = { after_body_bytes = 50000 }";
    for way in [Way::V1, Way::V2] {
        let failures = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&failures);
        let ended = upload_as(
            way,
            plan,
            |settings| settings.window(1),
            |put| {
                put.on_event(move |event| {
                    if let Event::Retrying { failure, .. } = event {
                        heard.lock().unwrap().push(failure.clone());
                    }
                })
            },
        );
        ended.await.result.unwrap();
        let failures = failures.lock().unwrap();
        let [failure] = failures.as_slice() else {
            panic!("{way:?}: {failures:?}");
        };
        let trace = failure.trace.as_deref().expect("an attempt");
        let before = trace.before.as_deref().expect("another before it");
        assert!(before.is_reused && !trace.is_reused, "{way:?}: {trace:?}");
        assert_eq!(before.body_len, trace.body_len, "{way:?}");
        assert!(before.acknowledged_bytes > 0, "{way:?}: {before:?}");
    }
}

/// A refusal that comes before the body is sent, from a server that then closes, is what is told: not
/// the broken pipe that follows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_refusals() {
    let rows = [
        (403, ErrorKind::Forbidden),
        (413, ErrorKind::TooLarge),
        (614, ErrorKind::Exists),
        (631, ErrorKind::NoSuchBucket),
    ];
    for (status, expected) in rows {
        let words = match status {
            413 => "exceed FsizeLimit",
            _ => "those are its words",
        };
        for way in [Way::V1, Way::V2, Way::Form] {
            let plan = format!(
                "[[fault]]\noperation = [SEGMENT, COMMIT]\nanswer = {{ status = {status}, \
                 body = '{{\"error\":\"{words}\"}}', at = 'before_body' }}",
            );
            let ended = upload(way, &plan, |settings| {
                settings.retry_budget(Duration::from_secs(60))
            });
            let error = ended.await.result.unwrap_err();
            assert_eq!(error.kind(), expected, "{way:?}, {status}: {error}");
            assert!(error.to_string().contains(words), "{way:?}: {error}");
        }
    }
}

/// A server that stops reading for a while, within the stall limit: nothing is given up, nothing is
/// sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_within_the_limit() {
    // First chunks, which are long however slow the machine: a short body would be in the kernel before
    // the pause, and the server owe an answer.
    let plan = "[[fault]]\noperation = ['mkblk', 'part', 'form']\nnth = 1\n\
                stop_reading = { after_bytes = 100000, for = '4s' }";
    for way in [Way::V1, Way::V2, Way::Form] {
        let retries = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&retries);
        let ended = upload_as(
            way,
            plan,
            |settings| settings.stall_timeout(Duration::from_secs(60)),
            |put| {
                put.on_event(move |event| {
                    let retried = matches!(event, Event::Retrying { .. });
                    count.fetch_add(u64::from(retried), Ordering::Relaxed);
                })
            },
        );
        let done = ended.await.result.unwrap();
        assert_eq!(retries.load(Ordering::Relaxed), 0, "{way:?}");
        assert_eq!(done.resent_bytes, 0, "{way:?}");
    }
}

/// A server that never reads again, or takes everything and never answers: the attempt is given up
/// when its limit is over, for the reason that it is, its socket is closed, and the upload completes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_given_up() {
    let rows = [
        (
            "stop_reading = { after_bytes = 100000, for = '1h' }",
            FailureKind::NotReading,
        ),
        ("hang = 'after_body'", FailureKind::TimedOut),
        ("lose_answer = 'hang'", FailureKind::TimedOut),
    ];
    for (fault, expected) in rows {
        for way in [Way::V1, Way::V2] {
            // Those of first segments are long however slow the machine: longer than what kernels take in
            // unread.
            let plan = format!("[[fault]]\noperation = ['mkblk', 'part']\nnth = 1\n{fault}");
            let failures = Arc::new(Mutex::new(Vec::new()));
            let heard = Arc::clone(&failures);
            let ended = upload_as(
                way,
                &plan,
                |settings| {
                    settings
                        .window(1)
                        .stall_timeout(Duration::from_secs(3))
                        .response_timeout(Duration::from_secs(3))
                },
                |put| {
                    put.on_event(move |event| {
                        if let Event::Retrying { failure, .. } = event {
                            heard.lock().unwrap().push(failure.clone());
                        }
                    })
                },
            );
            let ended = ended.await;
            ended.result.unwrap();
            let failures = failures.lock().unwrap();
            let [failure] = failures.as_slice() else {
                panic!("{fault}, {way:?}: {failures:?}");
            };
            assert_eq!(failure.kind, expected, "{fault}, {way:?}: {failure}");
            assert!(failure.trace.is_some(), "{fault}, {way:?}");
            assert!(ended.stored.as_ref() == Some(&ended.content), "{way:?}");
        }
    }
}
