//! Coming in: links that are good once, passwords, sessions. Values are drawn outside the transaction and kept as hashes.

use allclear_base::{Rng, id};
use allclear_domain::catalog::{Document, Kind, Resource};
use allclear_domain::delivery::{Person, Role};
use allclear_domain::{PersonId, Span, Timestamp};
use allclear_store::record::resource;
use allclear_store::record::session::{self, EntryLink, Password, Session};
use allclear_store::{Lane, Lock, Store, Tx, Write};
use serde_json::Map;

pub use allclear_store::record::session::MOST_LISTED;

use crate::config::id_of;
use crate::draw::hash;
use crate::token::person_with_email;
use crate::{Actor, Draw, OpsError};

/// How long one stays signed in.
pub const SESSION: Span = Span::from_mins(30 * 24 * 60);

/// How long a link is good.
const LINK: Span = Span::from_mins(24 * 60);

/// The shortest password.
pub const SHORTEST_PASSWORD: usize = 10;

/// The longest: hashing more would be work for nothing.
pub const LONGEST_PASSWORD: usize = 200;

/// What a link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Makes the first owner.
    SetUp,
    /// Lets somebody choose a new password.
    Reset,
    /// Signs somebody in, as often as it is opened: the demo's.
    SignIn,
}

impl Entry {
    const fn word(self) -> &'static str {
        match self {
            Self::SetUp => "set_up",
            Self::Reset => "reset",
            Self::SignIn => "sign_in",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::SetUp, Self::Reset, Self::SignIn].into_iter().find(|entry| entry.word() == word)
    }
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The person.
    pub person: PersonId,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

impl SignedIn {
    /// As whoever acts.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::signed_in(self.person.clone(), self.role)
    }
}

/// A new value with 160 bits of chance.
fn value(rng: &dyn Rng) -> String {
    id::token(rng)
}

/// The link that makes the first owner; nothing where somebody can sign in already. An earlier one is no longer good.
///
/// # Errors
/// Errors of the store.
pub async fn set_up_link(store: &Store, rng: &dyn Rng) -> Result<Option<String>, OpsError> {
    let fresh = value(rng);
    let kept = hash(&fresh);
    let work = move |tx: &mut Tx<'_>| {
        if session::has_passwords(tx)? {
            return Ok(false);
        }
        session::remove_links(tx, Entry::SetUp.word())?;
        let link = EntryLink { kind: Entry::SetUp.word().to_owned(), person: None, expires_at: tx.now().plus(LINK) };
        session::insert_link(tx, &kept, &link)?;
        Ok::<_, OpsError>(true)
    };
    Ok(store.write(Write::new("make set-up link", Lane::Events), work).await?.then_some(fresh))
}

/// A link for somebody. Whoever can read the data folder may ask for one.
///
/// # Errors
/// [`OpsError::NotFound`]; errors of the store.
pub async fn link_for(store: &Store, rng: &dyn Rng, entry: Entry, who: &str) -> Result<String, OpsError> {
    let person = crate::wish::person_named(store, who)?;
    let fresh = value(rng);
    let kept = hash(&fresh);
    let work = move |tx: &mut Tx<'_>| {
        let link = EntryLink { kind: entry.word().to_owned(), person: Some(person.clone()), expires_at: tx.now().plus(LINK) };
        Ok::<_, OpsError>(session::insert_link(tx, &kept, &link)?)
    };
    store.write(Write::new("make link", Lane::Events), work).await?;
    Ok(fresh)
}

/// What a link does, and for whom; nothing for one that is not good.
///
/// # Errors
/// Errors of the store.
pub async fn look_at_link(store: &Store, link: &str) -> Result<Option<(Entry, Option<PersonId>)>, OpsError> {
    let kept = hash(link);
    let found = store.read("look at link", move |tx| Ok::<_, OpsError>(session::find_link(tx, &kept)?)).await?;
    Ok(found.and_then(|link| Some((Entry::from_word(&link.kind)?, link.person))))
}

/// What somebody enters when they come in the first time, or choose a new password.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Their name, for the first owner.
    pub name: String,
    /// Their e-mail address, for the first owner: a person of the files with this address is them.
    pub email: String,
    /// The hash of their password.
    pub password_hash: String,
}

