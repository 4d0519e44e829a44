//! Runs: a summary row each; the evidence lies in day files (see `evidence`).

use std::sync::LazyLock;

use allclear_domain::apitest::report::{RunReport, Teardown};
use allclear_domain::{LocationName, RunId, Span, TestId, Timestamp};

use crate::evidence::Place;
use crate::value::{Row, Value, params, to_json};
use crate::{StoreError, Tx};

/// A run as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The run.
    pub id: RunId,
    /// The test.
    pub test: TestId,
    /// The environment's name.
    pub environment: String,
    /// Where it ran.
    pub location: LocationName,
    /// The slot that it was for.
    pub slot: Option<Timestamp>,
    /// Which try it was.
    pub attempt: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// `pass`, `fail` or `inconclusive`.
    pub verdict: String,
    /// Why it did not pass.
    pub why: Option<String>,
    /// What judging made of it: `counted`, or why it was not.
    pub judged: String,
    /// What came of cleaning up.
    pub teardown: Teardown,
    /// The configuration that it ran on.
    pub catalog_rev: i64,
    /// Where its evidence is, if it was kept.
    pub evidence: Option<Place>,
}

impl Run {
    /// The row of a report.
    #[must_use]
    pub fn of(report: &RunReport, judged: String, evidence: Option<Place>) -> Self {
        Self {
            id: report.run_id.clone(),
            test: report.test_id.clone(),
            environment: report.environment.clone(),
            location: report.location.clone(),
            slot: report.slot,
            attempt: report.attempt,
            started_at: report.started_at,
            finished_at: report.finished_at,
            verdict: report.verdict.word().to_owned(),
            why: report.verdict.why(),
            judged,
            teardown: report.teardown.clone(),
            catalog_rev: report.catalog_rev,
            evidence,
        }
    }
}

const COLUMNS: &[&str] = &[
    "id",
    "test_id",
    "environment",
    "location",
    "slot",
    "attempt",
    "started_at",
    "finished_at",
    "verdict",
    "why",
    "judged",
    "teardown",
    "catalog_rev",
    "evidence_day",
    "evidence_at",
    "evidence_len",
];

/// Inserts runs.
///
/// # Errors
/// [`StoreError::Taken`] where a run is there already; errors of the store.
pub fn insert_runs(tx: &mut Tx<'_>, runs: &[Run]) -> Result<(), StoreError> {
    let rows = runs.iter().map(to_row).collect::<Result<Vec<_>, _>>()?;
    tx.insert_rows("run", COLUMNS, &rows)
}

fn to_row(run: &Run) -> Result<Vec<Value>, StoreError> {
    let (day, at, len) = match &run.evidence {
        Some(place) => (Some(place.day.clone()), Some(place.at), Some(place.len)),
        None => (None, None, None),
    };
    Ok(vec![
        run.id.as_str().into(),
        run.test.as_str().into(),
        (&run.environment).into(),
        run.location.as_str().into(),
        run.slot.into(),
        run.attempt.into(),
        run.started_at.into(),
        run.finished_at.into(),
        (&run.verdict).into(),
        run.why.clone().into(),
        (&run.judged).into(),
        to_json(&run.teardown)?.into(),
        run.catalog_rev.into(),
        day.into(),
        at.into(),
        len.into(),
    ])
}

fn from_row(row: &Row) -> Result<Run, StoreError> {
    let place = match (row.text_or_null(13)?, row.int_or_null(14)?, row.int_or_null(15)?) {
        (Some(day), Some(at), Some(len)) => Some(Place { day: day.to_owned(), at, len }),
        _ => None,
    };
    Ok(Run {
        id: row.text(0)?.into(),
        test: row.text(1)?.into(),
        environment: row.text(2)?.to_owned(),
        location: row.text(3)?.into(),
        slot: row.int_or_null(4)?.map(Timestamp),
        attempt: u32::try_from(row.int(5)?).unwrap_or(1),
        started_at: row.time(6)?,
        finished_at: row.time(7)?,
        verdict: row.text(8)?.to_owned(),
        why: row.text_or_null(9)?.map(str::to_owned),
        judged: row.text(10)?.to_owned(),
        teardown: row.json(11)?,
        catalog_rev: row.int(12)?,
        evidence: place,
    })
}

/// A run by its id.
///
/// # Errors
/// Errors of the store.
pub fn find_run(tx: &mut Tx<'_>, id: &RunId) -> Result<Option<Run>, StoreError> {
    let row = tx.query_opt(
        "SELECT id, test_id, environment, location, slot, attempt, started_at, finished_at, verdict, why, judged, teardown, catalog_rev, \
         evidence_day, evidence_at, evidence_len FROM run WHERE id = $1",
        params![id.as_str()],
    )?;
    row.as_ref().map(from_row).transpose()
}

