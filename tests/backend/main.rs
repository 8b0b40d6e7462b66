//! The example `backend` from outside: a process of its own, `haul serve` behind it, and in front of it
//! curl, a browser, plain sockets that misbehave, and many uploads at the same time.
#![cfg(unix)]

mod browser;
mod curl;
mod endings;
mod forms;
mod load;
mod many;
mod process;
#[path = "../outside/support/mod.rs"]
#[expect(dead_code, reason = "the tests from outside use the rest")]
mod support;
