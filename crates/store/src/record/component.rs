//! Components as customers see them, and what presses on them.

use std::collections::BTreeMap;

use allclear_domain::incident::Incident;
use allclear_domain::status::{ComponentStatus, Owner};
use allclear_domain::{ComponentId, IncidentId, RuleId, Timestamp};

use crate::value::{Row, params, to_json};
use crate::{Lock, StoreError, Tx};

/// A component's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ComponentState {
    /// How it stands.
    pub status: ComponentStatus,
    /// Who decides that.
    pub owner: Owner,
    /// Since when.
    pub changed_at: Timestamp,
}

/// A change of a component with its cause, as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentChange {
    /// Its id.
    pub id: String,
    /// The component.
    pub component: ComponentId,
    /// When.
    pub at: Timestamp,
    /// Before.
    pub before: ComponentStatus,
    /// After.
    pub after: ComponentStatus,
    /// What caused it.
    pub cause: serde_json::Value,
}

fn status(row: &Row, index: usize) -> Result<ComponentStatus, StoreError> {
    let word = row.text(index)?;
    ComponentStatus::from_word(word).ok_or_else(|| StoreError::Fault { context: format!("unknown status {word:?}"), source: None })
}

/// A component's state; operational and automatic where nothing was ever written.
///
/// # Errors
/// Errors of the store.
pub fn component_state(tx: &mut Tx<'_>, id: &ComponentId) -> Result<ComponentState, StoreError> {
    let row = tx.query_opt("SELECT status, owner, changed_at FROM component_state WHERE component_id = $1", params![id.as_str()])?;
    row.map_or(Ok(ComponentState::default()), |row| state(&row, 0))
}

fn state(row: &Row, first: usize) -> Result<ComponentState, StoreError> {
    let owner = if row.text(first + 1)? == "person" { Owner::Person } else { Owner::Automation };
    Ok(ComponentState { status: status(row, first)?, owner, changed_at: row.time(first + 2)? })
}

/// The states of all components for which one was written.
///
/// # Errors
/// Errors of the store.
pub fn all_states(tx: &mut Tx<'_>) -> Result<BTreeMap<ComponentId, ComponentState>, StoreError> {
    let rows = tx.query("SELECT component_id, status, owner, changed_at FROM component_state LIMIT 100000", &[])?;
    rows.iter().map(|row| Ok((row.text(0)?.into(), state(row, 1)?))).collect()
}

/// Writes a component's state. Needs its lock.
///
/// # Errors
/// Errors of the store.
pub fn put_component_state(tx: &mut Tx<'_>, id: &ComponentId, state: ComponentState) -> Result<(), StoreError> {
    tx.require(&Lock::Component(id.clone()))?;
    let owner = match state.owner {
        Owner::Automation => "automation",
        Owner::Person => "person",
    };
    tx.execute(
        "INSERT INTO component_state (component_id, status, owner, changed_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (component_id) DO UPDATE SET status = excluded.status, owner = excluded.owner, changed_at = excluded.changed_at",
        params![id.as_str(), state.status.word(), owner, state.changed_at],
    )?;
    Ok(())
}

/// What open incidents press on a component.
///
/// # Errors
/// Errors of the store.
pub fn pressures(tx: &mut Tx<'_>, id: &ComponentId) -> Result<Vec<(IncidentId, ComponentStatus)>, StoreError> {
    let rows = tx.query(
        "SELECT incident_id, status FROM component_pressure WHERE component_id = $1 ORDER BY incident_id LIMIT 10000",
        params![id.as_str()],
    )?;
    rows.iter().map(|row| Ok((row.text(0)?.into(), status(row, 1)?))).collect()
}

/// What presses on each component: the worst of it, and how many incidents do.
///
/// # Errors
/// Errors of the store.
pub fn all_pressures(tx: &mut Tx<'_>) -> Result<BTreeMap<ComponentId, (ComponentStatus, i64)>, StoreError> {
    let rows = tx.query("SELECT component_id, status, count(*) FROM component_pressure GROUP BY component_id, status LIMIT 100000", &[])?;
    let mut found: BTreeMap<ComponentId, (ComponentStatus, i64)> = BTreeMap::new();
    for row in &rows {
        let (worst, count) = found.entry(row.text(0)?.into()).or_default();
        *worst = status(row, 1)?.max(*worst);
        *count += row.int(2)?;
    }
    Ok(found)
}

/// The first few incidents that press on each component, oldest first.
///
/// # Errors
/// Errors of the store.
pub fn first_pressing(tx: &mut Tx<'_>, most_each: u32) -> Result<Vec<(ComponentId, Incident)>, StoreError> {
    let rows = tx.query(
        "SELECT p.component_id, i.state FROM (SELECT component_id, incident_id, row_number() OVER \
           (PARTITION BY component_id ORDER BY incident_id) AS place FROM component_pressure) p \
         JOIN incident i ON i.id = p.incident_id WHERE p.place <= $1 ORDER BY p.component_id, i.number LIMIT 100000",
        params![most_each],
    )?;
    rows.iter().map(|row| Ok((row.text(0)?.into(), row.json(1)?))).collect()
}

