//! The store itself: closures in, answers out, on threads of its own.

mod inline;
mod planted;
mod postgres;
mod queue;
mod sqlite;
mod tls;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

pub use planted::PLANTED;
pub(crate) use sqlite::lock_folder;

use allclear_base::runtime::Wake;
use allclear_base::{Clock, Rng};
use allclear_domain::catalog::Catalog;
use allclear_domain::{Span, Timestamp};
use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::record::integration::KnownKeys;
use crate::tx::{Conn, Signal, Tx};
use crate::{Lock, StoreError};

/// The order in which waiting closures are taken. Every lane keeps a floor, so that none starves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// People who acknowledge, timers, the outbox.
    Act,
    /// Events from outside.
    Events,
    /// Results of tests.
    Results,
    /// Everything that can wait.
    Housekeeping,
}

/// How a closure is run.
#[derive(Debug, Clone)]
pub struct Write {
    pub(crate) name: &'static str,
    pub(crate) lane: Lane,
    pub(crate) locks: BTreeSet<Lock>,
    pub(crate) patience: Span,
    pub(crate) writes: bool,
}

/// How long a closure may wait for its turn: its caller has been told 503 by then.
const PATIENCE: Span = Span::from_secs(10);

impl Write {
    /// A closure with a name for the log.
    #[must_use]
    pub fn new(name: &'static str, lane: Lane) -> Self {
        Self { name, lane, locks: BTreeSet::new(), patience: PATIENCE, writes: true }
    }

    /// Names an aggregate that the closure may change.
    #[must_use]
    pub fn lock(mut self, lock: Lock) -> Self {
        self.locks.insert(lock);
        self
    }

    /// Names aggregates that the closure may change.
    #[must_use]
    pub fn locks(mut self, locks: impl IntoIterator<Item = Lock>) -> Self {
        self.locks.extend(locks);
        self
    }
}

/// Which database, and where.
#[derive(Debug, Clone)]
pub enum Backend {
    /// The embedded database in a folder of its own.
    Sqlite {
        /// The folder; made if it is not there.
        folder: PathBuf,
        /// Fewer guarantees, for the test that shows that the guarantees are checked.
        #[doc(hidden)]
        synchronous_normal: bool,
        /// A bound on the file, in pages of 4 KiB, for tests of a full disk.
        #[doc(hidden)]
        max_pages: Option<u32>,
    },
    /// A PostgreSQL server.
    Postgres {
        /// `postgres://user@host/database`.
        url: String,
        /// Where evidence is kept.
        folder: PathBuf,
    },
}

impl Backend {
    /// The embedded database in `folder`.
    #[must_use]
    pub fn sqlite(folder: impl Into<PathBuf>) -> Self {
        Self::Sqlite { folder: folder.into(), synchronous_normal: false, max_pages: None }
    }

    /// The folder for evidence and rendered pages.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        match self {
            Self::Sqlite { folder, .. } | Self::Postgres { folder, .. } => folder,
        }
    }
}

/// What the store is opened with.
#[derive(Clone)]
pub struct Options {
    /// Which database.
    pub backend: Backend,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for the pauses between repeated attempts.
    pub rng: Arc<dyn Rng>,
}

/// The wake-ups that follow from commits.
#[derive(Debug, Clone, Default)]
pub struct Wakes {
    /// A timer was set.
    pub timers: Wake,
    /// A delivery was written.
    pub outbox: Wake,
    /// A published page changed.
    pub pages: Wake,
    /// The configuration changed.
    pub catalog: Wake,
    /// Somebody asked for a run.
    pub wishes: Wake,
}

impl Wakes {
    fn wake(&self, signal: Signal) {
        match signal {
            Signal::Timers => self.timers.wake(),
            Signal::Outbox => self.outbox.wake(),
            Signal::Pages => self.pages.wake(),
            Signal::Catalog => self.catalog.wake(),
            Signal::Wishes => self.wishes.wake(),
        }
    }
}

/// A closure that takes longer is a fault of ours: an acknowledgement may wait behind it.
const SLOW_US: i64 = 20_000;

