//! What AllClear does just now, for the stage: the latest runs of its tests and its newest incidents, as its own views tell
//! them, with the pages on which they stand.

use allclear_domain::catalog::{Kind, Resource};
use allclear_domain::incident::{Incident, LogKind, State};
use allclear_domain::{TestId, Timestamp};
use allclear_ops::view::{self, Names};
use allclear_ops::{Actor, OpsError};
use allclear_store::Store;

/// Runs of a test that are shown as bars.
const RUNS: u32 = 24;

/// Tests that are shown; a visitor may write some.
const TESTS: usize = 3;

/// Incidents that are shown, the newest with its timeline.
const INCIDENTS: u32 = 4;

/// Lines of that timeline, newest first.
const LINES: usize = 10;

/// What AllClear does.
pub(super) struct Doing {
    pub(super) tests: Vec<Tested>,
    pub(super) newest: Option<Told>,
    pub(super) earlier: Vec<Head>,
}

/// A test with its latest runs.
pub(super) struct Tested {
    pub(super) name: String,
    pub(super) path: String,
    /// The verdicts, oldest first.
    pub(super) verdicts: Vec<String>,
    pub(super) last: Option<LastRun>,
}

pub(super) struct LastRun {
    pub(super) path: String,
    pub(super) time: String,
    pub(super) verdict: String,
    /// Why it did not pass.
    pub(super) why: String,
}

/// An incident's first line.
pub(super) struct Head {
    pub(super) number: i64,
    pub(super) title: String,
    pub(super) status: &'static str,
    pub(super) path: String,
}

/// An incident with its timeline.
pub(super) struct Told {
    pub(super) head: Head,
    /// Why it opened, and why it ended.
    pub(super) cause: Option<String>,
    pub(super) end: Option<String>,
    pub(super) lines: Vec<Line>,
    /// How many lines are left out.
    pub(super) more: usize,
}

pub(super) struct Line {
    /// Its place in the timeline.
    pub(super) seq: i64,
    pub(super) time: String,
    pub(super) sentence: String,
    pub(super) agent: String,
}

/// The time of day in UTC, as Ada's pages have it.
pub(super) fn time_of_day(at: Timestamp) -> String {
    at.to_rfc3339_millis().chars().skip("2026-11-27T".len()).take("08:45:57".len()).collect()
}

/// Looks.
pub(super) async fn look(store: &Store) -> Result<Doing, OpsError> {
    let (actor, catalog) = (Actor::local(), store.catalog());
    let mut tests = Vec::new();
    for test in catalog.of_kind(Kind::Test).take(TESTS) {
        tests.push(tested(store, &actor, test).await?);
    }
    let mut incidents = view::list_incidents(store, &actor, None, i64::MAX, INCIDENTS).await?.into_iter();
    let newest = match incidents.next() {
        Some(incident) => Some(told(store, &actor, &incident).await?),
        None => None,
    };
    Ok(Doing { tests, newest, earlier: incidents.map(|incident| head(&incident)).collect() })
}

async fn tested(store: &Store, actor: &Actor, test: &Resource) -> Result<Tested, OpsError> {
    let runs = view::runs_of(store, actor, &TestId::from(test.id.as_str()), RUNS).await?;
    let last = runs.first().map(|run| LastRun {
        path: format!("/runs/{}", run.id),
        time: time_of_day(run.started_at),
        verdict: run.verdict.clone(),
        why: run.why.clone().unwrap_or_default(),
    });
    let verdicts = runs.into_iter().rev().map(|run| run.verdict).collect();
    Ok(Tested { name: test.document.name().to_owned(), path: format!("/tests/{}", test.id), verdicts, last })
}

async fn told(store: &Store, actor: &Actor, incident: &Incident) -> Result<Told, OpsError> {
    let (found, names) = (view::show_incident(store, actor, incident.id.as_str()).await?, Names::of(store));
    let line = |entry: &allclear_store::record::incident::LogEntry| Line {
        seq: entry.seq,
        time: time_of_day(entry.draft.at),
        sentence: names.sentence(&entry.draft.kind, &time_of_day),
        agent: names.agent(&entry.draft.agent),
    };
    let lines = found.log.iter().rev().take(LINES).map(line).collect();
    let cause = found.log.iter().find_map(|entry| match &entry.draft.kind {
        LogKind::Triggered { why } => Some(why.clone()),
        _ => None,
    });
    let end = match &found.incident.state {
        State::Resolved(ended) => Some(ended.why.words()),
        State::Triggered(_) | State::Acknowledged(_) => None,
    };
    Ok(Told {
        head: head(&found.incident),
        cause,
        end: end.map(|words| words.to_string()),
        lines,
        more: found.log.len().saturating_sub(LINES),
    })
}

fn head(incident: &Incident) -> Head {
    Head {
        number: incident.number,
        title: incident.title.clone(),
        status: incident.state.word(),
        path: format!("/incidents/{}", incident.id),
    }
}
