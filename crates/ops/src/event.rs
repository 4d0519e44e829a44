//! Events of monitoring tools: decided and committed before they are answered.
//!
//! A trigger opens an alert with its incident, or counts once more on the alert that is open under its key. What
//! acknowledges or resolves an alert that is not open is dropped. A service that rests takes its events and does
//! nothing with them.

use std::collections::BTreeSet;

use allclear_base::{Rng, crash, id};
use allclear_domain::catalog::{Catalog, Document, Kind};
use allclear_domain::event::{Action, ChangeEvent, Content, Event};
use allclear_domain::incident::{self, Agent, ResolveReason};
use allclear_domain::{IntegrationId, ServiceId};
use allclear_store::record::alert::{self, Alert, Reported};
use allclear_store::record::change;
use allclear_store::record::incident as incidents;
use allclear_store::record::integration::{self, Integration};
use allclear_store::{Lane, Lock, Store, StoreError, Tx, Write};

use crate::apply::{Pending, apply};
use crate::draw::{Ids, SecretSeed};
use crate::incident::{Opening, context_of, ending, opening};
use crate::{Actor, Draw, OpsError, Permission, resource};

/// Takes an event; the key by which later events mean the same alert. Its integration key is what permits it.
///
/// # Errors
/// [`OpsError::UnknownKey`]; errors of the store, when nothing was kept.
pub async fn ingest(store: &Store, rng: &dyn Rng, event: Event) -> Result<String, OpsError> {
    let dedup_key = event.dedup_key.clone().unwrap_or_else(|| id::uuid4(rng).replace('-', ""));
    let (draw, key) = (Draw::new(rng), dedup_key.clone());
    let work = move |tx: &mut Tx<'_>| ingest_within(tx, &draw.ids(), &event, &key);
    store.write(Write::new("ingest event", Lane::Events), work).await?;
    crash::point("event.after_commit");
    Ok(dedup_key)
}

/// Keeps a change event; it alerts nobody. Its integration key is what permits it.
///
/// # Errors
/// As [`ingest`].
pub async fn ingest_change(store: &Store, rng: &dyn Rng, event: ChangeEvent) -> Result<(), OpsError> {
    let draw = Draw::new(rng);
    let work = move |tx: &mut Tx<'_>| {
        let from = integration::find_by_key(tx, &event.routing_key)?.ok_or(OpsError::UnknownKey)?;
        within_bound(tx, &from)?;
        let id = draw.ids().uuid7(tx.now());
        Ok::<_, OpsError>(change::insert_change_event(tx, &id, &from.service, &from.id, &event.content)?)
    };
    store.write(Write::new("ingest change event", Lane::Events), work).await
}

fn ingest_within(tx: &mut Tx<'_>, ids: &Ids, event: &Event, dedup_key: &str) -> Result<(), OpsError> {
    let from = integration::find_by_key(tx, &event.routing_key)?.ok_or(OpsError::UnknownKey)?;
    let (catalog, now) = (tx.catalog(), tx.now());
    let Some(service) = catalog.service(&from.service) else { return Ok(()) };
    let settings = service.integrations.iter().find(|one| one.name == from.name);
    within_bound(tx, &from)?;
    if catalog.rests(&from.service, now) {
        return Ok(());
    }
    let wanted = settings.map_or(&[][..], |one| &one.environments);
    if let Some(environment) = &event.environment
        && !wanted.is_empty()
        && !wanted.contains(environment)
    {
        return Ok(());
    }
    // Whoever merges incidents holds their service: no alert moves under our hands.
    tx.lock([Lock::Service(from.service.clone())])?;
    // The same key over another integration is another alert. No database keeps a NUL in a text.
    let key = format!("event:{}:{}", from.id, dedup_key.replace('\0', "\u{fffd}"));
    let agent = Agent::Integration { service: from.service.clone(), name: from.name.clone() };
    let pending = match &event.action {
        Action::Trigger(content) => trigger(tx, ids, &from, key, agent, content)?,
        Action::Acknowledge => match locked(tx, &key)? {
            Some(open) => acknowledge(tx, &open, agent)?,
            None => None,
        },
        Action::Resolve => match locked(tx, &key)? {
            Some(open) => {
                alert::resolve_alert(tx, &open.id)?;
                ending(tx, &open.incident, agent, ResolveReason::EventResolved)?
            }
            None => None,
        },
    };
    if let Some(pending) = pending {
        apply(tx, ids, vec![pending])?;
    }
    Ok(())
}

/// Counts an event of an integration that takes so many in a minute and no more.
fn within_bound(tx: &mut Tx<'_>, from: &Integration) -> Result<(), OpsError> {
    let catalog = tx.catalog();
    let settings = catalog.service(&from.service).and_then(|service| service.integrations.iter().find(|one| one.name == from.name));
    match settings.and_then(|one| one.most_per_minute) {
        Some(most) if integration::count_event(tx, &from.id)? > i64::from(most) => Err(OpsError::TooMany),
        Some(_) | None => Ok(()),
    }
}

