//! Timers: whatever is due later is a row. A subject has at most one timer of each kind.

use std::collections::BTreeMap;

use allclear_domain::{IncidentId, Span, Timestamp};

use crate::value::params;
use crate::{Signal, StoreError, Tx};

/// A timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// What it belongs to: `incident:Q…`.
    pub subject: String,
    /// Which of the subject's timers.
    pub kind: String,
    /// When it is due.
    pub due_at: Timestamp,
    /// What it carries, as JSON.
    pub body: String,
}

/// Sets a timer, in place of one of the same kind.
///
/// # Errors
/// Errors of the store.
pub fn set_timer(tx: &mut Tx<'_>, timer: &Timer) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO timer (subject, kind, due_at, body) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (subject, kind) DO UPDATE SET due_at = excluded.due_at, body = excluded.body",
        params![&timer.subject, &timer.kind, timer.due_at, &timer.body],
    )?;
    tx.after_commit(Signal::Timers);
    Ok(())
}

/// Sets the first timers of a subject that is new.
///
/// # Errors
/// Errors of the store.
pub fn begin_timers(tx: &mut Tx<'_>, timers: &[Timer]) -> Result<(), StoreError> {
    if timers.is_empty() {
        return Ok(());
    }
    let row =
        |timer: &Timer| vec![timer.subject.as_str().into(), timer.kind.as_str().into(), timer.due_at.into(), timer.body.as_str().into()];
    tx.insert_rows("timer", &["subject", "kind", "due_at", "body"], &timers.iter().map(row).collect::<Vec<_>>())?;
    tx.after_commit(Signal::Timers);
    Ok(())
}

/// Removes a timer, if it is set.
///
/// # Errors
/// Errors of the store.
pub fn clear_timer(tx: &mut Tx<'_>, subject: &str, kind: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM timer WHERE subject = $1 AND kind = $2", params![subject, kind])?;
    Ok(())
}

/// The timers that are due, oldest first.
///
/// # Errors
/// Errors of the store.
pub fn due_timers(tx: &mut Tx<'_>, most: u32) -> Result<Vec<Timer>, StoreError> {
    let now = tx.now();
    let rows = tx.query(
        "SELECT subject, kind, due_at, body FROM timer WHERE due_at <= $1 ORDER BY due_at, subject, kind LIMIT $2",
        params![now, most],
    )?;
    rows.iter()
        .map(|row| Ok(Timer { subject: row.text(0)?.into(), kind: row.text(1)?.into(), due_at: row.time(2)?, body: row.text(3)?.into() }))
        .collect()
}

/// Takes a timer away if it is still as it was read: whoever takes it acts on it.
///
/// # Errors
/// Errors of the store.
pub fn take_timer(tx: &mut Tx<'_>, timer: &Timer) -> Result<bool, StoreError> {
    let taken = tx.execute(
        "DELETE FROM timer WHERE subject = $1 AND kind = $2 AND due_at = $3",
        params![&timer.subject, &timer.kind, timer.due_at],
    )?;
    Ok(taken == 1)
}

/// Moves the timers that are due later.
///
/// # Errors
/// Errors of the store.
pub fn shift_timers(tx: &mut Tx<'_>, by: Span) -> Result<u64, StoreError> {
    let now = tx.now();
    tx.after_commit(Signal::Timers);
    tx.execute("UPDATE timer SET due_at = due_at + $1 WHERE due_at > $2", params![by.as_micros(), now])
}

/// When the next timer is due.
///
/// # Errors
/// Errors of the store.
pub fn next_due(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    let row = tx.query_opt("SELECT due_at FROM timer ORDER BY due_at LIMIT 1", params![])?;
    row.map(|row| row.time(0)).transpose()
}

/// The kinds of the timers of the incidents of one status with numbers from `from` to `to`, by incident.
///
/// # Errors
/// Errors of the store.
pub fn kinds_of_incidents(tx: &mut Tx<'_>, status: &str, (from, to): (i64, i64)) -> Result<BTreeMap<IncidentId, Vec<String>>, StoreError> {
    let rows = tx.query(
        "SELECT i.id, t.kind FROM incident i JOIN timer t ON t.subject = 'incident:' || i.id \
         WHERE i.status = $1 AND i.number BETWEEN $2 AND $3",
        params![status, from, to],
    )?;
    let mut kinds = BTreeMap::<_, Vec<_>>::new();
    for row in &rows {
        kinds.entry(row.text(0)?.into()).or_default().push(row.text(1)?.to_owned());
    }
    Ok(kinds)
}

/// The timers of a subject.
///
/// # Errors
/// Errors of the store.
pub fn timers_of(tx: &mut Tx<'_>, subject: &str) -> Result<Vec<Timer>, StoreError> {
    let rows = tx.query("SELECT subject, kind, due_at, body FROM timer WHERE subject = $1 ORDER BY due_at", params![subject])?;
    rows.iter()
        .map(|row| Ok(Timer { subject: row.text(0)?.into(), kind: row.text(1)?.into(), due_at: row.time(2)?, body: row.text(3)?.into() }))
        .collect()
}
