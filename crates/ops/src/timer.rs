//! What happens when a timer is due.

use allclear_base::{Rng, crash};
use allclear_domain::incident::{self, Agent, Event, Incident, ResolveReason};
use allclear_domain::{HeartbeatId, IncidentId, Timestamp};
use allclear_store::record::incident as incidents;
use allclear_store::record::timer::{self, Timer};
use allclear_store::record::{alert, component};
use allclear_store::{Lane, Lock, Store, Tx, Write};

use crate::apply::{ALARM, CAUSE_OVER, Pending, apply, nobody_key};
use crate::draw::Ids;
use crate::incident::{Opening, context_of, ending, opening};
use crate::status::RULE_DELAY;
use crate::{Draw, OpsError};

/// The kind of the timer by which a level that cannot be reached is left at once.
pub(crate) const UNREACHABLE: &str = "unreachable";

/// Timers per transaction: a bound on how long acknowledgements wait behind a burst.
const MOST_AT_ONCE: u32 = 64;

/// What a look at the timers led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fired {
    /// How many were due. Whoever looks comes again until it is 0.
    pub count: usize,
    /// When the next one is due, where none was.
    pub next: Option<Timestamp>,
}

/// Fires what is due. `deaf_until` is when AllClear could last not hear what called it.
///
/// # Errors
/// Errors of the store.
pub async fn fire_due(store: &Store, rng: &dyn Rng, deaf_until: Timestamp) -> Result<Fired, OpsError> {
    let look = |tx: &mut Tx<'_>| {
        let due = timer::due_timers(tx, MOST_AT_ONCE)?;
        let next = if due.is_empty() { timer::next_due(tx)? } else { None };
        Ok::<_, OpsError>((due, next))
    };
    let (due, next) = store.read("due timers", look).await?;
    for timer in &due {
        crash::point("timer.before_fire");
        fire(store, rng, timer.clone(), deaf_until).await?;
        crash::point("timer.after_fire");
    }
    Ok(Fired { count: due.len(), next })
}

async fn fire(store: &Store, rng: &dyn Rng, timer: Timer, deaf_until: Timestamp) -> Result<(), OpsError> {
    if let Some(id) = timer.subject.strip_prefix("heartbeat:").map(HeartbeatId::from) {
        let draw = Draw::new(rng);
        let work = move |tx: &mut Tx<'_>| crate::heartbeat::fire(tx, &draw.ids(), &id, &timer, deaf_until);
        return store.write(Write::new("fire timer", Lane::Act), work).await;
    }
    let Some(id) = timer.subject.strip_prefix("incident:").map(IncidentId::from) else {
        let write = Write::new("drop timer", Lane::Act);
        return store.write(write, move |tx| Ok(timer::take_timer(tx, &timer).map(|_| ())?)).await;
    };
    let draw = Draw::new(rng);
    store.write(Write::new("fire timer", Lane::Act), move |tx| fire_within(tx, &draw.ids(), &id, &timer)).await
}

/// The timer is taken away in the commit of what it does: it fires once, or it stands.
fn fire_within(tx: &mut Tx<'_>, ids: &Ids, id: &IncidentId, timer: &Timer) -> Result<(), OpsError> {
    let told = (timer.kind == ALARM).then(|| tx.catalog().settings().operators).flatten();
    tx.lock(told.map(Lock::Service).into_iter().chain([Lock::Incident(id.clone())]))?;
    if !timer::take_timer(tx, timer)? {
        return Ok(());
    }
    let Some(found) = incidents::find_incident(tx, id)? else { return Ok(()) };
    if let Some(rule) = timer.kind.strip_prefix(RULE_DELAY) {
        return press_late(tx, ids, &found, rule);
    }
    if timer.kind == ALARM {
        return alarm(tx, ids, &found);
    }
    if timer.kind == CAUSE_OVER {
        alert::resolve_alert(tx, &timer.body.as_str().into())?;
        let ended = ending(tx, id, Agent::System, ResolveReason::AlertsCleared)?;
        apply(tx, ids, ended.into_iter().collect())?;
        return Ok(());
    }
    let Some(event) = event_of(timer) else { return Ok(()) };
    let context = context_of(tx, &found)?;
    // A timer that belongs to an earlier state changes nothing; that is not an error.
    if let Ok(change) = incident::transition(&found, &event, &context, tx.now()) {
        apply(tx, ids, vec![Pending::changed(change)])?;
    }
    Ok(())
}

fn event_of(timer: &Timer) -> Option<Event> {
    if timer.kind == UNREACHABLE {
        let body: serde_json::Value = serde_json::from_str(&timer.body).ok()?;
        let level = usize::try_from(body.get("level")?.as_u64()?).ok()?;
        let pass = u32::try_from(body.get("pass")?.as_u64()?).ok()?;
        return Some(Event::LevelUnreachable { level, pass });
    }
    serde_json::from_str::<incident::Timer>(&timer.body).ok().map(incident::Timer::event)
}

/// A rule whose delay is over presses, if the incident is still open.
fn press_late(tx: &mut Tx<'_>, ids: &Ids, incident: &Incident, rule: &str) -> Result<(), OpsError> {
    let catalog = tx.catalog();
    let found = catalog.rules_of(&incident.service).find(|(id, _)| id.as_str() == rule);
    let Some((id, rule)) = found.filter(|_| incident.is_open()) else { return Ok(()) };
    tx.lock([Lock::Component(rule.component.clone())])?;
    component::press(tx, &rule.component, &incident.id, &id, rule.status(incident.urgency))?;
    crate::status::follow_one(tx, ids, incident, &rule.component)?;
    Ok(())
}

/// Opens an incident on the operators' service, once per cause.
fn alarm(tx: &mut Tx<'_>, ids: &Ids, about: &Incident) -> Result<(), OpsError> {
    let operators = tx.catalog().settings().operators;
    let Some(service) = operators.filter(|service| *service != about.service) else {
        tracing::error!(incident.id = %about.id, "nobody can be notified, and there is no operators' service to tell");
        return Ok(());
    };
    let dedup_key = nobody_key(about);
    let answered = !about.is_open() || incident::acknowledge_by(about).is_some();
    if answered || alert::open_alert(tx, &dedup_key)?.is_some() {
        return Ok(());
    }
    let opening_about = Opening {
        service,
        dedup_key,
        test: None,
        title: format!("Nobody answers for incident #{}", about.number),
        why: format!("\"{}\": nobody to notify, or nobody acknowledged", about.title),
        agent: Agent::System,
        run: about.run.clone(),
        event: None,
    };
    if let Some(pending) = opening(tx, ids, opening_about) {
        apply(tx, ids, vec![pending])?;
    }
    Ok(())
}
