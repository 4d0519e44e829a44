//! Changing one document by itself: what the API and the web app do. A document that files own is theirs to change.

use std::collections::BTreeMap;
use std::sync::Arc;

use allclear_base::Rng;
use allclear_domain::catalog::{Catalog, Document, Kind, Resource};
use allclear_store::record::resource;
use allclear_store::{Lane, Lock, Store, Tx, Write};

use crate::config::{Action, Plan, Step, Worked, check_removed, follow, id_of, resolve};
use crate::draw::{Ids, SecretSeed};
use crate::{Actor, Draw, OpsError, Permission};

/// Puts a document in place of the one with this id, or a new one. `make` gets the document that is there and everything
/// else; references in what it returns are ids.
///
/// # Errors
/// [`OpsError::NotFound`] for an id that nothing has; [`OpsError::Invalid`] for a document that files own, a name that is
/// taken, a reference to nothing, or whatever `make` says.
pub async fn put<F>(store: &Store, rng: &dyn Rng, actor: &Actor, kind: Kind, id: Option<&str>, make: F) -> Result<Arc<Resource>, OpsError>
where
    F: Fn(Option<&Document>, &Catalog) -> Result<Document, OpsError> + Send + 'static,
{
    actor.require(Permission::ConfigWrite)?;
    let (draw, seed) = (Draw::new(rng), SecretSeed::new(rng));
    let (id, name) = (id.map(str::to_owned), actor.name().to_owned());
    let work = move |tx: &mut Tx<'_>| put_within(tx, &draw.ids(), &seed, &name, (kind, id.as_deref()), &make);
    store.write(Write::new("put document", Lane::Events).lock(Lock::Catalog), work).await
}

/// The same within a transaction that holds the catalog's lock.
pub(crate) fn put_within<F>(
    tx: &mut Tx<'_>,
    ids: &Ids,
    seed: &SecretSeed,
    actor: &str,
    (kind, id): (Kind, Option<&str>),
    make: &F,
) -> Result<Arc<Resource>, OpsError>
where
    F: Fn(Option<&Document>, &Catalog) -> Result<Document, OpsError>,
{
    let before = tx.catalog();
    let old = match id {
        Some(id) => Some(mine_to_change(&before, kind, id)?),
        None => None,
    };
    let mut document = make(old.as_ref().map(|old| &old.document), &before)?;
    for (kind, reference) in document.references() {
        if before.get(kind, reference).is_none() {
            return Err(OpsError::Invalid(format!("there is no {} {reference:?}", kind.word())));
        }
    }
    let identity = document.identity();
    if before.id_of(kind, &identity).is_some_and(|taken| id != Some(taken)) {
        return Err(OpsError::Invalid("Name has already been taken".into()));
    }
    let new_id = match id {
        Some(id) => id.to_owned(),
        None => id_of(tx, ids, &document)?,
    };
    if id.is_none() && before.get(kind, &new_id).is_some() {
        return Err(OpsError::Invalid("renamed_from names one that is there: change its name instead of making another.".into()));
    }
    let same = old.as_ref().is_some_and(|old| old.document == document);
    let action = if old.is_some() { Action::Change } else { Action::Create };
    let created_at = old.map_or(tx.now(), |old| old.created_at);
    let step = Step { action, kind, name: document.name() };
    let put = Resource { id: new_id.clone(), rev: 0, source: None, created_at, document };
    let worked = Worked { plan: Plan { rev: before.rev(), steps: vec![step], refused: None }, put: vec![put], remove: vec![] };
    if !same {
        change(tx, ids, seed, &before, &worked, actor)?;
    }
    tx.catalog().get(kind, &new_id).cloned().ok_or(OpsError::NotFound { what: kind.word(), id: new_id })
}

/// Puts a document whose references are names, in place of the one with this id or as a new one.
///
/// # Errors
/// As [`put`].
pub async fn put_named(
    store: &Store,
    rng: &dyn Rng,
    actor: &Actor,
    id: Option<&str>,
    document: Document,
) -> Result<Arc<Resource>, OpsError> {
    let kind = document.kind();
    let make = move |_: Option<&Document>, catalog: &Catalog| {
        let mut document = document.clone();
        resolve(&mut document, &BTreeMap::new(), catalog)?;
        Ok(document)
    };
    put(store, rng, actor, kind, id, make).await
}

/// Removes a document.
///
/// # Errors
/// [`OpsError::NotFound`]; [`OpsError::Invalid`] for one that files own, or that others still name.
pub async fn remove(store: &Store, rng: &dyn Rng, actor: &Actor, kind: Kind, id: &str) -> Result<(), OpsError> {
    actor.require(Permission::ConfigWrite)?;
    let (draw, seed) = (Draw::new(rng), SecretSeed::new(rng));
    let (id, name) = (id.to_owned(), actor.name().to_owned());
    let work = move |tx: &mut Tx<'_>| {
        let before = tx.catalog();
        let old = mine_to_change(&before, kind, &id)?;
        let step = Step { action: Action::Remove, kind, name: old.document.name() };
        let worked =
            Worked { plan: Plan { rev: before.rev(), steps: vec![step], refused: None }, put: vec![], remove: vec![(kind, id.clone())] };
        check_removed(&before, &worked)?;
        change(tx, &draw.ids(), &seed, &before, &worked, &name)
    };
    store.write(Write::new("remove document", Lane::Events).lock(Lock::Catalog), work).await
}

fn change(tx: &mut Tx<'_>, ids: &Ids, seed: &SecretSeed, before: &Catalog, worked: &Worked, actor: &str) -> Result<(), OpsError> {
    let rev = resource::next_rev(tx)?;
    resource::change(tx, rev, &worked.put, &worked.remove, actor)?;
    follow(tx, ids, seed, before, worked)
}

fn mine_to_change(catalog: &Catalog, kind: Kind, id: &str) -> Result<Arc<Resource>, OpsError> {
    let found = catalog.get(kind, id).cloned().ok_or_else(|| OpsError::NotFound { what: kind.word(), id: id.to_owned() })?;
    match &found.source {
        Some(source) => Err(OpsError::Invalid(format!(
            "the {} {:?} is owned by the files {source:?}: change it there",
            kind.word(),
            found.document.name()
        ))),
        None => Ok(found),
    }
}
