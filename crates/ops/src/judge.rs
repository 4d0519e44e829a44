//! Results come in batches; inserting them and every change that they cause is one transaction.
//!
//! 1. Each result is folded into its test's standing within a savepoint of its own; one that cannot be judged is
//!    kept as `unjudged` and blocks nobody.
//! 2. What follows for each test and environment is decided on the state at the end of the batch.
//! 3. Incidents open and resolve, all together (see `apply`).
//! 4. The runs, the exceptions of the slot ledger and the probe's watermark are written, once their evidence is on disk.

use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use allclear_base::metrics::metrics;
use allclear_base::{Runtime, crash};
use allclear_domain::apitest::document::{Notify, Test};
use allclear_domain::apitest::judge::{self, AlertStep, Fold, NotCounted, Standing, Thresholds};
use allclear_domain::apitest::report::{RunReport, Verdict};
use allclear_domain::catalog::Catalog;
use allclear_domain::incident::{Agent, ResolveReason};
use allclear_domain::{IncidentId, LocationName, RunId, ServiceId, Span, TestId, Timestamp};
use allclear_store::evidence::{Evidence, Place, Synced};
use allclear_store::record::alert::{self, Alert};
use allclear_store::record::run::{self, Run};
use allclear_store::record::slot::{self, SlotException, Watermark};
use allclear_store::record::standing::{self, Located};
use allclear_store::{Lane, Lock, Store, StoreError, Tx, Write};

use crate::apply::{Pending, apply};
use crate::draw::Ids;
use crate::incident::{Opening, ending, opening};
use crate::{Draw, OpsError};

/// A result on its way to judgement.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The run.
    pub report: Arc<RunReport>,
    /// Whether a retry stands in its place, so that it does not count.
    pub superseded: bool,
}

/// What a probe hands over at once.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The probe's location.
    pub location: LocationName,
    /// The probe.
    pub probe: String,
    /// Its current start.
    pub boot: String,
    /// Counts the batches of this start; a batch that comes twice is taken once.
    pub seq: i64,
    /// Every slot up to here is in this batch or an earlier one.
    pub through: Timestamp,
    /// Runs.
    pub entries: Vec<Entry>,
    /// Slots that did not run.
    pub exceptions: Vec<SlotException>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// Runs that counted.
    pub counted: usize,
    /// Runs that could not be judged.
    pub unjudged: usize,
    /// Incidents that opened.
    pub opened: usize,
    /// Incidents that ended.
    pub resolved: usize,
}

/// Which evidence is kept. It remembers what it needs in memory; forgetting it keeps more, never less.
#[derive(Default)]
pub struct Sampler {
    seen: HashMap<(TestId, String, LocationName), Seen>,
}

struct Seen {
    last_failed: bool,
    sampled_at: Timestamp,
    /// The last pass that was not kept, in case the next run fails.
    last_good: Option<Arc<RunReport>>,
}

/// A sample of passes: one an hour per test, environment and location.
const SAMPLE_EVERY: Span = Span::from_mins(60);

/// A pass with more text than this is not held back for a comparison: memory has a bound.
const LARGEST_HELD_BODY: usize = 16 * 1024;

impl Sampler {
    /// Whether this report is a pass, as the one before it was: then it can change neither an alert nor an incident,
    /// but for a test that needs several passes to recover.
    #[must_use]
    pub fn is_one_more_pass(&self, report: &RunReport) -> bool {
        let key = (report.test_id.clone(), report.environment.clone(), report.location.clone());
        report.verdict == Verdict::Passed && self.seen.get(&key).is_some_and(|seen| !seen.last_failed)
    }

