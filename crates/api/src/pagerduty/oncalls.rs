//! Who is on call, by escalation policy and level.

use allclear_domain::Span;
use allclear_domain::catalog::{Catalog, Kind};
use allclear_domain::escalation::Target;
use allclear_domain::oncall::Turn;
use axum::Json;
use axum::extract::{RawQuery, State};
use http::StatusCode;
use serde_json::{Value, json};

use super::schedules::zoned;
use super::{Query, listed, reference, user_reference};
use crate::App;
use crate::access::{Caller, Problem};

/// How far ahead can be asked; PagerDuty's 90 days.
const LONGEST: Span = Span::from_mins(90 * 24 * 60);

/// `GET /oncalls`: by default who is on call now.
pub(crate) async fn list(State(app): State<App>, Caller(_): Caller, RawQuery(raw): RawQuery) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let now = app.store.now();
    let since = query.instant("since")?.unwrap_or(now);
    let until = query.instant("until")?.unwrap_or(since);
    if until < since || until.since(since) > LONGEST {
        let problem = Problem::new(StatusCode::BAD_REQUEST, 2005, "Invalid Query Date Range");
        return Err(problem.because("until comes after since, by at most 90 days"));
    }
    let catalog = app.store.catalog();
    let (people, policies, schedules) = (query.all("user_ids[]"), query.all("escalation_policy_ids[]"), query.all("schedule_ids[]"));
    let mut found = Vec::new();
    for resource in catalog.of_kind(Kind::EscalationPolicy).filter(|r| policies.is_empty() || policies.contains(&r.id.as_str())) {
        let Some(policy) = resource.document.as_policy() else { continue };
        let of_policy = reference(&app, "escalation_policy", &resource.id, &policy.name);
        for (n, level) in policy.levels.iter().enumerate() {
            for target in &level.targets {
                for (turn, schedule) in turns(&catalog, target, since, until) {
                    let wanted = people.is_empty() || people.contains(&turn.person.as_str());
                    let in_schedule = schedules.is_empty() || schedule.as_ref().is_some_and(|(id, ..)| schedules.contains(&id.as_str()));
                    if wanted && in_schedule && catalog.person(&turn.person).is_some() {
                        found.push(json!({
                            "escalation_policy": of_policy, "escalation_level": n + 1, "user": user_reference(&app, &catalog, &turn.person),
                            "schedule": schedule.as_ref().map(|(id, name, _)| reference(&app, "schedule", id, name)),
                            "start": schedule.as_ref().map(|(_, _, zone)| zoned(zone, turn.from)),
                            "end": schedule.as_ref().map(|(_, _, zone)| zoned(zone, turn.to)),
                        }));
                    }
                }
            }
        }
    }
    if query.is_set("earliest") {
        let mut seen = std::collections::BTreeSet::new();
        let key = |one: &Value| format!("{}|{}|{}", one["escalation_policy"]["id"], one["escalation_level"], one["user"]["id"]);
        found.retain(|one| seen.insert(key(one)));
    }
    listed(&query, "oncalls", found)
}

/// A schedule's id, name and zone.
type Of = Option<(String, String, String)>;

/// The turns of a target; a person by themselves has one without an end. A schedule that cannot be computed has none.
fn turns(catalog: &Catalog, target: &Target, since: allclear_domain::Timestamp, until: allclear_domain::Timestamp) -> Vec<(Turn, Of)> {
    match target {
        Target::Person(person) => vec![(Turn { person: person.clone(), from: since, to: until }, None)],
        Target::Schedule(id) => {
            let Some(schedule) = catalog.schedule(id) else { return vec![] };
            let turns = match since == until {
                true => schedule.on_call(since).map(|turn| turn.into_iter().collect()),
                false => schedule.turns(since, until),
            };
            let of = Some((id.0.clone(), schedule.name.clone(), schedule.time_zone.clone()));
            turns.unwrap_or_default().into_iter().map(|turn| (turn, of.clone())).collect()
        }
    }
}
