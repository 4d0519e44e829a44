//! On-call schedules with their overrides.

use allclear_domain::catalog::{Catalog, Document, Kind, Resource};
use allclear_domain::oncall::{self, Override, Schedule, Turn};
use allclear_domain::{Span, Timestamp};
use allclear_ops::{Actor, OpsError, resource};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    Query, address, derived_id, id_in, instant, invalid, listed, matches, name_in, not_found, parse, reference, text_in, user_reference,
    wrapped,
};
use crate::App;
use crate::access::{Caller, Problem};

/// How much of a schedule is shown where only one end is named; PagerDuty's two weeks.
const SHOWN: Span = Span::from_mins(14 * 24 * 60);

/// The longest time that is shown at once.
const LONGEST_SHOWN: Span = Span::from_mins(100 * 24 * 60);

/// The most people of a rotation, and the most overrides of a schedule.
const MOST_PEOPLE: usize = 500;

/// `GET /schedules`
pub(crate) async fn list(State(app): State<App>, Caller(_): Caller, RawQuery(raw): RawQuery) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let catalog = app.store.catalog();
    let mut found: Vec<_> = catalog.of_kind(Kind::Schedule).filter_map(|r| r.document.as_schedule().map(|s| (r, s))).collect();
    found.retain(|(_, schedule)| matches(&query, &schedule.name));
    found.sort_by_key(|(_, schedule)| schedule.name.to_lowercase());
    let range = range(&query)?;
    let bodies: Result<Vec<Value>, OpsError> = found.into_iter().map(|(r, schedule)| body(&app, &catalog, r, schedule, range)).collect();
    listed(&query, "schedules", bodies?)
}

/// The time that is to be shown, if any.
fn range(query: &Query) -> Result<Option<(Timestamp, Timestamp)>, Problem> {
    let (since, until) = (query.instant("since")?, query.instant("until")?);
    let range = match (since, until) {
        (None, None) => return Ok(None),
        (Some(since), None) => (since, since.plus(SHOWN)),
        (None, Some(until)) => (until.minus(SHOWN), until),
        (Some(since), Some(until)) => (since, until),
    };
    if range.1 < range.0 || range.1.since(range.0) > LONGEST_SHOWN {
        let problem = Problem::new(StatusCode::BAD_REQUEST, 2005, "Invalid Query Date Range");
        return Err(problem.because("until comes after since, by at most 100 days"));
    }
    Ok(Some(range))
}

fn shown(app: &App, found: &Resource, range: Option<(Timestamp, Timestamp)>) -> Result<Json<Value>, Problem> {
    let schedule = found.document.as_schedule().ok_or_else(|| not_found("schedule", &found.id))?;
    Ok(Json(json!({ "schedule": body(app, &app.store.catalog(), found, schedule, range)? })))
}

fn find(app: &App, id: &str) -> Result<std::sync::Arc<Resource>, OpsError> {
    app.store.catalog().get(Kind::Schedule, id).cloned().ok_or_else(|| not_found("schedule", id))
}

