//! Runs that somebody asked for and that have not begun.

use allclear_domain::{TestId, Timestamp};

use crate::value::params;
use crate::{Signal, StoreError, Tx};

/// A run that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunWish {
    /// Of which test.
    pub test: TestId,
    /// In which environment.
    pub environment: String,
    /// Who asked.
    pub person: String,
    /// When.
    pub asked_at: Timestamp,
}

/// Writes a wish down, in place of one for the same test and environment that waits already.
///
/// # Errors
/// Errors of the store.
pub fn put_wish(tx: &mut Tx<'_>, test: &TestId, environment: &str, person: &str) -> Result<(), StoreError> {
    let now = tx.now();
    tx.execute(
        "INSERT INTO run_wish (test_id, environment, person, asked_at) VALUES ($1, $2, $3, $4) ON CONFLICT (test_id, environment) \
         DO UPDATE SET person = excluded.person, asked_at = excluded.asked_at",
        params![test.as_str(), environment, person, now],
    )?;
    tx.after_commit(Signal::Wishes);
    Ok(())
}

/// The wishes that wait, oldest first.
///
/// # Errors
/// Errors of the store.
pub fn wishes(tx: &mut Tx<'_>, most: u32) -> Result<Vec<RunWish>, StoreError> {
    let rows =
        tx.query("SELECT test_id, environment, person, asked_at FROM run_wish ORDER BY asked_at, test_id LIMIT $1", params![most])?;
    rows.iter()
        .map(|row| {
            Ok(RunWish {
                test: row.text(0)?.into(),
                environment: row.text(1)?.to_owned(),
                person: row.text(2)?.to_owned(),
                asked_at: row.time(3)?,
            })
        })
        .collect()
}

/// Takes a wish away that was carried out, or cannot be.
///
/// # Errors
/// Errors of the store.
pub fn take_wish(tx: &mut Tx<'_>, wish: &RunWish) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM run_wish WHERE test_id = $1 AND environment = $2 AND asked_at = $3",
        params![wish.test.as_str(), &wish.environment, wish.asked_at],
    )?;
    Ok(())
}
