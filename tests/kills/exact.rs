//! SIGKILL at exact moments, then the same line again.

use haul::devserver::Operation;
use haul::kodo::Etag;

use crate::rig::{
    COMMIT_LEN_MAX, FORM, LEN, Rig, SEGMENT_LEN_MAX, V1, V2, WINDOW, expect_private, files_in,
    number, until,
};
use crate::world::{World, content};

/// From its `from`th request of `operation` on, every answer is held after it took effect.
fn hold(operation: &str, from: usize) -> String {
    format!("[[fault]]\noperation = [{operation}]\nfrom = {from}\nhold = \"h\"")
}

/// The answers to all segments from the `from`th on are held: two at most are in flight, the others
/// are acknowledged. Nothing acknowledged is sent again, and no more than those two is sent twice.
#[test]
fn among_segments() {
    let rows = [
        (V1, r#""mkblk", "bput""#, 1),
        (V1, r#""mkblk", "bput""#, 2),
        (V1, r#""mkblk", "bput""#, 3),
        (V1, r#""mkblk", "bput""#, 6),
        (V1, r#""mkblk", "bput""#, 9),
        (V2, r#""part""#, 1),
        (V2, r#""part""#, 2),
        (V2, r#""part""#, 4),
    ];
    for (flags, operation, from) in rows {
        let story = format!("{flags:?}, held from segment {from} on");
        let rig = Rig::new(flags, LEN, &hold(operation, from));
        // Until the first answer a process has one lane in flight, then two.
        rig.start_until_held(if from == 1 { 1 } else { WINDOW })
            .kill();
        let first_run = rig.server.body_bytes();
        assert_eq!(rig.journals().len(), 1, "{story}");
        expect_private(&rig.world);
        rig.heal();

        let ran = rig.finish(&story);
        let in_flight = WINDOW as u64 * SEGMENT_LEN_MAX;
        let resumed = number(&ran, "resumed_bytes");
        assert!(resumed + in_flight >= first_run, "{story}: {resumed}");
        let sent = number(&ran, "sent_bytes");
        assert_eq!(resumed + sent, LEN as u64, "{story}: {ran:#?}");
        let both = rig.server.body_bytes();
        let most = LEN as u64 + in_flight + COMMIT_LEN_MAX;
        assert!(both <= most, "{story}: {both} bytes went out");
    }
}

/// One answer alone is held, and the other lane goes on to the end: all but that segment is safe.
#[test]
fn one_answer_missing() {
    for (flags, operation) in [(V1, "mkblk"), (V2, "part")] {
        // Whoever is killed late may have sent that segment a second time, and is at the commit.
        let plan = format!(
            "[[fault]]\noperation = \"{operation}\"\nnth = 2\nhold = \"h\"\n\
             [[fault]]\noperation = [\"mkfile\", \"complete\"]\nhold = \"commit\""
        );
        let rig = Rig::new(flags, LEN, &plan);
        let held = rig.start_until_held(1);
        let alone = LEN as u64 - SEGMENT_LEN_MAX;
        until("everything else is safe", || {
            let text = std::fs::read_to_string(&rig.journals()[0]).unwrap();
            recorded(&text) >= alone
        });
        held.kill();
        rig.heal();
        let ran = rig.finish(operation);
        assert!(number(&ran, "sent_bytes") <= SEGMENT_LEN_MAX, "{ran:#?}");
    }
}

/// Before the first segment: the upload id is on its way, or was made and never heard of.
#[test]
fn at_the_beginning() {
    for fault in ["hold = \"h\"", "hang = \"after_body\""] {
        let plan = format!("[[fault]]\noperation = \"initiate\"\nnth = 1\n{fault}");
        let rig = Rig::new(V2, LEN, &plan);
        rig.start_until_stuck(Operation::Initiate, fault).kill();
        rig.heal();
        let ran = rig.finish(fault);
        assert_eq!(number(&ran, "sent_bytes"), LEN as u64, "{fault}");
    }
}

/// The commit was sent and did not take effect, or did and was not heard: nothing of the file is
/// sent again either way.
#[test]
fn at_the_commit() {
    let rows = [
        (V1, "mkfile", Operation::Mkfile),
        (V2, "complete", Operation::Complete),
    ];
    for (flags, name, operation) in rows {
        for fault in ["hold = \"h\"", "hang = \"after_body\""] {
            let story = format!("{name}, {fault}");
            let plan = format!("[[fault]]\noperation = \"{name}\"\nnth = 1\n{fault}");
            let rig = Rig::new(flags, LEN, &plan);
            rig.start_until_stuck(operation, fault).kill();
            rig.heal();
            let ran = rig.finish(&story);
            assert_eq!(number(&ran, "resumed_bytes"), LEN as u64, "{story}");
            assert_eq!(number(&ran, "sent_bytes"), 0, "{story}");
            let both = rig.server.body_bytes();
            assert!(both <= LEN as u64 + 2 * COMMIT_LEN_MAX, "{story}: {both}");
        }
    }
}

/// A form is one request: it goes again if it did not take effect, and not if it did.
#[test]
fn of_a_form() {
    let size = LEN as u64;
    let rows = [
        ("hang = \"before_body\"", 2 * size),
        ("hang = { after_body_bytes = 1000000 }", 2 * size),
        ("hang = \"after_body\"", 2 * size),
        ("hold = \"h\"", size),
    ];
    for (fault, most) in rows {
        let plan = format!("[[fault]]\noperation = \"form\"\nnth = 1\n{fault}");
        let rig = Rig::new(FORM, LEN, &plan);
        rig.start_until_stuck(Operation::Form, fault).kill();
        rig.heal();
        rig.finish(fault);
        let both = rig.server.body_bytes();
        assert!(both <= most + COMMIT_LEN_MAX, "{fault}: {both} bytes");
    }
}

/// A run after the one that finished a killed upload is a new upload, not the old one's end.
#[test]
fn done_means_done() {
    let rig = Rig::new(V1, LEN, &hold(r#""mkblk""#, 3));
    rig.start_until_held(WINDOW).kill();
    rig.heal();
    rig.finish("the killed one");
    let ran = rig.finish("once more");
    assert_eq!(number(&ran, "resumed_bytes"), 0);
    assert_eq!(number(&ran, "sent_bytes"), LEN as u64);
}

/// `local://` dies with the program and comes back on another port: it is the same store, and what
/// it acknowledged is there.
#[test]
fn with_its_server() {
    for protocol in ["v1", "v2"] {
        let world = World::new();
        let file = world.file("f.bin", &content(LEN));
        let line = [
            "put",
            &file,
            "local://b/k",
            "--json",
            "--protocol",
            protocol,
        ];
        let mut child = world.start(&line);
        until("two segments are recorded", || {
            let journals = files_in(&world, "journal");
            let text = journals.first().map(std::fs::read_to_string);
            text.is_some_and(|text| text.is_ok_and(|text| text.matches("digest").count() > 1))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let ran = world.run(&line);
        ran.expect(0, &[]);
        let resumed = number(&ran, "resumed_bytes");
        assert!(resumed > 0, "{protocol}: {ran:#?}");
        assert_eq!(resumed + number(&ran, "sent_bytes"), LEN as u64, "{ran:#?}");
        let hash = Etag::of(&content(LEN)).to_string();
        let stat = world.run(&["stat", "local://b/k", "--json"]);
        assert_eq!(stat.last_json()["hash"], hash.as_str(), "{protocol}");
    }
}

/// Bytes in the segments that a journal's text records.
fn recorded(text: &str) -> u64 {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let records = lines.filter_map(|(_, json)| serde_json::from_str(json).ok());
    records
        .filter(|record: &serde_json::Value| record["record"] == "segment")
        .filter_map(|record| record["len"].as_u64())
        .sum()
}
