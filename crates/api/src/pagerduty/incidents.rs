//! Incidents, their log entries, notes and alerts.

use allclear_domain::incident::{Agent, Incident, LogKind, Paging, ResolveReason, ResolvedState, State as Standing, Urgency, Via};
use allclear_domain::{IncidentId, Span};
use allclear_ops::incident::Act;
use allclear_ops::view::{self, IncidentView, Names};
use allclear_ops::wish::{self, Declared, Wish};
use allclear_ops::{OpsError, incident, merge};
use allclear_store::record::alert::Alert;
use allclear_store::record::incident::LogEntry;
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::windows::{priority_body, priority_in};
use super::{Query, invalid, listed, not_found, parse, reference};
use crate::App;
use crate::access::{Caller, Problem};

/// The most that a bulk change takes; PagerDuty's bound, above it 413.
const MOST_IN_BULK: usize = 250;

/// `GET /incidents`
pub(crate) async fn list(State(app): State<App>, Caller(actor): Caller, RawQuery(raw): RawQuery) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let (limit, offset) = query.page()?;
    let (statuses, urgencies, services) = (query.all("statuses[]"), query.all("urgencies[]"), query.all("service_ids[]"));
    if let Some(bad) = statuses.iter().find(|s| !["triggered", "acknowledged", "resolved"].contains(s)) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, 1003, "Invalid Status Provided").because(format!("{bad} is not a status")));
    }
    let (key, people) = (query.one("incident_key"), query.all("user_ids[]"));
    let (since, until) = (query.instant("since")?, query.instant("until")?);
    let single = match statuses.as_slice() {
        [one] => Some((*one).to_owned()),
        _ => None,
    };
    let wanted = |incident: &Incident| {
        (statuses.is_empty() || statuses.contains(&incident.state.word()))
            && (urgencies.is_empty() || urgencies.contains(&incident.urgency.word()))
            && (services.is_empty() || services.contains(&incident.service.as_str()))
            && key.is_none_or(|wanted| incident.key.as_deref().is_some_and(|key| shown_key(key) == wanted))
            && (people.is_empty() || assigned(incident).iter().any(|person| people.contains(&person.as_str())))
            && since.is_none_or(|since| incident.opened_at >= since)
            && until.is_none_or(|until| incident.opened_at < until)
    };
    let names = Names::of(&app.store);
    let (mut found, mut skipped, mut before, mut more) = (Vec::new(), 0, i64::MAX, false);
    'pages: loop {
        const READ_AT_ONCE: u32 = 200;
        let chunk = view::list_incidents(&app.store, &actor, single.clone(), before, READ_AT_ONCE).await?;
        let Some(last) = chunk.last() else { break };
        before = last.number;
        for incident in chunk.into_iter().filter(wanted) {
            if skipped < offset {
                skipped += 1;
            } else if found.len() < limit {
                found.push(incident);
            } else {
                more = true;
                break 'pages;
            }
        }
    }
    let incidents: Vec<Value> = found.iter().map(|incident| body(&app, &names, incident, None)).collect();
    Ok(Json(json!({ "incidents": incidents, "limit": limit, "offset": offset, "total": null, "more": more })))
}

/// `GET /incidents/{id}`; the number is accepted too.
pub(crate) async fn show(State(app): State<App>, Caller(actor): Caller, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = view::show_incident(&app.store, &actor, &id).await?;
    Ok(Json(json!({ "incident": body(&app, &Names::of(&app.store), &found.incident, Some(&found)) })))
}

/// `PUT /incidents/{id}`
pub(crate) async fn update(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    actor.require(allclear_ops::Permission::IncidentsWrite)?;
    let change = parse(&bytes)?;
    let asked = asked(&app, &actor, &id, change.get("incident").unwrap_or(&Value::Null)).await?;
    let changed = incident::act_in_turn(&app.store, &*app.rng, &actor, vec![asked]).await?;
    let changed = changed.first().ok_or_else(|| Problem::from(OpsError::NotFound { what: "incident", id }))?;
    Ok(Json(json!({ "incident": body(&app, &Names::of(&app.store), changed, None) })))
}

