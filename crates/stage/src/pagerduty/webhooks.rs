//! What PagerDuty tells its subscription: webhooks v3, signed, repeated, and given up in the end.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::{Kept, PagerDuty};
use crate::facts::{self, PAGERDUTY};
use crate::house::{again, not_now};
use crate::wire::{Answer, Callback, Reply, Response};

/// The first pause before a repeat and the longest one, in milliseconds: each is twice the one
/// before.
const FIRST_PAUSE_MS: u64 = 10_000;
const LONGEST_PAUSE_MS: u64 = 4 * 3_600 * 1_000;

/// The signature of a webhook's body.
#[must_use]
pub fn sign(secret: &str, body: &str) -> String {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    let signature = mac.chain_update(body).finalize().into_bytes();
    signature.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An instant as `2026-03-28T12:00:00.5Z`.
pub(super) fn instant(now_ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(now_ms).unwrap_or(0));
    at.unwrap_or_default().to_string()
}

fn reference(kind: &str, id: &str, summary: &str) -> Value {
    let place = kind.trim_end_matches("_reference");
    json!({
        "id": id, "type": kind, "summary": summary,
        "self": format!("https://api.pagerduty.com/{place}s/{id}"),
        "html_url": format!("https://stage.pagerduty.com/{place}s/{id}"),
    })
}

impl PagerDuty {
    /// Tells of a change of an incident.
    pub(super) fn tell(
        &mut self,
        key: &str,
        kind: &str,
        user: Option<&str>,
        now_ms: u64,
    ) -> Vec<Callback> {
        let Some(kept) = self.incidents.get(key).cloned().filter(|_| !kind.is_empty()) else {
            return vec![];
        };
        let incident = incident(key, &kept, user);
        let data = match kind {
            "annotated" => {
                json!({ "id": format!("N{}", self.sent), "type": "incident_note", "content": kept.note, "incident": incident, "trimmed": false })
            }
            "status_update_published" => {
                json!({ "id": format!("N{}", self.sent), "type": "incident_status_update", "message": kept.note, "incident": incident, "trimmed": false })
            }
            _ => incident,
        };
        self.deliver(&format!("incident.{kind}"), "incident", agent(user), data, now_ms)
            .into_iter()
            .collect()
    }

    /// Somebody presses "Send Test Event".
    pub(super) fn ping(&mut self, now_ms: u64) -> Reply {
        let data = json!({ "message": "Hello from your friend Pagey!", "type": "ping" });
        let kind = PAGERDUTY["webhooks"]["ping"].as_str().unwrap_or_default().to_owned();
        let sent = self.deliver(&kind, "pagey", Value::Null, data, now_ms);
        if sent.is_none() {
            return not_now("no webhook is set, or the subscription is disabled");
        }
        let reply = Reply { callbacks: sent.into_iter().collect(), ..Response::empty(202).into() };
        self.house.send_out(reply)
    }

    fn deliver(
        &mut self,
        kind: &str,
        of: &str,
        agent: Value,
        data: Value,
        now_ms: u64,
    ) -> Option<Callback> {
        let url = self.webhook.clone().filter(|_| self.is_enabled())?;
        self.sent += 1;
        let id = format!("01{:024}", self.sent);
        let value = |field: &str| match field {
            "id" => json!(id),
            "event_type" => json!(kind),
            "resource_type" => json!(of),
            "occurred_at" => json!(instant(now_ms)),
            "agent" => agent.clone(),
            "data" => data.clone(),
            _ => Value::Null,
        };
        let facts = &PAGERDUTY["webhooks"];
        let fields = facts::words(&facts["event_fields"]);
        let event: Map<String, Value> =
            fields.map(|field| (field.to_owned(), value(field))).collect();
        let body = json!({ "event": event }).to_string();
        let signatures: Vec<String> =
            self.secrets.iter().map(|secret| format!("v1={}", sign(secret, &body))).collect();
        let name = |field: &str| facts[field].as_str().unwrap_or_default().to_ascii_lowercase();
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("user-agent".to_owned(), "PagerDuty-Webhook/V3.0".to_owned()),
            (name("header"), signatures.join(",")),
            (name("id_header"), format!("{:08x}-0000-4000-8000-{:012x}", self.sent, self.sent)),
            (name("subscription_header"), "PSUB0001".to_owned()),
        ];
        let most = facts::count(&facts["repeats_at_most"]);
        let pauses =
            std::iter::successors(Some(FIRST_PAUSE_MS), |ms| Some((ms * 2).min(LONGEST_PAUSE_MS)));
        Some(Callback {
            url,
            headers,
            body,
            note: kind.to_owned(),
            after_ms: 0,
            deadline_ms: facts::number(&facts["deadline_s"]) * 1_000,
            repeats_after_ms: pauses.take(most).collect(),
        })
    }

    /// Whether the subscription is still served.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.dropped < facts::number(&PAGERDUTY["webhooks"]["disabled_after_drops"])
    }

    /// What was answered: a 5xx, a 429 or nothing is repeated, another refusal drops the webhook.
    pub(super) fn hear(&mut self, callback: &Callback, answer: &Answer) -> Vec<Callback> {
        let is_passing = match answer {
            Answer::Due => return vec![],
            Answer::None => true,
            Answer::Given { status, .. } if (200..300).contains(status) => {
                self.dropped = 0;
                return vec![];
            }
            Answer::Given { status, .. } => *status >= 500 || *status == 429,
        };
        let next = if is_passing { again(callback) } else { vec![] };
        if next.is_empty() {
            self.dropped += 1;
        }
        if self.is_enabled() { next } else { vec![] }
    }
}

fn agent(user: Option<&str>) -> Value {
    match user {
        Some(name) => reference("user_reference", "PUSER01", name),
        None => reference("service_reference", "PSVC001", "Streams"),
    }
}

/// An incident as a webhook shows it.
fn incident(key: &str, kept: &Kept, user: Option<&str>) -> Value {
    let value = |field: &str| match field {
        "id" => json!(kept.id),
        "type" => json!("incident"),
        "self" => json!(format!("https://api.pagerduty.com/incidents/{}", kept.id)),
        "html_url" => json!(format!("https://stage.pagerduty.com/incidents/{}", kept.id)),
        "number" => json!(kept.number),
        "status" => json!(kept.status),
        "incident_key" => json!(key),
        "created_at" => json!(instant(kept.opened_ms)),
        "title" => json!(kept.summary),
        "service" => reference("service_reference", "PSVC001", "Streams"),
        "assignees" => json!([reference("user_reference", "PUSER01", user.unwrap_or("Ada"))]),
        "escalation_policy" => reference("escalation_policy_reference", "PPOL001", "On call"),
        "teams" => json!([]),
        "urgency" => json!("high"),
        _ => Value::Null,
    };
    let fields = facts::words(&PAGERDUTY["webhooks"]["incident_fields"]);
    Value::Object(fields.map(|field| (field.to_owned(), value(field))).collect())
}
