//! Alerts: what opened an incident. At most one is open per dedup key.

use std::collections::BTreeSet;

use allclear_domain::event::Severity;
use allclear_domain::{AlertId, IncidentId, IntegrationId, RunId, ServiceId, TestId, Timestamp};

use serde_json::Map;

use crate::value::{Row, params, to_json};
use crate::{Lock, StoreError, Tx};

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The alert.
    pub id: AlertId,
    /// The incident that it belongs to.
    pub incident: IncidentId,
    /// The service.
    pub service: ServiceId,
    /// What makes a second trigger the same alert.
    pub dedup_key: String,
    /// The test and environment, for an alert of a test.
    pub test: Option<(TestId, String)>,
    /// What went wrong first.
    pub why: String,
    /// Since when.
    pub opened_at: Timestamp,
    /// When it ended.
    pub resolved_at: Option<Timestamp>,
    /// How often it was triggered.
    pub triggers: i64,
    /// The run that opened it.
    pub first_run: Option<RunId>,
    /// The last run that triggered it.
    pub last_run: Option<RunId>,
    /// What a monitoring tool said, for an alert of an event.
    pub event: Option<Reported>,
}

/// What a monitoring tool said when it opened an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The integration that it came by.
    pub integration: IntegrationId,
    /// How bad its sender says it is.
    pub severity: Option<Severity>,
    /// Everything that came with it, as it came.
    pub details: Map<String, serde_json::Value>,
}

/// A query for alerts, so that each has the columns that [`from_row`] reads.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, incident_id, service_id, dedup_key, test_id, environment, why, opened_at, resolved_at, triggers, first_run, \
             last_run, integration_id, severity, details FROM alert ",
            $rest
        )
    };
}

fn from_row(row: &Row) -> Result<Alert, StoreError> {
    let test = match (row.text_or_null(4)?, row.text_or_null(5)?) {
        (Some(test), Some(environment)) => Some((test.into(), environment.to_owned())),
        _ => None,
    };
    let event = match row.text_or_null(12)? {
        Some(integration) => Some(Reported {
            integration: integration.into(),
            severity: row.text_or_null(13)?.and_then(Severity::from_word),
            details: row.json(14)?,
        }),
        None => None,
    };
    Ok(Alert {
        id: row.text(0)?.into(),
        incident: row.text(1)?.into(),
        service: row.text(2)?.into(),
        dedup_key: row.text(3)?.to_owned(),
        test,
        why: row.text(6)?.to_owned(),
        opened_at: row.time(7)?,
        resolved_at: row.int_or_null(8)?.map(Timestamp),
        triggers: row.int(9)?,
        first_run: row.text_or_null(10)?.map(RunId::from),
        last_run: row.text_or_null(11)?.map(RunId::from),
        event,
    })
}

/// Whether an alert with this dedup key ended at or after an instant.
///
/// # Errors
/// The database cannot be read.
pub fn ended_since(tx: &mut Tx<'_>, dedup_key: &str, since: Timestamp) -> Result<bool, StoreError> {
    let row = tx.query_opt("SELECT 1 FROM alert WHERE dedup_key = $1 AND resolved_at >= $2 LIMIT 1", params![dedup_key, since])?;
    Ok(row.is_some())
}

/// The open alert with this key.
///
/// # Errors
/// Errors of the store.
pub fn open_alert(tx: &mut Tx<'_>, dedup_key: &str) -> Result<Option<Alert>, StoreError> {
    let row = tx.query_opt(select!("WHERE dedup_key = $1 AND resolved_at IS NULL"), params![dedup_key])?;
    row.as_ref().map(from_row).transpose()
}

/// The newest alert with this key, open or not.
///
/// # Errors
/// Errors of the store.
pub fn newest_alert(tx: &mut Tx<'_>, dedup_key: &str) -> Result<Option<Alert>, StoreError> {
    if let Some(open) = open_alert(tx, dedup_key)? {
        return Ok(Some(open));
    }
    let ended = select!("WHERE dedup_key = $1 AND resolved_at IS NOT NULL ORDER BY opened_at DESC, id DESC LIMIT 1");
    tx.query_opt(ended, params![dedup_key])?.as_ref().map(from_row).transpose()
}

/// The newest alert with this key that was open at some time between two instants.
///
/// # Errors
/// Errors of the store.
pub fn alert_between(tx: &mut Tx<'_>, dedup_key: &str, from: Timestamp, to: Timestamp) -> Result<Option<Alert>, StoreError> {
    if let Some(open) = open_alert(tx, dedup_key)?.filter(|open| open.opened_at <= to) {
        return Ok(Some(open));
    }
    let ended = select!(
        "WHERE dedup_key = $1 AND resolved_at IS NOT NULL AND opened_at <= $2 AND resolved_at >= $3 ORDER BY opened_at DESC, id DESC LIMIT 1"
    );
    tx.query_opt(ended, params![dedup_key, to.0, from.0])?.as_ref().map(from_row).transpose()
}

/// The open alerts with two keys: a test can have two in an environment.
///
/// # Errors
/// Errors of the store.
pub fn open_alerts(tx: &mut Tx<'_>, dedup_keys: &[String; 2]) -> Result<Vec<Alert>, StoreError> {
    let rows = tx.query(
        select!("WHERE dedup_key IN ($1, $2) AND resolved_at IS NULL ORDER BY dedup_key"),
        params![&dedup_keys[0], &dedup_keys[1]],
    )?;
    rows.iter().map(from_row).collect()
}