    /// The reports to keep in full: failures, the first pass after one, the last good run before one, and a sample.
    fn choose(&mut self, entries: &[Entry], now: Timestamp) -> Vec<Arc<RunReport>> {
        let mut kept = Vec::new();
        for Entry { report, .. } in entries {
            let key = (report.test_id.clone(), report.environment.clone(), report.location.clone());
            let seen = self.seen.entry(key).or_insert(Seen { last_failed: true, sampled_at: Timestamp(0), last_good: None });
            let passed = report.verdict == Verdict::Passed;
            let sample = now.since(seen.sampled_at) >= SAMPLE_EVERY;
            if passed && !seen.last_failed && !sample {
                seen.last_good = (held_size(report) <= LARGEST_HELD_BODY).then(|| Arc::clone(report));
                continue;
            }
            if passed {
                seen.sampled_at = now;
                seen.last_good = None;
            }
            kept.extend(seen.last_good.take().filter(|_| !passed));
            seen.last_failed = !passed;
            kept.push(Arc::clone(report));
        }
        kept
    }
}

fn held_size(report: &RunReport) -> usize {
    report.steps.iter().filter_map(|step| step.exchange.as_ref()).map(|e| e.response_body.len() + e.request_body.len()).sum()
}

/// Judges a batch. Evidence is on disk before the commit that names it.
///
/// # Errors
/// Errors of the store; nothing of the batch is kept then, and the caller comes again with it.
pub async fn judge_batch(
    runtime: &Runtime,
    store: &Store,
    evidence: &Evidence,
    sampler: &mut Sampler,
    batch: &Arc<Batch>,
) -> Result<Judged, OpsError> {
    crash::point("judge.before_evidence");
    let now = store.now();
    let kept = sampler.choose(&batch.entries, now);
    let ids: Vec<RunId> = kept.iter().map(|report| report.run_id.clone()).collect();
    let (places, synced) = if kept.is_empty() { (vec![], None) } else { keep(runtime, evidence, kept, now).await? };
    crash::point("judge.after_evidence");
    let places: BTreeMap<RunId, Place> = ids.into_iter().zip(places).collect();
    let (draw, batch) = (Draw::new(&*runtime.rng), Arc::clone(batch));
    let tests: BTreeSet<Lock> = batch.entries.iter().map(|entry| Lock::Test(entry.report.test_id.clone())).collect();
    let write = Write::new("judge batch", Lane::Results).locks(tests);
    let counted = Arc::clone(&batch);
    let judged = store.write(write, move |tx| judge_within(tx, &draw.ids(), &batch, &places, synced.as_ref())).await?;
    crash::point("judge.after_commit");
    for entry in &counted.entries {
        metrics().run(entry.report.verdict.word());
    }
    for missed in &counted.exceptions {
        metrics().missed(&missed.reason, u64::try_from(missed.slots).unwrap_or(0));
    }
    Ok(judged)
}

/// Writes evidence on a thread that may block, and lets it be synced while the results are judged.
async fn keep(
    runtime: &Runtime,
    evidence: &Evidence,
    reports: Vec<Arc<RunReport>>,
    now: Timestamp,
) -> Result<(Vec<Place>, Option<Synced>), OpsError> {
    let evidence = evidence.clone();
    let work = move || evidence.append(&reports.iter().map(|report| &**report).collect::<Vec<_>>(), now);
    let done = runtime.unblock(work).await;
    let appended = done.unwrap_or_else(|interrupted| Err(StoreError::Unavailable(interrupted.to_string())))?;
    let (places, synced) = (appended.places.clone(), appended.synced.clone());
    runtime.spawner.spawn_blocking(Box::new(move || appended.sync()));
    Ok((places, Some(synced)))
}

/// A test and environment with what this batch brought.
struct Touched {
    /// How it stands in every location, results of this batch included.
    standings: Vec<Located>,
    /// The last failing run of the batch.
    failed: Option<(RunId, String)>,
    /// The last run of the batch that counted.
    last: Option<RunId>,
}

