//! The whole stack in virtual time: the real engine, driver, transport and dev server, joined by pipes.
//!
//! A [`world`] is data made from a seed: uploads, a line, and a [`weather`] of faults, each of which
//! has an end, or a way around. [`run`] lives it on one thread, so that one seed has one story; [`checks`] says what
//! did not hold, [`use_of_line`] of the line, with [`explain`] for what a world excuses; [`worlds`] lives thousands.
//!
//! `flow`, `line`, `link` and `network` are TCP as far as an uploader can tell; [`pipe`] tests them.
//! [`limit`] lives uploads under a bandwidth limit, without faults; [`grants`] those whose token ends.

mod chance;
mod checks;
mod explain;
mod flow;
mod grants;
mod limit;
mod line;
mod link;
mod network;
mod pipe;
mod run;
mod source;
mod use_of_line;
mod weather;
mod world;
mod worlds;
