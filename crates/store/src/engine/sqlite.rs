//! The embedded database: one writer that commits closures in groups, a few readers, a checkpointer.
//!
//! The closures of a group run one after the other; one COMMIT makes all of them durable, then all callers are answered. When
//! one fails that has written already, the group runs once more with a savepoint for each. When the disk is full, SQLite
//! may roll the whole transaction back without saying so: then nobody is answered and the group runs again, one by one,
//! so that each closure gets its true answer.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use allclear_base::crash;
use allclear_base::metrics::metrics;
use allclear_domain::catalog::Catalog;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::planted::Planted;
use super::queue::{GROUP, Queue};
use super::{End, Job, Lane, Shared, begin};
use crate::tx::{Conn, SqliteTexts, Trouble, sqlite_error, sqlite_execute};
use crate::{StoreError, migrate};

/// Readers for pages and answers: on two cores more would only wait for each other.
const READERS: usize = 2;

/// A reader may take this long; a page that needs more is a fault of ours.
const READ_LIMIT: Duration = Duration::from_millis(2_500);

/// The log is written back into the database when about so many rows or commits were added: some 4 to 16 MB.
const CHECKPOINT_AFTER: u64 = 2_000;

/// From this size on the writer writes the log back itself and lets everybody wait: beside a writer that never rests the log
/// is never written back whole, and never begun anew.
const WAL_TOO_LONG: u64 = 40 << 20;

/// A frame of the log: a page with its head.
const FRAME_BYTES: u64 = 4_096 + 24;

/// What is kept of the log's file: to write where a file is already costs less than to let it grow anew.
const WAL_KEPT_BYTES: i64 = 64 << 20;

/// Above this size of the log somebody must look: a reader may be stuck.
const WAL_ALARM_BYTES: u64 = 256 << 20;

/// How the database is opened.
pub(super) struct Settings {
    pub(super) synchronous_normal: bool,
    pub(super) max_pages: Option<u32>,
}

pub(super) struct Sqlite {
    writes: Arc<Queue>,
    reads: Arc<Queue>,
    /// What those who send look at has a reader of its own: no page of the app holds it up.
    looks: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<File>>,
}

impl Sqlite {
    pub(super) fn open(folder: &Path, settings: &Settings, shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let lock = lock_folder(folder)?;
        let file = folder.join("allclear.db");
        let mut writer = Writer::open(&file, settings, shared)?;
        migrate::sqlite(&mut writer.conn, &file, shared.now())?;
        writer.recover()?;
        let (writes, reads, looks) = (Arc::new(Queue::new()), Arc::new(Queue::new()), Arc::new(Queue::new()));
        let mut threads = Vec::new();
        let (due, asked) = mpsc::sync_channel(1);
        writer.checkpoint_due = Some(due);
        let conn = open_connection(&file, settings, false)?;
        let frames = Arc::clone(&writer.log_frames);
        threads.push(spawn("store-checkpoint", move || checkpoint_loop(&conn, &asked, &frames))?);
        {
            let queue = Arc::clone(&writes);
            threads.push(spawn("store-writer", move || writer.work(&queue))?);
        }
        for (name, queue) in [("store-look", &looks)].into_iter().chain([("store-reader", &reads); READERS]) {
            let (queue, shared) = (Arc::clone(queue), Arc::clone(shared));
            let conn = open_connection(&file, settings, true)?;
            threads.push(spawn(name, move || read_loop(conn, &queue, &shared))?);
        }
        Ok(Self { writes, reads, looks, threads: Mutex::new(threads), lock: Mutex::new(Some(lock)) })
    }

    pub(super) fn write(&self, job: Box<dyn Job>) -> Result<(), Box<dyn Job>> {
        self.writes.push(job)
    }

    pub(super) fn read(&self, job: Box<dyn Job>) -> Result<(), Box<dyn Job>> {
        if job.write().lane == Lane::Act { self.looks.push(job) } else { self.reads.push(job) }
    }

