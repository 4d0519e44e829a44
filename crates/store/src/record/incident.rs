//! Incidents and their timelines.

use std::collections::{BTreeMap, BTreeSet};

use allclear_domain::incident::{Incident, LogDraft, State};
use allclear_domain::{IncidentId, ServiceId, Timestamp};

use crate::value::{Row, params, to_json};
use crate::{Lock, StoreError, Tx};

/// An entry of an incident's timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Its id, in PagerDuty's shape.
    pub id: String,
    /// Its place in the timeline.
    pub seq: i64,
    /// What happened.
    pub draft: LogDraft,
    /// The configuration that the decision was taken on.
    pub catalog_rev: i64,
}

/// The numbers of the next incidents, which one change opens. A transaction that fails may leave some out; none is given twice.
///
/// # Errors
/// Errors of the store.
pub fn next_numbers(tx: &mut Tx<'_>, how_many: usize) -> Result<Vec<i64>, StoreError> {
    let how_many = i64::try_from(how_many).unwrap_or(i64::MAX);
    if how_many == 0 {
        return Ok(vec![]);
    }
    if tx.is_on_server() {
        let rows = tx.query("SELECT nextval('incident_number') FROM generate_series(1, $1)", params![how_many])?;
        return rows.iter().map(|row| row.int(0)).collect();
    }
    // Incidents are never removed, and one writer writes.
    let newest = tx.query_opt("SELECT COALESCE(max(number), 0) FROM incident", params![])?.map_or(Ok(0), |row| row.int(0))?;
    Ok((newest + 1..=newest + how_many).collect())
}

/// Adds an incident. Needs its lock, and its service's: whoever changes what follows from a service's incidents must
/// not miss one that opens at the same time.
///
/// # Errors
/// Errors of the store.
pub fn insert_incident(tx: &mut Tx<'_>, incident: &Incident) -> Result<(), StoreError> {
    tx.require(&Lock::Service(incident.service.clone()))?;
    tx.require(&Lock::Incident(incident.id.clone()))?;
    let now = tx.now();
    tx.execute(
        "INSERT INTO incident (id, number, service_id, status, urgency, opened_at, changed_at, resolved_at, version, state) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8, $9)",
        params![
            incident.id.as_str(),
            incident.number,
            incident.service.as_str(),
            incident.state.word(),
            incident.urgency.word(),
            incident.opened_at,
            now,
            incident.version,
            to_json(incident)?,
        ],
    )?;
    Ok(())
}

/// Writes an incident's next state, if it is still at the version before. Needs its lock.
///
/// # Errors
/// [`StoreError::Changed`] where it is not; errors of the store.
pub fn update_incident(tx: &mut Tx<'_>, incident: &Incident) -> Result<(), StoreError> {
    tx.require(&Lock::Incident(incident.id.clone()))?;
    let now = tx.now();
    let resolved_at = match &incident.state {
        State::Resolved(end) => Some(end.at),
        State::Triggered(_) | State::Acknowledged(_) => None,
    };
    let changed = tx.execute(
        "UPDATE incident SET status = $2, urgency = $3, changed_at = $4, resolved_at = $5, version = $6, state = $7 \
         WHERE id = $1 AND version = $8",
        params![
            incident.id.as_str(),
            incident.state.word(),
            incident.urgency.word(),
            now,
            resolved_at,
            incident.version,
            to_json(incident)?,
            incident.version - 1,
        ],
    )?;
    if changed == 1 { Ok(()) } else { Err(StoreError::Changed("the incident")) }
}

fn from_row(row: &Row) -> Result<Incident, StoreError> {
    row.json(0)
}

/// An incident by its id.
///
/// # Errors
/// Errors of the store.
pub fn find_incident(tx: &mut Tx<'_>, id: &IncidentId) -> Result<Option<Incident>, StoreError> {
    let row = tx.query_opt("SELECT state FROM incident WHERE id = $1", params![id.as_str()])?;
    row.as_ref().map(from_row).transpose()
}

/// An incident by its id, which must be there.
///
/// # Errors
/// [`StoreError::NotFound`] where it is not; errors of the store.
pub fn load_incident(tx: &mut Tx<'_>, id: &IncidentId) -> Result<Incident, StoreError> {
    find_incident(tx, id)?.ok_or_else(|| StoreError::NotFound { what: "incident", id: id.0.clone() })
}

