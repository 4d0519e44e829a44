//! Acting on incidents that are there, and deciding how one opens and ends.

use allclear_base::Rng;
use allclear_domain::catalog::{Catalog, Service};
use allclear_domain::escalation::Level;
use allclear_domain::incident::{self, Agent, ByHand, Context, Event, Incident, Paging, Refused, ResolveReason, State, Urgency};
use allclear_domain::{AlertId, IncidentId, PolicyId, RunId, ServiceId, TestId, Timestamp};
use allclear_store::record::alert::{self, Alert, Reported};
use allclear_store::record::callback;
use allclear_store::record::incident as incidents;
use allclear_store::record::standing;
use allclear_store::{Lane, Lock, Store, StoreError, Tx, Write};
use serde::{Deserialize, Serialize};

use crate::apply::{Pending, apply};
use crate::draw::Ids;
use crate::{Actor, Draw, OpsError, Permission};

/// What a person may do to an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Take it.
    Acknowledge,
    /// Take an acknowledgement back: it was taken back in a linked service.
    Unacknowledge,
    /// End it.
    Resolve,
    /// Anything else that people do.
    ByHand(ByHand),
}

/// Does something to an incident.
///
/// # Errors
/// [`OpsError::Refused`] where it changes nothing, with why; [`OpsError::Forbidden`]; [`OpsError::NotFound`].
pub async fn act(store: &Store, rng: &dyn Rng, actor: &Actor, id: &IncidentId, act: Act) -> Result<Incident, OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    let (draw, agent, id) = (Draw::new(rng), actor.agent().clone(), id.clone());
    let write = Write::new("act on incident", Lane::Act).lock(Lock::Incident(id.clone()));
    store.write(write, move |tx| act_within(tx, &draw.ids(), &agent, &id, &act)).await
}

/// What came of a person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answered {
    /// The numbers of the incidents that it changed.
    pub changed: Vec<i64>,
    /// Why one was not changed.
    pub refused: Option<Refused>,
}

/// Does the same to several incidents in one commit; one answer of a person acts on all that they were told of. `key` names the
/// callback that brought it, where somebody might send that again: then it changes nothing, whatever opened since, and
/// what came of it the first time is told again.
///
/// # Errors
/// As [`act`], but for refusals.
pub async fn answer(
    store: &Store,
    rng: &dyn Rng,
    actor: &Actor,
    ids: Vec<IncidentId>,
    act: Act,
    key: Option<String>,
) -> Result<Answered, OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    let (draw, agent) = (Draw::new(rng), actor.agent().clone());
    let write = Write::new("act on incidents", Lane::Act).locks(ids.iter().cloned().map(Lock::Incident));
    let work = move |tx: &mut Tx<'_>| {
        if let Some(key) = &key
            && !callback::first_time(tx, key)?
        {
            let first = callback::answer_of(tx, key)?;
            return Ok(first.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default());
        }
        let (ids_drawn, mut pending, mut answered) = (draw.ids(), Vec::new(), Answered::default());
        for id in &ids {
            match decide(tx, &agent, id, &act) {
                Ok(change) => pending.push(Pending::changed(change)),
                Err(OpsError::Refused(refused)) => answered.refused = Some(refused),
                Err(other) => return Err(other),
            }
        }
        answered.changed = apply(tx, &ids_drawn, pending)?.iter().map(|incident| incident.number).collect();
        if let (Some(key), Ok(kept)) = (&key, serde_json::to_string(&answered)) {
            callback::keep_answer(tx, key, &kept)?;
        }
        Ok(answered)
    };
    store.write(write, work).await
}

