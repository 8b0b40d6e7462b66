//! The whole stack in virtual time.

mod flow;
mod line;
mod link;
mod network;
#[cfg(test)]
mod tests;
