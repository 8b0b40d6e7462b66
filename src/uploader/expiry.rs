//! Looks at what an upload was given for a time: warns of what will not last, and says when a fresh
//! token is due.

use std::time::Duration;

use crate::clock;
use crate::engine::Engine;
use crate::engine::event::Moment;
use crate::engine::expiry::{Expiring, Foresight, Grant, Sight};
use crate::events::Event;
use crate::uploader::effects::Executor;

/// How often. Lives are hours; a token of a minute is still renewed in time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How far one upload sees.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    foresight: Foresight,
    next: Moment,
}

impl Outlook {
    /// Looks, if it is time; tells what ends too early. Whether a fresh token is to be asked for.
    pub(super) fn look(&mut self, executor: &Executor, engine: &Engine, now: Moment) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now.after(LOOK_EVERY);
        let (permit, wall) = (&executor.permit, clock::wall());
        let source = executor.source.source();
        let (context, upload_id) = engine.ends();
        let told = self.foresight.look(&Sight {
            now,
            unix_now: permit.service_clock(wall),
            acknowledged_bytes: executor.meter.acknowledged_bytes(),
            // Of a stream whose end nobody knows: what has come, which must go in any case.
            size: source.expected_len().unwrap_or(source.len()),
            line_bytes_per_s: executor.line.known().pace_bytes_per_s,
            ends: [
                (Grant::Token, permit.tokens_end()),
                (Grant::Context, context),
                (Grant::UploadId, upload_id),
            ],
        });
        for Expiring { what, left, needed } in told {
            executor.meter.tell(&Event::Expiring { what, left, needed });
        }
        permit.begin_renewal(wall)
    }
}
