//! The real PagerDuty in miniature: takes events by dedup key, and tells its webhook subscription
//! of every change, whoever made it: an echo that whoever is linked both ways must not answer. It
//! has no REST API.

mod events;
#[cfg(test)]
mod tests;
mod webhooks;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

pub use self::webhooks::sign;
use crate::facts::{self, PAGERDUTY};
use crate::faults::{Faults, Refusal};
use crate::house::{House, Violation, no_such_control, not_now};
use crate::rates::{Pace, Rates};
use crate::wire::{Answer, Callback, Player, Reply, Request, Response};

/// An incident there.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    /// `triggered`, `acknowledged` or `resolved`.
    pub status: String,
    /// What it says.
    pub summary: String,
    /// The events that came for it, by their action.
    pub events: Vec<String>,
    /// Its id there.
    pub id: String,
    /// Its number there.
    pub number: u64,
    /// When it was opened, in milliseconds since 1970.
    pub opened_ms: u64,
    /// The last trigger, as it came.
    pub trigger: Value,
    /// The last note.
    pub note: String,
}

/// The service.
#[derive(Debug)]
pub struct PagerDuty {
    house: House,
    routing_key: String,
    /// The secrets of the subscription: several while one replaces the other.
    secrets: Vec<String>,
    webhook: Option<String>,
    incidents: BTreeMap<String, Kept>,
    /// Webhooks that were given up, one after the other.
    dropped: u64,
    sent: u64,
    opened: u64,
    pace: Pace,
}

impl PagerDuty {
    /// With one integration's key, and the secret of the webhook subscription.
    #[must_use]
    pub fn new(routing_key: &str, secret: &str) -> Self {
        Self {
            house: House::default(),
            routing_key: routing_key.to_owned(),
            secrets: vec![secret.to_owned()],
            webhook: None,
            incidents: BTreeMap::new(),
            dropped: 0,
            sent: 0,
            opened: 0,
            pace: Pace::default(),
        }
    }

    /// Where webhooks go. A subscription that was disabled is enabled.
    pub fn set_webhook(&mut self, url: &str) {
        (self.webhook, self.dropped) = (Some(url.to_owned()), 0);
    }

    /// The secrets that webhooks are signed with: two while one replaces the other.
    pub fn set_secrets(&mut self, secrets: &[&str]) {
        self.secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    }

    /// The faults in force.
    pub const fn faults(&mut self) -> &mut Faults {
        &mut self.house.faults
    }

    /// Puts rates in force or lifts them.
    pub const fn set_rates(&mut self, rates: Rates) {
        self.house.rates = rates;
    }