fn judge_within(
    tx: &mut Tx<'_>,
    ids: &Ids,
    batch: &Batch,
    places: &BTreeMap<RunId, Place>,
    synced: Option<&Synced>,
) -> Result<Judged, OpsError> {
    let mark = slot::watermark(tx, &batch.location, &batch.probe)?;
    if mark.is_some_and(|mark| mark.boot == batch.boot && mark.seq >= batch.seq) {
        return Ok(Judged::default());
    }
    let mut judged = Judged::default();
    let mut touched: BTreeMap<(TestId, String), Touched> = BTreeMap::new();
    let mut runs = Vec::with_capacity(batch.entries.len());
    let mut own_places = places.clone();
    let mut order: Vec<&Entry> = batch.entries.iter().collect();
    order.sort_by_key(|entry| entry.report.slot.unwrap_or(entry.report.started_at));
    for entry in order {
        let folded = if entry.superseded { Ok("retried".to_owned()) } else { tx.savepoint(|tx| fold_one(tx, &entry.report, &mut touched)) };
        let outcome = folded.unwrap_or_else(|error| {
            tracing::error!(run.id = %entry.report.run_id, error = %error, "a result could not be judged");
            format!("unjudged: {error}")
        });
        judged.counted += usize::from(outcome == "counted");
        judged.unjudged += usize::from(outcome.starts_with("unjudged"));
        runs.push(Run::of(&entry.report, outcome, own_places.remove(&entry.report.run_id)));
    }
    let Decided { pending, quiet } = decide(tx, ids, &touched)?;
    judged.opened = pending.iter().filter(|p| p.opened_by.is_some()).count();
    judged.resolved = pending.len() - judged.opened;
    if !pending.is_empty() {
        apply(tx, ids, pending)?;
    }
    for ((test, environment), run) in quiet {
        if let Some(why) = why_nobody_is_told(tx, &test, &environment, &touched[&(test.clone(), environment.clone())])
            && let Some(row) = runs.iter_mut().find(|row| row.id == run)
        {
            row.judged = format!("counted; nobody is told: {why}");
        }
    }
    run::insert_runs(tx, &runs)?;
    for (id, place) in &own_places {
        run::attach_evidence(tx, id, place)?;
    }
    slot::insert_exceptions(tx, &batch.exceptions)?;
    let mark = Watermark {
        location: batch.location.clone(),
        probe: batch.probe.clone(),
        boot: batch.boot.clone(),
        seq: batch.seq,
        through: batch.through,
    };
    slot::put_watermark(tx, &mark)?;
    // What this names is on disk before it is.
    synced.map_or(Ok(()), Synced::wait)?;
    Ok(judged)
}

fn fold_one(tx: &mut Tx<'_>, report: &RunReport, touched: &mut BTreeMap<(TestId, String), Touched>) -> Result<String, StoreError> {
    let catalog = tx.catalog();
    let Some(test) = catalog.test(&report.test_id) else { return Ok("the test is gone".into()) };
    let Some(environment) = test.environments.get(&report.environment) else { return Ok("the environment is gone".into()) };
    let seen = match touched.entry((report.test_id.clone(), report.environment.clone())) {
        MapEntry::Occupied(seen) => seen.into_mut(),
        MapEntry::Vacant(place) => {
            let standings = standing::standings(tx, &report.test_id, &report.environment)?;
            place.insert(Touched { standings, failed: None, last: None })
        }
    };
    let here = seen.standings.iter().position(|located| located.location == report.location);
    let mut before = here.map_or_else(Standing::default, |at| seen.standings[at].standing.clone());
    if report.verdict != Verdict::Passed && before.is_calm() {
        let last = run::last_counted(tx, &report.test_id, &report.environment, &report.location)?;
        before.judged_until = before.judged_until.max(last);
    }
    let result = judge::Result { slot: report.slot.unwrap_or(report.started_at), verdict: &report.verdict };
    let next = match judge::fold(&before, &result, thresholds(test, &report.environment, environment.notify.as_ref()), tx.now()) {
        Fold::Counted(next) => {
            let located = Located { location: report.location.clone(), standing: next.clone() };
            standing::put_standing(tx, &report.test_id, &report.environment, &located)?;
            next
        }
        Fold::OneMorePass(next) => next,
        Fold::HistoryOnly(NotCounted::LaterSlotJudged) => return Ok("history only: a later slot was judged".into()),
        Fold::HistoryOnly(NotCounted::Misconfigured) => return Ok("not judged: the test is misconfigured".into()),
        Fold::HistoryOnly(NotCounted::OlderThanTwoIntervals) => return Ok("history only: older than two intervals".into()),
    };
    let located = Located { location: report.location.clone(), standing: next };
    match &report.verdict {
        Verdict::Failed(_) => seen.failed = Some((report.run_id.clone(), report.verdict.why().unwrap_or_default())),
        Verdict::Passed | Verdict::Misconfigured { .. } => {}
        Verdict::Inconclusive { why } if located.standing.blind => seen.failed = Some((report.run_id.clone(), why.clone())),
        Verdict::Inconclusive { .. } => {}
    }
    seen.last = Some(report.run_id.clone());
    match here {
        Some(at) => seen.standings[at] = located,
        None => seen.standings.push(located),
    }
    Ok("counted".into())
}