    pub(super) fn close(&self) {
        self.reads.close();
        self.looks.close();
        self.writes.close();
        let threads: Vec<_> = self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(|e| StoreError::Open(format!("no thread for the database: {e}")))
}

/// Takes the folder for this process alone.
pub(crate) fn lock_folder(folder: &Path) -> Result<File, StoreError> {
    let fail = |what: &str, e: std::io::Error| StoreError::Open(format!("{what} {}: {e}", folder.display()));
    crate::make_folder(folder).map_err(|e| fail("cannot make the data folder", e))?;
    if let Some(kind) = network_file_system(folder) {
        let folder = folder.display();
        return Err(StoreError::Open(format!("{folder} is on a network file system ({kind}), where SQLite loses data; use a local disk")));
    }
    let file = File::create(folder.join("lock")).map_err(|e| fail("cannot write to the data folder", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(folder.display().to_string())),
        Err(TryLockError::Error(e)) => Err(fail("cannot lock the data folder", e)),
    }
}

/// The kind of network file system that a folder is on, as far as the system says.
fn network_file_system(folder: &Path) -> Option<String> {
    const NETWORK: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.s3fs", "glusterfs", "ceph"];
    let folder = folder.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = |line: &str| {
        let mut words = line.split(' ').skip(1);
        Some((PathBuf::from(words.next()?), words.next()?.to_owned()))
    };
    let of_folder = mounts.lines().filter_map(mount).filter(|(at, _)| folder.starts_with(at));
    let (_, kind) = of_folder.max_by_key(|(at, _)| at.as_os_str().len())?;
    NETWORK.contains(&kind.as_str()).then_some(kind)
}

fn open_connection(file: &Path, settings: &Settings, reader: bool) -> Result<Connection, StoreError> {
    let open = || -> rusqlite::Result<Connection> {
        let conn = Connection::open(file)?;
        conn.set_prepared_statement_cache_capacity(256);
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", if settings.synchronous_normal { "NORMAL" } else { "FULL" })?;
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        // A log that was written back and is begun anew is as short as this.
        conn.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
        // Without this, statements are prepared anew whenever a bound value might suit another plan: each claim, each look
        // at the timers.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // What a savepoint may have to undo is kept in memory: in a file it would be written as often as the log.
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        conn.busy_timeout(Duration::from_secs(5))?;
        conn.pragma_update(None, "cache_size", -8_000)?;
        if let Some(pages) = settings.max_pages {
            conn.pragma_update(None, "max_page_count", pages)?;
        }
        if reader {
            conn.pragma_update(None, "query_only", true)?;
        }
        Ok(conn)
    };
    let conn = open().map_err(|e| StoreError::Open(format!("{}: {e}", file.display())))?;
    check_settings(&conn, settings)?;
    Ok(conn)
}

/// A setting that did not take is a broken promise, found at start and not after a power cut.
fn check_settings(conn: &Connection, settings: &Settings) -> Result<(), StoreError> {
    let number = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let mode: rusqlite::Result<String> = conn.pragma_query_value(None, "journal_mode", |row| row.get(0));
    let expected = i64::from(!settings.synchronous_normal) + 1;
    let checks = [
        ("journal_mode", mode.is_ok_and(|mode| mode == "wal")),
        ("synchronous", number("synchronous").is_ok_and(|n| n == expected)),
        ("foreign_keys", number("foreign_keys").is_ok_and(|n| n == 1)),
    ];
    match checks.iter().find(|(_, holds)| !holds) {
        Some((name, _)) => Err(StoreError::Open(format!("SQLite did not accept the setting {name}"))),
        None => Ok(()),
    }
}

pub(super) struct Writer {
    conn: Connection,
    texts: SqliteTexts,
    shared: Arc<Shared>,
    file: PathBuf,
    settings: Settings,
    seq: i64,
    /// Rows and commits since the log was last asked to be written back.
    added: u64,
    /// Where that is asked for; nobody is there for a database in memory.
    checkpoint_due: Option<SyncSender<()>>,
    /// What the log held when it was written back last.
    log_frames: Arc<AtomicU64>,
}

/// What can be undone within a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    /// Only all of it. Most closures that fail have written nothing, and copying every page before it changes costs more
    /// than running a group once more.
    Nothing,
    /// Each closure by itself.
    Each,
}

/// What became of a group.
enum Group {
    /// Every closure has its own end.
    Committed,
    /// The transaction was lost on the way; nobody was answered.
    Lost,
    /// A closure failed after it had written, and could not be undone by itself; nobody was answered.
    Again,
    /// Whether the commit succeeded is not known.
    Unknown(String),
}

