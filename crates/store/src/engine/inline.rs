//! The store without threads, for the simulation: every closure runs where it is called.

use std::sync::{Arc, Mutex, PoisonError};

use super::postgres::Worker;
use super::sqlite::Writer;
use super::{Backend, Job, Shared};
use crate::StoreError;

pub(super) struct Inline {
    engine: Mutex<Direct>,
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
        Ok(Self { engine: Mutex::new(engine) })
    }

    pub(super) fn run(&self, job: Box<dyn Job>) {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *engine {
            Direct::Sqlite(writer) if job.write().writes => writer.run(vec![job]),
            Direct::Sqlite(writer) => writer.read(job),
            Direct::Postgres(worker) => worker.run(job),
        }
    }
}
