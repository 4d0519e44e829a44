//! Changing the configuration from documents whose references are names.

use std::collections::{BTreeMap, BTreeSet};

use allclear_base::{Rng, crash};
use allclear_domain::catalog::{Catalog, Document, Kind, Resource};
use allclear_domain::incident::Incident;
use allclear_domain::{ComponentId, HeartbeatId, IncidentId, PageId, PersonId, ServiceId, TestId};
use allclear_store::record::incident as incidents;
use allclear_store::record::{component, resource, session};
use allclear_store::{Lane, Lock, Store, Tx, Write};
use serde::{Deserialize, Serialize};

use crate::draw::Ids;
use crate::draw::SecretSeed;
use crate::event;
use crate::guard::{self, Refusal};
use crate::heartbeat;
use crate::{Actor, Draw, OpsError, Permission, judge, rules, status};

/// What happens to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Create,
    /// It says something else.
    Change,
    /// Its source no longer contains it.
    Remove,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What happens.
    pub action: Action,
    /// To which kind of document.
    pub kind: Kind,
    /// To which one.
    pub name: String,
}

/// What a change of the configuration does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The revision that it was made for, or that it led to.
    pub rev: i64,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// Why [`apply`] refuses it; [`apply_removing`] does it all the same.
    pub refused: Option<Refusal>,
}

/// A plan with the documents behind it.
pub(crate) struct Worked {
    pub(crate) plan: Plan,
    pub(crate) put: Vec<Resource>,
    pub(crate) remove: Vec<(Kind, String)>,
}

/// Whether a load may remove everything its source owns, or a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removing {
    /// It is refused.
    Guarded,
    /// Somebody said that it is meant.
    Meant,
}

/// Makes the documents of `source` be exactly these; references in them are names. Nothing else is touched.
///
/// # Errors
/// [`OpsError::Invalid`] for a name that nothing has, or a document that others still need;
/// [`OpsError::WouldRemove`] for documents without everything that the source owned, or without a
/// page of it.
pub async fn apply(store: &Store, rng: &dyn Rng, actor: &Actor, source: &str, documents: Vec<Document>) -> Result<Plan, OpsError> {
    apply_by(store, rng, actor, source, documents, Removing::Guarded).await
}

/// The same for somebody who means what it removes.
///
/// # Errors
/// [`OpsError::Invalid`] as [`apply`].
pub async fn apply_removing(store: &Store, rng: &dyn Rng, actor: &Actor, source: &str, documents: Vec<Document>) -> Result<Plan, OpsError> {
    apply_by(store, rng, actor, source, documents, Removing::Meant).await
}

async fn apply_by(
    store: &Store,
    rng: &dyn Rng,
    actor: &Actor,
    source: &str,
    documents: Vec<Document>,
    removing: Removing,
) -> Result<Plan, OpsError> {
    actor.require(Permission::ConfigWrite)?;
    let (draw, seed) = (Draw::new(rng), SecretSeed::new(rng));
    let (source, name) = (source.to_owned(), actor.name().to_owned());
    let write = Write::new("apply configuration", Lane::Events).lock(Lock::Catalog);
    let work = move |tx: &mut Tx<'_>| {
        let ids = draw.ids();
        let mut worked = work_out(tx, &ids, &source, &documents)?;
        match worked.plan.refused.take() {
            Some(refusal) if removing == Removing::Guarded => Err(OpsError::WouldRemove(refusal)),
            Some(_) | None => write_down(tx, &ids, &seed, worked, &name),
        }
    };
    let plan = store.write(write, work).await?;
    crash::point("apply.after_commit");
    Ok(plan)
}

/// What [`apply`] would do.
///
/// # Errors
/// As [`apply`].
pub async fn plan(store: &Store, rng: &dyn Rng, actor: &Actor, source: &str, documents: Vec<Document>) -> Result<Plan, OpsError> {
    actor.require(Permission::ConfigRead)?;
    let (draw, source) = (Draw::new(rng), source.to_owned());
    store.read("plan configuration", move |tx| Ok(work_out(tx, &draw.ids(), &source, &documents)?.plan)).await
}

