//! Services and their integrations.

use std::collections::BTreeMap;

use allclear_domain::catalog::{Document, Integration, Kind, Resource, Service};
use allclear_domain::event::UrgencyRule;
use allclear_domain::{ServiceId, Span};
use allclear_ops::view::{self, OpenCount};
use allclear_ops::{Actor, OpsError, event, resource};
use allclear_store::record::integration::Integration as Keyed;
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Query, address, id_in, invalid, listed, matches, name_in, not_found, parse, reference, text_in, wrapped};
use crate::App;
use crate::access::{Caller, Problem};

/// How long an acknowledgement lasts where a new service does not say; PagerDuty's default.
const ACKNOWLEDGEMENT_TIMEOUT: Span = Span::from_mins(30);

/// How long a service's incidents stay open where it does not say, in seconds; PagerDuty's default.
const AUTO_RESOLVE_S: i64 = 14_400;

/// `GET /services`
pub(crate) async fn list(State(app): State<App>, Caller(actor): Caller, RawQuery(raw): RawQuery) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let (open, keys) = (view::open_counts(&app.store, &actor).await?, keys(&app, &actor).await?);
    let catalog = app.store.catalog();
    let exact = query.one("name");
    let mut found: Vec<_> = catalog.of_kind(Kind::Service).filter_map(|r| r.document.as_service().map(|service| (r, service))).collect();
    found.retain(|(_, service)| matches(&query, &service.name) && exact.is_none_or(|name| service.name == name));
    found.sort_by_key(|(_, service)| service.name.to_lowercase());
    listed(&query, "services", found.into_iter().map(|(resource, service)| body(&app, resource, service, &open, &keys)).collect())
}

/// `GET /services/{id}`
pub(crate) async fn show(State(app): State<App>, Caller(actor): Caller, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = app.store.catalog().get(Kind::Service, &id).cloned().ok_or_else(|| not_found("service", &id))?;
    shown(&app, &actor, &found).await
}

async fn shown(app: &App, actor: &Actor, found: &Resource) -> Result<Json<Value>, Problem> {
    let service = found.document.as_service().ok_or_else(|| not_found("service", &found.id))?;
    let (open, keys) = (view::open_counts(&app.store, actor).await?, keys(app, actor).await?);
    Ok(Json(json!({ "service": body(app, found, service, &open, &keys) })))
}

/// `POST /services`: 201.
pub(crate) async fn create(State(app): State<App>, Caller(actor): Caller, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = wrapped(&parse(&bytes)?, "service")?.clone();
    let blank = Service {
        name: name_in(&asked, "name", "Name")?.ok_or_else(|| invalid("Name cannot be empty."))?,
        description: None,
        escalation_policy: id_in(&asked, "escalation_policy").ok_or_else(|| invalid("Escalation policy cannot be empty."))?.into(),
        urgency: UrgencyRule::High,
        acknowledgement_timeout: Some(ACKNOWLEDGEMENT_TIMEOUT),
        auto_resolve: None,
        integrations: vec![],
        rooms: vec![],
        paused_until: None,
        extra: Map::new(),
    };
    let document = Document::Service(changed(blank, &asked)?);
    let made = resource::put(&app.store, &*app.rng, &actor, Kind::Service, None, move |_, _| Ok(document.clone())).await?;
    Ok((StatusCode::CREATED, shown(&app, &actor, &made).await?))
}

/// `PUT /services/{id}`
pub(crate) async fn update(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let asked = wrapped(&parse(&bytes)?, "service")?.clone();
    let made = edit(&app, &actor, &id, move |service| changed(service, &asked)).await?;
    shown(&app, &actor, &made).await
}

