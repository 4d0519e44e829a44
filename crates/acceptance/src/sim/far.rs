//! A second location, whose way to the target breaks on its own and whose results come in beside the first one's.

use std::sync::Arc;
use std::time::Duration;

use allclear_base::id;
use allclear_base::runtime::Switch;
use allclear_domain::LocationName;
use allclear_egress::Guard;
use allclear_engine::{Parts, assignment};
use allclear_ops::judge::{self, Batch, Entry, Sampler};
use allclear_probe::{Finished, From, Runner, Scheduler};
use tokio::sync::mpsc;

/// The location's name in the day's configuration.
const FAR: &str = "far";

/// Starts the location's probe; it ends with the process.
pub(super) fn start(parts: &Parts, runner: Runner) {
    const RESULTS_BOUND: usize = 64;
    let (sender, receiver) = mpsc::channel(RESULTS_BOUND);
    let scheduler = Scheduler::new(parts.rest.clone(), runner.clone(), sender);
    scheduler.assign(assignment(&parts.store.catalog(), &LocationName::from(FAR)), From::AtOnce);
    let running = scheduler.clone();
    parts.rest.spawn(async move { running.run(&Switch::default()).await });
    let runtime = parts.rest.clone();
    parts.rest.spawn(async move {
        loop {
            runner.pay_debts(|_| Guard::default()).await;
            runtime.sleep(Duration::from_secs(15)).await;
        }
    });
    parts.rest.spawn(upload(parts.clone(), scheduler, receiver));
}

/// Hands results over one by one, each again until it is kept.
async fn upload(parts: Parts, scheduler: Scheduler, mut receiver: mpsc::Receiver<Finished>) {
    let boot = id::uuid7(&*parts.rest.rng, parts.rest.clock.now_us());
    let (mut sampler, mut seq) = (Sampler::default(), 0);
    while let Some(finished) = receiver.recv().await {
        seq += 1;
        let entries = match &finished {
            Finished::Ran { report, .. } => vec![Entry { report: Arc::clone(report), superseded: false }],
            Finished::Missed(_) => vec![],
        };
        let batch = Arc::new(Batch {
            location: LocationName::from(FAR),
            probe: FAR.to_owned(),
            boot: boot.clone(),
            seq,
            through: scheduler.through(),
            entries,
            exceptions: vec![],
        });
        while judge::judge_batch(&parts.rest, &parts.store, &parts.evidence, &mut sampler, &batch).await.is_err() {
            parts.rest.sleep(Duration::from_secs(1)).await;
        }
        scheduler.recorded(&finished);
    }
}
