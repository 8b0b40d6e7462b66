//! What goes wrong in a world: drawn by chance, each with an end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::tests::simulation::chance::Chance;
use crate::client::tests::simulation::network::{Absence, Hole};
use crate::client::tests::simulation::world::{Change, Happening, World};
use crate::devserver::{
    AnswerField, CannedAnswer, Expire, Fault, HostFault, HostState, Loss, Moment, Operation, Rate,
    StopReading,
};

/// Requests that carry the object's bytes.
pub(super) const CARRIERS: [Operation; 4] = [
    Operation::Form,
    Operation::Mkblk,
    Operation::Bput,
    Operation::Part,
];

/// Requests that make the object.
pub(super) const COMMITS: [Operation; 3] =
    [Operation::Form, Operation::Mkfile, Operation::Complete];

/// Everything else that an upload needs.
const OTHERS: [Operation; 3] = [Operation::Initiate, Operation::Stat, Operation::ListParts];

/// Draws what goes wrong.
pub(super) fn brew(world: &mut World, chance: &mut Chance) {
    // One world in eight is calm.
    let count = chance.one(&[0, 1, 1, 1, 2, 2, 3, 5]);
    for _ in 0..count {
        match chance.within(0..=99) {
            0..60 => world.plan.faults.push(fault(world, chance)),
            60..68 => world.holes.push(hole(world, chance)),
            68..72 => host(world, chance),
            _ => {
                let at = moment(world, chance);
                let happening = happening(world, chance);
                world.happenings.push((at, happening));
            }
        }
    }
    world.happenings.sort_by_key(|(at, _)| *at);
}

/// Some time while the upload runs, mostly.
fn moment(world: &World, chance: &mut Chance) -> Duration {
    let whole = world.transfer() + 8 * world.latency;
    let share = u32::try_from(chance.within(0..=1200)).unwrap();
    whole * share / 1000 + Duration::from_micros(chance.within(0..=5000))
}

fn seconds(chance: &mut Chance, of: &[u64]) -> Duration {
    let most = chance.one(of);
    Duration::from_millis(chance.within(1..=most * 1000))
}

fn happening(world: &World, chance: &mut Chance) -> Happening {
    let changes = [
        Change::Rewritten,
        Change::OneByte,
        Change::Truncated,
        Change::Grown,
        Change::Touched,
        Change::Replaced,
    ];
    match chance.within(0..=99) {
        0..6 => Happening::Suspended(seconds(chance, &[2, 200, 2000])),
        6..25 => Happening::Outage(seconds(chance, &[2, 20, 50, 200])),
        25..40 => {
            let host = chance.within(0..=world.hosts as u64 - 1);
            let how = chance.one(&[Absence::Refuses, Absence::Swallows]);
            let host = usize::try_from(host).unwrap();
            Happening::Absent(host, how, seconds(chance, &[2, 30, 90]))
        }
        40..70 => Happening::Crash(seconds(chance, &[1, 60])),
        70..78 => Happening::CrashAndChange(seconds(chance, &[1, 60]), chance.one(&changes)),
        78..88 => Happening::Restart(seconds(chance, &[1, 5, 40])),
        88..94 => Happening::Cut {
            reset: chance.percent(50),
        },
        _ => Happening::SourceChanges(chance.one(&changes)),
    }
}

fn hole(world: &World, chance: &mut Chance) -> Hole {
    let (up, down) = chance.one(&[(true, false), (false, true), (true, true)]);
    Hole {
        connection: chance.within(1..=4),
        after_bytes: chance.within(0..=world.size.min(1 << 20)),
        up,
        down,
    }
}

/// One host misbehaves for good, if another one is there.
fn host(world: &mut World, chance: &mut Chance) {
    // The first one is also where stat goes.
    if world.hosts < 2 || !world.plan.hosts.is_empty() {
        return;
    }
    let host = chance.within(1..=world.hosts as u64 - 1);
    world.plan.hosts.push(HostFault {
        host: usize::try_from(host).unwrap(),
        state: chance.one(&[HostState::Dead, HostState::Silent, HostState::BadGateway]),
    });
}

fn when(world: &World, chance: &mut Chance) -> Moment {
    match chance.within(0..=3) {
        0 => Moment::BeforeBody,
        1 => Moment::AfterBody,
        _ => Moment::AfterBodyBytes(chance.within(0..=world.segment_max().min(1 << 20))),
    }
}

/// A fault of the server's, a bounded number of times.
fn fault(world: &World, chance: &mut Chance) -> Fault {
    let all = chance.one(&[&CARRIERS[..], &CARRIERS[..], &COMMITS[..], &OTHERS[..]]);
    let mut fault = Fault {
        operation: all.to_vec(),
        from: Some(chance.one(&[1, 1, 1, 2, 3, 5])),
        times: Some(chance.one(&[1, 1, 1, 2, 3])),
        ..Fault::default()
    };
    let loss = chance.one(&[Loss::Reset, Loss::Close, Loss::Hang]);
    match chance.within(0..=99) {
        0..12 => fault.reset = Some(when(world, chance)),
        12..20 => fault.close = Some(when(world, chance)),
        20..26 => fault.hang = Some(when(world, chance)),
        26..46 => fault.lose_answer = Some(loss),
        46..62 => fault.answer = Some(refusal(world, chance)),
        62..68 => fault.expire = Some(chance.one(&[Expire::Ctx, Expire::UploadId, Expire::Token])),
        68..73 => {
            fault.operation = CARRIERS.to_vec();
            fault.wrong = Some(chance.one(&[AnswerField::Crc32, AnswerField::Etag]));
        }
        73..78 => {
            fault.operation = CARRIERS.to_vec();
            // An empty object has no byte to flip.
            fault.flip_byte = Some(chance.within(0..=world.segment_max().min(1 << 20) - 1));
            fault.omit_reqid = world.size == 0;
            fault.flip_byte = fault.flip_byte.filter(|_| world.size > 0);
        }
        78..83 => fault.answer_html = Some("<html>Welcome to our hotel</html>".to_owned()),
        83..86 => fault.cut_answer = Some(chance.within(0..=20)),
        86..90 => fault.slow_read = Rate::from_bits_per_s(world.rate / chance.one(&[2, 10])),
        90..94 => {
            fault.stop_reading = Some(StopReading {
                after_bytes: chance.within(0..=world.segment_max()),
                pause: seconds(chance, &[5, 25]),
            });
        }
        94..97 => fault.delay = Some(seconds(chance, &[1, 20])),
        97..99 => fault.refuse_replayed_ctx = true,
        _ => fault.omit_reqid = true,
    }
    fault
}

/// An answer that asks to come again, or comes from something on the way.
fn refusal(world: &World, chance: &mut Chance) -> CannedAnswer {
    let status = chance.one(&[503, 573, 429, 599, 500, 502, 504]);
    let mut answer = CannedAnswer {
        at: Some(when(world, chance)),
        ..CannedAnswer::status(status)
    };
    if chance.percent(30) {
        let wait = chance.within(0..=20).to_string();
        answer.headers = BTreeMap::from([("Retry-After".to_owned(), wait)]);
    }
    answer
}
