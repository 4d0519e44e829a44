//! What customers see follows what engineers work on, in the same commit.

use std::collections::{BTreeMap, BTreeSet};

use allclear_domain::catalog::Catalog;
use allclear_domain::delivery::About;
use allclear_domain::incident::{Effect, Incident, LogKind, State};
use allclear_domain::oncall::zone_or_utc;
use allclear_domain::status::published::{Affected, PublishedComponent, PublishedIncident, PublishedPage, PublishedUpdate, Stage};
use allclear_domain::status::published::{MOST_INCIDENTS, MOST_OUTAGES};
use allclear_domain::status::uptime::{DAYS, condensed, outages};
use allclear_domain::status::{ComponentStatus, Derived, IncidentTemplate, Indicator, Owner, Rule, derive, rollup};
use allclear_domain::{ComponentId, IncidentId, PageId, RuleId, Span};
use allclear_store::record::component::{self, ComponentChange, ComponentState};
use allclear_store::record::page::{self, StatusIncident};
use allclear_store::record::timer::{self, Timer};
use allclear_store::{Lock, StoreError, Tx};

use crate::apply::{Pending, incident_subject, system_entry, tell_mirror};
use crate::draw::Ids;

/// The kind of the timer of a rule that waits.
pub(crate) const RULE_DELAY: &str = "rule:";

/// What one incident does to one component.
struct Move {
    component: ComponentId,
    /// Which of the changes it belongs to.
    item: usize,
    /// The rule and its status; nothing to release.
    press: Option<(RuleId, ComponentStatus)>,
}

/// Steps 1 and 2 of [`crate::apply::apply`]: components and pages.
pub(crate) fn follow(tx: &mut Tx<'_>, ids: &Ids, pending: &mut [Pending]) -> Result<(), StoreError> {
    let catalog = tx.catalog();
    let mut moves = Vec::new();
    for (item, change) in pending.iter().map(|p| &p.change).enumerate() {
        if change.effects.contains(&Effect::Press) {
            moves.extend(presses(tx, &catalog, &change.next, item)?);
        }
        if change.effects.contains(&Effect::Release) {
            let released = component::pressed_by(tx, &change.next.id)?;
            moves.extend(released.into_iter().map(|component| Move { component, item, press: None }));
            clear_rule_timers(tx, &change.next)?;
        }
    }
    let affected = move_components(tx, ids, pending, &moves)?;
    // Nothing public follows an incident yet that is only now opened.
    let incidents: Vec<(&Incident, bool)> = pending.iter().map(|p| (&p.change.next, p.opened_by.is_some())).collect();
    let pages = pages_to_publish(tx, &catalog, &incidents, &affected)?;
    tx.lock(pages.iter().cloned().map(Lock::Page))?;
    for (incident, is_new) in incidents {
        follow_public_incident(tx, ids, &catalog, (incident, is_new), &affected)?;
    }
    for id in &pages {
        publish(tx, id)?;
    }
    Ok(())
}

/// Lets the rules that do not wait press at once; sets a timer for each that does.
fn presses(tx: &mut Tx<'_>, catalog: &Catalog, incident: &Incident, item: usize) -> Result<Vec<Move>, StoreError> {
    let mut moves = Vec::new();
    for (id, rule) in catalog.rules_of(&incident.service) {
        if presses_now(tx, incident, &id, rule)? {
            moves.push(Move { component: rule.component.clone(), item, press: Some((id, rule.status(incident.urgency))) });
        }
    }
    Ok(moves)
}

/// Whether a rule's delay is over for an open incident; where it is not, a timer is set for when it will be.
pub(crate) fn presses_now(tx: &mut Tx<'_>, incident: &Incident, id: &RuleId, rule: &Rule) -> Result<bool, StoreError> {
    let due_at = incident.opened_at.plus(rule.delay);
    if due_at <= tx.now() {
        return Ok(true);
    }
    let (subject, kind) = (incident_subject(incident), format!("{RULE_DELAY}{id}"));
    timer::set_timer(tx, &Timer { subject, kind, due_at, body: "null".into() })?;
    Ok(false)
}

/// The same for one component on which an incident began to press late.
pub(crate) fn follow_one(tx: &mut Tx<'_>, ids: &Ids, incident: &Incident, component: &ComponentId) -> Result<(), StoreError> {
    let catalog = tx.catalog();
    let cause = serde_json::json!({ "incident": incident.id, "run": incident.run });
    let (change, entry) = rederive(tx, ids, &incident.id, component, &cause)?;
    let affected: Vec<Affected> = change.into_iter().collect();
    let pages = pages_to_publish(tx, &catalog, &[(incident, false)], &affected)?;
    tx.lock(pages.iter().cloned().map(Lock::Page))?;
    follow_public_incident(tx, ids, &catalog, (incident, false), &affected)?;
    for id in &pages {
        publish(tx, id)?;
    }
    let now = tx.now();
    let drafts: Vec<_> = entry.into_iter().map(|kind| system_entry(now, kind)).collect();
    allclear_store::record::incident::append_log(tx, &incident.id, &[ids.pagerduty_record(now)], &drafts)
}

