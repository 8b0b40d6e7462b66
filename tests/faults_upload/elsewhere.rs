//! Other regions, which stand in for one whose hosts are dead, and management hosts in trouble.

use std::time::Duration;

use haul::devserver::Operation;
use haul::{ErrorKind, Protocol, UploaderBuilder};

use crate::hosts::{Begin, Place};

/// The bucket lives behind host 0; host 1 is of a region that may stand in.
const TWO_REGIONS: &str = "[[fault]]\noperation = 'query'\nanswer = { status = 200, body = \
    '{\"hosts\":[{\"region\":\"z0\",\"ttl\":0,\"up\":{\"domains\":[\"HOST0\"]},\
    \"rs\":{\"domains\":[\"HOST0\"]}},{\"region\":\"z1\",\"up\":{\"domains\":[\"HOST1\"]},\
    \"rs\":{\"domains\":[\"HOST1\"]}}]}' }\n";

/// Host 0 is gone.
const DEAD: &str = "[[host]]\nhost = 0\nstate = 'dead'\n";

type Set = fn(UploaderBuilder) -> UploaderBuilder;

/// Both ways in lanes, and the form, without much patience.
const WAYS: [(&str, Set); 3] = [
    ("v1", |it| soon(it).protocol(Protocol::V1)),
    ("v2", |it| soon(it).protocol(Protocol::V2)),
    ("form", |it| soon(it).threshold(u64::MAX)),
];

fn soon(settings: UploaderBuilder) -> UploaderBuilder {
    settings.retry_budget(Duration::from_millis(300))
}

/// When nobody of the bucket's region can be reached, the other one gets the upload, and that is said.
#[tokio::test]
async fn another_region_stands_in() {
    for (way, set) in WAYS {
        let place = Place::new(Begin::Asked).await;
        place.follow(&format!("{TWO_REGIONS}{DEAD}"));
        let ran = place.run(set).await;
        ran.done(way);
        ran.said(&[
            "no host of the bucket's region serves",
            "region z1 stands in",
        ]);
        assert_eq!(ran.hosts.last(), Some(&1), "{way}");
    }
}

/// What the old region had is void in the new one, and sent again; until the new one has taken the
/// upload, nothing is void.
#[tokio::test]
async fn what_is_void_is_said() {
    let broken = "[[fault]]\noperation = ['bput', 'part']\nfrom = 2\nanswer = { status = 403 }\n";
    let refuses = "[[fault]]\nhost = 1\noperation = 'initiate'\nanswer = { status = 403 }\n";
    for (way, set) in &WAYS[..2] {
        let place = Place::new(Begin::Asked).await;
        place.follow(&format!("{TWO_REGIONS}{broken}"));
        let safe = place.run(set).await.failed(way).safe_bytes();
        assert!(safe > 0, "{way}");
        place.follow(&format!("{TWO_REGIONS}{DEAD}{refuses}"));
        let ran = place.run(set).await;
        let error = ran.failed(way);
        assert_eq!(error.kind(), ErrorKind::NoConnection, "{way}: {error}");
        assert_eq!(error.safe_bytes(), safe, "{way}");
        place.follow(&format!("{TWO_REGIONS}{DEAD}"));
        let ran = place.run(set).await;
        assert_eq!(ran.done(way).resumed_bytes, 0, "{way}");
        ran.said(&[&format!("{safe} bytes that were stored go again")]);
    }
}

/// A run that goes on where an earlier one was sent goes to that region, too.
#[tokio::test]
async fn a_resumed_upload_goes_where_it_was() {
    let broken = "[[fault]]\noperation = 'bput'\nfrom = 2\nanswer = { status = 403 }\n";
    let (way, set) = WAYS[0];
    let place = Place::new(Begin::Asked).await;
    place.follow(&format!("{TWO_REGIONS}{DEAD}{broken}"));
    let safe = place.run(set).await.failed(way).safe_bytes();
    assert!(safe > 0);
    place.follow(TWO_REGIONS);
    let ran = place.run(set).await;
    assert_eq!(ran.done(way).resumed_bytes, safe);
    assert_eq!(ran.hosts, [1]);
    ran.said(&["an earlier run went to region z1"]);
}

