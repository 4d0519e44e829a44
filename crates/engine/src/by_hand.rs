//! Runs that somebody asks for: a scheduled test now, or one that is being written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allclear_base::runtime::Switch;
use allclear_domain::apitest::document::Test;
use allclear_domain::apitest::report::RunReport;
use allclear_domain::{LocationName, TestId};
use allclear_ops::by_hand;
use allclear_probe::{Begun, Job, Mark, Scheduler};
use tokio::sync::{Semaphore, oneshot};

use crate::{Parts, assign};

/// Tests that are tried out at the same time.
const MOST_TRIED: usize = 4;

/// Begins the runs that somebody asked for.
pub(crate) fn start(parts: &Parts, scheduler: &Scheduler, stop: &Switch) {
    let (parts, scheduler, stop) = (parts.clone(), scheduler.clone(), stop.clone());
    parts.rest.clone().supervise("wishes", Arc::clone(&parts.health), move || begin(parts.clone(), scheduler.clone(), stop.clone()));
}

async fn begin(parts: Parts, scheduler: Scheduler, stop: Switch) {
    let (clock, here) = (Arc::clone(&parts.rest.clock), LocationName::from(assign::LOCAL));
    while !stop.is_turned() {
        match by_hand::waiting(&parts.store).await {
            Ok(wishes) => {
                for wish in wishes {
                    let begun = scheduler.run_now(&wish.test, &wish.environment, &here);
                    // What the configuration permits and the scheduler does not know yet, it will know in a moment.
                    if begun == Begun::NotYet || (begun == Begun::Never && by_hand::is_possible(&parts.store, &wish)) {
                        continue;
                    }
                    tracing::info!(test.id = %wish.test, wish.environment, wish.person, ?begun, "a run was asked for");
                    if let Err(error) = by_hand::done(&parts.store, wish).await {
                        tracing::warn!(%error, "a wish for a run may be carried out twice");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "wishes for runs cannot be read yet"),
        }
        // One whose test is still running is looked at again.
        parts.store.wakes().wishes.wait_until(&*clock, parts.look_anyway_at(clock.now_us())).await;
    }
}

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

    /// The latest runs of a test, oldest first.
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
