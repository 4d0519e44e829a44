//! A published page in the shapes of StatusPage's public API v2.

use allclear_domain::status::published::{MOST_INCIDENTS, PublishedComponent, PublishedIncident, PublishedPage, PublishedUpdate, Stage};
use allclear_domain::{ComponentId, Timestamp};
use serde_json::{Value, json};

/// Every endpoint with its body.
pub(crate) fn bodies(page: &PublishedPage, public_url: &str) -> Vec<(&'static str, Value)> {
    let head = head(page, public_url);
    let (indicator, description) = page.overall();
    let status = json!({ "indicator": indicator.word(), "description": description });
    let components = components(page);
    let incidents: Vec<Value> =
        page.incidents.iter().take(MOST_INCIDENTS).map(|incident| incident_body(page, incident, public_url)).collect();
    let open = |incident: &&PublishedIncident| incident.stage != Stage::Resolved;
    let unresolved: Vec<Value> = page.incidents.iter().filter(open).map(|incident| incident_body(page, incident, public_url)).collect();
    let none: Vec<Value> = vec![];
    vec![
        (
            "summary.json",
            json!({ "page": head, "components": components, "incidents": unresolved, "scheduled_maintenances": none, "status": status }),
        ),
        ("status.json", json!({ "page": head, "status": status })),
        ("components.json", json!({ "page": head, "components": components })),
        ("incidents.json", json!({ "page": head, "incidents": incidents })),
        ("incidents/unresolved.json", json!({ "page": head, "incidents": unresolved })),
        ("scheduled-maintenances.json", json!({ "page": head, "scheduled_maintenances": none })),
        ("scheduled-maintenances/upcoming.json", json!({ "page": head, "scheduled_maintenances": none })),
        ("scheduled-maintenances/active.json", json!({ "page": head, "scheduled_maintenances": none })),
    ]
}

fn head(page: &PublishedPage, public_url: &str) -> Value {
    let url = match &page.host {
        Some(host) => format!("https://{host}"),
        None => format!("{public_url}/status/{}", page.slug),
    };
    json!({
        "id": page.id, "name": page.name, "url": url, "time_zone": page.time_zone,
        "updated_at": stamp(page, page.updated_at),
    })
}

/// ISO 8601 with milliseconds and the offset of the page's zone.
fn stamp(page: &PublishedPage, at: Timestamp) -> String {
    let Ok(zone) = allclear_domain::oncall::zone(&page.time_zone) else { return at.to_rfc3339_millis() };
    let zoned = at.to_jiff().to_zoned(zone);
    if zoned.offset().seconds() == 0 {
        return at.to_rfc3339_millis();
    }
    zoned.strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string()
}

/// A group's id, made of its page and name: groups have no document of their own.
fn group_id(page: &PublishedPage, name: &str) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in page.id.as_str().bytes().chain([0]).chain(name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut id = String::with_capacity(12);
    for _ in 0..12 {
        id.push(char::from(LETTERS[usize::try_from(hash % 36).unwrap_or(0)]));
        hash = (hash / 36).wrapping_add(hash.rotate_left(17)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    id
}

fn components(page: &PublishedPage) -> Vec<Value> {
    let mut found: Vec<Value> = page.components.iter().map(|component| leaf(page, component)).collect();
    for (position, name) in page.groups().into_iter().enumerate() {
        let members: Vec<&PublishedComponent> = page.components.iter().filter(|c| c.group.as_deref() == Some(name)).collect();
        let worst = members.iter().map(|member| member.status).max().unwrap_or_default();
        let first = members.iter().map(|member| member.created_at).min().unwrap_or_default();
        let last = members.iter().map(|member| member.updated_at).max().unwrap_or_default();
        found.push(json!({
            "id": group_id(page, name), "name": name, "status": worst.word(), "created_at": stamp(page, first),
            "updated_at": stamp(page, last), "position": position + 1, "description": null, "showcase": false,
            "start_date": null, "group_id": null, "page_id": page.id, "group": true, "only_show_if_degraded": false,
            "components": members.iter().map(|member| &member.id).collect::<Vec<_>>(),
        }));
    }
    found
}

fn leaf(page: &PublishedPage, component: &PublishedComponent) -> Value {
    let date = component.created_at.to_jiff().strftime("%Y-%m-%d").to_string();
    json!({
        "id": component.id, "name": component.name, "status": component.status.word(),
        "created_at": stamp(page, component.created_at), "updated_at": stamp(page, component.updated_at),
        "position": component.position, "description": component.description, "showcase": true, "start_date": date,
        "group_id": component.group.as_deref().map(|name| group_id(page, name)), "page_id": page.id, "group": false,
        "only_show_if_degraded": false,
    })
}

fn find<'a>(page: &'a PublishedPage, id: &ComponentId) -> Option<&'a PublishedComponent> {
    page.components.iter().find(|component| component.id == *id)
}

fn incident_body(page: &PublishedPage, incident: &PublishedIncident, public_url: &str) -> Value {
    let affected: Vec<Value> = incident.components.iter().filter_map(|id| find(page, id)).map(|c| leaf(page, c)).collect();
    let monitoring = incident.updates.iter().find(|update| update.stage == Stage::Monitoring).map(|update| stamp(page, update.at));
    json!({
        "id": incident.id, "name": incident.name, "status": incident.stage.word(),
        "created_at": stamp(page, incident.created_at), "updated_at": stamp(page, incident.updated_at),
        "monitoring_at": monitoring, "resolved_at": incident.resolved_at.map(|at| stamp(page, at)),
        "impact": incident.impact.word(), "shortlink": format!("{public_url}/status/{}/incidents/{}", page.slug, incident.id),
        "started_at": stamp(page, incident.created_at), "page_id": page.id,
        "incident_updates": incident.updates.iter().map(|update| update_body(page, incident, update)).collect::<Vec<_>>(),
        "components": affected, "reminder_intervals": null,
    })
}

fn update_body(page: &PublishedPage, incident: &PublishedIncident, update: &PublishedUpdate) -> Value {
    let named = |id: &ComponentId, name: &str| match find(page, id).and_then(|c| c.group.as_deref()) {
        Some(group) => format!("{group} - {name}"),
        None => name.to_owned(),
    };
    let affected: Vec<Value> = update
        .affected
        .iter()
        .map(|a| json!({ "code": a.id, "name": named(&a.id, &a.name), "old_status": a.from.word(), "new_status": a.to.word() }))
        .collect();
    json!({
        "id": update.id, "status": update.stage.word(), "body": update.body, "incident_id": incident.id,
        "created_at": stamp(page, update.at), "updated_at": stamp(page, update.at), "display_at": stamp(page, update.at),
        "affected_components": if affected.is_empty() { Value::Null } else { affected.into() },
        "deliver_notifications": true, "custom_tweet": null, "tweet_id": null,
    })
}
