//! The tables, one file per aggregate: each function one statement or one invariant, within the caller's
//! transaction. Lists take a bound.

pub mod alert;
pub mod callback;
pub mod change;
pub mod channel_finding;
pub mod component;
pub mod delivery;
pub mod heartbeat;
pub mod incident;
pub mod integration;
pub mod page;
pub mod resource;
pub mod run;
pub mod secret;
pub mod session;
pub mod slot;
pub mod standing;
pub mod timer;
pub mod token;
pub mod wish;
