//! Callbacks that were followed. A provider may send one twice, and so may somebody who has seen it.

use allclear_domain::Timestamp;

use crate::value::params;
use crate::{StoreError, Tx};

/// Notes a callback; whether it is the first with this key.
///
/// # Errors
/// Errors of the store.
pub fn first_time(tx: &mut Tx<'_>, key: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    Ok(tx.execute("INSERT INTO callback (key, seen_at) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING", params![key, now])? == 1)
}

/// Forgets callbacks of before an instant, at most so many; how many there were.
///
/// # Errors
/// Errors of the store.
pub fn prune_callbacks(tx: &mut Tx<'_>, before: Timestamp, most: u32) -> Result<u64, StoreError> {
    tx.execute(
        "DELETE FROM callback WHERE key IN (SELECT key FROM callback WHERE seen_at < $1 ORDER BY seen_at LIMIT $2)",
        params![before, most],
    )
}