impl Writer {
    fn open(file: &Path, settings: &Settings, shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let conn = open_connection(file, settings, false)?;
        let settings = Settings { synchronous_normal: settings.synchronous_normal, max_pages: settings.max_pages };
        Ok(Self {
            conn,
            texts: SqliteTexts::default(),
            shared: Arc::clone(shared),
            file: file.to_owned(),
            settings,
            seq: 0,
            added: 0,
            checkpoint_due: None,
            log_frames: Arc::default(),
        })
    }

    /// A database in memory.
    pub(super) fn in_memory(shared: &Arc<Shared>, planted: Option<Planted>) -> Result<Self, StoreError> {
        let conn = Connection::open_in_memory().map_err(|e| StoreError::Open(e.to_string()))?;
        conn.set_prepared_statement_cache_capacity(256);
        conn.pragma_update(None, "foreign_keys", true).map_err(|e| StoreError::Open(e.to_string()))?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(|e| StoreError::Open(e.to_string()))?;
        let settings = Settings { synchronous_normal: true, max_pages: None };
        let mut writer = Self {
            conn,
            texts: SqliteTexts::default(),
            shared: Arc::clone(shared),
            file: PathBuf::new(),
            settings,
            seq: 0,
            added: 0,
            checkpoint_due: None,
            log_frames: Arc::default(),
        };
        migrate::sqlite_fresh(&mut writer.conn, shared.now())?;
        match planted {
            Some(Planted::Trigger(sql)) => writer.conn.execute_batch(sql).map_err(|e| StoreError::Open(e.to_string()))?,
            Some(Planted::Forgotten(condition, instead)) => writer.texts.forgotten = Some((condition, instead)),
            None => {}
        }
        writer.recover()?;
        Ok(writer)
    }

    /// Reads the last commit's mark and time, and the configuration.
    fn recover(&mut self) -> Result<(), StoreError> {
        let mark = self.conn.query_row("SELECT seq, at FROM commit_mark WHERE id = 1", [], |row| Ok((row.get(0)?, row.get(1)?)));
        let (seq, at): (i64, i64) = mark.map_err(|e| StoreError::fault("reading the commit mark", e))?;
        self.seq = seq;
        let mut tx = begin(Conn::Sqlite(&self.conn, &mut self.texts), &self.shared, Arc::new(Catalog::default()), false);
        let catalog = crate::record::resource::load_catalog(&mut tx)?;
        self.shared.committed(allclear_domain::Timestamp(at), &Arc::new(catalog), &Default::default());
        Ok(())
    }

    fn work(mut self, queue: &Queue) {
        while let Some(jobs) = queue.take(GROUP) {
            self.run(jobs);
            self.checkpoint_if_due();
        }
        self.checkpoint_due = None;
        checkpoint(&self.conn, "TRUNCATE");
    }

