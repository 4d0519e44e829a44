//! The real PagerDuty in miniature: takes events by dedup key, and tells its webhook subscription of every change, whoever
//! made it: an echo that whoever is linked both ways must not answer.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::faults::Faults;
use crate::wire::{Callback, Player, Reply, Request, Response};

/// An incident there.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    /// `triggered`, `acknowledged` or `resolved`.
    pub status: String,
    /// What it says.
    pub summary: String,
    /// The events that came for it, by their action.
    pub events: Vec<String>,
}

/// The service.
#[derive(Debug)]
pub struct PagerDuty {
    routing_key: String,
    secret: String,
    webhook: Option<String>,
    incidents: BTreeMap<String, Kept>,
    sent: u64,
    faults: Faults,
}

impl PagerDuty {
    /// With one integration's key, and the secret of the webhook subscription.
    #[must_use]
    pub fn new(routing_key: &str, secret: &str) -> Self {
        Self {
            routing_key: routing_key.to_owned(),
            secret: secret.to_owned(),
            webhook: None,
            incidents: BTreeMap::new(),
            sent: 0,
            faults: Faults::default(),
        }
    }

    /// Where webhooks go.
    pub fn set_webhook(&mut self, url: &str) {
        self.webhook = Some(url.to_owned());
    }

    /// The faults in force.
    pub const fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Every incident by its dedup key.
    #[must_use]
    pub const fn incidents(&self) -> &BTreeMap<String, Kept> {
        &self.incidents
    }

    fn enqueue(&mut self, event: &Value, now_ms: u64) -> Reply {
        if event["routing_key"] != self.routing_key.as_str() {
            let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": ["Invalid routing key"] });
            return Response::json(400, &body).into();
        }
        let (key, action) =
            (event["dedup_key"].as_str().unwrap_or_default().to_owned(), event["event_action"].as_str().unwrap_or_default());
        let summary = event["payload"]["summary"].as_str().unwrap_or_default().to_owned();
        let known = self.incidents.get_mut(&key);
        let callbacks = match (action, known) {
            ("trigger", None) => {
                self.incidents.insert(key.clone(), Kept { status: "triggered".into(), summary, events: vec![action.into()] });
                self.tell(&key, "triggered", None, now_ms)
            }
            (_, None) => vec![],
            (_, Some(kept)) => {
                kept.events.push(action.to_owned());
                let status = match (action, kept.status.as_str()) {
                    ("trigger", "resolved") => "triggered",
                    ("acknowledge", "triggered") => "acknowledged",
                    ("resolve", "triggered" | "acknowledged") => "resolved",
                    _ => "",
                };
                if !status.is_empty() {
                    kept.status = status.to_owned();
                }
                self.tell(&key, status, None, now_ms)
            }
        };
        let body = json!({ "status": "success", "message": "Event processed", "dedup_key": key });
        Reply { callbacks, ..Response::json(202, &body).into() }
    }

    /// A user acts.
    fn act(&mut self, body: &Value, now_ms: u64) -> Reply {
        let status = body["status"].as_str().unwrap_or("acknowledged").to_owned();
        let open = self.incidents.iter_mut().rev().find(|(_, kept)| kept.status != "resolved");
        let Some((key, kept)) = open else { return Response::json(404, &json!({ "error": "nothing is open" })).into() };
        kept.status.clone_from(&status);
        let key = key.clone();
        Reply { callbacks: self.tell(&key, &status, body["user"].as_str(), now_ms), ..Response::empty(202).into() }
    }

    fn tell(&mut self, key: &str, status: &str, user: Option<&str>, now_ms: u64) -> Vec<Callback> {
        let Some(url) = self.webhook.clone().filter(|_| !status.is_empty()) else { return vec![] };
        self.sent += 1;
        let agent = match user {
            Some(name) => json!({ "id": "PUSER01", "type": "user_reference", "summary": name }),
            None => json!({ "id": "PSVC001", "type": "service_reference", "summary": "Streams" }),
        };
        let body = json!({ "event": { "id": format!("01{:024}", self.sent), "event_type": format!("incident.{status}"), "resource_type": "incident",
            "occurred_at": instant(now_ms), "agent": agent, "client": null,
            "data": { "id": "Q1", "type": "incident", "incident_key": key, "status": status } } })
        .to_string();
        let signature = sign(&self.secret, &body);
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-pagerduty-signature".to_owned(), format!("v1={signature}")),
        ];
        vec![Callback { url, headers, body, note: status.to_owned() }]
    }
}

/// The signature of a webhook's body.
#[must_use]
pub fn sign(secret: &str, body: &str) -> String {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.chain_update(body).finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An instant as `2026-03-28T12:00:00.5Z`.
fn instant(now_ms: u64) -> String {
    jiff::Timestamp::from_millisecond(i64::try_from(now_ms).unwrap_or(0)).unwrap_or_default().to_string()
}

impl Player for PagerDuty {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/incidents") => return Response::json(200, &json!({ "incidents": self.incidents })).into(),
            ("POST", "/_stage/act") => return self.act(&request.json(), now_ms),
            ("POST", "/_stage/faults") => return self.faults.set(request),
            _ => {}
        }
        if let Some(refusal) = self.faults.refusal() {
            return refusal;
        }
        let reply = match request.path.as_str() {
            "/v2/enqueue" => self.enqueue(&request.json(), now_ms),
            _ => Response::json(404, &json!({ "error": "not found" })).into(),
        };
        self.faults.spoil(reply)
    }
}
