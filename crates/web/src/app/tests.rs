//! Tests: the list, one with its latest runs, and one run step by step.

use std::collections::BTreeMap;

use allclear_domain::apitest::difference::{self, Difference};
use allclear_domain::apitest::document::Test;
use allclear_domain::apitest::report::Verdict;
use allclear_domain::catalog::Kind;
use allclear_domain::{RunId, Span, TestId, Timestamp};
use allclear_ops::{Permission, by_hand, view};
use allclear_store::record::run::Run;
use allclear_store::record::slot::SlotException;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use super::evidence::Evidence;
use super::guard::{Viewer, failed};
use super::{Clock, Moment, Shell, open_incidents};
use crate::{Web, page};

/// Tests on one page of the list.
const ON_A_PAGE: usize = 100;

/// Runs that a test's page shows.
const RUNS_SHOWN: usize = 60;

/// Runs that its percentiles are of.
const RUNS_COUNTED: u32 = 500;

/// Stretches of slots that did not run, as a test's page shows them: those that follow each other as one, so more are read.
const MISSED_SHOWN: usize = 20;
const MISSED_READ: u32 = 200;

#[derive(Debug)]
struct Row {
    id: String,
    name: String,
    bucket: String,
    state: &'static str,
    class: &'static str,
    schedules: String,
    last: Option<Moment>,
    spark: Vec<Spark>,
}

/// A run in the small picture of a list: 6 wide, up to 24 high.
#[derive(Debug)]
struct Spark {
    x: usize,
    y: u32,
    height: u32,
    passed: bool,
}

/// Runs that the small picture shows.
const SPARKS: usize = 12;

fn sparks(runs: &[(bool, u32, Timestamp)]) -> Vec<Spark> {
    const STEP: usize = 6;
    const HIGH: u32 = 24;
    let shown = &runs[runs.len().saturating_sub(SPARKS)..];
    let slowest = shown.iter().map(|(_, took, _)| *took).max().unwrap_or(0).max(1);
    let spark = |(n, (passed, took, _)): (usize, &(bool, u32, Timestamp))| {
        let height = u32::try_from(u64::from(*took) * u64::from(HIGH) / u64::from(slowest)).unwrap_or(HIGH).max(3);
        Spark { x: n * STEP, y: HIGH - height, height, passed: *passed }
    };
    shown.iter().enumerate().map(spark).collect()
}

#[derive(Debug, Template)]
#[template(path = "app/tests.html")]
struct List {
    shell: Shell,
    rows: Vec<Row>,
    total: usize,
    query: String,
    can_configure: bool,
    /// Where the next page begins.
    next: Option<usize>,
}

#[derive(Deserialize, Default)]
pub(crate) struct Wanted {
    #[serde(default)]
    q: String,
    #[serde(default)]
    from: usize,
}

/// What stands in place of schedules.
const UNSCHEDULED: &str = "runs by no schedule";

fn schedules(test: &Test) -> String {
    let one = |schedule: &allclear_domain::apitest::document::Schedule| {
        let places: Vec<&str> = schedule.locations.iter().map(allclear_domain::LocationName::as_str).collect();
        let from = if places == [by_hand::HERE] { String::new() } else { format!(" from {}", places.join(", ")) };
        format!("every {} in {}{from}", schedule.every, schedule.environment)
    };
    let all: Vec<String> = test.schedules.iter().map(one).collect();
    if all.is_empty() { UNSCHEDULED.to_owned() } else { all.join("; ") }
}

