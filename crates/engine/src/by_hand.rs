//! Runs that somebody asks for: a scheduled test now, or one that is being written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allclear_domain::apitest::document::Test;
use allclear_domain::apitest::report::RunReport;
use allclear_domain::{LocationName, TestId};
use allclear_probe::{Job, Mark, Scheduler};
use tokio::sync::{Semaphore, oneshot};

use crate::{Parts, assign};

/// Tests that are tried out at the same time.
const MOST_TRIED: usize = 4;

/// Runs tests when somebody asks for it. Cheap to clone.
#[derive(Clone)]
pub struct ByHand {
    parts: Parts,
    scheduler: Scheduler,
    places: Arc<Semaphore>,
}

impl ByHand {
    pub(crate) fn new(parts: &Parts, scheduler: &Scheduler) -> Self {
        Self { parts: parts.clone(), scheduler: scheduler.clone(), places: Arc::new(Semaphore::new(MOST_TRIED)) }
    }

    /// Runs a scheduled test now, besides its slots. Whether it was begun.
    #[must_use]
    pub fn run_now(&self, test: &TestId, environment: &str) -> bool {
        self.scheduler.run_now(test, environment, &LocationName::from(assign::LOCAL))
    }

    /// The latest runs of a test since the start, oldest first.
    #[must_use]
    pub fn recent(&self, test: &TestId) -> Vec<Mark> {
        self.scheduler.recent(test)
    }

    /// The tests whose last run did not pass.
    #[must_use]
    pub fn not_passing(&self) -> BTreeSet<TestId> {
        self.scheduler.not_passing()
    }

    /// Runs a test that is being written; nothing is recorded. Nothing where too many are tried out already.
    pub async fn try_out(&self, test: Test, environment: String) -> Option<RunReport> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let location = LocationName::from(assign::LOCAL);
        let guard = assign::guard_of(&self.parts.store.catalog(), &location);
        let job = Job {
            test_id: "".into(),
            test: Arc::new(test),
            environment,
            overrides: BTreeMap::new(),
            location,
            guard,
            canaries: vec![],
            slot: None,
            attempt: 1,
            catalog_rev: 0,
        };
        // Not on the thread that pages people; and to its end, cleaning up included, though whoever asked may be gone.
        let (done, report) = oneshot::channel();
        let runner = self.parts.runner.clone();
        self.parts.rest.spawn(async move {
            let _gone = done.send(runner.run(&job).await);
            drop(place);
        });
        report.await.ok()
    }
}