pub(crate) fn clear_rule_timers(tx: &mut Tx<'_>, incident: &Incident) -> Result<(), StoreError> {
    let subject = incident_subject(incident);
    for timer in timer::timers_of(tx, &subject)?.into_iter().filter(|timer| timer.kind.starts_with(RULE_DELAY)) {
        timer::clear_timer(tx, &subject, &timer.kind)?;
    }
    Ok(())
}

fn move_components(tx: &mut Tx<'_>, ids: &Ids, pending: &mut [Pending], moves: &[Move]) -> Result<Vec<Affected>, StoreError> {
    let touched: BTreeSet<&ComponentId> = moves.iter().map(|m| &m.component).collect();
    tx.lock(touched.iter().map(|id| Lock::Component((*id).clone())))?;
    for m in moves {
        let incident = &pending[m.item].change.next.id;
        match &m.press {
            Some((rule, status)) => component::press(tx, &m.component, incident, rule, *status)?,
            None => component::release(tx, &m.component, incident)?,
        }
    }
    let mut affected = Vec::new();
    for id in touched {
        let Some(last) = moves.iter().rfind(|m| m.component == *id) else { continue };
        let incident = pending[last.item].change.next.clone();
        let cause = serde_json::json!({
            "incident": incident.id, "rule": last.press.as_ref().map(|(rule, _)| rule), "run": incident.run,
        });
        let (change, entry) = rederive(tx, ids, &incident.id, id, &cause)?;
        affected.extend(change);
        if let Some(kind) = entry {
            pending[last.item].change.log.push(system_entry(tx.now(), kind));
        }
    }
    Ok(affected)
}

/// Derives a component's status anew from what presses on it, because of an incident. Needs the locks of both.
pub(crate) fn rederive(
    tx: &mut Tx<'_>,
    ids: &Ids,
    incident: &IncidentId,
    id: &ComponentId,
    cause: &serde_json::Value,
) -> Result<(Option<Affected>, Option<LogKind>), StoreError> {
    let (catalog, now) = (tx.catalog(), tx.now());
    let name = catalog.component(id).map_or_else(|| id.0.clone(), |component| component.name.clone());
    let state = component::component_state(tx, id)?;
    let pressures: Vec<ComponentStatus> = component::pressures(tx, id)?.into_iter().map(|(_, status)| status).collect();
    match derive(state.status, state.owner, &pressures) {
        Derived::Unchanged => Ok((None, None)),
        Derived::Proposed(to) => Ok((None, Some(LogKind::ComponentProposed { component: name, to: to.word().into() }))),
        Derived::Set(to) => {
            component::put_component_state(tx, id, ComponentState { status: to, owner: state.owner, changed_at: now })?;
            tell_mirror(tx, ids, About::Incident(incident.clone()), id)?;
            let change = ComponentChange {
                id: ids.uuid7(now),
                component: id.clone(),
                at: now,
                before: state.status,
                after: to,
                cause: cause.clone(),
            };
            component::insert_change(tx, &change)?;
            let entry = LogKind::ComponentChanged { component: name.clone(), from: state.status.word().into(), to: to.word().into() };
            Ok((Some(Affected { id: id.clone(), name, from: state.status, to }), Some(entry)))
        }
    }
}

/// Pages that show a changed component, or a public incident that follows one of ours.
fn pages_to_publish(
    tx: &mut Tx<'_>,
    catalog: &Catalog,
    incidents: &[(&Incident, bool)],
    affected: &[Affected],
) -> Result<BTreeSet<PageId>, StoreError> {
    let mut pages: BTreeSet<PageId> = affected.iter().filter_map(|a| catalog.component(&a.id)).map(|c| c.page.clone()).collect();
    for (incident, is_new) in incidents {
        let templated = catalog.rules_of(&incident.service).filter(|(_, rule)| rule.incident.is_some());
        pages.extend(templated.filter_map(|(_, rule)| catalog.component(&rule.component)).map(|c| c.page.clone()));
        if !is_new {
            pages.extend(page::following(tx, &incident.id)?.into_iter().map(|following| following.page));
        }
    }
    Ok(pages)
}