/// An incident by its number.
///
/// # Errors
/// Errors of the store.
pub fn find_incident_by_number(tx: &mut Tx<'_>, number: i64) -> Result<Option<Incident>, StoreError> {
    let row = tx.query_opt("SELECT state FROM incident WHERE number = $1", params![number])?;
    row.as_ref().map(from_row).transpose()
}

/// The newest incidents of one status, or of all.
///
/// # Errors
/// Errors of the store.
pub fn list_incidents(tx: &mut Tx<'_>, status: Option<&str>, before_number: i64, most: u32) -> Result<Vec<Incident>, StoreError> {
    let rows = match status {
        Some(status) => tx.query(
            "SELECT state FROM incident WHERE status = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
            params![status, before_number, most],
        )?,
        None => tx.query("SELECT state FROM incident WHERE number < $1 ORDER BY number DESC LIMIT $2", params![before_number, most])?,
    };
    rows.iter().map(from_row).collect()
}

/// The open incidents of some services, oldest first: one look at all that is open.
///
/// # Errors
/// Errors of the store.
pub fn open_incidents_of(tx: &mut Tx<'_>, services: &BTreeSet<ServiceId>) -> Result<Vec<IncidentId>, StoreError> {
    if services.is_empty() {
        return Ok(vec![]);
    }
    let rows = tx.query(
        "SELECT id, service_id FROM incident WHERE status IN ('triggered', 'acknowledged') ORDER BY number LIMIT 100000",
        params![],
    )?;
    let mut found = Vec::new();
    for row in &rows {
        if services.contains(&ServiceId::from(row.text(1)?)) {
            found.push(row.text(0)?.into());
        }
    }
    Ok(found)
}

/// When an incident changed last.
///
/// # Errors
/// Errors of the store.
pub fn changed_at(tx: &mut Tx<'_>, id: &IncidentId) -> Result<Option<Timestamp>, StoreError> {
    let row = tx.query_opt("SELECT changed_at FROM incident WHERE id = $1", params![id.as_str()])?;
    row.map(|row| row.time(0)).transpose()
}

/// Adds entries to a timeline. Needs the incident's lock. `ids` are as many as `drafts`.
///
/// # Errors
/// Errors of the store.
pub fn append_log(tx: &mut Tx<'_>, incident: &IncidentId, ids: &[String], drafts: &[LogDraft]) -> Result<(), StoreError> {
    tx.require(&Lock::Incident(incident.clone()))?;
    let last = tx.query_opt("SELECT COALESCE(max(seq), 0) FROM log_entry WHERE incident_id = $1", params![incident.as_str()])?;
    append_after(tx, incident, last.map_or(Ok(0), |row| row.int(0))?, ids, drafts)
}

/// Begins the timeline of an incident that is new. Needs its lock.
///
/// # Errors
/// Errors of the store.
pub fn begin_log(tx: &mut Tx<'_>, incident: &IncidentId, ids: &[String], drafts: &[LogDraft]) -> Result<(), StoreError> {
    tx.require(&Lock::Incident(incident.clone()))?;
    append_after(tx, incident, 0, ids, drafts)
}

fn append_after(tx: &mut Tx<'_>, incident: &IncidentId, mut seq: i64, ids: &[String], drafts: &[LogDraft]) -> Result<(), StoreError> {
    let rev = tx.catalog().rev();
    let mut rows = Vec::with_capacity(drafts.len());
    for (id, draft) in ids.iter().zip(drafts) {
        seq += 1;
        let (agent, entry) = (to_json(&draft.agent)?, to_json(&draft.kind)?);
        rows.push(vec![id.into(), incident.as_str().into(), seq.into(), draft.at.into(), agent.into(), entry.into(), rev.into()]);
    }
    tx.insert_rows("log_entry", &["id", "incident_id", "seq", "at", "agent", "entry", "catalog_rev"], &rows)
}

