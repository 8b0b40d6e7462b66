//! Every fault of the plan, seen on the wire by a client that does nothing for itself.
//!
//! One module per kind of fault; [`client`] is the raw client.
#![cfg(feature = "devserver")]

mod answers;
mod bodies;
mod client;
mod control;
mod endings;
mod garbage;
mod hosts;
mod line;
mod plan;