/// `PUT /incidents`: all of it or nothing.
pub(crate) async fn update_many(State(app): State<App>, Caller(actor): Caller, bytes: Bytes) -> Result<Json<Value>, Problem> {
    actor.require(allclear_ops::Permission::IncidentsWrite)?;
    let changes = parse(&bytes)?;
    let list = changes.get("incidents").and_then(Value::as_array).ok_or_else(missing_list)?;
    if list.len() > MOST_IN_BULK {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, 2001, "Invalid Input Provided")
            .because(format!("at most {MOST_IN_BULK} incidents")));
    }
    let mut wanted = Vec::with_capacity(list.len());
    for change in list {
        let id =
            change.get("id").and_then(Value::as_str).ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, 1004, "Invalid ID Provided"))?;
        wanted.push(asked(&app, &actor, id, change).await?);
    }
    let changed = incident::act_in_turn(&app.store, &*app.rng, &actor, wanted).await?;
    let names = Names::of(&app.store);
    Ok(Json(json!({ "incidents": changed.iter().map(|incident| body(&app, &names, incident, None)).collect::<Vec<_>>() })))
}

fn missing_list() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, 2003, "Missing Arguments").because("incidents is missing")
}

/// What a change asks for, in the order in which a person would do it. A status or an urgency that the incident already has is no
/// error: the answer is the incident as it is.
async fn asked(app: &App, actor: &allclear_ops::Actor, id: &str, change: &Value) -> Result<(IncidentId, Vec<Act>), Problem> {
    let found = view::find_to_act_on(&app.store, actor, id).await?;
    let wishes = wishes(change)?;
    if wishes.is_empty() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, 2001, "Invalid Input Provided")
            .because("nothing is asked for: status, urgency, priority, title, escalation_level, assignments or resolution"));
    }
    let acts = wishes.into_iter().map(|wish| wish.act(&app.store).map_err(of_assignee)).collect::<Result<_, _>>()?;
    Ok((found.id, acts))
}

/// An assignee whom nobody knows has a code of its own.
fn of_assignee(error: OpsError) -> Problem {
    match &error {
        OpsError::NotFound { what: "person", .. } => {
            Problem::new(StatusCode::BAD_REQUEST, 1007, "Assigned To User Not Found").because(error.to_string())
        }
        OpsError::NotFound { what: "escalation policy", .. } => {
            Problem::new(StatusCode::BAD_REQUEST, 1014, "Escalation Policy Not Found").because(error.to_string())
        }
        _ => error.into(),
    }
}

fn wishes(change: &Value) -> Result<Vec<Wish>, Problem> {
    let invalid = |why: &str| Problem::new(StatusCode::BAD_REQUEST, 2001, "Invalid Input Provided").because(why);
    for unknown in ["escalation_policy", "service", "conference_bridge"] {
        if change.get(unknown).is_some_and(|value| !value.is_null()) {
            return Err(invalid(&format!("{unknown} of an open incident cannot be changed")));
        }
    }
    if change.get("status").is_some_and(|status| !status.is_string() && !status.is_null()) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, 1003, "Invalid Status Provided").because("status is a text"));
    }
    let mut wishes = Vec::new();
    if let Some(urgency) = change.get("urgency").filter(|urgency| !urgency.is_null()) {
        wishes.push(Wish::Urgency { urgency: urgency_of(urgency)? });
    }
    if let Some(level) = change.get("escalation_level").filter(|level| !level.is_null()) {
        let level = level.as_u64().and_then(|level| usize::try_from(level).ok()).ok_or_else(|| invalid("escalation_level is a number"))?;
        wishes.push(Wish::Escalate { level: Some(level) });
    }
    if change.get("assignments").is_some_and(|assignments| !assignments.is_null()) {
        wishes.push(Wish::Reassign { people: assignees(change) });
    }
    if let Some(priority) = change.get("priority") {
        wishes.push(Wish::Priority { priority: priority_in(priority)? });
    }
    if let Some(title) = change.get("title").and_then(Value::as_str) {
        wishes.push(Wish::Retitle { title: title.to_owned() });
    }
    if let Some(text) = change.get("resolution").and_then(Value::as_str) {
        wishes.push(Wish::Note { text: text.to_owned() });
    }
    match change.get("status").and_then(Value::as_str) {
        Some("acknowledged") => wishes.push(Wish::Ack),
        Some("resolved") => wishes.push(Wish::Resolve),
        Some(_) => {
            let problem = Problem::new(StatusCode::BAD_REQUEST, 1003, "Invalid Status Provided");
            return Err(problem.because("status can be acknowledged or resolved"));
        }
        None => {}
    }
    Ok(wishes)
}