/// What a source owns, or everything: documents whose references are names, in the order in which they can be applied.
///
/// # Errors
/// [`OpsError::Forbidden`].
pub fn export(store: &Store, actor: &Actor, source: Option<&str>) -> Result<Vec<Document>, OpsError> {
    actor.require(Permission::ConfigRead)?;
    let catalog = store.catalog();
    let mut documents = Vec::new();
    for kind in Kind::ALL {
        let mut of_kind: Vec<Document> = Vec::new();
        for resource in catalog.of_kind(kind).filter(|r| source.is_none_or(|wanted| r.source.as_deref() == Some(wanted))) {
            let mut document = resource.document.clone();
            for (kind, reference) in document.references() {
                if let Some(named) = catalog.get(kind, reference) {
                    *reference = named.document.name();
                }
            }
            of_kind.push(document);
        }
        of_kind.sort_by_key(Document::identity);
        documents.extend(of_kind);
    }
    Ok(documents)
}

fn write_down(tx: &mut Tx<'_>, ids: &Ids, seed: &SecretSeed, mut worked: Worked, actor: &str) -> Result<Plan, OpsError> {
    if worked.plan.steps.is_empty() {
        return Ok(worked.plan);
    }
    let before = tx.catalog();
    let rev = resource::next_rev(tx)?;
    resource::change(tx, rev, &worked.put, &worked.remove, actor)?;
    follow(tx, ids, seed, &before, &worked)?;
    worked.plan.rev = rev;
    Ok(worked.plan)
}

/// What the change means for what is open, and what customers see of it. Locks are taken in their order; each look is
/// made once what it looks at is locked, so that nothing opens by the old configuration behind its back.
pub(crate) fn follow(tx: &mut Tx<'_>, ids: &Ids, seed: &SecretSeed, before: &Catalog, worked: &Worked) -> Result<(), OpsError> {
    let after = tx.catalog();
    let touched: Vec<(Kind, &str)> = worked.put.iter().map(|r| (r.document.kind(), r.id.as_str())).collect();
    let touched: Vec<(Kind, &str)> = touched.into_iter().chain(worked.remove.iter().map(|(kind, id)| (*kind, id.as_str()))).collect();
    let changed = touched.iter().filter(|(kind, _)| *kind == Kind::Service).map(|(_, id)| ServiceId::from(*id));
    event::follow(tx, ids, seed, &changed.collect::<Vec<_>>())?;
    let beats = touched.iter().filter(|(kind, _)| *kind == Kind::Heartbeat).map(|(_, id)| HeartbeatId::from(*id)).collect::<Vec<_>>();
    heartbeat::follow(tx, seed, before, &beats)?;
    for (_, id) in touched.iter().filter(|(kind, _)| *kind == Kind::Person) {
        let (person, role) = (PersonId::from(*id), |catalog: &Catalog, id: &PersonId| catalog.person(id).map(|person| person.role));
        // Nothing by which somebody came in outlives them.
        if after.person(&person).is_none() {
            session::remove_credentials_of(tx, &person)?;
            continue;
        }
        // Whoever may do something else from now on signs in anew.
        if role(before, &person) != role(&after, &person) {
            session::remove_sessions_of(tx, &person)?;
        }
    }
    let services = services_ruled(before, &after, &touched);
    let mut tests: BTreeSet<TestId> = touched.iter().filter(|(kind, _)| *kind == Kind::Test).map(|(_, id)| TestId::from(*id)).collect();
    tests.extend(judge::withdrawn(tx)?.into_iter().filter_map(|alert| alert.test.map(|(test, _)| test)));
    tx.lock(tests.iter().cloned().map(Lock::Test).chain(services.iter().cloned().map(Lock::Service)))?;

    let mut withdrawn = judge::withdrawn(tx)?;
    withdrawn.extend(heartbeat::withdrawn(tx, &beats)?);
    let ruled = incidents::open_incidents_of(tx, &services)?;
    let concerned: BTreeSet<IncidentId> = withdrawn.iter().map(|alert| alert.incident.clone()).chain(ruled.iter().cloned()).collect();
    let mut components: BTreeSet<ComponentId> = BTreeSet::new();
    tx.lock(concerned.iter().cloned().map(Lock::Incident))?;
    for incident in &concerned {
        components.extend(component::pressed_by(tx, incident)?);
    }
    components.extend(services.iter().flat_map(|service| after.rules_of(service)).map(|(_, rule)| rule.component.clone()));
    let mut pages = pages_touched(before, &after, &touched);
    if !concerned.is_empty() {
        pages.extend([before, &*after].iter().flat_map(|c| c.of_kind(Kind::Page)).map(|page| PageId(page.id.clone())));
    }
    tx.lock(components.into_iter().map(Lock::Component).chain(pages.iter().cloned().map(Lock::Page)))?;

    judge::withdraw(tx, ids, &tests, &withdrawn)?;
    let mut open = Vec::new();
    for id in &ruled {
        open.push(incidents::load_incident(tx, id)?);
    }
    open.retain(Incident::is_open);
    rules::follow(tx, ids, &open)?;
    for page in &pages {
        status::publish(tx, page)?;
    }
    Ok(())
}

