//! What an upload survives: one row per fault, for every way that can meet it.

use std::sync::Arc;

use haul::{Put, Verified};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::world::{ALL, LANES, Way, upload, upload_as};

/// Uploads side by side: enough to hide their waits, few enough for two processors.
const SIDE_BY_SIDE: usize = 4;

/// What else but one segment may have to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Void {
    Nothing,
    /// The service lost a block: it goes again.
    Block,
    /// The service lost all of it.
    Everything,
}

/// Its story, the plan, the ways, what becomes void.
type Row = (&'static str, &'static str, &'static [Way], Void);

const V1: &[Way] = &[Way::V1];
const V2: &[Way] = &[Way::V2];

const LOST: &[Row] = &[
    (
        "the first request's answer is lost by a reset",
        "[[fault]]\noperation = FIRST\nnth = 1\nlose_answer = 'reset'",
        ALL,
        Void::Nothing,
    ),
    (
        "a segment's answer is lost by a reset",
        "[[fault]]\noperation = SEGMENT\nnth = 2\nlose_answer = 'reset'",
        LANES,
        Void::Nothing,
    ),
    (
        "a segment's answer is lost by a close",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nlose_answer = 'close'",
        ALL,
        Void::Nothing,
    ),
    (
        "the commit's answer is lost by a reset",
        "[[fault]]\noperation = COMMIT\nnth = 1\nlose_answer = 'reset'",
        LANES,
        Void::Nothing,
    ),
    (
        "the commit's answer is lost by a close",
        "[[fault]]\noperation = COMMIT\nnth = 1\nlose_answer = 'close'",
        LANES,
        Void::Nothing,
    ),
    (
        "a segment is never answered",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nhang = 'after_body'",
        LANES,
        Void::Nothing,
    ),
    (
        "the commit's answer never comes",
        "[[fault]]\noperation = COMMIT\nnth = 1\nlose_answer = 'hang'",
        ALL,
        Void::Nothing,
    ),
    (
        "a reset in mid-body",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nreset = { after_body_bytes = 100000 }",
        ALL,
        Void::Nothing,
    ),
    (
        "a replayed ctx is refused",
        "[[fault]]\noperation = SEGMENT\nnth = 2\nlose_answer = 'reset'\n\
         [[fault]]\noperation = SEGMENT\nrefuse_replayed_ctx = true",
        V1,
        Void::Block,
    ),
];

const ANSWERED: &[Row] = &[
    (
        "503 for a segment",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nanswer = { status = 503 }",
        ALL,
        Void::Nothing,
    ),
    (
        "503 for a commit, with Retry-After",
        "[[fault]]\noperation = COMMIT\nnth = 1\n\
         answer = { status = 503, headers = { Retry-After = '1' } }",
        ALL,
        Void::Nothing,
    ),
    (
        "573 for a segment",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nanswer = { status = 573 }",
        ALL,
        Void::Nothing,
    ),
    (
        "429 for a segment, with Retry-After",
        "[[fault]]\noperation = SEGMENT\nnth = 1\n\
         answer = { status = 429, headers = { Retry-After = '1' } }",
        ALL,
        Void::Nothing,
    ),
    (
        "573 for a commit",
        "[[fault]]\noperation = COMMIT\nnth = 1\nanswer = { status = 573 }",
        LANES,
        Void::Nothing,
    ),
    (
        "599 for a segment",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nanswer = { status = 599 }",
        ALL,
        Void::Nothing,
    ),
    (
        "a line of text in place of a commit's answer",
        "[[fault]]\noperation = COMMIT\nnth = 1\nanswer_text = 'oops'\nomit_reqid = true",
        LANES,
        Void::Nothing,
    ),
    (
        "401 for a segment",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nexpire = 'token'",
        ALL,
        Void::Nothing,
    ),
    (
        "401 for a commit",
        "[[fault]]\noperation = COMMIT\nnth = 1\nexpire = 'token'",
        LANES,
        Void::Nothing,
    ),
    (
        "the upload id is gone before a part",
        "[[fault]]\noperation = SEGMENT\nnth = 3\nexpire = 'upload_id'",
        V2,
        Void::Everything,
    ),
    (
        "the upload id is gone before complete",
        "[[fault]]\noperation = COMMIT\nnth = 1\nexpire = 'upload_id'",
        V2,
        Void::Everything,
    ),
    (
        "a part is gone before complete",
        "[[fault]]\noperation = COMMIT\nnth = 1\nexpire = 'part'",
        V2,
        Void::Nothing,
    ),
    (
        "a ctx is gone before a chunk",
        "[[fault]]\noperation = SEGMENT\nnth = 2\nexpire = 'ctx'",
        V1,
        Void::Block,
    ),
    (
        "a ctx is gone before mkfile",
        "[[fault]]\noperation = COMMIT\nnth = 1\nexpire = 'ctx'",
        V1,
        Void::Block,
    ),
    (
        "a proxy refuses long bodies",
        "[[fault]]\noperation = ['bput', 'part']\nlonger_than = 1500000\nomit_reqid = true\n\
         answer = { status = 413, body = '<html>', content_type = 'text/html', at = 'before_body' }\n\
         [[fault]]\noperation = 'form'\nlonger_than = 100000\nomit_reqid = true\n\
         answer = { status = 413, body = '<html>', content_type = 'text/html', at = 'before_body' }",
        ALL,
        Void::Everything,
    ),
];

const FALSE: &[Row] = &[
    (
        "a segment's answer is cut",
        "[[fault]]\noperation = SEGMENT\nnth = 1\ncut_answer = 10",
        ALL,
        Void::Nothing,
    ),
    (
        "the commit's answer is cut",
        "[[fault]]\noperation = COMMIT\nnth = 1\ncut_answer = 10",
        LANES,
        Void::Nothing,
    ),
    (
        "a portal's page for a segment",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nanswer_html = '<html>log in'\nomit_reqid = true",
        ALL,
        Void::Nothing,
    ),
    (
        "a portal's page for a commit that never arrived",
        "[[fault]]\noperation = COMMIT\nnth = 1\nomit_reqid = true\n\
         answer = { status = 200, body = '<html>log in', content_type = 'text/html' }",
        ALL,
        Void::Nothing,
    ),
    (
        "a success without X-Reqid",
        "[[fault]]\noperation = [SEGMENT, COMMIT]\nnth = 1\nomit_reqid = true",
        ALL,
        Void::Nothing,
    ),
    (
        "a wrong crc32 of a first chunk",
        "[[fault]]\noperation = FIRST\nnth = 1\nwrong = 'crc32'",
        V1,
        Void::Nothing,
    ),
    (
        "a wrong crc32 of a later chunk",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nwrong = 'crc32'",
        V1,
        Void::Nothing,
    ),
    (
        "a wrong etag of a part",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nwrong = 'etag'",
        V2,
        Void::Nothing,
    ),
    (
        "a wrong md5 of a part, which nobody compares",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nwrong = 'md5'",
        V2,
        Void::Nothing,
    ),
    (
        "a wrong hash of the object",
        "[[fault]]\noperation = COMMIT\nnth = 1\nwrong = 'hash'",
        ALL,
        Void::Everything,
    ),
    (
        "a byte is flipped on the way",
        "[[fault]]\noperation = SEGMENT\nnth = 1\nflip_byte = 1000",
        ALL,
        Void::Nothing,
    ),
    (
        "a byte of a first chunk is flipped on the way",
        "[[fault]]\noperation = FIRST\nnth = 1\nflip_byte = 1000",
        V1,
        Void::Nothing,
    ),
];

const HOSTS: &[Row] = &[
    (
        "the first host is dead",
        "[[host]]\nhost = 0\nstate = 'dead'",
        ALL,
        Void::Nothing,
    ),
    (
        "the first host is silent",
        "[[host]]\nhost = 0\nstate = 'silent'",
        ALL,
        Void::Nothing,
    ),
    (
        "the first host is a gateway without a service",
        "[[host]]\nhost = 0\nstate = '502'",
        ALL,
        Void::Nothing,
    ),
];

/// Uploads as the row says and compares what came of it.
async fn check(row: Row, way: Way, insert_only: bool) {
    let (story, plan, _, void) = row;
    let ask = |put: Put| if insert_only { put.insert_only() } else { put };
    let ended = upload_as(way, plan, |settings| settings, ask).await;
    let done = ended.result.as_ref();
    let done = done.unwrap_or_else(|error| panic!("{story}, {way:?}: {error:?}"));
    let stored = ended.stored.as_ref();
    assert!(
        stored == Some(&ended.content),
        "{story}, {way:?}: other bytes are stored"
    );
    let long_form = story == "a proxy refuses long bodies" && way == Way::Form;
    let v2_shrunk = story == "a proxy refuses long bodies" && way == Way::V2;
    let part_len = if v2_shrunk {
        1 << 20
    } else {
        crate::world::PART_LEN
    };
    let hash = way.hash(&ended.content, part_len);
    assert_eq!(done.hash, hash.to_string(), "{story}, {way:?}");
    assert_eq!(done.verified, Verified::Object, "{story}, {way:?}");
    let len = ended.content.len() as u64;
    let voided = match void {
        Void::Nothing => 0,
        Void::Block => 4 << 20,
        Void::Everything => len,
    };
    // A form's fields, each time it is sent, and the segments in flight at a start over.
    let extra = 4096 + if long_form { len } else { 0 };
    let most = len + way.segment_len(ended.content.len()) + voided + extra;
    let sent = ended.object_bytes();
    assert!(sent <= most, "{story}, {way:?}: {sent} bytes, not {most}");
}

/// Runs all rows, some side by side.
async fn check_all(rows: &'static [Row], insert_only: bool) {
    let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut uploads = JoinSet::new();
    for row in rows {
        for way in row.2 {
            let places = Arc::clone(&places);
            uploads.spawn(async move {
                let _place = places.acquire().await.expect("it is never closed");
                check(*row, *way, insert_only).await;
            });
        }
    }
    let mut broken = 0;
    while let Some(ended) = uploads.join_next().await {
        broken += usize::from(ended.is_err());
    }
    assert_eq!(broken, 0, "rows that did not hold; see above");
}

/// Answers that get lost, before, in and after what they answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers() {
    check_all(LOST, false).await;
}

/// The same where an object may not be replaced: the second commit meets the first one's object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_new_objects() {
    check_all(LOST, true).await;
}

/// Answers that refuse for a reason that passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_pass() {
    check_all(ANSWERED, false).await;
}

/// Answers that are not to be believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_answers() {
    check_all(FALSE, false).await;
}

/// One of two hosts does not serve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_of_two() {
    check_all(HOSTS, false).await;
}

/// A server closes an idle connection in the very moment it is used again: that is no failed attempt,
/// so an upload that allows a single one completes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed() {
    let plan = "[[fault]]\noperation = SEGMENT\nnth = 2\nclose = 'before_body'";
    for way in LANES {
        let ended = upload(*way, plan, |settings| settings.window(1).part_attempts(1)).await;
        let done = ended.result.as_ref();
        let done = done.unwrap_or_else(|error| panic!("{way:?}: {error:?}"));
        assert_eq!(done.verified, Verified::Object);
        assert!(ended.stored.as_ref() == Some(&ended.content), "{way:?}");
    }
}
