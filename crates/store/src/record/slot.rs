//! The slot ledger: every slot up to a probe's watermark ran, but for the exceptions with their reasons.

use allclear_domain::{LocationName, TestId, Timestamp};

use crate::value::{Row, params};
use crate::{StoreError, Tx};

/// Slots that did not run, with why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotException {
    /// The test.
    pub test: TestId,
    /// The environment's name.
    pub environment: String,
    /// The location.
    pub location: LocationName,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// How many.
    pub slots: i64,
    /// Why: `still running`, `late`, `centre down` …
    pub reason: String,
}

/// How far a probe has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The location.
    pub location: LocationName,
    /// The probe.
    pub probe: String,
    /// Its current start.
    pub boot: String,
    /// The last batch that was taken from this start.
    pub seq: i64,
    /// Every slot up to here is accounted for.
    pub through: Timestamp,
}

/// Adds exceptions; one that is there already stays as it is.
///
/// # Errors
/// Errors of the store.
pub fn insert_exceptions(tx: &mut Tx<'_>, exceptions: &[SlotException]) -> Result<(), StoreError> {
    for e in exceptions {
        tx.execute(
            "INSERT INTO slot_exception (test_id, environment, location, first_slot, last_slot, slots, reason) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (test_id, environment, location, first_slot) DO NOTHING",
            params![e.test.as_str(), &e.environment, e.location.as_str(), e.first, e.last, e.slots, &e.reason],
        )?;
    }
    Ok(())
}

/// Removes at most `most` exceptions that ended before `before`; how many were removed.
///
/// # Errors
/// Errors of the store.
pub fn prune_exceptions(tx: &mut Tx<'_>, before: Timestamp, most: u32) -> Result<u64, StoreError> {
    tx.execute(
        "DELETE FROM slot_exception WHERE (test_id, environment, location, first_slot) IN ( \
           SELECT test_id, environment, location, first_slot FROM slot_exception WHERE last_slot < $1 ORDER BY last_slot LIMIT $2)",
        params![before, most],
    )
}

/// The latest exceptions of a test, newest first.
///
/// # Errors
/// Errors of the store.
pub fn exceptions_of(tx: &mut Tx<'_>, test: &TestId, most: u32) -> Result<Vec<SlotException>, StoreError> {
    let rows = tx.query(
        "SELECT test_id, environment, location, first_slot, last_slot, slots, reason FROM slot_exception WHERE test_id = $1 \
         ORDER BY first_slot DESC LIMIT $2",
        params![test.as_str(), most],
    )?;
    let exception = |row: &Row| {
        Ok(SlotException {
            test: row.text(0)?.into(),
            environment: row.text(1)?.to_owned(),
            location: row.text(2)?.into(),
            first: row.time(3)?,
            last: row.time(4)?,
            slots: row.int(5)?,
            reason: row.text(6)?.to_owned(),
        })
    };
    rows.iter().map(exception).collect()
}

/// A slot or a stretch of them that is accounted for: its test, the environment's name, the first and the last.
pub type Accounted = (TestId, String, Timestamp, Timestamp);

/// What became of slots of a location from `since` on: those that ran, and those that did not with a reason.
///
/// # Errors
/// Errors of the store.
pub fn accounted_since(tx: &mut Tx<'_>, location: &LocationName, since: Timestamp) -> Result<Vec<Accounted>, StoreError> {
    let mut rows = tx.query(
        "SELECT test_id, environment, slot, slot FROM run WHERE started_at >= $2 AND location = $1 AND slot >= $2",
        params![location.as_str(), since],
    )?;
    rows.extend(tx.query(
        "SELECT test_id, environment, first_slot, last_slot FROM slot_exception WHERE last_slot >= $2 AND location = $1",
        params![location.as_str(), since],
    )?);
    rows.iter().map(|row| Ok((row.text(0)?.into(), row.text(1)?.to_owned(), row.time(2)?, row.time(3)?))).collect()
}

/// A probe's watermark.
///
/// # Errors
/// Errors of the store.
pub fn watermark(tx: &mut Tx<'_>, location: &LocationName, probe: &str) -> Result<Option<Watermark>, StoreError> {
    let row = tx.query_opt(
        "SELECT location, probe, boot, seq, through FROM watermark WHERE location = $1 AND probe = $2 FOR UPDATE",
        params![location.as_str(), probe],
    )?;
    let read = |row: Row| {
        Ok(Watermark {
            location: row.text(0)?.into(),
            probe: row.text(1)?.to_owned(),
            boot: row.text(2)?.to_owned(),
            seq: row.int(3)?,
            through: row.time(4)?,
        })
    };
    row.map(read).transpose()
}

/// Moves a probe's watermark; never back.
///
/// # Errors
/// Errors of the store.
pub fn put_watermark(tx: &mut Tx<'_>, mark: &Watermark) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO watermark (location, probe, boot, seq, through) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (location, probe) DO UPDATE SET boot = excluded.boot, seq = excluded.seq, \
         through = CASE WHEN excluded.through > watermark.through THEN excluded.through ELSE watermark.through END",
        params![mark.location.as_str(), &mark.probe, &mark.boot, mark.seq, mark.through],
    )?;
    Ok(())
}
