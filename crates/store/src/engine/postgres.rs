//! PostgreSQL: worker threads with a connection each. A closure takes its row locks in one order, runs, commits.
//!
//! It is run again when another transaction was in the way or the connection was lost before COMMIT; a connection
//! lost during COMMIT is settled by asking the server what became of the transaction, never by a guess.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use allclear_base::crash;
use allclear_base::metrics::metrics;
use allclear_domain::catalog::Catalog;
use postgres::config::TargetSessionAttrs;
use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage};

use super::queue::Queue;
use super::tls::Way;
use super::{End, Job, Shared, begin};
use crate::tx::{Conn, PreparedStatements, Trouble, postgres_error};
use crate::value::params;
use crate::{StoreError, migrate};

/// Connections: two cores on our side keep about this many busy.
const WORKERS: usize = 8;

/// How often a closure is run before its caller hears that it could not be.
const MOST_RUNS: u32 = 5;

/// A connection is replaced after this long, so that a changed server setting or address takes effect.
const CONNECTION_LIFE_US: i64 = 30 * 60 * 1_000_000;

pub(super) struct Postgres {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The connection by whose life other processes know that this one lives.
    presence: Mutex<Option<Client>>,
}

impl Postgres {
    pub(super) fn open(url: &str, shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let way = configure(url)?;
        let mut client = connect(&way)?;
        migrate::postgres(&mut client, shared.now())?;
        claim_presence(&mut client)?;
        let queue = Arc::new(Queue::new());
        let mut threads = Vec::new();
        for at in 0..WORKERS {
            let mut worker = Worker::open(&way, shared)?;
            if at == 0 {
                worker.load_catalog()?;
            }
            let queue = Arc::clone(&queue);
            let spawned = std::thread::Builder::new().name("store-worker".into()).spawn(move || worker.work(&queue));
            threads.push(spawned.map_err(|e| StoreError::Open(format!("no thread for the database: {e}")))?);
        }
        Ok(Self { queue, threads: Mutex::new(threads), presence: Mutex::new(Some(client)) })
    }

    pub(super) fn submit(&self, job: Box<dyn Job>) -> Result<(), Box<dyn Job>> {
        self.queue.push(job)
    }

