//! The `haul` program from outside: the real binary, its exit codes, and what it says.
//!
//! One binary for all of it, so that it is linked once.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod again;
mod calls;
mod change;
mod demo;
mod exits;
mod explained;
mod kodo;
mod library;
mod life;
mod local;
mod offline;
mod secrets;
mod serve;
mod shutdown;
mod spooled;
mod streams;
mod told;
#[cfg(unix)]
mod uploads;
mod world;