/// Does several things to each of several incidents, all in one commit or none. What an incident is already is left out.
///
/// # Errors
/// As [`act`].
pub async fn act_in_turn(
    store: &Store,
    rng: &dyn Rng,
    actor: &Actor,
    changes: Vec<(IncidentId, Vec<Act>)>,
) -> Result<Vec<Incident>, OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    let (draw, agent) = (Draw::new(rng), actor.agent().clone());
    let mut by_incident: Vec<(IncidentId, Vec<Act>)> = Vec::with_capacity(changes.len());
    for (id, acts) in changes {
        match by_incident.iter_mut().find(|(known, _)| *known == id) {
            Some((_, before)) => before.extend(acts),
            None => by_incident.push((id, acts)),
        }
    }
    let changes = by_incident;
    let write = Write::new("change incidents", Lane::Act).locks(changes.iter().map(|(id, _)| Lock::Incident(id.clone())));
    let work = move |tx: &mut Tx<'_>| {
        let (mut pending, mut all) = (Vec::new(), Vec::with_capacity(changes.len()));
        for (id, acts) in &changes {
            let found = incidents::load_incident(tx, id)?;
            let context = context_of(tx, &found)?;
            let mut whole: Option<incident::Change> = None;
            for act in acts {
                let stands = whole.as_ref().map_or(&found, |change| &change.next);
                if !is_so_already(stands, act) {
                    let next = incident::transition(stands, &event_of(act, &agent), &context, tx.now())?;
                    whole = Some(match whole.take() {
                        Some(before) => before.followed_by(next),
                        None => next,
                    });
                }
            }
            all.push(whole.as_ref().map_or(found, |change| change.next.clone()));
            pending.extend(whole.map(Pending::changed));
        }
        apply(tx, &draw.ids(), pending)?;
        Ok(all)
    };
    store.write(write, work).await
}

fn is_so_already(incident: &Incident, act: &Act) -> bool {
    match (act, &incident.state) {
        (Act::Acknowledge, State::Acknowledged(_)) | (Act::Resolve, State::Resolved(_)) => true,
        (Act::ByHand(ByHand::SetUrgency { urgency }), _) => *urgency == incident.urgency,
        (Act::ByHand(ByHand::SetPriority { priority }), _) => *priority == incident.priority,
        (Act::ByHand(ByHand::Retitle { title }), _) => *title == incident.title,
        (Act::Acknowledge | Act::Unacknowledge | Act::Resolve | Act::ByHand(_), _) => false,
    }
}

fn act_within(tx: &mut Tx<'_>, ids: &Ids, agent: &Agent, id: &IncidentId, act: &Act) -> Result<Incident, OpsError> {
    let change = decide(tx, agent, id, act)?;
    let changed = apply(tx, ids, vec![Pending::changed(change)])?;
    changed.into_iter().next().ok_or_else(|| OpsError::NotFound { what: "incident", id: id.0.clone() })
}

pub(crate) fn decide(tx: &mut Tx<'_>, agent: &Agent, id: &IncidentId, act: &Act) -> Result<incident::Change, OpsError> {
    let found = incidents::load_incident(tx, id)?;
    let context = context_of(tx, &found)?;
    Ok(incident::transition(&found, &event_of(act, agent), &context, tx.now())?)
}

fn event_of(act: &Act, agent: &Agent) -> Event {
    match act {
        Act::Acknowledge => Event::Acknowledge { by: agent.clone() },
        Act::Unacknowledge => Event::Unacknowledge { by: agent.clone() },
        Act::Resolve => Event::Resolve { by: agent.clone(), why: ResolveReason::ByHand },
        Act::ByHand(what) => Event::ByHand { by: agent.clone(), what: what.clone() },
    }
}

/// What a decision on an incident depends on.
pub(crate) fn context_of(tx: &mut Tx<'_>, incident: &Incident) -> Result<Context, StoreError> {
    let mut still_fails = false;
    for open in alert::alerts_of(tx, &incident.id)?.into_iter().filter(|alert| alert.resolved_at.is_none()) {
        if let Some((test, environment)) = &open.test {
            still_fails |= standing::standings(tx, test, environment)?.iter().any(|s| s.standing.failing || s.standing.blind);
        }
    }
    let catalog = tx.catalog();
    Ok(context(&catalog, catalog.service(&incident.service), &incident.levels, still_fails, tx.now()))
}

