//! API tokens: scoped, shown once, kept as a hash.

use allclear_domain::{PersonId, Timestamp};

use crate::value::{Row, params};
use crate::{StoreError, Tx};

/// A token, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do, as scopes separated by spaces.
    pub scopes: String,
    /// Whom it acts for.
    pub person: Option<PersonId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

fn from_row(row: &Row) -> Result<Token, StoreError> {
    Ok(Token {
        id: row.text(0)?.to_owned(),
        name: row.text(1)?.to_owned(),
        scopes: row.text(2)?.to_owned(),
        person: row.text_or_null(3)?.map(PersonId::from),
        created_at: row.time(4)?,
        revoked_at: row.int_or_null(5)?.map(Timestamp),
    })
}

/// Adds a token; `hash` is the SHA-256 of its value in hexadecimal.
///
/// # Errors
/// Errors of the store.
pub fn insert_token(tx: &mut Tx<'_>, token: &Token, hash: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO token (id, name, hash, scopes, person_id, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        params![&token.id, &token.name, hash, &token.scopes, token.person.clone().map(|p| p.0), token.created_at],
    )?;
    Ok(())
}

/// The token with this hash, unless it was revoked.
///
/// # Errors
/// Errors of the store.
pub fn find_token(tx: &mut Tx<'_>, hash: &str) -> Result<Option<Token>, StoreError> {
    let row = tx.query_opt(
        "SELECT id, name, scopes, person_id, created_at, revoked_at FROM token WHERE hash = $1 AND revoked_at IS NULL",
        params![hash],
    )?;
    row.as_ref().map(from_row).transpose()
}

/// Every token: those that were not revoked first, newest first.
///
/// # Errors
/// Errors of the store.
pub fn list_tokens(tx: &mut Tx<'_>, most: u32) -> Result<Vec<Token>, StoreError> {
    let rows = tx.query(
        "SELECT id, name, scopes, person_id, created_at, revoked_at FROM token \
         ORDER BY CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END, created_at DESC, id LIMIT $1",
        params![most],
    )?;
    rows.iter().map(from_row).collect()
}

/// The tokens with this id or this name, in the same order.
///
/// # Errors
/// Errors of the store.
pub fn tokens_called(tx: &mut Tx<'_>, key: &str, most: u32) -> Result<Vec<Token>, StoreError> {
    let rows = tx.query(
        "SELECT id, name, scopes, person_id, created_at, revoked_at FROM token WHERE id = $1 OR name = $1 \
         ORDER BY CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END, created_at DESC, id LIMIT $2",
        params![key, most],
    )?;
    rows.iter().map(from_row).collect()
}

/// Revokes a token; whether it was valid until now.
///
/// # Errors
/// Errors of the store.
pub fn revoke_token(tx: &mut Tx<'_>, id: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    Ok(tx.execute("UPDATE token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL", params![id, now])? == 1)
}