/// The services whose rules changed.
fn services_ruled(before: &Catalog, after: &Catalog, touched: &[(Kind, &str)]) -> BTreeSet<ServiceId> {
    let rules = touched.iter().filter(|(kind, _)| *kind == Kind::Rule);
    let of = |catalog: &Catalog, id: &str| catalog.get(Kind::Rule, id).and_then(|r| r.document.as_rule()).map(|rule| rule.service.clone());
    rules.flat_map(|(_, id)| [of(before, id), of(after, id)]).flatten().collect()
}

fn pages_touched(before: &Catalog, after: &Catalog, touched: &[(Kind, &str)]) -> BTreeSet<PageId> {
    let mut pages = BTreeSet::new();
    for (kind, id) in touched {
        match kind {
            Kind::Page => {
                pages.insert(PageId::from(*id));
            }
            Kind::Component => {
                let id = ComponentId::from(*id);
                pages.extend([before, after].iter().filter_map(|c| c.component(&id)).map(|c| c.page.clone()));
            }
            _ => {}
        }
    }
    pages
}

fn work_out(tx: &mut Tx<'_>, ids: &Ids, source: &str, documents: &[Document]) -> Result<Worked, OpsError> {
    let (catalog, now) = (tx.catalog(), tx.now());
    let mut names: BTreeMap<(Kind, String), String> = BTreeMap::new();
    let mut worked = Worked { plan: Plan { rev: catalog.rev(), steps: vec![], refused: None }, put: vec![], remove: vec![] };
    let mut present: BTreeSet<(Kind, String)> = BTreeSet::new();
    for kind in Kind::ALL {
        let of_kind = || documents.iter().filter(|document| document.kind() == kind);
        // Documents of one kind may name each other, in any order. A rule is what it names, and nothing names it.
        for document in of_kind().filter(|_| kind != Kind::Rule) {
            let identity = document.identity();
            let id = id_of(tx, ids, document)?;
            names.entry((kind, identity)).or_insert(id);
        }
        for document in of_kind() {
            let mut document = document.clone();
            resolve(&mut document, &names, &catalog)?;
            let identity = document.identity();
            let id = match names.get(&(kind, identity.clone())) {
                Some(id) => id.clone(),
                None => id_of(tx, ids, &document)?,
            };
            names.insert((kind, identity.clone()), id.clone());
            if !present.insert((kind, id.clone())) {
                return Err(OpsError::Invalid(format!("the {} {identity:?} is written twice", kind.word())));
            }
            let old = catalog.get(kind, &id).cloned();
            let same = old.as_ref().is_some_and(|old| old.document == document && old.source.as_deref() == Some(source));
            if same {
                continue;
            }
            let action = if old.is_some() { Action::Change } else { Action::Create };
            worked.plan.steps.push(Step { action, kind, name: display_name(&document, &catalog, &names) });
            let created_at = old.map_or(now, |old| old.created_at);
            worked.put.push(Resource { id, rev: 0, source: Some(source.to_owned()), created_at, document });
        }
    }
    let owned: Vec<_> = catalog.all().filter(|r| r.source.as_deref() == Some(source)).collect();
    let mut removed = Vec::new();
    for resource in owned.iter().filter(|r| !present.contains(&(r.document.kind(), r.id.clone()))) {
        let (kind, name) = (resource.document.kind(), display_name(&resource.document, &catalog, &names));
        worked.plan.steps.push(Step { action: Action::Remove, kind, name: name.clone() });
        worked.remove.push((kind, resource.id.clone()));
        removed.push((kind, name));
    }
    worked.plan.refused = guard::refuse(source, owned.len(), &removed);
    check_removed(&catalog, &worked)?;
    Ok(worked)
}