/// `GET /tests`: those that fail first.
pub(crate) async fn list(State(web): State<Web>, Viewer(who): Viewer, Query(wanted): Query<Wanted>) -> Response {
    let actor = who.actor();
    let (failing, open) = match (view::failing_tests(&web.store, &actor).await, open_incidents(&web, &who).await) {
        (Ok(failing), Ok(open)) => (failing, open),
        (Err(error), _) | (_, Err(error)) => return failed(&error),
    };
    let not_passing = web.runs.not_passing();
    let (catalog, now, part) = (web.store.catalog(), web.store.now(), wanted.q.to_lowercase());
    let mut rows: Vec<Row> = Vec::new();
    for resource in catalog.of_kind(Kind::Test) {
        let Some(test) = resource.document.as_test().filter(|test| test.name.to_lowercase().contains(&part)) else { continue };
        let id = TestId::from(resource.id.as_str());
        let (state, class) = if failing.contains(&id) {
            ("failing", "bad")
        } else if test.is_paused(now) {
            ("paused", "quiet")
        } else if not_passing.contains(&id) {
            ("the last run did not pass", "bad")
        } else {
            ("passes", "good")
        };
        let (id, name, bucket) = (resource.id.clone(), test.name.clone(), test.bucket.clone());
        rows.push(Row { id, name, bucket, state, class, schedules: schedules(test), last: None, spark: vec![] });
    }
    rows.sort_by_key(|row| (row.state != "failing", row.class != "bad", row.name.to_lowercase()));
    let clock = Clock::of(&web.store, &who);
    let fill = |row: Row| {
        let runs = web.runs.recent(&TestId::from(row.id.as_str()));
        let state = if row.schedules == UNSCHEDULED && row.class == "good" {
            ("not on a schedule", "quiet")
        } else if runs.is_empty() && row.class == "good" {
            ("has not run yet", "quiet")
        } else {
            (row.state, row.class)
        };
        Row { last: runs.last().map(|(_, _, at)| clock.moment(*at)), spark: sparks(&runs), state: state.0, class: state.1, ..row }
    };
    let total = rows.len();
    let next = wanted.from.saturating_add(ON_A_PAGE);
    let view = List {
        shell: Shell::new("Tests", "tests", &who, open),
        rows: rows.into_iter().skip(wanted.from).take(ON_A_PAGE).map(fill).collect(),
        can_configure: actor.may(Permission::ConfigWrite),
        total,
        query: wanted.q,
        next: (next < total).then_some(next),
    };
    page::app(StatusCode::OK, &view)
}

#[derive(Debug, Template)]
#[template(path = "app/test.html")]
struct TestPage {
    shell: Shell,
    name: String,
    bucket: String,
    schedules: String,
    notifies: Vec<(String, String)>,
    runs: Vec<RunRow>,
    /// Whether there were more.
    runs_cut: bool,
    /// Whether only those are listed that did not pass.
    only_failed: bool,
    /// Whether the run that was asked for has not come to its end; nothing where none was.
    asked: Option<bool>,
    charts: Vec<Chart>,
    id: String,
    environments: Vec<String>,
    paused: Option<Moment>,
    is_ours: bool,
    source: Option<String>,
    can_configure: bool,
    missed: Vec<Missed>,
    /// Whether there may be more.
    missed_cut: bool,
}

/// How long the runs in one environment took.
#[derive(Debug)]
struct Chart {
    environment: String,
    bars: Vec<Bar>,
    /// What the times of those that passed come to.
    times: String,
    /// How long the run of the tallest bar took.
    tallest: String,
}

impl Chart {
    /// `runs` are those of one environment, the newest first. One that failed says nothing about how long the others take.
    fn new(environment: &str, runs: &[&Run], clock: &Clock) -> Self {
        let mut times: Vec<i64> = runs.iter().filter(|run| run.verdict == Verdict::Passed.word()).map(|run| took_us(run)).collect();
        times.sort_unstable();
        let percentile = |share: usize| milliseconds(times.get(times.len() * share / 100).or(times.last()).copied().unwrap_or(0));
        let told = match times.as_slice() {
            [] => "None of the last runs passed.".to_owned(),
            [one] => format!("{} for the one run that passed.", milliseconds(*one)),
            [.., slowest] => format!(
                "Median {}, 95 % {}, 99 % {}, slowest {} of the last {} runs that passed.",
                percentile(50),
                percentile(95),
                percentile(99),
                milliseconds(*slowest),
                times.len()
            ),
        };
        let drawn = &runs[..runs.len().min(RUNS_SHOWN)];
        let tallest = drawn.iter().map(|run| took_us(run)).max().map(milliseconds).unwrap_or_default();
        Self { environment: environment.to_owned(), bars: bars(drawn, clock), times: told, tallest }
    }
}

/// Slots in a row that did not run, or ran late.
#[derive(Debug)]
struct Missed {
    at: Moment,
    slots: i64,
    environment: String,
    reason: String,
}

impl Missed {
    fn new(one: &SlotException, clock: &Clock) -> Self {
        let (environment, reason) = (one.environment.clone(), one.reason.clone());
        Self { at: clock.moment(one.last), slots: one.slots, environment, reason }
    }
}

