//! What must hold at every instant between two transactions, whatever happened before.

use std::collections::{BTreeMap, BTreeSet};

use allclear_domain::apitest::slots::Slots;
use allclear_domain::catalog::Kind;
use allclear_domain::delivery::{Purpose, Status};
use allclear_domain::incident::{Incident, LogKind, ResolveReason, State};
use allclear_domain::status::{ComponentStatus, Owner};
use allclear_domain::{ComponentId, IncidentId, Span, TestId, Timestamp};
use allclear_store::record::delivery::Stored;
use allclear_store::record::incident::LogEntry;
use allclear_store::record::{alert, component, delivery, incident, run, slot, timer};
use allclear_store::{Store, StoreError, Tx};

/// What was found wrong; empty is well.
pub type Violations = Vec<String>;

/// Checks everything that holds at every instant.
///
/// # Errors
/// Errors of the store.
pub async fn check(store: &Store) -> Result<Violations, StoreError> {
    store.read("invariants", |tx| check_within(tx, MOST)).await
}

/// The same for the incidents that may have changed lately only: the newest, and all that are open.
///
/// # Errors
/// Errors of the store.
pub async fn check_lately(store: &Store) -> Result<Violations, StoreError> {
    const LATELY: u32 = 12;
    store.read("invariants", |tx| check_within(tx, LATELY)).await
}

/// Checks what holds once the world has been calm for long enough: nothing open, nothing on its way, everybody told.
///
/// # Errors
/// Errors of the store.
pub async fn check_calm(store: &Store) -> Result<Violations, StoreError> {
    store.read("invariants", check_calm_within).await
}

const MOST: u32 = 5_000;

fn check_within(tx: &mut Tx<'_>, newest: u32) -> Result<Violations, StoreError> {
    let mut wrong = Vec::new();
    let mut incidents = incident::list_incidents(tx, None, i64::MAX, newest)?;
    for status in ["triggered", "acknowledged"] {
        let open = incident::list_incidents(tx, Some(status), i64::MAX, MOST)?;
        incidents.extend(open.into_iter().filter(|one| incidents.iter().all(|known| known.id != one.id)).collect::<Vec<_>>());
    }
    for found in incidents {
        let log = incident::log_of(tx, &found.id, 0, MOST)?;
        let sent = delivery::deliveries_of(tx, &found.id)?;
        next_step(tx, &found, &sent, &mut wrong)?;
        no_page_after_acknowledgement(tx, &found, &log, &sent, &mut wrong)?;
        told_or_recorded(&found, &log, &sent, &mut wrong);
        one_in_flight(&found, &sent, &mut wrong);
        ended_by_its_own_attempt(tx, &found, &sent, &mut wrong)?;
        no_alert_left_open(tx, &found, &mut wrong)?;
        if newest == MOST || ended_lately(&found, tx.now()) {
            resolved_only_by_its_own(tx, &found, &mut wrong)?;
        }
    }
    components_follow(tx, &mut wrong)?;
    if newest == MOST {
        slots_accounted_for(tx, &mut wrong)?;
    }
    Ok(wrong)
}

/// An open incident has a timer, a page on its way, or the alert that will resolve it.
fn next_step(tx: &mut Tx<'_>, found: &Incident, sent: &[Stored], wrong: &mut Violations) -> Result<(), StoreError> {
    let subject = format!("incident:{}", found.id);
    let timers: BTreeSet<String> = timer::timers_of(tx, &subject)?.into_iter().map(|t| t.kind).collect();
    if !found.is_open() {
        let left: Vec<_> = timers.iter().filter(|kind| !["alarm", "unreachable", "cause_over"].contains(&kind.as_str())).collect();
        if !left.is_empty() {
            wrong.push(format!("#{} is resolved and still has the timers {left:?}", found.number));
        }
        return Ok(());
    }
    if let Some(kind) = found.awaited_timer().filter(|kind| !timers.contains(*kind)) {
        wrong.push(format!("#{} is {} and its timer {kind} is lost", found.number, found.state.word()));
    }
    let alerts = alert::alerts_of(tx, &found.id)?;
    let on_its_way = sent.iter().any(|d| d.status.is_unfinished());
    if timers.is_empty() && !on_its_way && alerts.iter().all(|alert| alert.resolved_at.is_some()) {
        wrong.push(format!("#{} is open and has no next step", found.number));
    }
    Ok(())
}

