//! Tests of the simulation's own parts, and the simulation itself.

mod pipe;
mod worlds;
