//! Escalation policies.

use allclear_domain::Span;
use allclear_domain::catalog::{Catalog, Document, Kind, Resource};
use allclear_domain::escalation::{Level, MOST_REPEATS, Policy, Target};
use allclear_ops::{OpsError, resource};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Query, address, derived_id, invalid, listed, matches, name_in, not_found, parse, reference, text_in, user_reference, wrapped};
use crate::App;
use crate::access::{Caller, Problem};

/// The longest wait between two levels, in minutes: a month.
const LONGEST_DELAY: i64 = 31 * 24 * 60;

/// The most levels, and the most targets of one.
const MOST_LEVELS: usize = 20;

/// `GET /escalation_policies`
pub(crate) async fn list(State(app): State<App>, Caller(_): Caller, RawQuery(raw): RawQuery) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let catalog = app.store.catalog();
    let mut found: Vec<_> =
        catalog.of_kind(Kind::EscalationPolicy).filter_map(|r| r.document.as_policy().map(|policy| (r, policy))).collect();
    let names = query.all("user_ids[]");
    let pages = |policy: &Policy| {
        let targets = || policy.levels.iter().flat_map(|level| &level.targets);
        names.is_empty() || targets().any(|target| matches!(target, Target::Person(person) if names.contains(&person.as_str())))
    };
    found.retain(|(_, policy)| matches(&query, &policy.name) && pages(policy));
    found.sort_by_key(|(_, policy)| policy.name.to_lowercase());
    listed(&query, "escalation_policies", found.into_iter().map(|(resource, policy)| body(&app, &catalog, resource, policy)).collect())
}

fn shown(app: &App, found: &Resource) -> Result<Json<Value>, Problem> {
    let policy = found.document.as_policy().ok_or_else(|| not_found("escalation policy", &found.id))?;
    Ok(Json(json!({ "escalation_policy": body(app, &app.store.catalog(), found, policy) })))
}

/// `GET /escalation_policies/{id}`
pub(crate) async fn show(State(app): State<App>, Caller(_): Caller, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = app.store.catalog().get(Kind::EscalationPolicy, &id).cloned().ok_or_else(|| not_found("escalation policy", &id))?;
    shown(&app, &found)
}

/// `POST /escalation_policies`: 201.
pub(crate) async fn create(State(app): State<App>, Caller(actor): Caller, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = wrapped(&parse(&bytes)?, "escalation_policy")?.clone();
    let name = name_in(&asked, "name", "Name")?.ok_or_else(|| invalid("Name cannot be empty."))?;
    let policy = changed(Policy { name, description: None, levels: vec![], repeat: 0, extra: Map::new() }, &asked)?;
    if policy.levels.is_empty() {
        return Err(invalid("Escalation rules cannot be empty.").into());
    }
    let document = Document::EscalationPolicy(policy);
    let made = resource::put(&app.store, &*app.rng, &actor, Kind::EscalationPolicy, None, move |_, _| Ok(document.clone())).await?;
    Ok((StatusCode::CREATED, shown(&app, &made)?))
}

/// `PUT /escalation_policies/{id}`
pub(crate) async fn update(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let asked = wrapped(&parse(&bytes)?, "escalation_policy")?.clone();
    let of = id.clone();
    let make = move |old: Option<&Document>, _: &_| {
        let policy = old.and_then(Document::as_policy).cloned().ok_or_else(|| not_found("escalation policy", &of))?;
        changed(policy, &asked).map(Document::EscalationPolicy)
    };
    let made = resource::put(&app.store, &*app.rng, &actor, Kind::EscalationPolicy, Some(&id), make).await?;
    shown(&app, &made)
}