fn urgency_of(value: &Value) -> Result<Urgency, Problem> {
    let read = serde_json::from_value(value.clone());
    read.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, 2001, "Invalid Input Provided").because("urgency is high or low"))
}

fn assignees(change: &Value) -> Vec<String> {
    let list = change["assignments"].as_array().into_iter().flatten();
    list.filter_map(|assignment| assignment["assignee"]["id"].as_str()).map(str::to_owned).collect()
}

/// `POST /incidents`: 201.
pub(crate) async fn create(State(app): State<App>, Caller(actor): Caller, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = parse(&bytes)?;
    let asked = &asked["incident"];
    let missing =
        |name: &str| Problem::new(StatusCode::BAD_REQUEST, 2001, "Invalid Input Provided").because(format!("{name} cannot be empty"));
    let declared = Declared {
        title: asked["title"].as_str().filter(|title| !title.trim().is_empty()).ok_or_else(|| missing("Title"))?.to_owned(),
        service: asked["service"]["id"].as_str().ok_or_else(|| missing("Service"))?.to_owned(),
        details: asked["body"]["details"].as_str().map(str::to_owned),
        urgency: asked.get("urgency").filter(|urgency| !urgency.is_null()).map(urgency_of).transpose()?,
        people: assignees(asked),
        policy: asked["escalation_policy"]["id"].as_str().map(str::to_owned),
        priority: asked.get("priority").map(priority_in).transpose()?.flatten(),
        taken: is_self_assigned(asked, &actor),
        key: asked["incident_key"].as_str().map(str::to_owned),
    };
    let opened = wish::declare(&app.store, &*app.rng, &actor, declared).await.map_err(of_assignee)?;
    Ok((StatusCode::CREATED, Json(json!({ "incident": body(&app, &Names::of(&app.store), &opened, None) }))))
}

/// Whether whoever opens an incident gives it to themselves: then they have it already, and nobody is paged.
fn is_self_assigned(asked: &Value, actor: &allclear_ops::Actor) -> bool {
    let Agent::Person { person, .. } = actor.agent() else { return false };
    let given = assignees(asked);
    !given.is_empty() && given.iter().all(|id| id == person.as_str())
}

/// `PUT /incidents/{id}/merge`: the answer is a reference, as PagerDuty has it.
pub(crate) async fn merge(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let asked = parse(&bytes)?;
    let sources = asked["source_incidents"].as_array().ok_or_else(|| invalid("source_incidents is missing"))?;
    let target = view::find_to_act_on(&app.store, &actor, &id).await?;
    let mut ids = Vec::with_capacity(sources.len());
    if sources.len() > merge::MOST_MERGED {
        return Err(invalid(format!("at most {} incidents are merged at once", merge::MOST_MERGED)).into());
    }
    for source in sources {
        let id = source["id"].as_str().ok_or_else(|| invalid("an incident is named by its id"))?;
        ids.push(view::find_to_act_on(&app.store, &actor, id).await?.id);
    }
    let merged = merge::merge(&app.store, &*app.rng, &actor, &target.id, &ids).await?;
    let summary = format!("[#{}] {}", merged.number, merged.title);
    Ok(Json(json!({ "incident": reference(&app, "incident", merged.id.as_str(), &summary) })))
}