fn thresholds(test: &Test, environment: &str, notify: Option<&Notify>) -> Thresholds {
    let intervals = test.schedules.iter().filter(|s| s.environment == environment).map(|s| s.every);
    Thresholds {
        after_failures: notify.map_or(1, |n| n.after_failures),
        after_passes: notify.map_or(1, |n| n.after_passes),
        interval: intervals.max(),
    }
}

/// The two alerts that a test can have in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It fails.
    Fails,
    /// Nothing conclusive was heard of it for too long.
    Blind,
}

/// The keys of both.
pub(crate) fn alert_keys(test: &TestId, environment: &str) -> [String; 2] {
    [Kind::Fails.key(test, environment), Kind::Blind.key(test, environment)]
}

impl Kind {
    fn key(self, test: &TestId, environment: &str) -> String {
        match self {
            Self::Fails => format!("test:{test}:{environment}"),
            Self::Blind => format!("blind:{test}:{environment}"),
        }
    }

    fn title(self, test: &str, environment: &str) -> String {
        match self {
            Self::Fails => format!("{test} fails in {environment}"),
            Self::Blind => format!("We cannot see {test} in {environment}"),
        }
    }
}

/// What an alert should do, before its incident and its service are locked.
struct Intent {
    test: TestId,
    environment: String,
    service: ServiceId,
    kind: Kind,
    step: AlertStep,
    incident: Option<IncidentId>,
}

/// What a batch leads to.
struct Decided {
    pending: Vec<Pending>,
    /// The tests whose last run failed and that have no alert, with that run.
    quiet: Vec<((TestId, String), RunId)>,
}

fn decide(tx: &mut Tx<'_>, ids: &Ids, touched: &BTreeMap<(TestId, String), Touched>) -> Result<Decided, StoreError> {
    let (mut intents, mut quiet) = (Vec::new(), BTreeMap::new());
    for ((test, environment), seen) in touched.iter().filter(|(_, seen)| seen.last.is_some()) {
        let (found, has_alert) = intents_of(tx, test, environment, seen)?;
        intents.extend(found);
        let failed = seen.failed.as_ref().map(|(run, _)| run).filter(|run| seen.last.as_ref() == Some(run));
        if let Some(run) = failed.filter(|_| !has_alert) {
            quiet.insert((test.clone(), environment.clone()), run.clone());
        }
    }
    let services = intents.iter().filter(|intent| intent.step == AlertStep::Trigger).map(|intent| Lock::Service(intent.service.clone()));
    let incidents = intents.iter().filter_map(|intent| intent.incident.clone()).map(Lock::Incident);
    tx.lock(services.chain(incidents).collect::<Vec<_>>())?;
    let mut pending = Vec::new();
    for intent in &intents {
        let of = (intent.test.clone(), intent.environment.clone());
        if let Some(done) = carry_out(tx, ids, intent, &touched[&of])? {
            quiet.remove(&of);
            pending.push(done);
        }
    }
    Ok(Decided { pending, quiet: quiet.into_iter().collect() })
}

