//! A transaction, the same to its closure on both engines.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use allclear_domain::Timestamp;
use allclear_domain::catalog::Catalog;

use crate::engine::Shared;
use crate::error::Conflict;
use crate::value::{Row, Value, params};
use crate::{Lock, StoreError, sql};

/// What others want to know after a commit. Carries no data: losing one costs latency, never work. Those who send messages
/// are woken first: a page is waited for, the rest is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// A delivery was written.
    Outbox,
    /// A timer was set.
    Timers,
    /// A published page changed.
    Pages,
    /// The configuration changed.
    Catalog,
    /// Somebody asked for a run.
    Wishes,
}

/// The statements of one connection as SQLite has them.
#[derive(Default)]
pub(crate) struct SqliteTexts {
    /// By where the program has the text, which is looked up faster than what it says.
    known: HashMap<(usize, usize), String>,
    inserts: HashMap<&'static str, String>,
    /// A condition that a planted bug forgets, and what it has instead.
    pub(crate) forgotten: Option<(&'static str, &'static str)>,
}

/// Statements that were prepared for one connection.
#[derive(Default)]
pub(crate) struct PreparedStatements(HashMap<String, postgres::Statement>);

pub(crate) enum Conn<'a> {
    Sqlite(&'a rusqlite::Connection, &'a mut SqliteTexts),
    Postgres(&'a mut postgres::Client, &'a mut PreparedStatements),
}

/// How a statement failed, as far as the engine must know to run the closure again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Another transaction was in the way, or the server is going away: run the closure again.
    Again,
    /// The connection is gone.
    Lost,
    /// There is no room, or the disk fails.
    NoRoom,
}

/// An open transaction.
pub struct Tx<'a> {
    pub(crate) conn: Conn<'a>,
    pub(crate) now: Timestamp,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) held: BTreeSet<Lock>,
    pub(crate) made: BTreeSet<Lock>,
    pub(crate) signals: BTreeSet<Signal>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) writable: bool,
    pub(crate) shared: &'a Shared,
}

