//! What must hold when something goes wrong, and at every size: the library against a dev server
//! that follows a fault plan.
#![cfg(feature = "devserver")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod completes;
mod connections;
mod doubts;
mod elsewhere;
mod hosts;
mod numbers;
mod refusals;
mod resumes;
mod sizes;
mod world;
