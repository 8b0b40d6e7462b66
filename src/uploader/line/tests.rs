//! Uploads that share a line: whose turn it is, and what they tell one another.

mod starving;

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::engine::event::Lesson;
use crate::engine::pace::LANES_MIN;
use crate::engine::plan::Known;
use crate::engine::plan::LANES_START;
use crate::model::Endpoint;
use crate::uploader::line::{FIXED_LANES_MAX, LEND_AFTER, LESSONS_MAX, Line, Seat, Taken, Turn};

/// Somebody who waits for a turn.
type Waiter = Pin<Box<dyn Future<Output = Turn>>>;

fn waiter(line: &Line) -> Waiter {
    let line = line.clone();
    Box::pin(async move { line.turn().await })
}

/// The turn, if it has come.
fn now(waiter: &mut Waiter) -> Option<Turn> {
    let mut context = Context::from_waker(Waker::noop());
    match waiter.as_mut().poll(&mut context) {
        Poll::Ready(turn) => Some(turn),
        Poll::Pending => None,
    }
}

/// Those who have been called, with their turns; the others wait on.
fn called(queue: &mut Vec<(&'static str, Waiter)>) -> Vec<(&'static str, Turn)> {
    let mut called = Vec::new();
    queue.retain_mut(|(who, waiter)| match now(waiter) {
        Some(turn) => {
            called.push((*who, turn));
            false
        }
        None => true,
    });
    called
}

/// A line on which every turn is taken.
fn full() -> (Line, Vec<Turn>) {
    let line = Line::new(false);
    let turns = (0..LANES_START).map(|_| now(&mut waiter(&line)).expect("a free turn"));
    let turns = turns.collect();
    (line, turns)
}

fn endpoints(names: &[&str]) -> Vec<Endpoint> {
    let parsed = names.iter().map(|name| Endpoint::parse(name, true));
    parsed.map(|it| it.expect("an endpoint")).collect()
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Turns go to those who came first: an upload that always wants more takes none from one that wants a
/// single one, and nobody goes before those who wait.
#[test]
fn first_come_first_served() {
    let (line, mut turns) = full();
    // The greedy one queues, then a modest one, then the greedy one again.
    let mut queue: Vec<(&str, Waiter)> = ["greedy", "greedy", "modest", "greedy", "greedy"]
        .into_iter()
        .map(|who| (who, waiter(&line)))
        .collect();
    for (_, waiter) in &mut queue {
        assert!(now(waiter).is_none(), "the line is full");
    }
    let mut order = Vec::new();
    while !queue.is_empty() {
        turns.remove(0);
        // A newcomer, though a turn has just become free: it was given to the first who waited.
        assert!(now(&mut waiter(&line)).is_none());
        let called = called(&mut queue);
        assert_eq!(called.len(), 1, "one turn, one caller");
        for (who, turn) in called {
            order.push(who);
            turns.push(turn);
        }
    }
    assert_eq!(order, ["greedy", "greedy", "modest", "greedy", "greedy"]);
}

/// Who does not wait any more keeps no turn: whether that is before it was called, after it, or while it
/// held one.
#[test]
fn who_goes_away_passes_the_turn_on() {
    type Leaves = fn(Vec<Turn>, Waiter) -> Vec<Turn>;
    let rows: [(&str, Leaves); 3] = [
        ("before it was called", |mut turns, waiter| {
            drop(waiter);
            turns.pop();
            turns
        }),
        ("after it was called", |mut turns, waiter| {
            turns.pop();
            drop(waiter);
            turns
        }),
        ("with its turn", |mut turns, mut waiter| {
            turns.pop();
            drop(now(&mut waiter).expect("its turn"));
            turns
        }),
    ];
    for (story, leaves) in rows {
        let (line, turns) = full();
        let (mut first, mut second) = (waiter(&line), waiter(&line));
        assert!(
            now(&mut first).is_none() && now(&mut second).is_none(),
            "{story}"
        );
        let turns = leaves(turns, first);
        let turn = now(&mut second);
        assert!(turn.is_some(), "{story}");
        assert!(
            now(&mut waiter(&line)).is_none(),
            "{story}: no turn too many"
        );
        drop((turns, turn));
        let all: Vec<Turn> = (0..LANES_START)
            .filter_map(|_| now(&mut waiter(&line)))
            .collect();
        assert_eq!(all.len(), LANES_START, "{story}: none is lost");
        assert!(now(&mut waiter(&line)).is_none(), "{story}");
    }
}

/// Turns that nobody waits for are nobody's, however many went away in the queue.
#[test]
fn a_queue_that_went_away() {
    let (line, turns) = full();
    let mut queue: Vec<Waiter> = (0..100).map(|_| waiter(&line)).collect();
    for waiter in &mut queue {
        assert!(now(waiter).is_none());
    }
    drop(queue);
    drop(turns);
    let all: Vec<Turn> = (0..LANES_START)
        .filter_map(|_| now(&mut waiter(&line)))
        .collect();
    assert_eq!(all.len(), LANES_START);
}

/// Who waits for its own source for longer than a moment lends its turn; with the first byte it has it
/// back at once, and whoever has it meanwhile keeps it too. No turn is lost or made by that.
#[tokio::test(start_paused = true)]
async fn who_waits_for_its_source_lends_its_turn() {
    // How long every look finds it waiting, and whether somebody else has its turn then.
    let rows = [
        (Duration::ZERO, false),
        (LEND_AFTER - Duration::from_millis(1), false),
        (LEND_AFTER, true),
        (seconds(100), true),
    ];
    for (waited, is_lent) in rows {
        for comes_back in [true, false] {
            let story = format!("{waited:?}, bytes come: {comes_back}");
            let line = Line::new(false);
            let seats: Vec<Seat> = (0..LANES_START).map(|_| Seat::default()).collect();
            let mut turns: Vec<Taken> = Vec::new();
            for seat in &seats {
                turns.push(seat.take(&line).await);
            }
            let mut second = waiter(&line);
            assert!(now(&mut second).is_none(), "{story}");
            // A moment in which it does not wait: the time begins anew.
            seats[0].look(true);
            tokio::time::advance(LEND_AFTER - Duration::from_millis(1)).await;
            seats[0].look(false);
            seats[0].look(true);
            tokio::time::advance(waited).await;
            seats[0].look(true);
            let lent = now(&mut second);
            assert_eq!(lent.is_some(), is_lent, "{story}");
            let no_more = |when| {
                let is_full = now(&mut waiter(&line)).is_none();
                assert!(is_full, "{story}: {when}: no turn too many");
            };
            no_more("lent or not");
            seats[0].look(!comes_back);
            no_more("back or not");
            turns.remove(0);
            // What the first one had goes to the second, which has it by now or has had it before.
            let taken = lent.or_else(|| now(&mut second));
            assert!(taken.is_some(), "{story}");
            no_more("over");
            drop((taken, turns));
            let all: Vec<Turn> = (0..=LANES_START)
                .filter_map(|_| now(&mut waiter(&line)))
                .collect();
            assert_eq!(all.len(), LANES_START, "{story}: none is lost or made");
        }
    }
}

/// When the line turns out to be worth more, those who wait are called; when it is worth less, turns that
/// are held stay, and no new ones are given.
#[tokio::test(start_paused = true)]
async fn turns_follow_the_line() {
    let (line, mut turns) = full();
    let mut queue: Vec<Waiter> = (0..40).map(|_| waiter(&line)).collect();
    for waiter in &mut queue {
        assert!(now(waiter).is_none());
    }
    // Each turn carries 1 MB/s.
    for _ in 0..100 {
        line.look(turns.len() as u64 * 100_000, None);
        queue.retain_mut(|waiter| match now(waiter) {
            Some(turn) => {
                turns.push(turn);
                false
            }
            None => true,
        });
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    let window = line.window().expect("measured");
    assert!(window >= 16, "{window}");
    assert_eq!(turns.len(), window);
    // It gets thin: 10 kB/s in all.
    for _ in 0..300 {
        line.look(1_000, None);
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(line.window(), Some(LANES_MIN));
    let mut left = queue.remove(0);
    while turns.len() >= LANES_MIN {
        assert!(now(&mut left).is_none(), "{} turns are held", turns.len());
        turns.pop();
    }
    assert!(now(&mut left).is_some());
}

/// Where the number of lanes is a setting the line only bounds connections, and remembers no number.
#[test]
fn a_fixed_number() {
    let line = Line::new(true);
    let turns: Vec<Turn> = (0..FIXED_LANES_MAX + 5)
        .filter_map(|_| now(&mut waiter(&line)))
        .collect();
    assert_eq!(turns.len(), FIXED_LANES_MAX);
    assert_eq!((line.window(), line.known().lanes), (None, None));
}

/// What one upload learns is told to the others once, in the words of their hosts; never to itself, and
/// nothing of hosts that they do not have.
#[tokio::test(start_paused = true)]
async fn lessons_are_told_to_the_others() {
    let frozen = |host, time| Lesson::Frozen { host, time };
    let ours = endpoints(&["up-1", "up-2"]);
    let theirs = endpoints(&["up-9", "up-2", "up-1"]);
    let strangers = endpoints(&["http://up-1", "up-1:8080"]);
    let line = Line::new(false);
    let (mut teacher, begins) = line.join(&ours);
    assert_eq!(begins, [], "nothing is known yet");
    let (mut pupil, _) = line.join(&theirs);
    let (mut stranger, _) = line.join(&strangers);
    let lessons = [
        frozen(0, seconds(30)),
        Lesson::Thawed { host: 1 },
        Lesson::SlowDown { time: seconds(5) },
        Lesson::BodyLimit { len: 1000 },
        frozen(7, seconds(30)),
    ];
    for lesson in lessons {
        line.teach(&teacher, lesson, &ours);
    }
    tokio::time::advance(seconds(2)).await;
    let hostless = [
        Lesson::SlowDown { time: seconds(3) },
        Lesson::BodyLimit { len: 1000 },
    ];
    let expected = [
        &[frozen(2, seconds(28)), Lesson::Thawed { host: 1 }][..],
        &hostless,
    ]
    .concat();
    assert_eq!(line.news(&mut pupil, &theirs), expected);
    assert_eq!(line.news(&mut pupil, &theirs), [], "once");
    assert_eq!(line.news(&mut teacher, &ours), [], "its own");
    assert_eq!(
        line.news(&mut stranger, &strangers),
        hostless,
        "another scheme, another port"
    );
    // The other way round.
    line.teach(&pupil, frozen(1, seconds(30)), &theirs);
    assert_eq!(line.news(&mut teacher, &ours), [frozen(1, seconds(30))]);
    assert_eq!(line.news(&mut pupil, &theirs), []);
}

/// An upload that joins later hears what still holds, and not what was said on the way to it.
#[tokio::test(start_paused = true)]
async fn who_joins_later() {
    let frozen = |host, time| Lesson::Frozen { host, time };
    let hosts = endpoints(&["up-1", "up-2"]);
    let line = Line::new(false);
    let (teacher, _) = line.join(&hosts);
    line.teach(&teacher, frozen(0, seconds(30)), &hosts);
    // A shorter time does not end a longer one.
    line.teach(&teacher, frozen(0, seconds(5)), &hosts);
    line.teach(&teacher, frozen(1, seconds(30)), &hosts);
    line.teach(&teacher, Lesson::Thawed { host: 1 }, &hosts);
    line.teach(&teacher, Lesson::SlowDown { time: seconds(20) }, &hosts);
    line.teach(&teacher, Lesson::SlowDown { time: seconds(10) }, &hosts);
    let rows = [
        (
            0,
            vec![
                frozen(0, seconds(30)),
                Lesson::SlowDown { time: seconds(20) },
            ],
        ),
        (
            19,
            vec![
                frozen(0, seconds(11)),
                Lesson::SlowDown { time: seconds(1) },
            ],
        ),
        (20, vec![frozen(0, seconds(10))]),
        (30, vec![]),
    ];
    let mut at = 0;
    for (moment, expected) in rows {
        tokio::time::advance(seconds(moment - at)).await;
        at = moment;
        let (mut late, begins) = line.join(&hosts);
        assert_eq!(begins, expected, "after {moment} s");
        assert_eq!(
            line.news(&mut late, &hosts),
            [],
            "after {moment} s: all is told"
        );
    }
    let (_, others) = line.join(&endpoints(&["up-3"]));
    assert_eq!(others, []);
}

/// Of very many lessons the last ones are kept; what holds for a host or the line is known all the same.
#[tokio::test(start_paused = true)]
async fn lessons_are_bounded() {
    let hosts = endpoints(&["up-1"]);
    let line = Line::new(false);
    let (teacher, _) = line.join(&hosts);
    let (mut pupil, _) = line.join(&hosts);
    line.teach(
        &teacher,
        Lesson::Frozen {
            host: 0,
            time: seconds(300),
        },
        &hosts,
    );
    for len in (0..LESSONS_MAX as u64 + 10).rev() {
        line.teach(&teacher, Lesson::BodyLimit { len }, &hosts);
    }
    let news = line.news(&mut pupil, &hosts);
    assert_eq!(news.len(), LESSONS_MAX);
    assert_eq!(news.last(), Some(&Lesson::BodyLimit { len: 0 }));
    let (_, begins) = line.join(&hosts);
    assert_eq!(
        begins,
        [Lesson::Frozen {
            host: 0,
            time: seconds(300)
        }]
    );
}

/// The smallest limit counts, whether it was learnt or remembered; pace and lanes are where to begin, as
/// long as nothing was seen.
#[tokio::test(start_paused = true)]
async fn what_is_known() {
    let known = |body_limit| Known {
        pace_bytes_per_s: Some(5_000_000),
        lanes: Some(6),
        body_limit,
    };
    for (remembered, learnt, expected) in [
        (None, None, None),
        (Some(700), None, Some(700)),
        (None, Some(500), Some(500)),
        (Some(700), Some(500), Some(500)),
        (Some(300), Some(500), Some(300)),
    ] {
        for remembers_first in [true, false] {
            let line = Line::new(false);
            let (teacher, _) = line.join(&[]);
            if remembers_first {
                line.recall(&known(remembered));
            }
            if let Some(len) = learnt {
                line.teach(&teacher, Lesson::BodyLimit { len }, &[]);
            }
            line.recall(&known(remembered));
            assert_eq!(line.known(), known(expected), "{remembered:?}, {learnt:?}");
        }
    }
}

/// Nobody who waits is forgotten when what is recalled makes the line worth more.
#[test]
fn a_recall_calls_those_who_wait() {
    let (line, _turns) = full();
    let mut waits = pin!(line.turn());
    let mut context = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut context).is_pending());
    let known = Known {
        pace_bytes_per_s: Some(5_000_000),
        lanes: Some(8),
        body_limit: None,
    };
    line.recall(&known);
    assert!(waits.as_mut().poll(&mut context).is_ready());
}

/// Who has lanes of its own waits for no turn, and is told no window; its lanes count as the others' do.
#[test]
fn lanes_of_its_own() {
    let (line, turns) = full();
    let own = line.for_upload(true);
    assert!(line.window().is_some() && own.window().is_none());
    assert!(line.known().lanes.is_some() && own.known().lanes.is_none());
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(held) = pin!(own.turn()).poll(&mut context) else {
        panic!("it waits");
    };
    drop(turns);
    // The others have one turn less while it holds its own.
    let mut free: Vec<Turn> = Vec::new();
    while let Poll::Ready(turn) = pin!(line.turn()).poll(&mut context) {
        free.push(turn);
    }
    drop(held);
    assert!(pin!(line.turn()).poll(&mut context).is_ready());
}
