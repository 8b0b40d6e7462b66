//! The upload plane: how bytes and the words about them come in, in each protocol.
//!
//! Form, v1 and v2 differ in how an object arrives and agree on what a finished one means: all of
//! them end in [`finish`](crate::devserver::finish).

mod blocks;
mod disposition;
mod form;
mod intake;
mod multipart;
mod put_base64;

#[cfg(test)]
mod tests;

pub(crate) use intake::read_whole;
