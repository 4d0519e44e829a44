//! Secrets, sealed: what opens them is a key file that is not in the database.

use allclear_domain::Timestamp;

use crate::value::params;
use crate::{StoreError, Tx};

/// A sealed secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its name.
    pub name: String,
    /// Its value, sealed.
    pub sealed: Vec<u8>,
    /// When it was last changed.
    pub changed_at: Timestamp,
}

/// Keeps a secret, in place of one with the same name.
///
/// # Errors
/// Errors of the store.
pub fn put_secret(tx: &mut Tx<'_>, name: &str, sealed: &[u8]) -> Result<(), StoreError> {
    let now = tx.now();
    tx.execute(
        "INSERT INTO secret (name, sealed, changed_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, changed_at = excluded.changed_at",
        params![name, sealed.to_vec(), now],
    )?;
    Ok(())
}

/// Forgets a secret; whether it was known.
///
/// # Errors
/// Errors of the store.
pub fn remove_secret(tx: &mut Tx<'_>, name: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM secret WHERE name = $1", params![name])? == 1)
}

/// The secrets, by name.
///
/// # Errors
/// Errors of the store.
pub fn list_secrets(tx: &mut Tx<'_>, most: u32) -> Result<Vec<Sealed>, StoreError> {
    let rows = tx.query("SELECT name, sealed, changed_at FROM secret ORDER BY name LIMIT $1", params![most])?;
    rows.iter().map(|row| Ok(Sealed { name: row.text(0)?.to_owned(), sealed: row.blob(1)?.to_vec(), changed_at: row.time(2)? })).collect()
}
