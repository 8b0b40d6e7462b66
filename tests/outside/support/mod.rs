//! What the tests in this folder stand on.

pub(crate) mod content;
pub(crate) mod http;
#[expect(dead_code, reason = "tests/network uses the rest")]
pub(crate) mod needs;
pub(crate) mod peer;
pub(crate) mod server;
pub(crate) mod sign;
pub(crate) mod upload;
