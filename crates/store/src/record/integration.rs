//! The keys by which monitoring tools send events to a service. A key is a credential: it stands here alone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use allclear_domain::{IntegrationId, ServiceId, Timestamp};

use crate::value::{Row, params};
use crate::{Lock, StoreError, Tx};

/// An integration with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// The integration.
    pub id: IntegrationId,
    /// The service that its events belong to.
    pub service: ServiceId,
    /// Its name in the service.
    pub name: String,
    /// The key: 32 letters and digits.
    pub key: String,
    /// Since when.
    pub created_at: Timestamp,
}

fn from_row(row: &Row) -> Result<Integration, StoreError> {
    Ok(Integration {
        id: row.text(0)?.into(),
        service: row.text(1)?.into(),
        name: row.text(2)?.to_owned(),
        key: row.text(3)?.to_owned(),
        created_at: row.time(4)?,
    })
}

/// The integrations that were found by their keys, as of one committed revision of the configuration: every event asks for
/// one, and they change only with it.
#[derive(Default)]
pub(crate) struct KnownKeys(Mutex<(i64, HashMap<String, Integration>)>);

/// The most that are kept in memory: some 3 MB. Beyond, they are forgotten and found anew.
const MOST_KNOWN: usize = 10_000;

impl KnownKeys {
    /// What is known as of `rev`; what was known as of another is forgotten.
    fn as_of(&self, rev: i64) -> MutexGuard<'_, (i64, HashMap<String, Integration>)> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != rev || known.1.len() >= MOST_KNOWN {
            *known = (rev, HashMap::new());
        }
        known
    }
}

/// The integration with this key.
///
/// # Errors
/// Errors of the store.
pub fn find_by_key(tx: &mut Tx<'_>, key: &str) -> Result<Option<Integration>, StoreError> {
    // A revision that is not committed yet may never be, and its number be given to another.
    let committed = Some(tx.catalog.rev()).filter(|rev| *rev == tx.shared.catalog.load().rev());
    if let Some(known) = committed.and_then(|rev| tx.shared.integrations.as_of(rev).1.get(key).cloned()) {
        return Ok(Some(known));
    }
    let row = tx.query_opt("SELECT id, service_id, name, key, created_at FROM integration WHERE key = $1", params![key])?;
    let found = row.as_ref().map(from_row).transpose()?;
    if let (Some(rev), Some(found)) = (committed, &found) {
        tx.shared.integrations.as_of(rev).1.insert(key.to_owned(), found.clone());
    }
    Ok(found)
}

/// Counts an event of an integration; how many it is within a minute that begins with the first.
///
/// # Errors
/// Errors of the store.
pub fn count_event(tx: &mut Tx<'_>, id: &IntegrationId) -> Result<i64, StoreError> {
    const MINUTE_US: i64 = 60_000_000;
    let now = tx.now();
    let begun_after = Timestamp(now.0 - MINUTE_US);
    let row = tx.query_opt(
        "UPDATE integration SET minute_events = CASE WHEN minute_at > $2 THEN minute_events + 1 ELSE 1 END, \
         minute_at = CASE WHEN minute_at > $2 THEN minute_at ELSE $3 END WHERE id = $1 RETURNING minute_events",
        params![id.as_str(), begun_after, now],
    )?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// The integrations of a service, by name.
///
/// # Errors
/// Errors of the store.
pub fn integrations_of(tx: &mut Tx<'_>, service: &ServiceId) -> Result<Vec<Integration>, StoreError> {
    let rows = tx.query(
        "SELECT id, service_id, name, key, created_at FROM integration WHERE service_id = $1 ORDER BY name LIMIT 1000",
        params![service.as_str()],
    )?;
    rows.iter().map(from_row).collect()
}

/// Integrations in the order of their services and names, those after `after` (service, name).
///
/// # Errors
/// Errors of the store.
pub fn list_integrations(tx: &mut Tx<'_>, after: (&str, &str), most: u32) -> Result<Vec<Integration>, StoreError> {
    let rows = tx.query(
        "SELECT id, service_id, name, key, created_at FROM integration WHERE (service_id, name) > ($1, $2) ORDER BY service_id, name LIMIT $3",
        params![after.0, after.1, most],
    )?;
    rows.iter().map(from_row).collect()
}

/// Adds an integration. Needs the catalog's lock, and a new revision in the same change.
///
/// # Errors
/// Errors of the store.
pub fn insert_integration(tx: &mut Tx<'_>, new: &Integration) -> Result<(), StoreError> {
    tx.require(&Lock::Catalog)?;
    tx.execute(
        "INSERT INTO integration (id, service_id, name, key, created_at) VALUES ($1, $2, $3, $4, $5)",
        params![new.id.as_str(), new.service.as_str(), &new.name, &new.key, new.created_at],
    )?;
    Ok(())
}

/// Gives an integration another name; its key stays. Needs the catalog's lock, and a new revision in the same change.
///
/// # Errors
/// [`StoreError::Taken`] where its service has another of that name; errors of the store.
pub fn rename_integration(tx: &mut Tx<'_>, id: &IntegrationId, name: &str) -> Result<(), StoreError> {
    tx.require(&Lock::Catalog)?;
    tx.execute("UPDATE integration SET name = $2 WHERE id = $1", params![id.as_str(), name])?;
    Ok(())
}

/// Removes an integration: its key opens nothing any more. Needs the catalog's lock, and a new revision in the same change.
///
/// # Errors
/// Errors of the store.
pub fn remove_integration(tx: &mut Tx<'_>, id: &IntegrationId) -> Result<(), StoreError> {
    tx.require(&Lock::Catalog)?;
    tx.execute("DELETE FROM integration WHERE id = $1", params![id.as_str()])?;
    Ok(())
}
