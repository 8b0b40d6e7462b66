//! What goes wrong in a world: drawn by chance, each with an end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::tests::simulation::chance::Chance;
use crate::client::tests::simulation::network::{Absence, Hole};
use crate::client::tests::simulation::world::{Change, Happening, Unwell, Wish, World};
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

/// Slowest line that a change of rate leads to, in bits a second: the slowest that there is.
const RATE_MIN: u64 = 64_000;

/// A line that is slow for good may need so long for everything; else it recovers.
const SLOW_TRANSFER_MAX: Duration = Duration::from_secs(480);

/// Draws what goes wrong.
pub(super) fn brew(world: &mut World, chance: &mut Chance) {
    // One world in eight is calm.
    let count = chance.one(&[0, 1, 1, 1, 2, 2, 3, 5]);
    for _ in 0..count {
        match chance.within(0..=99) {
            0..50 => world.plan.faults.push(fault(world, chance)),
            50..57 => world.holes.push(hole(world, chance)),
            57..61 => host(world, chance),
            61..65 => {
                let slow = slow_connections(chance);
                world.way.push(slow);
            }
            _ => {
                let at = moment(world, chance);
                let happening = happening(world, chance);
                world.happenings.push((at, happening));
            }
        }
    }
    if count > 0 && chance.percent(8) {
        let proxy = proxy(world, chance);
        world.way.push(proxy);
    }
    if count > 0 && world.wait_online && chance.percent(50) {
        let at = moment(world, chance);
        let outage = Happening::Outage(seconds(chance, &[200, 3600]));
        world.happenings.push((at, outage));
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
    match chance.within(0..=99) {
        0..5 => Happening::Suspended(seconds(chance, &[2, 200, 2000])),
        5..19 => Happening::Outage(seconds(chance, &[2, 20, 50, 200])),
        19..25 => Happening::Flaps {
            down: seconds(chance, &[4, 8, 20]),
            up: seconds(chance, &[2, 8, 20]),
            times: u32::try_from(chance.within(2..=8)).unwrap(),
        },
        25..34 => rate(world, chance),
        34..42 => unwell(world, chance),
        42..52 => {
            let host = chance.within(0..=world.hosts as u64 - 1);
            let how = chance.one(&[Absence::Refuses, Absence::Swallows]);
            let host = usize::try_from(host).unwrap();
            Happening::Absent(host, how, seconds(chance, &[2, 30, 90]))
        }
        52..72 => Happening::Crash(seconds(chance, &[1, 60])),
        72..84 => Happening::Restart(seconds(chance, &[1, 5, 40])),
        84..90 => Happening::Cut {
            reset: chance.percent(50),
        },
        // Somebody writes into one source alone.
        _ if !world.others.is_empty() => Happening::Cut { reset: true },
        90..96 => Happening::CrashAndChange(seconds(chance, &[1, 60]), change(chance)),
        _ => Happening::SourceChanges(change(chance)),
    }
}

fn change(chance: &mut Chance) -> Change {
    chance.one(&[
        Change::Rewritten,
        Change::OneByte,
        Change::Truncated,
        Change::Grown,
        Change::Touched,
        Change::Replaced,
    ])
}

/// The line falls to a tenth or a hundredth, or rises, for a while or for good.
fn rate(world: &World, chance: &mut Chance) -> Happening {
    let rate = match chance.within(0..=5) {
        0..3 => world.rate / 10,
        3..5 => world.rate / 100,
        _ => world.rate * 4,
    };
    let rate = rate.max(RATE_MIN);
    let lasting = seconds(chance, &[5, 20, 60]);
    let is_for_good = chance.percent(50) && world.transfer_at(rate) <= SLOW_TRANSFER_MAX;
    Happening::Rate(rate, (!is_for_good).then_some(lasting))
}

/// A host, or all, is there and does not serve.
fn unwell(world: &World, chance: &mut Chance) -> Happening {
    let hosts = world.hosts as u64;
    let host = usize::try_from(chance.within(0..=hosts - 1)).unwrap();
    let host = (hosts > 1 && chance.percent(50)).then_some(host);
    let (status, one_in_three, lasting) = chance.one(&[
        (503, false, 15),
        (503, false, 15),
        (502, false, 15),
        (573, true, 60),
        (573, true, 60),
        (503, true, 60),
    ]);
    let unwell = Unwell {
        status,
        one_in_three,
        at_once: chance.percent(50),
    };
    Happening::Unwell(host, unwell, Duration::from_secs(lasting))
}

/// One connection in four is read at a twentieth of a fast line's pace.
fn slow_connections(chance: &mut Chance) -> Fault {
    Fault {
        operation: CARRIERS.to_vec(),
        connection: Some(chance.within(1..=4)),
        connection_every: Some(4),
        slow_read: Rate::from_bits_per_s(400_000),
        ..Fault::default()
    }
}

/// Something on the way lets no longer bodies pass: it answers 413 in words of its own, or cuts.
fn proxy(world: &World, chance: &mut Chance) -> Fault {
    let how = chance.within(0..=3);
    // Parts cannot be shorter than 1 MiB, and a cut only tells about where the limit is.
    let (limit, how) = match world.wish {
        Wish::V2 => (1 << 20, 0),
        _ => (chance.one(&[1 << 20, 512 << 10, 300 << 10]), how),
    };
    let mut proxy = Fault {
        longer_than: Some(limit),
        ..Fault::default()
    };
    match how {
        0 | 1 => {
            proxy.omit_reqid = true;
            proxy.answer = Some(CannedAnswer {
                body: Some("<html>413 Request Entity Too Large</html>".to_owned()),
                content_type: Some("text/html".to_owned()),
                at: Some(chance.one(&[Moment::BeforeBody, Moment::AfterBodyBytes(limit)])),
                ..CannedAnswer::status(413)
            });
        }
        2 => proxy.reset = Some(Moment::AfterBodyBytes(limit)),
        _ => proxy.close = Some(Moment::AfterBodyBytes(limit)),
    }
    proxy
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
