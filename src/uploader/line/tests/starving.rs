//! Who has waited too long for a turn, and what becomes of that.

use std::time::Duration;

use super::{Waiter, called, full, now, waiter};
use crate::uploader::line::queue::{CHECK_EVERY, OUTAGE, STARVES_AFTER};
use crate::uploader::line::{Line, STARVING_LANES_MAX, Turn};

/// An upload that has no turn at all for too long has one beyond what the line is worth, as far as there are
/// not too many; one that has a turn waits on. Nobody starves for others while nobody gets anything across.
#[tokio::test(start_paused = true)]
async fn nobody_starves() {
    const SECOND: Duration = Duration::from_secs(1);
    const UPLOADS: usize = 20;
    let (line, turns) = full();
    let mut queue = vec![("has turns", waiter(&line))];
    for _ in 0..UPLOADS {
        queue.push(("has none", waiter(&line.for_upload(false))));
    }
    let look = |queue: &mut Vec<(&'static str, Waiter)>, bytes| {
        line.look(bytes, None);
        called(queue)
    };
    // Seconds, and bytes in each: outages, too short a time after each, a silence that is none.
    let rows = [(30, 0), (5, 1000), (12, 0), (9, 1000), (1, 0)];
    for (seconds, bytes) in rows {
        for second in 0..seconds {
            let called = look(&mut queue, bytes).len();
            assert_eq!(called, 0, "{bytes} bytes each, after {second} s");
            tokio::time::advance(SECOND).await;
        }
    }
    let mut beyond = look(&mut queue, 1000);
    assert!(beyond.iter().all(|(who, _)| *who == "has none"));
    assert_eq!(beyond.len() + turns.len(), STARVING_LANES_MAX);
    // Whoever ends makes room for the next one that has none.
    beyond.pop();
    tokio::time::advance(CHECK_EVERY).await;
    assert_eq!(look(&mut queue, 1000).len(), 1);
    beyond.pop();
    tokio::time::advance(OUTAGE).await;
    assert_eq!(look(&mut queue, 0).len(), 0, "another outage");
    // All go back in the end: none is lost or made.
    drop((queue, beyond, turns));
    let all: Vec<Turn> = (0..=STARVING_LANES_MAX)
        .filter_map(|_| now(&mut waiter(&line)))
        .collect();
    assert_eq!(all.len(), line.window().expect("measured"));
}

/// What counts is how long an upload has had no turn while it wanted one, whichever of its attempts asks.
#[tokio::test(start_paused = true)]
async fn who_starves() {
    // A line of its own for each: what its upload does, and after how many seconds it has a turn beyond.
    let begin = || {
        let (line, turns) = full();
        let upload = line.for_upload(false);
        (turns, upload)
    };
    let called_after = async |upload: &Line, waiter: &mut Waiter| {
        for second in 0..60 {
            upload.look(1000, None);
            if let Some(turn) = now(waiter) {
                return (second, turn);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        panic!("never called");
    };
    let pass = async |upload: &Line, seconds: u64| {
        for _ in 0..seconds {
            upload.look(1000, None);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    };
    let starves_after = STARVES_AFTER.as_secs();

    let (_turns, upload) = begin();
    let (mut first, mut second) = (waiter(&upload), waiter(&upload));
    assert!(now(&mut first).is_none() && now(&mut second).is_none());
    let (after, turn) = called_after(&upload, &mut first).await;
    assert_eq!(after, starves_after, "the first");
    pass(&upload, 5).await;
    drop(turn);
    let (after, _turn) = called_after(&upload, &mut second).await;
    assert_eq!(
        after, starves_after,
        "one that asked before the other's turn ended"
    );

    let (_turns, upload) = begin();
    let mut early = waiter(&upload);
    assert!(now(&mut early).is_none());
    pass(&upload, 6).await;
    drop(early);
    let (after, _turn) = called_after(&upload, &mut waiter(&upload)).await;
    assert_eq!(after, starves_after - 6, "one that asks again");

    let (_turns, upload) = begin();
    pass(&upload, 20).await;
    let (after, mut turn) = called_after(&upload, &mut waiter(&upload)).await;
    assert_eq!(after, starves_after, "a newcomer");
    turn.lend(true);
    let mut other = waiter(&upload);
    assert!(now(&mut other).is_none());
    pass(&upload, 3 * starves_after).await;
    assert!(now(&mut other).is_none(), "one whose turn is lent has it");
}
