//! Heartbeats: the keys by which things outside say that they live, and when they last did. A key is a credential: it
//! stands here alone.

use allclear_domain::{HeartbeatId, Timestamp};

use crate::value::{Row, params};
use crate::{StoreError, Tx};

/// A heartbeat with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The heartbeat.
    pub id: HeartbeatId,
    /// The key: a UUID, as Healthchecks has it.
    pub key: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it last called, if it ever did.
    pub last_ping_at: Option<Timestamp>,
    /// What it said then, as it stands in the address.
    pub last_ping: Option<String>,
    /// How often it called.
    pub pings: i64,
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, key, created_at, last_ping_at, last_ping, pings FROM heartbeat ", $rest)
    };
}

fn from_row(row: &Row) -> Result<Heartbeat, StoreError> {
    Ok(Heartbeat {
        id: row.text(0)?.into(),
        key: row.text(1)?.to_owned(),
        created_at: row.time(2)?,
        last_ping_at: row.int_or_null(3)?.map(Timestamp),
        last_ping: row.text_or_null(4)?.map(str::to_owned),
        pings: row.int(5)?,
    })
}

/// Adds a heartbeat that has not called yet.
///
/// # Errors
/// Errors of the store.
pub fn insert_heartbeat(tx: &mut Tx<'_>, id: &HeartbeatId, key: &str) -> Result<(), StoreError> {
    let now = tx.now();
    tx.execute("INSERT INTO heartbeat (id, key, created_at, pings) VALUES ($1, $2, $3, 0)", params![id.as_str(), key, now])?;
    Ok(())
}

/// Removes a heartbeat with its key.
///
/// # Errors
/// Errors of the store.
pub fn remove_heartbeat(tx: &mut Tx<'_>, id: &HeartbeatId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM heartbeat WHERE id = $1", params![id.as_str()])?;
    Ok(())
}

/// The heartbeat with this key.
///
/// # Errors
/// Errors of the store.
pub fn find_by_key(tx: &mut Tx<'_>, key: &str) -> Result<Option<Heartbeat>, StoreError> {
    let row = tx.query_opt(select!("WHERE key = $1"), params![key])?;
    row.as_ref().map(from_row).transpose()
}

/// A heartbeat by its id.
///
/// # Errors
/// Errors of the store.
pub fn find_heartbeat(tx: &mut Tx<'_>, id: &HeartbeatId) -> Result<Option<Heartbeat>, StoreError> {
    let row = tx.query_opt(select!("WHERE id = $1"), params![id.as_str()])?;
    row.as_ref().map(from_row).transpose()
}

/// Heartbeats in the order of their ids, those after `after`.
///
/// # Errors
/// Errors of the store.
pub fn list_heartbeats(tx: &mut Tx<'_>, after: &str, most: u32) -> Result<Vec<Heartbeat>, StoreError> {
    let rows = tx.query(select!("WHERE id > $1 ORDER BY id LIMIT $2"), params![after, most])?;
    rows.iter().map(from_row).collect()
}

/// Records a call. Needs its service's lock, like whatever else changes what is open on it.
///
/// # Errors
/// Errors of the store.
pub fn record_ping(tx: &mut Tx<'_>, id: &HeartbeatId, said: &str) -> Result<(), StoreError> {
    let now = tx.now();
    tx.execute("UPDATE heartbeat SET last_ping_at = $2, last_ping = $3, pings = pings + 1 WHERE id = $1", params![id.as_str(), now, said])?;
    Ok(())
}
