//! The contract, on both engines. `on_both!` makes two tests of one body, so that a failure names its engine.

mod conformance;
mod sqlite;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use allclear_base::clock::VirtualClock;
use allclear_base::{Clock, SeededRng};
use futures::executor::block_on;

use crate::{Backend, Options, Store};

/// A database of its own, gone at the end.
pub(super) struct Database {
    pub(super) store: Store,
    pub(super) clock: VirtualClock,
    pub(super) folder: tempfile::TempDir,
}

pub(super) const NOON: i64 = 1_780_000_000_000_000;

pub(super) fn options(backend: Backend, clock: &VirtualClock) -> Options {
    Options { backend, clock: Arc::new(clock.clone()) as Arc<dyn Clock>, rng: Arc::new(SeededRng::new(1)) }
}

pub(super) fn sqlite() -> Database {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), VirtualClock::at(NOON));
    let store = Store::open(&options(Backend::sqlite(folder.path()), &clock)).expect("a database");
    Database { store, clock, folder }
}

/// A fresh database on the cluster that the test command starts.
pub(super) fn postgres() -> Database {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    #[expect(clippy::disallowed_methods, reason = "the test command says where its cluster is")]
    let server = std::env::var("ALLCLEAR_TEST_POSTGRES").expect("PostgreSQL is needed: run these tests with `cargo xtask test`");
    let name = format!("store_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    let mut client = postgres::Client::connect(&server, postgres::NoTls).expect("the cluster of the test command");
    client.batch_execute(&format!("CREATE DATABASE {name}")).expect("a database");
    let url = server.rsplit_once('/').map(|(head, _)| format!("{head}/{name}")).expect("an address with a database");
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), VirtualClock::at(NOON));
    let backend = Backend::Postgres { url, folder: folder.path().to_owned() };
    let store = Store::open(&options(backend, &clock)).expect("a database");
    Database { store, clock, folder }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.store.close();
    }
}

pub(super) fn wait<T>(work: impl Future<Output = T>) -> T {
    block_on(work)
}

macro_rules! on_both {
    ($($(#[$doc:meta])* fn $name:ident($db:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            fn behaves($db: &super::super::Database) $body

            #[test]
            fn on_sqlite() {
                behaves(&super::super::sqlite());
            }

            #[test]
            fn on_postgres() {
                behaves(&super::super::postgres());
            }
        }
    )*};
}
pub(super) use on_both;
