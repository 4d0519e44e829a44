//! Documents and their history. The live row and the history are two tables; the catalog's revision orders all
//! changes.

use std::sync::Arc;

use allclear_domain::Timestamp;
use allclear_domain::catalog::shape::SHAPE;
use allclear_domain::catalog::{Catalog, Document, Kind, Resource};

use crate::value::{Row, params};
use crate::{Lock, Signal, StoreError, Tx};

fn from_row(row: &Row) -> Result<Resource, StoreError> {
    let kind = kind_of(row.text(0)?)?;
    let body: serde_json::Value = row.json(2)?;
    let document = Document::from_stored(kind, row.int(6)?, body)
        .map_err(|e| StoreError::fault(format!("the stored {} {}", row.text(0).unwrap_or(""), row.text(1).unwrap_or("")), e))?;
    Ok(Resource {
        id: row.text(1)?.to_owned(),
        rev: row.int(4)?,
        source: row.text_or_null(3)?.map(str::to_owned),
        created_at: row.time(5)?,
        document,
    })
}

fn kind_of(word: &str) -> Result<Kind, StoreError> {
    Kind::from_word(word).ok_or_else(|| StoreError::Fault { context: format!("unknown kind {word:?}"), source: None })
}

/// Loads everything. Only at start; afterwards [`catch_up`] loads the difference.
pub(crate) fn load_catalog(tx: &mut Tx<'_>) -> Result<Catalog, StoreError> {
    let rows = tx.query(
        "SELECT kind, id, body, source, rev, created_at, shape FROM resource \
         UNION ALL SELECT 'catalog', '', NULL, NULL, rev, 0, 0 FROM catalog WHERE id = 1",
        params![],
    )?;
    advanced(&Catalog::default(), &rows)
}

/// The snapshot with everything that changed since it was taken. One statement: two could see two configurations.
pub(crate) fn catch_up(tx: &mut Tx<'_>) -> Result<Catalog, StoreError> {
    let known = tx.catalog();
    let rows = tx.query(
        "SELECT kind, id, body, source, rev, created_at, shape FROM resource WHERE rev > $1 \
         UNION ALL SELECT kind, id, NULL, NULL, rev, 0, 0 FROM resource_history WHERE rev > $1 AND body IS NULL \
         UNION ALL SELECT 'catalog', '', NULL, NULL, rev, 0, 0 FROM catalog WHERE id = 1",
        params![known.rev()],
    )?;
    advanced(&known, &rows)
}

/// A snapshot with rows that were read: documents, those that were removed (without a body), and the revision.
fn advanced(known: &Catalog, rows: &[Row]) -> Result<Catalog, StoreError> {
    let (mut rev, mut changed, mut removed) = (known.rev(), Vec::new(), Vec::new());
    for row in rows {
        match (row.text(0)?, row.text_or_null(2)?) {
            ("catalog", _) => rev = row.int(4)?,
            (_, Some(_)) => changed.push(from_row(row)?),
            (kind, None) => removed.push((kind_of(kind)?, row.text(1)?.to_owned())),
        }
    }
    Ok(known.advanced(rev, changed, removed))
}

/// Begins a change of the configuration: the next revision. Needs the catalog's lock.
///
/// # Errors
/// Errors of the store.
pub fn next_rev(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    tx.require(&Lock::Catalog)?;
    let row = tx.query_opt("UPDATE catalog SET rev = rev + 1 WHERE id = 1 RETURNING rev", params![])?;
    let row = row.ok_or(StoreError::NotFound { what: "catalog", id: "1".into() })?;
    tx.after_commit(Signal::Catalog);
    row.int(0)
}

/// Writes documents and removes others at revision `rev`; the transaction sees them at once.
///
/// # Errors
/// [`StoreError::Taken`] where another document has the identity; errors of the store.
pub fn change(tx: &mut Tx<'_>, rev: i64, put: &[Resource], remove: &[(Kind, String)], actor: &str) -> Result<(), StoreError> {
    tx.require(&Lock::Catalog)?;
    let now = tx.now();
    for (kind, id) in remove {
        let identity = tx.catalog().get(*kind, id).map_or(String::new(), |resource| resource.document.identity());
        tx.execute("DELETE FROM resource WHERE kind = $1 AND id = $2", params![kind.word(), id])?;
        record(tx, *kind, id, rev, &identity, None, actor, now)?;
    }
    for resource in put {
        let kind = resource.document.kind();
        let body = resource.document.to_json().map_err(|e| StoreError::fault("a document does not encode", e))?.to_string();
        let identity = resource.document.identity();
        tx.execute(
            "INSERT INTO resource (kind, id, identity, shape, body, source, rev, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT (kind, id) DO UPDATE SET identity = excluded.identity, shape = excluded.shape, body = excluded.body, \
             source = excluded.source, rev = excluded.rev, updated_at = excluded.updated_at",
            params![kind.word(), &resource.id, &identity, SHAPE, &body, resource.source.clone(), rev, resource.created_at, now],
        )?;
        record(tx, kind, &resource.id, rev, &identity, Some(body), actor, now)?;
    }
    let put = put.iter().map(|resource| Resource { rev, ..resource.clone() }).collect();
    tx.catalog = Arc::new(tx.catalog().advanced(rev, put, remove.to_vec()));
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one row, one column each")]
fn record(
    tx: &mut Tx<'_>,
    kind: Kind,
    id: &str,
    rev: i64,
    identity: &str,
    body: Option<String>,
    actor: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO resource_history (kind, id, rev, identity, shape, body, actor, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        params![kind.word(), id, rev, identity, SHAPE, body, actor, at],
    )?;
    Ok(())
}

/// Ids of documents that once had this kind and identity, so that a document that comes back gets its id again.
///
/// # Errors
/// Errors of the store.
pub fn past_id(tx: &mut Tx<'_>, kind: Kind, identity: &str) -> Result<Option<String>, StoreError> {
    let row = tx.query_opt(
        "SELECT id FROM resource_history WHERE kind = $1 AND identity = $2 ORDER BY rev DESC LIMIT 1",
        params![kind.word(), identity],
    )?;
    row.map(|row| Ok(row.text(0)?.to_owned())).transpose()
}
