//! Stored secrets: sealed under a key that is not in the database, and read into memory for whoever sends.

use allclear_base::{Rng, Vault};
use allclear_domain::Timestamp;
use allclear_store::record::secret;
use allclear_store::{Lane, Store, Tx, Write};

use crate::{Actor, OpsError, Permission};

/// The longest value of a secret.
const LONGEST_VALUE: usize = 64 * 1024;

/// The longest name.
const LONGEST_NAME: usize = 100;

/// The most secrets.
const MOST_SECRETS: u32 = 10_000;

/// A stored secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// When it was last changed.
    pub changed_at: Timestamp,
    /// Whether it can be used.
    pub state: State,
}

/// Whether a stored secret can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It can.
    Good,
    /// The key does not open it.
    Locked,
    /// It is empty, or has nothing but blanks: it counts as missing.
    Blank,
}

/// Reads the stored secrets into the vault; the names of those that its key does not open.
///
/// # Errors
/// Errors of the store.
pub async fn load(store: &Store, vault: &Vault) -> Result<Vec<String>, OpsError> {
    let sealed = store.read("load secrets", |tx| secret::list_secrets(tx, MOST_SECRETS)).await?;
    let mut locked = Vec::new();
    let mut opened = Vec::new();
    for one in sealed {
        match vault.open(&one.name, &one.sealed) {
            Some(value) => opened.push((one.name, value)),
            None => locked.push(one.name),
        }
    }
    vault.secrets().replace_stored(opened);
    Ok(locked)
}

/// Keeps a secret. It is in use once this returns.
///
/// # Errors
/// [`OpsError::Invalid`] for a name or value out of bounds; errors of the store.
pub async fn put(store: &Store, rng: &dyn Rng, vault: &Vault, actor: &Actor, name: &str, value: &str) -> Result<(), OpsError> {
    actor.require(Permission::ConfigWrite)?;
    let is_name = !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name {
        return Err(OpsError::Invalid(format!("a secret's name has 1 to {LONGEST_NAME} letters, digits and underscores, not {name:?}")));
    }
    if value.trim().is_empty() {
        return Err(OpsError::Invalid(format!("the value of the secret {name} is empty or has only blanks; nothing was changed")));
    }
    if value.len() > LONGEST_VALUE {
        return Err(OpsError::Invalid(format!("a secret has at most {LONGEST_VALUE} bytes")));
    }
    let (name, sealed) = (name.to_owned(), vault.seal(rng, name, value));
    let work = move |tx: &mut Tx<'_>| Ok::<_, OpsError>(secret::put_secret(tx, &name, &sealed)?);
    store.write(Write::new("keep secret", Lane::Events), work).await?;
    load(store, vault).await.map(|_| ())
}

/// Forgets a secret.
///
/// # Errors
/// [`OpsError::NotFound`]; errors of the store.
pub async fn remove(store: &Store, vault: &Vault, actor: &Actor, name: &str) -> Result<(), OpsError> {
    actor.require(Permission::ConfigWrite)?;
    let gone = name.to_owned();
    let work = move |tx: &mut Tx<'_>| {
        if secret::remove_secret(tx, &gone)? { Ok(()) } else { Err(OpsError::NotFound { what: "secret", id: gone.clone() }) }
    };
    store.write(Write::new("forget secret", Lane::Events), work).await?;
    load(store, vault).await.map(|_| ())
}

/// The stored secrets by name, without their values.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn list(store: &Store, vault: &Vault, actor: &Actor) -> Result<Vec<Known>, OpsError> {
    actor.require(Permission::ConfigRead)?;
    let sealed = store.read("list secrets", |tx| secret::list_secrets(tx, MOST_SECRETS)).await?;
    let state = |one: &secret::Sealed| match vault.open(&one.name, &one.sealed) {
        None => State::Locked,
        Some(value) if value.is_blank() => State::Blank,
        Some(_) => State::Good,
    };
    let known = |one: secret::Sealed| Known { state: state(&one), name: one.name, changed_at: one.changed_at };
    Ok(sealed.into_iter().map(known).collect())
}
