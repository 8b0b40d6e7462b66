//! Tests of whole uploads, through everything below the client.

mod simulation;
