//! API tokens: scoped, shown once, kept as a hash.

use allclear_base::{Rng, id};
use allclear_domain::catalog::Kind;
use allclear_domain::{PersonId, Timestamp};
use allclear_store::record::token::{self, Token};
use allclear_store::{Lane, Store, Write};

use crate::draw::hash;
use crate::{Actor, OpsError, Permission};

/// A new token with its value, which is not kept.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its id.
    pub id: String,
    /// Its value.
    pub value: String,
}

/// The longest name of a token.
const LONGEST_NAME: usize = 100;

/// Makes a token. `person` is the name of the person it acts for.
///
/// # Errors
/// [`OpsError::Invalid`] for an unknown scope or person.
pub async fn create(
    store: &Store,
    rng: &dyn Rng,
    actor: &Actor,
    name: &str,
    scopes: &[String],
    person: Option<&str>,
) -> Result<NewToken, OpsError> {
    actor.require(Permission::TokensWrite)?;
    if name.trim().is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(OpsError::Invalid(format!("a token needs a name of at most {LONGEST_NAME} characters")));
    }
    let known = || Permission::ALL.map(Permission::scope).join(", ");
    if let Some(unknown) = scopes.iter().find(|scope| Permission::from_scope(scope).is_none()) {
        return Err(OpsError::Invalid(format!("{unknown:?} is not a scope; the scopes are {}", known())));
    }
    if scopes.is_empty() {
        return Err(OpsError::Invalid(format!("a token needs at least one scope: {}", known())));
    }
    let person = match person {
        Some(name) => Some(crate::wish::person_named(store, name)?),
        None => None,
    };
    let value = id::token(rng);
    let row = Token {
        id: id::uuid7(rng, store.now().0),
        name: name.to_owned(),
        scopes: scopes.join(" "),
        person,
        created_at: Timestamp(0),
        revoked_at: None,
    };
    let (made, hash) = (NewToken { id: row.id.clone(), value: value.clone() }, hash(&value));
    let work = move |tx: &mut allclear_store::Tx<'_>| {
        let row = Token { created_at: tx.now(), ..row.clone() };
        Ok::<_, OpsError>(token::insert_token(tx, &row, &hash)?)
    };
    store.write(Write::new("create token", Lane::Events), work).await?;
    Ok(made)
}

/// The person with this e-mail address, in any case.
#[must_use]
pub fn person_with_email(catalog: &allclear_domain::catalog::Catalog, email: &str) -> Option<PersonId> {
    let has = |person: &allclear_domain::delivery::Person| person.email.as_deref().is_some_and(|e| e.eq_ignore_ascii_case(email));
    catalog.of_kind(Kind::Person).find(|r| r.document.as_person().is_some_and(has)).map(|r| PersonId(r.id.clone()))
}

/// Who a token's value stands for; nothing for an unknown or revoked one.
///
/// # Errors
/// Errors of the store.
pub async fn authenticate(store: &Store, value: &str) -> Result<Option<Actor>, OpsError> {
    let hash = hash(value);
    let found = store.read("authenticate", move |tx| token::find_token(tx, &hash)).await?;
    Ok(found.map(|token| {
        let permissions = token.scopes.split(' ').filter_map(Permission::from_scope).collect();
        Actor::token(&token.name, token.person, permissions)
    }))
}
