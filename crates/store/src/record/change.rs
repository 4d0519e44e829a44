//! What changed in a service, as its tools tell: deployments and the like. They alert nobody.

use allclear_domain::event::Content;
use allclear_domain::{IntegrationId, ServiceId, Timestamp};

use crate::value::{params, to_json};
use crate::{StoreError, Tx};

/// A change event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeEvent {
    /// Its id.
    pub id: String,
    /// The service that changed.
    pub service: ServiceId,
    /// Who told.
    pub integration: IntegrationId,
    /// When it came in.
    pub at: Timestamp,
    /// What it says.
    pub summary: String,
    /// Everything else, as it came.
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// Keeps a change event.
///
/// # Errors
/// Errors of the store.
pub fn insert_change_event(
    tx: &mut Tx<'_>,
    id: &str,
    service: &ServiceId,
    by: &IntegrationId,
    content: &Content,
) -> Result<(), StoreError> {
    let now = tx.now();
    tx.execute(
        "INSERT INTO change_event (id, service_id, integration_id, at, summary, details) VALUES ($1, $2, $3, $4, $5, $6)",
        params![id, service.as_str(), by.as_str(), now, &content.summary, to_json(&content.details)?],
    )?;
    Ok(())
}

/// What changed in a service from `since` to `until`, oldest first; the last `most` of them.
///
/// # Errors
/// Errors of the store.
pub fn change_events_of(
    tx: &mut Tx<'_>,
    service: &ServiceId,
    since: Timestamp,
    until: Timestamp,
    most: u32,
) -> Result<Vec<ChangeEvent>, StoreError> {
    let rows = tx.query(
        "SELECT id, service_id, integration_id, at, summary, details FROM change_event \
         WHERE service_id = $1 AND at BETWEEN $2 AND $3 ORDER BY at DESC, id DESC LIMIT $4",
        params![service.as_str(), since, until, most],
    )?;
    let read = |row: &crate::value::Row| {
        Ok(ChangeEvent {
            id: row.text(0)?.to_owned(),
            service: row.text(1)?.into(),
            integration: row.text(2)?.into(),
            at: row.time(3)?,
            summary: row.text(4)?.to_owned(),
            details: row.json(5)?,
        })
    };
    rows.iter().rev().map(read).collect()
}

/// Removes change events from before `before`, at most `most`; how many.
///
/// # Errors
/// Errors of the store.
pub fn prune_change_events(tx: &mut Tx<'_>, before: Timestamp, most: u32) -> Result<u64, StoreError> {
    tx.execute(
        "DELETE FROM change_event WHERE id IN (SELECT id FROM change_event WHERE at < $1 ORDER BY at LIMIT $2)",
        params![before, most],
    )
}