/// After an acknowledgement's commit no attempt's intent is committed, until the incident is triggered again.
fn no_page_after_acknowledgement(
    tx: &mut Tx<'_>,
    found: &Incident,
    log: &[LogEntry],
    sent: &[Stored],
    wrong: &mut Violations,
) -> Result<(), StoreError> {
    let bundles: BTreeSet<&String> =
        sent.iter().filter(|d| d.delivery.purpose == Purpose::Page).filter_map(|d| d.bundle.as_ref()).collect();
    for bundle in bundles {
        let Some(attempt) = delivery::find_attempt(tx, bundle)? else {
            wrong.push(format!("the attempt {bundle} has no intent on record"));
            continue;
        };
        let state_then = log.iter().rev().find(|entry| {
            entry.draft.at <= attempt.intent_at
                && matches!(
                    entry.draft.kind,
                    LogKind::Acknowledged
                        | LogKind::Snoozed { .. }
                        | LogKind::Unacknowledged
                        | LogKind::Reassigned { .. }
                        | LogKind::Escalated
                        | LogKind::Resolved { .. }
                        | LogKind::Triggered { .. }
                )
        });
        // Of two commits in the same microsecond the order is not known here.
        let state_then = state_then.filter(|entry| entry.draft.at < attempt.intent_at);
        if let Some(LogKind::Acknowledged | LogKind::Snoozed { .. } | LogKind::Resolved { .. }) = state_then.map(|entry| &entry.draft.kind)
        {
            wrong.push(format!("#{}: the page {bundle} was begun after the incident was taken or over", found.number));
        }
    }
    Ok(())
}

/// Every trigger pages somebody or records why not.
fn told_or_recorded(found: &Incident, log: &[LogEntry], sent: &[Stored], wrong: &mut Violations) {
    let paged = sent.iter().any(|d| d.delivery.purpose == Purpose::Page);
    let recorded = log.iter().any(|entry| matches!(entry.draft.kind, LogKind::NobodyToNotify | LogKind::Exhausted));
    if !paged && !recorded {
        wrong.push(format!("#{} paged nobody and does not say why", found.number));
    }
    if !log.iter().any(|entry| matches!(entry.draft.kind, LogKind::Triggered { .. })) {
        wrong.push(format!("#{} has no first entry", found.number));
    }
    let seqs: Vec<i64> = log.iter().map(|entry| entry.seq).collect();
    if seqs.iter().zip(1..).any(|(seq, expected)| *seq != expected) {
        wrong.push(format!("#{}: its timeline has a gap: {seqs:?}", found.number));
    }
}

/// At most one attempt per person and method is in flight.
fn one_in_flight(found: &Incident, sent: &[Stored], wrong: &mut Violations) {
    let mut per_lane: BTreeMap<String, usize> = BTreeMap::new();
    for one in sent.iter().filter(|d| d.status == Status::Claimed) {
        *per_lane.entry(one.delivery.lane()).or_default() += 1;
    }
    for (lane, n) in per_lane.into_iter().filter(|(_, n)| *n > 1) {
        wrong.push(format!("#{}: {n} attempts in flight in the lane {lane}", found.number));
    }
}

/// A message whose attempt is still under way is claimed; one that an earlier attempt ended would be sent twice.
fn ended_by_its_own_attempt(tx: &mut Tx<'_>, found: &Incident, sent: &[Stored], wrong: &mut Violations) -> Result<(), StoreError> {
    for one in sent.iter().filter(|d| d.status != Status::Claimed) {
        let Some(bundle) = &one.bundle else { continue };
        if delivery::find_attempt(tx, bundle)?.is_some_and(|attempt| attempt.outcome.is_none()) {
            wrong.push(format!("#{}: a message is {} and its attempt {bundle} is still under way", found.number, one.status.word()));
        }
    }
    Ok(())
}

/// A resolved incident has no alert left open.
fn no_alert_left_open(tx: &mut Tx<'_>, found: &Incident, wrong: &mut Violations) -> Result<(), StoreError> {
    let open = alert::alerts_of(tx, &found.id)?.into_iter().filter(|alert| alert.resolved_at.is_none()).count();
    if !found.is_open() && open > 0 {
        wrong.push(format!("#{} is resolved and has {open} open alerts", found.number));
    }
    Ok(())
}

fn ended_lately(found: &Incident, now: Timestamp) -> bool {
    const LATELY: Span = Span::from_mins(60);
    matches!(&found.state, State::Resolved(ended) if now.since(ended.at) <= LATELY)
}

/// In an incident that its tests resolved, the location that failed last passed since.
fn resolved_only_by_its_own(tx: &mut Tx<'_>, found: &Incident, wrong: &mut Violations) -> Result<(), StoreError> {
    let State::Resolved(ended) = &found.state else { return Ok(()) };
    let catalog = tx.catalog();
    for alert in alert::alerts_of(tx, &found.id)? {
        let (Some((test, environment)), Some(last)) = (&alert.test, &alert.last_run) else { continue };
        // With a threshold the last failing run may be of a location that did not count as failing yet.
        let notify = catalog.test(test).and_then(|found| found.environments.get(environment)?.notify.as_ref());
        let at_once = ended.why == ResolveReason::AlertsCleared && notify.is_some_and(|notify| notify.after_failures <= 1);
        let Some(failed) = run::find_run(tx, last)?.filter(|_| at_once) else { continue };
        let when = |one: &run::Run| one.slot.unwrap_or(one.started_at);
        let later = |one: &run::Run| one.location == failed.location && when(one) > when(&failed) && one.judged.starts_with("counted");
        if !run::latest_runs(tx, test, std::slice::from_ref(environment), MOST)?
            .iter()
            .any(|one| later(one) && one.started_at <= ended.at && one.verdict != failed.verdict)
        {
            wrong.push(format!("#{} was resolved and {} never passed since in {}", found.number, test, failed.location));
        }
    }
    Ok(())
}