/// Uses a link, sets the password, ends that person's other sessions and signs them in; the session's value.
///
/// # Errors
/// [`OpsError::UnknownKey`] for a link that is not good; [`OpsError::Invalid`] for a name that somebody else has.
pub async fn claim(store: &Store, rng: &dyn Rng, link: &str, claim: Claim) -> Result<String, OpsError> {
    let (draw, link, fresh) = (Draw::new(rng), hash(link), value(rng));
    let kept = hash(&fresh);
    let work = move |tx: &mut Tx<'_>| {
        let found = session::find_link(tx, &link)?.ok_or(OpsError::UnknownKey)?;
        let entry = Entry::from_word(&found.kind).ok_or(OpsError::UnknownKey)?;
        if !session::take_link(tx, &link)? {
            return Err(OpsError::UnknownKey);
        }
        let person = match (entry, found.person) {
            // Somebody else was faster.
            (Entry::SetUp, _) if session::has_passwords(tx)? => return Err(OpsError::UnknownKey),
            (Entry::SetUp, _) => first_owner(tx, &draw, &claim)?,
            // A link may have been made while its person was removed.
            (Entry::Reset, Some(person)) if tx.catalog().person(&person).is_some() => person,
            (Entry::Reset, _) | (Entry::SignIn, _) => return Err(OpsError::UnknownKey),
        };
        let password = Password { person: person.clone(), hash: claim.password_hash.clone(), is_owner: entry == Entry::SetUp };
        session::put_password(tx, &password)?;
        session::remove_sessions_of(tx, &person)?;
        begin(tx, &kept, person)
    };
    store.write(Write::new("claim", Lane::Events).lock(Lock::Catalog), work).await?;
    Ok(fresh)
}

fn begin(tx: &mut Tx<'_>, kept: &str, person: PersonId) -> Result<(), OpsError> {
    session::prune_sessions(tx)?;
    let expires_at = tx.now().plus(SESSION);
    Ok(session::insert_session(tx, kept, &Session { person, expires_at })?)
}

/// The person with this address, or a new one.
fn first_owner(tx: &mut Tx<'_>, draw: &Draw, claim: &Claim) -> Result<PersonId, OpsError> {
    let catalog = tx.catalog();
    if let Some(known) = person_with_email(&catalog, &claim.email) {
        return Ok(known);
    }
    let name = claim.name.trim();
    if name.is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(OpsError::Invalid("say your name, in at most 200 characters".into()));
    }
    if catalog.id_of(Kind::Person, name).is_some() {
        return Err(OpsError::Invalid(format!("there is a person {name:?} already, with another e-mail address")));
    }
    let person = Person {
        name: name.to_owned(),
        email: Some(claim.email.clone()),
        time_zone: None,
        job_title: None,
        role: Role::Owner,
        contact_methods: vec![],
        notification_rules: vec![],
        extra: Map::new(),
    };
    let document = Document::Person(person);
    let id = id_of(tx, &draw.ids(), &document)?;
    let made = Resource { id: id.clone(), rev: 0, source: None, created_at: tx.now(), document };
    let rev = resource::next_rev(tx)?;
    resource::change(tx, rev, &[made], &[], "set-up")?;
    Ok(PersonId(id))
}

/// The hash of the password of whoever has this address; nothing where nobody does.
///
/// # Errors
/// Errors of the store.
pub async fn password_of(store: &Store, email: &str) -> Result<Option<Password>, OpsError> {
    let Some(person) = person_with_email(&store.catalog(), email) else { return Ok(None) };
    store.read("look for password", move |tx| Ok::<_, OpsError>(session::find_password(tx, &person)?)).await
}

