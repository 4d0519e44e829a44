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

/// Keeps what a callback was answered, for when it comes again.
///
/// # Errors
/// The database cannot be written.
pub fn keep_answer(tx: &mut Tx<'_>, key: &str, answer: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE callback SET answer = $2 WHERE key = $1", params![key, answer])?;
    Ok(())
}

/// What a callback was answered when it came first; nothing where that was not kept.
///
/// # Errors
/// The database cannot be read.
pub fn answer_of(tx: &mut Tx<'_>, key: &str) -> Result<Option<String>, StoreError> {
    let row = tx.query_opt("SELECT answer FROM callback WHERE key = $1", params![key])?;
    Ok(row.map(|row| row.text_or_null(0).map(|text| text.map(str::to_owned))).transpose()?.flatten())
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
