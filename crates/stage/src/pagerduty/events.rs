//! Whether PagerDuty would take an event.

use serde_json::{Map, Value};

use crate::facts::{self, PAGERDUTY};

/// Everything that is wrong with an event, in PagerDuty's manner; nothing when it is good.
pub(super) fn errors(event: &Value) -> Vec<String> {
    let Some(fields) = event.as_object() else { return vec!["The event is no JSON object".into()] };
    let operation = &PAGERDUTY["operations"]["enqueue"];
    let mut errors = missing(fields, &operation["required"], "");
    errors.extend(unknown(fields, &operation["known"], ""));
    let key = event["routing_key"].as_str().unwrap_or_default();
    let length = facts::count(&PAGERDUTY["lengths"]["routing_key"]["exactly"]);
    if key.chars().count() != length {
        errors
            .push(format!("Length of 'routing_key' is incorrect (should be {length} characters)"));
    }
    let action = event["event_action"].as_str().unwrap_or_default();
    if !facts::has(&PAGERDUTY["event_actions"], action) {
        errors.push(
            "'event_action' is invalid (must be one of trigger, acknowledge, resolve)".into(),
        );
    }
    errors.extend(too_long(&event["dedup_key"], "dedup_key"));
    if action == "trigger" {
        errors.extend(payload(&event["payload"]));
    } else {
        if event["dedup_key"].as_str().is_none_or(str::is_empty) {
            errors.push("'dedup_key' is missing or blank".into());
        }
        // Where there is a payload, it is looked at though nobody sees it.
        errors.extend(event.get("payload").into_iter().flat_map(payload));
    }
    errors.extend(
        event
            .get("client")
            .filter(|client| !client.is_string())
            .map(|_| "'client' is no text".into()),
    );
    errors.extend(
        event
            .get("client_url")
            .filter(|url| !is_url(url))
            .map(|_| "'client_url' is no absolute URL".into()),
    );
    errors.extend(listed(&event["links"], "links", "href"));
    errors.extend(listed(&event["images"], "images", "src"));
    errors
}

fn payload(payload: &Value) -> Vec<String> {
    let shape = &PAGERDUTY["payload"];
    let Some(fields) = payload.as_object() else {
        return vec!["'payload' is missing or blank".into()];
    };
    let mut errors = missing(fields, &shape["required"], "payload.");
    errors.extend(unknown(fields, &shape["known"], "payload."));
    errors.extend(too_long(&payload["summary"], "summary"));
    if let Some(severity) =
        payload["severity"].as_str().filter(|severity| !facts::has(&shape["severities"], severity))
    {
        errors.push(format!("'payload.severity' is invalid: {severity:?}"));
    }
    if let Some(at) = payload.get("timestamp") {
        let is_instant = at.as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok());
        if !is_instant {
            errors.push("'payload.timestamp' is no instant of ISO 8601".into());
        }
    }
    for name in ["component", "group", "class"] {
        if payload.get(name).is_some_and(|value| !value.is_string()) {
            errors.push(format!("'payload.{name}' is no text"));
        }
    }
    errors
}

fn listed(list: &Value, name: &str, address: &str) -> Vec<String> {
    let entries = match list {
        Value::Null => return vec![],
        Value::Array(entries) => entries,
        _ => return vec![format!("'{name}' is no list")],
    };
    let one = |entry: &Value| {
        let Some(fields) = entry.as_object() else {
            return vec![format!("'{name}' has no object")];
        };
        let mut errors = missing(fields, &PAGERDUTY[name]["required"], &format!("{name}."));
        errors.extend(unknown(fields, &PAGERDUTY[name]["known"], &format!("{name}.")));
        if !is_url(&entry[address]) {
            errors.push(format!("'{name}.{address}' is no absolute URL"));
        }
        errors
    };
    entries.iter().flat_map(one).collect()
}

fn is_url(value: &Value) -> bool {
    value.as_str().is_some_and(facts::is_address)
}

fn missing(fields: &Map<String, Value>, required: &Value, within: &str) -> Vec<String> {
    let is_blank = |name: &&str| {
        fields.get(*name).and_then(Value::as_str).is_none_or(|text| text.trim().is_empty())
    };
    facts::words(required)
        .filter(is_blank)
        .map(|name| format!("'{within}{name}' is missing or blank"))
        .collect()
}

fn unknown(fields: &Map<String, Value>, known: &Value, within: &str) -> Vec<String> {
    let odd = fields.keys().filter(|name| !facts::has(known, name));
    odd.map(|name| format!("'{within}{name}' is unknown")).collect()
}

fn too_long(value: &Value, name: &str) -> Option<String> {
    let most = facts::most(&PAGERDUTY, name);
    let length = value.as_str().unwrap_or_default().chars().count();
    (length > most).then(|| format!("'{name}' is longer than {most} characters"))
}