/// Signs somebody in whose password was right, or whose link says so; the session's value. The session that the browser had until
/// then ends, whosever it was.
///
/// # Errors
/// Errors of the store.
pub async fn sign_in(store: &Store, rng: &dyn Rng, person: PersonId, presented: Option<&str>) -> Result<String, OpsError> {
    let (fresh, presented) = (value(rng), presented.map(hash));
    let kept = hash(&fresh);
    let work = move |tx: &mut Tx<'_>| {
        if let Some(old) = &presented {
            session::remove_session(tx, old)?;
        }
        begin(tx, &kept, person.clone())
    };
    store.write(Write::new("sign in", Lane::Events), work).await?;
    Ok(fresh)
}

/// Ends a session.
///
/// # Errors
/// Errors of the store.
pub async fn sign_out(store: &Store, value: &str) -> Result<(), OpsError> {
    let kept = hash(value);
    let work = move |tx: &mut Tx<'_>| Ok::<_, OpsError>(session::remove_session(tx, &kept)?);
    store.write(Write::new("sign out", Lane::Events), work).await
}

/// The hash of somebody's own password; nothing where they came in by a link alone.
///
/// # Errors
/// Errors of the store.
pub async fn own_password(store: &Store, who: &SignedIn) -> Result<Option<Password>, OpsError> {
    let person = who.person.clone();
    store.read("look for password", move |tx| Ok::<_, OpsError>(session::find_password(tx, &person)?)).await
}

/// A new password in place of the one that was found to be right.
pub struct NewPassword {
    /// The hash that the old one was compared with; nothing where there was none.
    pub old_hash: Option<String>,
    /// The hash of the new one.
    pub new_hash: String,
}

/// Sets somebody's own password (or leaves it, for nothing), ends every session of theirs and begins a new one; its value.
/// `presented` is the value of the session that asks: one that ended while the request was on its way ends nothing.
///
/// # Errors
/// [`OpsError::UnknownKey`] for a session that is over, or a password that is another one by now; errors of the store.
pub async fn begin_anew(
    store: &Store,
    rng: &dyn Rng,
    who: &SignedIn,
    presented: &str,
    password: Option<NewPassword>,
) -> Result<String, OpsError> {
    let (person, fresh, presented) = (who.person.clone(), value(rng), hash(presented));
    let kept = hash(&fresh);
    let work = move |tx: &mut Tx<'_>| {
        if session::find_session(tx, &presented)?.is_none_or(|found| found.person != person) {
            return Err(OpsError::UnknownKey);
        }
        if let Some(new) = &password {
            let old = session::find_password(tx, &person)?;
            if old.as_ref().map(|old| &old.hash) != new.old_hash.as_ref() {
                return Err(OpsError::UnknownKey);
            }
            let is_owner = old.is_some_and(|old| old.is_owner);
            session::put_password(tx, &Password { person: person.clone(), hash: new.new_hash.clone(), is_owner })?;
        }
        session::remove_sessions_of(tx, &person)?;
        begin(tx, &kept, person.clone())
    };
    store.write(Write::new("begin session anew", Lane::Events).lock(Lock::Catalog), work).await?;
    Ok(fresh)
}

/// When somebody's sessions began, newest first.
///
/// # Errors
/// Errors of the store.
pub async fn sessions(store: &Store, who: &SignedIn) -> Result<Vec<Timestamp>, OpsError> {
    let person = who.person.clone();
    store.read("list sessions", move |tx| Ok::<_, OpsError>(session::sessions_of(tx, &person)?)).await
}

/// Who a session's value stands for; nothing for one that is not good, or whose person is gone.
///
/// # Errors
/// Errors of the store.
pub async fn who(store: &Store, value: &str) -> Result<Option<SignedIn>, OpsError> {
    let kept = hash(value);
    let look = move |tx: &mut Tx<'_>| {
        let Some(found) = session::find_session(tx, &kept)? else { return Ok(None) };
        let is_owner = session::find_password(tx, &found.person)?.is_some_and(|password| password.is_owner);
        Ok::<_, OpsError>(Some((found.person, is_owner)))
    };
    let Some((person, is_owner)) = store.read("look at session", look).await? else { return Ok(None) };
    let catalog = store.catalog();
    let known = catalog.person(&person);
    Ok(known.map(|found| SignedIn {
        name: found.name.clone(),
        role: if is_owner { Role::Owner } else { found.role },
        person: person.clone(),
    }))
}
