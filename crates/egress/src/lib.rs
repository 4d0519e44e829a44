//! The only way out: connect, TLS, HTTP, each phase timed, every address checked.
//!
//! A name is resolved once; every address that it gives is checked against the caller's [`Guard`]; the connection
//! goes to a checked address, and redirects are checked anew. There is one seam, [`Connect`]: TCP, or a pipe in
//! memory for the simulation.

mod client;
mod connect;
mod decode;
mod error;
mod guard;
mod resolver;

pub use client::{Client, Request, Response, Timings};
pub use connect::{Connect, Connected, Io, Target, TcpConnect, Work};
pub use error::{Error, Phase};
pub use guard::{Cidr, Guard, is_never_permitted};
