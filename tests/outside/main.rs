//! The program from outside: real processes, real sockets, and clients that we did not write.
//!
//! `support` starts the server and speaks plain HTTP; it shares no code with the crate, so that
//! nothing here can agree with a bug there.

mod crash;
mod peers;
mod readme;
mod support;
