//! The real binary is killed, its source changed, its state taken away: nothing wrong is ever
//! reported as right, and nothing that was acknowledged is sent again.
//!
//! The dev server runs in the test and holds answers, so that the moment of a kill is exact.
#![cfg(all(feature = "cli", unix))]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod between;
mod dropped;
mod during;
mod exact;
mod garbage;
mod rig;
mod secrets;
mod seeded;
mod state;
mod stopped;
mod two;
#[path = "../program/world.rs"]
#[expect(dead_code, reason = "the tests of the program use more of it")]
mod world;
