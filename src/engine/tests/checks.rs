//! What must hold in every world: at each effect, and at each end.

use crate::engine::event::{Effect, Outcome};
use crate::engine::plan::Protocol;
use crate::engine::record::{Checkpoint, Record};
use crate::engine::tests::world::World;

/// Longest journal that is replayed at every step: beyond, that is most of what a test does.
const REPLAYED_MAX: usize = 100;

impl World {
    /// What every single effect must respect.
    pub(crate) fn check_effect(&self, effect: &Effect) {
        match effect {
            // Replayed at every segment: only where the journal is short.
            Effect::Send {
                lane,
                lane_span,
                span,
                ..
            } if self.disk.len() < REPLAYED_MAX => {
                let (durable, _) = Checkpoint::replay(&self.disk, self.size);
                let seals = durable.lanes.get(lane).map(|(seals, _)| seals.as_slice());
                let done: u64 = seals.unwrap_or_default().iter().map(|seal| seal.len).sum();
                assert_eq!(
                    span.offset,
                    lane_span.offset + done,
                    "a segment goes where the disk says that its lane ends\n{}",
                    self.story()
                );
            }
            Effect::Recheck { seals, .. } => assert!(
                !seals.is_empty(),
                "nothing is compared with nothing\n{}",
                self.story()
            ),
            Effect::Commit { protocol, .. } => {
                let form = *protocol == Protocol::Form;
                assert!(
                    form || self.acknowledged_bytes() == self.size,
                    "a commit without every byte on the disk\n{}",
                    self.story()
                );
                // A second complete finds no upload id: that never shows.
                let may_act = self.setup.repeat_acts && *protocol != Protocol::Parts;
                let acts = may_act && self.unclear_to_this_process;
                assert!(!acts, "a repeated commit that acts\n{}", self.story());
                let (durable, _) = Checkpoint::replay(&self.disk, self.size);
                assert!(
                    durable.committing.is_some(),
                    "a commit that no record tells of\n{}",
                    self.story()
                );
            }
            _ => {}
        }
    }

    /// Segments under way, to the service or to the disk, stay within the window.
    pub(crate) fn check_window(&self) {
        let in_flight = |effect: &&Effect| match effect {
            Effect::Send { .. } => true,
            Effect::Record { record, .. } => matches!(record, Record::Segment { .. }),
            _ => false,
        };
        let segments = self.pending.iter().filter(in_flight).count();
        assert!(
            segments <= self.setup.window,
            "more in flight than the window\n{}",
            self.story()
        );
        assert!(
            self.disk.len() >= REPLAYED_MAX
                || self.engine.safe_bytes() <= self.acknowledged_bytes(),
            "more is called safe than is on the disk\n{}",
            self.story()
        );
    }

    /// What every ended run must show.
    pub(crate) fn check_end(&self) {
        let outcome = self.outcome.as_ref().expect("an end");
        assert!(
            !self.setup.repeat_acts || self.service.commits <= 1,
            "a commit acted twice\n{}",
            self.story()
        );
        if *outcome == Outcome::Done {
            let object = self.service.object.as_ref();
            let object = object.unwrap_or_else(|| panic!("no object\n{}", self.story()));
            let mut at = 0;
            for (span, version) in object {
                assert_eq!(span.offset, at, "a gap in the object\n{}", self.story());
                assert!(
                    *version >= self.seen,
                    "old bytes in the object\n{}",
                    self.story()
                );
                let first = object[0].1;
                assert_eq!(
                    *version,
                    first,
                    "mixed bytes in the object\n{}",
                    self.story()
                );
                at = span.end();
            }
            let form = self.engine.layout().protocol == Protocol::Form;
            assert_eq!(self.engine.safe_bytes(), if form { 0 } else { self.size });
            assert_eq!(at, self.size, "a short object\n{}", self.story());
        }
        assert!(
            self.service.received <= self.size + self.excused,
            "{} bytes arrived for {} and {} excused\n{}",
            self.service.received,
            self.size,
            self.excused,
            self.story()
        );
    }
}
