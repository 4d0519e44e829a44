//! Takes results from the in-process probe and has them judged, in batches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use allclear_base::id;
use allclear_domain::apitest::report::Verdict;
use allclear_domain::catalog::Catalog;
use allclear_domain::{LocationName, TestId};
use allclear_ops::judge::{self, Batch, Entry, Sampler};
use allclear_probe::{Finished, Scheduler};
use allclear_store::record::slot::SlotException;
use futures::future::{Either, select};
use tokio::sync::{Mutex, mpsc};

use crate::Parts;
use crate::assign::LOCAL;

/// Results in one transaction: enough to make the commit cheap, few enough not to hold anybody up.
const MOST_IN_BATCH: usize = 200;

/// How long results that are sure to change nothing wait for others, so that they share a commit and its sync. The
/// first result that may change something ends the wait.
const GATHERED_FOR_US: i64 = 250_000;

pub(crate) fn start(parts: &Parts, scheduler: &Scheduler, receiver: mpsc::Receiver<Finished>) {
    let (parts, scheduler) = (parts.clone(), scheduler.clone());
    let receiver = Arc::new(Mutex::new(receiver));
    parts.rest.clone().supervise("ingest", Arc::clone(&parts.health), move || {
        let (parts, scheduler, receiver) = (parts.clone(), scheduler.clone(), Arc::clone(&receiver));
        async move { run(&parts, &scheduler, &receiver).await }
    });
}

async fn run(parts: &Parts, scheduler: &Scheduler, receiver: &Mutex<mpsc::Receiver<Finished>>) {
    let boot = id::uuid7(&*parts.rest.rng, parts.rest.clock.now_us());
    let mut sampler = Sampler::default();
    let mut seq = 0;
    let mut finished = Vec::new();
    let mut misconfigured = Misconfigured::default();
    loop {
        finished.clear();
        if !gather(parts, &mut *receiver.lock().await, &sampler, &mut finished).await {
            return;
        }
        finished.iter().for_each(|one| misconfigured.hear(one, &parts.store.catalog()));
        seq += 1;
        let batch = batch_of(&finished, &boot, seq, scheduler);
        submit(parts, &mut sampler, &Arc::new(batch)).await;
        for one in &finished {
            scheduler.recorded(one);
        }
    }
}

/// The tests that cannot run as they are configured. Nobody is paged for one, so the log says it, once. Those that are gone are
/// forgotten with the next that is found.
#[derive(Default)]
struct Misconfigured(BTreeSet<(TestId, String)>);

impl Misconfigured {
    fn hear(&mut self, one: &Finished, catalog: &Catalog) {
        let Finished::Ran { report, .. } = one else { return };
        let key = (report.test_id.clone(), report.environment.clone());
        match &report.verdict {
            Verdict::Misconfigured { why } => {
                if self.0.insert(key) {
                    self.0.retain(|(test, _)| catalog.test(test).is_some());
                    tracing::warn!(test = %report.test_name, environment = %report.environment, "a test cannot run as it is configured: {why}");
                }
            }
            _ => {
                self.0.remove(&key);
            }
        }
    }
}

/// Takes what has come in; whether anything ever will again.
async fn gather(parts: &Parts, receiver: &mut mpsc::Receiver<Finished>, sampler: &Sampler, finished: &mut Vec<Finished>) -> bool {
    if receiver.recv_many(finished, MOST_IN_BATCH).await == 0 {
        return false;
    }
    let clock = &*parts.rest.clock;
    let mut seen = 0;
    let mut until = std::pin::pin!(clock.sleep_until(clock.now_us().saturating_add(GATHERED_FOR_US)));
    while finished.len() < MOST_IN_BATCH && finished[seen..].iter().all(|one| changes_nothing(sampler, one)) {
        seen = finished.len();
        let more = std::pin::pin!(receiver.recv_many(finished, MOST_IN_BATCH - seen));
        match select(more, until.as_mut()).await {
            Either::Left((1.., _)) => {}
            Either::Left((0, _)) | Either::Right(_) => break,
        }
    }
    true
}

/// Whether nobody waits for this result: a slot that did not run, or one more pass after a pass.
fn changes_nothing(sampler: &Sampler, one: &Finished) -> bool {
    match one {
        Finished::Ran { report, superseded, .. } => superseded.is_none() && sampler.is_one_more_pass(report),
        Finished::Missed(_) => true,
    }
}

fn batch_of(finished: &[Finished], boot: &str, seq: i64, scheduler: &Scheduler) -> Batch {
    let mut batch = Batch {
        location: LocationName::from(LOCAL),
        probe: LOCAL.to_owned(),
        boot: boot.to_owned(),
        seq,
        through: scheduler.through(),
        entries: vec![],
        exceptions: vec![],
    };
    for one in finished {
        match one {
            Finished::Ran { report, superseded, late } => {
                let first = superseded.iter().map(|report| Entry { report: Arc::clone(report), superseded: true });
                batch.entries.extend(first);
                batch.entries.push(Entry { report: Arc::clone(report), superseded: false });
                if *late && let Some(slot) = report.slot {
                    let (test, environment, location) = (report.test_id.clone(), report.environment.clone(), report.location.clone());
                    batch.exceptions.push(SlotException {
                        test,
                        environment,
                        location,
                        first: slot,
                        last: slot,
                        slots: 1,
                        reason: "late".into(),
                    });
                }
            }
            Finished::Missed(missed) => batch.exceptions.push(SlotException {
                test: missed.test.clone(),
                environment: missed.environment.clone(),
                location: missed.location.clone(),
                first: missed.first,
                last: missed.last,
                slots: missed.slots,
                reason: missed.reason.to_owned(),
            }),
        }
    }
    batch
}

/// Comes again with the same batch until it is kept: the centre takes a batch that comes twice once.
async fn submit(parts: &Parts, sampler: &mut Sampler, batch: &Arc<Batch>) {
    let mut pause = Duration::from_millis(50);
    loop {
        match judge::judge_batch(&parts.rest, &parts.store, &parts.evidence, sampler, batch).await {
            Ok(judged) => {
                if judged.opened + judged.resolved > 0 {
                    tracing::info!(opened = judged.opened, resolved = judged.resolved, "results changed incidents");
                }
                return;
            }
            Err(error) => {
                tracing::warn!(%error, results = batch.entries.len(), "results could not be kept yet");
                parts.rest.sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        }
    }
}
