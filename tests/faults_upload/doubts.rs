//! Commits whose answer was lost, with a token that may not look: what a second run makes of them.

use std::time::Duration;

use haul::devserver::{DevServer, FaultPlan, Operation};
use haul::kodo::{Etag, PutPolicy, Scope, UploadToken};
use haul::model::{Bucket, ObjectKey};
use haul::{Done, Error, ErrorKind, Protocol, Put, Uploader};

use crate::world::{PATIENCE, content, write};

/// A day that no test sees.
const DEADLINE: u64 = 4_000_000_000;

/// Two blocks or parts, the second one short.
const LEN: usize = (4 << 20) + 5;

/// One upload that is run several times with a ready token.
struct Doubt {
    server: DevServer,
    dir: tempfile::TempDir,
    token: UploadToken,
    protocol: Protocol,
}

impl Doubt {
    async fn new(protocol: Protocol, permit: impl FnOnce(&mut PutPolicy)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("file"), &content(LEN));
        let server = DevServer::builder().start().await.unwrap();
        let scope = Scope::Key(Bucket::new("b").unwrap(), ObjectKey::new("k").unwrap());
        let mut policy = PutPolicy::new(scope, DEADLINE);
        permit(&mut policy);
        Self {
            token: UploadToken::sign(server.credentials(), &policy),
            server,
            dir,
            protocol,
        }
    }

    async fn run(&self, plan: &str, ask: impl FnOnce(Put) -> Put) -> Result<Done, Error> {
        let plan: FaultPlan = plan.parse().unwrap();
        self.server.faults().replace(plan).unwrap();
        let uploader = Uploader::builder()
            .upload_token(self.token.expose())
            .endpoint(self.server.url())
            .protocol(self.protocol)
            .state_dir(self.dir.path().join("state"))
            .build()
            .unwrap();
        let put = ask(uploader.put_file("b", "k", self.dir.path().join("file")));
        let ended = tokio::time::timeout(PATIENCE, put.into_future()).await;
        ended.expect("the upload ends")
    }

    fn requests(&self, operation: Operation) -> u64 {
        self.server.requests().of(operation).requests
    }

    /// The type of what is stored.
    async fn stored_type(&self) -> String {
        let keys = self.server.credentials();
        let uploader = Uploader::builder()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .rs_url(self.server.url())
            .endpoint(self.server.url())
            .build()
            .unwrap();
        uploader.stat("b", "k").await.unwrap().mime_type
    }
}

/// The answer to the first commit is lost.
const LOST: &str = "[[fault]]\noperation = ['mkfile', 'complete']\nnth = 1\nlose_answer = 'reset'";

fn as_it_is(put: Put) -> Put {
    put
}

/// A ready token cannot look: when complete's answer is lost and a second one finds no upload id, the
/// truth is that nobody knows, run after run. What to look for and how to end it is said.
#[tokio::test]
async fn nobody_can_tell() {
    let doubt = Doubt::new(Protocol::V2, |_| {}).await;
    let hash = Etag::of(&content(LEN)).to_string();
    for (plan, completes) in [(LOST, 2), ("", 3)] {
        let error = doubt.run(plan, as_it_is).await.expect_err("a doubt");
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
        assert_eq!(doubt.requests(Operation::Complete), completes);
        let next = error.next_step().unwrap_or_default();
        for part in [hash.as_str(), "haul uploads abort ", "run the same line"] {
            assert!(next.contains(part), "{next}");
        }
    }
}

/// Keys may look: when the looks fail too, the next run looks again by itself, and running it again is
/// all there is to do. Where looks are forbidden, a person has to.
#[tokio::test]
async fn looks_that_fail_are_made_again() {
    let again = "run the same line again to go on";
    for (status, words) in [(503, again), (403, "look whether the object is there")] {
        let doubt = Doubt::new(Protocol::Auto, |_| {}).await;
        let run = async |plan: &str| {
            let plan: FaultPlan = plan.parse().unwrap();
            doubt.server.faults().replace(plan).unwrap();
            let keys = doubt.server.credentials();
            let uploader = Uploader::builder()
                .credentials(keys.access_key.as_str(), keys.secret_key.expose())
                .endpoint(doubt.server.url())
                .threshold(1 << 30)
                .state_dir(doubt.dir.path().join("state"))
                .retry_budget(Duration::from_secs(1))
                .build()
                .unwrap();
            let put = uploader.put_file("b", "k", doubt.dir.path().join("file"));
            let ended = tokio::time::timeout(PATIENCE, put.into_future()).await;
            ended.expect("the upload ends")
        };
        let plan = format!(
            "[[fault]]\noperation = 'form'\nnth = 1\nlose_answer = 'reset'\n\
             [[fault]]\noperation = 'stat'\nanswer = {{ status = {status} }}"
        );
        let error = run(&plan).await.expect_err("a doubt");
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
        let next = error.next_step().unwrap_or_default();
        assert!(next.starts_with(words), "{status}: {next}");
        run("").await.expect("done");
        assert_eq!(doubt.requests(Operation::Form), 1, "{status}");
    }
}

/// A second commit that could call back twice is not sent, by this run or the next.
#[tokio::test]
async fn nothing_calls_back_twice_unasked() {
    let doubt = Doubt::new(Protocol::V1, |policy| {
        policy.callback_url = Some("http://127.0.0.1:1/".to_owned());
        policy.callback_body = Some("key=$(key)".to_owned());
    })
    .await;
    for plan in [LOST, ""] {
        let error = doubt.run(plan, as_it_is).await.expect_err("a doubt");
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
        assert!(
            error.to_string().contains("call back") || plan == LOST,
            "{error}"
        );
        assert_eq!(doubt.requests(Operation::Mkfile), 1);
    }
}

/// The first run may have stored the object with one type; the second asks for another, and gets it.
#[tokio::test]
async fn another_type_is_stored_anew() {
    let doubt = Doubt::new(Protocol::V2, |_| {}).await;
    let first = doubt.run(LOST, |put| put.mime_type("text/one")).await;
    assert_eq!(
        first.expect_err("a doubt").kind(),
        ErrorKind::OutcomeUnknown
    );
    assert_eq!(doubt.stored_type().await, "text/one");
    let second = doubt.run("", |put| put.mime_type("text/two")).await;
    second.expect("done");
    assert_eq!(doubt.stored_type().await, "text/two");
}

/// A commit that was refused leaves no doubt: a run with nothing in its way ends well, callback or
/// not.
#[tokio::test]
async fn a_refused_commit_is_no_doubt() {
    let doubt = Doubt::new(Protocol::V1, |policy| {
        policy.save_key = Some("k".to_owned());
        policy.force_save_key = true;
    })
    .await;
    let plan = "[[fault]]\noperation = 'mkfile'\nnth = 1\nanswer = { status = 403 }";
    let refused = doubt.run(plan, as_it_is).await.expect_err("a refusal");
    assert_eq!(refused.kind(), ErrorKind::Forbidden, "{refused}");
    doubt.run("", as_it_is).await.expect("done");
}