/// The components that an incident presses on.
///
/// # Errors
/// Errors of the store.
pub fn pressed_by(tx: &mut Tx<'_>, incident: &IncidentId) -> Result<Vec<ComponentId>, StoreError> {
    let rows = tx.query(
        "SELECT component_id FROM component_pressure WHERE incident_id = $1 ORDER BY component_id LIMIT 1000",
        params![incident.as_str()],
    )?;
    rows.iter().map(|row| Ok(row.text(0)?.into())).collect()
}

/// Lets an incident press on a component. Needs the component's lock.
///
/// # Errors
/// Errors of the store.
pub fn press(tx: &mut Tx<'_>, id: &ComponentId, incident: &IncidentId, rule: &RuleId, status: ComponentStatus) -> Result<(), StoreError> {
    tx.require(&Lock::Component(id.clone()))?;
    tx.execute(
        "INSERT INTO component_pressure (component_id, incident_id, rule_id, status) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (component_id, incident_id) DO UPDATE SET rule_id = excluded.rule_id, status = excluded.status",
        params![id.as_str(), incident.as_str(), rule.as_str(), status.word()],
    )?;
    Ok(())
}

/// Ends an incident's pressure on a component. Needs the component's lock.
///
/// # Errors
/// Errors of the store.
pub fn release(tx: &mut Tx<'_>, id: &ComponentId, incident: &IncidentId) -> Result<(), StoreError> {
    tx.require(&Lock::Component(id.clone()))?;
    tx.execute("DELETE FROM component_pressure WHERE component_id = $1 AND incident_id = $2", params![id.as_str(), incident.as_str()])?;
    Ok(())
}

/// Lets an incident press in another's place where it does not press yet; where both do, the worse stays. Needs the
/// component's lock.
///
/// # Errors
/// Errors of the store.
pub fn hand_over(tx: &mut Tx<'_>, id: &ComponentId, from: &IncidentId, to: &IncidentId) -> Result<(), StoreError> {
    tx.require(&Lock::Component(id.clone()))?;
    let of = |tx: &mut Tx<'_>, incident: &IncidentId| {
        let row = tx.query_opt(
            "SELECT rule_id, status FROM component_pressure WHERE component_id = $1 AND incident_id = $2",
            params![id.as_str(), incident.as_str()],
        )?;
        row.map(|row| Ok::<_, StoreError>((RuleId::from(row.text(0)?), status(&row, 1)?))).transpose()
    };
    let (Some((rule, given)), held) = (of(tx, from)?, of(tx, to)?) else { return Ok(()) };
    release(tx, id, from)?;
    match held {
        Some((_, held)) if held >= given => Ok(()),
        Some(_) | None => press(tx, id, to, &rule, given),
    }
}

/// Records a change with its cause.
///
/// # Errors
/// Errors of the store.
pub fn insert_change(tx: &mut Tx<'_>, change: &ComponentChange) -> Result<(), StoreError> {
    let rev = tx.catalog().rev();
    tx.execute(
        "INSERT INTO component_change (id, component_id, at, before, after, cause, catalog_rev) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![&change.id, change.component.as_str(), change.at, change.before.word(), change.after.word(), to_json(&change.cause)?, rev],
    )?;
    Ok(())
}

/// The latest changes into or out of an outage since `since`, oldest first: when, the status before and after.
///
/// # Errors
/// Errors of the store.
pub fn outage_changes(
    tx: &mut Tx<'_>,
    id: &ComponentId,
    since: Timestamp,
    most: u32,
) -> Result<Vec<(Timestamp, ComponentStatus, ComponentStatus)>, StoreError> {
    let rows = tx.query(
        "SELECT at, before, after FROM component_change WHERE component_id = $1 AND at >= $2 \
         AND (before IN ('partial_outage', 'major_outage') OR after IN ('partial_outage', 'major_outage')) ORDER BY at DESC, id DESC LIMIT $3",
        params![id.as_str(), since, most],
    )?;
    rows.iter().rev().map(|row| Ok((row.time(0)?, status(row, 1)?, status(row, 2)?))).collect()
}

/// The latest changes of a component, newest first.
///
/// # Errors
/// Errors of the store.
pub fn changes_of(tx: &mut Tx<'_>, id: &ComponentId, most: u32) -> Result<Vec<ComponentChange>, StoreError> {
    let rows = tx.query(
        "SELECT id, component_id, at, before, after, cause FROM component_change WHERE component_id = $1 ORDER BY at DESC, id DESC LIMIT $2",
        params![id.as_str(), most],
    )?;
    let change = |row: &Row| {
        Ok(ComponentChange {
            id: row.text(0)?.to_owned(),
            component: row.text(1)?.into(),
            at: row.time(2)?,
            before: status(row, 3)?,
            after: status(row, 4)?,
            cause: row.json(5)?,
        })
    };
    rows.iter().map(change).collect()
}
