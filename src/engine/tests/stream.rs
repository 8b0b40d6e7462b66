//! A source that comes bit by bit: how much of it is in memory, and what happens when bytes are needed
//! that were let go.

use proptest::prelude::*;

use crate::engine::event::{Effect, Event, Outcome};
use crate::engine::plan::{LANES_START, Protocol};
use crate::engine::tests::world::{Fate, MIB, Setup, World};
use crate::model::{ByteSpan, FailureKind};

/// What of a stream is in memory, as a world without one keeps it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// Bytes that have come.
    fetched: u64,
    /// What was let go of them.
    gone: Vec<ByteSpan>,
    /// The most that was there at a time.
    most: u64,
}

impl Memory {
    /// The next `len` bytes of a stream of `size` bytes; its last ones come with the word that they are.
    pub(crate) fn fetch(&mut self, len: u64, size: u64) -> Event {
        let len = len.min(size - self.fetched);
        self.fetched += len;
        let gone: u64 = self.gone.iter().map(|span| span.len).sum();
        self.most = self.most.max(self.fetched - gone);
        // Who reads exactly to the end does not see it yet.
        let is_last = self.fetched == size && (len == 0 || !size.is_multiple_of(MIB));
        Event::Fetched { len, is_last }
    }

    pub(crate) fn let_go(&mut self, span: ByteSpan) {
        self.gone.push(span);
    }

    /// Whether all of `span` can be read.
    pub(crate) fn has(&self, span: ByteSpan) -> bool {
        let is_gone = |gone: &ByteSpan| gone.offset < span.end() && span.offset < gone.end();
        span.end() <= self.fetched && !self.gone.iter().any(is_gone)
    }
}

fn setup(protocol: Protocol, size: u64, window: usize) -> Setup {
    Setup {
        is_stream: true,
        window,
        ..Setup::new(protocol, size)
    }
}

/// One turn of fate: which operation, and what becomes of it.
fn turn() -> impl Strategy<Value = (usize, Fate)> {
    let fate = prop_oneof![
        20 => Just(Fate::Answered),
        2 => Just(Fate::AnswerLost),
        2 => Just(Fate::Fails(FailureKind::Broken)),
        1 => Just(Fate::Fails(FailureKind::Connect)),
        1 => Just(Fate::Fails(FailureKind::Throttled)),
        1 => Just(Fate::Fails(FailureKind::InvalidContext)),
    ];
    (any::<usize>(), fate)
}

fn play(mut world: World, turns: &[(usize, Fate)]) -> World {
    let mut restarts = 0;
    for (choice, fate) in turns {
        if world.outcome.is_some() {
            return world;
        }
        let choices = world.choices();
        let Some(index) = choices.get(choice % choices.len().max(1)) else {
            world.wake();
            continue;
        };
        let is_request = World::is_request(&world.pending[*index]);
        // A receipt that does not hold any more is said of segments only.
        let is_segment = matches!(world.pending[*index], Effect::Send { .. });
        // A lane that starts again and again is given up.
        let fits = is_request && (is_segment || *fate != Fate::Fails(FailureKind::InvalidContext));
        let fits = fits && (restarts < 3 || *fate != Fate::Fails(FailureKind::InvalidContext));
        let fate = if fits { fate } else { &Fate::Answered };
        if let (
            Effect::Send {
                lane_span, span, ..
            },
            Fate::Fails(FailureKind::InvalidContext),
        ) = (&world.pending[*index], fate)
        {
            world.excused += span.offset - lane_span.offset;
            restarts += 1;
        }
        world.step(*index, fate);
    }
    world.let_succeed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever breaks on the way, also lanes that must start again: the object is the stream, every byte
    /// was in memory when it was sent, and there was never more of it than the lanes in flight and one.
    #[test]
    fn streams_come_through(
        is_v1: bool,
        size in 1..60 * MIB,
        window in 1..8usize,
        turns in prop::collection::vec(turn(), 0..200),
    ) {
        let protocol = if is_v1 { Protocol::Blocks } else { Protocol::Parts };
        let world = play(World::new(setup(protocol, size, window)), &turns);
        world.check_end();
        prop_assert_eq!(&world.outcome, &Some(Outcome::Done), "{}", world.story());
        let lane_len = if is_v1 { 4 * MIB } else { MIB };
        let lanes = window.max(LANES_START) as u64 + 1;
        prop_assert!(world.memory.most <= lanes * lane_len, "{:?}", world.memory.most);
    }
}

/// A service that loses what it had acknowledged asks for bytes that are gone: the upload fails, and
/// says whose bytes they are.
#[test]
fn what_is_gone_is_gone() {
    for protocol in [Protocol::Blocks, Protocol::Parts] {
        let mut world = World::new(setup(protocol, 9 * MIB, 1));
        while world.memory.gone.is_empty() {
            let index = world.choices()[0];
            world.step(index, &Fate::Answered);
        }
        while world.outcome.is_none() {
            let Some(index) = world.choices().first().copied() else {
                world.wake();
                continue;
            };
            let is_commit = matches!(world.pending[index], Effect::Commit { .. });
            let is_gone = matches!(&world.pending[index], Effect::Send { span, .. }
                if !world.memory.has(*span));
            let fate = match (is_commit, is_gone) {
                (true, _) => Fate::Forgotten,
                (_, true) => Fate::Fails(FailureKind::Source),
                _ => Fate::Answered,
            };
            world.step(index, &fate);
        }
        let failed = matches!(&world.outcome, Some(Outcome::Failed { failure, again: false })
            if failure.kind == FailureKind::Source);
        assert!(failed, "{protocol:?}: {:?}", world.outcome);
    }
}
