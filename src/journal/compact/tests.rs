use proptest::prelude::*;

use crate::engine::plan::{Layout, Protocol};
use crate::engine::record::{Checkpoint, Record};
use crate::journal::compact::in_force;
use crate::journal::tests::{MIB, SIZE, begun, committing, segment, story};

fn begun_as(protocol: Protocol, lane_len: u64) -> Record {
    Record::Begun {
        layout: Layout { protocol, lane_len },
        upload_id: Some("u1".to_owned()),
        expires: None,
    }
}

/// With the same size, what is in force replays to the same checkpoint, at every point of the story,
/// and nothing of it can be left out.
#[test]
fn same_size() {
    for len in 0..100 {
        let records = story(len);
        let kept = in_force(&records, SIZE, SIZE);
        let (expected, _) = Checkpoint::replay(&records, SIZE);
        assert_eq!(
            Checkpoint::replay(&kept, SIZE),
            (expected, kept.len()),
            "{len} records"
        );
        assert_eq!(in_force(&kept, SIZE, SIZE), kept, "{len} records");
    }
    let kept = in_force(&story(100), SIZE, SIZE);
    assert!(kept.len() < 60, "{} of 100 kept", kept.len());
    let kept = in_force(&[begun(), committing(1), committing(2)], SIZE, SIZE);
    assert_eq!(kept, [begun(), committing(2)]);
    let refused = [begun(), committing(1), Record::CommitRefused];
    assert_eq!(in_force(&refused, SIZE, SIZE), [begun()]);
}

/// With another size, lanes whose stretch is the same stay, and a commit's trace goes.
#[test]
fn another_size() {
    let commit = committing(7);
    // 10 MiB: two whole lanes and one of 2 MiB.
    let of = |first: Record| {
        vec![
            first,
            segment(0, 0),
            segment(1, 0),
            segment(2, 0),
            commit.clone(),
        ]
    };
    let blocks = of(begun());
    let parts = of(begun_as(Protocol::Parts, 4 * MIB));
    let small_parts = of(begun_as(Protocol::Parts, MIB));
    let form = vec![begun_as(Protocol::Form, 10 * MIB), commit.clone()];
    // (story, records, new size, how many of them stay)
    let rows: &[(&str, &[Record], u64, usize)] = &[
        ("grown: the short last lane goes", &blocks, 11 * MIB, 3),
        ("grown: parts alike", &parts, 11 * MIB, 3),
        ("grown: whole parts stay", &small_parts, 11 * MIB, 4),
        (
            "grown beyond what the parts can hold",
            &small_parts,
            20_000 * MIB,
            0,
        ),
        ("truncated to two lanes", &blocks, 8 * MIB, 3),
        ("truncated within the first lane", &blocks, 1, 1),
        ("truncated to nothing", &blocks, 0, 0),
        ("a form is for one size", &form, 10 * MIB + 1, 0),
        ("nothing begun", &[], 1, 0),
    ];
    for (story, records, now, expected) in rows {
        let kept = in_force(records, 10 * MIB, *now);
        assert_eq!(kept, records[..*expected], "{story}");
        assert_eq!(Checkpoint::replay(&kept, *now).1, kept.len(), "{story}");
    }
    assert_eq!(in_force(&blocks, 10 * MIB, 10 * MIB), blocks);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the two sizes are, what stays makes sense for the new one.
    #[test]
    fn any_size(len in 0..60_usize, lanes in 1..300_u64, rest in 0..5_u64) {
        let records = story(len);
        let now = lanes * 4 * MIB + rest - 2;
        let kept = in_force(&records, SIZE, now);
        prop_assert_eq!(Checkpoint::replay(&kept, now).1, kept.len());
    }
}
