//! The ways to a host: proxies of every kind, and certificates good and bad. Real sockets; the peers
//! are this test's own.
#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod authority;
mod http_proxy;
#[path = "../outside/support/needs.rs"]
#[expect(dead_code, reason = "the tests from outside use more of it")]
mod needs;
#[cfg(target_os = "linux")]
mod packaged;
mod program;
mod socks_proxy;
mod through;
mod trust;
#[path = "../program/world.rs"]
#[expect(dead_code, reason = "the tests of the program use more of it")]
mod world;
