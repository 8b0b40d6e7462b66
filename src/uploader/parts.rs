//! What the service has of a v2 upload: its part list in the engine's words.

use crate::clock;
use crate::engine::event::{AttemptId, Event, HostIndex, Listed};
use crate::kodo::multipart::{PartInfo, PartNumber, PartsPage};
use crate::model::Failure;
use crate::uploader::calls::{Call, Flying, Repeat};
use crate::uploader::effects::{Executor, server_seconds};

impl Executor {
    /// A page of the part list of `upload_id`, from the lane `from` on. Lane 0 is part 1, so the part
    /// before a lane has the lane's own number.
    pub(super) async fn list(
        &self,
        attempt: AttemptId,
        host: HostIndex,
        (upload_id, from): (&str, u64),
        flying: &Flying,
    ) -> Result<Event, Failure> {
        let after = u32::try_from(from).ok().and_then(PartNumber::new);
        let token = self.permit.token(clock::wall());
        let call = Call {
            host,
            request: self.upload(upload_id)?.list_parts(&token, after),
            repeat: Repeat::Freely,
            flying,
        };
        let answer = self.call(call, || None).await?;
        let page = PartsPage::read(&answer, after, clock::wall())?;
        Ok(Event::Listed {
            attempt,
            lanes: page.parts.into_iter().map(listed).collect(),
            next: page.next.map(|number| u64::from(number.get())),
            server_time: server_seconds(&answer),
        })
    }
}

fn listed(part: PartInfo) -> Listed {
    Listed {
        lane: u64::from(part.part_number.get()) - 1,
        len: part.size,
        receipt: part.etag,
    }
}
