//! The store without threads, for the simulation: every closure runs where it is called.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use allclear_domain::Timestamp;

use super::postgres::Worker;
use super::sqlite::Writer;
use super::{Backend, End, Job, Shared, Write};
use crate::{StoreError, Tx};

pub(super) struct Inline {
    shared: Arc<Shared>,
    engine: Mutex<Direct>,
    /// Until when the database fails half of all changes.
    fails_until_us: AtomicI64,
}

/// A change that is kept, and whose caller is not told so.
struct Unsaid(Box<dyn Job>);

impl Job for Unsaid {
    fn write(&self) -> &Write {
        self.0.write()
    }

    fn deadline(&self) -> Timestamp {
        self.0.deadline()
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        self.0.run(tx)
    }

    fn answer(self: Box<Self>, end: End) {
        let end = match end {
            End::Committed => End::Failed(StoreError::OutcomeUnknown("the answer to the commit was lost".into())),
            End::Refused | End::Failed(_) => end,
        };
        self.0.answer(end);
    }
}

enum Direct {
    Sqlite(Box<Writer>),
    Postgres(Box<Worker>),
}

impl Inline {
    pub(super) fn open(backend: &Backend, shared: &Arc<Shared>, planted: Option<&str>) -> Result<Self, StoreError> {
        let engine = match backend {
            Backend::Sqlite { .. } => Direct::Sqlite(Box::new(Writer::in_memory(shared, super::planted::named(planted)?)?)),
            Backend::Postgres { url, .. } => Direct::Postgres(Box::new(super::postgres::open_one(url, shared)?)),
        };
        Ok(Self { shared: Arc::clone(shared), engine: Mutex::new(engine), fails_until_us: AtomicI64::new(0) })
    }

    pub(super) fn fail_until(&self, at: Timestamp) {
        self.fails_until_us.store(at.0, Ordering::SeqCst);
    }

    pub(super) fn run(&self, mut job: Box<dyn Job>) {
        let fails = job.write().writes && self.shared.clock.now_us() < self.fails_until_us.load(Ordering::SeqCst);
        match fails.then(|| self.shared.rng.below(4)) {
            Some(0) => return job.answer(End::Failed(StoreError::Unavailable("the simulated database is away".into()))),
            Some(1) => job = Box::new(Unsaid(job)),
            Some(_) | None => {}
        }
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *engine {
            Direct::Sqlite(writer) if job.write().writes => writer.run(vec![job]),
            Direct::Sqlite(writer) => writer.read(job),
            Direct::Postgres(worker) => worker.run(job),
        }
    }
}