/// The open alert with this key, its incident locked: a person may have resolved it while the lock was waited for.
pub(crate) fn locked(tx: &mut Tx<'_>, key: &str) -> Result<Option<Alert>, StoreError> {
    let Some(seen) = alert::open_alert(tx, key)? else { return Ok(None) };
    tx.lock([Lock::Incident(seen.incident.clone())])?;
    Ok(alert::open_alert(tx, key)?.filter(|open| open.id == seen.id))
}

/// Under the service's lock: of two first triggers with one key the second finds the first's alert.
fn trigger(
    tx: &mut Tx<'_>,
    ids: &Ids,
    from: &Integration,
    dedup_key: String,
    agent: Agent,
    content: &Content,
) -> Result<Option<Pending>, StoreError> {
    // Whoever resolves the alert meanwhile either has done so before this, or does so after it.
    if alert::trigger_open(tx, &dedup_key)? {
        return Ok(None);
    }
    let about = Opening {
        service: from.service.clone(),
        dedup_key,
        test: None,
        title: content.summary.clone(),
        why: content.summary.clone(),
        agent,
        run: None,
        event: Some(Reported { integration: from.id.clone(), severity: content.severity, details: content.details.clone() }),
    };
    Ok(opening(tx, ids, about))
}

fn acknowledge(tx: &mut Tx<'_>, open: &Alert, by: Agent) -> Result<Option<Pending>, StoreError> {
    let found = incidents::load_incident(tx, &open.incident)?;
    let context = context_of(tx, &found)?;
    match incident::transition(&found, &incident::Event::Acknowledge { by }, &context, tx.now()) {
        Ok(change) => Ok(Some(Pending::changed(change))),
        Err(_) => Ok(None),
    }
}

/// Gives every integration of these services a key, and takes the keys of those that are gone. Within a change of the
/// configuration.
pub(crate) fn follow(tx: &mut Tx<'_>, ids: &Ids, seed: &SecretSeed, services: &[ServiceId]) -> Result<(), StoreError> {
    let catalog = tx.catalog();
    for service in services {
        let wanted: BTreeSet<&str> =
            catalog.service(service).into_iter().flat_map(|s| &s.integrations).map(|integration| integration.name.as_str()).collect();
        let known = integration::integrations_of(tx, service)?;
        for gone in known.iter().filter(|known| !wanted.contains(known.name.as_str())) {
            integration::remove_integration(tx, &gone.id)?;
        }
        for name in wanted.into_iter().filter(|name| known.iter().all(|known| known.name != *name)) {
            let new = Integration {
                id: IntegrationId(ids.pagerduty()),
                service: service.clone(),
                name: name.to_owned(),
                key: seed.derive(&[service.as_str(), name]),
                created_at: tx.now(),
            };
            integration::insert_integration(tx, &new)?;
        }
    }
    Ok(())
}

/// Gives an integration of a service another name; its key stays.
///
/// # Errors
/// [`OpsError::NotFound`]; [`OpsError::Invalid`] for a name that is taken, or a service that files own; [`OpsError::Forbidden`].
pub async fn rename(store: &Store, rng: &dyn Rng, actor: &Actor, of: &Integration, name: String) -> Result<(), OpsError> {
    actor.require(Permission::ConfigWrite)?;
    let (draw, seed) = (Draw::new(rng), SecretSeed::new(rng));
    let (of, actor) = (of.clone(), actor.name().to_owned());
    let work = move |tx: &mut Tx<'_>| {
        let renamed = |old: Option<&Document>, _: &Catalog| match old {
            Some(Document::Service(service)) => {
                let mut service = service.clone();
                if service.integrations.iter().any(|one| one.name == name && one.name != of.name) {
                    return Err(OpsError::Invalid("Name has already been taken".into()));
                }
                let one = service.integrations.iter_mut().find(|one| one.name == of.name);
                one.ok_or_else(|| OpsError::NotFound { what: "integration", id: of.id.0.clone() })?.name.clone_from(&name);
                Ok(Document::Service(service))
            }
            _ => Err(OpsError::NotFound { what: "service", id: of.service.0.clone() }),
        };
        // Before the row changes: of a name that is taken the database would only say that it is.
        let before = tx.catalog();
        renamed(before.get(Kind::Service, of.service.as_str()).map(|resource| &resource.document), &before)?;
        integration::rename_integration(tx, &of.id, &name)?;
        resource::put_within(tx, &draw.ids(), &seed, &actor, (Kind::Service, Some(of.service.as_str())), &renamed).map(|_| ())
    };
    store.write(Write::new("rename integration", Lane::Events).lock(Lock::Catalog), work).await
}

/// Every integration with its key, by service and name.
///
/// # Errors
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn integrations(store: &Store, actor: &Actor) -> Result<Vec<Integration>, OpsError> {
    const AT_ONCE: u32 = 500;
    actor.require(Permission::ConfigWrite)?;
    let mut all: Vec<Integration> = Vec::new();
    loop {
        let after = all.last().map_or((String::new(), String::new()), |last| (last.service.0.clone(), last.name.clone()));
        let more = store.read("list integrations", move |tx| integration::list_integrations(tx, (&after.0, &after.1), AT_ONCE)).await?;
        let end = more.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
        all.extend(more);
        if end {
            return Ok(all);
        }
    }
}
