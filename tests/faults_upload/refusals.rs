//! What must not complete, and how it is told.

use std::time::Duration;

use haul::ErrorKind;
use haul::devserver::Operation;

use crate::world::{ALL, Way, upload};

/// Its story, the plan, the error, how many commits may be sent.
type Row = (&'static str, &'static str, ErrorKind, u64);

const ROWS: &[Row] = &[
    (
        "403 at once",
        "[[fault]]\noperation = FIRST\nanswer = { status = 403 }",
        ErrorKind::Forbidden,
        1,
    ),
    (
        "403 for the commit",
        "[[fault]]\noperation = COMMIT\nanswer = { status = 403 }",
        ErrorKind::Forbidden,
        1,
    ),
    (
        "larger than the policy allows",
        "[[fault]]\noperation = COMMIT\n\
         answer = { status = 413, body = '{\"error\":\"exceed FsizeLimit\"}' }",
        ErrorKind::TooLarge,
        1,
    ),
    (
        "an object is there",
        "[[fault]]\noperation = COMMIT\nanswer = { status = 614 }",
        ErrorKind::Exists,
        1,
    ),
    (
        "no such bucket",
        "[[fault]]\noperation = FIRST\nanswer = { status = 631 }",
        ErrorKind::NoSuchBucket,
        1,
    ),
    (
        "stored, but the callback failed: never sent twice",
        "[[fault]]\noperation = COMMIT\nanswer = { status = 579 }",
        ErrorKind::CallbackFailed,
        1,
    ),
    (
        "no token is ever accepted",
        "[[fault]]\noperation = [FIRST, COMMIT]\nexpire = 'token'",
        ErrorKind::Unauthorized,
        2,
    ),
    (
        "the object's hash is wrong for ever",
        "[[fault]]\noperation = COMMIT\nwrong = 'hash'",
        ErrorKind::Mismatch,
        2,
    ),
    (
        "a portal answers everything",
        "[[fault]]\nomit_reqid = true\nanswer = { status = 200, body = '<html>', \
         content_type = 'text/html' }",
        ErrorKind::NotKodo,
        u64::MAX,
    ),
];

/// Refusals that stay: the error's kind, and no commit more than is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_stay() {
    for (story, plan, expected, commits) in ROWS {
        for way in ALL {
            let budget = Duration::from_secs(5);
            let ended = upload(*way, plan, |settings| settings.retry_budget(budget)).await;
            let error = ended.result.expect_err(story);
            assert_eq!(error.kind(), *expected, "{story}, {way:?}: {error}");
            let operation = match way {
                Way::V1 => Operation::Mkfile,
                Way::V2 => Operation::Complete,
                Way::Form => Operation::Form,
            };
            let sent = ended.seen.of(operation).requests;
            assert!(sent <= *commits, "{story}, {way:?}: {sent} commits");
        }
    }
}