    /// Everything that broke one of PagerDuty's rules.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.house.violations()
    }

    /// Every incident by its dedup key.
    #[must_use]
    pub const fn incidents(&self) -> &BTreeMap<String, Kept> {
        &self.incidents
    }

    fn serve(&mut self, request: &Request, now_ms: u64) -> Reply {
        let facts: &'static Value = &PAGERDUTY;
        if facts::asked(facts, Some(&request.method), &request.path).is_none() {
            self.house.note(request, "there is no such address");
            return Response::json(404, &json!({ "error": "not found" })).into();
        }
        let most = facts::most(&PAGERDUTY, "event_bytes");
        if request.body.len() > most {
            self.house.note(request, format!("the event is larger than {most} bytes"));
            return Response::json(413, &json!({ "error": "Request Entity Too Large" })).into();
        }
        let event = request.json();
        let mut errors = events::errors(&event);
        if !request.is_of_type(PAGERDUTY["content_type"].as_str().unwrap_or_default()) {
            errors.push("the event is not sent as JSON".into());
        }
        if errors.is_empty() && event["routing_key"] != self.routing_key.as_str() {
            errors.push("Invalid routing key".into());
        }
        if !errors.is_empty() {
            self.house.note(request, errors.join("; "));
            let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": errors });
            return Response::json(facts::code(&PAGERDUTY["answers"]["invalid"]["status"]), &body)
                .into();
        }
        if self.house.is_paced() {
            let a_minute = facts::number(&PAGERDUTY["rates"]["events_per_minute_and_key"]).max(1);
            if let Err(wait_ms) = self.pace.take(now_ms, 60_000 / a_minute, a_minute) {
                self.house.note(request, format!("too fast by {wait_ms} ms"));
                return too_many().into();
            }
        }
        self.enqueue(&event, now_ms)
    }

    fn enqueue(&mut self, event: &Value, now_ms: u64) -> Reply {
        let action = event["event_action"].as_str().unwrap_or_default();
        let key = match event["dedup_key"].as_str().filter(|key| !key.is_empty()) {
            Some(key) => key.to_owned(),
            None => format!("{:032x}", self.sent + self.opened + 1),
        };
        let known = self.incidents.get(&key).map(|kept| kept.status.clone());
        let told = match (action, known.as_deref()) {
            ("trigger", None) => {
                self.open(&key, event, vec![], now_ms);
                "triggered"
            }
            (_, None) => "",
            (action, Some(status)) => self.follow(&key, action, status, event, now_ms),
        };
        let callbacks = self.tell(&key, told, None, now_ms);
        let accepted = &PAGERDUTY["answers"]["accepted"];
        let mut body = accepted["body"].clone();
        body["dedup_key"] = json!(key);
        Reply { callbacks, ..Response::json(facts::code(&accepted["status"]), &body).into() }
    }

    /// What an event does to an incident that is known; what is told of it.
    fn follow(
        &mut self,
        key: &str,
        action: &str,
        status: &str,
        event: &Value,
        now_ms: u64,
    ) -> &'static str {
        let events = self.incidents.get(key).map(|kept| kept.events.clone()).unwrap_or_default();
        if (action, status) == ("trigger", "resolved") {
            self.open(key, event, events, now_ms);
            return "triggered";
        }
        let Some(kept) = self.incidents.get_mut(key) else { return "" };
        kept.events.push(action.to_owned());
        if action == "trigger" {
            kept.trigger = event.clone();
        }
        let next = match (action, status) {
            ("acknowledge", "triggered") => "acknowledged",
            ("resolve", "triggered" | "acknowledged") => "resolved",
            _ => return "",
        };
        next.clone_into(&mut kept.status);
        next
    }

    fn open(&mut self, key: &str, event: &Value, mut events: Vec<String>, now_ms: u64) {
        self.opened += 1;
        events.push("trigger".to_owned());
        let kept = Kept {
            status: "triggered".to_owned(),
            summary: event["payload"]["summary"].as_str().unwrap_or_default().to_owned(),
            events,
            id: format!("Q{}", self.opened),
            number: self.opened,
            opened_ms: now_ms,
            trigger: event.clone(),
            note: String::new(),
        };
        self.incidents.insert(key.to_owned(), kept);
    }

    /// Somebody acts, or PagerDuty itself does: `status` says how the incident is then, `kind` what
    /// else happened.
    fn act(&mut self, body: &Value, now_ms: u64) -> Reply {
        let kind =
            body["kind"].as_str().or(body["status"].as_str()).unwrap_or("acknowledged").to_owned();
        let is_known = facts::has(&PAGERDUTY["webhooks"]["events"], &format!("incident.{kind}"));
        if !is_known {
            return Response::json(400, &json!({ "error": "PagerDuty has no such event" })).into();
        }
        let wants_open = kind != "reopened";
        let wanted = body["key"].as_str();
        let found = self.incidents.iter_mut().rev().find(|(key, kept)| match wanted {
            Some(wanted) => key.as_str() == wanted,
            None => (kept.status != "resolved") == wants_open,
        });
        let Some((key, kept)) = found else {
            let what = if wants_open { "nothing is open" } else { "nothing is resolved" };
            return Response::json(404, &json!({ "error": what })).into();
        };
        match kind.as_str() {
            "acknowledged" | "resolved" => kept.status.clone_from(&kind),
            "triggered" | "unacknowledged" | "reopened" => "triggered".clone_into(&mut kept.status),
            _ => {}
        }
        kept.note = body["note"].as_str().unwrap_or("a note").to_owned();
        let key = key.clone();
        let callbacks = self.tell(&key, &kind, body["user"].as_str(), now_ms);
        self.house.send_out(Reply { callbacks, ..Response::empty(202).into() })
    }

    fn control(&mut self, request: &Request, now_ms: u64) -> Reply {
        let body = request.json();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/incidents") => Response::json(
                200,
                &json!({ "incidents": self.incidents, "enabled": self.is_enabled() }),
            )
            .into(),
            ("POST", "/_stage/act") => self.act(&body, now_ms),
            ("POST", "/_stage/ping") => self.ping(now_ms),
            ("POST", "/_stage/webhook") => match body["url"].as_str() {
                Some(url) => {
                    self.set_webhook(url);
                    Response::empty(204).into()
                }
                None => not_now("no url"),
            },
            ("POST", "/_stage/secrets") => {
                self.secrets = facts::words(&body["secrets"]).map(str::to_owned).collect();
                Response::empty(204).into()
            }
            _ => no_such_control(),
        }
    }
}

fn too_many() -> Response {
    let body = json!({ "status": "throttle exceeded", "message": "Requests for this service are arriving too quickly.  Please retry later." });
    Response::json(facts::code(&PAGERDUTY["rates"]["status"]), &body)
}

impl Player for PagerDuty {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        if let Some(reply) = self.house.control(request) {
            return reply;
        }
        if request.path.starts_with("/_stage/") {
            return self.control(request, now_ms);
        }
        self.house.greet(request);
        match self.house.faults.refusal() {
            Some(Refusal::Unavailable) => {
                return Response::json(503, &json!({ "error": "unavailable" })).into();
            }
            Some(Refusal::TooMany) => return too_many().into(),
            None => {}
        }
        let reply = self.serve(request, now_ms);
        self.house.spoil(reply)
    }

    fn answered(&mut self, callback: &Callback, answer: &Answer, _now_ms: u64) -> Vec<Callback> {
        let answer = self.house.faults.hears(answer);
        self.hear(callback, &answer)
    }
}
