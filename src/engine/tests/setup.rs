//! What does not change while an upload lasts, and the engine made of it.

use crate::engine::plan::{Known, Protocol, Wishes};
use crate::engine::record::{Checkpoint, Digest};
use crate::engine::{Engine, Job, Limits, Stream};

pub(crate) const MIB: u64 = 1024 * 1024;

/// What does not change while an upload lasts, over all its processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) size: u64,
    pub(crate) protocol: Protocol,
    pub(crate) can_stat: bool,
    /// A second commit is refused, since the object exists.
    pub(crate) repeat_refused: bool,
    /// A second commit does something twice.
    pub(crate) repeat_acts: bool,
    /// What the commit says.
    pub(crate) says: u8,
    pub(crate) window: usize,
    pub(crate) part_attempts: u32,
    /// Requests may hang.
    pub(crate) hangs: bool,
    /// The source comes bit by bit.
    pub(crate) is_stream: bool,
}

impl Setup {
    /// An upload by `protocol` that may look, repeat its commit and take its time.
    pub(crate) fn new(protocol: Protocol, size: u64) -> Self {
        Self {
            size,
            protocol,
            can_stat: true,
            repeat_refused: false,
            repeat_acts: false,
            says: 1,
            window: 2,
            part_attempts: 0,
            hangs: false,
            is_stream: false,
        }
    }

    pub(crate) fn engine(self, checkpoint: Checkpoint) -> Engine {
        let job = Job {
            size: if self.is_stream { 0 } else { self.size },
            stream: self.is_stream.then(Stream::default),
            wishes: wishes(self.protocol),
            hosts: vec!["up-1".into(), "up-2".into()],
            can_stat: self.can_stat,
            repeat_shows: self.repeat_refused || self.repeat_acts,
            repeat_acts: self.repeat_acts,
            says: Digest([self.says; 20]),
            unix_now: 1_000,
            known: Known::default(),
            seed: 7,
        };
        let limits = Limits {
            window: self.window,
            part_attempts: self.part_attempts,
            ..Limits::default()
        };
        Engine::new(job, limits, checkpoint)
    }
}

/// A wish for one of the three protocols, small enough for every schedule.
pub(crate) fn wishes(protocol: Protocol) -> Wishes {
    Wishes {
        protocol: Some(protocol),
        threshold: Some(if protocol == Protocol::Form {
            u64::MAX
        } else {
            0
        }),
        part_len: MIB,
        blocks_unsafe: false,
    }
}
