//! When what the service gave ends: the first context, and the upload id in use.

use std::collections::BTreeMap;

use crate::engine::event::{Effect, Event, Moment};
use crate::engine::plan::{Layout, Protocol};
use crate::engine::record::{Checkpoint, Digest, Receipt, Seal};
use crate::engine::tests::bounds::{STEPS_MAX, job, succeed};
use crate::engine::tests::world::MIB;
use crate::engine::{Engine, Limits};
use crate::model::{Failure, FailureKind};

/// First end of a context, and that of the upload id.
type Ends = (Option<u64>, Option<u64>);

/// What an upload is told to have, from its beginning to its end, without repetitions.
fn ends(protocol: Protocol, checkpoint: Checkpoint, lives: &[u64], lost: bool) -> Vec<Ends> {
    let limits = Limits {
        window: 1,
        ..Limits::default()
    };
    let mut engine = Engine::new(job(protocol, 12 * MIB), limits, checkpoint);
    let (mut now, mut given, mut is_lost) = (Moment::default(), lives.iter().copied(), lost);
    let mut told = vec![engine.ends()];
    for _ in 0..STEPS_MAX {
        let Some(effect) = engine.poll_effect() else {
            now = now.max(engine.next_wakeup().expect("a reason to wake"));
            engine.handle(now, Event::Woken);
            continue;
        };
        if let Effect::Finish(_) = effect {
            told.dedup();
            return told;
        }
        let mut event = succeed(&effect);
        match &mut event {
            Some(Event::Initiated { expires, .. }) => *expires = given.next(),
            Some(Event::Sent { receipt, .. }) if protocol == Protocol::Blocks => {
                receipt.expires = given.next();
            }
            Some(Event::Sent { attempt, .. }) if is_lost => {
                is_lost = false;
                event = Some(Event::Failed {
                    attempt: *attempt,
                    failure: Failure::new(FailureKind::NoSuchUpload, "no such uploadId"),
                    server_time: None,
                });
            }
            _ => {}
        }
        if let Some(event) = event {
            engine.handle(now, event);
        }
        told.push(engine.ends());
    }
    panic!("no end in sight");
}

/// What an earlier process had of the first lane.
fn checkpoint(protocol: Protocol, context: Option<u64>, upload_id: Option<u64>) -> Checkpoint {
    let seal = Seal {
        len: MIB,
        digest: Digest([0; 20]),
    };
    let receipt = Receipt {
        text: "ctx".into(),
        host: None,
        expires: context,
    };
    Checkpoint {
        layout: Some(Layout {
            protocol,
            lane_len: 4 * MIB,
        }),
        upload_id: upload_id.map(|_| "id".to_owned()),
        expires: upload_id,
        lanes: BTreeMap::from([(0, (vec![seal], receipt))]),
        committing: None,
    }
}

/// The earliest context counts, also an earlier process's, until its block has a later one; an upload id
/// goes with the upload that it is of.
#[test]
fn what_ends_first() {
    let nothing = Checkpoint::default;
    let id = |end| (None, Some(end));
    let contexts = ends(
        Protocol::Blocks,
        nothing(),
        &[70_000, 60_000, 80_000],
        false,
    );
    assert_eq!(
        contexts[..3],
        [(None, None), (Some(70_000), None), (Some(60_000), None)]
    );

    let earlier = checkpoint(Protocol::Blocks, Some(50_000), None);
    let contexts = ends(Protocol::Blocks, earlier, &[90_000; 99], false);
    assert_eq!(contexts, [(Some(50_000), None), (Some(90_000), None)]);

    assert_eq!(
        ends(Protocol::Parts, nothing(), &[9], false),
        [(None, None), id(9)]
    );
    let earlier = checkpoint(Protocol::Parts, None, Some(60_000));
    assert_eq!(ends(Protocol::Parts, earlier, &[], false), [id(60_000)]);

    let twice = ends(Protocol::Parts, nothing(), &[8, 9], true);
    assert_eq!(twice, [(None, None), id(8), (None, None), id(9)]);
}
