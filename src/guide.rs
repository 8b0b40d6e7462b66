//! Pages to read; there is nothing to call here.

#[doc = include_str!("guide/from_qiniu_sdks.md")]
pub mod from_qiniu_sdks {}

#[doc = include_str!("guide/guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("guide/metrics.md")]
pub mod metrics {}
