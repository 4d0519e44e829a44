//! Migrations: forward only, one transaction each, checksummed. The same text serves both engines.

use std::path::Path;

use allclear_base::crash;
use allclear_domain::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use crate::{StoreError, sql};

/// Every migration in its order. Append only: a landed one never changes.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_ground", include_str!("../migrations/0001_ground.sql")),
    ("0002_events", include_str!("../migrations/0002_events.sql")),
    ("0003_carriers", include_str!("../migrations/0003_carriers.sql")),
    ("0004_more_ways", include_str!("../migrations/0004_more_ways.sql")),
    ("0005_people", include_str!("../migrations/0005_people.sql")),
    ("0006_numbers", include_str!("../migrations/0006_numbers.sql")),
    ("0007_lighter", include_str!("../migrations/0007_lighter.sql")),
    ("0008_claims", include_str!("../migrations/0008_claims.sql")),
    ("0009_once", include_str!("../migrations/0009_once.sql")),
    ("0010_wishes", include_str!("../migrations/0010_wishes.sql")),
    ("0011_channel_findings", include_str!("../migrations/0011_channel_findings.sql")),
];

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS migration (version BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, at BIGINT NOT NULL)";

fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The statements of a migration, one by one: each ends with its line.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(";\n").filter(|statement| !statement.trim().is_empty())
}

fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// What is still to do after `applied` (version, checksum), or why the database is not ours to touch.
fn outstanding(applied: &[(i64, String)]) -> Result<Vec<(i64, &'static str, &'static str)>, StoreError> {
    let mut left = Vec::new();
    if let Some((found, _)) = applied.iter().find(|(version, _)| *version > newest()) {
        return Err(StoreError::Newer { found: *found, known: newest() });
    }
    for (version, (name, text)) in (1..).zip(MIGRATIONS.iter().copied()) {
        match applied.iter().find(|(v, _)| *v == version) {
            Some((_, sum)) if *sum != checksum(text) => {
                return Err(StoreError::Open(format!(
                    "migration {name} was applied from another text; this database was made by a changed program"
                )));
            }
            Some(_) => {}
            None => left.push((version, name, text)),
        }
    }
    Ok(left)
}

/// Brings a SQLite file up to date; an existing one is backed up and the copy verified first.
pub(crate) fn sqlite(conn: &mut Connection, file: &Path, now: Timestamp) -> Result<(), StoreError> {
    let fault = |e: rusqlite::Error| StoreError::Open(format!("cannot migrate {}: {e}", file.display()));
    let known: Option<i64> =
        conn.query_row("SELECT 1 FROM sqlite_schema WHERE name = 'migration'", [], |r| r.get(0)).optional().map_err(fault)?;
    let applied = if known.is_some() { sqlite_applied(conn).map_err(fault)? } else { vec![] };
    if !applied.is_empty() && !outstanding(&applied)?.is_empty() {
        back_up(conn, file, applied.len())?;
    }
    run_sqlite(conn, &applied, now).map_err(|error| match error {
        StoreError::Fault { context, source } => {
            StoreError::Open(format!("{context}: {}", source.map_or(String::new(), |s| s.to_string())))
        }
        other => other,
    })
}

/// Refuses a file that is not a database of ours, or one of a newer program.
pub(crate) fn check_readable(conn: &Connection, file: &Path) -> Result<(), StoreError> {
    let fail = |e: rusqlite::Error| StoreError::Open(format!("this is no copy of AllClear's database: {}: {e}", file.display()));
    outstanding(&sqlite_applied(conn).map_err(fail)?).map(|_| ())
}

/// Makes the schema in a new database.
pub(crate) fn sqlite_fresh(conn: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    run_sqlite(conn, &[], now)
}