/// `GET /incidents/{id}/alerts`
pub(crate) async fn alerts(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let found = view::show_incident(&app.store, &actor, &id).await?;
    let (names, statuses) = (Names::of(&app.store), query.all("statuses[]"));
    let wanted = found.alerts.iter().filter(|alert| statuses.is_empty() || statuses.contains(&status_of(alert)));
    listed(&query, "alerts", wanted.map(|alert| alert_body(&app, &names, &found.incident, alert)).collect())
}

/// `GET /incidents/{id}/alerts/{alert}`
pub(crate) async fn alert(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((id, alert)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let found = view::show_incident(&app.store, &actor, &id).await?;
    let one = found.alerts.iter().find(|one| one.id.as_str() == alert).ok_or_else(|| not_found("alert", &alert))?;
    Ok(Json(json!({ "alert": alert_body(&app, &Names::of(&app.store), &found.incident, one) })))
}

const fn status_of(alert: &Alert) -> &'static str {
    if alert.resolved_at.is_some() { "resolved" } else { "triggered" }
}

fn alert_body(app: &App, names: &Names, incident: &Incident, alert: &Alert) -> Value {
    let here = format!("{}/alerts/{}", super::address(app, "incident", incident.id.as_str()), alert.id);
    let severity = alert.event.as_ref().and_then(|event| event.severity).map(allclear_domain::event::Severity::word);
    json!({
        "id": alert.id, "type": "alert", "summary": alert.why, "self": here, "html_url": null,
        "created_at": alert.opened_at.to_rfc3339_seconds(), "status": status_of(alert), "alert_key": shown_key(&alert.dedup_key),
        "service": reference(app, "service", alert.service.as_str(), &names.service(&alert.service)),
        "incident": reference(app, "incident", incident.id.as_str(), &format!("[#{}] {}", incident.number, incident.title)),
        "body": { "type": "alert_body", "contexts": [], "details": alert.event.as_ref().map(|event| &event.details) },
        "suppressed": false, "severity": severity, "integration": null,
    })
}

/// `GET /log_entries/{id}?incident_id=…`: the address that an entry says of itself.
pub(crate) async fn log_entry(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let incident = query.one("incident_id").ok_or_else(|| invalid("incident_id is missing: it stands in the entry's own address"))?;
    let (found, names) = (view::show_incident(&app.store, &actor, incident).await?, Names::of(&app.store));
    let one = found.log.iter().find(|entry| entry.id == id).and_then(|entry| entry_body(&app, &names, &found.incident, entry));
    Ok(Json(json!({ "log_entry": one.ok_or_else(|| not_found("log entry", &id))? })))
}

/// A key as whoever sent it wrote it; ours say more.
fn shown_key(key: &str) -> &str {
    let ours = key.strip_prefix("event:").or_else(|| key.strip_prefix("declared:"));
    ours.map_or(key, |rest| rest.split_once(':').map_or(rest, |(_, key)| key))
}

/// Who has an incident.
fn assigned(incident: &Incident) -> Vec<allclear_domain::PersonId> {
    let of = |paging: &Paging| match paging {
        Paging::Level(here) => here.assigned.clone(),
        Paging::Nobody { .. } => vec![],
    };
    match &incident.state {
        Standing::Triggered(paging) => of(paging),
        Standing::Acknowledged(held) => of(&held.paging),
        Standing::Resolved(_) => vec![],
    }
}

