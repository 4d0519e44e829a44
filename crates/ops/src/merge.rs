//! Several incidents that are one: their alerts go on under one of them, and the others end.
//!
//! Only incidents of one service can be merged: components follow a service's rules, and what an incident of another service
//! pressed would follow nothing any more.

use std::collections::BTreeSet;

use allclear_base::Rng;
use allclear_domain::incident::{self, Agent, ByHand, Event, Incident, Refused, ResolveReason, State};
use allclear_domain::status::Owner;
use allclear_domain::status::published::Stage;
use allclear_domain::{ComponentId, IncidentId, PageId};
use allclear_store::record::incident as incidents;
use allclear_store::record::{alert, component, page};
use allclear_store::{Lane, Lock, Store, Tx, Write};

use crate::apply::{Pending, apply};
use crate::incident::{Act, context_of, decide};
use crate::{Actor, Draw, OpsError, Permission};

/// The most incidents that are merged at once.
pub const MOST_MERGED: usize = 100;

/// The most alerts of an incident that takes others in; `PagerDuty`'s bound.
const MOST_ALERTS: usize = 1_000;

/// Lets `sources` go on as `target`.
///
/// # Errors
/// [`OpsError::Refused`] where one of them is over; [`OpsError::Invalid`] where they cannot be one.
pub async fn merge(store: &Store, rng: &dyn Rng, actor: &Actor, target: &IncidentId, sources: &[IncidentId]) -> Result<Incident, OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    let sources: BTreeSet<IncidentId> = sources.iter().cloned().collect();
    if sources.is_empty() || sources.contains(target) {
        return Err(OpsError::Invalid("name the other incidents: an incident cannot be merged into itself".into()));
    }
    if sources.len() > MOST_MERGED {
        return Err(OpsError::Invalid(format!("at most {MOST_MERGED} incidents are merged at once")));
    }
    let (draw, agent, target) = (Draw::new(rng), actor.agent().clone(), target.clone());
    let work = move |tx: &mut Tx<'_>| {
        let changes = merge_within(tx, &agent, &target, &sources)?;
        let merged = apply(tx, &draw.ids(), changes.into_iter().map(Pending::changed).collect())?;
        for source in &sources {
            alert::hand_over(tx, source, &target)?;
        }
        merged.into_iter().next().ok_or_else(|| OpsError::NotFound { what: "incident", id: target.0.clone() })
    };
    store.write(Write::new("merge incidents", Lane::Act), work).await
}

/// Takes the locks in their order, hands over what the sources press, and decides: the target first.
fn merge_within(
    tx: &mut Tx<'_>,
    agent: &Agent,
    target: &IncidentId,
    sources: &BTreeSet<IncidentId>,
) -> Result<Vec<incident::Change>, OpsError> {
    let all: Vec<&IncidentId> = std::iter::once(target).chain(sources).collect();
    let service = incidents::load_incident(tx, target)?.service;
    let mut tests = BTreeSet::new();
    for id in &all {
        tests.extend(alert::alerts_of(tx, id)?.into_iter().filter_map(|alert| alert.test).map(|(test, _)| Lock::Test(test)));
    }
    tx.lock(tests.into_iter().chain([Lock::Service(service.clone())]).chain(all.iter().map(|id| Lock::Incident((*id).clone()))))?;
    let found = incidents::load_incident(tx, target)?;
    if !found.is_open() {
        return Err(Refused::AlreadyResolved.into());
    }
    let mut alerts = alert::alerts_of(tx, target)?.len();
    let mut others = Vec::with_capacity(sources.len());
    for id in sources {
        let other = incidents::load_incident(tx, id)?;
        if let State::Resolved(ended) = &other.state {
            let merged = matches!(ended.why, ResolveReason::Merged { .. });
            return Err(if merged { Refused::AlreadyMerged } else { Refused::AlreadyResolved }.into());
        }
        if other.service != service {
            let why =
                format!("#{} belongs to another service than #{}: only incidents of one service can be merged", other.number, found.number);
            return Err(OpsError::Invalid(why));
        }
        let of_other = alert::alerts_of(tx, id)?;
        if of_other.iter().any(|alert| alert.test.is_none() && alert.event.is_none() && is_our_own(&alert.dedup_key)) {
            return Err(OpsError::Invalid(format!("#{} is AllClear's own alarm, which ends by itself", other.number)));
        }
        alerts += of_other.len();
        others.push(other);
    }
    if alerts > MOST_ALERTS {
        return Err(OpsError::Invalid(format!("an incident has at most {MOST_ALERTS} alerts, not {alerts}")));
    }
    hand_over_status(tx, target, &others)?;
    let mut changes =
        vec![decide(tx, agent, target, &Act::ByHand(ByHand::Absorb { numbers: others.iter().map(|one| one.number).collect() }))?];
    for other in &others {
        let why = ResolveReason::Merged { into: target.clone(), number: found.number };
        let context = context_of(tx, other)?;
        changes.push(incident::transition(other, &Event::Resolve { by: agent.clone(), why }, &context, tx.now())?);
    }
    Ok(changes)
}

/// Whether an alert was opened by AllClear about itself: its end looks for the incident that it was opened with.
fn is_our_own(key: &str) -> bool {
    key == "auditor" || key.starts_with("nobody:")
}

/// What the others press, and the public incidents that follow them, are the target's from now on: no component changes.
fn hand_over_status(tx: &mut Tx<'_>, target: &IncidentId, others: &[Incident]) -> Result<(), OpsError> {
    let mut components: BTreeSet<ComponentId> = component::pressed_by(tx, target)?.into_iter().collect();
    let mut pages: BTreeSet<PageId> = BTreeSet::new();
    for other in others {
        components.extend(component::pressed_by(tx, &other.id)?);
        pages.extend(page::following(tx, &other.id)?.into_iter().map(|shown| shown.page));
    }
    tx.lock(components.iter().cloned().map(Lock::Component).chain(pages.into_iter().map(Lock::Page)))?;
    let mut ruled: BTreeSet<String> = BTreeSet::new();
    for shown in page::following(tx, target)? {
        ruled.extend(shown.follows.map(|(_, rule)| rule.0));
    }
    for other in others {
        for id in &components {
            component::hand_over(tx, id, &other.id, target)?;
        }
        for shown in page::following(tx, &other.id)? {
            let is_open = shown.shown.stage != Stage::Resolved && shown.owner == Owner::Automation;
            let Some((_, rule)) = &shown.follows else { continue };
            if is_open && ruled.insert(rule.0.clone()) {
                page::follow_another(tx, &shown, target)?;
            }
        }
    }
    Ok(())
}