    /// Runs a group; if its transaction is lost, runs its closures again one by one.
    pub(super) fn run(&mut self, jobs: Vec<Box<dyn Job>>) {
        let now = self.shared.now();
        let (mut jobs, late): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.deadline() >= now);
        late.into_iter().for_each(|job| job.answer(End::Failed(StoreError::TooLate)));
        if jobs.is_empty() {
            return;
        }
        let mut kept = Vec::new();
        let mut outcome = self.run_group(&mut jobs, &mut kept, Undo::Nothing);
        if matches!(outcome, Ok(Group::Again)) {
            kept.clear();
            outcome = self.run_group(&mut jobs, &mut kept, Undo::Each);
        }
        match outcome {
            Ok(Group::Committed) => answer_all(jobs, &kept),
            Ok(Group::Unknown(why)) => {
                jobs.into_iter().for_each(|job| job.answer(End::Failed(StoreError::OutcomeUnknown(why.clone()))));
            }
            Ok(Group::Lost) if jobs.len() > 1 => jobs.into_iter().for_each(|job| self.run(vec![job])),
            Ok(Group::Lost | Group::Again) => fail_all(jobs, "the disk is full or fails"),
            Err(error) => fail_all(jobs, &error.chain()),
        }
    }

    /// One transaction. `kept` says of each closure whether it is part of it.
    fn run_group(&mut self, jobs: &mut [Box<dyn Job>], kept: &mut Vec<bool>, undo: Undo) -> Result<Group, StoreError> {
        let batch = |conn: &Connection, text: &str| sqlite_execute(conn, text, &[]).map(|_| ()).map_err(|e| sqlite_error(e, text).error);
        if let Err(error) = batch(&self.conn, "BEGIN IMMEDIATE") {
            self.reopen();
            return Err(error);
        }
        let mut catalog = self.shared.catalog.load_full();
        let mut signals = std::collections::BTreeSet::new();
        let mut at = self.shared.now();
        let changes = self.conn.total_changes();
        for job in jobs.iter_mut() {
            let before = self.conn.total_changes();
            if undo == Undo::Each {
                batch(&self.conn, "SAVEPOINT job")?;
            }
            let mut tx = begin(Conn::Sqlite(&self.conn, &mut self.texts), &self.shared, Arc::clone(&catalog), true);
            tx.now = tx.now.max(at);
            at = tx.now;
            tx.held.clone_from(&job.write().locks);
            let keep = self.shared.run(&mut **job, &mut tx) && tx.trouble.is_none();
            let (trouble, asked, changed) = (tx.trouble, std::mem::take(&mut tx.signals), Arc::clone(&tx.catalog));
            if self.conn.is_autocommit() || trouble == Some(Trouble::NoRoom) {
                self.roll_back();
                return Ok(Group::Lost);
            }
            if keep {
                catalog = changed;
                signals.extend(asked);
            } else if undo == Undo::Each {
                batch(&self.conn, "ROLLBACK TO job")?;
            } else if self.conn.total_changes() != before {
                self.roll_back();
                return Ok(Group::Again);
            }
            if undo == Undo::Each {
                batch(&self.conn, "RELEASE job")?;
            }
            kept.push(keep);
        }
        if !kept.contains(&true) {
            self.roll_back();
            return Ok(Group::Committed);
        }
        if self.conn.total_changes() == changes {
            // Nothing was written, so that there is nothing to keep: a claim that finds no work costs no sync.
            self.roll_back();
            self.shared.unchanged(&signals);
            return Ok(Group::Committed);
        }
        self.added += self.conn.total_changes().saturating_sub(changes);
        self.commit(at, &catalog, &signals)
    }

    fn commit(
        &mut self,
        at: allclear_domain::Timestamp,
        catalog: &Arc<Catalog>,
        signals: &std::collections::BTreeSet<crate::Signal>,
    ) -> Result<Group, StoreError> {
        let seq = self.seq + 1;
        let marked =
            self.conn.prepare_cached("UPDATE commit_mark SET seq = ?1, at = ?2 WHERE id = 1").and_then(|mut s| s.execute([seq, at.0]));
        if marked.is_err() {
            self.roll_back();
            return Ok(Group::Lost);
        }
        crash::point("store.before_commit");
        let begun_us = self.shared.clock.now_us();
        if let Err(error) = sqlite_execute(&self.conn, "COMMIT", &[]) {
            let why = error.to_string();
            tracing::error!(error = %why, "a commit failed; the database is opened again to see what was kept");
            return Ok(self.settle_commit(seq, why));
        }
        crash::point("store.after_commit");
        metrics().commit(self.shared.clock.now_us().saturating_sub(begun_us));
        self.seq = seq;
        self.added += 1;
        self.shared.committed(at, catalog, signals);
        Ok(Group::Committed)
    }

    /// A failed COMMIT or fsync proves nothing: the mark tells what is on disk.
    fn settle_commit(&mut self, seq: i64, why: String) -> Group {
        self.roll_back();
        self.reopen();
        let found = self.conn.query_row("SELECT seq FROM commit_mark WHERE id = 1", [], |row| row.get::<_, i64>(0));
        match found {
            Ok(found) if found < seq => Group::Lost,
            Ok(_) | Err(_) => Group::Unknown(why),
        }
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "a transaction could not be rolled back");
        }
    }

    fn reopen(&mut self) {
        if self.file.as_os_str().is_empty() {
            return;
        }
        match open_connection(&self.file, &self.settings, false) {
            Ok(conn) => {
                self.conn = conn;
                if let Err(error) = self.recover() {
                    tracing::error!(error = error.chain(), "the database was opened again but cannot be read");
                }
            }
            Err(error) => tracing::error!(%error, "the database cannot be opened again"),
        }
    }

    /// The log is written back beside the writer, who waits only where it has grown too long.
    fn checkpoint_if_due(&mut self) {
        let Some(due) = self.checkpoint_due.as_ref().filter(|_| self.added >= CHECKPOINT_AFTER) else { return };
        self.added = 0;
        if self.log_frames.load(Ordering::Relaxed) * FRAME_BYTES >= WAL_TOO_LONG {
            checkpoint(&self.conn, "PASSIVE");
            // It begins anew with the next commit; the checkpointer says when that was not so.
            self.log_frames.store(0, Ordering::Relaxed);
        } else if due.try_send(()).is_err() {
            tracing::debug!("the log is being written back already");
        }
        let size = std::fs::metadata(self.file.with_extension("db-wal")).map_or(0, |found| found.len());
        if size > WAL_ALARM_BYTES {
            tracing::error!(wal.bytes = size, "the database's log grows without being written back");
        }
    }

    /// Reads on the writer's own connection; for the engine without threads.
    pub(super) fn read(&mut self, mut job: Box<dyn Job>) {
        let catalog = self.shared.catalog.load_full();
        let mut tx = begin(Conn::Sqlite(&self.conn, &mut self.texts), &self.shared, catalog, false);
        let ok = job.run(&mut tx);
        job.answer(if ok { End::Committed } else { End::Refused });
    }
}

