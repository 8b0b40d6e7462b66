//! Pages to read: what haul promises, what operators see, and how to come from Qiniu's SDKs.

#[doc = include_str!("metrics.md")]
pub mod metrics {}
