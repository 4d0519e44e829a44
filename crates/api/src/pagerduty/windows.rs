//! Maintenance windows, priorities, and the small lists that clients ask for.

use allclear_domain::Timestamp;
use allclear_domain::catalog::{Document, Kind, MaintenanceWindow, Resource};
use allclear_domain::incident::Priority;
use allclear_ops::{OpsError, resource};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Query, address, derived_id, instant, invalid, listed, matches, not_found, parse, reference, text_in, wrapped};
use crate::App;
use crate::access::{Caller, Problem};

/// The most services of a window.
const MOST_SERVICES: usize = 1_000;

/// `GET /maintenance_windows`
pub(crate) async fn list(State(app): State<App>, Caller(_): Caller, RawQuery(raw): RawQuery) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let (catalog, now, services) = (app.store.catalog(), app.store.now(), query.all("service_ids[]"));
    let within = |window: &MaintenanceWindow| match query.one("filter").unwrap_or("all") {
        "past" => window.until <= now,
        "future" => now < window.from,
        "ongoing" => window.from <= now && now < window.until,
        "open" => now < window.until,
        _ => true,
    };
    let mut found: Vec<_> =
        catalog.of_kind(Kind::MaintenanceWindow).filter_map(|r| r.document.as_window().map(|window| (r, window))).collect();
    found.retain(|(_, window)| {
        let of_service = services.is_empty() || window.services.iter().any(|service| services.contains(&service.as_str()));
        within(window) && of_service && matches(&query, &window.name)
    });
    found.sort_by_key(|(_, window)| window.from);
    listed(&query, "maintenance_windows", found.into_iter().map(|(resource, window)| body(&app, resource, window)).collect())
}

fn shown(app: &App, found: &Resource) -> Result<Json<Value>, Problem> {
    let window = found.document.as_window().ok_or_else(|| not_found("maintenance window", &found.id))?;
    Ok(Json(json!({ "maintenance_window": body(app, found, window) })))
}

/// `GET /maintenance_windows/{id}`
pub(crate) async fn show(State(app): State<App>, Caller(_): Caller, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = app.store.catalog().get(Kind::MaintenanceWindow, &id).cloned().ok_or_else(|| not_found("maintenance window", &id))?;
    shown(&app, &found)
}

/// `POST /maintenance_windows`: 201. A start that is past is now.
pub(crate) async fn create(State(app): State<App>, Caller(actor): Caller, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = wrapped(&parse(&bytes)?, "maintenance_window")?.clone();
    let now = app.store.now();
    let blank = MaintenanceWindow { name: String::new(), services: vec![], from: now, until: now, extra: Map::new() };
    let make = move |_: Option<&Document>, catalog: &allclear_domain::catalog::Catalog| {
        let mut window = changed(blank.clone(), &asked, now)?;
        if window.services.is_empty() {
            return Err(invalid("Services cannot be empty."));
        }
        // PagerDuty's descriptions may be the same; names here may not.
        let described = if window.name.is_empty() { "Maintenance".to_owned() } else { window.name.clone() };
        let taken = |name: &str| catalog.id_of(Kind::MaintenanceWindow, name).is_some();
        let other = (2..).map(|n| format!("{described} ({n})"));
        window.name = std::iter::once(described.clone()).chain(other).find(|name| !taken(name)).unwrap_or(described);
        Ok(Document::MaintenanceWindow(window))
    };
    let made = resource::put(&app.store, &*app.rng, &actor, Kind::MaintenanceWindow, None, make).await?;
    Ok((StatusCode::CREATED, shown(&app, &made)?))
}

/// `PUT /maintenance_windows/{id}`
pub(crate) async fn update(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let asked = wrapped(&parse(&bytes)?, "maintenance_window")?.clone();
    let (now, of) = (app.store.now(), id.clone());
    let make = move |old: Option<&Document>, _: &_| {
        let window = old.and_then(Document::as_window).cloned().ok_or_else(|| not_found("maintenance window", &of))?;
        changed(window, &asked, now).map(Document::MaintenanceWindow)
    };
    let made = resource::put(&app.store, &*app.rng, &actor, Kind::MaintenanceWindow, Some(&id), make).await?;
    shown(&app, &made)
}

