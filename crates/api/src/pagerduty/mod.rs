//! PagerDuty's REST v2 shapes, one file per kind of thing. What a client may leave out, and which status code an answer has,
//! is PagerDuty's; what does not fit AllClear is refused with a sentence that says so, never dropped.

pub(crate) mod incidents;
pub(crate) mod oncalls;
pub(crate) mod people;
pub(crate) mod policies;
pub(crate) mod schedules;
pub(crate) mod services;
pub(crate) mod windows;

use allclear_domain::Timestamp;
use allclear_domain::catalog::Catalog;
use allclear_ops::OpsError;
use axum::Json;
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::App;
use crate::access::Problem;

/// The most that one answer lists; PagerDuty's bound.
const MOST_LIMIT: usize = 100;

/// How far a list can be paged through; PagerDuty's bound.
const MOST_OFFSET: usize = 10_000;

/// The query of an address. Names may come more than once.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(raw: Option<&str>) -> Self {
        let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = raw.unwrap_or_default().split('&').filter(|p| !p.is_empty());
        Self(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(n, v)| (decode(n), decode(v))).collect())
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.one(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn is_set(&self, name: &str) -> bool {
        self.one(name).is_some_and(|value| value == "true" || value == "1")
    }

    /// An instant; a date alone is its beginning in UTC.
    fn instant(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        self.one(name).map(|text| instant(text).ok_or_else(|| bad_range(name))).transpose()
    }

    fn page(&self) -> Result<(usize, usize), Problem> {
        let (limit, offset) = (self.number("limit", 25).clamp(1, MOST_LIMIT), self.number("offset", 0));
        if offset.saturating_add(limit) > MOST_OFFSET {
            return Err(Problem::from(invalid(format!("Offset and limit must be at most {MOST_OFFSET} together"))));
        }
        Ok((limit, offset))
    }
}

fn bad_range(name: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, 2004, "Invalid time values in 'since' and/or 'until' parameters")
        .because(format!("{name} is not a date in the form of ISO 8601"))
}

/// An instant as clients write it: with an offset, or a date alone.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim().replace(' ', "+");
    let whole = text.parse::<Timestamp>().ok();
    whole.or_else(|| format!("{text}T00:00:00Z").parse().ok()).or_else(|| format!("{text}Z").parse().ok())
}

/// What a body says wrongly; answered with 400 and code 2001.
fn invalid(why: impl Into<String>) -> OpsError {
    OpsError::Invalid(why.into())
}

fn not_found(what: &'static str, id: &str) -> OpsError {
    OpsError::NotFound { what, id: id.to_owned() }
}

fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, 2002, "Arguments Caused Error").because(format!("the body is not JSON: {e}")))
}

/// What stands under `name` in a body.
fn wrapped<'a>(body: &'a Value, name: &str) -> Result<&'a Value, Problem> {
    let missing = || Problem::new(StatusCode::BAD_REQUEST, 2003, "Missing Arguments").because(format!("{name} is missing"));
    body.get(name).filter(|inner| inner.is_object()).ok_or_else(missing)
}

/// A text that must be there, within PagerDuty's length for names.
fn name_in(body: &Value, field: &str, label: &str) -> Result<Option<String>, OpsError> {
    const LONGEST: usize = 255;
    match &body[field] {
        Value::Null => Ok(None),
        Value::String(text) if !text.trim().is_empty() && text.chars().count() <= LONGEST && !text.chars().any(char::is_control) => {
            Ok(Some(text.trim().to_owned()))
        }
        Value::String(text) if text.trim().is_empty() => Err(invalid(format!("{label} cannot be empty."))),
        _ => Err(invalid(format!("{label} must be a text of at most {LONGEST} characters"))),
    }
}

/// A sentence or more, or nothing.
fn text_in(body: &Value, field: &str) -> Option<String> {
    const LONGEST: usize = 1_024;
    body[field].as_str().filter(|text| !text.trim().is_empty()).map(|text| text.replace('\0', "\u{fffd}").chars().take(LONGEST).collect())
}

/// A list in PagerDuty's envelope, cut to the page that was asked for.
fn listed(query: &Query, key: &str, all: Vec<Value>) -> Result<Json<Value>, Problem> {
    let (limit, offset) = query.page()?;
    let total = all.len();
    let page: Vec<Value> = all.into_iter().skip(offset).take(limit).collect();
    let more = total > offset.saturating_add(page.len());
    let total = if query.is_set("total") { json!(total) } else { Value::Null };
    Ok(Json(json!({ key: page, "limit": limit, "offset": offset, "total": total, "more": more })))
}

/// Whether a name holds what a list is searched for.
fn matches(query: &Query, name: &str) -> bool {
    query.one("query").is_none_or(|wanted| name.to_lowercase().contains(&wanted.to_lowercase()))
}

fn address(app: &App, kind: &str, id: &str) -> String {
    let plural = match kind {
        "escalation_policy" => "escalation_policies".to_owned(),
        "priority" => "priorities".to_owned(),
        other => format!("{other}s"),
    };
    format!("{}/pagerduty/{plural}/{id}", app.channels.site().url())
}

fn reference(app: &App, kind: &str, id: &str, summary: &str) -> Value {
    json!({ "id": id, "type": format!("{kind}_reference"), "summary": summary, "self": address(app, kind, id), "html_url": null })
}

fn user_reference(app: &App, catalog: &Catalog, id: &allclear_domain::PersonId) -> Value {
    let name = catalog.person(id).map_or(id.as_str(), |person| person.name.as_str());
    reference(app, "user", id.as_str(), name)
}

/// An id in PagerDuty's shape for what has no document of its own: made of what tells it from its siblings.
fn derived_id(parts: &[&str]) -> String {
    const LETTERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    // FNV-1a: stable for ever, which the standard library's hash is not.
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut id = String::from("P");
    for _ in 0..6 {
        id.push(char::from(LETTERS[usize::try_from(hash % 36).unwrap_or(0)]));
        hash /= 36;
    }
    id
}

/// The id of what a request refers to.
fn id_in<'a>(body: &'a Value, field: &str) -> Option<&'a str> {
    body[field]["id"].as_str().filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_clients_write_them() {
        let noon = "2026-01-02T12:00:00Z".parse::<Timestamp>().ok();
        for text in ["2026-01-02T12:00:00Z", "2026-01-02T13:00:00+01:00", "2026-01-02T12:00:00", "2026-01-02T13:00:00 01:00"] {
            assert_eq!(instant(text), noon, "{text}");
        }
        assert_eq!(instant("2026-01-02"), "2026-01-02T00:00:00Z".parse().ok());
        assert_eq!(instant("tomorrow"), None);
    }

    #[test]
    fn derived_ids_have_pagerdutys_shape_and_differ() {
        let ids: std::collections::BTreeSet<String> = (0..1_000).map(|n| derived_id(&["PADA", &n.to_string()])).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.len() == 7 && id.starts_with('P') && id.bytes().all(|b| b.is_ascii_alphanumeric())));
        assert_eq!(derived_id(&["a", "b"]), derived_id(&["a", "b"]));
    }
}