    pub(super) fn close(&self) {
        self.queue.close();
        let threads: Vec<_> = self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        drop(self.presence.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

pub(super) fn open_one(url: &str, shared: &Arc<Shared>) -> Result<Worker, StoreError> {
    let way = configure(url)?;
    migrate::postgres(&mut connect(&way)?, shared.now())?;
    let mut worker = Worker::open(&way, shared)?;
    worker.load_catalog()?;
    Ok(worker)
}

/// The defaults of the protocol wait for two hours on a dead server; these do not.
fn configure(url: &str) -> Result<Way, StoreError> {
    let mut way = Way::parse(url)?;
    way.config
        .application_name("allclear")
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .connect_timeout(Duration::from_secs(3))
        .keepalives_idle(Duration::from_secs(5))
        .tcp_user_timeout(Duration::from_secs(10))
        .options("-c statement_timeout=15000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=30000");
    Ok(way)
}

/// A server that refuses with a reason says so at once; one that cannot be reached, or is only starting, may come.
fn connect(way: &Way) -> Result<Client, StoreError> {
    way.connect().map_err(|e| {
        let cause = std::error::Error::source(&e).map_or(String::new(), |s| format!(": {s}"));
        let why = format!("PostgreSQL does not answer: {e}{cause}");
        match e.code() {
            None | Some(&SqlState::CANNOT_CONNECT_NOW | &SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN) => StoreError::Away(why),
            Some(_) => StoreError::Open(why),
        }
    })
}

/// Refuses where another process is connected as the one that runs this database.
fn claim_presence(client: &mut Client) -> Result<(), StoreError> {
    let fault = |e: postgres::Error| postgres_error(e, "claiming the database").error;
    let mut tx = client.transaction().map_err(fault)?;
    if !tx.query(migrate::OWNED_BY_ANOTHER, &[]).map_err(fault)?.is_empty() {
        return Err(StoreError::InUse("this PostgreSQL database".to_owned()));
    }
    let claim = "INSERT INTO meta (key, value) SELECT 'presence', pid::text || ' ' || backend_start::text FROM pg_stat_activity \
                 WHERE pid = pg_backend_pid() ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value";
    tx.execute(claim, &[]).map_err(fault)?;
    tx.commit().map_err(fault)
}

pub(super) struct Worker {
    client: Option<Client>,
    connected_at_us: i64,
    statements: PreparedStatements,
    way: Way,
    shared: Arc<Shared>,
}

/// What one run of a closure led to.
enum Ran {
    Done(End),
    Again(StoreError),
}

impl Worker {
    fn open(way: &Way, shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let client = connect(way)?;
        Ok(Self {
            client: Some(client),
            connected_at_us: shared.clock.now_us(),
            statements: PreparedStatements::default(),
            way: way.clone(),
            shared: Arc::clone(shared),
        })
    }

    fn load_catalog(&mut self) -> Result<(), StoreError> {
        let Some(client) = &mut self.client else { return Ok(()) };
        let mut tx = begin(Conn::Postgres(client, &mut self.statements), &self.shared, Arc::new(Catalog::default()), false);
        let catalog = crate::record::resource::load_catalog(&mut tx)?;
        // No mark is written with each commit here; what happened last is close enough to know that a clock was set back.
        let last =
            tx.query_opt("SELECT GREATEST((SELECT max(started_at) FROM run), (SELECT max(updated_at) FROM resource), 0)", params![])?;
        let at = last.map_or(Ok(0), |row| row.int(0))?;
        self.shared.committed(allclear_domain::Timestamp(at), &Arc::new(catalog), &Default::default());
        Ok(())
    }

    fn work(mut self, queue: &Queue) {
        while let Some(jobs) = queue.take(1) {
            for job in jobs {
                self.run(job);
            }
        }
    }

    /// Runs a closure to its end, again where that may help.
    pub(super) fn run(&mut self, mut job: Box<dyn Job>) {
        if job.deadline() < self.shared.now() {
            return job.answer(End::Failed(StoreError::TooLate));
        }
        let mut runs = 0;
        loop {
            runs += 1;
            match self.run_once(&mut job) {
                Ran::Done(end) => return job.answer(end),
                Ran::Again(error) if runs >= MOST_RUNS => return job.answer(End::Failed(error)),
                Ran::Again(_) => self.pause(runs),
            }
        }
    }

    /// A short pause of random length, so that two closures that met do not meet again.
    #[expect(clippy::disallowed_methods, reason = "the store's own thread waits; no clock that a simulation moves is involved")]
    fn pause(&self, runs: u32) {
        std::thread::sleep(Duration::from_millis(self.shared.rng.below(u64::from(runs) * 20)));
    }

    fn run_once(&mut self, job: &mut Box<dyn Job>) -> Ran {
        if let Err(error) = self.ensure_connected() {
            return Ran::Again(StoreError::Unavailable(error.to_string()));
        }
        let Some(client) = &mut self.client else { return Ran::Again(StoreError::Unavailable("no connection".into())) };
        let at_once = job.write().writes && job.write().locks.is_empty();
        let begun = match begin_transaction(client, at_once) {
            Ok(begun) => begun,
            Err(error) => return self.failed(postgres_error(error, BEGIN)),
        };
        let catalog = self.shared.catalog.load_full();
        let mut tx = begin(Conn::Postgres(client, &mut self.statements), &self.shared, catalog, job.write().writes);
        let prepared = prepare(&mut tx, job.write().locks.clone(), begun);
        let (keep, xid) = match prepared {
            Ok(xid) => (self.shared.run(&mut **job, &mut tx), xid),
            Err(error) => {
                let trouble = tx.trouble;
                return self.give_up(trouble, error);
            }
        };
        let (trouble, signals, catalog, at) = (tx.trouble, std::mem::take(&mut tx.signals), Arc::clone(&tx.catalog), tx.now);
        if let Some(trouble) = trouble {
            return self.give_up(Some(trouble), StoreError::Unavailable("the database was busy or went away".into()));
        }
        if !keep {
            return match self.roll_back() {
                Ok(()) => Ran::Done(End::Refused),
                Err(error) => Ran::Again(error),
            };
        }
        crash::point("store.before_commit");
        let begun_us = self.shared.clock.now_us();
        let end = self.commit(xid);
        crash::point("store.after_commit");
        if matches!(end, Ran::Done(End::Committed)) {
            metrics().commit(self.shared.clock.now_us().saturating_sub(begun_us));
            self.shared.committed(at, &catalog, &signals);
        }
        end
    }

    fn commit(&mut self, xid: Option<String>) -> Ran {
        let Some(client) = &mut self.client else { return Ran::Again(StoreError::Unavailable("no connection".into())) };
        match client.batch_execute("COMMIT") {
            Ok(()) => Ran::Done(End::Committed),
            Err(error) => {
                let failed = postgres_error(error, "COMMIT");
                match (failed.trouble, xid) {
                    (Some(Trouble::Lost), Some(xid)) => self.settle_commit(&xid, failed.error),
                    (Some(Trouble::Lost), None) => self.failed(failed),
                    _ => self.failed(failed),
                }
            }
        }
    }

    /// Asks the server what became of a transaction whose COMMIT got no answer.
    fn settle_commit(&mut self, xid: &str, error: StoreError) -> Ran {
        self.client = None;
        for runs in 1..=MOST_RUNS {
            if self.ensure_connected().is_ok()
                && let Some(client) = &mut self.client
                && let Ok(row) = client.query_one("SELECT pg_xact_status($1::text::xid8)", &[&xid])
            {
                return match row.try_get::<_, Option<String>>(0).ok().flatten().as_deref() {
                    Some("committed") => Ran::Done(End::Committed),
                    Some("aborted") => Ran::Again(error),
                    _ => Ran::Done(End::Failed(StoreError::OutcomeUnknown(error.to_string()))),
                };
            }
            self.pause(runs * 10);
        }
        Ran::Done(End::Failed(StoreError::OutcomeUnknown(error.to_string())))
    }

    fn failed(&mut self, failed: crate::tx::Failed) -> Ran {
        self.give_up(failed.trouble, failed.error)
    }

    fn give_up(&mut self, trouble: Option<Trouble>, error: StoreError) -> Ran {
        if trouble == Some(Trouble::Lost) || self.roll_back().is_err() {
            self.client = None;
        }
        match trouble {
            Some(Trouble::Again | Trouble::Lost) => Ran::Again(error),
            Some(Trouble::NoRoom) | None => Ran::Done(End::Failed(error)),
        }
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        let Some(client) = &mut self.client else { return Ok(()) };
        client.batch_execute("ROLLBACK").map_err(|e| {
            let error = postgres_error(e, "ROLLBACK").error;
            self.client = None;
            error
        })
    }

    fn ensure_connected(&mut self) -> Result<(), StoreError> {
        let now = self.shared.clock.now_us();
        let usable = self.client.as_ref().is_some_and(|client| !client.is_closed());
        if usable && now.saturating_sub(self.connected_at_us) < CONNECTION_LIFE_US {
            return Ok(());
        }
        self.statements = PreparedStatements::default();
        self.client = Some(connect(&self.way)?);
        self.connected_at_us = now;
        Ok(())
    }
}

const BEGIN: &str = "BEGIN; SELECT rev, pg_current_xact_id()::text FROM catalog WHERE id = 1";

/// The configuration's revision and the transaction's number, where they were asked for with the begin.
type Begun = Option<(i64, String)>;

/// Begins a transaction; one that takes no locks first learns what it must know in the same message to the server.
fn begin_transaction(client: &mut Client, at_once: bool) -> Result<Begun, postgres::Error> {
    if !at_once {
        client.batch_execute("BEGIN")?;
        return Ok(None);
    }
    let row = client.simple_query(BEGIN)?.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(row.and_then(|row| Some((row.get(0)?.parse().ok()?, row.get(1)?.to_owned()))))
}

/// Takes the locks, brings the configuration up to date and learns the transaction's number.
fn prepare(tx: &mut crate::Tx<'_>, locks: std::collections::BTreeSet<crate::Lock>, begun: Begun) -> Result<Option<String>, StoreError> {
    if !tx.writable {
        return Ok(None);
    }
    if let Some((rev, xid)) = begun {
        tx.see_catalog(rev)?;
        return Ok(Some(xid));
    }
    tx.take_locks(locks)?;
    let row = tx.query_opt("SELECT rev, pg_current_xact_id()::text FROM catalog WHERE id = 1", params![])?;
    let Some(row) = row else { return Ok(None) };
    tx.see_catalog(row.int(0)?)?;
    Ok(Some(row.text(1)?.to_owned()))
}
