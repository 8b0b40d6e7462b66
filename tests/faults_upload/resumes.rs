//! A second run, after the service lost something meanwhile.

use std::sync::{Arc, Mutex};

use haul::devserver::{DevServer, FaultPlan, Operation};
use haul::{Done, Error, Event, Protocol, Uploader};

use crate::world::{PART_LEN, PATIENCE, content, write};

/// Three parts, the last one short.
const LEN: usize = (5 << 20) + 77;

/// One upload that is run several times, and all that its runs said.
struct Rerun {
    server: DevServer,
    dir: tempfile::TempDir,
    notices: Arc<Mutex<Vec<String>>>,
}

impl Rerun {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("file"), &content(LEN));
        Self {
            server: DevServer::builder().start().await.unwrap(),
            dir,
            notices: Arc::default(),
        }
    }

    /// Runs it while the server follows `plan`.
    async fn run(&self, plan: &str) -> Result<Done, Error> {
        let plan: FaultPlan = plan.parse().unwrap();
        self.server.faults().replace(plan).unwrap();
        let keys = self.server.credentials();
        let uploader = Uploader::builder()
            .credentials(keys.access_key.as_str(), keys.secret_key.expose())
            .endpoint(self.server.url())
            .protocol(Protocol::V2)
            .part_size(PART_LEN)
            .state_dir(self.dir.path().join("state"))
            .build()
            .unwrap();
        let notices = Arc::clone(&self.notices);
        let put = uploader
            .put_file("b", "k", self.dir.path().join("file"))
            .on_event(move |event| {
                if let Event::Notice(text) = event {
                    notices.lock().unwrap().push(text.clone());
                }
            })
            .into_future();
        let ended = tokio::time::timeout(PATIENCE, put).await;
        ended.expect("the upload ends")
    }

    fn requests(&self, operation: Operation) -> u64 {
        self.server.requests().of(operation).requests
    }

    fn said(&self, what: &str) -> bool {
        let notices = self.notices.lock().unwrap();
        notices.iter().any(|notice| notice.contains(what))
    }
}

/// The first run ends before its last part; the first two are acknowledged, also when the last one, which
/// is shorter, is refused while the second is under way.
const REFUSED: &str = "[[fault]]\noperation = 'part'\npart = 3\nanswer = { status = 403 }";

/// What the first run leaves to the second.
const REST: u64 = LEN as u64 - 2 * PART_LEN;

/// The service lost one part between two runs: that part is sent again and no other, and it is said.
#[tokio::test]
async fn a_part_lost_between_runs_goes_again() {
    let rerun = Rerun::new().await;
    rerun
        .run(REFUSED)
        .await
        .expect_err("the last part is refused");
    let before = rerun.requests(Operation::Part);
    let plan = "[[fault]]\noperation = 'list_parts'\nnth = 1\nexpire = 'part'";
    let done = rerun.run(plan).await.expect("done");
    assert_eq!(rerun.requests(Operation::Part), before + 2);
    assert_eq!(done.sent_bytes, REST + PART_LEN);
    assert!(rerun.said("does not have it as it was sent"));
}

/// The service may not be asked for its list: said, and the upload goes on.
#[tokio::test]
async fn a_list_that_is_refused_is_done_without() {
    // After a 401 once more, with a fresh token.
    let rows = [
        (401, "bad token", 2),
        (403, "no", 1),
        (404, "no such path", 1),
    ];
    for (status, body, lists) in rows {
        let rerun = Rerun::new().await;
        rerun
            .run(REFUSED)
            .await
            .expect_err("the last part is refused");
        let before = rerun.requests(Operation::Part);
        let plan = format!(
            "[[fault]]\noperation = 'list_parts'\n\
             answer = {{ status = {status}, body = '{{\"error\":\"{body}\"}}' }}"
        );
        let done = rerun.run(&plan).await.expect("done");
        assert_eq!(rerun.requests(Operation::Part), before + 1, "{status}");
        assert_eq!(done.sent_bytes, REST, "{status}");
        let asked = rerun.requests(Operation::ListParts);
        assert_eq!(asked, lists, "{status}");
        assert!(rerun.said("does not tell which parts it has"), "{status}");
    }
}

/// The upload id is gone between two runs: all of it goes again, with a new one.
#[tokio::test]
async fn an_upload_id_lost_between_runs_starts_over() {
    let rerun = Rerun::new().await;
    rerun
        .run(REFUSED)
        .await
        .expect_err("the last part is refused");
    let plan = "[[fault]]\noperation = 'list_parts'\nnth = 1\nexpire = 'upload_id'";
    let done = rerun.run(plan).await.expect("done");
    assert_eq!(done.sent_bytes, LEN as u64);
    assert!(rerun.said("starts over"));
}