/// `POST /incidents/{id}/snooze`: 201.
pub(crate) async fn snooze(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = parse(&bytes)?;
    let seconds = asked["duration"]
        .as_i64()
        .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, 2001, "Invalid Input Provided").because("duration is a number of seconds"))?;
    /// A week.
    const LONGEST_S: i64 = 604_800;
    if !(1..=LONGEST_S).contains(&seconds) {
        let problem = Problem::new(StatusCode::BAD_REQUEST, 1013, "Snooze Duration is Invalid");
        return Err(problem.because(format!("duration is a number of seconds from 1 to {LONGEST_S}")));
    }
    let found = view::find_to_act_on(&app.store, &actor, &id).await?;
    let snooze = Wish::Snooze { span: Span::from_secs(seconds) };
    let changed = incident::act(&app.store, &*app.rng, &actor, &found.id, snooze.act(&app.store)?).await?;
    Ok((StatusCode::CREATED, Json(json!({ "incident": body(&app, &Names::of(&app.store), &changed, None) }))))
}

/// `GET /incidents/{id}/notes`: all of them, newest first.
pub(crate) async fn notes(State(app): State<App>, Caller(actor): Caller, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = view::show_incident(&app.store, &actor, &id).await?;
    let names = Names::of(&app.store);
    let notes: Vec<Value> = found.log.iter().rev().filter_map(|entry| note_body(&app, &names, &found.incident, entry)).collect();
    Ok(Json(json!({ "notes": notes })))
}

/// `POST /incidents/{id}/notes`: 200, as PagerDuty has it.
pub(crate) async fn add_note(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let asked = parse(&bytes)?;
    let text = asked["note"]["content"].as_str().unwrap_or_default().to_owned();
    let found = view::find_to_act_on(&app.store, &actor, &id).await?;
    incident::act(&app.store, &*app.rng, &actor, &found.id, Wish::Note { text }.act(&app.store)?).await?;
    let written = view::show_incident(&app.store, &actor, found.id.as_str()).await?;
    let names = Names::of(&app.store);
    let note = written.log.iter().rev().find_map(|entry| note_body(&app, &names, &written.incident, entry));
    Ok(Json(json!({ "note": note })))
}

fn note_body(app: &App, names: &Names, incident: &Incident, entry: &LogEntry) -> Option<Value> {
    let LogKind::Noted { text } = &entry.draft.kind else { return None };
    let at = entry.draft.at.to_rfc3339_seconds();
    Some(json!({
        "id": entry.id, "user": agent(app, names, incident, &entry.draft.agent),
        "channel": { "summary": "The PagerDuty website or APIs" }, "content": text, "created_at": at, "updated_at": at,
    }))
}

/// `GET /incidents/{id}/log_entries`
pub(crate) async fn log_entries(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let (limit, offset) = query.page()?;
    let found = view::show_incident(&app.store, &actor, &id).await?;
    let names = Names::of(&app.store);
    // Newest first, as PagerDuty lists them.
    let entries: Vec<Value> = found.log.iter().rev().filter_map(|entry| entry_body(&app, &names, &found.incident, entry)).collect();
    let page: Vec<Value> = entries.iter().skip(offset).take(limit).cloned().collect();
    let more = entries.len() > offset.saturating_add(page.len());
    Ok(Json(json!({ "log_entries": page, "limit": limit, "offset": offset, "total": null, "more": more })))
}

fn agent(app: &App, names: &Names, incident: &Incident, agent: &Agent) -> Value {
    match agent {
        Agent::Person { person, .. } => reference(app, "user", person.as_str(), &names.person(person)),
        Agent::Token { .. }
        | Agent::Test { .. }
        | Agent::Integration { .. }
        | Agent::Heartbeat { .. }
        | Agent::Linked { .. }
        | Agent::Timer
        | Agent::System
        | Agent::Configuration => reference(app, "service", incident.service.as_str(), &names.service(&incident.service)),
    }
}