/// A timeline, oldest first.
///
/// # Errors
/// Errors of the store.
pub fn log_of(tx: &mut Tx<'_>, incident: &IncidentId, after_seq: i64, most: u32) -> Result<Vec<LogEntry>, StoreError> {
    let rows = tx.query(
        "SELECT id, seq, at, agent, entry, catalog_rev FROM log_entry WHERE incident_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        params![incident.as_str(), after_seq, most],
    )?;
    rows.iter().map(entry_from_row).collect()
}

/// The end of a timeline, oldest first: its last `most` entries.
///
/// # Errors
/// Errors of the store.
pub fn end_of_log(tx: &mut Tx<'_>, incident: &IncidentId, most: u32) -> Result<Vec<LogEntry>, StoreError> {
    let rows = tx.query(
        "SELECT id, seq, at, agent, entry, catalog_rev FROM log_entry WHERE incident_id = $1 ORDER BY seq DESC LIMIT $2",
        params![incident.as_str(), most],
    )?;
    rows.iter().rev().map(entry_from_row).collect()
}

fn entry_from_row(row: &Row) -> Result<LogEntry, StoreError> {
    let draft = LogDraft { at: row.time(2)?, agent: row.json(3)?, kind: row.json(4)? };
    Ok(LogEntry { id: row.text(0)?.to_owned(), seq: row.int(1)?, draft, catalog_rev: row.int(5)? })
}

/// Removes incidents that ended before an instant, with their alerts, timelines, messages and attempts: at most `most`, those that
/// opened first. How many there were.
///
/// # Errors
/// Errors of the store.
pub fn prune_incidents(tx: &mut Tx<'_>, before: Timestamp, most: u32) -> Result<u64, StoreError> {
    // By their numbers: to look for the instant among all of them would cost more each time than is ever removed.
    let first = tx.query("SELECT id, resolved_at FROM incident WHERE status = 'resolved' ORDER BY number LIMIT $1", params![most])?;
    let mut old: Vec<String> = Vec::new();
    for row in &first {
        if row.int_or_null(1)?.is_some_and(|ended| ended < before.0) {
            old.push(row.text(0)?.to_owned());
        }
    }
    tx.lock(old.iter().map(|id| Lock::Incident(id.as_str().into())))?;
    let mut removed = 0;
    for id in old.iter().map(String::as_str) {
        tx.execute("DELETE FROM attempt WHERE bundle_id IN (SELECT bundle_id FROM delivery WHERE incident_id = $1)", params![id])?;
        tx.execute("DELETE FROM delivery WHERE incident_id = $1", params![id])?;
        tx.execute("DELETE FROM alert WHERE incident_id = $1", params![id])?;
        tx.execute("DELETE FROM log_entry WHERE incident_id = $1", params![id])?;
        removed += tx.execute("DELETE FROM incident WHERE id = $1", params![id])?;
    }
    Ok(removed)
}

/// How many incidents have this status.
///
/// # Errors
/// Errors of the store.
pub fn count_incidents(tx: &mut Tx<'_>, status: &str) -> Result<i64, StoreError> {
    let row = tx.query_opt("SELECT count(*) FROM incident WHERE status = $1", params![status])?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// How many incidents of a service are open, and when its newest of any status opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenCount {
    /// Triggered.
    pub triggered: i64,
    /// Acknowledged.
    pub acknowledged: i64,
    /// When the newest of them opened.
    pub last_opened_at: Option<Timestamp>,
}

/// The open incidents, counted by service; services without any are left out.
///
/// # Errors
/// Errors of the store.
pub fn open_counts(tx: &mut Tx<'_>) -> Result<BTreeMap<ServiceId, OpenCount>, StoreError> {
    let rows = tx.query(
        "SELECT service_id, status, count(*), max(opened_at) FROM incident WHERE status IN ('triggered', 'acknowledged') \
         GROUP BY service_id, status",
        params![],
    )?;
    let mut counts: BTreeMap<ServiceId, OpenCount> = BTreeMap::new();
    for row in &rows {
        let count = counts.entry(row.text(0)?.into()).or_default();
        match row.text(1)? {
            "triggered" => count.triggered = row.int(2)?,
            _ => count.acknowledged = row.int(2)?,
        }
        count.last_opened_at = count.last_opened_at.max(row.int_or_null(3)?.map(Timestamp));
    }
    Ok(counts)
}