pub(crate) fn context(catalog: &Catalog, service: Option<&Service>, levels: &[Level], test_still_fails: bool, at: Timestamp) -> Context {
    Context {
        levels: catalog.people_of(levels, at),
        acknowledgement_timeout: service.and_then(|s| s.acknowledgement_timeout),
        // Its timer is set when an incident opens, and never again.
        auto_resolve: None,
        test_still_fails,
    }
}

/// What a new incident is about.
pub(crate) struct Opening {
    pub(crate) service: ServiceId,
    pub(crate) dedup_key: String,
    pub(crate) test: Option<(TestId, String)>,
    pub(crate) title: String,
    pub(crate) why: String,
    pub(crate) agent: Agent,
    pub(crate) run: Option<RunId>,
    pub(crate) event: Option<Reported>,
}

/// Decides on a new incident with its alert. Nothing where the service is gone or paused: while its cause lasts, the
/// next trigger after the pause opens it.
pub(crate) fn opening(tx: &mut Tx<'_>, ids: &Ids, about: Opening) -> Option<Pending> {
    opening_as(tx, ids, about, None, None)
}

/// The same with an urgency or an escalation policy that is not the service's own.
pub(crate) fn opening_as(
    tx: &mut Tx<'_>,
    ids: &Ids,
    about: Opening,
    urgency: Option<Urgency>,
    policy: Option<&PolicyId>,
) -> Option<Pending> {
    let (catalog, now) = (tx.catalog(), tx.now());
    let service = catalog.service(&about.service).filter(|_| !catalog.rests(&about.service, now))?;
    let policy = catalog.policy(policy.unwrap_or(&service.escalation_policy));
    let id = IncidentId(ids.pagerduty_record(now));
    tx.adopt(Lock::Incident(id.clone()));
    let draft = Incident {
        id: id.clone(),
        number: 0,
        service: about.service.clone(),
        title: about.title,
        urgency: urgency.unwrap_or_else(|| service.urgency.of(about.event.as_ref().and_then(|event| event.severity))),
        opened_at: now,
        state: State::Triggered(Paging::Nobody { look_again_at: now }),
        levels: policy.map_or(vec![], |policy| policy.levels.clone()),
        repeat: policy.map_or(0, |policy| policy.repeat),
        priority: None,
        run: about.run.clone(),
        key: Some(about.dedup_key.clone()),
        version: 0,
    };
    let mut context = context(&catalog, Some(service), &draft.levels, true, now);
    context.auto_resolve = service.auto_resolve_after(about.event.is_some());
    let change = incident::open(draft, about.why.clone(), about.agent, &context, now);
    let alert = Alert {
        id: AlertId(ids.pagerduty_record(now)),
        incident: id,
        service: about.service,
        dedup_key: about.dedup_key,
        test: about.test,
        why: about.why,
        opened_at: now,
        resolved_at: None,
        triggers: 1,
        first_run: about.run.clone(),
        last_run: about.run,
        event: about.event,
    };
    Some(Pending { change, opened_by: Some(alert) })
}

/// Decides on the end of an incident whose alerts have all ended. Nothing where others are open, or it is over.
pub(crate) fn ending(tx: &mut Tx<'_>, id: &IncidentId, by: Agent, why: ResolveReason) -> Result<Option<Pending>, StoreError> {
    if alert::alerts_of(tx, id)?.iter().any(|alert| alert.resolved_at.is_none()) {
        return Ok(None);
    }
    let found = incidents::load_incident(tx, id)?;
    let context = context_of(tx, &found)?;
    match incident::transition(&found, &Event::Resolve { by, why }, &context, tx.now()) {
        Ok(change) => Ok(Some(Pending::changed(change))),
        Err(_) => Ok(None),
    }
}