/// `GET /schedules/{id}`
pub(crate) async fn show(
    State(app): State<App>,
    Caller(_): Caller,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, Problem> {
    shown(&app, &*find(&app, &id)?, range(&Query::parse(raw.as_deref()))?)
}

/// `GET /schedules/{id}/users`: who is on call within a time.
pub(crate) async fn users(
    State(app): State<App>,
    Caller(_): Caller,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, Problem> {
    let (found, now) = (find(&app, &id)?, app.store.now());
    let (from, to) = range(&Query::parse(raw.as_deref()))?.unwrap_or((now, now.plus(SHOWN)));
    let schedule = found.document.as_schedule().ok_or_else(|| not_found("schedule", &id))?;
    let turns = schedule.turns(from, to).map_err(|e| invalid(e.to_string()))?;
    let people: std::collections::BTreeSet<_> = turns.into_iter().map(|turn| turn.person).collect();
    let catalog = app.store.catalog();
    Ok(Json(json!({ "users": people.iter().map(|person| user_reference(&app, &catalog, person)).collect::<Vec<_>>() })))
}

/// `POST /schedules`: 201.
pub(crate) async fn create(State(app): State<App>, Caller(actor): Caller, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = wrapped(&parse(&bytes)?, "schedule")?.clone();
    let blank = Schedule {
        name: name_in(&asked, "name", "Name")?.ok_or_else(|| invalid("Name cannot be empty."))?,
        description: None,
        time_zone: asked["time_zone"]
            .as_str()
            .filter(|zone| !zone.is_empty())
            .ok_or_else(|| invalid("Time zone cannot be empty."))?
            .to_owned(),
        people: vec![],
        start: String::new(),
        turn: Span::ZERO,
        overrides: vec![],
        extra: Map::new(),
    };
    let schedule = changed(blank, &asked, app.store.now())?;
    if schedule.people.is_empty() {
        return Err(invalid("a schedule has one layer with at least one user").into());
    }
    let document = Document::Schedule(schedule);
    let made = resource::put(&app.store, &*app.rng, &actor, Kind::Schedule, None, move |_, _| Ok(document.clone())).await?;
    Ok((StatusCode::CREATED, shown(&app, &made, None)?))
}

/// `PUT /schedules/{id}`
pub(crate) async fn update(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let asked = wrapped(&parse(&bytes)?, "schedule")?.clone();
    let now = app.store.now();
    let made = edit(&app, &actor, &id, move |schedule| changed(schedule, &asked, now)).await?;
    shown(&app, &made, None)
}

/// `DELETE /schedules/{id}`: 204.
pub(crate) async fn remove(State(app): State<App>, Caller(actor): Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let names_it = |resource: &std::sync::Arc<Resource>| {
        let targets = resource.document.as_policy().into_iter().flat_map(|policy| &policy.levels).flat_map(|level| &level.targets);
        targets.into_iter().any(|target| matches!(target, allclear_domain::escalation::Target::Schedule(named) if named.as_str() == id))
    };
    if app.store.catalog().of_kind(Kind::EscalationPolicy).any(names_it) {
        return Err(invalid("Schedule can't be deleted if it's being used by escalation policies").into());
    }
    resource::remove(&app.store, &*app.rng, &actor, Kind::Schedule, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn edit<F>(app: &App, actor: &Actor, id: &str, change: F) -> Result<std::sync::Arc<Resource>, OpsError>
where
    F: Fn(Schedule) -> Result<Schedule, OpsError> + Send + 'static,
{
    let of = id.to_owned();
    let make = move |old: Option<&Document>, _: &_| {
        let schedule = old.and_then(Document::as_schedule).cloned().ok_or_else(|| not_found("schedule", &of))?;
        change(schedule).map(Document::Schedule)
    };
    resource::put(&app.store, &*app.rng, actor, Kind::Schedule, Some(id), make).await
}

fn changed(mut schedule: Schedule, asked: &Value, now: Timestamp) -> Result<Schedule, OpsError> {
    if let Some(name) = name_in(asked, "name", "Name")? {
        schedule.name = name;
    }
    if asked.get("description").is_some() {
        schedule.description = text_in(asked, "description");
    }
    if let Some(zone) = asked["time_zone"].as_str() {
        if zone.is_empty() {
            return Err(invalid("Time zone cannot be empty."));
        }
        schedule.time_zone = zone.to_owned();
    }
    oncall::zone(&schedule.time_zone).map_err(|e| invalid(e.to_string()))?;
    let Some(layers) = asked["schedule_layers"].as_array() else { return Ok(schedule) };
    // A client ends a layer by sending it with an end; what has ended is not kept here.
    let has_ended = |layer: &Value| layer["end"].as_str().and_then(instant).is_some_and(|end| end <= now);
    let running: Vec<&Value> = layers.iter().filter(|layer| !has_ended(layer)).collect();
    if running.iter().any(|layer| !layer["end"].is_null()) {
        return Err(invalid("a layer that ends later is not built; leave its end out, and end it when the time has come"));
    }
    let [layer] = running.as_slice() else {
        return Err(invalid("a schedule has one layer without an end; several layers are not built"));
    };
    if layer["restrictions"].as_array().is_some_and(|restrictions| !restrictions.is_empty()) {
        return Err(invalid("restrictions of a layer are not built; make a schedule without them"));
    }
    let users = layer["users"].as_array().map(Vec::as_slice).unwrap_or_default();
    let person =
        |user: &Value| id_in(user, "user").map(Into::into).ok_or_else(|| invalid("a layer's users have the form {\"user\": {\"id\": …}}"));
    schedule.people = users.iter().map(person).collect::<Result<_, _>>()?;
    if schedule.people.is_empty() || schedule.people.len() > MOST_PEOPLE {
        return Err(invalid(format!("a layer has 1 to {MOST_PEOPLE} users")));
    }
    // Who takes turns from when on is one thing here: a layer cannot begin later than its rotation.
    let begins = layer["start"].as_str().and_then(instant).filter(|begins| *begins > now.plus(Span::from_mins(1)));
    let rotates = layer["rotation_virtual_start"].as_str().and_then(instant);
    if let (Some(begins), Some(rotates)) = (begins, rotates)
        && begins != rotates
    {
        return Err(invalid("a layer that starts later than its rotation is not built; give both the same instant"));
    }
    let start = layer["rotation_virtual_start"].as_str().or_else(|| layer["start"].as_str()).and_then(instant);
    let start = start.ok_or_else(|| invalid("rotation_virtual_start is a date in the form of ISO 8601"))?;
    schedule.start = civil(&schedule.time_zone, start)?;
    let turn = layer["rotation_turn_length_seconds"].as_i64().filter(|seconds| (60..=365 * 86_400).contains(seconds));
    schedule.turn = Span::from_secs(turn.ok_or_else(|| invalid("rotation_turn_length_seconds is a number from 60 to 31536000"))?);
    Ok(schedule)
}

/// An instant as the clocks of a zone show it.
fn civil(zone: &str, at: Timestamp) -> Result<String, OpsError> {
    let zone = oncall::zone(zone).map_err(|e| invalid(e.to_string()))?;
    Ok(at.to_jiff().to_zoned(zone).datetime().strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

/// An instant with the offset of a zone.
pub(super) fn zoned(zone: &str, at: Timestamp) -> String {
    match oncall::zone(zone) {
        Ok(zone) => at.to_jiff().to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        Err(_) => at.to_rfc3339_seconds(),
    }
}

/// The instant of a civil time in a zone.
fn at(zone: &str, civil: &str) -> Option<Timestamp> {
    let zone = oncall::zone(zone).ok()?;
    let civil = oncall::civil(civil).ok()?;
    Some(Timestamp(zone.to_ambiguous_zoned(civil).compatible().ok()?.timestamp().as_microsecond()))
}

fn body(
    app: &App,
    catalog: &Catalog,
    resource: &Resource,
    schedule: &Schedule,
    range: Option<(Timestamp, Timestamp)>,
) -> Result<Value, OpsError> {
    let zone = &schedule.time_zone;
    let start = at(zone, &schedule.start).map(|start| zoned(zone, start));
    let layer = Schedule { overrides: vec![], ..schedule.clone() };
    let (final_turns, layer_turns) = match range {
        Some((from, to)) => {
            let turns = |schedule: &Schedule| schedule.turns(from, to).map_err(|e| invalid(e.to_string()));
            (turns(schedule)?, turns(&layer)?)
        }
        None => (vec![], vec![]),
    };
    let entry = |turn: &Turn| json!({ "start": zoned(zone, turn.from), "end": zoned(zone, turn.to), "user": user_reference(app, catalog, &turn.person) });
    let coverage = |turns: &[Turn]| {
        let (from, to) = range?;
        let covered: i64 = turns.iter().map(|turn| turn.to.0 - turn.from.0).sum();
        // Both are at most 100 days in microseconds, far within what a float holds exactly.
        Some(100.0 * covered as f64 / (to.0 - from.0).max(1) as f64)
    };
    let subschedule = |name: &str, turns: &[Turn]| json!({ "name": name, "rendered_schedule_entries": turns.iter().map(entry).collect::<Vec<_>>(), "rendered_coverage_percentage": coverage(turns) });
    let exceptions: Vec<Turn> = match range {
        Some((from, to)) => {
            let within = |one: &Override| {
                let (begins, ends) = (at(zone, &one.from)?, at(zone, &one.to)?);
                (begins < to && ends > from).then(|| Turn { person: one.person.clone(), from: begins.max(from), to: ends.min(to) })
            };
            schedule.overrides.iter().filter_map(within).collect()
        }
        None => vec![],
    };
    let names_it = |policy: &&std::sync::Arc<Resource>| {
        let targets = policy.document.as_policy().into_iter().flat_map(|policy| &policy.levels).flat_map(|level| &level.targets);
        targets
            .into_iter()
            .any(|target| matches!(target, allclear_domain::escalation::Target::Schedule(named) if named.as_str() == resource.id))
    };
    let policies =
        catalog.of_kind(Kind::EscalationPolicy).filter(names_it).map(|r| reference(app, "escalation_policy", &r.id, &r.document.name()));
    let people: Vec<Value> = schedule.people.iter().map(|person| user_reference(app, catalog, person)).collect();
    Ok(json!({
        "id": resource.id, "type": "schedule", "summary": schedule.name, "name": schedule.name, "description": schedule.description,
        "self": address(app, "schedule", &resource.id), "html_url": null, "time_zone": zone,
        "escalation_policies": policies.collect::<Vec<_>>(), "users": people, "teams": [],
        "schedule_layers": [{
            "id": derived_id(&[&resource.id, "layer"]), "name": "Layer 1", "start": start, "end": null, "rotation_virtual_start": start,
            "rotation_turn_length_seconds": schedule.turn.as_secs(),
            "users": people.iter().map(|user| json!({ "user": user })).collect::<Vec<_>>(), "restrictions": [],
            "rendered_schedule_entries": layer_turns.iter().map(entry).collect::<Vec<_>>(), "rendered_coverage_percentage": coverage(&layer_turns),
        }],
        "overrides_subschedule": subschedule("Overrides", &exceptions), "final_schedule": subschedule("Final Schedule", &final_turns),
    }))
}

fn override_id(schedule: &str, one: &Override) -> String {
    derived_id(&[schedule, "override", one.person.as_str(), &one.from, &one.to])
}

fn override_body(app: &App, catalog: &Catalog, id: &str, zone: &str, one: &Override) -> Value {
    let instant = |civil: &str| at(zone, civil).map(|at| zoned(zone, at));
    json!({ "id": override_id(id, one), "start": instant(&one.from), "end": instant(&one.to), "user": user_reference(app, catalog, &one.person) })
}

/// `GET /schedules/{id}/overrides`: 201, as PagerDuty has it.
pub(crate) async fn overrides(
    State(app): State<App>,
    Caller(_): Caller,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let query = Query::parse(raw.as_deref());
    let range = range(&query)?.ok_or_else(|| invalid("since and until are needed"))?;
    let (found, catalog) = (find(&app, &id)?, app.store.catalog());
    let schedule = found.document.as_schedule().ok_or_else(|| not_found("schedule", &id))?;
    let zone = &schedule.time_zone;
    let touches = |one: &&Override| {
        let (from, to) = (at(zone, &one.from), at(zone, &one.to));
        from.is_some_and(|from| from < range.1) && to.is_some_and(|to| to > range.0)
    };
    let shown: Vec<Value> = schedule.overrides.iter().filter(touches).map(|one| override_body(&app, &catalog, &id, zone, one)).collect();
    Ok((StatusCode::CREATED, Json(json!({ "overrides": shown }))))
}

/// `POST /schedules/{id}/overrides`: 201 with a list in which each has its own status; one alone, in the older form, by itself.
pub(crate) async fn add_overrides(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    const MOST_AT_ONCE: usize = 100;
    let asked = parse(&bytes)?;
    let alone = asked.get("override").cloned();
    let list = match &alone {
        Some(one) => vec![one.clone()],
        None => asked["overrides"].as_array().cloned().ok_or_else(|| invalid("overrides is missing"))?,
    };
    if list.is_empty() || list.len() > MOST_AT_ONCE {
        return Err(invalid(format!("1 to {MOST_AT_ONCE} overrides at once")).into());
    }
    let found = find(&app, &id)?;
    let zone = found.document.as_schedule().ok_or_else(|| not_found("schedule", &id))?.time_zone.clone();
    let catalog = app.store.catalog();
    let read: Vec<Result<Override, String>> = list.iter().map(|one| read_override(&catalog, &zone, one)).collect();
    if let (Some(_), Some(Err(why))) = (&alone, read.first()) {
        return Err(invalid(why.clone()).into());
    }
    let good: Vec<Override> = read.iter().filter_map(|one| one.clone().ok()).collect();
    if !good.is_empty() {
        let now = app.store.now();
        edit(&app, &actor, &id, move |mut schedule| {
            // What is over is of no use any more, and would be kept for ever.
            let zone = schedule.time_zone.clone();
            schedule.overrides.retain(|one| at(&zone, &one.to).is_none_or(|to| to.plus(LONGEST_SHOWN) > now));
            schedule.overrides.extend(good.clone());
            if schedule.overrides.len() > MOST_PEOPLE {
                return Err(invalid(format!("a schedule has at most {MOST_PEOPLE} overrides")));
            }
            Ok(schedule)
        })
        .await?;
    }
    let answers: Vec<Value> = read
        .iter()
        .zip(&list)
        .map(|(read, sent)| match read {
            Ok(one) => json!({ "status": 201, "override": override_body(&app, &catalog, &id, &zone, one) }),
            Err(why) => json!({ "status": 400, "errors": [why], "override": sent }),
        })
        .collect();
    let answer = match (&alone, answers.first()) {
        (Some(_), Some(first)) => json!({ "override": first["override"] }),
        _ => Value::Array(answers),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

fn read_override(catalog: &Catalog, zone: &str, one: &Value) -> Result<Override, String> {
    let person = id_in(one, "user").filter(|id| catalog.person(&(*id).into()).is_some()).ok_or("User not found")?;
    let read = |field: &str| one[field].as_str().and_then(instant).ok_or(format!("{field} is not a date in the form of ISO 8601"));
    let (from, to) = (read("start")?, read("end")?);
    if to <= from {
        return Err("Override must end after its start".to_owned());
    }
    let civil = |at| civil(zone, at).map_err(|e| e.to_string());
    Ok(Override { person: person.into(), from: civil(from)?, to: civil(to)? })
}

/// `DELETE /schedules/{id}/overrides/{override}`: 204 for one to come; one that lasts is cut to now, 200.
pub(crate) async fn remove_override(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((id, which)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (found, now) = (find(&app, &id)?, app.store.now());
    let schedule = found.document.as_schedule().ok_or_else(|| not_found("schedule", &id))?;
    let zone = schedule.time_zone.clone();
    let one = schedule.overrides.iter().find(|one| override_id(&id, one) == which).ok_or_else(|| not_found("override", &which))?;
    let (begins, ends) = (at(&zone, &one.from), at(&zone, &one.to));
    if ends.is_none_or(|ends| ends <= now) {
        let problem = Problem::new(StatusCode::BAD_REQUEST, 4004, "Invalid Override");
        return Err(problem.because("an override that is over cannot be removed"));
    }
    let lasts = begins.is_some_and(|begins| begins <= now);
    let (of, cut) = (id.clone(), civil(&zone, now)?);
    edit(&app, &actor, &id, move |mut schedule| {
        if lasts {
            let same = schedule.overrides.iter_mut().filter(|one| override_id(&of, one) == which);
            same.for_each(|one| one.to.clone_from(&cut));
        } else {
            schedule.overrides.retain(|one| override_id(&of, one) != which);
        }
        Ok(schedule)
    })
    .await?;
    Ok(if lasts { StatusCode::OK } else { StatusCode::NO_CONTENT }.into_response())
}