/// The slot (or start) of the latest run that counted for how a test stands in an environment and location.
///
/// # Errors
/// Errors of the store.
pub fn last_counted(tx: &mut Tx<'_>, test: &TestId, environment: &str, location: &LocationName) -> Result<Option<Timestamp>, StoreError> {
    let row = tx.query_opt(
        "SELECT COALESCE(slot, started_at) FROM run WHERE test_id = $1 AND environment = $2 AND location = $3 AND judged LIKE 'counted%' \
         ORDER BY started_at DESC LIMIT 1",
        params![test.as_str(), environment, location.as_str()],
    )?;
    row.map(|row| row.time(0)).transpose()
}

/// Environments of a test whose runs are looked for at once.
pub const MOST_ENVIRONMENTS: usize = 20;

/// The index has the runs of each environment in their order, so each is looked up by itself; in one statement.
static LATEST: LazyLock<String> = LazyLock::new(|| {
    let of_one = |n: usize| {
        format!(
            "SELECT * FROM (SELECT id, test_id, environment, location, slot, attempt, started_at, finished_at, verdict, why, judged, \
             teardown, catalog_rev, evidence_day, evidence_at, evidence_len FROM run WHERE test_id = $1 AND environment = ${} \
             ORDER BY started_at DESC LIMIT $2) AS e{n}",
            n + 3
        )
    };
    (0..MOST_ENVIRONMENTS).map(of_one).collect::<Vec<_>>().join(" UNION ALL ")
});

/// The latest runs of a test in each of its environments, of the first [`MOST_ENVIRONMENTS`], newest first within one.
///
/// # Errors
/// Errors of the store.
pub fn latest_runs(tx: &mut Tx<'_>, test: &TestId, environments: &[String], most: u32) -> Result<Vec<Run>, StoreError> {
    let mut values = vec![Value::from(test.as_str()), Value::from(most)];
    // No environment has no name.
    let nothing = std::iter::repeat_with(|| Value::from(""));
    values.extend(environments.iter().map(Value::from).chain(nothing).take(MOST_ENVIRONMENTS));
    tx.query(&LATEST, &values)?.iter().map(from_row).collect()
}

/// How the latest runs of a test went in an environment and from a location, newest first: whether each passed, when it began
/// and when it ended.
///
/// # Errors
/// Errors of the store.
pub fn latest_marks(
    tx: &mut Tx<'_>,
    test: &TestId,
    environment: &str,
    location: &LocationName,
    most: u32,
) -> Result<Vec<(bool, Timestamp, Timestamp)>, StoreError> {
    let rows = tx.query(
        "SELECT verdict, started_at, finished_at FROM run WHERE test_id = $1 AND environment = $2 AND location = $3 \
         ORDER BY started_at DESC LIMIT $4",
        params![test.as_str(), environment, location.as_str(), most],
    )?;
    rows.iter().map(|row| Ok((row.text(0)? == "pass", row.time(1)?, row.time(2)?))).collect()
}

/// The last run within a week before another one, of the same test, environment and location, that passed and whose evidence
/// was kept. What was good longer ago explains little, and looking for it costs.
///
/// # Errors
/// Errors of the store.
pub fn good_before(tx: &mut Tx<'_>, run: &Run) -> Result<Option<Run>, StoreError> {
    const LOOKED_BACK: Span = Span::from_mins(7 * 24 * 60);
    let row = tx.query_opt(
        "SELECT id, test_id, environment, location, slot, attempt, started_at, finished_at, verdict, why, judged, teardown, catalog_rev, \
         evidence_day, evidence_at, evidence_len FROM run WHERE test_id = $1 AND environment = $2 AND started_at < $3 AND started_at > $5 \
         AND location = $4 AND verdict = 'pass' AND evidence_day IS NOT NULL ORDER BY started_at DESC LIMIT 1",
        params![run.test.as_str(), &run.environment, run.started_at, run.location.as_str(), run.started_at.minus(LOOKED_BACK)],
    )?;
    row.as_ref().map(from_row).transpose()
}

/// Names the evidence of a run that was kept without it.
///
/// # Errors
/// Errors of the store.
pub fn attach_evidence(tx: &mut Tx<'_>, id: &RunId, place: &Place) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE run SET evidence_day = $2, evidence_at = $3, evidence_len = $4 WHERE id = $1",
        params![id.as_str(), &place.day, place.at, place.len],
    )?;
    Ok(())
}

/// Removes at most `most` runs that started before `before`; how many were removed.
///
/// # Errors
/// Errors of the store.
pub fn prune_runs(tx: &mut Tx<'_>, before: Timestamp, most: u32) -> Result<u64, StoreError> {
    tx.execute("DELETE FROM run WHERE id IN (SELECT id FROM run WHERE started_at < $1 ORDER BY started_at LIMIT $2)", params![before, most])
}

/// How many runs are kept.
///
/// # Errors
/// Errors of the store.
pub fn count_runs(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    tx.query_opt("SELECT count(*) FROM run", params![])?.map_or(Ok(0), |row| row.int(0))
}
