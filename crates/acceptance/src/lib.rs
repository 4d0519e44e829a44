//! Development only: the whole product under fire. A crash harness on the real binary, a seeded simulation, the
//! figures, and the invariants that all of them check.

pub mod bench;
pub mod binary;
pub mod chromium;
pub mod crash;
pub mod flood;
pub mod idle;
pub mod interleave;
pub mod invariants;
pub mod pictures;
pub mod postgres;
pub mod scene;
pub mod sim;
pub mod tool;
pub mod unsynced;