/// Opens, updates or resolves the public incident that a rule's template asks for; nothing follows yet one that is new. One whose rule or template is gone
/// is resolved: nothing else would ever end it.
pub(crate) fn follow_public_incident(
    tx: &mut Tx<'_>,
    ids: &Ids,
    catalog: &Catalog,
    (incident, is_new): (&Incident, bool),
    affected: &[Affected],
) -> Result<(), StoreError> {
    let mut existing: BTreeMap<RuleId, StatusIncident> = BTreeMap::new();
    let templated: Vec<(RuleId, Rule)> =
        catalog.rules_of(&incident.service).filter(|(_, rule)| rule.incident.is_some()).map(|(id, rule)| (id, rule.clone())).collect();
    let shown = if is_new { vec![] } else { page::following(tx, &incident.id)? };
    for following in shown {
        if let Some((_, rule)) = following.follows.clone() {
            existing.insert(rule, following);
        }
    }
    for (id, rule) in &templated {
        let (Some(template), Some(component)) = (&rule.incident, catalog.component(&rule.component)) else { continue };
        let stage = match &incident.state {
            State::Triggered(_) => Stage::Investigating,
            State::Acknowledged(_) => Stage::Identified,
            State::Resolved(_) => Stage::Resolved,
        };
        let pressed = component::pressures(tx, &rule.component)?.iter().any(|(i, _)| *i == incident.id);
        let next = match existing.remove(id) {
            Some(shown) if shown.owner == Owner::Person || shown.shown.stage == stage => continue,
            Some(shown) => shown,
            None if pressed => new_public_incident(ids, incident, id, rule, template, &component.page, tx.now()),
            None => continue,
        };
        let updated = say(tx, ids, next, stage, template.words(stage), affected);
        page::put_status_incident(tx, &updated)?;
    }
    for orphan in existing.into_values().filter(|one| one.owner == Owner::Automation && one.shown.stage != Stage::Resolved) {
        let updated = say(tx, ids, orphan, Stage::Resolved, IncidentTemplate::RESOLVED, affected);
        page::put_status_incident(tx, &updated)?;
    }
    Ok(())
}

fn new_public_incident(
    ids: &Ids,
    incident: &Incident,
    rule_id: &RuleId,
    rule: &Rule,
    template: &IncidentTemplate,
    page: &PageId,
    now: allclear_domain::Timestamp,
) -> StatusIncident {
    let (impact, _) = rollup(&[rule.status(incident.urgency)]);
    let shown = PublishedIncident {
        id: ids.statuspage(),
        name: template.name.clone(),
        stage: Stage::Investigating,
        impact,
        created_at: now,
        updated_at: now,
        resolved_at: None,
        components: vec![rule.component.clone()],
        updates: vec![],
    };
    StatusIncident { page: page.clone(), follows: Some((incident.id.clone(), rule_id.clone())), owner: Owner::Automation, shown }
}

fn say(tx: &Tx<'_>, ids: &Ids, mut incident: StatusIncident, stage: Stage, body: &str, affected: &[Affected]) -> StatusIncident {
    let now = tx.now();
    let shown = &mut incident.shown;
    let affected = affected.iter().filter(|a| shown.components.contains(&a.id)).cloned().collect();
    shown.updates.insert(0, PublishedUpdate { id: ids.statuspage(), stage, body: body.to_owned(), at: now, affected });
    shown.stage = stage;
    shown.updated_at = now;
    shown.resolved_at = (stage == Stage::Resolved).then_some(now);
    shown.impact = shown.impact.max(Indicator::None);
    incident
}

/// Changes that are read of a component: eleven outages on each day that a page shows. Each publication reads them, so what is out more
/// often is known for less long.
const MOST_CHANGES: u32 = 2_000;

/// Projects a page and publishes it. Needs the page's lock.
pub(crate) fn publish(tx: &mut Tx<'_>, id: &PageId) -> Result<(), StoreError> {
    let catalog = tx.catalog();
    let Some(found) = catalog.page(id) else { return page::unpublish(tx, id) };
    let zone = zone_or_utc(&found.time_zone);
    let mut components = Vec::new();
    // A day more than is shown: the first may have begun before midnight.
    let since = tx.now().minus(Span::from_mins((i64::try_from(DAYS).unwrap_or(90) + 1) * 24 * 60));
    for (resource, component) in catalog.components_of(id) {
        let component_id = ComponentId(resource.id.clone());
        let state = component::component_state(tx, &component_id)?;
        let changes = component::outage_changes(tx, &component_id, since, MOST_CHANGES)?;
        let is_cut = changes.len() >= MOST_CHANGES as usize;
        let known = outages(&changes, state.status, is_cut);
        components.push(PublishedComponent {
            id: component_id,
            name: component.name.clone(),
            description: component.description.clone(),
            group: component.group.clone(),
            position: component.position,
            status: state.status,
            created_at: resource.created_at,
            updated_at: state.changed_at.max(resource.created_at),
            known_since: changes.first().filter(|_| is_cut).map(|(at, ..)| *at),
            outages: condensed(known, since, &zone, MOST_OUTAGES),
        });
    }
    let most = u32::try_from(MOST_INCIDENTS).unwrap_or(50);
    let published = PublishedPage {
        id: id.clone(),
        name: found.name.clone(),
        slug: found.slug.clone(),
        host: found.host.clone(),
        time_zone: found.time_zone.clone(),
        branding: found.branding.clone(),
        updated_at: tx.now(),
        components,
        incidents: page::latest_on_page(tx, id, most)?.into_iter().map(|incident| incident.shown).collect(),
    };
    page::publish(tx, &published)?;
    Ok(())
}
