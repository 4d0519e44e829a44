//! How tests stand per environment and location.

use allclear_domain::apitest::judge::Standing;
use allclear_domain::{LocationName, TestId};

use crate::value::{params, to_json};
use crate::{Lock, StoreError, Tx};

/// A standing with its location.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// The location.
    pub location: LocationName,
    /// How the test stands there.
    pub standing: Standing,
}

/// How a test stands in an environment, in every location.
///
/// # Errors
/// Errors of the store.
pub fn standings(tx: &mut Tx<'_>, test: &TestId, environment: &str) -> Result<Vec<Located>, StoreError> {
    let rows =
        tx.query("SELECT location, state FROM standing WHERE test_id = $1 AND environment = $2", params![test.as_str(), environment])?;
    rows.iter().map(|row| Ok(Located { location: row.text(0)?.into(), standing: row.json(1)? })).collect()
}

/// Writes a standing. Needs the test's lock.
///
/// # Errors
/// Errors of the store.
pub fn put_standing(tx: &mut Tx<'_>, test: &TestId, environment: &str, located: &Located) -> Result<(), StoreError> {
    tx.require(&Lock::Test(test.clone()))?;
    tx.execute(
        "INSERT INTO standing (test_id, environment, location, state) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (test_id, environment, location) DO UPDATE SET state = excluded.state",
        params![test.as_str(), environment, located.location.as_str(), to_json(&located.standing)?],
    )?;
    Ok(())
}

/// The environments in which a test stands in some way.
///
/// # Errors
/// Errors of the store.
pub fn environments_of(tx: &mut Tx<'_>, test: &TestId) -> Result<Vec<String>, StoreError> {
    let rows =
        tx.query("SELECT DISTINCT environment FROM standing WHERE test_id = $1 ORDER BY environment LIMIT 1000", params![test.as_str()])?;
    rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}

/// Forgets how a test stood in an environment. Needs the test's lock.
///
/// # Errors
/// Errors of the store.
pub fn forget_standings(tx: &mut Tx<'_>, test: &TestId, environment: &str) -> Result<(), StoreError> {
    tx.require(&Lock::Test(test.clone()))?;
    tx.execute("DELETE FROM standing WHERE test_id = $1 AND environment = $2", params![test.as_str(), environment])?;
    Ok(())
}
