//! Several kills of one upload, at moments that a seed chooses.

use crate::rig::{
    COMMIT_LEN_MAX, FORM, LEN, Rig, SEGMENT_LEN_MAX, V1, V2, WINDOW, end, number, until,
};
use crate::world::Server;

/// How often one upload is killed.
const KILLS: u64 = 5;

/// SplitMix64: one step of a small generator that any seed suits.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The upload is killed when the server has read so and so many bytes more, or stands at its last
/// segment. It converges, and no kill costs more than what was in flight.
fn killed_again_and_again(flags: &'static [&'static str], mut seed: u64, in_flight: u64) {
    // A slow line, so that a kill falls where it should and not behind it.
    let server = Server::built(|builder| builder.rate("100Mbit/s".parse().unwrap()));
    let rig = Rig::beside(server, flags, LEN);
    let size = LEN as u64;
    let mut kills = 0;
    for _ in 0..KILLS {
        let before = rig.server.body_bytes();
        let target = before + next(&mut seed) % (size / 2);
        let child = std::cell::RefCell::new(rig.start());
        let ended = || child.borrow_mut().try_wait().unwrap().is_some();
        until("bytes move", || rig.server.body_bytes() > target || ended());
        let mut child = child.into_inner();
        if child.try_wait().unwrap().is_some() {
            end(child).expect(0, &[]);
            rig.expect_stored("before the last kill");
            return expect_sent(&rig, kills, in_flight);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let ran = rig.finish("in the end");
    let sent = number(&ran, "sent_bytes") + number(&ran, "resumed_bytes");
    assert_eq!(sent, LEN as u64, "{ran:#?}");
    expect_sent(&rig, kills, in_flight);
}

/// Each kill cost no more than what was in flight; a commit may have been sent in every run.
#[track_caller]
fn expect_sent(rig: &Rig, kills: u64, in_flight: u64) {
    let most = LEN as u64 + kills * in_flight + (kills + 1) * COMMIT_LEN_MAX;
    let sent = rig.server.body_bytes();
    assert!(
        sent <= most,
        "{kills} kills: {sent} bytes went out, not {most}"
    );
}

/// Each seed is printed, so that a failing one can be run again.
fn seeds(flags: &'static [&'static str], in_flight: u64) {
    for seed in 0..2 {
        #[expect(clippy::print_stdout, reason = "shown when the test fails")]
        {
            println!("{flags:?}, seed {seed}");
        }
        killed_again_and_again(flags, seed, in_flight);
    }
}

#[test]
fn in_blocks() {
    seeds(V1, WINDOW as u64 * SEGMENT_LEN_MAX);
}

#[test]
fn in_parts() {
    seeds(V2, WINDOW as u64 * SEGMENT_LEN_MAX);
}

/// A form is all in flight at any moment.
#[test]
fn in_one_form() {
    seeds(FORM, LEN as u64);
}
