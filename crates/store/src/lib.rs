//! How data is kept and changed: the only crate with SQL.
//!
//! A change is a synchronous closure over [`Tx`], run by [`Store::write`] on the store's own threads. It may run
//! more than once and touches nothing outside its transaction. A success answer means: on disk. SQLite commits
//! many closures at once; PostgreSQL runs them side by side under row locks taken in one order.
//!
//! What follows from a commit is signalled through [`Wakes`]; a wake-up carries no data.

pub mod backup;
mod engine;
mod error;
pub mod evidence;
mod lock;
mod migrate;
pub mod record;
mod sql;
mod tx;
mod value;

pub use engine::{Backend, Lane, Options, PLANTED, Store, Wakes, Write};
pub use error::{Conflict, StoreError};
pub use lock::Lock;
pub use tx::{Signal, Tx};
pub use value::{Row, Value};

/// Makes a data folder where there is none: for its owner alone, because keys of integrations stand in it.
///
/// # Errors
/// A place where it cannot be made.
pub fn make_folder(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests;