/// A component's status is the worst that open incidents press on it; only open incidents press.
fn components_follow(tx: &mut Tx<'_>, wrong: &mut Violations) -> Result<(), StoreError> {
    let catalog = tx.catalog();
    for resource in catalog.of_kind(Kind::Component) {
        let id = ComponentId(resource.id.clone());
        let pressures = component::pressures(tx, &id)?;
        for (incident_id, _) in &pressures {
            if !incident::load_incident(tx, incident_id)?.is_open() {
                wrong.push(format!("the resolved incident {incident_id} presses on the component {id}"));
            }
        }
        let worst: ComponentStatus = pressures.iter().map(|(_, status)| *status).max().unwrap_or_default();
        let state = component::component_state(tx, &id)?;
        if state.owner == Owner::Automation && state.status != worst {
            wrong.push(format!("the component {id} is {} and should be {}", state.status.word(), worst.word()));
        }
        missing_pressure(tx, &id, &pressures, wrong)?;
    }
    Ok(())
}

/// An open incident of a service with a rule that does not wait presses on its component.
fn missing_pressure(
    tx: &mut Tx<'_>,
    id: &ComponentId,
    pressures: &[(IncidentId, ComponentStatus)],
    wrong: &mut Violations,
) -> Result<(), StoreError> {
    let catalog = tx.catalog();
    for resource in catalog.of_kind(Kind::Service) {
        let service = resource.id.as_str().into();
        let ruled = catalog.rules_of(&service).any(|(_, rule)| rule.component == *id && rule.delay.as_micros() == 0);
        if !ruled {
            continue;
        }
        for open in incident::open_incidents_of(tx, &[service].into())? {
            if !pressures.iter().any(|(incident_id, _)| *incident_id == open) {
                wrong.push(format!("{open} does not press on the component {id}"));
            }
        }
    }
    Ok(())
}

/// Every slot up to the watermark ran, or is an exception with its reason.
fn slots_accounted_for(tx: &mut Tx<'_>, wrong: &mut Violations) -> Result<(), StoreError> {
    let catalog = tx.catalog();
    let location = "local".into();
    let Some(mark) = slot::watermark(tx, &location, "local")? else { return Ok(()) };
    for resource in catalog.of_kind(Kind::Test) {
        let (id, Some(test)) = (TestId(resource.id.clone()), resource.document.as_test()) else { continue };
        let exceptions = slot::exceptions_of(tx, &id, MOST)?;
        for schedule in &test.schedules {
            let slots = Slots::new(&id, &schedule.environment, &location, schedule.every);
            let runs = run::latest_runs(tx, &id, std::slice::from_ref(&schedule.environment), MOST)?;
            let here = |environment: &str, at: &allclear_domain::LocationName| environment == schedule.environment && *at == location;
            let mut seen: BTreeSet<Timestamp> = runs.iter().filter(|r| here(&r.environment, &r.location)).filter_map(|r| r.slot).collect();
            let missed: Vec<_> = exceptions.iter().filter(|e| here(&e.environment, &e.location)).collect();
            seen.extend(missed.iter().map(|e| e.first));
            let Some(first) = seen.iter().find(|at| slots.at_or_after(**at) == **at) else { continue };
            let mut due = *first;
            while due <= mark.through {
                let excused = missed.iter().any(|e| e.first <= due && due <= e.last);
                if !seen.contains(&due) && !excused {
                    wrong.push(format!("the slot {due} of {} in {} is not accounted for", test.name, schedule.environment));
                }
                due = slots.after(due);
            }
        }
    }
    Ok(())
}

fn check_calm_within(tx: &mut Tx<'_>) -> Result<Violations, StoreError> {
    let mut wrong = check_within(tx, MOST)?;
    for found in incident::list_incidents(tx, None, i64::MAX, MOST)? {
        if found.is_open() {
            wrong.push(format!("#{} is still open: {}", found.number, found.title));
        }
        let sent = delivery::deliveries_of(tx, &found.id)?;
        for one in sent.iter().filter(|d| d.status.is_unfinished()) {
            wrong.push(format!("#{}: a {} by {} is still on its way", found.number, one.delivery.purpose.word(), one.provider));
        }
        everybody_heard(&found, &sent, &mut wrong);
    }
    Ok(wrong)
}

/// Everyone whose page was sent hears the all-clear at the same address.
fn everybody_heard(found: &Incident, sent: &[Stored], wrong: &mut Violations) {
    let of = |purpose: Purpose| sent.iter().filter(move |d| d.delivery.purpose == purpose);
    let heard: BTreeSet<String> =
        of(Purpose::AllClear).filter(|d| d.status != Status::Cancelled).map(|d| d.delivery.destination()).collect();
    for page in of(Purpose::Page).filter(|d| matches!(d.status, Status::Accepted | Status::Delivered)) {
        if !found.is_open() && !heard.contains(&page.delivery.destination()) {
            wrong.push(format!("#{}: {} was paged and heard no all-clear", found.number, page.delivery.recipient.key()));
        }
    }
}