/// A rule's identity is made of ids; people read names.
fn display_name(document: &Document, catalog: &Catalog, names: &BTreeMap<(Kind, String), String>) -> String {
    let Some(rule) = document.as_rule() else { return document.name() };
    let name = |kind: Kind, id: &str| {
        let fresh = names.iter().find(|((k, _), known)| *k == kind && *known == id).map(|((_, name), _)| name.clone());
        fresh.or_else(|| catalog.get(kind, id).map(|r| r.document.name())).unwrap_or_else(|| id.to_owned())
    };
    format!("{} -> {}", name(Kind::Service, rule.service.as_str()), name(Kind::Component, rule.component.as_str()))
}

/// Puts ids in place of the names that a document refers to.
pub(crate) fn resolve(document: &mut Document, names: &BTreeMap<(Kind, String), String>, catalog: &Catalog) -> Result<(), OpsError> {
    let (own_kind, own_name) = (document.kind().word(), document.name());
    for (kind, reference) in document.references() {
        let fresh = names.get(&(kind, reference.clone())).cloned();
        let found = fresh.or_else(|| catalog.id_of(kind, reference).map(str::to_owned));
        let missing =
            || OpsError::Invalid(format!("the {own_kind} {own_name:?} names the {} {reference:?}, which does not exist", kind.word()));
        *reference = found.ok_or_else(missing)?;
    }
    Ok(())
}

/// Refuses to remove what remains in use.
pub(crate) fn check_removed(catalog: &Catalog, worked: &Worked) -> Result<(), OpsError> {
    let removed: BTreeSet<&(Kind, String)> = worked.remove.iter().collect();
    if removed.is_empty() {
        return Ok(());
    }
    let replaced: BTreeSet<(Kind, &str)> = worked.put.iter().map(|r| (r.document.kind(), r.id.as_str())).collect();
    let stays = |r: &&std::sync::Arc<Resource>| {
        let key = (r.document.kind(), r.id.clone());
        !removed.contains(&key) && !replaced.contains(&(key.0, r.id.as_str()))
    };
    for resource in catalog.all().filter(stays) {
        let mut document = resource.document.clone();
        for (kind, reference) in document.references() {
            if removed.contains(&(kind, reference.clone())) {
                let gone = catalog.get(kind, reference).map_or_else(|| reference.clone(), |r| r.document.name());
                return Err(OpsError::Invalid(format!(
                    "the {} {gone:?} cannot be removed: the {} {:?} still names it",
                    kind.word(),
                    resource.document.kind().word(),
                    resource.document.name()
                )));
            }
        }
    }
    Ok(())
}

/// The id of a document: the one it has, by its name or by the one before; the one it once had; or
/// a new one. Somebody who has the name of a person who was removed is somebody else: tokens,
/// sessions and what happened belong to an id.
pub(crate) fn id_of(tx: &mut Tx<'_>, ids: &Ids, document: &Document) -> Result<String, OpsError> {
    let (catalog, kind, identity) = (tx.catalog(), document.kind(), document.identity());
    let by_name = catalog.id_of(kind, &identity);
    let renamed = || document.renamed_from().and_then(|before| catalog.id_of(kind, &before));
    if let Some(known) = by_name.or_else(renamed) {
        return Ok(known.to_owned());
    }
    if kind == Kind::Person {
        return Ok(new_id(ids, kind, &identity));
    }
    // Who was renamed since keeps it.
    let past = resource::past_id(tx, kind, &identity)?.filter(|id| catalog.get(kind, id).is_none());
    Ok(past.unwrap_or_else(|| new_id(ids, kind, &identity)))
}

fn new_id(ids: &Ids, kind: Kind, identity: &str) -> String {
    match kind {
        Kind::Test => ids.uuid4(),
        Kind::Page | Kind::Component => ids.statuspage(),
        Kind::Location | Kind::Settings => identity.to_owned(),
        Kind::Channel | Kind::Person | Kind::Schedule | Kind::EscalationPolicy | Kind::Service | Kind::Rule | Kind::MaintenanceWindow => {
            ids.pagerduty()
        }
        Kind::Heartbeat => ids.uuid4(),
    }
}