fn sqlite_applied(conn: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut statement = conn.prepare("SELECT version, checksum FROM migration ORDER BY version")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn run_sqlite(conn: &mut Connection, applied: &[(i64, String)], now: Timestamp) -> Result<(), StoreError> {
    let fault = |e: rusqlite::Error| StoreError::fault("a migration failed", e);
    for (version, name, text) in outstanding(applied)? {
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(fault)?;
        tx.execute_batch(TABLE).map_err(fault)?;
        for statement in statements(&sql::schema_for_sqlite(text)) {
            crash::point("migrate.statement");
            tx.execute_batch(statement).map_err(fault)?;
        }
        let row = rusqlite::params![version, name, checksum(text), now.0];
        tx.execute("INSERT INTO migration (version, name, checksum, at) VALUES (?1, ?2, ?3, ?4)", row).map_err(fault)?;
        tx.commit().map_err(fault)?;
    }
    Ok(())
}

fn back_up(conn: &Connection, file: &Path, version: usize) -> Result<(), StoreError> {
    let target = file.with_file_name(format!("allclear-before-{}.db", version + 1));
    let fail = |e: String| StoreError::Open(format!("no backup before the migration could be made at {}: {e}", target.display()));
    if target.exists() {
        std::fs::remove_file(&target).map_err(|e| fail(e.to_string()))?;
    }
    conn.execute("VACUUM INTO ?1", [target.to_string_lossy()]).map_err(|e| fail(e.to_string()))?;
    let copy = Connection::open(&target).map_err(|e| fail(e.to_string()))?;
    let check: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(|e| fail(e.to_string()))?;
    if check == "ok" { Ok(()) } else { Err(fail(check)) }
}

/// Whether another process is connected as the one that runs this database.
pub(crate) const OWNED_BY_ANOTHER: &str = "SELECT 1 FROM meta m JOIN pg_stat_activity a ON m.value = a.pid::text || ' ' || a.backend_start::text \
     WHERE m.key = 'presence' AND a.pid <> pg_backend_pid()";

/// Brings a PostgreSQL database up to date. Two processes that start at once wait for each other.
pub(crate) fn postgres(client: &mut postgres::Client, now: Timestamp) -> Result<(), StoreError> {
    let fault =
        |e: postgres::Error| StoreError::Open(format!("cannot migrate: {}", crate::tx::postgres_error(e, "a migration").error.chain()));
    let version: String = client.query_one("SHOW server_version_num", &[]).and_then(|row| row.try_get(0)).map_err(fault)?;
    if version.parse::<i64>().is_ok_and(|v| v < 150_000) {
        return Err(StoreError::Open("PostgreSQL 15 or newer is needed".into()));
    }
    let mut tx = client.transaction().map_err(fault)?;
    // Creating the same table twice at once is an error in PostgreSQL; whoever has this row goes first.
    tx.batch_execute(TABLE).map_err(fault)?;
    tx.batch_execute("LOCK TABLE migration IN ACCESS EXCLUSIVE MODE").map_err(fault)?;
    let rows = tx.query("SELECT version, checksum FROM migration ORDER BY version", &[]).map_err(fault)?;
    let applied: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let left = outstanding(&applied)?;
    // Nothing is moved under the hands of a process that runs on it; one that starts meanwhile waits for the lock above.
    if !applied.is_empty() && !left.is_empty() && !tx.query(OWNED_BY_ANOTHER, &[]).map_err(fault)?.is_empty() {
        return Err(StoreError::InUse("this PostgreSQL database".to_owned()));
    }
    // A large table takes longer than any other statement may.
    tx.batch_execute("SET LOCAL statement_timeout = 0").map_err(fault)?;
    for (version, name, text) in left {
        for statement in statements(text) {
            crash::point("migrate.statement");
            tx.batch_execute(statement).map_err(fault)?;
        }
        let sum = checksum(text);
        tx.execute("INSERT INTO migration (version, name, checksum, at) VALUES ($1, $2, $3, $4)", &[&version, &name, &sum, &now.0])
            .map_err(fault)?;
    }
    tx.commit().map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an older program has left: the first six migrations, and a row in each table that the seventh makes anew.
    const LEFT: &str = "INSERT INTO incident (id, number, service_id, status, urgency, opened_at, changed_at, version, state) \
        VALUES ('Q1', 1, 'P1', 'triggered', 'high', 1, 1, 0, '{}'); \
        INSERT INTO log_entry (id, incident_id, seq, at, agent, entry, catalog_rev) VALUES ('Q2', 'Q1', 1, 5, 'a', 'e', 3); \
        INSERT INTO timer (subject, kind, due_at, body) VALUES ('incident:Q1', 'escalate', 9, 'null')";
    const LOG: &str = "SELECT incident_id || id || agent || entry FROM log_entry WHERE seq = 1 AND at = 5 AND catalog_rev = 3";
    const TIMER: &str = "SELECT subject || kind || body FROM timer WHERE due_at = 9";

    #[test]
    fn every_migration_that_is_written_is_carried_out() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).expect("the folder");
        let mut written: Vec<String> = folder.map(|file| file.expect("a file").file_name().into_string().expect("a name")).collect();
        written.sort();
        let listed: Vec<String> = MIGRATIONS.iter().map(|(name, _)| format!("{name}.sql")).collect();
        assert_eq!(written, listed);
    }

    #[test]
    fn rows_of_an_older_file_are_there_after_their_tables_were_made_anew() {
        let mut conn = Connection::open_in_memory().expect("a database");
        conn.execute_batch("PRAGMA foreign_keys = ON").expect("set");
        conn.execute_batch(TABLE).expect("a table");
        for (version, (name, text)) in (1_i64..).zip(&MIGRATIONS[..6]) {
            conn.execute_batch(&sql::schema_for_sqlite(text)).expect("migrated");
            let row = rusqlite::params![version, name, checksum(text)];
            conn.execute("INSERT INTO migration (version, name, checksum, at) VALUES (?1, ?2, ?3, 0)", row).expect("noted");
        }
        conn.execute_batch(LEFT).expect("rows");
        let applied = sqlite_applied(&conn).expect("a list");
        run_sqlite(&mut conn, &applied, Timestamp(0)).expect("migrated");
        let text = |query: &str| conn.query_row(query, [], |row| row.get::<_, String>(0)).expect("a row");
        assert_eq!((text(LOG), text(TIMER)), ("Q1Q2ae".to_owned(), "incident:Q1escalatenull".to_owned()));
    }

    #[test]
    fn a_server_is_not_migrated_under_a_process_that_runs_on_it_and_keeps_its_rows_afterwards() {
        #[expect(clippy::disallowed_methods, reason = "the test command says where its cluster is")]
        let server = std::env::var("ALLCLEAR_TEST_POSTGRES").expect("PostgreSQL is needed: run these tests with `cargo xtask test`");
        let connect = |url: &str| postgres::Client::connect(url, postgres::NoTls).expect("the cluster of the test command");
        let name = format!("migrate_{}", std::process::id());
        connect(&server).batch_execute(&format!("CREATE DATABASE {name}")).expect("a database");
        let url = server.rsplit_once('/').map(|(head, _)| format!("{head}/{name}")).expect("an address with a database");
        let (mut client, mut other) = (connect(&url), connect(&url));
        client.batch_execute(TABLE).expect("a table");
        for (version, (name, text)) in (1_i64..).zip(&MIGRATIONS[..6]) {
            client.batch_execute(text).expect("migrated");
            let note = "INSERT INTO migration (version, name, checksum, at) VALUES ($1, $2, $3, 0)";
            client.execute(note, &[&version, name, &checksum(text)]).expect("noted");
        }
        client.batch_execute(LEFT).expect("rows");
        let claim = "INSERT INTO meta (key, value) SELECT 'presence', pid::text || ' ' || backend_start::text FROM pg_stat_activity \
                     WHERE pid = pg_backend_pid()";
        other.batch_execute(claim).expect("claimed");
        assert!(matches!(postgres(&mut client, Timestamp(0)), Err(StoreError::InUse(_))));
        client.batch_execute("DELETE FROM meta WHERE key = 'presence'").expect("it is gone");
        postgres(&mut client, Timestamp(0)).expect("migrated");
        let mut text = |query: &str| client.query_one(query, &[]).expect("a row").get::<_, String>(0);
        assert_eq!((text(LOG), text(TIMER)), ("Q1Q2ae".to_owned(), "incident:Q1escalatenull".to_owned()));
    }
}