impl Tx<'_> {
    /// The time of this transaction: never less than that of a transaction committed before.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether the database is a server, where others write at the same time.
    pub(crate) const fn is_on_server(&self) -> bool {
        matches!(self.conn, Conn::Postgres(..))
    }

    /// The configuration as of this transaction.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// Asks for a wake-up once this transaction is committed.
    pub fn after_commit(&mut self, signal: Signal) {
        self.signals.insert(signal);
    }

    /// Takes further locks. They must come after all that are held, in [`Lock`]'s order. Whoever had to wait for them
    /// may have waited for a change of the configuration: then the closure is run again, so that it decides everything
    /// on one revision.
    ///
    /// # Errors
    /// [`StoreError::Lock`] for a lock out of order.
    pub fn lock(&mut self, locks: impl IntoIterator<Item = Lock>) -> Result<(), StoreError> {
        match self.take_locks(locks)? {
            Some(rev) if rev != self.catalog.rev() => {
                self.trouble = self.trouble.or(Some(Trouble::Again));
                Err(StoreError::Changed("the configuration"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The same without a look at the configuration; its revision as of the last lock, where others change it meanwhile.
    pub(crate) fn take_locks(&mut self, locks: impl IntoIterator<Item = Lock>) -> Result<Option<i64>, StoreError> {
        let wanted: BTreeSet<Lock> = locks.into_iter().filter(|lock| !self.held.contains(lock) && !self.made.contains(lock)).collect();
        let Some(first) = wanted.first() else { return Ok(None) };
        if let Some(last) = self.held.last().filter(|last| *last > first) {
            return Err(StoreError::Lock(format!("{first:?} was asked for after {last:?}")));
        }
        let mut rev = None;
        if self.is_on_server() {
            for lock in &wanted {
                // The row is made on first use; a concurrent maker is waited for by the insert itself.
                let row = self.query_opt("SELECT take_lock($1)", params![lock.key()])?;
                rev = row.map(|row| row.int(0)).transpose()?;
            }
        }
        self.held.extend(wanted);
        Ok(rev)
    }

    /// Loads what changed in the configuration up to `rev`, at the begin of a transaction.
    pub(crate) fn see_catalog(&mut self, rev: i64) -> Result<(), StoreError> {
        if rev != self.catalog.rev() {
            self.catalog = Arc::new(crate::record::resource::catch_up(self)?);
        }
        Ok(())
    }

    /// Counts an aggregate that this transaction makes as locked: nobody else can know of it yet.
    pub fn adopt(&mut self, lock: Lock) {
        self.made.insert(lock);
    }

    /// Refuses to go on without `lock`.
    pub(crate) fn require(&self, lock: &Lock) -> Result<(), StoreError> {
        if self.held.contains(lock) || self.made.contains(lock) {
            return Ok(());
        }
        Err(StoreError::Lock(format!("{lock:?} is not held")))
    }

    /// Runs `work` so that its failure undoes only what it did itself.
    ///
    /// # Errors
    /// What `work` returns, or the store's own error if the savepoint cannot be made or undone.
    pub fn savepoint<T, E: From<StoreError>>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        // Savepoints of one name stand one within the other, on both engines.
        self.batch("SAVEPOINT part")?;
        let (signals, catalog) = (self.signals.clone(), Arc::clone(&self.catalog));
        match work(self) {
            Ok(done) => {
                self.batch("RELEASE SAVEPOINT part")?;
                Ok(done)
            }
            Err(error) => {
                if self.trouble.is_none() {
                    self.batch("ROLLBACK TO SAVEPOINT part")?;
                    self.batch("RELEASE SAVEPOINT part")?;
                }
                self.signals = signals;
                self.catalog = catalog;
                Err(error)
            }
        }
    }

    /// Runs a statement that concerns the transaction itself.
    fn batch(&mut self, text: &'static str) -> Result<(), StoreError> {
        let done = match &mut self.conn {
            Conn::Sqlite(conn, _) => sqlite_execute(conn, text, &[]).map(|_| ()).map_err(|e| sqlite_error(e, text)),
            Conn::Postgres(client, _) => client.batch_execute(text).map_err(|e| postgres_error(e, text)),
        };
        done.map_err(|failed| self.fail(failed))
    }

    /// Runs a statement and counts the rows that it changed.
    pub(crate) fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StoreError> {
        debug_assert!(self.writable, "a read-only transaction was asked to write");
        self.shared.statements.fetch_add(1, Ordering::Relaxed);
        let done = match &mut self.conn {
            Conn::Sqlite(conn, texts) => sqlite_execute(conn, texts.get(sql), params).map_err(|e| sqlite_error(e, sql)),
            Conn::Postgres(client, statements) => {
                statements.get(client, sql).and_then(|s| client.execute(&s, &as_dyn(params))).map_err(|e| postgres_error(e, sql))
            }
        };
        done.map_err(|failed| self.fail(failed))
    }

    /// Runs a statement and reads its rows.
    pub(crate) fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.shared.statements.fetch_add(1, Ordering::Relaxed);
        let done = match &mut self.conn {
            Conn::Sqlite(conn, texts) => sqlite_query(conn, texts.get(sql), params).map_err(|e| sqlite_error(e, sql)),
            Conn::Postgres(client, statements) => {
                let rows = statements.get(client, sql).and_then(|s| client.query(&s, &as_dyn(params)));
                rows.and_then(|rows| rows.iter().map(postgres_row).collect()).map_err(|e| postgres_error(e, sql))
            }
        };
        done.map_err(|failed| self.fail(failed))
    }

    /// Runs a statement and reads its first row, if it has one.
    pub(crate) fn query_opt(&mut self, sql: &'static str, params: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    /// Inserts many rows. A server is asked as seldom as it allows; in the same process a prepared statement a row is
    /// cheaper than a text for every number of rows.
    pub(crate) fn insert_rows(&mut self, table: &'static str, columns: &[&str], rows: &[Vec<Value>]) -> Result<(), StoreError> {
        self.shared.statements.fetch_add(1, Ordering::Relaxed);
        // PostgreSQL takes 65,535 parameters; statements of 50 rows keep the number of texts small.
        const ROWS_PER_STATEMENT: usize = 50;
        let done = match &mut self.conn {
            Conn::Sqlite(conn, texts) => {
                let text = texts.insert(table, columns);
                rows.iter().try_for_each(|row| sqlite_execute(conn, text, row).map(|_| ()).map_err(|e| sqlite_error(e, text)))
            }
            Conn::Postgres(client, statements) => rows.chunks(ROWS_PER_STATEMENT).try_for_each(|chunk| {
                let text = insert_text(table, columns, chunk.len());
                let flat: Vec<Value> = chunk.iter().flatten().cloned().collect();
                let inserted = statements.get(client, &text).and_then(|s| client.execute(&s, &as_dyn(&flat)));
                inserted.map(|_| ()).map_err(|e| postgres_error(e, &text))
            }),
        };
        done.map_err(|failed| self.fail(failed))
    }

    fn fail(&mut self, failed: Failed) -> StoreError {
        self.trouble = self.trouble.or(failed.trouble);
        failed.error
    }
}

/// `INSERT` of so many rows.
fn insert_text(table: &str, columns: &[&str], rows: usize) -> String {
    let tuple = |row: usize| {
        let places: Vec<String> = (1..=columns.len()).map(|n| format!("${}", row * columns.len() + n)).collect();
        format!("({})", places.join(", "))
    };
    let tuples: Vec<String> = (0..rows).map(tuple).collect();
    format!("INSERT INTO {table} ({}) VALUES {}", columns.join(", "), tuples.join(", "))
}

impl SqliteTexts {
    /// The insertion of one row; a table is always filled by the same columns.
    fn insert(&mut self, table: &'static str, columns: &[&str]) -> &str {
        self.inserts.entry(table).or_insert_with(|| sql::for_sqlite(&insert_text(table, columns, 1)))
    }

    fn get(&mut self, sql: &'static str) -> &str {
        let forgotten = self.forgotten;
        self.known.entry((sql.as_ptr().addr(), sql.len())).or_insert_with(|| {
            let text = forgotten.map_or_else(|| sql.to_owned(), |(condition, instead)| sql.replace(condition, instead));
            sql::for_sqlite(&text)
        })
    }
}

impl PreparedStatements {
    fn get(&mut self, client: &mut postgres::Client, sql: &str) -> Result<postgres::Statement, postgres::Error> {
        if let Some(statement) = self.0.get(sql) {
            return Ok(statement.clone());
        }
        let statement = client.prepare(sql)?;
        self.0.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

fn as_dyn(params: &[Value]) -> Vec<&(dyn postgres::types::ToSql + Sync)> {
    params.iter().map(|p| p as &(dyn postgres::types::ToSql + Sync)).collect()
}

fn postgres_row(row: &postgres::Row) -> Result<Row, postgres::Error> {
    (0..row.len()).map(|index| row.try_get::<_, Value>(index)).collect::<Result<Vec<_>, _>>().map(Row)
}

pub(crate) fn sqlite_execute(conn: &rusqlite::Connection, text: &str, params: &[Value]) -> rusqlite::Result<u64> {
    let mut statement = conn.prepare_cached(text)?;
    statement.execute(rusqlite::params_from_iter(params)).map(|n| n as u64)
}

fn sqlite_query(conn: &rusqlite::Connection, text: &str, params: &[Value]) -> rusqlite::Result<Vec<Row>> {
    let mut statement = conn.prepare_cached(text)?;
    let columns = statement.column_count();
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let values = (0..columns).map(|index| row.get_ref(index).map(sqlite_value)).collect::<Result<Vec<_>, _>>()?;
        found.push(Row(values));
    }
    Ok(found)
}

fn sqlite_value(value: rusqlite::types::ValueRef<'_>) -> Value {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => Value::Int(n),
        // No column is REAL; an expression that yields one is cast in its statement.
        #[expect(clippy::cast_possible_truncation, reason = "see above")]
        ValueRef::Real(n) => Value::Int(n as i64),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

/// A failed statement: what the caller is told, and what the engine makes of it.
pub(crate) struct Failed {
    pub(crate) error: StoreError,
    pub(crate) trouble: Option<Trouble>,
}

pub(crate) fn sqlite_error(error: rusqlite::Error, context: &str) -> Failed {
    use rusqlite::ErrorCode;
    let code = error.sqlite_error_code();
    let trouble = match code {
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::OutOfMemory) => Some(Trouble::NoRoom),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OperationInterrupted) => Some(Trouble::Again),
        _ => None,
    };
    let conflict = (code == Some(ErrorCode::ConstraintViolation)).then(|| sqlite_conflict(&error)).flatten();
    let error = match (conflict, trouble) {
        (Some(conflict), _) => StoreError::Taken(conflict),
        (None, Some(_)) => StoreError::Unavailable(error.to_string()),
        (None, None) => StoreError::fault(shorten(context), error),
    };
    Failed { error, trouble }
}

/// SQLite names no constraint but says `UNIQUE constraint failed: table.a, table.b`.
fn sqlite_conflict(error: &rusqlite::Error) -> Option<Conflict> {
    let text = error.to_string();
    let list = text.split("UNIQUE constraint failed: ").nth(1)?;
    let table = list.split('.').next()?.to_owned();
    let columns = list.split(", ").map(|column| column.split('.').next_back().unwrap_or(column).trim().to_owned());
    Some(Conflict { table, columns: columns.collect::<Vec<_>>().join(", ") })
}

pub(crate) fn postgres_error(error: postgres::Error, context: &str) -> Failed {
    use postgres::error::SqlState;
    let again = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ];
    let no_room = [SqlState::DISK_FULL, SqlState::OUT_OF_MEMORY, SqlState::TOO_MANY_CONNECTIONS];
    let trouble = match error.code() {
        Some(code) if again.contains(code) => Some(Trouble::Again),
        Some(code) if no_room.contains(code) => Some(Trouble::NoRoom),
        Some(_) => None,
        None => Some(Trouble::Lost),
    };
    let taken = error.code() == Some(&SqlState::UNIQUE_VIOLATION);
    let conflict = error.as_db_error().filter(|_| taken).and_then(postgres_conflict);
    let error = match (conflict, trouble) {
        (Some(conflict), _) => StoreError::Taken(conflict),
        (None, Some(_)) => StoreError::Unavailable(error.to_string()),
        (None, None) => StoreError::fault(shorten(context), error),
    };
    Failed { error, trouble }
}

/// PostgreSQL says `Key (a, b)=(…) already exists.`; the values stay behind.
fn postgres_conflict(error: &postgres::error::DbError) -> Option<Conflict> {
    let detail = error.detail()?;
    let columns = detail.strip_prefix("Key (")?.split(")=").next()?.to_owned();
    Some(Conflict { table: error.table()?.to_owned(), columns })
}

fn shorten(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(160).collect()
}