/// `DELETE /services/{id}`: 204.
pub(crate) async fn remove(State(app): State<App>, Caller(actor): Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    resource::remove(&app.store, &*app.rng, &actor, Kind::Service, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn edit<F>(app: &App, actor: &Actor, id: &str, change: F) -> Result<std::sync::Arc<Resource>, OpsError>
where
    F: Fn(Service) -> Result<Service, OpsError> + Send + 'static,
{
    let of = id.to_owned();
    let make = move |old: Option<&Document>, _: &_| {
        let service = old.and_then(Document::as_service).cloned().ok_or_else(|| not_found("service", &of))?;
        change(service).map(Document::Service)
    };
    resource::put(&app.store, &*app.rng, actor, Kind::Service, Some(id), make).await
}

/// A service with everything that a body names.
fn changed(mut service: Service, asked: &Value) -> Result<Service, OpsError> {
    if let Some(name) = name_in(asked, "name", "Name")? {
        service.name = name;
    }
    if asked.get("description").is_some() {
        service.description = text_in(asked, "description");
    }
    if let Some(policy) = id_in(asked, "escalation_policy") {
        service.escalation_policy = policy.into();
    }
    if let Some(timeout) = asked.get("acknowledgement_timeout") {
        service.acknowledgement_timeout = seconds(timeout, "acknowledgement_timeout")?.filter(|span| span.as_micros() > 0);
    }
    if let Some(timeout) = asked.get("auto_resolve_timeout") {
        service.auto_resolve = Some(seconds(timeout, "auto_resolve_timeout")?.unwrap_or(Span::ZERO));
    }
    if let Some(rule) = asked.get("incident_urgency_rule").filter(|rule| !rule.is_null()) {
        service.urgency = match (rule["type"].as_str(), rule["urgency"].as_str()) {
            (Some("constant"), Some("high")) => UrgencyRule::High,
            (Some("constant"), Some("low")) => UrgencyRule::Low,
            (Some("constant"), Some("severity_based")) => UrgencyRule::SeverityBased,
            (Some("use_support_hours"), _) => return Err(invalid("incident_urgency_rule: support hours are not built; use type constant")),
            _ => return Err(invalid("incident_urgency_rule has the type constant and the urgency high, low or severity_based")),
        };
    }
    match asked["status"].as_str() {
        Some("disabled") => Err(invalid("a service is switched off by a maintenance window, or by paused_until in its file")),
        Some(_) | None => Ok(service),
    }
}

/// A number of seconds, also as a text, as some clients send it; nothing is off.
fn seconds(value: &Value, field: &str) -> Result<Option<Span>, OpsError> {
    const LONGEST_S: i64 = 365 * 86_400;
    let number = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() || text == "null" => return Ok(None),
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    let in_bounds = number.filter(|seconds| (0..=LONGEST_S).contains(seconds));
    in_bounds.map(|seconds| Some(Span::from_secs(seconds))).ok_or_else(|| invalid(format!("{field} is a number of seconds, or null")))
}

type Keys = BTreeMap<(ServiceId, String), Keyed>;

/// The integrations with their keys. Whoever may not change the configuration sees no key.
async fn keys(app: &App, actor: &Actor) -> Result<Keys, OpsError> {
    match event::integrations(&app.store, actor).await {
        Ok(all) => Ok(all.into_iter().map(|one| ((one.service.clone(), one.name.clone()), one)).collect()),
        Err(OpsError::Forbidden(_)) => Ok(Keys::new()),
        Err(other) => Err(other),
    }
}

fn body(app: &App, resource: &Resource, service: &Service, open: &BTreeMap<ServiceId, OpenCount>, keys: &Keys) -> Value {
    let catalog = app.store.catalog();
    let id = ServiceId(resource.id.clone());
    let count = open.get(&id).copied().unwrap_or_default();
    let status = match (catalog.rests(&id, app.store.now()), count.triggered, count.acknowledged) {
        (true, ..) => "maintenance",
        (false, 1.., _) => "critical",
        (false, 0, 1..) => "warning",
        (false, ..) => "active",
    };
    let policy = &service.escalation_policy;
    let policy_name = catalog.policy(policy).map_or(policy.as_str(), |policy| policy.name.as_str()).to_owned();
    let urgency = match service.urgency {
        UrgencyRule::High => "high",
        UrgencyRule::Low => "low",
        UrgencyRule::SeverityBased => "severity_based",
    };
    let auto_resolve = match service.auto_resolve {
        None => Some(AUTO_RESOLVE_S),
        Some(after) => Some(after.as_secs()).filter(|seconds| *seconds > 0),
    };
    let integrations: Vec<Value> = service
        .integrations
        .iter()
        .filter_map(|one| keys.get(&(id.clone(), one.name.clone())))
        .map(|keyed| json!({ "id": keyed.id, "type": "events_api_v2_inbound_integration_reference", "summary": keyed.name, "self": integration_address(app, &id, keyed), "html_url": null }))
        .collect();
    json!({
        "id": resource.id, "type": "service", "summary": service.name, "name": service.name, "description": service.description,
        "self": address(app, "service", &resource.id), "html_url": null,
        "created_at": resource.created_at.to_rfc3339_seconds(), "status": status,
        "auto_resolve_timeout": auto_resolve, "acknowledgement_timeout": service.acknowledgement_timeout.map(Span::as_secs),
        "last_incident_timestamp": count.last_opened_at.map(|at| at.to_rfc3339_seconds()),
        "escalation_policy": reference(app, "escalation_policy", policy.as_str(), &policy_name), "teams": [],
        "integrations": integrations, "addons": [],
        "incident_urgency_rule": { "type": "constant", "urgency": urgency }, "support_hours": null, "scheduled_actions": [],
        "alert_creation": "create_alerts_and_incidents", "alert_grouping_parameters": null, "alert_grouping": null,
        "alert_grouping_timeout": null, "auto_pause_notifications_parameters": { "enabled": false, "timeout": 0 }, "response_play": null,
    })
}

fn integration_address(app: &App, service: &ServiceId, keyed: &Keyed) -> String {
    format!("{}/integrations/{}", address(app, "service", service.as_str()), keyed.id)
}

fn integration_body(app: &App, service: &ServiceId, keyed: &Keyed) -> Value {
    let catalog = app.store.catalog();
    let name = catalog.service(service).map_or(service.as_str(), |service| service.name.as_str()).to_owned();
    json!({
        "id": keyed.id, "type": "events_api_v2_inbound_integration", "summary": keyed.name, "name": keyed.name,
        "self": integration_address(app, service, keyed), "html_url": null, "service": reference(app, "service", service.as_str(), &name),
        "created_at": keyed.created_at.to_rfc3339_seconds(), "vendor": null, "integration_key": keyed.key, "integration_email": null,
    })
}

/// An integration of a service by its id.
async fn integration_of(app: &App, actor: &Actor, service: &str, id: &str) -> Result<Keyed, OpsError> {
    let all = event::integrations(&app.store, actor).await?;
    let found = all.into_iter().find(|one| one.service.as_str() == service && one.id.as_str() == id);
    found.ok_or_else(|| not_found("integration", id))
}

/// `POST /services/{id}/integrations`: 201.
pub(crate) async fn add_integration(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = wrapped(&parse(&bytes)?, "integration")?.clone();
    let kind = asked["type"].as_str().unwrap_or("events_api_v2_inbound_integration");
    if kind.contains("email") {
        return Err(invalid("integrations by e-mail are not built; use events_api_v2_inbound_integration").into());
    }
    let name = name_in(&asked, "name", "Name")?.unwrap_or_else(|| "Events API V2".to_owned());
    let wanted = name.clone();
    edit(&app, &actor, &id, move |mut service| {
        if service.integrations.iter().any(|one| one.name == wanted) {
            return Err(invalid("Name has already been taken"));
        }
        if service.integrations.len() >= allclear_domain::catalog::MOST_INTEGRATIONS {
            return Err(invalid(format!("a service has at most {} integrations", allclear_domain::catalog::MOST_INTEGRATIONS)));
        }
        service.integrations.push(Integration { name: wanted.clone(), environments: vec![], most_per_minute: None, extra: Map::new() });
        Ok(service)
    })
    .await?;
    let all = event::integrations(&app.store, &actor).await?;
    let made = all.into_iter().find(|one| one.service.as_str() == id && one.name == name).ok_or_else(|| not_found("integration", &name))?;
    Ok((StatusCode::CREATED, Json(json!({ "integration": integration_body(&app, &made.service, &made) }))))
}

/// `GET /services/{id}/integrations/{integration}`
pub(crate) async fn show_integration(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((service, id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let found = integration_of(&app, &actor, &service, &id).await?;
    Ok(Json(json!({ "integration": integration_body(&app, &found.service, &found) })))
}

/// `PUT /services/{id}/integrations/{integration}`: another name for it; its key stays.
pub(crate) async fn update_integration(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((service, id)): Path<(String, String)>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let asked = wrapped(&parse(&bytes)?, "integration")?.clone();
    let found = integration_of(&app, &actor, &service, &id).await?;
    if let Some(name) = name_in(&asked, "name", "Name")? {
        event::rename(&app.store, &*app.rng, &actor, &found, name).await?;
    }
    let found = integration_of(&app, &actor, &service, &id).await?;
    Ok(Json(json!({ "integration": integration_body(&app, &found.service, &found) })))
}

/// `DELETE /services/{id}/integrations/{integration}`: 204. It is not in PagerDuty's description, but its clients send it.
pub(crate) async fn remove_integration(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((service, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let found = integration_of(&app, &actor, &service, &id).await?;
    edit(&app, &actor, &service, move |mut service| {
        service.integrations.retain(|one| one.name != found.name);
        Ok(service)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