/// What all engines share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) wakes: Wakes,
    pub(crate) integrations: KnownKeys,
    last_committed_us: AtomicI64,
    commits: AtomicU64,
    pub(crate) statements: AtomicU64,
}

impl Shared {
    fn new(options: &Options) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(&options.clock),
            rng: Arc::clone(&options.rng),
            catalog: ArcSwap::from_pointee(Catalog::default()),
            wakes: Wakes::default(),
            integrations: KnownKeys::default(),
            last_committed_us: AtomicI64::new(0),
            commits: AtomicU64::new(0),
            statements: AtomicU64::new(0),
        })
    }

    /// Store time: the clock, but never less than the last committed.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_us().max(self.last_committed_us.load(Ordering::SeqCst)))
    }

    pub(crate) fn committed(&self, at: Timestamp, catalog: &Arc<Catalog>, signals: &BTreeSet<Signal>) {
        self.last_committed_us.fetch_max(at.0, Ordering::SeqCst);
        self.commits.fetch_add(1, Ordering::SeqCst);
        // Two workers may finish in either order; the newer snapshot stays.
        if catalog.rev() > self.catalog.load().rev() {
            self.catalog.rcu(|current| if current.rev() < catalog.rev() { Arc::clone(catalog) } else { Arc::clone(current) });
        }
        self.unchanged(signals);
    }

    /// Runs a changing closure; one that held everybody else up for long is named in the log.
    fn run(&self, job: &mut dyn Job, tx: &mut Tx<'_>) -> bool {
        let begun_us = self.clock.now_us();
        let keep = job.run(tx);
        let took_us = self.clock.now_us().saturating_sub(begun_us);
        if took_us > SLOW_US {
            tracing::warn!(closure = job.write().name, ms = took_us / 1_000, "a change took long");
        }
        keep
    }

    /// After a group that wrote nothing: what its closures asked to wake.
    pub(crate) fn unchanged(&self, signals: &BTreeSet<Signal>) {
        for signal in signals {
            self.wakes.wake(*signal);
        }
    }
}

/// How a closure ended.
pub(crate) enum End {
    /// Its change is on disk.
    Committed,
    /// It returned an error of its own; nothing was changed.
    Refused,
    /// It could not be run or kept.
    Failed(StoreError),
}

/// A closure with its result and the caller that waits for it.
pub(crate) trait Job: Send {
    fn write(&self) -> &Write;
    fn deadline(&self) -> Timestamp;
    /// Runs the closure; whether it wants to be committed.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    fn answer(self: Box<Self>, end: End);
}

struct Closure<T, E, F> {
    write: Write,
    deadline: Timestamp,
    work: F,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Closure<T, E, F>
where
    T: Send,
    E: From<StoreError> + Send,
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send,
{
    fn write(&self) -> &Write {
        &self.write
    }

    fn deadline(&self) -> Timestamp {
        self.deadline
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let ran = std::panic::catch_unwind(AssertUnwindSafe(|| (self.work)(tx)));
        let result = ran.unwrap_or_else(|_| {
            let context = format!("the change \"{}\" panicked", self.write.name);
            Err(E::from(StoreError::Fault { context, source: None }))
        });
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn answer(self: Box<Self>, end: End) {
        let missing = || Err(E::from(StoreError::Fault { context: "a closure was answered before it ran".into(), source: None }));
        let answer = match end {
            End::Committed | End::Refused => self.result.unwrap_or_else(missing),
            End::Failed(error) => Err(E::from(error)),
        };
        // A caller that went away does not want the answer; the change stands all the same.
        let _gone = self.reply.send(answer);
    }
}

/// A database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    engine: Arc<Engine>,
    folder: PathBuf,
}

enum Engine {
    Sqlite(Box<sqlite::Sqlite>),
    Postgres(Box<postgres::Postgres>),
    Inline(inline::Inline),
}

impl Store {
    /// Opens the database, migrates it and loads the configuration. Blocks.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Newer`] or [`StoreError::Open`] with what to do.
    pub fn open(options: &Options) -> Result<Self, StoreError> {
        let shared = Shared::new(options);
        let engine = match &options.backend {
            Backend::Sqlite { folder, synchronous_normal, max_pages } => {
                let settings = sqlite::Settings { synchronous_normal: *synchronous_normal, max_pages: *max_pages };
                Engine::Sqlite(Box::new(sqlite::Sqlite::open(folder, &settings, &shared)?))
            }
            Backend::Postgres { url, .. } => Engine::Postgres(Box::new(postgres::Postgres::open(url, &shared)?)),
        };
        Ok(Self { shared, engine: Arc::new(engine), folder: options.backend.folder().to_owned() })
    }

