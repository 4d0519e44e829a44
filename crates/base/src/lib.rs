//! What every room but `domain` may use: the clock, identifiers and randomness, tasks, crash points and shutdown.
//!
//! Everything here is handed over at construction, so that a simulation can replace time, chance and
//! concurrency without a test switch in product code. Nothing here knows what AllClear does.

pub mod clock;
pub mod crash;
pub mod id;
pub mod metrics;
pub mod rng;
pub mod runtime;
pub mod secret;
pub mod vault;

pub use clock::{Clock, SystemClock};
pub use rng::{OsRng, Rng, SeededRng};
pub use runtime::{Runtime, Spawn};
pub use secret::{Secret, Secrets};
pub use vault::Vault;