/// The locations that count for a test in an environment: those where it is scheduled there, or all where it is nowhere.
fn counting<'a>(test: &Test, environment: &str, standings: &'a [Located]) -> impl Iterator<Item = &'a Located> {
    let scheduled: BTreeSet<LocationName> =
        test.schedules.iter().filter(|s| s.environment == environment).flat_map(|s| &s.locations).cloned().collect();
    standings.iter().filter(move |located| scheduled.is_empty() || scheduled.contains(&located.location))
}

/// What its alerts should do, and whether one is open.
fn intents_of(tx: &mut Tx<'_>, id: &TestId, environment: &str, seen: &Touched) -> Result<(Vec<Intent>, bool), StoreError> {
    let catalog = tx.catalog();
    let Some(test) = catalog.test(id) else { return Ok((vec![], false)) };
    let notify = test.environments.get(environment).and_then(|e| e.notify.as_ref());
    let Some(notify) = notify.filter(|notify| notify.on && !test.is_paused(tx.now())) else { return Ok((vec![], false)) };
    let failing = counting(test, environment, &seen.standings).filter(|l| l.standing.failing).count();
    let blind = counting(test, environment, &seen.standings).filter(|l| l.standing.blind).count();
    let keys = alert_keys(id, environment);
    let mut known = alert::open_alerts(tx, &keys)?;
    let has_alert = !known.is_empty();
    let mut intents = Vec::new();
    for ((kind, count), key) in [(Kind::Fails, failing), (Kind::Blind, blind)].into_iter().zip(&keys) {
        let open = known.iter().position(|alert| alert.dedup_key == *key).map(|at| known.swap_remove(at));
        let step = judge::alert_step(open.is_some(), count, test.quorum, seen.failed.is_some());
        if step != AlertStep::Stay {
            let (incident, service) = (open.map(|alert| alert.incident), notify.service.clone());
            intents.push(Intent { test: id.clone(), environment: environment.to_owned(), service, kind, step, incident });
        }
    }
    Ok((intents, has_alert))
}

/// Why a failing run without an alert opened no incident.
fn why_nobody_is_told(tx: &Tx<'_>, id: &TestId, environment: &str, seen: &Touched) -> Option<String> {
    let (catalog, now) = (tx.catalog(), tx.now());
    let test = catalog.test(id)?;
    let Some(notify) = test.environments.get(environment)?.notify.as_ref() else {
        return Some("the environment names no service".into());
    };
    let of = |which: fn(&Standing) -> bool| counting(test, environment, &seen.standings).filter(|l| which(&l.standing)).count();
    let failing = of(|standing| standing.failing).max(of(|standing| standing.blind));
    let most = counting(test, environment, &seen.standings).map(|located| located.standing.failures).max().unwrap_or(0);
    let takes = thresholds(test, environment, Some(notify)).after_failures;
    if !notify.on {
        Some("it is switched off for the environment".into())
    } else if test.is_paused(now) {
        Some("the test is paused".into())
    } else if catalog.rests(&notify.service, now) {
        let name = catalog.service(&notify.service).map_or_else(|| notify.service.0.clone(), |service| service.name.clone());
        Some(format!("the service {name} is paused, or in a maintenance window"))
    } else if failing == 0 && most < takes {
        Some(format!("{most} of {takes} failures in a row that it takes"))
    } else if failing > 0 && failing < usize::try_from(test.quorum).unwrap_or(usize::MAX) {
        Some(format!("it fails from {failing} of {} locations that it takes", test.quorum))
    } else {
        None
    }
}

