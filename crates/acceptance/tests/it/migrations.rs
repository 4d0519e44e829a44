//! A kill at every statement of the migrations, on both databases: the next start goes on as if nothing had happened.

use std::time::Duration;

use allclear_acceptance::binary::{Process, Start, get, wait};
use allclear_acceptance::postgres::{fresh_database, server};
use allclear_domain::catalog::Kind;
use allclear_store::{Backend, Options, Store};

use crate::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(30);

/// Starts again and again, each time killed one statement later; how many kills there were until it came up.
fn kill_at_every_statement(ground: &Ground, database: Option<&str>) -> usize {
    const MOST: usize = 500;
    let (config, data) = (ground.folder.path().join("config"), ground.data());
    for kills in 0..MOST {
        let crash_at = Some(format!("migrate.statement:{}", kills + 1));
        let database = database.map(str::to_owned);
        let start = Start { config: &config, data: &data, listen: ground.addr, crash_at, database, secrets: ground.world.secrets() };
        let mut process = Process::spawn(&start).expect("started");
        let ready = || get(ground.addr, "/readyz").is_some_and(|(status, _)| status == 200);
        let mut up = false;
        let came_to_something = wait(PATIENCE, || {
            up = ready();
            up || process.has_ended()
        });
        assert!(came_to_something, "after {kills} kills:\n{}", log_of(&process));
        if up {
            process.terminate().expect("a clean stop");
            return kills;
        }
    }
    panic!("a migration of more than {MOST} statements?")
}

fn holds_the_configuration(backend: Backend) {
    use std::sync::Arc;
    let options = Options { backend, clock: Arc::new(allclear_base::SystemClock::start()), rng: Arc::new(allclear_base::OsRng) };
    let store = Store::open(&options).expect("a whole database");
    assert!(store.catalog().id_of(Kind::Service, "Streams").is_some());
    store.close();
}

#[test]
fn a_kill_at_every_statement_of_a_migration_leaves_sqlite_as_it_was() {
    let ground = Ground::new();
    let kills = kill_at_every_statement(&ground, None);
    assert!(kills > 30, "{kills}");
    holds_the_configuration(Backend::sqlite(ground.data()));
}

#[test]
fn a_kill_at_every_statement_of_a_migration_leaves_postgresql_as_it_was() {
    let (ground, url) = (Ground::new(), fresh_database(&server().expect("an address")).expect("a database"));
    let kills = kill_at_every_statement(&ground, Some(&url));
    assert!(kills > 30, "{kills}");
    holds_the_configuration(Backend::Postgres { url, folder: ground.data() });
}