    /// A database without threads, in memory for SQLite: every closure runs where it is called. For the simulation.
    /// `planted` names a bug that is planted in it (see [`PLANTED`]), to see that it is found.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn inline(options: &Options, planted: Option<&str>) -> Result<Self, StoreError> {
        let shared = Shared::new(options);
        let inline = inline::Inline::open(&options.backend, &shared, planted)?;
        Ok(Self { shared, engine: Arc::new(Engine::Inline(inline)), folder: options.backend.folder().to_owned() })
    }

    /// Until `at` a simulated database fails half of all changes: some are not made, of some nobody learns that they
    /// were. Nothing on a real one.
    pub fn fail_until(&self, at: Timestamp) {
        if let Engine::Inline(inline) = &*self.engine {
            inline.fail_until(at);
        }
    }

    /// Makes a change: runs `work` in a transaction and answers after its commit. `work` may run more than once
    /// and must touch nothing but its transaction.
    ///
    /// # Errors
    /// What `work` returns; [`StoreError::Busy`] when too much waits; other errors of the store.
    pub async fn write<T, E, F>(&self, write: Write, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.submit(write, work).await
    }

    /// Reads in one snapshot. `work` may run more than once.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn read<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.submit(Write { writes: false, ..Write::new(name, Lane::Events) }, work).await
    }

    /// Reads as [`Store::read`] does, but never waits behind a page or an export: for those who send.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn look<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.submit(Write { writes: false, ..Write::new(name, Lane::Act) }, work).await
    }

    async fn submit<T, E, F>(&self, write: Write, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let (deadline, writes) = (self.shared.now().plus(write.patience), write.writes);
        let job: Box<dyn Job> = Box::new(Closure { write, deadline, work, result: None, reply });
        let taken = match (&*self.engine, writes) {
            (Engine::Sqlite(engine), true) => engine.write(job),
            (Engine::Sqlite(engine), false) => engine.read(job),
            (Engine::Postgres(engine), _) => engine.submit(job),
            (Engine::Inline(engine), _) => {
                engine.run(job);
                Ok(())
            }
        };
        if let Err(job) = taken {
            job.answer(End::Failed(StoreError::Busy { retry_after_s: 1 }));
        }
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(E::from(StoreError::Unavailable("the store is shutting down".into()))),
        }
    }

    /// The configuration as last committed.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog.load_full()
    }

    /// Store time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// The wake-ups that follow from commits.
    #[must_use]
    pub fn wakes(&self) -> &Wakes {
        &self.shared.wakes
    }

    /// How many changes were committed since the start: as long as it is the same, nothing that was read has changed.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::SeqCst)
    }

    /// How many statements were run since the start: what a page costs does not grow with its lists.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.shared.statements.load(Ordering::Relaxed)
    }

    /// The folder for evidence and rendered pages.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Answers everything that waits, writes the log back into the database and lets go of it. Blocks.
    pub fn close(&self) {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.close(),
            Engine::Postgres(engine) => engine.close(),
            Engine::Inline(_) => {}
        }
    }
}

/// A transaction's parts at its start.
fn begin<'a>(conn: Conn<'a>, shared: &'a Shared, catalog: Arc<Catalog>, writable: bool) -> Tx<'a> {
    Tx {
        conn,
        now: shared.now(),
        catalog,
        held: BTreeSet::new(),
        made: BTreeSet::new(),
        signals: BTreeSet::new(),
        trouble: None,
        writable,
        shared,
    }
}
