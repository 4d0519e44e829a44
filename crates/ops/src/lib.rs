//! The use cases, each once: load → decide → apply, in one transaction, with authorisation inside.
//!
//! Whoever wants something done (the API, the command line, Slack, a text reply, a loop of the engine) calls a
//! function of this crate. What takes time or leaves the process is written down as a row that the engine acts on.

mod actor;
mod apply;
pub mod audit;
pub mod by_hand;
pub mod config;
pub mod delivery;
mod draw;
pub mod due;
mod error;
pub mod event;
pub mod guard;
pub mod heartbeat;
pub mod incident;
pub mod judge;
pub mod link;
pub mod merge;
pub mod public;
pub mod resource;
pub mod route;
mod rules;
pub mod secret;
pub mod session;
pub mod status;
pub mod timer;
pub mod token;
pub mod view;
pub mod wish;

pub use actor::{Actor, Permission};
pub use draw::Draw;
pub use error::OpsError;