fn body(app: &App, names: &Names, incident: &Incident, full: Option<&IncidentView>) -> Value {
    let url = app.channels.site().url();
    let catalog = app.store.catalog();
    let opened = incident.opened_at.to_rfc3339_seconds();
    let (assigned, acknowledgements, pending) = match &incident.state {
        Standing::Triggered(Paging::Level(here)) => {
            let next = here.escalates_at.map(|at| json!({ "type": "escalate", "at": at.to_rfc3339_seconds() }));
            (here.assigned.clone(), vec![], next.into_iter().collect())
        }
        Standing::Triggered(Paging::Nobody { .. }) | Standing::Resolved(_) => (vec![], vec![], vec![]),
        Standing::Acknowledged(held) => {
            let given = |a: &allclear_domain::incident::Acknowledgement| json!({ "at": a.at.to_rfc3339_seconds(), "acknowledger": agent(app, names, incident, &a.by) });
            let next = held.times_out_at.map(|at| json!({ "type": "unacknowledge", "at": at.to_rfc3339_seconds() }));
            let assigned = match &held.paging {
                Paging::Level(here) => here.assigned.clone(),
                Paging::Nobody { .. } => vec![],
            };
            (assigned, held.by.iter().map(given).collect(), next.into_iter().collect::<Vec<Value>>())
        }
    };
    let (changed_at, changed_by, resolved_at) = match &incident.state {
        Standing::Triggered(_) => {
            (opened.clone(), reference(app, "service", incident.service.as_str(), &names.service(&incident.service)), Value::Null)
        }
        Standing::Acknowledged(held) => {
            let last = held.by.last();
            let at = last.map_or_else(|| opened.clone(), |a| a.at.to_rfc3339_seconds());
            (at, last.map_or(Value::Null, |a| agent(app, names, incident, &a.by)), Value::Null)
        }
        Standing::Resolved(end) => {
            let at = end.at.to_rfc3339_seconds();
            (at.clone(), agent(app, names, incident, &end.by), at.into())
        }
    };
    let policy = catalog.service(&incident.service).map(|service| service.escalation_policy.clone());
    let policy =
        policy.map(|id| reference(app, "escalation_policy", id.as_str(), &catalog.policy(&id).map_or(String::new(), |p| p.name.clone())));
    let open = incident.is_open();
    let alerts = full.map_or(1, |view| view.alerts.len());
    let first_entry = full.and_then(|view| view.log.first()).map(|entry| entry.id.clone());
    let details = full.and_then(|view| view.alerts.first()).map(|alert| alert.why.clone());
    json!({
        "id": incident.id, "type": "incident", "summary": format!("[#{}] {}", incident.number, incident.title),
        "self": format!("{url}/pagerduty/incidents/{}", incident.id), "html_url": format!("{url}/incidents/{}", incident.id),
        "incident_number": incident.number, "title": incident.title, "created_at": opened, "updated_at": changed_at,
        "status": incident.state.word(), "incident_key": incident.key.as_deref().map(shown_key),
        "service": reference(app, "service", incident.service.as_str(), &names.service(&incident.service)),
        "assignments": assigned.iter().map(|p| json!({ "at": opened, "assignee": reference(app, "user", p.as_str(), &names.person(p)) })).collect::<Vec<_>>(),
        "assigned_via": "escalation_policy", "last_status_change_at": changed_at, "last_status_change_by": changed_by,
        "resolved_at": resolved_at,
        "first_trigger_log_entry": first_entry.map(|id| json!({ "id": id, "type": "trigger_log_entry_reference" })),
        "alert_counts": { "all": alerts, "triggered": if open { alerts } else { 0 }, "resolved": if open { 0 } else { alerts } },
        "is_mergeable": open, "incident_type": { "name": "incident_default" }, "escalation_policy": policy, "teams": [],
        "pending_actions": pending, "acknowledgements": acknowledgements, "alert_grouping": null,
        "priority": incident.priority.map(|priority| priority_body(app, priority)), "resolve_reason": merged_into(app, incident), "conference_bridge": null, "incidents_responders": [], "responder_requests": [],
        "subscriber_requests": [], "urgency": incident.urgency.word(),
        "body": details.map(|details| json!({ "type": "incident_body", "details": details })),
    })
}