/// `DELETE /maintenance_windows/{id}`: 204; one that lasts ends now, one that is over cannot be removed (405).
pub(crate) async fn remove(State(app): State<App>, Caller(actor): Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let now = app.store.now();
    let catalog = app.store.catalog();
    let found = catalog.get(Kind::MaintenanceWindow, &id).and_then(|resource| resource.document.as_window());
    let window = found.ok_or_else(|| not_found("maintenance window", &id))?;
    if window.until <= now {
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, 5003, "Cannot cancel a maintenance window from the past"));
    }
    if now < window.from {
        resource::remove(&app.store, &*app.rng, &actor, Kind::MaintenanceWindow, &id).await?;
        return Ok(StatusCode::NO_CONTENT);
    }
    let of = id.clone();
    let make = move |old: Option<&Document>, _: &_| {
        let window = old.and_then(Document::as_window).cloned().ok_or_else(|| not_found("maintenance window", &of))?;
        Ok(Document::MaintenanceWindow(MaintenanceWindow { until: now, ..window }))
    };
    resource::put(&app.store, &*app.rng, &actor, Kind::MaintenanceWindow, Some(&id), make).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn changed(mut window: MaintenanceWindow, asked: &Value, now: Timestamp) -> Result<MaintenanceWindow, OpsError> {
    if let Some(description) = text_in(asked, "description") {
        window.name = description.chars().filter(|c| !c.is_control()).take(255).collect();
    }
    let read = |field: &str| -> Result<Option<Timestamp>, OpsError> {
        let Some(text) = asked[field].as_str() else { return Ok(None) };
        instant(text).map(Some).ok_or_else(|| invalid(format!("{field} is not a date in the form of ISO 8601")))
    };
    if let Some(from) = read("start_time")? {
        window.from = from.max(now);
    }
    if let Some(until) = read("end_time")? {
        window.until = until;
    }
    if window.until <= window.from {
        return Err(invalid("End time must be after start time"));
    }
    if let Some(services) = asked["services"].as_array() {
        if services.is_empty() || services.len() > MOST_SERVICES {
            return Err(invalid(format!("a window has 1 to {MOST_SERVICES} services")));
        }
        let id = |service: &Value| service["id"].as_str().map(Into::into).ok_or_else(|| invalid("a service is named by its id"));
        window.services = services.iter().map(id).collect::<Result<_, _>>()?;
    }
    Ok(window)
}

fn body(app: &App, resource: &Resource, window: &MaintenanceWindow) -> Value {
    let catalog = app.store.catalog();
    let service = |id: &allclear_domain::ServiceId| {
        let name = catalog.service(id).map_or(id.as_str(), |service| service.name.as_str());
        reference(app, "service", id.as_str(), name)
    };
    json!({
        "id": resource.id, "type": "maintenance_window", "summary": window.name, "description": window.name, "sequence_number": resource.rev,
        "self": address(app, "maintenance_window", &resource.id), "html_url": null,
        "start_time": window.from.to_rfc3339_seconds(), "end_time": window.until.to_rfc3339_seconds(),
        "services": window.services.iter().map(service).collect::<Vec<_>>(), "teams": [], "created_by": null,
    })
}

/// `GET /priorities`
pub(crate) async fn priorities(State(app): State<App>, Caller(_): Caller, RawQuery(raw): RawQuery) -> Result<Json<Value>, Problem> {
    let all = Priority::ALL.into_iter().map(|priority| priority_body(&app, priority)).collect();
    listed(&Query::parse(raw.as_deref()), "priorities", all)
}

pub(super) fn priority_body(app: &App, priority: Priority) -> Value {
    const COLOURS: [&str; 5] = ["a8171c", "eb6016", "f9b406", "555555", "555555"];
    let place = Priority::ALL.iter().position(|one| *one == priority).unwrap_or(0);
    let id = priority_id(priority);
    json!({
        "id": id, "type": "priority", "summary": priority.word(), "name": priority.word(), "description": null, "color": COLOURS[place],
        "self": address(app, "priority", &id), "html_url": null, "order": (5 - place) * 1_000_000,
    })
}

fn priority_id(priority: Priority) -> String {
    derived_id(&["priority", priority.word()])
}

/// The priority that a body names, by id or by name; nothing takes it back.
pub(super) fn priority_in(value: &Value) -> Result<Option<Priority>, OpsError> {
    let by_id = |id: &str| Priority::ALL.into_iter().find(|priority| priority_id(*priority) == id).or_else(|| Priority::from_word(id));
    let named = match value {
        Value::Null => return Ok(None),
        Value::String(name) => Priority::from_word(name),
        other => other["id"].as_str().and_then(by_id),
    };
    named.map(Some).ok_or_else(|| invalid("priority is one of those at /priorities, by its id or name"))
}

/// `GET /teams`, `GET /vendors`: there are none here, and clients that look go on.
pub(crate) async fn none(Caller(_): Caller, RawQuery(raw): RawQuery, uri: http::Uri) -> Result<Json<Value>, Problem> {
    let kind = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    listed(&Query::parse(raw.as_deref()), &kind, vec![])
}

/// What of `PagerDuty`'s optional abilities there is here.
const ABILITIES: [&str; 1] = ["urgencies"];

/// `GET /abilities`
pub(crate) async fn abilities(Caller(_): Caller) -> Json<Value> {
    Json(json!({ "abilities": ABILITIES }))
}

/// `GET /abilities/{id}`: 204, or 402 for one that there is not.
pub(crate) async fn ability(Caller(_): Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    if ABILITIES.contains(&id.as_str()) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(StatusCode::PAYMENT_REQUIRED, 2014, "Missing Account Ability").because(format!("{id} is not built")))
}
