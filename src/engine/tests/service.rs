//! The modelled service: what it acknowledged, and what it makes of a commit.

use std::collections::BTreeMap;

use crate::engine::event::{Effect, Event, Listed};
use crate::engine::plan::Protocol;
use crate::engine::record::{Digest, Receipt};
use crate::engine::tests::world::World;
use crate::model::{ByteSpan, Failure, FailureKind};

/// Bytes are not modelled; which version of the source they were read from is.
pub(crate) type Version = u32;

/// A stretch of an object and the source's version it was read from.
pub(crate) type Piece = (ByteSpan, Version);

/// The service: what it acknowledged, and the object under the key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    /// v1: what each ctx stands for.
    pub(crate) contexts: BTreeMap<String, Vec<Piece>>,
    /// v2: parts by upload id and offset.
    pub(crate) uploads: BTreeMap<String, BTreeMap<u64, Piece>>,
    pub(crate) object: Option<Vec<Piece>>,
    /// When that was put, by its clock.
    pub(crate) put_time: u64,
    /// Its clock.
    pub(crate) clock: u64,
    pub(crate) serial: u64,
    /// Body bytes that arrived.
    pub(crate) received: u64,
    /// Commits that took effect.
    pub(crate) commits: u32,
    /// A commit onto an object that exists is refused.
    pub(crate) refuses_second: bool,
    /// Where its receipts say that a lane should go on.
    pub(crate) names_host: Option<String>,
}

impl Service {
    pub(crate) fn name(&mut self, what: &str) -> String {
        self.serial += 1;
        format!("{what}-{}", self.serial)
    }
}

impl World {
    pub(crate) fn send(&mut self, effect: &Effect) -> Event {
        let Effect::Send {
            attempt,
            span,
            lane_span,
            after,
            upload_id,
            ..
        } = effect
        else {
            unreachable!("only segments are sent");
        };
        self.service.received += span.len;
        let piece = (*span, self.source);
        let refused = |kind| Event::Failed {
            attempt: *attempt,
            failure: Failure::new(kind, "forgotten"),
            server_time: None,
        };
        let text = match upload_id {
            Some(id) => {
                let Some(parts) = self.service.uploads.get_mut(id) else {
                    // The upload is over, whoever ended it: all of it may come again.
                    self.excused += span.len + self.acknowledged_bytes();
                    return refused(FailureKind::NoSuchUpload);
                };
                parts.insert(lane_span.offset, piece);
                etag(&piece)
            }
            None => {
                let before = after.as_ref().map(|receipt| receipt.text.clone());
                let known = match before {
                    None => Some(Vec::new()),
                    Some(ctx) => self.service.contexts.get(&ctx).cloned(),
                };
                let Some(mut pieces) = known else {
                    self.excused += span.len;
                    return refused(FailureKind::InvalidContext);
                };
                pieces.push(piece);
                let ctx = self.service.name("ctx");
                self.service.contexts.insert(ctx.clone(), pieces);
                ctx
            }
        };
        let receipt = Receipt {
            text,
            host: self.service.names_host.clone(),
            expires: None,
        };
        Event::Sent {
            attempt: *attempt,
            receipt,
            digest: digest(*span, self.source),
            server_time: Some(self.service.clock),
        }
    }

    pub(crate) fn commit(&mut self, effect: &Effect) -> Event {
        let Effect::Commit {
            attempt,
            protocol,
            upload_id,
            receipts,
            ..
        } = effect
        else {
            unreachable!("only commits commit");
        };
        let refused = |kind| Event::Failed {
            attempt: *attempt,
            failure: Failure::new(kind, "forgotten"),
            server_time: None,
        };
        let pieces = match protocol {
            Protocol::Form => {
                self.service.received += self.size;
                Some(vec![(ByteSpan::new(0, self.size), self.source)])
            }
            Protocol::Blocks => {
                let known = |receipt: &Receipt| self.service.contexts.get(&receipt.text).cloned();
                let blocks: Vec<Option<Vec<Piece>>> = receipts.iter().map(known).collect();
                if let Some(index) = blocks.iter().position(Option::is_none) {
                    let mut failure = Failure::new(FailureKind::InvalidContext, "forgotten");
                    failure.refused_block = u32::try_from(index).ok();
                    return Event::Failed {
                        attempt: *attempt,
                        failure,
                        server_time: None,
                    };
                }
                Some(blocks.into_iter().flatten().flatten().collect())
            }
            Protocol::Parts => {
                let id = upload_id.clone().unwrap_or_default();
                let parts = self.service.uploads.get(&id);
                let etags = parts.map(|parts| parts.values().map(etag).collect::<Vec<_>>());
                let asked = receipts.iter().map(|receipt| receipt.text.clone());
                if etags.is_some_and(|etags| etags != asked.collect::<Vec<_>>()) {
                    return refused(FailureKind::BadRequest);
                }
                let parts = self.service.uploads.remove(&id);
                parts.map(|parts| parts.into_values().collect())
            }
        };
        if self.service.refuses_second && self.service.object.is_some() {
            return refused(FailureKind::Exists);
        }
        match (pieces, protocol) {
            (Some(pieces), _) => {
                self.service.object = Some(pieces);
                self.service.put_time = self.service.clock;
                self.service.commits += 1;
                Event::Committed { attempt: *attempt }
            }
            (None, Protocol::Parts) => refused(FailureKind::NoSuchUpload),
            (None, _) => refused(FailureKind::InvalidContext),
        }
    }
}

impl World {
    /// A page of two of the parts that there are.
    pub(crate) fn list(&mut self, effect: &Effect) -> Event {
        let Effect::List {
            attempt,
            upload_id,
            from,
            ..
        } = effect
        else {
            unreachable!("only lists list");
        };
        let Some(parts) = self.service.uploads.get(upload_id) else {
            self.excused += self.acknowledged_bytes();
            return Event::Failed {
                attempt: *attempt,
                failure: Failure::new(FailureKind::NoSuchUpload, "forgotten"),
                server_time: None,
            };
        };
        let lane_len = self.engine.layout().lane_len;
        let listed = |(offset, piece): (&u64, &Piece)| Listed {
            lane: offset / lane_len,
            len: piece.0.len,
            receipt: etag(piece),
        };
        let all = parts
            .iter()
            .map(listed)
            .filter(|listed| listed.lane >= *from);
        let mut lanes: Vec<Listed> = all.collect();
        let next = lanes.get(PAGE_LEN).map(|listed| listed.lane);
        lanes.truncate(PAGE_LEN);
        Event::Listed {
            attempt: *attempt,
            lanes,
            next,
            server_time: Some(self.service.clock),
        }
    }

    /// Every upload loses its first part.
    pub(crate) fn lose_parts(&mut self) {
        for parts in self.service.uploads.values_mut() {
            self.excused += parts.pop_first().map_or(0, |(_, (span, _))| span.len);
        }
    }
}

/// Parts on one page of the modelled list.
const PAGE_LEN: usize = 2;

/// Stands for a part's etag.
fn etag((span, version): &Piece) -> String {
    format!("part-{}-{}-{version}", span.offset, span.len)
}

/// Stands for the SHA-1 of that stretch of that version.
pub(crate) fn digest(span: ByteSpan, version: Version) -> Digest {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&span.offset.to_be_bytes());
    bytes[8..16].copy_from_slice(&span.len.to_be_bytes());
    bytes[16..].copy_from_slice(&version.to_be_bytes());
    Digest(bytes)
}
