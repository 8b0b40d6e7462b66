//! What must not complete, and how it is told.

use std::time::Duration;

use haul::devserver::{DevServer, Operation};
use haul::kodo::{PutPolicy, Scope, UploadToken};
use haul::model::{Bucket, ObjectKey};
use haul::{ErrorKind, Protocol, Uploader};

use crate::world::{ALL, PATIENCE, Way, content, upload, write};

/// 2100-01-01, the end of the token here.
const DEADLINE: u64 = 4_102_444_800;

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

/// A ready token cannot look: when complete's answer is lost and a second one finds no upload id, the
/// truth is that nobody knows.
#[tokio::test]
async fn nobody_can_tell() {
    let plan = "[[fault]]\noperation = 'complete'\nnth = 1\nlose_answer = 'reset'";
    let server = DevServer::builder()
        .faults(plan.parse().unwrap())
        .start()
        .await
        .unwrap();
    let scope = Scope::Key(Bucket::new("b").unwrap(), ObjectKey::new("k").unwrap());
    let policy = PutPolicy::new(scope, DEADLINE);
    let token = UploadToken::sign(server.credentials(), &policy);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    write(&path, &content(2 << 20));
    let uploader = Uploader::builder()
        .upload_token(token.expose())
        .endpoint(server.url())
        .protocol(Protocol::V2)
        .state_dir(dir.path().join("state"))
        .build()
        .unwrap();
    let put = uploader.put_file("b", "k", &path).into_future();
    let ended = tokio::time::timeout(PATIENCE, put).await.expect("an end");
    let error = ended.expect_err("nobody can tell");
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert_eq!(server.requests().of(Operation::Complete).requests, 2);
}