/// Stretches that follow each other for the same reason are one, up to a day long. The newest comes first.
fn together(missed: Vec<SlotException>) -> Vec<SlotException> {
    const LONGEST: Span = Span::from_mins(24 * 60);
    let mut found: Vec<SlotException> = Vec::new();
    for one in missed {
        let same = |last: &&mut SlotException| {
            (&last.environment, &last.location, &last.reason) == (&one.environment, &one.location, &one.reason)
                && last.last.since(one.first) <= LONGEST
        };
        match found.last_mut().filter(same) {
            Some(last) => (last.first, last.slots) = (one.first, last.slots + one.slots),
            None => found.push(one),
        }
    }
    found
}

#[derive(Debug)]
struct RunRow {
    id: String,
    verdict: String,
    environment: String,
    location: String,
    at: Moment,
    took: String,
    why: String,
}

/// A run in the picture of how long runs took: 10 wide, up to 100 high.
#[derive(Debug)]
struct Bar {
    x: usize,
    y: i64,
    height: i64,
    verdict: String,
    label: String,
}

/// What stands in the address of a test's page.
#[derive(Deserialize)]
pub(crate) struct After {
    /// When somebody asked for a run.
    asked: Option<i64>,
    /// Whether only runs are listed that did not pass.
    #[serde(default)]
    failed: bool,
}

/// `GET /tests/{id}`
pub(crate) async fn show(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>, Query(after): Query<After>) -> Response {
    let id = TestId::from(id.as_str());
    let (runs, open) = match (view::runs_of(&web.store, &who.actor(), &id, RUNS_COUNTED).await, open_incidents(&web, &who).await) {
        (Ok(runs), Ok(open)) => (runs, open),
        (Err(error), _) | (_, Err(error)) => return failed(&error),
    };
    let (catalog, clock) = (web.store.catalog(), Clock::of(&web.store, &who));
    let Some(test) = catalog.test(&id) else {
        return failed(&allclear_ops::OpsError::NotFound { what: "test", id: id.0 });
    };
    let service = |id: &allclear_domain::ServiceId| catalog.service(id).map_or_else(|| id.0.clone(), |service| service.name.clone());
    let notifies = test.environments.iter().map(|(name, environment)| {
        let told = environment.notify.as_ref().filter(|notify| notify.on).map(|notify| service(&notify.service));
        (name.clone(), told.unwrap_or_else(|| "nobody is told".to_owned()))
    });
    let wanted: Vec<&Run> = runs.iter().filter(|run| !after.failed || run.verdict != Verdict::Passed.word()).collect();
    let shown = &wanted[..wanted.len().min(RUNS_SHOWN)];
    let mut by_environment = BTreeMap::<&str, Vec<&Run>>::new();
    for run in &runs {
        by_environment.entry(&run.environment).or_default().push(run);
    }
    let missed = match view::missed_slots(&web.store, &who.actor(), &id, MISSED_READ).await {
        Ok(missed) => missed,
        Err(error) => return failed(&error),
    };
    let (are_more, missed) = (missed.len() >= MISSED_READ as usize, together(missed));
    let source = catalog.get(Kind::Test, id.as_str()).and_then(|resource| resource.source.clone());
    let mut environments: Vec<String> = test.schedules.iter().map(|schedule| schedule.environment.clone()).collect();
    environments.sort();
    environments.dedup();
    let view = TestPage {
        shell: Shell::new(test.name.clone(), "tests", &who, open),
        name: test.name.clone(),
        bucket: test.bucket.clone(),
        schedules: schedules(test),
        notifies: notifies.collect(),
        charts: by_environment.iter().map(|(environment, runs)| Chart::new(environment, runs, &clock)).collect(),
        id: id.0.clone(),
        environments,
        paused: test.paused_until.filter(|until| *until > web.store.now()).map(|until| clock.moment(until)),
        is_ours: source.is_none(),
        source,
        can_configure: who.actor().may(Permission::ConfigWrite),
        missed_cut: missed.len() > MISSED_SHOWN || are_more,
        missed: missed.iter().take(MISSED_SHOWN).map(|one| Missed::new(one, &clock)).collect(),
        asked: after.asked.map(|asked| runs.iter().all(|run| run.started_at.0 < asked)),
        runs_cut: wanted.len() > shown.len() || runs.len() >= RUNS_COUNTED as usize,
        only_failed: after.failed,
        runs: shown.iter().map(|run| RunRow::new(run, &clock)).collect(),
    };
    page::app(StatusCode::OK, &view)
}