/// Writes the log back as far as it can; how many frames it holds.
fn checkpoint(conn: &Connection, mode: &str) -> u64 {
    match conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(1)) {
        // Less than none: somebody else writes it back just now.
        Ok(frames) => u64::try_from(frames).unwrap_or(0),
        Err(error) => {
            tracing::warn!(%error, "the database's log could not be written back");
            0
        }
    }
}

/// Writes the log back whenever asked, until nobody asks any more.
fn checkpoint_loop(conn: &Connection, asked: &Receiver<()>, log_frames: &AtomicU64) {
    while asked.recv().is_ok() {
        log_frames.store(checkpoint(conn, "PASSIVE"), Ordering::Relaxed);
    }
}

fn answer_all(jobs: Vec<Box<dyn Job>>, kept: &[bool]) {
    for (job, keep) in jobs.into_iter().zip(kept) {
        job.answer(if *keep { End::Committed } else { End::Refused });
    }
}

fn fail_all(jobs: Vec<Box<dyn Job>>, why: &str) {
    for job in jobs {
        job.answer(End::Failed(StoreError::Unavailable(why.to_owned())));
    }
}

fn read_loop(mut conn: Connection, queue: &Queue, shared: &Arc<Shared>) {
    let mut texts = SqliteTexts::default();
    while let Some(jobs) = queue.take(1) {
        for mut job in jobs {
            let started_us = shared.clock.now_us();
            let clock = Arc::clone(&shared.clock);
            let limit_us = i64::try_from(READ_LIMIT.as_micros()).unwrap_or(i64::MAX);
            let limit = Some(move || clock.now_us().saturating_sub(started_us) > limit_us);
            if let Err(error) = conn.progress_handler(10_000, limit) {
                tracing::warn!(%error, "a reader has no time limit");
            }
            let end = read_one(&conn, &mut texts, shared, &mut job);
            job.answer(end);
        }
    }
}

fn read_one(conn: &Connection, texts: &mut SqliteTexts, shared: &Shared, job: &mut Box<dyn Job>) -> End {
    if let Err(error) = conn.execute_batch("BEGIN") {
        return End::Failed(sqlite_error(error, "BEGIN").error);
    }
    let catalog = shared.catalog.load_full();
    let mut tx = begin(Conn::Sqlite(conn, texts), shared, catalog, false);
    let ok = job.run(&mut tx);
    if !conn.is_autocommit()
        && let Err(error) = conn.execute_batch("ROLLBACK")
    {
        tracing::warn!(%error, "a reader's transaction could not be ended");
    }
    if ok { End::Committed } else { End::Refused }
}