/// Every open alert that a test opened; for finding those whose test is gone.
///
/// # Errors
/// Errors of the store.
pub fn open_test_alerts(tx: &mut Tx<'_>, most: u32) -> Result<Vec<Alert>, StoreError> {
    let rows = tx.query(select!("WHERE test_id IS NOT NULL AND resolved_at IS NULL ORDER BY dedup_key LIMIT $1"), params![most])?;
    rows.iter().map(from_row).collect()
}

/// The alerts of an incident, oldest first.
///
/// # Errors
/// Errors of the store.
pub fn alerts_of(tx: &mut Tx<'_>, incident: &IncidentId) -> Result<Vec<Alert>, StoreError> {
    let rows = tx.query(select!("WHERE incident_id = $1 ORDER BY opened_at, id LIMIT 1000"), params![incident.as_str()])?;
    rows.iter().map(from_row).collect()
}

/// Those of the incidents of one status, with numbers from `from` to `to`, that have an open alert.
///
/// # Errors
/// Errors of the store.
pub fn with_open_alerts(tx: &mut Tx<'_>, status: &str, (from, to): (i64, i64)) -> Result<BTreeSet<IncidentId>, StoreError> {
    let rows = tx.query(
        "SELECT DISTINCT i.id FROM incident i JOIN alert a ON a.incident_id = i.id AND a.resolved_at IS NULL \
         WHERE i.status = $1 AND i.number BETWEEN $2 AND $3",
        params![status, from, to],
    )?;
    rows.iter().map(|row| Ok(row.text(0)?.into())).collect()
}

/// Opens an alert. Needs its incident's lock.
///
/// # Errors
/// [`StoreError::Taken`] where one with its key is open; errors of the store.
pub fn insert_alert(tx: &mut Tx<'_>, alert: &Alert) -> Result<(), StoreError> {
    tx.require(&Lock::Incident(alert.incident.clone()))?;
    let (test, environment) = alert.test.clone().map_or((None, None), |(test, environment)| (Some(test.0), Some(environment)));
    let event = alert.event.as_ref();
    tx.execute(
        "INSERT INTO alert (id, incident_id, service_id, dedup_key, test_id, environment, why, opened_at, resolved_at, triggers, first_run, \
         last_run, integration_id, severity, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, $9, $10, $11, $12, $13, $14)",
        params![
            alert.id.as_str(),
            alert.incident.as_str(),
            alert.service.as_str(),
            &alert.dedup_key,
            test,
            environment,
            &alert.why,
            alert.opened_at,
            alert.triggers,
            alert.first_run.clone().map(|run| run.0),
            alert.last_run.clone().map(|run| run.0),
            event.map(|event| event.integration.as_str()),
            event.and_then(|event| event.severity).map(Severity::word),
            event.map(|event| to_json(&event.details)).transpose()?,
        ],
    )?;
    Ok(())
}

/// Counts another trigger of an open alert.
///
/// # Errors
/// Errors of the store.
pub fn trigger_again(tx: &mut Tx<'_>, alert: &AlertId, run: Option<&RunId>) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE alert SET triggers = triggers + 1, last_run = $2 WHERE id = $1 AND resolved_at IS NULL",
        params![alert.as_str(), run.map(RunId::as_str)],
    )?;
    Ok(())
}

/// Counts another trigger of the alert that is open under this key; whether there is one.
///
/// # Errors
/// Errors of the store.
pub fn trigger_open(tx: &mut Tx<'_>, dedup_key: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("UPDATE alert SET triggers = triggers + 1 WHERE dedup_key = $1 AND resolved_at IS NULL", params![dedup_key])? == 1)
}

/// Ends an alert; whether it was open.
///
/// # Errors
/// Errors of the store.
pub fn resolve_alert(tx: &mut Tx<'_>, alert: &AlertId) -> Result<bool, StoreError> {
    let now = tx.now();
    Ok(tx.execute("UPDATE alert SET resolved_at = $2 WHERE id = $1 AND resolved_at IS NULL", params![alert.as_str(), now])? == 1)
}

/// Ends every open alert of an incident.
///
/// # Errors
/// Errors of the store.
pub fn resolve_alerts_of(tx: &mut Tx<'_>, incident: &IncidentId) -> Result<u64, StoreError> {
    let now = tx.now();
    tx.execute("UPDATE alert SET resolved_at = $2 WHERE incident_id = $1 AND resolved_at IS NULL", params![incident.as_str(), now])
}

/// Hands the alerts of one incident, open or not, to another. Needs the locks of both.
///
/// # Errors
/// Errors of the store.
pub fn hand_over(tx: &mut Tx<'_>, from: &IncidentId, to: &IncidentId) -> Result<u64, StoreError> {
    tx.require(&Lock::Incident(from.clone()))?;
    tx.require(&Lock::Incident(to.clone()))?;
    tx.execute("UPDATE alert SET incident_id = $2 WHERE incident_id = $1", params![from.as_str(), to.as_str()])
}

/// How many tests have an open alert.
///
/// # Errors
/// Errors of the store.
pub fn failing_tests(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    let row = tx.query_opt("SELECT count(DISTINCT test_id) FROM alert WHERE resolved_at IS NULL AND test_id IS NOT NULL", params![])?;
    row.map_or(Ok(0), |row| row.int(0))
}