/// The incident is locked now; the alert is read again, because a person may have resolved it in between.
fn carry_out(tx: &mut Tx<'_>, ids: &Ids, intent: &Intent, seen: &Touched) -> Result<Option<Pending>, StoreError> {
    let key = intent.kind.key(&intent.test, &intent.environment);
    let open = alert::open_alert(tx, &key)?;
    match (intent.step, open) {
        (AlertStep::Trigger, Some(open)) => {
            alert::trigger_again(tx, &open.id, seen.failed.as_ref().map(|(run, _)| run))?;
            Ok(None)
        }
        (AlertStep::Trigger, None) => Ok(open_for(tx, ids, intent, key, seen)),
        (AlertStep::Resolve, Some(open)) => {
            alert::resolve_alert(tx, &open.id)?;
            let by = Agent::Test { test: intent.test.clone(), run: seen.last.clone() };
            ending(tx, &open.incident, by, ResolveReason::AlertsCleared)
        }
        (AlertStep::Resolve, None) | (AlertStep::Stay, _) => Ok(None),
    }
}

fn open_for(tx: &mut Tx<'_>, ids: &Ids, intent: &Intent, dedup_key: String, seen: &Touched) -> Option<Pending> {
    let catalog = tx.catalog();
    let test = catalog.test(&intent.test)?;
    let notify = test.environments.get(&intent.environment)?.notify.as_ref()?;
    // Where the configuration changed while this waited for its locks, the next failing run opens what is wanted now.
    if notify.service != intent.service || !notify.on || test.is_paused(tx.now()) {
        return None;
    }
    let (run, why) = seen.failed.clone()?;
    let about = Opening {
        service: intent.service.clone(),
        dedup_key,
        test: Some((intent.test.clone(), intent.environment.clone())),
        title: intent.kind.title(&test.name, &intent.environment),
        why,
        agent: Agent::Test { test: intent.test.clone(), run: Some(run.clone()) },
        run: Some(run),
        event: None,
    };
    opening(tx, ids, about)
}

/// Whether a test concerns somebody in an environment at `now`.
fn concerns(catalog: &Catalog, test: &TestId, environment: &str, now: Timestamp) -> bool {
    let test = catalog.test(test).filter(|test| !test.is_paused(now));
    let notify = test.and_then(|test| test.environments.get(environment)).and_then(|e| e.notify.as_ref());
    notify.is_some_and(|notify| notify.on)
}

/// The open alerts of tests that were deleted, paused or switched off.
pub(crate) fn withdrawn(tx: &mut Tx<'_>) -> Result<Vec<Alert>, StoreError> {
    const MOST: u32 = 10_000;
    let (catalog, now) = (tx.catalog(), tx.now());
    let gone = |found: &Alert| found.test.as_ref().is_some_and(|(test, environment)| !concerns(&catalog, test, environment, now));
    Ok(alert::open_test_alerts(tx, MOST)?.into_iter().filter(gone).collect())
}

/// Ends such alerts, and forgets how tests stood that concern nobody any more: one that comes back begins anew. Within a
/// change of the configuration; the caller holds the tests and the alerts' incidents.
pub(crate) fn withdraw(tx: &mut Tx<'_>, ids: &Ids, tests: &BTreeSet<TestId>, alerts: &[Alert]) -> Result<(), StoreError> {
    let (catalog, now) = (tx.catalog(), tx.now());
    for test in tests {
        for environment in standing::environments_of(tx, test)? {
            if !concerns(&catalog, test, &environment, now) {
                standing::forget_standings(tx, test, &environment)?;
            }
        }
    }
    let mut pending = Vec::new();
    for alert in alerts {
        if alert::resolve_alert(tx, &alert.id)? {
            pending.extend(ending(tx, &alert.incident, Agent::Configuration, ResolveReason::TestWithdrawn)?);
        }
    }
    if !pending.is_empty() {
        apply(tx, ids, pending)?;
    }
    Ok(())
}