/// `DELETE /escalation_policies/{id}`: 204.
pub(crate) async fn remove(State(app): State<App>, Caller(actor): Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    resource::remove(&app.store, &*app.rng, &actor, Kind::EscalationPolicy, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn changed(mut policy: Policy, asked: &Value) -> Result<Policy, OpsError> {
    if let Some(name) = name_in(asked, "name", "Name")? {
        policy.name = name;
    }
    if asked.get("description").is_some() {
        policy.description = text_in(asked, "description");
    }
    if let Some(loops) = asked.get("num_loops").filter(|loops| !loops.is_null()) {
        let repeat = loops.as_u64().and_then(|loops| u32::try_from(loops).ok()).filter(|repeat| *repeat <= MOST_REPEATS);
        policy.repeat = repeat.ok_or_else(|| invalid(format!("num_loops is a number from 0 to {MOST_REPEATS}")))?;
    }
    if let Some(rules) = asked.get("escalation_rules") {
        let rules = rules.as_array().filter(|rules| !rules.is_empty()).ok_or_else(|| invalid("Escalation rules cannot be empty."))?;
        if rules.len() > MOST_LEVELS {
            return Err(invalid(format!("a policy has at most {MOST_LEVELS} escalation rules")));
        }
        policy.levels = rules.iter().map(level).collect::<Result<_, _>>()?;
    }
    Ok(policy)
}

fn level(rule: &Value) -> Result<Level, OpsError> {
    let delay = rule["escalation_delay_in_minutes"].as_i64().filter(|minutes| (1..=LONGEST_DELAY).contains(minutes));
    let delay = delay.ok_or_else(|| invalid(format!("escalation_delay_in_minutes is a number from 1 to {LONGEST_DELAY}")))?;
    let targets = rule["targets"].as_array().filter(|targets| !targets.is_empty() && targets.len() <= MOST_LEVELS);
    let targets = targets.ok_or_else(|| invalid(format!("an escalation rule has 1 to {MOST_LEVELS} targets")))?;
    let target = |target: &Value| {
        let id = target["id"].as_str().unwrap_or_default();
        match target["type"].as_str() {
            Some("user" | "user_reference") => Ok(Target::Person(id.into())),
            Some("schedule" | "schedule_reference") => Ok(Target::Schedule(id.into())),
            _ => Err(invalid("a target has an id and the type user_reference or schedule_reference")),
        }
    };
    let strategy = &rule["escalation_rule_assignment_strategy"];
    if strategy["type"].as_str().or(strategy.as_str()) == Some("round_robin") {
        return Err(invalid("the assignment strategy round_robin is not built; use assign_to_everyone"));
    }
    Ok(Level { targets: targets.iter().map(target).collect::<Result<_, _>>()?, escalate_after: Span::from_mins(delay) })
}

fn body(app: &App, catalog: &Catalog, resource: &Resource, policy: &Policy) -> Value {
    let target = |target: &Target| match target {
        Target::Person(person) => user_reference(app, catalog, person),
        Target::Schedule(schedule) => {
            let name = catalog.schedule(schedule).map_or(schedule.as_str(), |schedule| schedule.name.as_str());
            reference(app, "schedule", schedule.as_str(), name)
        }
    };
    let rule = |(n, level): (usize, &Level)| {
        json!({
            "id": derived_id(&[&resource.id, "level", &n.to_string()]),
            "escalation_delay_in_minutes": (level.escalate_after.as_secs() + 59) / 60,
            "targets": level.targets.iter().map(target).collect::<Vec<_>>(),
            "escalation_rule_assignment_strategy": { "type": "assign_to_everyone" },
        })
    };
    let uses =
        |service: &&std::sync::Arc<Resource>| service.document.as_service().is_some_and(|s| s.escalation_policy.as_str() == resource.id);
    let services = catalog.of_kind(Kind::Service).filter(uses).map(|r| reference(app, "service", &r.id, &r.document.name()));
    json!({
        "id": resource.id, "type": "escalation_policy", "summary": policy.name, "name": policy.name, "description": policy.description,
        "self": address(app, "escalation_policy", &resource.id), "html_url": null, "num_loops": policy.repeat,
        "on_call_handoff_notifications": "if_has_services",
        "escalation_rules": policy.levels.iter().enumerate().map(rule).collect::<Vec<_>>(),
        "services": services.collect::<Vec<_>>(), "teams": [],
    })
}