/// What a run meant for the test's standing.
fn judged_in_words(judged: &str) -> String {
    match judged {
        "counted" => "it counts".to_owned(),
        "retried" => "it does not count: it was tried again at once".to_owned(),
        other => other.replace("counted; ", "it counts; ").replace("history only: ", "it does not count: "),
    }
}

fn took_us(run: &Run) -> i64 {
    run.finished_at.since(run.started_at).as_micros()
}

fn milliseconds(us: i64) -> String {
    format!("{}.{} ms", us / 1_000, us % 1_000 / 100)
}

/// The runs from left to right, the newest last.
fn bars(runs: &[&Run], clock: &Clock) -> Vec<Bar> {
    const STEP: usize = 10;
    const HIGH: i64 = 100;
    let slowest_us = runs.iter().map(|run| took_us(run)).max().unwrap_or(1);
    let bar = |(n, run): (usize, &&Run)| {
        let height = (took_us(run) * HIGH / slowest_us.max(1)).max(2);
        let label = format!("{}, {}, {}", run.verdict, milliseconds(took_us(run)), clock.exact(run.started_at));
        Bar { x: n * STEP, y: HIGH - height, height, verdict: run.verdict.clone(), label }
    };
    runs.iter().rev().enumerate().map(bar).collect()
}

impl RunRow {
    fn new(run: &Run, clock: &Clock) -> Self {
        Self {
            id: run.id.0.clone(),
            verdict: run.verdict.clone(),
            environment: run.environment.clone(),
            location: run.location.0.clone(),
            at: clock.moment(run.started_at),
            took: milliseconds(took_us(run)),
            why: run.why.clone().unwrap_or_default(),
        }
    }
}

#[derive(Debug, Template)]
#[template(path = "app/run.html")]
struct RunPage {
    shell: Shell,
    test_id: String,
    test: String,
    environment: String,
    location: String,
    verdict: String,
    why: Option<String>,
    started: Moment,
    took: String,
    judged: String,
    /// The id of its incident, and its title.
    incident: Option<(String, String)>,
    evidence: Option<Evidence>,
    differences: Vec<Difference>,
}

/// `GET /runs/{id}`
pub(crate) async fn run(State(web): State<Web>, Viewer(who): Viewer, Path(id): Path<String>) -> Response {
    let found = match view::show_run(&web.store, &web.evidence, &who.actor(), &RunId::from(id.as_str())).await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let open = match open_incidents(&web, &who).await {
        Ok(open) => open,
        Err(error) => return failed(&error),
    };
    let differences = differences(&web, &who, &found).await;
    let (run, clock, catalog) = (&found.run, Clock::of(&web.store, &who), web.store.catalog());
    let test = catalog.test(&run.test).map_or_else(|| run.test.0.clone(), |test| test.name.clone());
    let view = RunPage {
        shell: Shell::new(format!("A run of {test}"), "tests", &who, open),
        test_id: run.test.0.clone(),
        test,
        environment: run.environment.clone(),
        location: run.location.0.clone(),
        verdict: run.verdict.clone(),
        why: run.why.clone(),
        started: clock.moment(run.started_at),
        took: format!("{} ms", run.finished_at.since(run.started_at).as_millis()),
        judged: judged_in_words(&run.judged),
        incident: found.incident.as_ref().map(|one| (one.id.0.clone(), format!("#{} {}", one.number, one.title))),
        evidence: found.report.as_ref().map(Evidence::of),
        differences,
    };
    page::app(StatusCode::OK, &view)
}

/// How a run that did not pass differs from the last good one; nothing where there is none to compare with.
pub(crate) async fn differences(web: &Web, who: &allclear_ops::session::SignedIn, found: &view::RunView) -> Vec<Difference> {
    let Some(report) = found.report.as_ref().filter(|report| report.verdict != Verdict::Passed) else { return vec![] };
    // A page is worth more without its comparison than an error.
    let good = view::good_run_before(&web.store, &web.evidence, &who.actor(), &found.run).await.ok().flatten();
    good.map_or_else(Vec::new, |good| difference::differences(&good, report))
}