/// The incident as which a merged one goes on.
fn merged_into(app: &App, incident: &Incident) -> Value {
    match &incident.state {
        Standing::Resolved(ResolvedState { why: ResolveReason::Merged { into, number }, .. }) => {
            json!({ "type": "merge_resolve_reason", "incident": reference(app, "incident", into.as_str(), &format!("#{number}")) })
        }
        Standing::Resolved(_) | Standing::Triggered(_) | Standing::Acknowledged(_) => Value::Null,
    }
}

/// Entries that PagerDuty has no word for stay ours alone.
fn entry_body(app: &App, names: &Names, incident: &Incident, entry: &LogEntry) -> Option<Value> {
    let channel = match &entry.draft.agent {
        Agent::Person { via: Via::Slack, .. } => "website",
        Agent::Person { via: Via::Sms, .. } => "sms",
        Agent::Person { via: Via::Call, .. } => "phone",
        Agent::Person { .. } | Agent::Token { .. } => "api",
        Agent::Timer => "timeout",
        Agent::Integration { .. } | Agent::Linked { .. } | Agent::Heartbeat { .. } => "integration",
        Agent::Test { .. } | Agent::System | Agent::Configuration => "auto",
    };
    let users = |people: &[allclear_domain::PersonId]| {
        people.iter().map(|p| reference(app, "user", p.as_str(), &names.person(p))).collect::<Vec<_>>()
    };
    let mut extra = json!({});
    let kind = match &entry.draft.kind {
        LogKind::Triggered { why } => {
            extra = json!({ "event_details": { "description": why } });
            "trigger"
        }
        LogKind::Assigned { people, level, .. } => {
            extra = json!({ "assignees": users(people) });
            if *level > 1 { "escalate" } else { "assign" }
        }
        LogKind::Exhausted => "exhaust_escalation_path",
        LogKind::Acknowledged => "acknowledge",
        LogKind::Unacknowledged => "unacknowledge",
        LogKind::Resolved { .. } => "resolve",
        LogKind::Notified { person, method, address, outcome } => {
            let person = person.as_ref()?;
            extra = json!({
                "user": reference(app, "user", person.as_str(), &names.person(person)),
                "channel": { "type": "auto", "notification": { "type": method, "address": address, "status": outcome } },
            });
            "notify"
        }
        LogKind::Reassigned { people } => {
            extra = json!({ "assignees": users(people) });
            "assign"
        }
        LogKind::Escalated => "escalate",
        LogKind::Snoozed { until } => {
            extra = json!({ "changed_actions": [{ "type": "unacknowledge", "at": until.to_rfc3339_seconds() }] });
            "snooze"
        }
        LogKind::UrgencyChanged { .. } => "urgency_change",
        LogKind::PriorityChanged { .. } | LogKind::Retitled { .. } => "field_value_change",
        LogKind::Absorbed { .. } => "merge",
        LogKind::Noted { .. } | LogKind::NobodyToNotify | LogKind::ComponentChanged { .. } | LogKind::ComponentProposed { .. } => {
            "annotate"
        }
    };
    let url = app.channels.site().url();
    let summary = names.sentence(&entry.draft.kind, &|at| at.to_rfc3339_seconds());
    let mut body = json!({
        "id": entry.id, "type": format!("{kind}_log_entry"), "summary": summary,
        "self": format!("{url}/pagerduty/log_entries/{}?incident_id={}", entry.id, incident.id), "html_url": null,
        "created_at": entry.draft.at.to_rfc3339_seconds(), "agent": agent(app, names, incident, &entry.draft.agent),
        "channel": { "type": if kind == "annotate" { "note" } else { channel }, "summary": summary }, "note": null, "contexts": [],
        "service": reference(app, "service", incident.service.as_str(), &names.service(&incident.service)),
        "incident": reference(app, "incident", incident.id.as_str(), &format!("[#{}] {}", incident.number, incident.title)),
        "teams": [],
    });
    if let (Value::Object(body), Value::Object(extra)) = (&mut body, extra) {
        body.extend(extra);
    }
    Some(body)
}