/// Neither hosts that the user named nor a wait for the line lead to another region.
#[tokio::test]
async fn where_no_region_stands_in() {
    let place = Place::new(Begin::Named).await;
    place.follow(DEAD);
    let ran = place.run(soon).await;
    assert_eq!(ran.failed("named").kind(), ErrorKind::NoConnection);
    assert_eq!(ran.notices, [""; 0]);
}

/// One of three management hosts is silent and one stands behind a gateway that fails: the third
/// answers, for looks within an upload and for every call beside it.
#[tokio::test]
async fn management_hosts_in_trouble() {
    let trouble = "[[fault]]\noperation = 'query'\nanswer = { status = 200, body = \
        '{\"hosts\":[{\"region\":\"z0\",\"up\":{\"domains\":[\"HOST2\"]},\
        \"rs\":{\"domains\":[\"HOST0\",\"HOST1\",\"HOST2\"]},\
        \"rsf\":{\"domains\":[\"HOST0\",\"HOST1\",\"HOST2\"]}}]}' }\n\
        [[host]]\nhost = 0\nstate = 'SILENT'\n[[host]]\nhost = 1\nstate = '502'\n";
    let lost = "[[fault]]\noperation = ['form', 'complete']\nnth = 1\nlose_answer = 'reset'\n";
    for (way, set) in &WAYS[1..] {
        let place = Place::new(Begin::Asked).await;
        place.follow(&format!("{}{lost}", trouble.replace("SILENT", "silent")));
        // The look takes longer than an impatient upload goes on.
        let patient = |it| set(it).retry_budget(Duration::from_secs(900));
        let ran = place.run(patient).await;
        ran.done(way);
        let uploader = place.settings().build().unwrap();
        assert_eq!(
            uploader.stat("b", "k").await.unwrap().size,
            ran.done(way).size
        );
        let page = uploader.list("b", "", None).await.unwrap();
        assert_eq!(page.items.len(), 1);
        let error = uploader
            .stat("b", "none")
            .await
            .expect_err("no such object");
        assert_eq!(error.kind(), ErrorKind::NoSuchObject);
        assert!(error.to_string().contains(place.name(2)), "{error}");
        // A call that changes something waits for the silent one as long as the settings say.
        place.follow(&trouble.replace("SILENT", "502"));
        uploader.delete("b", "k").await.unwrap();
    }
}

/// With hosts that the user named, each of them is asked.
#[tokio::test]
async fn named_hosts_manage_too() {
    let place = Place::new(Begin::Named).await;
    let uploader = place
        .settings()
        .endpoint(&place.server.urls()[1])
        .build()
        .unwrap();
    place.run(|it| it).await.done("stored");
    place.follow("[[host]]\nhost = 0\nstate = '502'");
    uploader.stat("b", "k").await.expect("the second answers");
}

/// A delete whose answer was lost is repeated at the next host; that it finds nothing there is no
/// failure then, while a delete of what never was is one.
#[tokio::test]
async fn a_lost_delete_is_done() {
    let place = Place::new(Begin::Named).await;
    let uploader = place
        .settings()
        .endpoint(&place.server.urls()[1])
        .build()
        .unwrap();
    for loss in ["lose_answer = 'reset'", "lose_answer = 'close'"] {
        place.run(|it| it).await.done("stored");
        place.follow(&format!(
            "[[fault]]\nhost = 0\noperation = 'delete'\n{loss}"
        ));
        uploader.delete("b", "k").await.expect(loss);
        place.follow("");
        let gone = uploader
            .delete("b", "k")
            .await
            .expect_err("nothing is there");
        assert_eq!(gone.kind(), ErrorKind::NoSuchObject);
    }
    let deletes = place.server.requests().of(Operation::Delete).requests;
    assert_eq!(deletes, 6, "one more for each that was lost");
}
