//! API tokens: scoped, shown once, kept as a hash. A token of a person lives as long as they are
//! there.

use allclear_base::{Rng, id};
use allclear_domain::catalog::Kind;
use allclear_domain::{PersonId, Timestamp};
use allclear_store::record::token::{self, Token};
use allclear_store::{Lane, Store, Tx, Write};

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

/// A token as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do, as scopes separated by spaces.
    pub scopes: String,
    /// Whom it acts for.
    pub holder: Holder,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Whom a token acts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Itself.
    Nobody,
    /// The person of this name.
    Person(String),
    /// A person who was removed: the token is dead.
    Removed,
}

/// The tokens that a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Those that were not revoked first, newest first.
    pub tokens: Vec<Known>,
    /// Whether there are others.
    pub has_more: bool,
}

/// What revoking a token did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its id.
    pub id: String,
    /// What it was for.
    pub name: String,
    /// When somebody had revoked it before; then nothing was changed.
    pub before: Option<Timestamp>,
}

/// The longest name of a token.
const LONGEST_NAME: usize = 100;

/// The most tokens that are listed: more than anybody reads.
const MOST_LISTED: usize = 500;

/// The most tokens of one name that are looked at, and named in a refusal.
const MOST_ALIKE: u32 = 20;

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
    let work = move |tx: &mut Tx<'_>| {
        let row = Token { created_at: tx.now(), ..row.clone() };
        Ok::<_, OpsError>(token::insert_token(tx, &row, &hash)?)
    };
    store.write(Write::new("create token", Lane::Events), work).await?;
    Ok(made)
}

/// The tokens, without their values.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn list(store: &Store, actor: &Actor) -> Result<Listed, OpsError> {
    const ONE_MORE: u32 = MOST_LISTED as u32 + 1;
    actor.require(Permission::TokensWrite)?;
    let look = |tx: &mut Tx<'_>| Ok::<_, OpsError>((token::list_tokens(tx, ONE_MORE)?, tx.catalog()));
    let (mut found, catalog) = store.read("list tokens", look).await?;
    let has_more = found.len() > MOST_LISTED;
    found.truncate(MOST_LISTED);
    let holder = |person: Option<PersonId>| match person.map(|id| catalog.person(&id).map(|known| known.name.clone())) {
        None => Holder::Nobody,
        Some(Some(name)) => Holder::Person(name),
        Some(None) => Holder::Removed,
    };
    let known = |token: Token| {
        let Token { id, name, scopes, person, created_at, revoked_at } = token;
        Known { id, name, scopes, holder: holder(person), created_at, revoked_at }
    };
    Ok(Listed { tokens: found.into_iter().map(known).collect(), has_more })
}

/// Revokes the token with this id, or the only good one of this name. One that was revoked before
/// stays as it is.
///
/// # Errors
/// [`OpsError::NotFound`]; [`OpsError::Invalid`] for a name that several good tokens have.
pub async fn revoke(store: &Store, actor: &Actor, key: &str) -> Result<Revoked, OpsError> {
    actor.require(Permission::TokensWrite)?;
    let key = key.to_owned();
    let work = move |tx: &mut Tx<'_>| {
        let chosen = choose(token::tokens_called(tx, &key, MOST_ALIKE)?, &key)?;
        token::revoke_token(tx, &chosen.id)?;
        Ok::<_, OpsError>(Revoked { id: chosen.id, name: chosen.name, before: chosen.revoked_at })
    };
    store.write(Write::new("revoke token", Lane::Events), work).await
}

/// Which of the tokens that are called `key` is meant; good ones come first.
fn choose(found: Vec<Token>, key: &str) -> Result<Token, OpsError> {
    if let Some(by_id) = found.iter().find(|token| token.id == key) {
        return Ok(by_id.clone());
    }
    let good: Vec<&str> = found.iter().filter(|token| token.revoked_at.is_none()).map(|token| token.id.as_str()).collect();
    if good.len() > 1 {
        return Err(OpsError::Invalid(format!("several tokens are named {key:?}; say which by its id: {}", good.join(", "))));
    }
    found.into_iter().next().ok_or_else(|| OpsError::NotFound { what: "token", id: key.to_owned() })
}

/// The person with this e-mail address, in any case.
#[must_use]
pub fn person_with_email(catalog: &allclear_domain::catalog::Catalog, email: &str) -> Option<PersonId> {
    let has = |person: &allclear_domain::delivery::Person| person.email.as_deref().is_some_and(|e| e.eq_ignore_ascii_case(email));
    catalog.of_kind(Kind::Person).find(|r| r.document.as_person().is_some_and(has)).map(|r| PersonId(r.id.clone()))
}

/// Who a token's value stands for; nothing for one that is unknown or revoked, or whose person was
/// removed.
///
/// # Errors
/// Errors of the store.
pub async fn authenticate(store: &Store, value: &str) -> Result<Option<Actor>, OpsError> {
    let hash = hash(value);
    let found = store.read("authenticate", move |tx| token::find_token(tx, &hash)).await?;
    let catalog = store.catalog();
    let is_alive = |token: &Token| token.person.as_ref().is_none_or(|person| catalog.person(person).is_some());
    Ok(found.filter(is_alive).map(|token| {
        let permissions = token.scopes.split(' ').filter_map(Permission::from_scope).collect();
        Actor::token(&token.name, token.person, permissions)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, name: &str, is_revoked: bool) -> Token {
        let revoked_at = is_revoked.then_some(Timestamp(1));
        Token { id: id.into(), name: name.into(), scopes: String::new(), person: None, created_at: Timestamp(0), revoked_at }
    }

    #[test]
    fn a_name_means_its_only_good_token_and_several_are_named_by_their_ids() {
        let chosen = |found: &[&Token], key: &str| {
            let found = found.iter().map(|one| (*one).clone()).collect();
            choose(found, key).map(|token| token.id).map_err(|error| error.to_string())
        };
        let (one, two, old) = (token("a", "ci", false), token("b", "ci", false), token("c", "ci", true));
        assert_eq!(chosen(&[&one], "ci").as_deref(), Ok("a"));
        assert_eq!(chosen(&[&one, &old], "ci").as_deref(), Ok("a"), "the one that was rotated away is not meant");
        assert_eq!(chosen(&[&old], "ci").as_deref(), Ok("c"));
        assert_eq!(chosen(&[&old], "c").as_deref(), Ok("c"));
        let refused = chosen(&[&one, &two, &old], "ci").expect_err("two are meant");
        assert!(refused.ends_with("by its id: a, b"), "{refused}");
        assert_eq!(chosen(&[&one, &token("ci", "x", true)], "ci").as_deref(), Ok("ci"), "an id comes before a name");
        assert_eq!(chosen(&[], "ci"), Err("there is no token \"ci\"".to_owned()));
    }
}
