//! Who is signed in, by what, and the links by which one comes in the first time. Of every credential only a hash is kept.

use allclear_domain::{PersonId, Timestamp};

use crate::value::{Row, params};
use crate::{Lock, StoreError, Tx};

/// Somebody's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    /// Whose.
    pub person: PersonId,
    /// Its hash, with its parameters.
    pub hash: String,
    /// Whether they own this AllClear, whatever their document says.
    pub is_owner: bool,
}

/// Sets somebody's password. Needs the catalog's lock: of two first owners one must find the other.
///
/// # Errors
/// Errors of the store.
pub fn put_password(tx: &mut Tx<'_>, password: &Password) -> Result<(), StoreError> {
    tx.require(&Lock::Catalog)?;
    let now = tx.now();
    tx.execute(
        "INSERT INTO password (person_id, hash, is_owner, changed_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (person_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at",
        params![password.person.as_str(), &password.hash, password.is_owner, now],
    )?;
    Ok(())
}

/// Somebody's password, if they have one.
///
/// # Errors
/// Errors of the store.
pub fn find_password(tx: &mut Tx<'_>, person: &PersonId) -> Result<Option<Password>, StoreError> {
    let row = tx.query_opt("SELECT hash, is_owner FROM password WHERE person_id = $1", params![person.as_str()])?;
    row.map(|row| Ok(Password { person: person.clone(), hash: row.text(0)?.to_owned(), is_owner: row.int(1)? != 0 })).transpose()
}

/// Whether anybody has a password.
///
/// # Errors
/// Errors of the store.
pub fn has_passwords(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    Ok(tx.query_opt("SELECT 1 FROM password LIMIT 1", params![])?.is_some())
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub person: PersonId,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// Begins a session; `hash` is that of its value.
///
/// # Errors
/// Errors of the store.
pub fn insert_session(tx: &mut Tx<'_>, hash: &str, session: &Session) -> Result<(), StoreError> {
    let now = tx.now();
    tx.execute(
        "INSERT INTO session (hash, person_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
        params![hash, session.person.as_str(), now, session.expires_at],
    )?;
    Ok(())
}

/// The session with this hash, while it is good.
///
/// # Errors
/// Errors of the store.
pub fn find_session(tx: &mut Tx<'_>, hash: &str) -> Result<Option<Session>, StoreError> {
    let now = tx.now();
    let row = tx.query_opt("SELECT person_id, expires_at FROM session WHERE hash = $1 AND expires_at > $2", params![hash, now])?;
    row.map(|row| Ok(Session { person: row.text(0)?.into(), expires_at: row.time(1)? })).transpose()
}

/// Ends a session.
///
/// # Errors
/// Errors of the store.
pub fn remove_session(tx: &mut Tx<'_>, hash: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM session WHERE hash = $1", params![hash])?;
    Ok(())
}

/// Ends all sessions of a person; how many there were.
///
/// # Errors
/// Errors of the store.
pub fn remove_sessions_of(tx: &mut Tx<'_>, person: &PersonId) -> Result<u64, StoreError> {
    tx.execute("DELETE FROM session WHERE person_id = $1", params![person.as_str()])
}

/// Ends everything by which a person comes in: sessions, the password, links. Needs the catalog's
/// lock: whoever uses a link up meanwhile sets no password afterwards.
///
/// # Errors
/// Errors of the store.
pub fn remove_credentials_of(tx: &mut Tx<'_>, person: &PersonId) -> Result<(), StoreError> {
    tx.require(&Lock::Catalog)?;
    remove_sessions_of(tx, person)?;
    tx.execute("DELETE FROM password WHERE person_id = $1", params![person.as_str()])?;
    tx.execute("DELETE FROM entry_link WHERE person_id = $1", params![person.as_str()])?;
    Ok(())
}

/// The most sessions that are listed.
pub const MOST_LISTED: usize = 100;

/// The sessions of a person that are good: when each began, newest first, at most [`MOST_LISTED`].
///
/// # Errors
/// Errors of the store.
pub fn sessions_of(tx: &mut Tx<'_>, person: &PersonId) -> Result<Vec<Timestamp>, StoreError> {
    let now = tx.now();
    let rows = tx.query(
        "SELECT created_at FROM session WHERE person_id = $1 AND expires_at > $2 ORDER BY created_at DESC LIMIT 100",
        params![person.as_str(), now],
    )?;
    rows.iter().map(|row| row.time(0)).collect()
}

/// Forgets sessions and links that are over.
///
/// # Errors
/// Errors of the store.
pub fn prune_sessions(tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    let now = tx.now();
    let sessions = tx.execute("DELETE FROM session WHERE expires_at <= $1", params![now])?;
    Ok(sessions + tx.execute("DELETE FROM entry_link WHERE expires_at <= $1", params![now])?)
}

/// A link by which somebody comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryLink {
    /// What it does, in a word.
    pub kind: String,
    /// For whom, where that is known.
    pub person: Option<PersonId>,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

fn link_from_row(row: &Row) -> Result<EntryLink, StoreError> {
    Ok(EntryLink { kind: row.text(0)?.to_owned(), person: row.text_or_null(1)?.map(PersonId::from), expires_at: row.time(2)? })
}

/// Keeps a link; `hash` is that of its value.
///
/// # Errors
/// Errors of the store.
pub fn insert_link(tx: &mut Tx<'_>, hash: &str, link: &EntryLink) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO entry_link (hash, kind, person_id, expires_at) VALUES ($1, $2, $3, $4)",
        params![hash, &link.kind, link.person.clone().map(|person| person.0), link.expires_at],
    )?;
    Ok(())
}

/// The link with this hash, while it is good.
///
/// # Errors
/// Errors of the store.
pub fn find_link(tx: &mut Tx<'_>, hash: &str) -> Result<Option<EntryLink>, StoreError> {
    let now = tx.now();
    let row = tx.query_opt("SELECT kind, person_id, expires_at FROM entry_link WHERE hash = $1 AND expires_at > $2", params![hash, now])?;
    row.as_ref().map(link_from_row).transpose()
}

/// Uses a link up; whether it was there. Whoever uses it up acts on it.
///
/// # Errors
/// Errors of the store.
pub fn take_link(tx: &mut Tx<'_>, hash: &str) -> Result<bool, StoreError> {
    Ok(tx.execute("DELETE FROM entry_link WHERE hash = $1", params![hash])? == 1)
}

/// Forgets the links of a kind.
///
/// # Errors
/// Errors of the store.
pub fn remove_links(tx: &mut Tx<'_>, kind: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM entry_link WHERE kind = $1", params![kind])?;
    Ok(())
}
