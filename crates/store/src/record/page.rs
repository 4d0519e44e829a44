//! Public incidents, and pages as they are published.

use allclear_domain::status::Owner;
use allclear_domain::status::published::{PublishedIncident, PublishedPage};
use allclear_domain::{IncidentId, PageId, RuleId, Timestamp};

use crate::value::{Row, params, to_json};
use crate::{Lock, Signal, StoreError, Tx};

/// A public incident with where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusIncident {
    /// The page that shows it.
    pub page: PageId,
    /// The engineers' incident that it follows.
    pub follows: Option<(IncidentId, RuleId)>,
    /// Who writes it.
    pub owner: Owner,
    /// What customers see.
    pub shown: PublishedIncident,
}

fn from_row(row: &Row) -> Result<StatusIncident, StoreError> {
    let follows = match (row.text_or_null(1)?, row.text_or_null(2)?) {
        (Some(incident), Some(rule)) => Some((incident.into(), rule.into())),
        _ => None,
    };
    let owner = if row.text(3)? == "person" { Owner::Person } else { Owner::Automation };
    Ok(StatusIncident { page: row.text(0)?.into(), follows, owner, shown: row.json(4)? })
}

/// Writes a public incident. Needs its page's lock.
///
/// # Errors
/// Errors of the store.
pub fn put_status_incident(tx: &mut Tx<'_>, incident: &StatusIncident) -> Result<(), StoreError> {
    tx.require(&Lock::Page(incident.page.clone()))?;
    let (follows, rule) = incident.follows.clone().map_or((None, None), |(incident, rule)| (Some(incident.0), Some(rule.0)));
    let owner = if incident.owner == Owner::Person { "person" } else { "automation" };
    let shown = &incident.shown;
    tx.execute(
        "INSERT INTO status_incident (id, page_id, incident_id, rule_id, owner, created_at, resolved_at, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, resolved_at = excluded.resolved_at, body = excluded.body",
        params![&shown.id, incident.page.as_str(), follows, rule, owner, shown.created_at, shown.resolved_at, to_json(shown)?],
    )?;
    Ok(())
}

/// The public incidents that follow an engineers' incident.
///
/// # Errors
/// Errors of the store.
pub fn following(tx: &mut Tx<'_>, incident: &IncidentId) -> Result<Vec<StatusIncident>, StoreError> {
    let rows = tx.query(
        "SELECT page_id, incident_id, rule_id, owner, body FROM status_incident WHERE incident_id = $1 ORDER BY id LIMIT 100",
        params![incident.as_str()],
    )?;
    rows.iter().map(from_row).collect()
}

/// A public incident by its id.
///
/// # Errors
/// Errors of the store.
pub fn find_status_incident(tx: &mut Tx<'_>, id: &str) -> Result<Option<StatusIncident>, StoreError> {
    let row = tx.query_opt("SELECT page_id, incident_id, rule_id, owner, body FROM status_incident WHERE id = $1", params![id])?;
    row.as_ref().map(from_row).transpose()
}

/// Lets a public incident follow another of the engineers' incidents. Needs its page's lock.
///
/// # Errors
/// Errors of the store.
pub fn follow_another(tx: &mut Tx<'_>, shown: &StatusIncident, incident: &IncidentId) -> Result<(), StoreError> {
    tx.require(&Lock::Page(shown.page.clone()))?;
    tx.execute("UPDATE status_incident SET incident_id = $2 WHERE id = $1", params![&shown.shown.id, incident.as_str()])?;
    Ok(())
}

/// Open public incidents of a page that are shown besides the newest.
const MOST_OPEN: u32 = 200;

/// The newest public incidents of a page, and those that are open however old they are; newest first.
///
/// # Errors
/// Errors of the store.
pub fn latest_on_page(tx: &mut Tx<'_>, page: &PageId, most: u32) -> Result<Vec<StatusIncident>, StoreError> {
    let newest = "SELECT page_id, incident_id, rule_id, owner, body FROM status_incident WHERE page_id = $1 \
                  ORDER BY created_at DESC, id DESC LIMIT $2";
    let open = "SELECT page_id, incident_id, rule_id, owner, body FROM status_incident WHERE page_id = $1 AND resolved_at IS NULL \
                ORDER BY created_at DESC, id DESC LIMIT $2";
    let mut found = tx.query(newest, params![page.as_str(), most])?.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
    if u32::try_from(found.len()).is_ok_and(|count| count < most) {
        return Ok(found);
    }
    for row in &tx.query(open, params![page.as_str(), MOST_OPEN])? {
        let one = from_row(row)?;
        if found.iter().all(|known| known.shown.id != one.shown.id) {
            found.push(one);
        }
    }
    Ok(found)
}

/// The public incidents of a page that are next before one of them, newest first.
///
/// # Errors
/// Errors of the store.
pub fn before_on_page(tx: &mut Tx<'_>, page: &PageId, id: &str, most: u32) -> Result<Vec<StatusIncident>, StoreError> {
    let rows = tx.query(
        "SELECT page_id, incident_id, rule_id, owner, body FROM status_incident WHERE page_id = $1 \
         AND (created_at, id) < (SELECT o.created_at, o.id FROM status_incident o WHERE o.id = $2 AND o.page_id = $1) \
         ORDER BY created_at DESC, id DESC LIMIT $3",
        params![page.as_str(), id, most],
    )?;
    rows.iter().map(from_row).collect()
}

/// Publishes a page: its document and the next number, in the commit of what it shows. Needs the page's lock.
///
/// # Errors
/// Errors of the store.
pub fn publish(tx: &mut Tx<'_>, page: &PublishedPage) -> Result<i64, StoreError> {
    tx.require(&Lock::Page(page.id.clone()))?;
    let row = tx.query_opt(
        "INSERT INTO published_page (page_id, seq, body) VALUES ($1, 1, $2) \
         ON CONFLICT (page_id) DO UPDATE SET seq = published_page.seq + 1, body = excluded.body RETURNING seq",
        params![page.id.as_str(), to_json(page)?],
    )?;
    tx.after_commit(Signal::Pages);
    row.map_or(Ok(0), |row| row.int(0))
}

/// Takes a page back.
///
/// # Errors
/// Errors of the store.
pub fn unpublish(tx: &mut Tx<'_>, page: &PageId) -> Result<(), StoreError> {
    tx.require(&Lock::Page(page.clone()))?;
    tx.execute("DELETE FROM published_page WHERE page_id = $1", params![page.as_str()])?;
    tx.after_commit(Signal::Pages);
    Ok(())
}

/// Every published page with its number.
///
/// # Errors
/// Errors of the store.
pub fn published_pages(tx: &mut Tx<'_>) -> Result<Vec<(i64, PublishedPage)>, StoreError> {
    let rows = tx.query("SELECT seq, body FROM published_page ORDER BY page_id LIMIT 1000", params![])?;
    rows.iter().map(|row| Ok((row.int(0)?, row.json(1)?))).collect()
}

/// When a page was last published, by the page itself.
#[must_use]
pub fn published_at(page: &PublishedPage) -> Timestamp {
    page.updated_at
}
